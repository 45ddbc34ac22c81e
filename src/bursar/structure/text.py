"""What people write, made fit to be kept: trimmed, composed, without characters that hide something."""

import unicodedata
from typing import Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.text import slugify

from bursar.structure.errors import InvalidEmail, TextMissing, TextNotAllowed, TextTooLong

# Marks that turn the direction of the text after them: with these one name can be made to look like another.
_TURNING: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def clean_line(value: str, *, field: str, limit: int, required: bool = True) -> str:
    """One line of text in composed form (NFC), with single spaces.

    raises   TextMissing, TextTooLong, TextNotAllowed
    """
    text = unicodedata.normalize("NFC", value).strip()
    if any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or c in _TURNING for c in text):
        raise TextNotAllowed(field=field)
    text = " ".join(text.split())
    if required and not text:
        raise TextMissing(field=field)
    if len(text) > limit:
        raise TextTooLong(field=field, limit=limit)
    return text


def clean_text(value: str, *, field: str, limit: int) -> str:
    """Several lines, perhaps none.

    raises   TextTooLong, TextNotAllowed
    """
    text = unicodedata.normalize("NFC", value).replace("\r\n", "\n").replace("\r", "\n").strip()
    if any((unicodedata.category(c) in {"Cc", "Cs"} and c not in "\n\t") or c in _TURNING for c in text):
        raise TextNotAllowed(field=field)
    if len(text) > limit:
        raise TextTooLong(field=field, limit=limit)
    return text


def clean_email(value: str) -> str:
    """A mail address in lower case, as it is compared and kept.

    raises   InvalidEmail
    """
    email = value.strip().lower()
    try:
        validate_email(email)
    except ValidationError:
        raise InvalidEmail(email=email[:254]) from None
    if len(email) > 254:
        raise InvalidEmail(email=email[:254])
    return email


def slug_of(name: str, *, otherwise: str, limit: int = 40) -> str:
    """A short name made from a name; `otherwise` where the name has no Latin letter or digit."""
    return slugify(name)[:limit].strip("-_") or otherwise
