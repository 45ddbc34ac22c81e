"""Order forms: the subset of JSON Schema that a form may use, checked when it is written and when it is filled in.

    {"type": "object",
     "properties": {
       "flavor": {"type": "string", "title": "Size", "enum": ["small", "large"], "x-labels": {"small": "2 cores"}},
       "gpu":    {"type": "boolean", "title": "With a GPU", "default": false},
       "model":  {"type": "string", "enum": ["a100", "h100"], "x-when": {"property": "gpu", "is": [true]}}},
     "required": ["flavor", "model"],
     "x-order": ["flavor", "gpu", "model"]}

Beyond JSON Schema: `x-labels` (a value's text -> what is shown for it), `x-when` (asked, and so required, only when an
earlier property has one of these values), `x-pattern-words` (what is said to whoever writes what the pattern does not
allow), `x-order` (the database does not keep the order of properties), and the
formats `multiline` and `ssh-public-key` of strings. There are no nested objects, lists, references or free additional
properties.
"""

import math
import re

# What parses patterns in the standard library has no public name; its tree tells what a pattern may cost.
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as sre_parser  # type: ignore[import-not-found]
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jsonschema
from django.utils.translation import gettext as _

from bursar.catalogue.errors import InvalidForm, InvalidOrderForm
from bursar.kernel.refusals import words
from bursar.structure.errors import InvalidSshKey
from bursar.structure.ssh import read_public_key

TYPES: Final = ("string", "integer", "number", "boolean")
FORMATS: Final = ("multiline", "ssh-public-key")
PROPERTIES_MAX: Final = 40
CHOICES_MAX: Final = 200
TEXT_LENGTH_MAX: Final = 10_000
TEXT_LENGTH_USUAL: Final = 2_000  # of a text whose form names no greatest length
PATTERN_LENGTH_MAX: Final = 200
PATTERN_TEXT_LENGTH_USUAL: Final = 256
PATTERN_STEPS_MAX: Final = 20_000_000
INTEGER_MAX: Final = 2**53  # what every JSON reader holds exactly

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_META: Final[Mapping[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["type", "properties"],
    "properties": {
        "$schema": {"type": "string"},
        "type": {"const": "object"},
        "title": {"type": "string", "maxLength": 120},
        "description": {"type": "string", "maxLength": 1000},
        "properties": {
            "type": "object",
            "maxProperties": PROPERTIES_MAX,
            "additionalProperties": {"$ref": "#/$defs/property"},
        },
        "required": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "additionalProperties": {"const": False},
        "x-order": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
    },
    "$defs": {
        "property": {
            "type": "object",
            "additionalProperties": False,
            "required": ["type"],
            "properties": {
                "type": {"enum": list(TYPES)},
                "title": {"type": "string", "minLength": 1, "maxLength": 120},
                "description": {"type": "string", "maxLength": 1000},
                "default": {"type": ["string", "number", "boolean"]},
                "enum": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": CHOICES_MAX,
                    "uniqueItems": True,
                    "items": {"type": ["string", "number"]},
                },
                "x-labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 200}},
                "minLength": {"type": "integer", "minimum": 0, "maximum": TEXT_LENGTH_MAX},
                "maxLength": {"type": "integer", "minimum": 1, "maximum": TEXT_LENGTH_MAX},
                "pattern": {"type": "string", "minLength": 1, "maxLength": PATTERN_LENGTH_MAX},
                "x-pattern-words": {"type": "string", "minLength": 1, "maxLength": 200},
                "format": {"enum": list(FORMATS)},
                "minimum": {"type": "number", "minimum": -INTEGER_MAX, "maximum": INTEGER_MAX},
                "maximum": {"type": "number", "minimum": -INTEGER_MAX, "maximum": INTEGER_MAX},
                "x-when": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["property", "is"],
                    "properties": {
                        "property": {"type": "string"},
                        "is": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": CHOICES_MAX,
                            "items": {"type": ["string", "number", "boolean"]},
                        },
                    },
                },
            },
        }
    },
}

_KEYWORDS_OF: Final = {
    "string": {"enum", "x-labels", "minLength", "maxLength", "pattern", "x-pattern-words", "format"},
    "integer": {"enum", "x-labels", "minimum", "maximum"},
    "number": {"enum", "x-labels", "minimum", "maximum"},
    "boolean": set[str](),
}
_COMMON_KEYWORDS: Final = {"type", "title", "description", "default", "x-when"}


