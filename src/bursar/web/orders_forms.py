"""What is typed when something is ordered or changed. The rules are provisioning's; here is only what a page needs."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from typing import Any
from uuid import uuid4

from django import forms
from django.utils.translation import gettext_lazy as _

from bursar.catalogue.models import Component, Offering, Plan
from bursar.provisioning.models import ApprovalPolicy, Order, ProviderMessage
from bursar.provisioning.services import ProviderApproval
from bursar.structure.models import Organization, Workspace
from bursar.structure.roles import ROLE_TITLES, Role
from bursar.web.forms import DateField
from bursar.web.structure_forms import after, first_moment

LIMIT = "limits."
USE = "uses."


def add_limits(form: forms.Form, components: Iterable[Component], given: Mapping[str, int]) -> None:
    """A whole number for each component that is limited, under the name by which a refusal calls it."""
    for component in components:
        if component.billing != Component.Billing.LIMIT:
            continue
        usual = component.limit_default if component.limit_default is not None else component.limit_min
        field = forms.IntegerField(
            label=component.title,
            required=True,
            initial=given.get(component.key, usual or 0),
            widget=forms.NumberInput(attrs={"inputmode": "numeric", "min": component.limit_min or 0}),
        )
        if component.limit_max is not None:
            field.widget.attrs["max"] = component.limit_max
        field.suffix = component.unit_name  # type: ignore[attr-defined]
        form.fields[LIMIT + component.key] = field


def limits_in(values: Mapping[str, Any]) -> dict[str, int]:
    return {key.removeprefix(LIMIT): value for key, value in values.items() if key.startswith(LIMIT)}


class QuantitiesForm(forms.Form):
    """Limits that are ordered, and what is expected to be used of what is billed by use: the latter for the estimate alone."""

    @property
    def limit_fields(self) -> list[Any]:
        return [self[name] for name in self.fields if name.startswith(LIMIT)]

    def add_uses(self, components: Iterable[Component]) -> None:
        for component in components:
            field = forms.DecimalField(
                label=component.title,
                required=False,
                min_value=0,
                max_digits=20,
                decimal_places=6,
                widget=forms.NumberInput(attrs={"inputmode": "decimal", "min": 0, "step": "any"}),
            )
            field.suffix = _("%(unit)s a month") % {"unit": component.unit_name}  # type: ignore[attr-defined]
            self.fields[USE + component.key] = field

    @property
    def use_fields(self) -> list[Any]:
        return [self[name] for name in self.fields if name.startswith(USE)]

    def uses(self) -> dict[str, Fraction]:
        """Component key -> units that are expected to be used in a month, as far as they are typed, whatever else is not.

        raises   ValidationError where something else than such a number is typed
        """
        found = {}
        for bound in self.use_fields:
            quantity = self.fields[bound.name].clean(bound.value())
            if quantity is not None:
                found[bound.name.removeprefix(USE)] = Fraction(quantity)
        return found


class OrderForm(QuantitiesForm):
    workspace = forms.TypedChoiceField(label=_("For"), coerce=int, help_text=_("Whose quota it draws on."))
    name = forms.CharField(label=_("Name of the resource"), max_length=150)
    plan = forms.TypedChoiceField(label=_("Plan"), coerce=int, widget=forms.RadioSelect)
    start = DateField(label=_("Not before"), required=False, help_text=_("Empty: as soon as it is approved."))
    last_day = DateField(label=_("Last day"), required=False, help_text=_("Empty: until somebody ends it."))
    comment = forms.CharField(
        label=_("A word to those who decide"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    terms = forms.BooleanField(label=_("I have read the terms of use and accept them"), required=False)
    key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=80)

    def __init__(
        self,
        offering: Offering,
        components: Sequence[Component],
        plans: Sequence[Plan],
        workspaces: Sequence[Workspace],
        *args: Any,
        by_use: Iterable[Component] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        by_kind: dict[str, list[tuple[int, str]]] = {}
        for workspace in workspaces:
            by_kind.setdefault(str(workspace.get_kind_display()), []).append((workspace.pk, str(workspace)))
        self.fields["workspace"].choices = [("", _("Choose…")), *by_kind.items()]  # type: ignore[attr-defined]
        self.fields["plan"].choices = [(plan.pk, plan.name) for plan in plans]  # type: ignore[attr-defined]
        self.fields["plan"].initial = plans[0].pk if plans else None
        if len(workspaces) == 1:
            self.fields["workspace"].initial = workspaces[0].pk
        if not offering.terms_of_use:
            del self.fields["terms"]
        add_limits(self, components, {})
        self.add_uses(by_use)
        # One page, one order: the same form sent twice is known by this.
        self.fields["key"].initial = uuid4().hex

    def period(self) -> tuple[datetime | None, datetime | None]:
        """Start and end of the resource as far as they are typed already, whatever else is not."""
        days = []
        for name in ("start", "last_day"):
            try:
                days.append(self.fields[name].clean(self[name].value()))
            except forms.ValidationError:
                days.append(None)
        return (None if days[0] is None else first_moment(days[0])), after(days[1])

    def values(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "plan_id": given["plan"],
            "limits": limits_in(given),
            "name": given["name"],
            "start": None if given["start"] is None else first_moment(given["start"]),
            "end": after(given["last_day"]),
            "comment": given["comment"],
            "terms_accepted": given.get("terms", False),
            "idempotency_key": given["key"],
        }


class ChangeForm(QuantitiesForm):
    plan = forms.TypedChoiceField(label=_("Plan"), coerce=int, widget=forms.RadioSelect)
    comment = forms.CharField(
        label=_("A word to those who decide"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    key = forms.CharField(widget=forms.HiddenInput, required=False, max_length=80)

    def __init__(
        self,
        components: Sequence[Component],
        plans: Sequence[Plan],
        *args: Any,
        plan: Plan,
        limits: Mapping[str, int],
        by_use: Iterable[Component] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        offered = plans if plan in plans else [plan, *plans]
        self.fields["plan"].choices = [(each.pk, each.name) for each in offered]  # type: ignore[attr-defined]
        self.fields["plan"].initial = plan.pk
        add_limits(self, components, limits)
        self.add_uses(by_use)
        self.fields["key"].initial = uuid4().hex

    def values(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "plan_id": given["plan"],
            "limits": limits_in(given),
            "comment": given["comment"],
            "idempotency_key": given["key"],
        }


class MessageForm(forms.Form):
    """What the provider's side says of an order or a resource."""

    text = forms.CharField(
        label=_("A message, seen by both sides"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2})
    )
    level = forms.ChoiceField(label=_("It is a"), choices=ProviderMessage.Level.choices)
    progress = forms.IntegerField(
        label=_("Done so far"),
        required=False,
        min_value=0,
        max_value=100,
        help_text=_("Empty: not told."),
        widget=forms.NumberInput(attrs={"inputmode": "numeric"}),
    )

    def __init__(self, data: Any = None) -> None:
        super().__init__(data, auto_id="message-%s")
        self.fields["progress"].suffix = "%"  # type: ignore[attr-defined]


