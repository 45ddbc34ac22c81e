"""A form made from a plugin's settings model: its types, titles, descriptions, defaults and choices.

Secrets are asked for and never shown: the page says whether one is set, and leaving the field blank keeps it.
"""

import json
import types
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

from django import forms
from django.utils.html import escape
from django.utils.translation import gettext as _
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from bursar.plugins.contract import BackendSettings, operator_only

NAME_FIELD = "backend_name"


class BackendForm(forms.Form):
    """The name of a backend and its settings. `settings_values()` are raw values for the service, which checks them.

    stored       the settings that are not secret, when there are some
    secrets_set  the names of the secrets that have a value
    operator     whether who fills it in may set what names files of the machine that Bursar runs on
    """

    backend_name = forms.CharField(max_length=120)

    def __init__(
        self,
        model: type[BackendSettings],
        data: Any = None,
        *,
        name: str = "",
        stored: Mapping[str, Any] | None = None,
        secrets_set: Collection[str] = (),
        operator: bool = False,
    ) -> None:
        super().__init__(data, initial={NAME_FIELD: name})
        self.model = model
        self.secrets_set = frozenset(secrets_set)
        self.kept_from = False  # the person who fills it in from some of its fields
        self.fields[NAME_FIELD].label = _("Name")
        self.fields[NAME_FIELD].help_text = _("How people at the provider call this backend.")
        for key, info in model.model_fields.items():
            field = _field_of(key, info, self.secrets_set)
            if stored is not None and key in stored:
                field.initial = field.to_page(stored[key]) if isinstance(field, _Shaped) else stored[key]
            if not operator and key in operator_only(model):
                field.disabled = True
                note = escape(_("Set by the platform's operator."))
                field.help_text = f"{field.help_text} {note}".strip()
                self.kept_from = True
            self.fields[key] = field
            if isinstance(field, _Secret) and field.is_set and not info.is_required():
                self.fields[f"{key}__clear"] = forms.BooleanField(
                    required=False, label=_("Take “%(name)s” away") % {"name": field.label}
                )

    def settings_values(self) -> dict[str, Any]:
        """What was typed, for `create_backend` and `edit_backend`; only of a valid form."""
        values: dict[str, Any] = {}
        for key in self.model.model_fields:
            value = self.cleaned_data.get(key)
            field = self.fields[key]
            if isinstance(field, _Secret):
                if self.cleaned_data.get(f"{key}__clear"):
                    values[key] = None
                elif value:
                    values[key] = value
            elif value is not None and (value != "" or isinstance(field, forms.CharField)):
                values[key] = value
            elif value is None and _optional(self.model.model_fields[key].annotation):
                values[key] = None
        return values

    def add_error(self, field: str | None, error: Any) -> None:
        """Faults inside a list or a mapping ("hosts.0") stand by the whole of it."""
        if field is not None and field not in self.fields and field.split(".")[0] in self.fields:
            field = field.split(".", maxsplit=1)[0]
        super().add_error(NAME_FIELD if field == "name" and "name" not in self.fields else field, error)


class _Secret(forms.CharField):
    def __init__(self, *, is_set: bool, **options: Any) -> None:
        super().__init__(
            widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
            strip=False,
            **options,
        )
        self.is_set = is_set


class _Shaped(forms.CharField):
    """A text that stands for something else."""

    def to_page(self, value: Any) -> str:
        raise NotImplementedError


class _Lines(_Shaped):
    """One item per line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}), **options)

    def to_page(self, value: Any) -> str:
        return "\n".join(str(item) for item in value or ())

    def clean(self, value: Any) -> Any:
        return [line.strip() for line in super().clean(value).splitlines() if line.strip()]


class _Pairs(_Shaped):
    """One `name = value` per line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}), **options)

    def to_page(self, value: Any) -> str:
        return "\n".join(f"{key} = {item}" for key, item in (value or {}).items())

    def clean(self, value: Any) -> Any:
        pairs: dict[str, str] = {}
        for line in super().clean(value).splitlines():
            if not line.strip():
                continue
            key, equals, item = line.partition("=")
            if not equals or not key.strip():
                raise forms.ValidationError(
                    _("Write one “name = value” per line; this is none: %(line)s") % {"line": line}
                )
            pairs[key.strip()] = item.strip()
        return pairs