def _is_integer(_checker: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= INTEGER_MAX


def _is_number(_checker: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_Strict: Final = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)
_meta_validator: Final = _Strict(_META)


EMPTY: Final[Mapping[str, Any]] = {"type": "object", "properties": {}, "required": [], "x-order": []}


@dataclass(frozen=True, slots=True)
class FormField:
    """One property of a form, in order, as a page or a program wants it."""

    name: str
    type: str
    title: str
    description: str
    required: bool
    default: Any
    choices: tuple[tuple[Any, str], ...]
    spec: Mapping[str, Any]

    @property
    def condition(self) -> tuple[str, tuple[Any, ...]] | None:
        """The earlier property, and the values of it with which this one is asked."""
        when = self.spec.get("x-when")
        return (when["property"], tuple(when["is"])) if when else None


def form_fields(schema: Mapping[str, Any]) -> tuple[FormField, ...]:
    """The fields of a valid form, in order; of an empty one, none."""
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    return tuple(
        FormField(
            name=name,
            type=spec["type"],
            title=spec.get("title") or name.replace("_", " ").replace("-", " ").capitalize(),
            description=spec.get("description", ""),
            required=name in required,
            default=spec.get("default"),
            choices=tuple(
                (value, spec.get("x-labels", {}).get(str(value), str(value))) for value in spec.get("enum", ())
            ),
            spec=spec,
        )
        for name, spec in ((name, properties[name]) for name in _order(schema))
    )


def _order(schema: Mapping[str, Any]) -> list[str]:
    properties = schema.get("properties", {})
    stated = [name for name in schema.get("x-order", ()) if name in properties]
    return stated + [name for name in properties if name not in stated]


def validate_schema(schema: Any) -> dict[str, Any]:
    """The form as it is stored: checked, with its order stated. Nothing ({}) is the empty form.

    raises   InvalidOrderForm with what is wrong at each place
    """
    if schema == {}:
        return dict(EMPTY)
    errors = dict(_schema_problems(schema))
    if errors:
        problems = " ".join(f"{where}: {text}" for where, text in errors.items())
        raise InvalidOrderForm(problems=problems, errors=errors)
    return {
        **{key: value for key, value in schema.items() if key != "$schema"},
        "required": list(schema.get("required", ())),
        "x-order": _order(schema),
    }


def _schema_problems(schema: Any) -> Iterator[tuple[str, str]]:
    structural = sorted(_meta_validator.iter_errors(schema), key=lambda error: [str(part) for part in error.path])
    for error in structural:
        where = ".".join(str(part) for part in error.path) or _("form")
        yield where, _structural_message(error)
    if structural:
        return
    properties: Mapping[str, Mapping[str, Any]] = schema["properties"]
    for name in (*schema.get("required", ()), *schema.get("x-order", ())):
        if name not in properties:
            yield name, _("The form names it but has no such field.")
    seen: list[str] = []
    for name in _order(schema):
        for problem in _property_problems(name, properties[name], {n: properties[n] for n in seen}):
            yield name, problem
            break
        seen.append(name)


def _structural_message(error: Any) -> str:
    if error.validator == "additionalProperties":
        unknown = ", ".join(sorted(set(error.instance) - set(error.schema.get("properties", {}))))
        return _("These words are not allowed here: %(words)s.") % {"words": unknown}
    if error.validator == "required":
        absent = ", ".join(sorted(set(error.validator_value) - set(error.instance)))
        return _("This is missing: %(words)s.") % {"words": absent}
    if error.validator in ("enum", "const"):
        allowed = error.validator_value if error.validator == "enum" else [error.validator_value]
        return _("It must be one of: %(values)s.") % {"values": ", ".join(str(value) for value in allowed)}
    if error.validator == "type":
        return _("It must be of the type %(type)s.") % {"type": error.validator_value}
    if error.validator in ("maxLength", "maxItems", "maxProperties", "maximum"):
        return _("It is more than %(limit)s.") % {"limit": error.validator_value}
    if error.validator in ("minLength", "minItems", "minimum"):
        return _("It is less than %(limit)s.") % {"limit": error.validator_value}
    return _("It may hold each thing once.")


def _property_problems(name: str, spec: Mapping[str, Any], earlier: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    kind = spec["type"]
    if not _NAME.fullmatch(name):
        yield _("A field's name begins with a small letter and holds small letters, digits, _ and -, at most 40.")
    wrong = sorted(set(spec) - _COMMON_KEYWORDS - _KEYWORDS_OF[kind])
    if wrong:
        yield _("A field of the type %(type)s has no %(words)s.") % {"type": kind, "words": ", ".join(wrong)}
        return
    if spec.get("minLength", 0) > spec.get("maxLength", TEXT_LENGTH_MAX):
        yield _("The smallest length is above the greatest.")
    if "minimum" in spec and "maximum" in spec and spec["minimum"] > spec["maximum"]:
        yield _("The smallest value is above the greatest.")
    if "pattern" in spec:
        yield from _pattern_problems(spec)
    for value in spec.get("enum", ()):
        if _problem_of_value({"type": kind}, value):
            yield _("The choice “%(value)s” is not of the type %(type)s.") % {"value": value, "type": kind}
    if set(spec.get("x-labels", {})) - {str(value) for value in spec.get("enum", ())}:
        yield _("A label belongs to no choice.")
    if spec.get("default", "") != "":
        problem = _problem_of_value(spec, spec["default"])
        if problem:
            yield _("The default does not fit: %(problem)s") % {"problem": problem}
    when = spec.get("x-when")
    if when is None:
        return
    other = earlier.get(when["property"])
    if other is None:
        yield _("The condition must name a field that comes before this one.")
        return
    for value in when["is"]:
        if _problem_of_value(other, value):
            yield _("The condition's value “%(value)s” can never be chosen.") % {"value": value}


def _pattern_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    """A pattern runs on what strangers write, so it may not be one that takes for ever."""
    try:
        tree = sre_parser.parse(spec["pattern"])
    except (re.error, RecursionError, OverflowError):
        yield _("The pattern is not a regular expression.")
        return
    length = spec.get("maxLength", PATTERN_TEXT_LENGTH_USUAL)
    try:
        steps = _steps(tree, length)
    except _NotWeighed:
        yield _("The pattern looks around or refers back: write it more simply.")
        return
    if not (len(tree) and tree[0] == (sre.AT, sre.AT_BEGINNING)):
        steps += math.log2(length + 1)  # a search begins anew at each character
    if steps > math.log2(PATTERN_STEPS_MAX):
        yield _(
            "The pattern could take too long: begin it with ^, let nothing that repeats stand inside a repeat, "
            "and allow shorter texts."
        )


class _NotWeighed(Exception):
    """Whether such a pattern ends in time cannot be told from its parts."""


def _steps(tree: Any, length: int) -> float:
    """At most so many ways (as a power of two) to try a parsed pattern on a text of this length from one place on."""
    steps = 0.0
    for code, argument in tree:
        if code in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            low, high, body = argument
            most = min(high, length)
            steps += math.log2(max(1, most - low + 1)) + _steps(body, length) * most
        elif code is sre.SUBPATTERN:
            steps += _steps(argument[-1], length)
        elif code is sre.BRANCH:
            steps += math.log2(sum(2 ** min(64.0, _steps(branch, length)) for branch in argument[1]))
        elif code not in (sre.LITERAL, sre.NOT_LITERAL, sre.IN, sre.ANY, sre.AT):
            raise _NotWeighed
    return steps


def validate_values(schema: Mapping[str, Any], values: Any) -> dict[str, Any]:
    """What was filled in, with defaults put in, in the form's order.

    raises   InvalidForm with a message per field
    """
    if not isinstance(values, Mapping):
        raise _invalid({"form": _("What is filled in must be an object of fields and values.")})
    fields = form_fields(schema)
    known = {field.name for field in fields}
    errors = {str(name): _("This form has no such field.") for name in values if name not in known}
    cleaned: dict[str, Any] = {}
    for field in fields:
        value = values.get(field.name)
        given = value is not None and value != ""
        if not _is_asked(field, cleaned):
            if given:
                errors[field.name] = _not_asked(field, fields)
            continue
        if not given:
            if field.default not in (None, ""):
                cleaned[field.name] = field.default
            elif field.required:
                errors[field.name] = _("This is needed.")
            continue
        problem = _problem_of_value(field.spec, value)
        if problem:
            errors[field.name] = problem
        else:
            cleaned[field.name] = value
    if errors:
        raise _invalid(errors)
    return cleaned


def _invalid(errors: Mapping[str, str]) -> InvalidForm:
    return InvalidForm(problems=" ".join(f"{name}: {text}" for name, text in errors.items()), errors=dict(errors))


def _is_asked(field: FormField, cleaned: Mapping[str, Any]) -> bool:
    if field.condition is None:
        return True
    other, wanted = field.condition
    return any(_same(cleaned.get(other), value) for value in wanted)


def asked_fields(schema: Mapping[str, Any], answers: Mapping[str, Any]) -> tuple[FormField, ...]:
    """The fields that are asked with these answers, in order."""
    asked: list[FormField] = []
    known: dict[str, Any] = {}
    for field in form_fields(schema):
        if _is_asked(field, known):
            asked.append(field)
            known[field.name] = answers.get(field.name, field.default)
    return tuple(asked)


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _not_asked(field: FormField, fields: Sequence[FormField]) -> str:
    assert field.condition is not None
    other, wanted = field.condition
    title = next(f.title for f in fields if f.name == other)
    return _("This is only asked when “%(other)s” is %(values)s.") % {
        "other": title,
        "values": ", ".join(_shown(value) for value in wanted),
    }


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)


def _problem_of_value(spec: Mapping[str, Any], value: Any) -> str:
    """What is wrong with a value of one field; "" when nothing is."""
    checked = {
        key: spec[key]
        for key in ("type", "enum", "minLength", "maxLength", "minimum", "maximum", "pattern")
        if key in spec
    }
    if spec["type"] == "string":
        checked.setdefault("maxLength", PATTERN_TEXT_LENGTH_USUAL if "pattern" in spec else TEXT_LENGTH_USUAL)
        if isinstance(value, str) and len(value) > checked["maxLength"]:
            checked.pop("pattern", None)  # never tried on more than it was weighed for
    error = next(iter(_Strict(checked).iter_errors(value)), None)
    if error is not None:
        return _value_message(spec, error)
    if isinstance(value, str):
        return _text_problem(spec, value)
    return ""


def _text_problem(spec: Mapping[str, Any], value: str) -> str:
    allowed = "\n\t" if spec.get("format") == "multiline" else ""
    if any((ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000) and c not in allowed for c in value):
        return _("It holds control characters or line breaks.")
    if spec.get("format") == "ssh-public-key":
        try:
            read_public_key(value)
        except InvalidSshKey as refusal:
            return words(refusal, _)
    return ""


def _value_message(spec: Mapping[str, Any], error: Any) -> str:
    limit = error.validator_value
    match error.validator:
        case "type":
            return {
                "string": _("It must be a text."),
                "integer": _("It must be a whole number."),
                "number": _("It must be a number."),
                "boolean": _("It must be true or false."),
            }[spec["type"]]
        case "enum":
            return _("It must be one of: %(values)s.") % {"values": ", ".join(str(value) for value in limit)}
        case "minLength":
            return _("It must have at least %(limit)s characters.") % {"limit": limit}
        case "maxLength":
            return _("It may have at most %(limit)s characters.") % {"limit": limit}
        case "minimum":
            return _("It must be at least %(limit)s.") % {"limit": limit}
        case "maximum":
            return _("It may be at most %(limit)s.") % {"limit": limit}
        case _:
            wrong_itself = error.instance == spec.get("default")
            return pattern_words({**spec, "default": ""} if wrong_itself else spec)


def pattern_words(spec: Mapping[str, Any]) -> str:
    """What is asked of a text that a pattern bounds, in the provider's words where there are any."""
    said = str(spec.get("x-pattern-words") or spec.get("description") or "")
    if said:
        return said
    if spec.get("default"):
        return _("It does not have the form that is asked for, such as “%(example)s”.") % {"example": spec["default"]}
    return _("It does not have the form that is asked for.")


def values_from_post(schema: Mapping[str, Any], posted: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    """What a page's form sent (texts; an unticked box is absent), in the types of the order form.

    A text that is not of its type stays a text, so that `validate_values` says so. Fields that are not asked with these
    answers are left out: the page only hides them.
    """
    values: dict[str, Any] = {}
    for field in form_fields(schema):
        text = posted.get(prefix + field.name)
        if field.type == "boolean":
            value: Any = text is not None and text not in ("", "false", "0")
        elif text is None or not text.strip():
            continue
        else:
            value = _typed(field, text.replace("\r\n", "\n"))
        if _is_asked(field, values):
            values[field.name] = value
    return values


def _typed(field: FormField, text: str) -> Any:
    for choice, _label in field.choices:
        if str(choice) == text:
            return choice
    try:
        if field.type == "integer":
            return int(text)
        if field.type == "number":
            number = float(text)
            return int(number) if number.is_integer() and abs(number) <= INTEGER_MAX else number
    except (ValueError, OverflowError):
        return text
    return text if field.spec.get("format") == "multiline" else text.strip()