class ReasonForm(forms.Form):
    reason = forms.CharField(label=_("Reason"), max_length=2000, widget=forms.Textarea(attrs={"rows": 3}))


class OptionalReasonForm(forms.Form):
    reason = forms.CharField(
        label=_("Reason"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )


class ProviderApprovalForm(forms.Form):
    choice = forms.ChoiceField(
        label=_("Who at the provider approves orders"),
        widget=forms.RadioSelect,
        choices=[
            (ProviderApproval.ALL.value, _("The provider's people approve every order")),
            (ProviderApproval.NONE.value, _("Nobody at the provider is asked")),
            (
                ProviderApproval.ORGANIZATIONS.value,
                _("Nobody is asked for these organizations; for others somebody is"),
            ),
        ],
    )
    organizations = forms.ModelMultipleChoiceField(
        label=_("Organizations"),
        required=False,
        queryset=Organization.objects.none(),
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["organizations"].queryset = Organization.objects.filter(archived_at=None)  # type: ignore[attr-defined]


def _roles(scopes: Iterable[Role]) -> list[tuple[str, Any]]:
    return [(role.value, ROLE_TITLES[role]) for role in scopes]


CONSUMER_ROLES = (
    Role.PROJECT_MEMBER,
    Role.PROJECT_MANAGER,
    Role.PRINCIPAL_INVESTIGATOR,
    Role.ORGANIZATION_MANAGER,
    Role.ORGANIZATION_OWNER,
)


class PolicyLineForm(forms.Form):
    """One line of a customer's side: when, and then what."""

    kinds = forms.MultipleChoiceField(
        label=_("Orders"),
        required=False,
        choices=Order.Kind.choices,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None chosen: all."),
    )
    condition = forms.ChoiceField(
        label=_("When"),
        choices=[
            (value, label)
            for value, label in ApprovalPolicy.Condition.choices
            if value not in {ApprovalPolicy.Condition.ORGANIZATIONS, ApprovalPolicy.Condition.PERSONAL}
        ],
    )
    roles = forms.MultipleChoiceField(
        label=_("Roles of the orderer"),
        required=False,
        choices=_roles(CONSUMER_ROLES),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("For “the orderer has a role”."),
    )
    amount = forms.DecimalField(
        label=_("At most per month"),
        required=False,
        min_value=0,
        max_digits=20,
        decimal_places=2,
        help_text=_("For “it costs at most so much per month”."),
    )
    outcome = forms.ChoiceField(label=_("Then"), choices=ApprovalPolicy.Outcome.choices, widget=forms.RadioSelect)
    approvers = forms.MultipleChoiceField(
        label=_("Who is asked"),
        required=False,
        choices=_roles(CONSUMER_ROLES[1:]),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("None chosen: all who may approve."),
    )
