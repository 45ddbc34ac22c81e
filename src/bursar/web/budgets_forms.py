"""What is typed of budgets. The rules are billing's; here is only what a page needs."""

from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from bursar.billing.models import Budget, BudgetThreshold
from bursar.billing.services.budgets import USUAL_THRESHOLDS
from bursar.engine.budget import Threshold

Action = BudgetThreshold.Action
_LABELS: Final = {
    Action.TELL: _("Tell the owners at"),
    Action.HOLD: _("Hold new orders at"),
    Action.PAUSE: _("Pause resources at"),
}
_HELP: Final = {
    Action.TELL: _("Per cent, such as 75, 90, 100. Owners, managers and whoever leads the project get a mail."),
    Action.HOLD: _("Orders that cost something wait until an owner or manager of the organization agrees."),
    Action.PAUSE: _("What costs something and can be paused is paused, and resumed when the budget is raised."),
}


class PercentsField(forms.CharField):
    """Whole per cents, with commas or spaces between them."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        found = text.replace("%", " ").replace(",", " ").split()
        if not all(word.isdecimal() and len(word) <= 4 for word in found):
            raise forms.ValidationError(gettext("Whole numbers of per cent, such as 75, 90, 100."), code="not_percents")
        return [int(word) for word in found]


class ThresholdsForm(forms.Form):
    """A line of per cents for each action."""

    def __init__(self, *args: Any, given: Iterable[Threshold] = USUAL_THRESHOLDS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = list(given)
        for action, label in _LABELS.items():
            self.fields[action.value] = PercentsField(
                label=label,
                help_text=_HELP[action],
                required=False,
                max_length=80,
                initial=", ".join(str(one.percent) for one in sorted(given) if one.action == action.value),
                widget=forms.TextInput(attrs={"autocomplete": "off"}),
            )
            self.fields[action.value].suffix = "%"  # type: ignore[attr-defined]

    def thresholds(self) -> list[Threshold]:
        return [Threshold(percent, a.value) for a in _LABELS for percent in self.cleaned_data[a.value]]


class BudgetForm(ThresholdsForm):
    """A new budget."""

    amount = forms.DecimalField(
        label=_("Amount"), help_text=_("Without tax."), widget=forms.TextInput(attrs={"inputmode": "decimal"})
    )
    span = forms.ChoiceField(label=_("For"), choices=Budget.Span.choices)
    reason = forms.CharField(label=_("A word about it"), required=False, max_length=500)

    def __init__(self, currency: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["amount"].suffix = currency  # type: ignore[attr-defined]
        self.order_fields(["amount", "span", *(a.value for a in _LABELS), "reason"])


class ChangeForm(forms.Form):
    """Another amount, and why."""

    amount = forms.DecimalField(label=_("New amount"), widget=forms.TextInput(attrs={"inputmode": "decimal"}))
    reason = forms.CharField(label=_("Why"), max_length=500)

    def __init__(self, currency: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, auto_id="change_%s", **kwargs)  # it stands beside others on its page
        self.fields["amount"].suffix = currency  # type: ignore[attr-defined]


class CloseForm(forms.Form):
    """Why a budget is closed."""

    reason = forms.CharField(label=_("Why it is closed"), max_length=500)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, auto_id="close_%s", **kwargs)
