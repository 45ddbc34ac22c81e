"""Verbs that write: give, change, take back and move quota, write off, apply what is due. Usage is in `usage.py`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import numpy as np
from django.db import transaction

from bursar.accounting import copying
from bursar.accounting.books import EPOCH, Held, Ledger, instant, known_wallets, load, lock, micros
from bursar.accounting.errors import (
    InstantOutOfRange,
    QuantityOutOfRange,
    ReasonMissing,
    WalletOfAnotherCategory,
    in_units,
)
from bursar.accounting.models import Allocation, Clock, Wallet
from bursar.accounting.visibility import require_source
from bursar.catalogue.models import ProductCategory
from bursar.catalogue.services.categories import seal_category
from bursar.engine import ledger as engine
from bursar.engine.ledger import Change, Kind
from bursar.engine.ledger.book import ROOT, Ints
from bursar.kernel.quantity import TICKS_MAX
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, require
from bursar.structure.text import clean_line

_LATEST: Final = datetime(9990, 1, 1, tzinfo=UTC)


@transaction.atomic
def wallet_for(*, workspace_id: int, category_id: int, at: datetime) -> Wallet:
    """The wallet of a workspace in a category, made on first need."""
    held = lock(category_id)
    wallet_ids_for(category_id=category_id, workspace_ids=np.array([workspace_id]), at=at, held=held)
    return Wallet.objects.select_related("category__provider", "workspace").get(
        category_id=category_id, workspace_id=workspace_id
    )


def wallet_ids_for(*, category_id: int, workspace_ids: Ints, at: datetime, held: Held) -> Ints:
    """The wallets of workspaces, made where they are missing; in the caller's transaction.

    workspace_ids   shape (n,), ascending, each once
    held            what the category's lock told: whoever makes wallets without it may wait for one who waits for them
    returns         shape (n,); 0 where there is no such workspace
    """
    known = known_wallets(category_id, held)
    found: Ints = np.array([known.get(key, 0) for key in workspace_ids.tolist()], dtype=np.int64)
    if found.all():
        return found
    result = _wallet_ids(category_id, workspace_ids)
    lacking = workspace_ids[result == 0].tolist()
    missing = sorted(Workspace.objects.filter(pk__in=lacking).values_list("pk", flat=True)) if lacking else []
    if not missing:
        return result
    locked = ProductCategory.objects.values_list("requires_allocation", flat=True).get(pk=category_id)
    seal_category(category_id=category_id, at=at)
    Wallet.objects.bulk_create(
        [Wallet(category_id=category_id, workspace_id=key, locked=locked, made_at=at) for key in missing],
        ignore_conflicts=True,
        batch_size=1000,
    )
    return _wallet_ids(category_id, workspace_ids)


def _wallet_ids(category_id: int, workspace_ids: Ints) -> Ints:
    statement = """
        SELECT workspace_id, id FROM wallet WHERE category_id = %(category)s AND workspace_id = ANY(%(workspaces)s::bigint[])
    """
    parameters = {"category": category_id, "workspaces": copying.array(workspace_ids)}
    known, wallets = copying.read(statement, parameters, width=2)
    result = np.zeros(len(workspace_ids), dtype=np.int64)
    result[np.searchsorted(workspace_ids, known)] = wallets
    return result


@transaction.atomic
def allocate(
    *,
    workspace: Workspace,
    category: ProductCategory,
    source: Wallet | None,
    quota_ticks: int,
    start: datetime,
    end: datetime,
    priority: int = 0,
    note: str = "",
    by: Person | None,
    at: datetime,
) -> Allocation:
    """Give a workspace the right to draw from a source wallet, or from the provider (None).

    raises   NotAllowed; WalletOfAnotherCategory; QuantityOutOfRange; InstantOutOfRange; TextTooLong, TextNotAllowed; and what the
             engine refuses: AllocationsNotUsed, SuballocationNotAllowed, EndNotAfterStart, EndInThePast, NegativeQuota,
             SourceBelowRecipient, Overallocated
    """
    require_source(by, category, source, at)
    if source is not None and source.category_id != category.pk:
        raise WalletOfAnotherCategory
    _check_range(quota_ticks)
    window = (_window_edge(start, "start"), _window_edge(end, "end"))
    note = clean_line(note, field="note", limit=500, required=False)
    if not category.requires_allocation:
        raise engine.errors.AllocationsNotUsed
    held = lock(category.pk)
    workspace_ids = np.array([workspace.pk])
    wallet_id = int(wallet_ids_for(category_id=category.pk, workspace_ids=workspace_ids, at=at, held=held)[0])
    ledger = _open(category, [wallet_id, *([source.pk] if source else [])], by, at)
    loaded = ledger.loaded
    with in_units(category.unit):
        row, changes = engine.allocate(
            ledger.book,
            wallet=loaded.row_of_wallet[wallet_id],
            source=ROOT if source is None else loaded.row_of_wallet[source.pk],
            quota=quota_ticks,
            start=window[0],
            end=window[1],
            priority=priority,
        )
    allocation = Allocation.objects.create(
        category=category,
        wallet_id=wallet_id,
        source=source,
        quota_ticks=quota_ticks,
        drawn_ticks=int(ledger.book.drawn[row]),
        start=start,
        end=end,
        priority=priority,
        note=note,
        made_by=by,
        made_at=ledger.now,
    )
    loaded.allocation_ids.append(allocation.pk)
    _journal(ledger, "allocate", changes, {row: window}, Kind.ALLOCATE, reason=note)
    ledger.tell("allocation.created", "allocation", allocation.pk, wallet_id, **_facts(allocation))
    ledger.finish()
    return allocation


@transaction.atomic
def change_allocation(
    *,
    allocation: Allocation,
    quota_ticks: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    by: Person | None,
    at: datetime,
) -> Allocation:
    """Set quota, start or end of an allocation, as its source's owner.

    raises   NotAllowed; QuantityOutOfRange; InstantOutOfRange; and what the engine refuses: AllocationClosed, StartIsFixed,
             EndNotAfterStart, EndInThePast, NegativeQuota, QuotaBelowDrawn, Overallocated
    """
    category = allocation.category
    require_source(by, category, allocation.source, at)
    _check_range(quota_ticks)
    ledger = _open_for(allocation, by, at)
    row = _row(ledger, allocation)
    starts = int(ledger.book.start[row]) if start is None else _window_edge(start, "start")
    ends = int(ledger.book.end[row]) if end is None else _window_edge(end, "end")
    with in_units(category.unit):
        changes = engine.change(ledger.book, row, quota=quota_ticks, start=starts, end=ends)
    _journal(ledger, "change", changes, {row: (starts, ends)}, Kind.CHANGE)
    return _finish(ledger, allocation, "allocation.changed")


@transaction.atomic
def revoke_allocation(*, allocation: Allocation, by: Person | None, at: datetime) -> Allocation:
    """Close an allocation now, as its source's owner.

    raises   NotAllowed; AllocationClosed; Overallocated
    """
    require_source(by, allocation.category, allocation.source, at)
    ledger = _open_for(allocation, by, at)
    row = _row(ledger, allocation)
    with in_units(allocation.category.unit):
        changes = engine.revoke(ledger.book, row)
    windows = {row: (int(ledger.book.start[row]), int(ledger.book.end[row]))}
    _journal(ledger, "revoke", changes, windows, Kind.REVOKE)
    return _finish(ledger, allocation, "allocation.revoked")


@transaction.atomic
def transfer_quota(*, giver: Allocation, taker: Allocation, amount_ticks: int, by: Person | None, at: datetime) -> None:
    """Move unused quota between two open allocations of one source, in one step.

    raises   NotAllowed; WalletOfAnotherCategory; AmountNotPositive; AllocationClosed; DifferentSources;
             TransferTooLarge; Overallocated
    """
    category = giver.category
    if taker.category_id != category.pk:
        raise WalletOfAnotherCategory
    require_source(by, category, giver.source, at)
    require_source(by, category, taker.source, at)
    _check_range(amount_ticks)
    ledger = _open_for(giver, by, at, also=taker)
    rows = _row(ledger, giver), _row(ledger, taker)
    with in_units(category.unit):
        changes = engine.transfer(ledger.book, *rows, amount_ticks)
    _journal(ledger, "transfer", changes, {}, Kind.TRANSFER)
    facts = {"to_allocation_id": taker.pk, "amount_ticks": amount_ticks}
    ledger.tell("quota.transferred", "allocation", giver.pk, giver.wallet_id, **facts)
    facts = {"from_allocation_id": giver.pk, "amount_ticks": amount_ticks}
    ledger.tell("quota.transferred", "allocation", taker.pk, taker.wallet_id, **facts)
    ledger.finish()
    giver.refresh_from_db()
    taker.refresh_from_db()


@transaction.atomic
def write_off(*, wallet: Wallet, amount_ticks: int | None, reason: str, by: Person | None, at: datetime) -> None:
    """Let uncovered usage of an over-time category stand as written off, as its provider.

    amount_ticks   None: all that stands uncovered when it is done
    raises   NotAllowed; ReasonMissing; TextTooLong, TextNotAllowed; AmountNotPositive; WriteOffNotPossible; WriteOffTooLarge
    """
    category = wallet.category
    require(by, Permission.WRITE_OFF, category.provider.organization, at)
    reason = clean_line(reason, field="reason", limit=500, required=False)
    if not reason:
        raise ReasonMissing
    ledger = _open(category, [wallet.pk], by, at)
    row = ledger.loaded.row_of_wallet[wallet.pk]
    if amount_ticks is None:
        # Where nothing stands uncovered one tick is too many, and that is what the refusal says.
        amount_ticks = int(ledger.book.uncovered[row]) or 1
    with in_units(category.unit):
        changes = engine.write_off(ledger.book, row, amount_ticks)
    _journal(ledger, "write_off", changes, {}, Kind.WRITE_OFF, reason=reason)
    ledger.tell("usage.written_off", "wallet", wallet.pk, wallet.pk, amount_ticks=amount_ticks, reason=reason)
    ledger.finish()
    wallet.refresh_from_db()


def categories_with_ledger() -> list[int]:
    """The categories in which something may become due."""
    return list(Clock.objects.order_by("pk").values_list("pk", flat=True))


@transaction.atomic
def apply_due(*, category_id: int, at: datetime) -> bool:
    """Apply the starts, ends and closings of a category that are due; whether there were any."""
    category = ProductCategory.objects.select_related("provider").get(pk=category_id)
    if not load(category, [], at).wallet_ids:
        return False  # nobody has to wait for the lock to learn that
    ledger = Ledger(category=category, wallet_ids=[], by_id=None, at=at)
    ledger.finish()
    return True


def _check_range(ticks: int | None) -> None:
    if ticks is not None and abs(ticks) > TICKS_MAX:
        raise QuantityOutOfRange


def _open(category: ProductCategory, wallet_ids: list[int], by: Person | None, at: datetime) -> Ledger:
    lock(category.pk)
    if not category.allows_overallocation:
        # What these wallets gave out counts then, so those who hold it have to be there too.
        given = Allocation.objects.filter(category=category, source_id__in=wallet_ids, closed_at=None)
        wallet_ids = [*wallet_ids, *given.values_list("wallet_id", flat=True)]
    return Ledger(category=category, wallet_ids=wallet_ids, by_id=by.pk if by else None, at=at)


def _open_for(allocation: Allocation, by: Person | None, at: datetime, also: Allocation | None = None) -> Ledger:
    concerned = [allocation, *([also] if also else [])]
    ids = [key for one in concerned for key in (one.wallet_id, one.source_id) if key is not None]
    return _open(allocation.category, ids, by, at)


def _row(ledger: Ledger, allocation: Allocation) -> int:
    row = ledger.loaded.row_of_allocation.get(allocation.pk)
    if row is None:  # closed, and nothing was drawn through it
        raise engine.errors.AllocationClosed
    return row


def _window_edge(at: datetime, field: str) -> int:
    """raises   InstantOutOfRange: grace comes on top, and other zones read the same instant as another day"""
    if not EPOCH <= at <= _LATEST:
        raise InstantOutOfRange(field=field)
    return micros(at)


def _journal(
    ledger: Ledger,
    kind: str,
    changes: list[Change],
    windows: Mapping[int, tuple[int, int]],
    bearer: Kind,
    *,
    reason: str = "",
) -> None:
    """Write an operation's changes; the windows go with the change of its own kind, even if no figure moved in it."""
    operation = ledger.operation(kind, reason)
    if windows and not any(change.kind is bearer for change in changes):
        changes = [engine.nothing(bearer, ledger.book.now), *changes]
    for change in changes:
        ledger.journal(operation, change, dict(windows) if change.kind is bearer else None)


def _facts(allocation: Allocation) -> dict[str, object]:
    return {
        "source_id": allocation.source_id,
        "quota_ticks": allocation.quota_ticks,
        "start": allocation.start.isoformat(),
        "end": allocation.end.isoformat(),
    }


def _finish(ledger: Ledger, allocation: Allocation, kind: str) -> Allocation:
    row = ledger.loaded.row_of_allocation[allocation.pk]
    facts = {
        "source_id": allocation.source_id,
        "quota_ticks": int(ledger.book.quota[row]),
        "start": instant(int(ledger.book.start[row])).isoformat(),
        "end": instant(int(ledger.book.end[row])).isoformat(),
    }
    ledger.tell(kind, "allocation", allocation.pk, allocation.wallet_id, **facts)
    ledger.finish()
    allocation.refresh_from_db()
    return allocation
