"""What was used in a period: over time, of which quota, by whom and of what."""

from calendar import monthrange
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from bursar.accounting import visibility
from bursar.accounting.models import Wallet
from bursar.kernel.errors import DomainError
from bursar.kernel.quantity import Unit
from bursar.kernel.refusals import words
from bursar.metering import history
from bursar.metering.history import Breakdown, By, Days, Series, days_until
from bursar.metering.visibility import breakdown_seen, may_break_down
from bursar.provisioning.selectors import names_of_parts
from bursar.structure.models import Organization, Project
from bursar.structure.selectors import organization_seen, project_seen, workspace_of
from bursar.web.forms import DateField
from bursar.web.http import page
from bursar.web.tabs import scope_page
from bursar.web.views.accounting import at_of, owner_url, viewer_of

PERIODS: Final = {
    "7": gettext_lazy("7 days"),
    "30": gettext_lazy("30 days"),
    "90": gettext_lazy("90 days"),
    "6m": gettext_lazy("6 months"),
    "12m": gettext_lazy("12 months"),
}
USUAL: Final = "30"
BREAKDOWNS: Final = {
    By.CHILD: (gettext_lazy("Holder"), gettext_lazy("By holder")),
    By.PERSON: (gettext_lazy("Person"), gettext_lazy("By person")),
    By.RESOURCE: (gettext_lazy("Resource"), gettext_lazy("By resource")),
    By.PRODUCT: (gettext_lazy("Product"), gettext_lazy("By product")),
}


def period_of(name: str, today: date) -> Days:
    """One of PERIODS, of which today is the last day."""
    if not name.endswith("m"):
        return days_until(today, int(name))
    number = today.year * 12 + today.month - 1 - int(name[:-1])
    year, month = number // 12, number % 12 + 1
    before = date(year, month, min(today.day, monthrange(year, month)[1]))
    return days_until(today, (today - before).days)


