"""How the quantity and the amount of a line came about, in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.utils import formats
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bursar.billing.documents import Line
from bursar.billing.models import InvoiceLine
from bursar.catalogue.words import unit_beside
from bursar.kernel.money import plain
from bursar.kernel.quantity import grouped

_DAYS_OF_A_YEAR: Final = 366
_NUMERATOR_MAX: Final = 9_999  # a longer one is read by nobody


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch of the month, or one step of a price. when   "" = all of it"""

    when: str
    how: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """sum   quantity times price, or what else the amount is; notes   what was left out, taken off or rounded"""

    steps: tuple[Step, ...]
    sum: str
    notes: tuple[str, ...]


def explain(line: Line, time_zone: str) -> Explanation:
    """From what was written down when the line was computed. time_zone   in which instants are told"""
    basis, zone = line.basis, ZoneInfo(time_zone)
    steps = [_stretch(one, basis, zone) for one in _list(basis, "stretches")]
    steps += [
        Step(
            _("from {quantity} on").format(quantity=_figure(one.get("from"))),
            _("{quantity} at {price} each").format(
                quantity=_counted(one.get("quantity"), line.unit), price=one.get("price")
            ),
        )
        for one in _list(basis, "steps")
    ]
    if basis.get("at"):
        steps.append(Step(_instant(str(basis["at"]), zone), _("once")))
    notes = [
        _("{first} to {last}: paused, so free").format(first=_day(one.get("from")), last=_day(one.get("to")))
        for one in _list(basis, "paused")
    ]
    if _list(basis, "taken_off"):
        months = ", ".join(f"{one.get('month')}: {one.get('amount')}" for one in _list(basis, "taken_off"))
        notes.append(
            _("The whole period comes to {whole}; taken off is what its earlier months were billed ({months}).").format(
                whole=basis.get("whole"), months=months
            )
        )
    elif basis.get("tiers"):
        notes.append(_("Used in the whole month: {whole}.").format(whole=_counted(basis.get("whole"), line.unit)))
    if line.kind == InvoiceLine.Kind.ADJUSTMENT:
        notes.append(
            _(
                "The month computed again with all that is known now, minus what was invoiced for it: the difference stands here."
            )
        )
    return Explanation(tuple(steps), _sum(line), tuple(notes))


def _sum(line: Line) -> str:
    if line.kind not in {InvoiceLine.Kind.CHARGE, InvoiceLine.Kind.ADJUSTMENT}:
        return ""
    if line.basis.get("tiers") == "graduated":
        return _("each step at its own price, then rounded once")
    if line.basis.get("taken_off"):
        return _("the whole period minus its earlier months")
    return _("{quantity} × {price}, then rounded once").format(
        quantity=_figure(line.exact_quantity), price=plain(line.unit_price)
    )


def _stretch(one: Mapping[str, Any], basis: Mapping[str, Any], zone: ZoneInfo) -> Step:
    if "at" in one:
        when = _instant(str(one["at"]), zone)
        if "limit" in one:
            return Step(
                when,
                _("limit {before} → {limit}").format(before=_figure(one.get("before")), limit=_figure(one["limit"])),
            )
        return Step(when, _("changed to this plan"))
    if "hours" in one:
        when = f"{_instant(str(one.get('from')), zone)} – {_instant(str(one.get('to')), zone)}"
        how = _("{amount} × {hours} hours begun").format(amount=_figure(basis.get("amount")), hours=one["hours"])
        paused = one.get("paused")
        if paused:
            how += " " + ngettext("({count} paused hour is free)", "({count} paused hours are free)", paused).format(
                count=paused
            )
        return Step(when, how)
    first, last = _day(one.get("from")), _day(one.get("to"))
    of = one.get("of")
    units = _figure(one.get("limit", basis.get("amount")))
    if of:
        how = _("{units} × {days} of {of} days").format(units=units, days=one.get("days"), of=of)
    else:
        how = _("{units} × {days} days").format(units=units, days=one.get("days"))
    return Step(first if first == last else f"{first} – {last}", how)


def _figure(exact: Any) -> str:
    """An exact number as people read it: parts of a month as a fraction such as 12/31, parts of a core-hour to six decimals."""
    text = str(exact)
    try:
        number = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return text
    if "/" not in text:
        return grouped(text)
    rounded = Decimal(round(number * 10**6)).scaleb(-6)
    if Fraction(rounded) == number:
        return grouped(plain(rounded))
    readable = number.denominator <= _DAYS_OF_A_YEAR and abs(number.numerator) <= _NUMERATOR_MAX
    return str(number) if readable else f"≈ {grouped(plain(rounded))}"


def _counted(exact: Any, unit: str) -> str:
    text = _figure(exact)
    return f"{text} {unit_beside(text, unit)}".rstrip()


def _list(basis: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = basis.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _day(text: Any) -> str:
    try:
        return formats.date_format(date.fromisoformat(str(text)))
    except ValueError:
        return str(text)


def _instant(text: str, zone: ZoneInfo) -> str:
    try:
        return f"{datetime.fromisoformat(text).astimezone(zone):%Y-%m-%d %H:%M}"
    except ValueError:
        return text
