"""What is typed about a resource: its end, its name, and what was done by hand."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from bursar.catalogue.models import Plan
from bursar.structure.models import Workspace
from bursar.web.forms import DateField


class EndForm(forms.Form):
    last_day = DateField(label=_("Last day"), required=False, help_text=_("Empty: until somebody ends it."))


class NameForm(forms.Form):
    name = forms.CharField(label=_("Name"), max_length=150)


class TerminateForm(forms.Form):
    comment = forms.CharField(
        label=_("A word to those who decide"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(attrs={"rows": 2}),
    )


class TakeOverForm(forms.Form):
    """Things are chosen in the list beside it; whose they become and on which plan is the same for all that are chosen."""

    workspace = forms.ModelChoiceField(
        label=_("They become resources of"),
        queryset=Workspace.objects.none(),
        help_text=_("Projects and others that have quota of what this offering draws on."),
    )
    plan = forms.ModelChoiceField(label=_("On the plan"), queryset=Plan.objects.none())

    def __init__(self, *args: Any, workspaces: Any, plans: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["workspace"].queryset = workspaces  # type: ignore[attr-defined]
        self.fields["plan"].queryset = plans  # type: ignore[attr-defined]


class WorkForm(forms.Form):
    backend_id = forms.CharField(
        label=_("Its name there"), required=False, max_length=255, help_text=_("An account, a number, an address.")
    )
    access = forms.CharField(
        label=_("How its users get in"),
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3, "placeholder": "Address: login.example.org"}),
        help_text=_("One line for each: what it is, a colon, the value."),
    )
    note = forms.CharField(label=_("Note"), required=False, max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))

    def values(self) -> dict[str, object]:
        lines = [line.partition(":") for line in self.cleaned_data["access"].splitlines() if line.strip()]
        access = {label.strip(): value.strip() for label, colon, value in lines if colon and label.strip()}
        access |= {str(_("Access")): label.strip() for label, colon, _value in lines if not colon}
        return {
            "backend_id": self.cleaned_data["backend_id"],
            "access": access or None,
            "note": self.cleaned_data["note"],
        }


class RefuseForm(forms.Form):
    reason = forms.CharField(
        label=_("Why it cannot be done"), max_length=2000, widget=forms.Textarea(attrs={"rows": 3})
    )