class RangeForm(forms.Form):
    """A period of one's own."""

    first = DateField(label=gettext_lazy("First day"))
    last = DateField(label=gettext_lazy("Last day"))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a breakdown as the page shows it."""

    name: str
    ticks: int
    wallet_id: int | None = None
    faint: bool = False


def _number(unit: Unit, ticks: int) -> float:
    return float(unit.text(ticks, 6))


def change_chart(series: Series) -> dict[str, Any]:
    """What each step added; of a level, where it stood. For drawing only."""
    category = series.wallet.category
    unit = category.unit
    over_time = category.is_over_time
    return {
        "kind": "stack" if over_time else "area",
        "unit": unit.name,
        "time": True,
        "x": [point.first.isoformat() for point in series.points],
        "series": [
            {
                "name": _("Used") if over_time else _("Level at the end of the day"),
                "values": [
                    _number(unit, point.change_ticks if over_time else point.level_ticks) for point in series.points
                ],
            }
        ],
    }


def quota_chart(series: Series) -> dict[str, Any]:
    """What of the quota was drawn, beside the quota. For drawing only."""
    unit = series.wallet.category.unit
    return {
        "kind": "line",
        "unit": unit.name,
        "time": True,
        "x": [point.last.isoformat() for point in series.points],
        "series": [
            {"name": _("Drawn"), "values": [_number(unit, point.drawn_ticks) for point in series.points]},
            {
                "name": _("Quota"),
                "values": [_number(unit, point.quota_ticks) for point in series.points],
                "dashed": True,
            },
        ],
    }


def breakdown_chart(rows: list[Row], unit: Unit) -> dict[str, Any]:
    shares = [{"name": row.name, "value": _number(unit, row.ticks)} for row in rows if row.ticks > 0]
    return {"kind": "pie", "unit": unit.name, "series": shares}


def rows_of(found: Breakdown) -> list[Row]:
    """The parts by name, then what is not told by name."""
    rows = []
    for part, name in zip(found.parts, names_of_parts(found), strict=True):
        if part.own:
            rows.append(Row(_("{name}, itself").format(name=name), part.ticks, part.key))
        elif not name:
            rows.append(Row(_("not told"), part.ticks, faint=True))
        else:
            rows.append(Row(name, part.ticks, part.key if found.by is By.CHILD else None))
    if found.other_ticks:
        rows.append(Row(_("{count} others").format(count=found.other_count), found.other_ticks, faint=True))
    if found.hidden_ticks:
        rows.append(Row(_("where you may not see by whom"), found.hidden_ticks, faint=True))
    return rows


def told(request: HttpRequest, wallet: Wallet) -> dict[str, Any]:
    """All that the page tells of a wallet's use, for the period and the breakdown that its address names."""
    viewer, at = viewer_of(request), at_of(request)
    today = at.astimezone(UTC).date()
    chosen = request.GET.get("period", USUAL)
    days = period_of(chosen if chosen in PERIODS else USUAL, today)
    form, refusal = RangeForm(request.GET if "first" in request.GET else None), ""
    if form.is_bound:
        chosen = ""
        if form.is_valid():
            try:
                days = Days(form.cleaned_data["first"], form.cleaned_data["last"])
            except DomainError as error:
                refusal = words(error, _)
    else:
        form = RangeForm(initial={"first": days.first, "last": days.last})
    offered = [by for by in By if may_break_down(viewer, wallet, by, at)]
    by = next((one for one in offered if one == request.GET.get("by")), By.CHILD)
    series = history.usage_series(wallet=wallet, days=days, at=at)
    found = breakdown_seen(viewer, wallet, days, by, at=at)
    given, children = history.children_health(wallet=wallet, at=at)
    rows = rows_of(found)
    seen = visibility.wallets_seen(viewer, at).filter(pk__in=[row.wallet_id for row in rows if row.wallet_id])
    query = {"first_day": days.first, "last_day": days.last}
    return {
        "wallet": wallet,
        "category": wallet.category,
        "days": days,
        "period": chosen,
        "periods": PERIODS.items(),
        "form": form,
        "refusal": refusal,
        "series": series,
        "last": series.points[-1],
        "change": change_chart(series),
        "quota": quota_chart(series),
        "by": by,
        "breakdowns": [(one, BREAKDOWNS[one][1]) for one in offered],
        "heading_of_parts": BREAKDOWNS[by][0],
        "rows": rows,
        "seen": set(seen.values_list("pk", flat=True)),
        "total_ticks": found.total_ticks,
        "pie": breakdown_chart(rows, wallet.category.unit),
        "given": given,
        "given_percent": None if given.ratio is None else round(given.ratio * 100),
        "recommended_percent": None if given.recommended is None else round(given.recommended * 100),
        "health": sorted(Counter(child.state.value for child in children if child.state).items()),
        "api": f"/api/v1/wallets/{wallet.pk}",
        "series_query": urlencode(query),
        "breakdown_query": urlencode({**query, "by": by.value, "top": history.TOP_MAX}),
    }


def wallet_usage(request: HttpRequest, pk: int) -> HttpResponse:
    """Of one wallet, and all below it."""
    viewer, at = viewer_of(request), at_of(request)
    wallet = visibility.wallet_seen(pk, viewer, at)
    context = {**told(request, wallet), "owner_url": owner_url(wallet.workspace, viewer, at)}
    return page(request, "bursar/usage/wallet.html", context)


def project_usage(request: HttpRequest, pk: int) -> HttpResponse:
    return _scope_usage(request, project_seen(pk, viewer_of(request), at_of(request)), "bursar/usage/project.html")


def organization_usage(request: HttpRequest, pk: int) -> HttpResponse:
    scope = organization_seen(pk, viewer_of(request), at_of(request))
    return _scope_usage(request, scope, "bursar/usage/organization.html")


def _scope_usage(request: HttpRequest, scope: Organization | Project, template: str) -> HttpResponse:
    """Of one of a scope's wallets: the one that the address names, else the one most used."""
    rows = visibility.wallets_seen(viewer_of(request), at_of(request)).filter(workspace=workspace_of(scope))
    wallets = list(rows.order_by("category__title", "pk"))
    named = next((one for one in wallets if str(one.pk) == request.GET.get("wallet")), None)
    context: dict[str, Any] = {**scope_page(request, scope, "usage"), "wallets": wallets}
    if wallets:
        context |= told(request, named or max(wallets, key=lambda one: (one.used_ticks > 0, -one.pk)))
    return page(request, template, context)


urlpatterns = [
    path("wallets/<int:pk>/usage/", wallet_usage, name="wallet_usage"),
    path("projects/<int:pk>/usage/", project_usage, name="project_usage"),
    path("organizations/<int:pk>/usage/", organization_usage, name="organization_usage"),
]
