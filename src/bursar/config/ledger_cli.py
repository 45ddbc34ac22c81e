"""`bursar ledger`: what stands in a ledger and what stood, what would happen, whether it is right; and putting it right.

Whoever has a shell here is the system: no role is asked. Amounts are read and written in the category's unit, times in the
installation's zone.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, time
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

from bursar.config.ledger_backtest import backtest

if TYPE_CHECKING:
    from bursar.accounting.history import BalanceAsOf
    from bursar.accounting.models import Allocation, Wallet
    from bursar.accounting.what_if import Step
    from bursar.kernel.quantity import Unit

P = ParamSpec("P")

app = typer.Typer(
    help="The ledger: balances of any past, what would happen, whether all is right.", no_args_is_help=True
)
app.command()(backtest)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

WALLET: Final = typer.Argument(help="The wallet's number; `bursar ledger wallets` lists them.", show_default=False)
TICKS: Final = typer.Option("--ticks", help="The amount is in ticks, the category's smallest unit; --json tells those.")
JSON: Final = typer.Option("--json", help="For programs: JSON, amounts in ticks.")
WRONG_INPUT: Final = 2


def _(text: str) -> str:
    from django.utils.translation import gettext

    return gettext(text)


def fail(message: str, code: int = 1) -> NoReturn:
    err.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(code)


def _setup(*, new_tables: bool = False) -> None:
    """Have Django and the database ready.

    new_tables   make them where there are none at all; a database that is behind is left to `bursar upgrade`
    """
    from bursar.config.cli import setup

    setup()
    from django.db import connection

    from bursar.config import installation

    if installation.is_current():
        return
    if new_tables and not connection.introspection.table_names():
        installation.upgrade_database()
    else:
        fail("The database is behind this version: run `bursar upgrade` first.")


def with_ledger(command: Callable[P, Any]) -> Callable[P, Any]:
    """Have the database running before the command begins; a refusal ends it in the words that pages use."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        _setup()
        from django.utils.translation import gettext

        from bursar.kernel.errors import DomainError
        from bursar.kernel.refusals import words

        try:
            return command(*args, **kwargs)
        except DomainError as refusal:
            fail(words(refusal, gettext))

    return wrapped


# ------------------------------------------------------------------------------------------------ words and times
def _now() -> datetime:
    from bursar.kernel.clock import now

    return now()


def _instant(text: str | None, option: str) -> datetime | None:
    """A day (its first moment) or an instant; without a zone it is in the installation's."""
    from django.utils import timezone

    if text is None:
        return None
    try:
        if len(text) == len("2026-03-01"):
            read = datetime.combine(date.fromisoformat(text), time())
        else:
            read = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            _("“{text}” is neither a day (2026-03-01) nor an instant (2026-03-01T12:00).").format(text=text[:40]),
            param_hint=option,
        ) from None
    return read if timezone.is_aware(read) else timezone.make_aware(read)


def _when(at: datetime | None) -> str:
    from django.utils import timezone

    return "" if at is None else timezone.localtime(at).strftime("%Y-%m-%d %H:%M:%S %Z")


def _amount(ticks: int | None, unit: "Unit") -> str:
    return _("no bound") if ticks is None else unit.text(ticks)


def _ticks(text: str, unit: "Unit", option: str, *, in_ticks: bool = False) -> int:
    """An amount as it was typed: in the category's unit, or as whole ticks."""
    from django.utils.translation import gettext

    from bursar.kernel.errors import DomainError
    from bursar.kernel.quantity import Unit
    from bursar.kernel.refusals import words

    if in_ticks:
        unit = Unit(_("ticks"), 1)
    try:
        return unit.ticks(text)
    except DomainError as refusal:
        raise typer.BadParameter(words(refusal, gettext), param_hint=option) from None


def _json(value: Any) -> None:
    # Not by Rich, which would break long lines.
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def _table(*columns: str, title: str = "") -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    return table


# ------------------------------------------------------------------------------------------------ finding
def _wallet(number: int) -> "Wallet":
    from bursar.accounting.models import Wallet

    owners = ("project__organization", "organization", "person")
    found = (
        Wallet.objects.select_related("category__provider__organization", *(f"workspace__{one}" for one in owners))
        .filter(pk=number)
        .first()
    )
    if found is None:
        fail(_("There is no wallet {number}.").format(number=number), WRONG_INPUT)
    return found