class _Json(_Shaped):
    """Whatever has no simpler shape, as JSON."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}), **options)

    def to_page(self, value: Any) -> str:
        return json.dumps(value, indent=2, ensure_ascii=False)

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text.strip():
            return None
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise forms.ValidationError(_("This is not JSON: %(why)s") % {"why": str(error)}) from None


def _optional(annotation: Any) -> bool:
    return type(None) in get_args(annotation) and get_origin(annotation) in (Union, types.UnionType)


def _core(annotation: Any) -> Any:
    """The type without Annotated and without None."""
    if hasattr(annotation, "__metadata__"):
        return _core(annotation.__origin__)
    if _optional(annotation):
        rest = [part for part in get_args(annotation) if part is not type(None)]
        if len(rest) == 1:
            return _core(rest[0])
    return annotation


def _bounds(info: FieldInfo) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for constraint in info.metadata:
        if (low := getattr(constraint, "ge", None)) is not None:
            found["min_value"] = low
        if (high := getattr(constraint, "le", None)) is not None:
            found["max_value"] = high
    return found


def _field_of(key: str, info: FieldInfo, secrets_set: Collection[str]) -> forms.Field:
    kind = _core(info.annotation)
    hint = escape(_(info.description) if info.description else "")
    options: dict[str, Any] = {
        "label": _(info.title) if info.title else key.replace("_", " ").capitalize(),
        "required": info.is_required(),
        "help_text": hint,
    }
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if kind is SecretStr:
        is_set = key in secrets_set
        said = _("It is set. Leave this blank to keep it.") if is_set else _("It is stored encrypted and never shown.")
        options |= {"required": info.is_required() and not is_set, "help_text": f"{hint} {escape(said)}".strip()}
        return _Secret(is_set=is_set, **options)
    if kind is bool:
        return forms.BooleanField(**{**options, "required": False, "initial": default})
    choices = _choices(kind)
    if choices:
        if not info.is_required() and default is None:
            choices.insert(0, ("", _("None")))
        initial = default.value if isinstance(default, Enum) else default
        return forms.TypedChoiceField(
            choices=choices,
            coerce=lambda text: _choice(kind, text),
            empty_value=None,
            **{**options, "initial": initial},
        )
    if kind is int:
        return forms.IntegerField(**options, **_bounds(info), initial=default)
    if kind is float:
        return forms.FloatField(**options, **_bounds(info), initial=default)
    if kind is str:
        limit = next((m.max_length for m in info.metadata if getattr(m, "max_length", None)), None)
        widget = forms.Textarea(attrs={"rows": 4}) if limit and limit > 500 else forms.TextInput()
        return forms.CharField(**options, max_length=limit, widget=widget, initial=default)
    origin, parts = get_origin(kind), get_args(kind)
    shape: type[_Shaped] = _Json
    if origin in (list, tuple, set, frozenset) and parts and _core(parts[0]) is str:
        shape = _Lines
        options["help_text"] = f"{hint} {escape(_('One per line.'))}".strip()
    elif (origin is dict or origin is Mapping or str(origin).endswith("Mapping'>")) and [_core(p) for p in parts] == [
        str
    ] * 2:
        shape = _Pairs
        options["help_text"] = f"{hint} {escape(_('One “name = value” per line.'))}".strip()
    field = shape(**options)
    if default is not None:
        field.initial = field.to_page(default)
    return field


def _choices(kind: Any) -> list[tuple[str, str]]:
    if get_origin(kind) is Literal:
        return [(str(value), str(value)) for value in get_args(kind)]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [(str(item.value), str(item.value)) for item in kind]
    return []


def _choice(kind: Any, text: str) -> Any:
    values = get_args(kind) if get_origin(kind) is Literal else [item.value for item in kind]
    return next((value for value in values if str(value) == text), text)
