"""The values that a field with a closed list may take: countries, currencies, time zones, languages."""

from functools import cache
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from babel import Locale
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from stdnum import get_cc_module
from stdnum.exceptions import ValidationError as NumberError

from bursar.structure.errors import InvalidValue


@cache
def countries() -> dict[str, str]:
    """ISO 3166 codes and English names, by name."""
    territories = Locale("en").territories
    found = {code: name for code, name in territories.items() if len(code) == 2 and code.isalpha()}
    for not_a_country in ("EU", "EZ", "UN", "ZZ", "XA", "XB", "QO"):
        found.pop(not_a_country, None)
    return dict(sorted(found.items(), key=lambda item: item[1]))


@cache
def currencies() -> dict[str, str]:
    """ISO 4217 codes and English names, by code."""
    return dict(sorted(Locale("en").currencies.items()))


@cache
def time_zones() -> tuple[str, ...]:
    return tuple(sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC"))


def clean_country(value: str) -> str:
    """raises   InvalidValue; nothing is allowed"""
    code = value.strip().upper()
    if code and code not in countries():
        raise InvalidValue(field="country", value=value[:40], expected="two letters of ISO 3166, such as FI")
    return code


def clean_currency(value: str) -> str:
    """raises   InvalidValue"""
    code = value.strip().upper()
    if code not in currencies():
        raise InvalidValue(field="currency", value=value[:40], expected="three letters of ISO 4217, such as EUR")
    return code


def clean_time_zone(value: str) -> str:
    """raises   InvalidValue"""
    if value not in time_zones():
        raise InvalidValue(field="time_zone", value=value[:40], expected="a time zone such as Europe/Helsinki")
    return value


def clean_language(value: str) -> str:
    """raises   InvalidValue"""
    codes = [code for code, _ in settings.LANGUAGES]
    if value not in codes:
        raise InvalidValue(field="language", value=value[:40], expected=", ".join(codes))
    return value


def clean_url(value: str) -> str:
    """A web address, http or https; nothing is allowed.

    raises   InvalidValue
    """
    url = value.strip()
    if url:
        try:
            URLValidator(schemes=["http", "https"])(url)
        except ValidationError:
            raise InvalidValue(field="url", value=url[:80], expected="an address that begins with https://") from None
        if len(url) > 200 or urlsplit(url).username is not None:
            raise InvalidValue(field="url", value=url[:80], expected="at most 200 characters, without a password")
    return url


def clean_vat_number(value: str, country: str) -> str:
    """A VAT number in its compact form; checked by its country's rules where python-stdnum knows them.

    raises   InvalidValue
    """
    text = value.strip()
    if not text:
        return ""
    module = get_cc_module(country.lower(), "vat") if country else None
    if module is None:
        if len(text) > 32 or not text.isprintable():
            raise InvalidValue(field="vat_number", value=text[:40], expected="at most 32 characters")
        return text
    try:
        compact = str(module.validate(text))
    except NumberError:
        raise InvalidValue(
            field="vat_number", value=text[:40], expected=f"a VAT number as {country} gives them"
        ) from None
    # Some countries' rules drop the prefix, which the invoice needs.
    return compact if compact.startswith(country) or not text.upper().startswith(country) else country + compact
