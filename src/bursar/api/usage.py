"""What was used in any period, by day, child, person, resource and product; each also as CSV."""

from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from bursar.accounting import visibility as wallets
from bursar.accounting.models import Wallet
from bursar.api.accounting import CategoryBrief, WorkspaceOut
from bursar.api.auth import at_of, person_of
from bursar.api.problems import PROBLEMS
from bursar.api.tables import CSV_ANSWER, csv_answer
from bursar.metering import history
from bursar.metering.history import Breakdown, By, ChildHealth, Commitment, Days, Series, Step, days_until
from bursar.metering.visibility import breakdown_seen
from bursar.provisioning.selectors import names_of_parts

router = Router(tags=["Usage"])


# ------------------------------------------------------------------------------------------------ what is asked
class PeriodQuery(Schema):
    first_day: date | None = Field(None, description="29 days before the last when empty; days are those of UTC")
    last_day: date | None = Field(None, description="counted too; today when empty")
    below: bool = Field(True, description="with all wallets below")


class SeriesQuery(PeriodQuery):
    step: Step | None = Field(
        None,
        description="empty: days for a quarter of a year, weeks for 400 days, months for longer; at most 600 months",
    )


class BreakdownQuery(PeriodQuery):
    by: By = By.CHILD
    top: int = Field(10, ge=1, le=history.TOP_MAX, description="how many are told, the rest together")


def _days(request: HttpRequest, query: PeriodQuery) -> Days:
    last = query.last_day or at_of(request).astimezone(UTC).date()
    return Days(query.first_day, last) if query.first_day else days_until(last, 30)


def _wallet(request: HttpRequest, wallet_id: int) -> Wallet:
    return wallets.wallet_seen(wallet_id, person_of(request), at_of(request))


# ------------------------------------------------------------------------------------------------ shapes
class PointOut(Schema):
    first_day: date
    last_day: date
    change_ticks: int = Field(description="used in it, corrections included; of a level, by how much it rose or fell")
    level_ticks: int = Field(description="used until its end in all; of a level, the level at its end")
    quota_ticks: int = Field(description="of the wallet's allocations that were open at its end")
    drawn_ticks: int = Field(description="what of that quota was drawn by its end")
    utilisation_percent: float | None = Field(description="drawn of the quota; null where there was none")


class SeriesOut(Schema):
    wallet_id: int
    category: CategoryBrief
    first_day: date
    last_day: date
    step: Step
    below: bool
    change_ticks: int
    points: list[PointOut]


class BreakdownPartOut(Schema):
    key: int | None = Field(description="wallet of the child, person or resource; null: not known, or a product")
    name: str
    own: bool = Field(description="the wallet itself among its children")
    ticks: int


class BreakdownOut(Schema):
    wallet_id: int
    category: CategoryBrief
    first_day: date
    last_day: date
    by: By
    parts: list[BreakdownPartOut] = Field(description="the most first")
    other_ticks: int = Field(description="of those that are not told")
    other_count: int
    hidden_ticks: int = Field(description="used where you may not see by whom")
    total_ticks: int


class ChildHealthOut(Schema):
    wallet_id: int
    workspace: WorkspaceOut
    health: Literal["ok", "at_risk", "idle", "under_used"] | None = Field(description="null: nothing of it is open")
    quota_ticks: int
    drawn_ticks: int


class HealthOut(Schema):
    """How those who hold quota of a wallet use it, and how much of it was given out."""

    wallet_id: int
    category: CategoryBrief
    held_ticks: int
    given_ticks: int
    over_commitment_percent: float | None = Field(description="given of held; null where nothing is held")
    recommended_percent: float | None = Field(
        description="with which nine tenths would be used at the next expiry, at the pace until now; null without a pace"
    )
    next_expiry: datetime | None
    children: list[ChildHealthOut]


def _percent(share: Fraction | None) -> float | None:
    return None if share is None else float(round(share * 100, 2))


# ------------------------------------------------------------------------------------------------ series
def _series(request: HttpRequest, wallet_id: int, query: SeriesQuery) -> Series:
    return history.usage_series(
        wallet=_wallet(request, wallet_id),
        days=_days(request, query),
        step=query.step,
        below=query.below,
        at=at_of(request),
    )


@router.get(
    "/wallets/{wallet_id}/usage/series",
    response={200: SeriesOut, **PROBLEMS},
    summary="Usage, quota and utilisation over time",
)
def get_series(request: HttpRequest, wallet_id: int, query: Annotated[SeriesQuery, Query()]) -> Any:
    series = _series(request, wallet_id, query)
    return {
        "wallet_id": series.wallet.pk,
        "category": series.wallet.category,
        "first_day": series.days.first,
        "last_day": series.days.last,
        "step": series.step,
        "below": series.below,
        "change_ticks": series.change_ticks,
        "points": [
            {
                "first_day": point.first,
                "last_day": point.last,
                "change_ticks": point.change_ticks,
                "level_ticks": point.level_ticks,
                "quota_ticks": point.quota_ticks,
                "drawn_ticks": point.drawn_ticks,
                "utilisation_percent": _percent(point.utilisation),
            }
            for point in series.points
        ],
    }


