"""What can be read from a book without changing it."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from bursar.engine.ledger.book import MAX, ROOT, Book, Ints
from bursar.engine.ledger.few import Figures
from bursar.engine.ledger.plan import Plan, drawing
from bursar.engine.ledger.walk import Walk

# The way up from so many wallets is shorter than a pass over the book.
FEW: Final = 16


def available(book: Book, wallet: int, at: int | None = None) -> int:
    """What a wallet can still use without anything becoming uncovered up to the roots: a maximum flow, in ticks.

    at   an instant of use; None = the book's present
    """
    plan = drawing(book, book.now if at is None else at)
    return _up_the_tree(book, plan, wallet) if plan.tree else Walk(book, Figures(book)).measure(plan, wallet)


def available_everywhere(book: Book, wallets: Iterable[int] | None = None) -> list[int]:
    """`available` of each of these wallets (None: of every one) in the book's present."""
    plan = drawing(book, book.now)
    rows = range(len(book.used)) if wallets is None else list(wallets)
    few = wallets is not None and len(rows) <= FEW
    if plan.tree and plan.widest <= 1 and not few:
        everywhere: list[int] = _down_the_tree(book, plan)[np.array(rows, dtype=np.int64)].tolist()
        return everywhere
    if plan.tree:
        return [_up_the_tree(book, plan, wallet) for wallet in rows]
    walk = Walk(book)
    return [walk.measure(plan, wallet) for wallet in rows]


def broken_laws(book: Book, wallet_ids: Sequence[int] | None = None) -> list[str]:
    """What is wrong with a book by the laws L1 to L5, in words for whoever has to look; empty when all is well.

    wallet_ids   what the wallets are called, by row; None: by their rows
    """
    if not book.rules.requires_allocation:
        return []
    names_of = range(len(book.used)) if wallet_ids is None else wallet_ids
    found = []
    if ((book.drawn < 0) | (book.drawn > book.quota)).any():
        found.append("L1: an allocation draws less than nothing or more than its quota")
    names = ("used", "uncovered", "written_off")
    found += [f"L1: {name} is negative" for name in names if (getattr(book, name) < 0).any()]
    columns = (book.used, book.uncovered, book.written_off)
    into, out = [0] * len(book.used), [0] * len(book.used)
    for wallet, source, drawn in zip(book.wallet.tolist(), book.source.tolist(), book.drawn.tolist(), strict=True):
        into[wallet] += drawn
        if source != ROOT:
            out[source] += drawn
    for wallet, (used, uncovered, written_off) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        if into[wallet] + uncovered + written_off != used + out[wallet]:
            found.append(f"L2: wallet {names_of[wallet]} does not balance")
    roots = sum(book.drawn[book.source == ROOT].tolist())
    if roots + sum(book.uncovered.tolist()) + sum(book.written_off.tolist()) != sum(book.used.tolist()):
        found.append("L3: usage was lost or made")
    roomy = drawing(book, book.now).members & (book.drawn < book.quota)
    wallets = np.unique(book.wallet[roomy])
    standing = wallets[book.uncovered[wallets] > 0].tolist()
    return found + [f"L4: wallet {names_of[wallet]} has room and stands uncovered" for wallet in standing]


def _up_the_tree(book: Book, plan: Plan, wallet: int) -> int:
    least: int | None = None
    at = wallet
    while at != ROOT:
        rows = plan.into[at]
        if not rows:
            return 0
        room = sum(int(book.quota[row]) - int(book.drawn[row]) for row in rows)
        least = room if least is None else min(least, room)
        at = int(book.source[rows[0]])
    assert least is not None
    return least


def _down_the_tree(book: Book, plan: Plan) -> Ints:
    result = np.zeros(len(book.used), dtype=np.int64)
    for level in reversed(plan.levels):
        rows = level.allocations
        room, source = book.quota[rows] - book.drawn[rows], book.source[rows]
        above = np.where(source == ROOT, MAX, result[source])
        result[level.wallets] = np.minimum(room, above)
    return result
