"""A forecast in sentences and as a drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from django.utils import formats, timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bursar.accounting.models import Wallet
from bursar.catalogue.words import unit_beside
from bursar.kernel.quantity import Unit, grouped
from bursar.metering.forecasts import Known, WalletForecast, forecast_of

FEW_WEEKS = 8


@dataclass(frozen=True, slots=True)
class Foretold:
    """A forecast as a page shows it.

    run_out     one sentence, "" where nothing can be said
    forfeits    a sentence for each allocation of which something is likely to be forfeited
    rests_on    on how much history, one sentence
    """

    forecast: WalletForecast
    run_out: str
    forfeits: tuple[str, ...]
    rests_on: str
    chart: dict[str, Any] | None = None

    @property
    def urgent(self) -> bool:
        """Likelier than not it runs out before its last end."""
        return self.forecast.likely is not None


def foretell(wallet: Wallet, at: datetime, *, drawing: bool = False) -> Foretold | None:
    """None for a category that is free to use, and where nothing is held."""
    found = forecast_of(wallet=wallet, at=at)
    if found.known in {Known.FREE, Known.NOTHING_HELD}:
        return None
    if found.known is Known.TOO_SHORT:
        return Foretold(
            found, "", (), _("There is not enough history for a forecast yet: it takes two whole weeks of usage.")
        )
    unit = wallet.category.unit
    chart = _chart(found, unit, is_level=not wallet.category.is_over_time) if drawing else None
    return Foretold(found, _run_out(found, at), tuple(_forfeits(found, unit)), _rests_on(found), chart)


def _day(moment: datetime) -> str:
    return formats.date_format(timezone.localtime(moment), "DATE_FORMAT")


def _last_day(end: datetime) -> str:
    """The last day on which a half-open period holds."""
    return _day(end - timedelta(microseconds=1))


def _run_out(found: WalletForecast, at: datetime) -> str:
    assert found.until is not None
    until = _last_day(found.until)
    if found.early is None:
        return _("Not likely to run out before its end on {until}.").format(until=until)
    early = _day(found.early)
    if found.early <= at:
        return _("Nothing is left now.")
    if found.likely is None:
        return _("May run out from {early} on, but is likelier to last until its end on {until}.").format(
            early=early, until=until
        )
    likely = _day(found.likely)
    if found.late is None:
        return _("Runs out from {early} on (likely {likely}), but may last until its end on {until}.").format(
            early=early, likely=likely, until=until
        )
    late = _day(found.late)
    if early == late:
        return _("Runs out on {likely}.").format(likely=likely)
    return _("Runs out between {early} and {late} (likely {likely}).").format(early=early, late=late, likely=likely)


def _forfeits(found: WalletForecast, unit: Unit) -> list[str]:
    said = []
    for one in found.forfeits:
        if one.ticks is None or not one.ticks.middle:
            continue
        amount, low, high = (about(ticks, unit) for ticks in (one.ticks.middle, one.ticks.low, one.ticks.high))
        day = _last_day(one.end)
        name = unit_beside(amount, unit.name)
        if low == high:
            text = _("About {amount} {unit} likely to be forfeited on {day}.")
        else:
            text = _("About {amount} {unit} likely to be forfeited on {day} (between {low} and {high}).")
        said.append(text.format(amount=amount, unit=name, day=day, low=low, high=high))
    return said


def _rests_on(found: WalletForecast) -> str:
    text = ngettext(
        "Foretold from {n} week of usage, as if it went on like that and nothing else were given.",
        "Foretold from {n} weeks of usage, as if it went on like that and nothing else were given.",
        found.weeks,
    ).format(n=found.weeks)
    return text + " " + _("So little history can mislead.") if found.weeks < FEW_WEEKS else text


def about(ticks: int, unit: Unit) -> str:
    """An amount to two digits, for what is not known better: 1234 -> 1 200."""
    value = Decimal(ticks) / unit.ticks_per_unit
    if not value:
        return "0"
    rounded = value.quantize(Decimal(1).scaleb(value.adjusted() - 1), rounding=ROUND_HALF_EVEN)
    text = format(rounded, "f")
    return grouped(text.rstrip("0").rstrip(".") if "." in text else text)


def _chart(found: WalletForecast, unit: Unit, *, is_level: bool) -> dict[str, Any] | None:
    """The fan: what is used from now on (of a level: where it stands), and the line at which nothing is left."""

    def values(ticks: Sequence[int]) -> list[float]:
        return [round(one / unit.ticks_per_unit, 2) for one in ticks]

    points = [point.ticks for point in found.fan]
    if not any(one.high for one in points):
        return None
    return {
        "kind": "line",
        "unit": unit.name,
        "time": True,
        "x": [f"{timezone.localtime(point.at):%Y-%m-%d}" for point in found.fan],
        "series": [
            {"name": _("High (90 %)"), "values": values([one.high for one in points]), "band": "upper"},
            {"name": _("Low (10 %)"), "values": values([one.low for one in points]), "band": "lower"},
            {"name": _("Likely"), "values": values([one.middle for one in points])},
        ],
        "marks": [
            {
                "y": found.bound_ticks / unit.ticks_per_unit,
                "label": _("may stand at most") if is_level else _("left now"),
            }
        ],
    }