def _allocation(number: int) -> "Allocation":
    from bursar.accounting.models import Allocation

    found = (
        Allocation.objects.select_related(
            "category__provider__organization", "wallet__workspace", "source__workspace__project__organization"
        )
        .filter(pk=number)
        .first()
    )
    if found is None:
        fail(_("There is no allocation {number}.").format(number=number), WRONG_INPUT)
    return found


def _title(wallet: "Wallet") -> str:
    return f"{wallet.workspace} · {wallet.category.title} ({wallet.category.unit_name})"


@app.command()
@with_ledger
def wallets(
    category: Annotated[int | None, typer.Option(help="Only of this product category.")] = None,
    search: Annotated[str, typer.Option(help="A part of the holder's or the category's name.")] = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """List wallets with their numbers, as they stand now."""
    from django.db.models import Q

    from bursar.accounting.models import Wallet
    from bursar.accounting.selectors import wallet_states

    rows = Wallet.objects.select_related(
        "category__provider__organization", "workspace__project", "workspace__organization", "workspace__person"
    ).order_by("pk")
    if category is not None:
        rows = rows.filter(category_id=category)
    for word in search.split():
        rows = rows.filter(
            Q(workspace__project__name__icontains=word)
            | Q(workspace__organization__name__icontains=word)
            | Q(workspace__person__full_name__icontains=word)
            | Q(category__title__icontains=word)
        )
    found = list(rows[:limit])
    states = wallet_states(wallets=found, at=_now())
    if as_json:
        _json(
            [
                {
                    "wallet_id": one.pk,
                    "workspace": str(one.workspace),
                    "category_id": one.category_id,
                    "category": one.category.title,
                    "quota_ticks": states[one.pk].quota_ticks,
                    "used_ticks": states[one.pk].used_ticks,
                    "available_ticks": states[one.pk].available_ticks,
                    "locked": states[one.pk].locked,
                }
                for one in found
            ]
        )
        return
    table = _table(
        ">" + _("Wallet"), _("Holder"), _("Category"), ">" + _("Quota"), ">" + _("Used"), ">" + _("Available"), _("Unit"),
        _("Locked"),
    )  # fmt: skip
    for one in found:
        state, unit = states[one.pk], one.category.unit
        table.add_row(
            str(one.pk),
            str(one.workspace),
            f"{one.category.title} ({one.category_id})",
            _amount(state.quota_ticks, unit),
            _amount(state.used_ticks, unit),
            _amount(state.available_ticks, unit),
            unit.name,
            _("locked") if state.locked else "",
        )
    out.print(table)


# ------------------------------------------------------------------------------------------------ the past
@app.command("as-of")
@with_ledger
def as_of(
    wallet: Annotated[int, WALLET],
    at: Annotated[str | None, typer.Option(help="When it was so; now when left out.")] = None,
    known_at: Annotated[
        str | None, typer.Option(help="Count what was recorded by then; everything if left out.")
    ] = None,
    to: Annotated[str | None, typer.Option(help="A second instant: show what changed up to then.")] = None,
    to_known_at: Annotated[str | None, typer.Option(help="What was recorded by then counts at the second.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Show a wallet as it was at an instant, as far as was known at another; or what changed between two of them."""
    from bursar.accounting.history import balance_as_of, difference

    found, now = _wallet(wallet), _now()
    first = balance_as_of(
        wallet=found, effective_at=_instant(at, "--at"), known_at=_instant(known_at, "--known-at"), at=now
    )
    if to is None and to_known_at is None:
        _show_balance(first, as_json)
        return
    second = balance_as_of(
        wallet=found, effective_at=_instant(to, "--to"), known_at=_instant(to_known_at, "--to-known-at"), at=now
    )
    change = difference(first, second)
    if as_json:
        _json(
            {
                "from": _balance_json(first),
                "to": _balance_json(second),
                "difference": {
                    **{name: getattr(change, name) for name in _FIGURES},
                    "allocations": [
                        {"allocation_id": one.pk, "quota_ticks": quota, "drawn_ticks": drawn}
                        for one, quota, drawn in change.allocations
                    ],
                },
            }
        )
        return
    unit = found.category.unit
    table = _table("", ">" + _when(first.effective_at), ">" + _when(second.effective_at), ">" + _("Difference"))
    table.title = _title(found)
    for name, words in _FIGURES.items():
        values = [getattr(one, name) for one in (first, second, change)]
        table.add_row(_(words), *(_amount(value, unit) for value in values))
    for one, quota, drawn in change.allocations:
        table.add_row(_("Quota of allocation {number}").format(number=one.pk), "", "", _amount(quota, unit))
        table.add_row(_("Drawn through allocation {number}").format(number=one.pk), "", "", _amount(drawn, unit))
    out.print(table)


_FIGURES: Final[Mapping[str, str]] = {
    "quota_ticks": "Quota",
    "used_ticks": "Used",
    "uncovered_ticks": "Uncovered",
    "written_off_ticks": "Written off",
    "available_ticks": "Available",
}


def _balance_json(one: "BalanceAsOf") -> dict[str, Any]:
    return {
        "wallet_id": one.wallet.pk,
        "effective_at": one.effective_at,
        "known_at": one.known_at,
        **{name: getattr(one, name) for name in _FIGURES},
        "locked": one.locked,
        "over": one.over,
        "allocations": [
            {
                "allocation_id": each.allocation.pk,
                "source_wallet_id": each.allocation.source_id,
                "quota_ticks": each.quota_ticks,
                "drawn_ticks": each.drawn_ticks,
                "start": each.start,
                "end": each.end,
                "state": each.state,
            }
            for each in one.allocations
        ],
    }


def _show_balance(one: "BalanceAsOf", as_json: bool) -> None:
    if as_json:
        _json(_balance_json(one))
        return
    from bursar.accounting.history import name_sources

    unit = name_sources(one).wallet.category.unit
    out.print(_title(one.wallet), style="bold", markup=False)
    known = _("everything that is known") if one.known_at is None else _("as known at {when}").format(
        when=_when(one.known_at)
    )  # fmt: skip
    out.print(_("At {when}, {known}:").format(when=_when(one.effective_at), known=known), markup=False)
    table = _table("", ">" + unit.name)
    for name, words in _FIGURES.items():
        table.add_row(_(words), _amount(getattr(one, name), unit))
    table.add_row(_("State"), _("over") if one.over else _("locked") if one.locked else _("free"))
    out.print(table)
    if one.allocations:
        held = _table(
            ">" + _("Allocation"), _("From"), ">" + _("Quota"), ">" + _("Drawn"), _("Start"), _("End"), _("State")
        )
        for each in one.allocations:
            source = each.allocation.source
            held.add_row(
                str(each.allocation.pk),
                str(source.workspace if source else one.wallet.category.provider),
                _amount(each.quota_ticks, unit),
                _amount(each.drawn_ticks, unit),
                _when(each.start),
                _when(each.end),
                each.state,
            )
        out.print(held)


# ------------------------------------------------------------------------------------------------ what would happen
@app.command("what-if")
@with_ledger
def what_if(
    wallet: Annotated[int, WALLET],
    until: Annotated[str, typer.Option(help="Up to when: a day or an instant.")],
    steps: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            help="Repeat it: allocate, change, revoke, transfer, write-off, charge or rate (an amount each day), then what "
            "it needs as name=value: wallet, source, allocation, to, quota, amount, at, start, end, priority; quota_ticks or "
            "amount_ticks where the unit cannot write it. "
            "--try 'rate amount=120' --try 'change allocation=7 quota=5000 at=2026-05-01'",
        ),
    ] = None,
    tree: Annotated[bool, typer.Option("--tree", help="Tell of everything below the wallet too.")] = False,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Try steps and steady usage on a copy: who would lock, when, and what binds. Nothing is written."""
    from bursar.accounting import what_if as trial

    found = _wallet(wallet)
    end = _instant(until, "--until")
    assert end is not None
    tries = [_step(text, found) for text in steps or []]
    told = trial.what_if(wallet=found, steps=tries, until=end, with_tree=tree, at=_now())
    unit = found.category.unit
    if as_json:
        _json(
            {
                "until": told.until,
                "locked_at": told.locked_at,
                "wallets": [
                    {
                        "wallet_id": one.wallet.pk,
                        "workspace": str(one.wallet.workspace),
                        **{name: getattr(one, name) for name in _FIGURES},
                        "locked": one.locked,
                        "over": one.over,
                    }
                    for one in told.states
                ],
                "locks": [
                    {
                        "at": one.at,
                        "wallet_id": one.wallet.pk,
                        "locked": one.locked,
                        "why": [asdict(w) for w in one.why],
                    }
                    for one in told.turns
                ],
            }
        )
        return
    out.print(_title(found), style="bold", markup=False)
    if told.turns:
        turns = _table(_("When"), _("Whose"), _("Then"), _("Because of"))
        for one in told.turns:
            why = "; ".join(
                _("{where} holds none that is open").format(where=each.workspace)
                if each.allocation_id is None
                else _("allocation {number} of {quota} to {where}").format(
                    number=each.allocation_id, quota=unit.text(each.quota_ticks), where=each.workspace
                )
                for each in one.why
            )
            turns.add_row(_when(one.at), str(one.wallet.workspace), _("locked") if one.locked else _("free"), why)
        out.print(turns)
    else:
        out.print(_("No lock turns until {when}.").format(when=_when(told.until)), markup=False)
    table = _table(
        _("At {when}").format(when=_when(told.until)), ">" + _("Quota"), ">" + _("Used"), ">" + _("Uncovered"),
        ">" + _("Available"), _("State"),
    )  # fmt: skip
    for state in told.states:
        table.add_row(
            str(state.wallet.workspace),
            _amount(state.quota_ticks, unit),
            _amount(state.used_ticks, unit),
            _amount(state.uncovered_ticks, unit),
            _amount(state.available_ticks, unit),
            _("over") if state.over else _("locked") if state.locked else _("free"),
        )
    out.print(table)


_NAMES: Final[Mapping[str, str]] = {
    "wallet": "wallet_id", "source": "source_id", "allocation": "allocation_id", "to": "to_allocation_id",
    "quota": "quota_ticks", "amount": "amount_ticks", "quota_ticks": "quota_ticks", "amount_ticks": "amount_ticks",
    "at": "at", "start": "start", "end": "end", "priority": "priority",
}  # fmt: skip


def _step(text: str, wallet: "Wallet") -> "Step":
    """ "change allocation=7 quota=5000 at=2026-05-01"; the wallet is the one asked for where none is named."""
    from bursar.accounting.what_if import Do, Step

    def wrong(message: str) -> NoReturn:
        raise typer.BadParameter(f"“{text}”: {message}", param_hint="--try")

    name, *parts = text.split()
    try:
        do = Do(name.replace("-", "_"))
    except ValueError:
        wrong(_("it begins with one of: {names}.").format(names=", ".join(Do)))
    fields: dict[str, Any] = {"wallet_id": wallet.pk} if do in {Do.ALLOCATE, Do.WRITE_OFF, Do.CHARGE, Do.RATE} else {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals or key not in _NAMES:
            wrong(_("“{part}” is not name=value with one of: {names}.").format(part=part, names=", ".join(_NAMES)))
        if _NAMES[key] in {"quota_ticks", "amount_ticks"}:
            fields[_NAMES[key]] = _ticks(value, wallet.category.unit, "--try", in_ticks=key == _NAMES[key])
        elif key in {"at", "start", "end"}:
            fields[_NAMES[key]] = _instant(value, "--try")
        elif key == "source" and value == "provider":
            fields["source_id"] = None
        elif value.lstrip("-").isdecimal():
            fields[_NAMES[key]] = int(value)
        else:
            wrong(_("“{part}” needs a number.").format(part=part))
    return Step(do=do, **fields)


# ------------------------------------------------------------------------------------------------ usage of the past
@app.command()
@with_ledger
def backfill(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV with a header: report_id, amount_ticks, period_start, period_end, and workspace_id with category_id, or "
            "resource_id with component; each line a record of its own."
        ),
    ],
    category: Annotated[int | None, typer.Option(help="The product category, for files without category_id.")] = None,
    set_aside: Annotated[
        Path | None, typer.Option(help="Write lines at fault here, with the reason, and book the rest.")
    ] = None,
) -> None:
    """Book usage of the past from a file, by the million. Interrupted or refused, the same file goes on where it ended."""
    from contextlib import nullcontext

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from bursar.kernel import clock
    from bursar.metering import backfill as filling
    from bursar.provisioning.services.reported import complete

    try:
        with file.open("rb") as content:
            lines = sum(part.count(b"\n") for part in iter(lambda: content.read(1 << 20), b"")) - 1
    except OSError as error:
        fail(str(error), WRONG_INPUT)
    columns = (
        TextColumn("{task.completed:,.0f} / {task.total:,.0f}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    try:
        with (
            Progress(*columns, console=err, disable=not sys.stderr.isatty()) as bar,
            set_aside.open("a", encoding="utf-8", errors="surrogateescape", newline="")
            if set_aside
            else nullcontext() as aside,
        ):
            task = bar.add_task("", total=max(lines, 1))
            done = filling.backfill(
                file, category_id=category, at=clock.now, set_aside=aside,
                complete=lambda told: complete(told, by=None, at=clock.now()),
                progress=lambda so_far: bar.update(task, completed=so_far.lines),
            )  # fmt: skip
    except OSError as error:  # the place for what is set aside, most often
        fail(str(error), WRONG_INPUT)
    except filling.FileNotReadable as error:
        fail(_("{file} cannot be read: {why}.").format(file=file, why=error), WRONG_INPUT)
    except filling.BackfillStopped as stopped:
        for one in stopped.wrong[:20]:
            words = " ".join(filter(None, (one.report_id, one.message, f"({one.code})")))
            err.print(f"{file}:{one.line}: {words}", markup=False, soft_wrap=True)
        fail(
            _(
                "{count} lines cannot be booked. {done} lines before them stand and are not read again. Mend them and run this "
                "again, or set them aside with --set-aside."
            ).format(count=len(stopped.wrong), done=stopped.done)
        )
    told = _("{posted:,} booked, {duplicates:,} known before, {set_aside:,} set aside.")
    if done.earlier and done.earlier == done.lines:
        told = _(
            "This file was finished before, and nothing of it was booked now. Then: {posted:,} booked, {duplicates:,} known "
            "before, {set_aside:,} set aside."
        )
    elif done.earlier:
        told = _(
            "{posted:,} booked, {duplicates:,} known before, {set_aside:,} set aside; the first {earlier:,} lines by an earlier "
            "run."
        )
    out.print(told.format(**asdict(done)), markup=False, soft_wrap=True)


# ------------------------------------------------------------------------------------------------ how fast
@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="Each case for a few seconds, on less data.")] = False,
    case: Annotated[list[str] | None, typer.Option(help="Only this case; may be given several times.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Measure the ledger, on a database of its own that is thrown away; each figure stands beside a baseline of the same run."""
    from bursar.config.bench import run

    with run.scratch():
        from bursar.config import environment, postgres
        from bursar.config.cli import setup

        environment.reload()
        setup()
        try:
            from bursar.config import installation

            installation.upgrade_database()
            figures = []
            for figure in run.measure(quick=quick, only=frozenset(case or ()), say=_progress(as_json)):
                figures.append(figure)
                if not as_json:
                    out.print(_bench_line(figure), markup=False, soft_wrap=True)
        finally:
            _close_connections()
            postgres.release()
    if case and (unknown := set(case) - {figure.case for figure in figures}):
        fail(_("There is no such case: {names}.").format(names=", ".join(sorted(unknown))), WRONG_INPUT)
    if as_json:
        rows = [
            {"case": f.case, "value": f.value, "unit": f.unit, "baseline": f.baseline, "ratio": f.ratio}
            for f in figures
        ]
        print(json.dumps(rows, indent=1))


def _close_connections() -> None:
    from bursar.config import installation

    installation.close_connections()


def _progress(quiet: bool) -> Callable[[str], None]:
    return (lambda _text: None) if quiet else (lambda text: err.print(f"… {text}", style="dim", markup=False))


def _bench_line(figure: Any) -> str:
    value = f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.2f}"
    beside = "" if figure.baseline is None else f"   {figure.ratio:.2f} of {figure.baseline:,.2f}"
    return f"{figure.case:<38}{value:>14} {figure.unit:<14}{beside:<28} {figure.target}"


# ------------------------------------------------------------------------------------------------ why
@app.command()
@with_ledger
def explain(
    wallet: Annotated[int | None, typer.Argument(help="Why this wallet is locked, and what would free it.")] = None,
    operation: Annotated[int | None, typer.Option(help="What this operation changed.")] = None,
    report: Annotated[str | None, typer.Option(help="What became of this usage report; with --category.")] = None,
    category: Annotated[int | None, typer.Option(help="The product category of the report or the operation.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say why a wallet is locked, what an operation did, or how a usage report became ledger rows."""
    if [wallet, operation, report].count(None) != 2:
        fail(_("Name one of: a wallet, --operation, --report."), WRONG_INPUT)
    if wallet is not None:
        _explain_lock(_wallet(wallet), as_json)
    elif operation is not None:
        _explain_operation(operation, category, as_json)
    else:
        assert report is not None
        if category is None:
            fail(_("A report is named within a product category: give --category too."), WRONG_INPUT)
        _explain_report(category, report, as_json)


def _explain_lock(wallet: "Wallet", as_json: bool) -> None:
    from bursar.accounting.explanation import explain_lock, sentences

    told = explain_lock(wallet=wallet, at=_now())
    if as_json:
        _json(
            {
                "wallet_id": wallet.pk,
                "locked": told.state.locked,
                "over": told.state.over,
                "available_ticks": told.state.available_ticks,
                "why": [asdict(one) for one in told.state.why],
                "remedies": [asdict(one) for one in told.remedies],
                "free_at": told.free_at,
                "words": sentences(told),
            }
        )
        return
    out.print(_title(wallet), style="bold", markup=False)
    for sentence in sentences(told):
        out.print(sentence, markup=False, soft_wrap=True)


def _explain_operation(number: int, category: int | None, as_json: bool) -> None:
    from bursar.accounting.explanation import explain_operation
    from bursar.accounting.models import Operation

    row = Operation.objects.filter(pk=number, **({} if category is None else {"category_id": category})).first()
    told = None if row is None else explain_operation(category_id=row.category_id, operation_id=number)
    if told is None:
        fail(_("There is no operation {number}.").format(number=number), WRONG_INPUT)
    if as_json:
        _json(_operation_json(told))
        return
    _show_operation(told)


def _operation_json(told: Any) -> dict[str, Any]:
    one = told.operation
    return {
        "operation_id": one.pk,
        "category_id": one.category_id,
        "kind": one.kind,
        "actor": told.actor,
        "reason": one.reason,
        "recorded_at": one.recorded_at,
        "postings_total": told.postings_total,
        "postings": [
            {
                name: getattr(row, name)
                for name in (
                    "id", "kind", "wallet_id", "allocation_id", "used_ticks", "uncovered_ticks", "written_off_ticks",
                    "drawn_ticks", "quota_ticks", "start", "end", "turned", "effective_at",
                )
            }
            for row in told.postings
        ],
    }  # fmt: skip


def _show_operation(told: Any) -> None:
    from bursar.catalogue.models import ProductCategory

    one = told.operation
    unit = ProductCategory.objects.get(pk=one.category_id).unit
    out.print(
        _("Operation {number}: {kind}, recorded {when}, by {actor}").format(
            number=one.pk, kind=one.kind, when=_when(one.recorded_at), actor=told.actor or _("the system")
        ),
        style="bold",
        markup=False,
    )
    if one.reason:
        out.print(one.reason, markup=False)
    table = _table(
        _("Effective"), _("What"), _("Wallet"), ">" + _("Allocation"), ">" + _("Used"), ">" + _("Uncovered"),
        ">" + _("Written off"), ">" + _("Drawn"), ">" + _("Quota"), title=unit.name,
    )  # fmt: skip
    for row in told.postings:
        ticks = (row.used_ticks, row.uncovered_ticks, row.written_off_ticks, row.drawn_ticks, row.quota_ticks)
        table.add_row(
            _when(row.effective_at),
            " ".join(part for part in (row.kind, row.turned) if part),
            f"{told.names.get(row.wallet_id, '')} ({row.wallet_id})",
            "" if row.allocation_id is None else str(row.allocation_id),
            *(unit.text(each) if each else "" for each in ticks),
        )
    out.print(table)
    if told.postings_total > len(told.postings):
        shown = {"shown": len(told.postings), "total": told.postings_total}
        out.print(_("{shown} of {total} rows are shown.").format(**shown), markup=False)


def _explain_report(category: int, report: str, as_json: bool) -> None:
    from bursar.catalogue.models import ProductCategory
    from bursar.metering.explanation import explain_report

    told = explain_report(category_id=category, report_id=report)
    if told is None:
        fail(_("No report “{name}” was booked in that product category.").format(name=report[:80]), WRONG_INPUT)
    one = told.report
    if as_json:
        names = (
            "report_id", "wallet_id", "is_absolute", "scope", "corrects", "amount_ticks", "posted_ticks", "period_start",
            "period_end", "used_at", "user", "job", "recorded_at",
        )  # fmt: skip
        _json({**{name: getattr(one, name) for name in names}, "operation": _operation_json(told.booked)})
        return
    unit = ProductCategory.objects.get(pk=category).unit
    said = _("a level of {amount}") if one.is_absolute else _("{amount}")
    out.print(
        _("Report {name} said {what} from {start} to {end}; {posted} was posted.").format(
            name=one.report_id,
            what=said.format(amount=f"{unit.text(one.amount_ticks)} {unit.name}"),
            start=_when(one.period_start),
            end=_when(one.period_end),
            posted=f"{unit.text(one.posted_ticks)} {unit.name}",
        ),
        markup=False,
        soft_wrap=True,
    )
    _show_operation(told.booked)


# ------------------------------------------------------------------------------------------------ whether it is right
@app.command()
@with_ledger
def verify(
    category: Annotated[int | None, typer.Option(help="Only this product category.")] = None,
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Recompute every balance from the journal and compare, to the tick. Ends with 1 when something differs."""
    from bursar.accounting.services import categories_with_ledger
    from bursar.metering.verification import verify as recompute

    everything = categories_with_ledger()
    if category is not None and category not in everything:
        fail(_("Product category {number} has no ledger.").format(number=category), WRONG_INPUT)
    found = {key: recompute(category_id=key) for key in ([category] if category is not None else everything)}
    differing = sum(map(bool, found.values()))
    if as_json:
        _json([{"category_id": key, "discrepancies": [asdict(one) for one in rows]} for key, rows in found.items()])
    else:
        table = _table(
            ">" + _("Category"), _("What"), ">" + _("Number"), _("Figure"), ">" + _("Kept"), ">" + _("Recomputed"),
            _("From"),
        )  # fmt: skip
        for key, rows in found.items():
            for one in rows:
                table.add_row(
                    str(key), one.subject, str(one.subject_id), one.figure, one.kept, one.recomputed, one.against
                )
        if differing:
            out.print(table)
        counts = {"checked": len(found), "differing": differing}
        out.print(_("{checked} ledgers were compared; {differing} differ.").format(**counts), markup=False)
    if differing:
        raise typer.Exit(1)


@app.command()
@with_ledger
def checkpoints(category: Annotated[int | None, typer.Option(help="Only this product category.")] = None) -> None:
    """Sum up what was recorded since the last time, so that past balances are quick. A job does it every five minutes."""
    from bursar.accounting.checkpoints import keep
    from bursar.accounting.services import categories_with_ledger

    made = sum(keep(key) for key in ([category] if category is not None else categories_with_ledger()))
    out.print(_("{made} checkpoints were made.").format(made=made), markup=False)


# ------------------------------------------------------------------------------------------------ putting it right
@app.command("write-off")
@with_ledger
def write_off(
    wallet: Annotated[int, WALLET],
    amount: Annotated[str | None, typer.Argument(help="In the category's unit; or --all.", show_default=False)] = None,
    *,
    reason: Annotated[str, typer.Option(help="Kept with what is written off.")],
    everything: Annotated[bool, typer.Option("--all", help="All that stands uncovered.")] = False,
    in_ticks: Annotated[bool, TICKS] = False,
) -> None:
    """Let uncovered usage stand as written off."""
    from bursar.accounting import services

    if everything is (amount is not None):
        fail(_("Name one of: an amount, --all."), WRONG_INPUT)
    found = _wallet(wallet)
    unit = found.category.unit
    ticks = None if amount is None else _ticks(amount, unit, "AMOUNT", in_ticks=in_ticks)
    services.write_off(wallet=found, amount_ticks=ticks, reason=reason[:500], by=None, at=_now())
    facts = {
        "uncovered": f"{unit.text(found.uncovered_ticks)} {unit.name}",
        "written_off": f"{unit.text(found.written_off_ticks)} {unit.name}",
    }
    out.print(
        _("Written off. {uncovered} stands uncovered, {written_off} is written off.").format(**facts), markup=False
    )


@app.command()
@with_ledger
def transfer(
    giver: Annotated[int, typer.Argument(help="The number of the allocation that gives.")],
    taker: Annotated[int, typer.Argument(help="The number of the allocation that takes, of the same source.")],
    amount: Annotated[str, typer.Argument(help="In the category's unit; at most what is unused.")],
    in_ticks: Annotated[bool, TICKS] = False,
) -> None:
    """Move unused quota between two allocations of one source, in one step."""
    from bursar.accounting import services

    gives, takes = _allocation(giver), _allocation(taker)
    unit = gives.category.unit
    ticks = _ticks(amount, unit, "AMOUNT", in_ticks=in_ticks)
    services.transfer_quota(giver=gives, taker=takes, amount_ticks=ticks, by=None, at=_now())
    facts = {
        "giver": gives.pk,
        "left": f"{unit.text(gives.quota_ticks)} {unit.name}",
        "taker": takes.pk,
        "has": f"{unit.text(takes.quota_ticks)} {unit.name}",
    }
    out.print(_("Moved. Allocation {giver} has {left}, allocation {taker} has {has}.").format(**facts), markup=False)


# ------------------------------------------------------------------------------------------------ scenarios
@app.command()
def replay(
    file: Annotated[
        Path,
        typer.Argument(help="One scenario a line; - is standard input.", exists=True, dir_okay=False, allow_dash=True),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each scenario: the `expect` list got.")
    ] = False,
    database: Annotated[
        bool, typer.Option("--database", help="Through the posting service, taken back afterwards.")
    ] = False,
) -> None:
    """Play scenarios and say what stands after each step. A line that is no scenario ends it with 2.

    Without --json each line is held against the `expect` it brings: all of it where `tree` is true, else `refused` and `used`;
    ends with 1 when one differs. One in which time alone brings more together than can be counted, and with --database one whose
    `grace` is not whole days, is not played (null with --json): the others are, and it ends with 2 where none differs.
    """
    from bursar.engine.ledger.errors import Overflow
    from bursar.engine.ledger.scenario import NotPlayable
    from bursar.engine.ledger.scenario import replay as play
    from bursar.engine.ledger.scenario_file import read_scenario

    if database:
        _setup(new_tables=True)
        from bursar.metering.replay import play_in_database as play  # type: ignore[assignment]
    differing = left_out = 0
    for number, line in _lines(file):
        try:
            scenario = read_scenario(line)
            got = list(play(scenario))
        except (NotPlayable, Overflow) as why:
            # A step that overflows is refused; here time alone brought too much together.
            left_out += 1
            err.print(f"line {number}: not played: {why}", style="red", markup=False, soft_wrap=True)
            if as_json:
                sys.stdout.write("null\n")
            continue
        except ValueError as wrong:
            fail(f"line {number}: {wrong}", WRONG_INPUT)
        if as_json:
            sys.stdout.write(json.dumps(got, ensure_ascii=False, separators=(",", ":")) + "\n")
            continue
        said = _held_against(scenario, got)
        differing += said.startswith("differs")
        refused = sum(one["refused"] for one in got)
        name = str(scenario.get("name", number))
        out.print(f"{name:<28} {len(got):>4} steps {refused:>3} refused  {said}", markup=False, soft_wrap=True)
    if differing or left_out:
        raise typer.Exit(1 if differing else WRONG_INPUT)


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with file.open("rb") as opened:
        yield opened


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    with _opened(file) as opened:
        for number, line in enumerate(opened, start=1):
            if line.strip():
                yield number, line


def _held_against(scenario: Mapping[str, Any], got: list[dict[str, Any]]) -> str:
    expected = scenario.get("expect")
    if not isinstance(expected, list):
        return "nothing to hold it against"
    determined = scenario.get("tree") is True

    def known(state: Mapping[str, Any]) -> Any:
        if determined:
            return state
        return state["refused"], {name: figures["used"] for name, figures in state["wallets"].items()}

    try:
        for number, (one, other) in enumerate(zip(got, expected, strict=True), start=1):
            if known(one) != known(other):
                return f"differs at step {number}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "differs: `expect` is not a list of states, one for each step"
    return "equal"
