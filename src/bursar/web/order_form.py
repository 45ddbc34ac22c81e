"""An offering's order form as a form of a page.

    form = SchemaForm(offering.order_form, request.POST or None, prefix="form", initial=resource.form)
    if form.is_valid():
        form.values  # typed, checked, with defaults: what `validate_values` gave

What is asked only with some answers is left out until they are given: show the form again when something in it changes
(`hx-trigger="change"`), or without scripts when it is sent.
"""

from collections.abc import Mapping
from typing import Any

from django import forms
from django.utils.html import escape
from django.utils.translation import gettext as _

from bursar.catalogue.errors import InvalidForm
from bursar.catalogue.order_form import (
    FormField,
    asked_fields,
    form_fields,
    pattern_words,
    validate_values,
    values_from_post,
)


class SchemaForm(forms.Form):
    """schema: a valid order form; initial: values of an earlier time, in place of the defaults."""

    def __init__(
        self,
        schema: Mapping[str, Any],
        data: Mapping[str, str] | None = None,
        *,
        prefix: str = "form",
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        defaults = {f.name: f.default for f in form_fields(schema) if f.default is not None}
        super().__init__(data, prefix=prefix, initial={**defaults, **(initial or {})})
        self.schema = schema
        self.values: dict[str, Any] = {}
        answers = values_from_post(schema, data, f"{prefix}-") if data is not None else dict(self.initial)
        for field in asked_fields(schema, answers):
            self.fields[field.name] = _shown(field)

    def _clean_fields(self) -> None:
        """Nothing is cleaned field by field: the order form's own check says what is wrong, here as in the API."""
        self.cleaned_data = {}

    def clean(self) -> dict[str, Any]:
        try:
            self.values = validate_values(self.schema, values_from_post(self.schema, self.data, f"{self.prefix}-"))
        except InvalidForm as refusal:
            for name, text in refusal.errors.items():
                said = forms.ValidationError(text, code=refusal.code)
                self.add_error(name if name in self.fields else None, said)
        return self.values


def for_browsers(pattern: str) -> str:
    """A regular expression as the attribute `pattern` wants it: there, inside [ ], marks that mean themselves are escaped.

    Browsers read the attribute in the mode `v` of ECMAScript, where [a-z-] is an error and [a-z\\-] is not.
    """
    told: list[str] = []
    inside = False
    chars = list(pattern)
    for place, char in enumerate(chars):
        escaped = (len(pattern[:place]) - len(pattern[:place].rstrip("\\"))) % 2 == 1
        if escaped or not inside:
            inside = inside or (char == "[" and not escaped)
            told.append(char)
            continue
        if char == "]":
            inside = False
        between = chars[place - 1] != "[" and chars[place + 1 : place + 2] != ["]"]
        told.append("\\" + char if char in "(){}/|[" or (char == "-" and not between) else char)
    return "".join(told)


def _shown(field: FormField) -> forms.Field:
    # Labels are escaped by the templates, help texts are not.
    common: dict[str, Any] = {
        "label": field.title,
        "help_text": escape(field.description),
        "required": field.required and field.type != "boolean",
    }
    spec = field.spec
    if field.choices:
        choices = [(str(value), label) for value, label in field.choices]
        if not (field.required and field.default is not None):
            choices.insert(0, ("", _("Choose…") if field.required else _("None")))
        return forms.ChoiceField(choices=choices, **common)
    match field.type:
        case "boolean":
            return forms.BooleanField(**common)
        case "integer":
            return forms.IntegerField(min_value=spec.get("minimum"), max_value=spec.get("maximum"), **common)
        case "number":
            return forms.FloatField(min_value=spec.get("minimum"), max_value=spec.get("maximum"), **common)
    widget: forms.Widget = forms.TextInput()
    if spec.get("format") in ("multiline", "ssh-public-key"):
        widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false"})
    pattern = spec.get("pattern", "")
    if pattern.startswith("^") and pattern.endswith("$") and isinstance(widget, forms.TextInput):
        widget.attrs["pattern"] = for_browsers(pattern[1:-1])
        widget.attrs["title"] = pattern_words(spec)  # which the browser adds to its own complaint
    return forms.CharField(
        min_length=spec.get("minLength"), max_length=spec.get("maxLength"), strip=False, widget=widget, **common
    )
