"""`bursar invoice`: closing a month, computing what was issued again, and how fast that is.

Whoever has a shell here is the system: no role is asked.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bursar.config.ledger_cli import JSON, WRONG_INPUT, _json, _now, _table, err, fail, out, with_ledger

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from bursar.billing.models import Invoice
    from bursar.catalogue.models import ServiceProvider

app = typer.Typer(help="Invoices: issue a month, verify what was issued, measure it.", no_args_is_help=True)
SELLER: Final = typer.Option(
    help="The seller: the short name of its organization. All sellers when left out.", show_default=False
)


def _(text: str) -> str:
    from django.utils.translation import gettext

    return gettext(text)


def _sellers(slug: str | None) -> "list[ServiceProvider]":
    from bursar.billing.selectors import selling_providers

    found = selling_providers()
    if slug is None:
        return found
    chosen = [one for one in found if one.organization.slug == slug]
    if not chosen:
        fail(_("There is no seller {slug}.").format(slug=slug[:40]), WRONG_INPUT)
    return chosen


def _month(text: str) -> date:
    try:
        found = date.fromisoformat(f"{text}-01" if len(text) == len("2026-03") else text).replace(day=1)
        if not 1900 <= found.year < 2100:  # as the API has it; the calendar itself ends soon after
            raise ValueError
        return found
    except ValueError:
        raise typer.BadParameter(_("“{text}” is not a month, such as 2026-03.").format(text=text[:40])) from None


@contextmanager
def _bar(quiet: bool) -> Iterator[Progress]:
    with Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err,
        disable=quiet, transient=True,
    ) as bar:  # fmt: skip
        yield bar


@app.command()
@with_ledger
def issue(
    month: Annotated[str, typer.Argument(help="The month, such as 2026-03.")],
    seller: Annotated[str | None, SELLER] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Issue all invoices of a month that is over. Stopped anywhere, it goes on where it was; what was issued stays.

    Fails where it could be closed for no seller.
    """
    from bursar.billing import services as billing
    from bursar.kernel.errors import DomainError

    wanted = _month(month)
    rows: list[dict[str, Any]] = []
    refused: list[DomainError] = []
    with _bar(as_json) as bar:
        for provider in _sellers(seller):
            tasks = {
                step: bar.add_task(f"{provider.organization.slug}: {words}", total=None)
                for step, words in (("rated", _("resources rated")), ("issued", _("customers")))
            }

            def told(step: str, done: int, count: int, tasks: dict[str, Any] = tasks) -> None:
                bar.update(tasks[step], completed=done, total=count)

            try:
                closed = billing.close_month(provider=provider, month=wanted, by=None, at=_now(), told=told)
            except DomainError as refusal:
                if seller is not None:
                    raise
                refused.append(refusal)
                continue
            rows.append({"seller": provider.organization.slug, "issued": closed.issued, "lines": closed.lines})
    if as_json:
        _json(rows)
    else:
        table = _table(_("Seller"), ">" + _("Invoices"), ">" + _("Lines"))
        for row in rows:
            table.add_row(row["seller"], str(row["issued"]), str(row["lines"]))
        out.print(table)
    for one in refused:
        from django.utils.translation import gettext

        from bursar.kernel.refusals import words as refusal_words

        err.print(refusal_words(one, gettext), style="yellow", markup=False, soft_wrap=True)
    if refused and not rows:
        raise typer.Exit(1)


