"""What is typed about invoices: payments, credit notes, credits, compensations, who stands on the paper, tax rates."""

from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bursar.billing import exports
from bursar.billing.documents import Line
from bursar.billing.models import Buyer, Credit, Seller
from bursar.catalogue.models import Offering, ServiceProvider
from bursar.kernel.money import minor_digits
from bursar.structure.models import Organization, Project
from bursar.web.forms import DateField


class MoneyField(forms.DecimalField):
    """An amount in a currency, which stands behind it; the service checks its decimals."""

    def __init__(self, *, currency: str = "", **kwargs: Any) -> None:
        super().__init__(max_digits=20, **{"min_value": Decimal(0), **kwargs})
        self.set_currency(currency)

    def set_currency(self, currency: str) -> None:
        self.suffix = currency
        self.widget.attrs["step"] = f"{Decimal(1).scaleb(-minor_digits(currency)):f}" if currency else "any"
        self.widget.attrs["inputmode"] = "decimal"


class PaymentForm(forms.Form):
    amount = MoneyField(label=gettext_lazy("Amount"))
    paid_on = DateField(label=gettext_lazy("Paid on"))
    reference = forms.CharField(label=gettext_lazy("Reference"), max_length=100, required=False)

    def __init__(self, data: Any = None, *, currency: str, **more: Any) -> None:
        super().__init__(data, **more)
        self.fields["amount"].set_currency(currency)  # type: ignore[attr-defined]


class CreditNoteForm(forms.Form):
    """Which part of an invoice is taken back, and why. lines   none where there are too many to be typed"""

    WHOLE, LINES, AGAIN = "whole", "lines", "again"

    extent = forms.ChoiceField(label=gettext_lazy("Take back"), widget=forms.RadioSelect)
    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=500, help_text=gettext_lazy("It stands on the paper.")
    )

    def __init__(self, data: Any = None, *, currency: str, lines: Sequence[Line]) -> None:
        super().__init__(data, initial={"extent": self.WHOLE})
        choices = [
            (self.WHOLE, _("all that is left of it")),
            (self.AGAIN, _("what is too much when its month is computed again with all that is known now")),
        ]
        if lines:
            choices.insert(1, (self.LINES, _("so much of some lines")))
        self.fields["extent"].choices = choices  # type: ignore[attr-defined]
        self.lines = lines
        for line in lines:
            field = MoneyField(
                label=_("Take back of line {number}").format(number=line.position),
                currency=currency, required=False, min_value=None,
            )  # fmt: skip
            self.fields[f"line_{line.id}"] = field

    @property
    def rows(self) -> Iterable[tuple[Line, Any]]:
        return [(line, self[f"line_{line.id}"]) for line in self.lines]

    def amounts(self) -> dict[int, Decimal] | None:
        if self.cleaned_data["extent"] != self.LINES:
            return None
        typed = {line.id: self.cleaned_data.get(f"line_{line.id}") for line in self.lines}
        return {pk: value for pk, value in typed.items() if value}


class CreditForm(forms.Form):
    customer = forms.ModelChoiceField(label=gettext_lazy("Customer"), queryset=Organization.objects.none())
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        choices=[
            (Credit.Kind.GRANTED, gettext_lazy("granted: it lowers the net, before tax")),
            (Credit.Kind.PREPAYMENT, gettext_lazy("paid ahead: it lowers what is due, after tax")),
        ],
        widget=forms.RadioSelect,
        initial=Credit.Kind.GRANTED,
    )
    amount = MoneyField(label=gettext_lazy("Amount"))
    expires_on = DateField(
        label=gettext_lazy("Last day"),
        required=False,
        help_text=gettext_lazy("On which an invoice may be issued that uses it; empty: none."),
    )
    project = forms.ModelChoiceField(
        label=gettext_lazy("Project"),
        queryset=Project.objects.none(),
        required=False,
        help_text=gettext_lazy("Only for what it orders; empty: for all of the customer."),
    )
    offerings = forms.ModelMultipleChoiceField(
        label=gettext_lazy("Offerings"),
        queryset=Offering.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Only for these; none chosen: for all of them."),
    )
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=500, required=False)

    def __init__(self, data: Any = None, *, provider: ServiceProvider, customers: Any, initial: Any = None) -> None:
        super().__init__(data, initial=initial)
        self.fields["customer"].queryset = customers  # type: ignore[attr-defined]
        projects = Project.objects.filter(organization__in=customers.values("pk")).select_related("organization")
        self.fields["project"].queryset = projects.order_by("organization__name", "name")  # type: ignore[attr-defined]
        self.fields["offerings"].queryset = provider.offerings.order_by("name")  # type: ignore[attr-defined]
        self.fields["amount"].set_currency(provider.organization.currency)  # type: ignore[attr-defined]


