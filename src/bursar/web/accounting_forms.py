"""Forms for giving, changing, moving and writing off quota; amounts are typed in the category's unit."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy as _

from bursar.accounting.models import Allocation
from bursar.accounting.selectors import AllocationState
from bursar.catalogue.models import ProductCategory
from bursar.structure.models import Workspace
from bursar.web.forms import DateField, QuantityField, set_unit
from bursar.web.structure_forms import last_day


class WorkspaceField(forms.ModelChoiceField):
    """A workspace, chosen by its name; organizations before projects, each project under its organization."""

    def __init__(self, queryset: QuerySet[Workspace], **kwargs: Any) -> None:
        super().__init__(queryset, **kwargs)
        grouped: dict[str, list[tuple[int, str]]] = {}
        for workspace in queryset:
            grouped.setdefault(self._group(workspace), []).append((workspace.pk, str(workspace)))
        self.choices = [
            ("", _("Choose…")),
            *sorted(grouped.items(), key=lambda item: item[0] != str(_("Organizations"))),
        ]

    @staticmethod
    def _group(workspace: Workspace) -> str:
        if workspace.project is not None:
            return str(_("Projects of {organization}")).format(organization=workspace.project.organization)
        return str(_("Organizations") if workspace.organization_id else _("Personal workspaces"))


class AllocateForm(forms.Form):
    """A new allocation."""

    quota = QuantityField(label=_("Quota"), minimum=0)
    first_day = DateField(label=_("From"), help_text=_("It can be used from the first moment of this day."))
    last_day = DateField(label=_("Until"), help_text=_("The last day on which it can be used."))
    priority = forms.IntegerField(
        label=_("Priority"),
        initial=0,
        min_value=-1000,
        max_value=1000,
        help_text=_("Where the recipient has several allocations, lower numbers are used first; then what ends first."),
    )
    note = forms.CharField(label=_("Note"), max_length=500, required=False, widget=forms.Textarea(attrs={"rows": 2}))

    field_order = ("workspace", "quota", "first_day", "last_day", "priority", "note")

    def __init__(self, *args: Any, category: ProductCategory, recipients: QuerySet[Workspace], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["workspace"] = WorkspaceField(recipients, label=_("Who gets it"))
        set_unit(self, "quota", category.unit)
        self.order_fields(self.field_order)

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        first, last = data.get("first_day"), data.get("last_day")
        if first and last and last < first:
            self.add_error("last_day", _("The last day lies before the first."))
        return data


class ChangeForm(forms.Form):
    """Quota and window of an allocation; the start only while it lies ahead."""

    quota = QuantityField(label=_("Quota"), minimum=0)
    first_day = DateField(label=_("From"))
    last_day = DateField(label=_("Until"), help_text=_("The last day on which it can be used."))

    def __init__(self, *args: Any, allocation: Allocation, started: bool, **kwargs: Any) -> None:
        kwargs["initial"] = {
            "quota": allocation.quota_ticks,
            "first_day": last_day(allocation.start) if started else allocation.start.date(),
            "last_day": last_day(allocation.end),
            **kwargs.get("initial", {}),
        }
        super().__init__(*args, **kwargs)
        set_unit(self, "quota", allocation.category.unit)
        if started:
            del self.fields["first_day"]


class MoveForm(forms.Form):
    """Unused quota from one allocation to another of the same source."""

    taker = forms.TypedChoiceField(label=_("To"), coerce=int)
    amount = QuantityField(label=_("Amount"), minimum=1)

    def __init__(self, *args: Any, category: ProductCategory, others: Iterable[AllocationState], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        unit = category.unit
        set_unit(self, "amount", unit)
        taker = self.fields["taker"]
        assert isinstance(taker, forms.ChoiceField)
        taker.choices = [
            (
                one.allocation.pk,
                f"{one.allocation.wallet.workspace} ({unit.text(one.allocation.quota_ticks)} {unit.name})",
            )
            for one in others
        ]


class WriteOffForm(forms.Form):
    amount = QuantityField(label=_("Amount"), minimum=1)
    reason = forms.CharField(label=_("Reason"), max_length=500, widget=forms.Textarea(attrs={"rows": 2}))

    def __init__(self, *args: Any, category: ProductCategory, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        set_unit(self, "amount", category.unit)


class PastForm(forms.Form):
    """Of which day a wallet is shown, and what of it was known when."""

    on = DateField(label=_("At the end of"), help_text=_("Usage of this day is in it."))
    known = DateField(
        label=_("As known at the end of"),
        required=False,
        help_text=_("Empty: with everything that was reported since."),
    )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        on, known = data.get("on"), data.get("known")
        if on and known and known < on:
            self.add_error("known", _("What happened on a day is known on that day at the earliest."))
        return data