@app.command()
@with_ledger
def verify(
    number: Annotated[list[str] | None, typer.Argument(help="Only these invoices, by their numbers.")] = None,
    seller: Annotated[str | None, SELLER] = None,
    month: Annotated[str | None, typer.Option(help="Only of this month, such as 2026-03.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Compute issued invoices again from the facts that were known then, and compare the bytes; fails where one differs."""
    from bursar.billing.verification import verify as compare

    found = _issued(seller, month, number or [])
    with _bar(as_json) as bar:
        task = bar.add_task(_("invoices"), total=len(found))
        verdicts = compare(found, told=lambda done: bar.update(task, completed=done))
        wrong = [verdict for verdict in verdicts if not verdict.is_right]
    if as_json:
        _json(
            {
                "verified": len(found),
                "differ": [
                    {"invoice_id": one.invoice.pk, "number": one.invoice.number_text, "kept": one.kept,
                     "recomputed": one.recomputed}
                    for one in wrong
                ],
            }
        )  # fmt: skip
    else:
        for one in wrong:
            what = (
                _("its lines are not those that were issued")
                if not one.kept
                else _("the facts of then give another one")
            )
            err.print(f"{one.invoice.number_text}: {what}", style="red", markup=False, soft_wrap=True)
        out.print(_("{right} of {count} invoices are as they were issued.").format(
            right=len(found) - len(wrong), count=len(found)
        ))  # fmt: skip
    if wrong:
        raise typer.Exit(1)


def _customer(slug: str) -> int:
    from bursar.structure.models import Organization

    found = Organization.objects.filter(slug=slug).values_list("pk", flat=True).first()
    if found is None:
        fail(_("There is no organization {slug}.").format(slug=slug[:40]), WRONG_INPUT)
    return found


def _issued(seller: str | None, month: str | None, numbers: list[str]) -> "list[Invoice]":
    return list(_issued_rows(seller, month, numbers))


def _issued_rows(seller: str | None, month: str | None, numbers: list[str]) -> "QuerySet[Invoice]":
    from bursar.billing.models import Invoice

    rows = (
        Invoice.objects.exclude(state=Invoice.State.OPEN)
        .select_related("cut", "provider__organization")
        .order_by("provider_id", "number")
    )
    if seller is not None:
        rows = rows.filter(provider__in=[one.pk for one in _sellers(seller)])
    if month is not None:
        rows = rows.filter(month=_month(month))
    if numbers:
        rows = rows.filter(number_text__in=numbers)
        known = set(rows.values_list("number_text", flat=True))
        if missing := [number for number in numbers if number not in known]:
            fail(_("There is no invoice {numbers}.").format(numbers=", ".join(missing)), WRONG_INPUT)
    return rows


class Form(StrEnum):
    CSV = "csv"
    JSON = "json"
    FOCUS = "focus"
    PDF = "pdf"


@app.command()
@with_ledger
def export(
    form: Annotated[Form, typer.Argument(help="csv and json: lines; focus: FOCUS 1.x; pdf: the paper of one invoice.")],
    number: Annotated[list[str] | None, typer.Argument(help="Only these invoices, by their numbers.")] = None,
    seller: Annotated[str | None, SELLER] = None,
    month: Annotated[str | None, typer.Option(help="Only of this month, such as 2026-03.")] = None,
    first: Annotated[str | None, typer.Option("--from", help="Only from this month on.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Only up to this month, which is among them.")] = None,
    customer: Annotated[
        str | None, typer.Option(help="Only of this customer: the short name of its organization.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="The file to write; without one it is printed.")] = None,
) -> None:
    """Write issued invoices as CSV, JSON, FOCUS or PDF; all but PDF with their credit notes."""
    from bursar.billing import exports, pdf

    rows = _issued_rows(seller, month, number or [])
    if first is not None:
        rows = rows.filter(month__gte=_month(first))
    if last is not None:
        rows = rows.filter(month__lte=_month(last))
    if customer is not None:
        rows = rows.filter(customer=_customer(customer))
    parts: Iterable[bytes]
    if form is Form.PDF:
        found = list(rows[:2])
        if len(found) != 1:
            fail(
                _("A PDF is of one invoice, and these are {count}: name one number.").format(count=rows.count()),
                WRONG_INPUT,
            )
        parts = [pdf.invoice_pdf(found[0])]
    else:
        parts = (text.encode() for text in exports.stream(form.value, rows))
    if output is None:
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.flush()
        return
    try:
        with output.open("wb") as file:
            file.writelines(parts)
    except OSError as error:
        fail(_("{path} cannot be written: {why}").format(path=output, why=error.strerror or error))


# ------------------------------------------------------------------------------------------------ how fast
TARGETS: Final = {"close_s": "<= 20", "close_mib": "<= 500", "close_growth": "<= 2.2"}


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="A twentieth of the data, for a look.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Close a month of 10,000 resources, 50,000 components and 5 million reports, then one of twice that, on a database of
    its own that is thrown away."""
    from bursar.config.bench import run

    with run.scratch():
        from bursar.config import environment, installation, postgres
        from bursar.config.cli import setup

        environment.reload()
        setup()
        try:
            installation.upgrade_database()
            figures = list(_measure(1_000 if quick else 10_000, 250 if quick else 500, as_json))
        finally:
            installation.close_connections()
            postgres.release()
    if as_json:
        _json(
            [{"case": case, "value": value, "unit": unit, "baseline": beside} for case, value, unit, beside in figures]
        )


def _measure(resources: int, reports_each: int, quiet: bool) -> Iterator[tuple[str, float, str, float | None]]:
    from bursar.config.bench import months

    closings, reads = [], []
    for name, count in (("one", resources), ("two", 2 * resources)):
        if not quiet:
            err.print(f"… {count:,} resources, {count * reports_each:,} reports", style="dim")
        market = months.make_market(name, count, reports_each)
        months.analyze()
        reads.append(months.read_seconds(market))
        closings.append(months.close_in_a_process(market))
    for figure in (
        ("close_s", closings[0].seconds, "s", reads[0]),
        ("close_mib", closings[0].mebibytes, "MiB", None),
        ("close_lines", float(closings[0].lines), "lines", None),
        ("close_twice_s", closings[1].seconds, "s", reads[1]),
        ("close_growth", closings[1].seconds / closings[0].seconds, "times", None),
    ):
        case, value, unit, beside = figure
        if not quiet:
            compared = "" if beside is None else f"   {value / beside:.2f} of {beside:,.2f}"
            shown = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
            out.print(
                f"{case:<38}{shown:>14} {unit:<14}{compared:<28} {TARGETS.get(case, '')}", markup=False, soft_wrap=True
            )
        yield figure
