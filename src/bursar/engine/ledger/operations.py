"""What people do to quota: give, change, take back, move, and write off what nobody will cover.

Each operation is decided in the book's present; whoever calls it has applied what is due before (`advance`). A refusal
leaves the book as it was. Who may do it is decided above.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bursar.engine.ledger.book import MAX, ROOT, Book, Charged, Ints
from bursar.engine.ledger.change import Change, Kind, recorded
from bursar.engine.ledger.due import close_rows
from bursar.engine.ledger.errors import (
    AllocationClosed,
    AllocationsNotUsed,
    AmountNotPositive,
    DifferentSources,
    EndInThePast,
    EndNotAfterStart,
    NegativeQuota,
    Overallocated,
    Overflow,
    QuotaBelowDrawn,
    SourceBelowRecipient,
    StartIsFixed,
    SuballocationNotAllowed,
    TransferTooLarge,
    WriteOffNotPossible,
    WriteOffTooLarge,
)
from bursar.engine.ledger.locks import following_locks
from bursar.engine.ledger.plan import releasing
from bursar.engine.ledger.posting import settle


def allocate(
    book: Book, *, wallet: int, source: int, quota: int, start: int, end: int, priority: int = 0
) -> tuple[int, list[Change]]:
    """Give a wallet the right to draw from a source wallet, or from the provider (ROOT); its row and what changed.

    raises   AllocationsNotUsed, SuballocationNotAllowed, EndNotAfterStart, EndInThePast, NegativeQuota, Overflow,
             SourceBelowRecipient, Overallocated
    """
    if not book.rules.requires_allocation:
        raise AllocationsNotUsed
    if source != ROOT and not book.rules.allows_suballocation:
        raise SuballocationNotAllowed
    if end <= start:
        raise EndNotAfterStart
    if end <= book.now:
        raise EndInThePast
    _check_quota(book, wallet, quota)
    if source != ROOT and _draws_from(book, source, wallet):
        raise SourceBelowRecipient
    changes: list[Change] = []
    with _all_or_nothing(book), following_locks(book):
        row = book.add_allocations(
            wallet=[wallet], source=[source], quota=[0], start=[start], end=[end], priority=[priority]
        )
        opened = np.array([row] if start <= book.now else [], dtype=np.int64)
        with recorded(book, Kind.ALLOCATE, book.now, changes, opened=opened):
            book.quota[row] = quota
        _check_given(book, source)
        settle(book, changes)
    return row, changes


def change(
    book: Book, row: int, *, quota: int | None = None, start: int | None = None, end: int | None = None
) -> list[Change]:
    """Set quota, start or end of an allocation; one in grace may be extended.

    raises   AllocationClosed, StartIsFixed, EndNotAfterStart, EndInThePast, NegativeQuota, QuotaBelowDrawn,
             Overflow, Overallocated
    """
    if book.closed[row]:
        raise AllocationClosed
    new_start = int(book.start[row]) if start is None else start
    new_end = int(book.end[row]) if end is None else end
    if new_start != book.start[row] and book.start[row] <= book.now:
        raise StartIsFixed
    if new_end <= new_start:
        raise EndNotAfterStart
    if new_end != book.end[row] and new_end <= book.now:
        raise EndInThePast
    changes: list[Change] = []
    with _all_or_nothing(book), following_locks(book):
        opened = new_start <= book.now < book.start[row]
        book.start[row], book.end[row] = new_start, new_end
        book.cache.clear()
        rows = np.array([row] if opened else [], dtype=np.int64)
        with recorded(book, Kind.CHANGE, book.now, changes, opened=rows):
            if quota is not None:
                _check_quota(book, int(book.wallet[row]), quota, instead_of=row)
                if quota < book.drawn[row]:
                    raise QuotaBelowDrawn(drawn=int(book.drawn[row]))
                book.quota[row] = quota
        _check_given(book, int(book.source[row]))
        _check_given(book, int(book.wallet[row]))
        settle(book, changes)
    return changes


def revoke(book: Book, row: int) -> list[Change]:
    """Close an allocation now; its window ends now, and one that has not begun never will.

    raises   AllocationClosed, Overallocated
    """
    if book.closed[row]:
        raise AllocationClosed
    changes: list[Change] = []
    with _all_or_nothing(book), following_locks(book):
        book.end[row] = max(int(book.start[row]), min(int(book.end[row]), book.now))
        book.cache.clear()
        close_rows(book, np.array([row]), Kind.REVOKE, book.now, changes)
        _check_given(book, int(book.wallet[row]))
        settle(book, changes)
    return changes


def transfer(book: Book, giver: int, taker: int, amount: int) -> list[Change]:
    """Move unused quota from one open allocation to another of the same source, in one step.

    amount   ticks, at most what is not drawn through the giver
    raises   AmountNotPositive, AllocationClosed, DifferentSources, TransferTooLarge, Overflow, Overallocated
    """
    if amount <= 0:
        raise AmountNotPositive
    if book.closed[giver] or book.closed[taker]:
        raise AllocationClosed
    if giver == taker or book.source[giver] != book.source[taker]:
        raise DifferentSources
    unused = int(book.quota[giver] - book.drawn[giver])
    if amount > unused:
        raise TransferTooLarge(unused=unused)
    if book.wallet[giver] != book.wallet[taker]:
        _check_quota(book, int(book.wallet[taker]), int(book.quota[taker]) + amount, instead_of=taker)
    changes: list[Change] = []
    with _all_or_nothing(book), following_locks(book):
        with recorded(book, Kind.TRANSFER, book.now, changes):
            book.quota[giver] -= amount
            book.quota[taker] += amount
        _check_given(book, int(book.source[taker]))
        _check_given(book, int(book.wallet[giver]))
        settle(book, changes)
    return changes


def write_off(book: Book, wallet: int, amount: int) -> list[Change]:
    """Let uncovered usage of an over-time category stand as written off.

    raises   AmountNotPositive, WriteOffNotPossible, WriteOffTooLarge, Overflow
    """
    if amount <= 0:
        raise AmountNotPositive
    if book.rules.charged is not Charged.OVER_TIME:
        raise WriteOffNotPossible
    if amount > book.uncovered[wallet]:
        raise WriteOffTooLarge(uncovered=int(book.uncovered[wallet]))
    if amount > MAX - int(book.written_off[wallet]):
        raise Overflow
    changes: list[Change] = []
    with recorded(book, Kind.WRITE_OFF, book.now, changes):
        book.uncovered[wallet] -= amount
        book.written_off[wallet] += amount
    return changes


def given_beyond_held(given: tuple[Ints, Ints, Ints], held: tuple[Ints, Ints, Ints], since: int) -> tuple[int, int]:
    """The first instant's (given, held) at which more is given out than held from an instant on, or (0, 0).

    given, held   quota, start and end of the allocations, each of shape (n,)
    """
    # By instant, by how much what is given and what is held changes there.
    steps: dict[int, list[int]] = {}
    for side, (quotas, starts, ends) in enumerate((given, held)):
        for quota, start, end in zip(quotas.tolist(), starts.tolist(), ends.tolist(), strict=True):
            first = max(start, since)
            if first < end:
                steps.setdefault(first, [0, 0])[side] += quota
                steps.setdefault(end, [0, 0])[side] -= quota
    out = into = 0
    for _, (more_given, more_held) in sorted(steps.items()):
        out, into = out + more_given, into + more_held
        if out > into:
            return out, into
    return 0, 0


def _check_given(book: Book, wallet: int) -> None:
    if book.rules.allows_overallocation or wallet == ROOT:
        return
    columns = [
        (book.quota[rows], book.start[rows], book.end[rows])
        for rows in (~book.closed & (book.source == wallet), ~book.closed & (book.wallet == wallet))
    ]
    given, held = given_beyond_held(columns[0], columns[1], book.now)
    if given > held:
        raise Overallocated(given=given, held=held)


def _check_quota(book: Book, wallet: int, quota: int, *, instead_of: int | None = None) -> None:
    """What a wallet holds in all, and so what it can have available, stays countable."""
    if quota < 0:
        raise NegativeQuota
    held = ~book.closed & (book.wallet == wallet)
    if instead_of is not None:
        held[instead_of] = False
    if quota > MAX - sum(book.quota[held].tolist()):
        raise Overflow


def _draws_from(book: Book, wallet: int, other: int) -> bool:
    """Whether a wallet is another, or draws from it over any number of steps."""
    plan = releasing(book, book.now)
    seen, queue = {wallet}, [wallet]
    for at in queue:
        if at == other:
            return True
        for row in plan.into[at]:
            above = int(book.source[row])
            if above != ROOT and above not in seen:
                seen.add(above)
                queue.append(above)
    return False


@contextmanager
def _all_or_nothing(book: Book) -> Iterator[None]:
    before = book.copy()
    try:
        yield
    except BaseException:
        book.restore(before)
        raise