class CompensationForm(forms.Form):
    """resources   those of an invoice, where one was named"""

    customer = forms.ModelChoiceField(label=gettext_lazy("Customer"), queryset=Organization.objects.none())
    resource = forms.TypedChoiceField(
        label=gettext_lazy("For"), coerce=int, empty_value=None, required=False, choices=()
    )
    amount = MoneyField(
        label=gettext_lazy("Amount"), help_text=gettext_lazy("What the customer pays less, before tax.")
    )
    tax_category = forms.CharField(label=gettext_lazy("Tax category"), max_length=40, initial="standard")
    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=500, help_text=gettext_lazy("It stands on the paper.")
    )

    def __init__(
        self,
        data: Any = None,
        *,
        provider: ServiceProvider,
        customers: Any,
        resources: Sequence[tuple[int, str]] = (),
        initial: Any = None,
    ) -> None:
        super().__init__(data, initial=initial)
        self.fields["customer"].queryset = customers  # type: ignore[attr-defined]
        self.fields["amount"].set_currency(provider.organization.currency)  # type: ignore[attr-defined]
        if resources:
            self.fields["resource"].choices = [("", _("nothing in particular")), *resources]  # type: ignore[attr-defined]
        else:
            del self.fields["resource"]


class SellerForm(forms.ModelForm):
    """What stands on a seller's invoices, and when they are issued."""

    bills_from = DateField(
        label=gettext_lazy("First month that is billed"),
        help_text=gettext_lazy("A day of it. Stays as it is once a month was closed."),
    )

    class Meta:
        model = Seller
        fields = [
            "legal_name", "address", "email", "bank_account", "note", "number_prefix", "grace_days", "due_days",
            "issues_by_itself", "bills_from",
        ]  # fmt: skip
        widgets = {"address": forms.Textarea(attrs={"rows": 3}), "note": forms.Textarea(attrs={"rows": 2})}


class BuyerForm(forms.ModelForm):
    """What stands on the invoices of an organization, and where they go."""

    class Meta:
        model = Buyer
        fields = ["legal_name", "address", "email", "reference"]
        widgets = {"address": forms.Textarea(attrs={"rows": 3})}


class MonthForm(forms.Form):
    """A month, by a day of it; as the API has it, of this century or the last."""

    month = forms.DateField(input_formats=["%Y-%m-%d"])

    def clean_month(self) -> date:
        month: date = self.cleaned_data["month"]
        if not 1900 <= month.year < 2100:
            raise forms.ValidationError(_("Choose a month."))
        return month


class ExportForm(forms.Form):
    """What is kept of many invoices: of which months, of which side, in which form."""

    side = forms.ChoiceField(choices=[("customer", "customer"), ("seller", "seller")])
    form = forms.ChoiceField(choices=[(name, name) for name in exports.FORMS])
    to = forms.DateField(input_formats=["%Y-%m"])
    customer = forms.IntegerField(min_value=1, max_value=2**63 - 1, required=False)
    provider = forms.IntegerField(min_value=1, max_value=2**63 - 1, required=False)

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["from"] = forms.DateField(input_formats=["%Y-%m"])


class TaxRateForm(forms.Form):
    country = forms.CharField(
        label=gettext_lazy("Country"), max_length=2, help_text=gettext_lazy("of the seller: two letters, ISO 3166")
    )
    category = forms.SlugField(label=gettext_lazy("Category"), max_length=40, initial="standard")
    percent = forms.DecimalField(
        label=gettext_lazy("Rate"), max_digits=9, decimal_places=3, widget=forms.NumberInput(attrs={"step": "0.001"})
    )
    valid_from = DateField(label=gettext_lazy("Valid from"))

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fields["percent"].suffix = "%"  # type: ignore[attr-defined]
