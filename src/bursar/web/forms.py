"""How forms look and speak: Tabler's markup, errors tied to their fields, refusals beside what caused them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django import forms
from django.forms.boundfield import BoundField
from django.forms.renderers import TemplatesSetting
from django.utils.translation import gettext

from bursar.kernel.errors import DomainError
from bursar.kernel.quantity import Unit
from bursar.kernel.refusals import words
from bursar.web.errors import is_about_rights

_CLASSES: tuple[tuple[type[forms.Widget], str], ...] = (
    (forms.CheckboxInput, "form-check-input"),
    (forms.CheckboxSelectMultiple, "form-check-input"),
    (forms.RadioSelect, "form-check-input"),
    (forms.Select, "form-select"),
    (forms.HiddenInput, ""),
    (forms.MultipleHiddenInput, ""),
    (forms.Widget, "form-control"),
)


class TablerBoundField(BoundField):
    """A field that knows the class of its widget and says `is-invalid` when it is."""

    def build_widget_attrs(self, attrs: dict[str, Any], widget: forms.Widget | None = None) -> dict[str, Any]:
        widget = widget or self.field.widget
        built = super().build_widget_attrs(attrs, widget)
        own = next(name for kind, name in _CLASSES if isinstance(widget, kind))
        given = widget.attrs.get("class", "")
        names = [own, given, "is-invalid" if self.errors and not widget.is_hidden else ""]
        built["class"] = " ".join(name for name in names if name)
        return built

    @property
    def kind(self) -> str:
        """Which markup the template uses: check, choices, or control."""
        widget = self.field.widget
        if isinstance(widget, forms.RadioSelect | forms.CheckboxSelectMultiple):
            return "choices"
        return "check" if isinstance(widget, forms.CheckboxInput) else "control"

    @property
    def suffix(self) -> str:
        """The unit that stands behind the input."""
        return str(getattr(self.field, "suffix", "") or "")


class TablerRenderer(TemplatesSetting):
    form_template_name = "bursar/forms/form.html"
    formset_template_name = "bursar/forms/formset.html"
    field_template_name = "bursar/forms/field.html"
    bound_field_class = TablerBoundField


class QuantityField(forms.CharField):
    """An amount typed in a unit; the value is whole ticks, exact, or a refusal that names the nearest amounts.

    unit      how the amount is read and shown; may be set later with `set_unit`
    """

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def __init__(self, *, unit: Unit | None = None, minimum: int | None = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.minimum_ticks = minimum
        self.set_unit(unit)

    def set_unit(self, unit: Unit | None) -> None:
        self.unit = unit
        self.suffix = unit.name if unit else ""

    def prepare_value(self, value: Any) -> Any:
        return self.unit.text(value) if self.unit and isinstance(value, int) and not isinstance(value, bool) else value

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if text in self.empty_values:
            return None
        if self.unit is None:
            raise LookupError("a quantity field needs its unit before it can be read")
        try:
            ticks = self.unit.ticks(Decimal(text) if isinstance(text, Decimal) else text)
        except DomainError as refusal:
            raise forms.ValidationError(words(refusal, gettext), code=refusal.code) from refusal
        if self.minimum_ticks is not None and ticks < self.minimum_ticks:
            raise forms.ValidationError(
                gettext("At least {amount} {unit}.").format(
                    amount=self.unit.text(self.minimum_ticks), unit=self.unit.name
                ),
                code="too_small",
            )
        return ticks


def set_unit(form: forms.BaseForm, name: str, unit: Unit) -> None:
    """Say in which unit an amount of a form is typed, where only the form's maker knows it."""
    field = form.fields[name]
    assert isinstance(field, QuantityField)
    field.set_unit(unit)


class DateTimeField(forms.DateTimeField):
    """A date with a time, in the viewer's time zone, with the browser's own picker."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local", "step": "60"}, format="%Y-%m-%dT%H:%M")


class DateField(forms.DateField):
    """A day, with the browser's own picker."""

    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


@contextmanager
def refusals_in(form: forms.BaseForm, fields: dict[str, str] | None = None) -> Iterator[None]:
    """Show a refusal raised inside at the form: by the field that its fact `field` names, or above all fields.

    Not one about rights: the page that says so has its own status.

    fields   refusal code -> form field, where the refusal itself does not say
    """
    try:
        yield
    except DomainError as refusal:
        if is_about_rights(refusal):
            raise
        by_field = refusal.facts.get("errors")
        if isinstance(by_field, Mapping) and by_field:
            for name, text in by_field.items():
                known = name in form.fields
                said = forms.ValidationError(text if known else f"{name}: {text}", code=refusal.code)
                form.add_error(name if known else None, said)
            return
        field = (fields or {}).get(refusal.code) or refusal.facts.get("field")
        form.add_error(
            field if field in form.fields else None, forms.ValidationError(words(refusal, gettext), code=refusal.code)
        )


def attempt(form: forms.BaseForm, action: Callable[[dict[str, Any]], Any], **fields: str) -> Any:
    """Clean the form and, when it is valid, do it; what it returns, or None when the form has errors to show."""
    if not form.is_valid():
        return None
    outcome = None
    with refusals_in(form, fields):
        outcome = action(form.cleaned_data)
    return None if form.errors else outcome
