"""`bursar ledger backtest`: how well the forecasts of the last year would have done, printed."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def backtest(
    category: Annotated[
        list[int] | None, typer.Option(help="The id of a product category; may be repeated. All when left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same figures.")] = 1,
) -> None:
    """Forecast at many days of the last year from what was known then, and compare with what came.

    Ideally 10, 50 and 90% of the truths lie below the three lines, and 80% between the outer ones. The width is the
    distance between the outer lines, and the loss the quantile loss, both in per cent of what was really used.
    """
    from bursar.config.cli import setup

    setup()
    from bursar.kernel.clock import now

    report(category_ids=category or [], as_json=as_json, seed=seed, at=now())


def report(*, category_ids: list[int], as_json: bool, seed: int, at: datetime) -> None:
    """Print the figures of these categories; of all that need an allocation when none is named."""
    from django.utils.translation import gettext as _

    from bursar.catalogue.models import ProductCategory
    from bursar.metering.forecasts import backtest_category

    rows = ProductCategory.objects.filter(requires_allocation=True).order_by("pk")
    if category_ids:
        rows = rows.filter(pk__in=category_ids)
        unknown = sorted(set(category_ids) - set(rows.values_list("pk", flat=True)))
        if unknown:
            text = _("There is no product category {ids} that needs an allocation.")
            err.print(text.format(ids=", ".join(map(str, unknown))), style="red", markup=False)
            raise typer.Exit(1)
    found = [(one, backtest_category(category=one, at=at, seed=seed)) for one in rows]
    if as_json:
        print(json.dumps([{"category_id": one.pk, "name": one.name, **asdict(told)} for one, told in found]))
        return
    for one, told in found:
        table = Table(
            title=_("{title}: {count} wallets, {idle} idle cases left out").format(
                title=one.title, count=told.series, idle=told.idle
            ),
            title_justify="left",
        )
        heads = (
            _("weeks ahead"), _("cases"), _("below 10%"), _("below 50%"), _("below 90%"), _("within 10-90%"), _("width"), _("loss"),
        )  # fmt: skip
        for head in heads:
            table.add_column(head, justify="right")
        for line in told.tallies:
            counts = (line.below_low, line.below_middle, line.below_high, line.within)
            table.add_row(
                str(line.horizon_weeks),
                str(line.cases),
                *(_share(count, line.cases) for count in counts),
                _share(line.width, line.truth),
                _share(line.loss, line.truth),
            )
        out.print(table)


def _share(part: float, whole: int) -> Any:
    return f"{100 * part / whole:.0f}%" if whole else "–"
