"""Minimal valid allocations and reports, made by the services as the system."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from bursar.accounting import services
from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import ProductCategory
from bursar.metering.reports import Report
from bursar.structure.models import Workspace

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
YEAR_START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_END = datetime(2027, 1, 1, tzinfo=UTC)

_numbers = count(1)


def make_allocation(
    workspace: Workspace,
    category: ProductCategory,
    quota_ticks: int,
    *,
    source: Wallet | None = None,
    start: datetime = YEAR_START,
    end: datetime = YEAR_END,
    at: datetime = AT,
    **more: Any,
) -> Allocation:
    return services.allocate(
        workspace=workspace,
        category=category,
        source=source,
        quota_ticks=quota_ticks,
        start=start,
        end=end,
        by=None,
        at=at,
        **more,
    )


def make_report(
    workspace: Workspace, category: ProductCategory, amount_ticks: int, *, until: datetime = AT, **more: Any
) -> Report:
    """An hour's usage that ends at an instant."""
    facts: dict[str, Any] = {"report_id": f"report-{next(_numbers):06}", "period_start": until - timedelta(hours=1)}
    return Report(
        category_id=category.pk,
        workspace_id=workspace.pk,
        amount_ticks=amount_ticks,
        period_end=until,
        **{**facts, **more},
    )
