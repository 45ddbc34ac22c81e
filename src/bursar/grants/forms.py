"""Forms that givers ask applicants to fill in: checked when they are written, and when they are answered.

[{"key": "abstract", "type": "long_text", "title": "Abstract", "help": "", "required": true, "length_max": 4000},
 {"key": "field", "type": "choice", "title": "Field", "choices": ["physics", "chemistry"], "required": true}]
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from bursar.grants.errors import InvalidAnswers, InvalidFormTemplate
from bursar.kernel.i18n import N_

TYPES: Final = ("text", "long_text", "choice", "number", "date", "yes_no", "file")
FIELDS_MAX: Final = 40
CHOICES_MAX: Final = 100
LENGTH_MAX: Final = 20_000
LENGTH_USUAL: Final = {"text": 200, "long_text": 5_000}
_KEY: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_KNOWN: Final = frozenset(
    {"key", "type", "title", "help", "required", "length_max", "choices", "number_min", "number_max"}
)


def clean_fields(fields: Any) -> list[dict[str, Any]]:
    """The fields as they are kept, each with everything stated.

    raises   InvalidFormTemplate, saying which field and why
    """
    if not isinstance(fields, Sequence) or isinstance(fields, str) or len(fields) > FIELDS_MAX:
        raise InvalidFormTemplate(place="–", problem=f"a list of at most {FIELDS_MAX} fields")
    cleaned, keys = [], set()
    for number, field in enumerate(fields, start=1):
        place = str(number)
        if not isinstance(field, Mapping) or not set(field) <= _KNOWN:
            raise InvalidFormTemplate(place=place, problem=f"a field holds only {', '.join(sorted(_KNOWN))}")
        key, kind, title = field.get("key"), field.get("type"), field.get("title")
        if not isinstance(key, str) or not _KEY.fullmatch(key) or key in keys:
            raise InvalidFormTemplate(place=place, problem="a key of its own, of small letters, digits and _")
        keys.add(key)
        if kind not in TYPES:
            raise InvalidFormTemplate(place=key, problem=f"one of the types {', '.join(TYPES)}")
        if not isinstance(title, str) or not title.strip() or len(title) > 200:
            raise InvalidFormTemplate(place=key, problem="a title of at most 200 characters")
        help_text = field.get("help", "")
        if not isinstance(help_text, str) or len(help_text) > 1000:
            raise InvalidFormTemplate(place=key, problem="a help of at most 1000 characters")
        if not isinstance(field.get("required", False), bool):
            raise InvalidFormTemplate(place=key, problem="required is true or false")
        one: dict[str, Any] = {
            "key": key,
            "type": kind,
            "title": title.strip(),
            "help": help_text.strip(),
            "required": field.get("required", False),
        }
        if kind in LENGTH_USUAL:
            length = field.get("length_max") or LENGTH_USUAL[kind]
            if isinstance(length, bool) or not isinstance(length, int) or not 1 <= length <= LENGTH_MAX:
                raise InvalidFormTemplate(place=key, problem=f"a length of 1 to {LENGTH_MAX}")
            one["length_max"] = length
        if kind == "choice":
            choices = field.get("choices")
            if (
                not isinstance(choices, Sequence)
                or isinstance(choices, str)
                or not 1 <= len(choices) <= CHOICES_MAX
                or not all(isinstance(c, str) and c.strip() and len(c) <= 200 for c in choices)
                or len(set(choices)) != len(choices)
            ):
                raise InvalidFormTemplate(place=key, problem=f"1 to {CHOICES_MAX} different choices")
            one["choices"] = list(choices)
        if kind == "number":
            for bound in ("number_min", "number_max"):
                value = field.get(bound)
                if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                    raise InvalidFormTemplate(place=key, problem="bounds that are numbers")
                one[bound] = value
        cleaned.append(one)
    return cleaned


def clean_answers(
    fields: Sequence[Mapping[str, Any]], answers: Mapping[str, Any], *, files: Collection[int], complete: bool = True
) -> dict[str, Any]:
    """The answers as they are kept; those that were left empty are left out.

    files     ids of the application's attachments, which a field of type file may name
    complete  False for a draft: what is missing may come later
    raises    InvalidAnswers with what is wrong at each field
    """
    known = {field["key"]: field for field in fields}
    problems: dict[str, str] = {key: N_("This is not asked.") for key in answers if key not in known}
    cleaned: dict[str, Any] = {}
    for key, field in known.items():
        value = answers.get(key)
        if isinstance(value, str):
            value = value.replace("\r\n", "\n").strip()
        if value is None or value == "":
            if field["required"] and complete:
                problems[key] = N_("This has to be answered.")
            continue
        problem, kept = _checked(field, value, files)
        if problem:
            problems[key] = problem
        else:
            cleaned[key] = kept
    if problems:
        titles = [str(known[key]["title"]) if key in known else str(key)[:40] for key in problems]
        raise InvalidAnswers(problems="; ".join(titles), errors=problems)
    return cleaned


def _checked(field: Mapping[str, Any], value: Any, files: Collection[int]) -> tuple[str, Any]:
    kind = field["type"]
    if kind in LENGTH_USUAL:
        if not isinstance(value, str) or "\x00" in value:
            return N_("This is a text."), None
        if kind == "text" and "\n" in value:
            return N_("This is one line."), None
        return (N_("This is too long."), None) if len(value) > field["length_max"] else ("", value)
    if kind == "choice":
        return ("", value) if value in field["choices"] else (N_("This is not one of the choices."), None)
    if kind == "number":
        try:
            number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
        except InvalidOperation:
            number = Decimal("NaN")
        if not number.is_finite() or abs(number) > 10**15:
            return N_("This is not a number."), None
        low, high = field.get("number_min"), field.get("number_max")
        if (low is not None and number < Decimal(str(low))) or (high is not None and number > Decimal(str(high))):
            return N_("This is outside of what is possible."), None
        return "", int(number) if number == number.to_integral_value() else float(number)
    if kind == "date":
        try:
            return "", date.fromisoformat(value if isinstance(value, str) else "").isoformat()
        except ValueError:
            return N_("This is not a date such as 2026-11-30."), None
    if kind == "yes_no":
        return ("", value) if isinstance(value, bool) else (N_("This is yes or no."), None)
    if isinstance(value, bool) or not isinstance(value, int) or value not in files:
        return N_("This is not a file of this application."), None
    return "", value