@router.get(
    "/wallets/{wallet_id}/usage/series.csv",
    response=PROBLEMS,
    openapi_extra=CSV_ANSWER,
    summary="Usage, quota and utilisation over time, as CSV",
)
def get_series_csv(request: HttpRequest, wallet_id: int, query: Annotated[SeriesQuery, Query()]) -> HttpResponse:
    series = _series(request, wallet_id, query)
    unit = series.wallet.category.unit
    amounts = ("change", "level", "quota", "drawn")
    return csv_answer(
        f"usage-{series.wallet.category.name}-{series.days.first}-{series.days.last}",
        ("first_day", "last_day", *amounts, "utilisation_percent", "unit", *(f"{name}_ticks" for name in amounts)),
        (
            (
                point.first,
                point.last,
                *(unit.text(ticks) for ticks in found),
                _percent(point.utilisation),
                unit.name,
                *found,
            )
            for point in series.points
            for found in [(point.change_ticks, point.level_ticks, point.quota_ticks, point.drawn_ticks)]
        ),
    )


# ------------------------------------------------------------------------------------------------ who used how much
def _breakdown(request: HttpRequest, wallet_id: int, query: BreakdownQuery) -> tuple[Wallet, Breakdown]:
    wallet, days = _wallet(request, wallet_id), _days(request, query)
    found = breakdown_seen(
        person_of(request), wallet, days, query.by, below=query.below, top=query.top, at=at_of(request)
    )
    return wallet, found


@router.get(
    "/wallets/{wallet_id}/usage/breakdown",
    response={200: BreakdownOut, **PROBLEMS},
    summary="Usage by child, person, resource or product",
)
def get_breakdown(request: HttpRequest, wallet_id: int, query: Annotated[BreakdownQuery, Query()]) -> Any:
    """A child counts with all below it; one that draws through several counts once, with the nearest."""
    wallet, found = _breakdown(request, wallet_id, query)
    return {
        "wallet_id": wallet.pk,
        "category": wallet.category,
        "first_day": found.days.first,
        "last_day": found.days.last,
        "by": found.by,
        "parts": [
            {"key": part.key, "name": name, "own": part.own, "ticks": part.ticks}
            for part, name in zip(found.parts, names_of_parts(found), strict=True)
        ],
        "other_ticks": found.other_ticks,
        "other_count": found.other_count,
        "hidden_ticks": found.hidden_ticks,
        "total_ticks": found.total_ticks,
    }


@router.get(
    "/wallets/{wallet_id}/usage/breakdown.csv",
    response=PROBLEMS,
    openapi_extra=CSV_ANSWER,
    summary="Usage by child, person, resource or product, as CSV",
)
def get_breakdown_csv(request: HttpRequest, wallet_id: int, query: Annotated[BreakdownQuery, Query()]) -> HttpResponse:
    """The rows `(other)` and `(hidden)` are what is not told by name."""
    wallet, found = _breakdown(request, wallet_id, query)
    rows = [(part.key, name, part.ticks) for part, name in zip(found.parts, names_of_parts(found), strict=True)]
    rows += [
        (None, f"({what})", ticks)
        for what, ticks in (("other", found.other_ticks), ("hidden", found.hidden_ticks))
        if ticks
    ]
    unit = wallet.category.unit
    return csv_answer(
        f"usage-{wallet.category.name}-by-{found.by}-{found.days.first}-{found.days.last}",
        (found.by, "id", "used", "unit", "used_ticks"),
        ((name, key, unit.text(ticks), unit.name, ticks) for key, name, ticks in rows),
    )


# ------------------------------------------------------------------------------------------------ health
def _health(request: HttpRequest, wallet_id: int) -> tuple[Wallet, Commitment, list[ChildHealth]]:
    wallet = _wallet(request, wallet_id)
    return wallet, *history.children_health(wallet=wallet, at=at_of(request))


@router.get(
    "/wallets/{wallet_id}/health",
    response={200: HealthOut, **PROBLEMS},
    summary="How those who hold quota of a wallet use it, and over-commitment",
)
def get_health(request: HttpRequest, wallet_id: int) -> Any:
    wallet, given, children = _health(request, wallet_id)
    return {
        "wallet_id": wallet.pk,
        "category": wallet.category,
        "held_ticks": given.held_ticks,
        "given_ticks": given.given_ticks,
        "over_commitment_percent": _percent(given.ratio),
        "recommended_percent": _percent(given.recommended),
        "next_expiry": given.expiry,
        "children": [
            {
                "wallet_id": child.wallet.pk,
                "workspace": child.wallet.workspace,
                "health": child.state,
                "quota_ticks": child.quota_ticks,
                "drawn_ticks": child.drawn_ticks,
            }
            for child in children
        ],
    }


@router.get(
    "/wallets/{wallet_id}/health.csv",
    response=PROBLEMS,
    openapi_extra=CSV_ANSWER,
    summary="How those who hold quota of a wallet use it, as CSV",
)
def get_health_csv(request: HttpRequest, wallet_id: int) -> HttpResponse:
    wallet, _given, children = _health(request, wallet_id)
    unit = wallet.category.unit
    return csv_answer(
        f"health-{wallet.category.name}",
        ("holder", "wallet_id", "health", "quota", "drawn", "unit", "quota_ticks", "drawn_ticks"),
        (
            (
                child.wallet.workspace,
                child.wallet.pk,
                child.state,
                unit.text(child.quota_ticks),
                unit.text(child.drawn_ticks),
                unit.name,
                child.quota_ticks,
                child.drawn_ticks,
            )
            for child in children
        ),
    )
