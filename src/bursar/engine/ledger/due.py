"""Time passes: starts, ends and closings, one instant after the other, each with its own settle."""

import numpy as np

from bursar.engine.ledger.book import ROOT, Book, Charged, Ints
from bursar.engine.ledger.change import Change, Kind, recorded
from bursar.engine.ledger.few import Figures
from bursar.engine.ledger.locks import following_locks
from bursar.engine.ledger.plan import drawing, releasing
from bursar.engine.ledger.posting import settle
from bursar.engine.ledger.walk import Walk


def advance(book: Book, at: int) -> list[Change]:
    """Apply what is due up to an instant, in time order; the book's present becomes that instant.

    raises   ValueError when the instant lies before the book's present
    """
    if at < book.now:
        raise ValueError("time does not go back")
    changes: list[Change] = []
    while (instant := next_due(book)) is not None and instant <= at:
        with following_locks(book):
            book.now = instant
            _apply(book, instant, changes)
    # Between instants the set of open windows does not change, and so no lock does.
    book.now = at
    return changes


def next_due(book: Book) -> int | None:
    """The next instant after the book's present at which an open allocation starts, ends or closes."""
    open_rows = ~book.closed
    closes = book.closes()
    if (open_rows & (closes <= book.now)).any():  # overdue only where the category's grace was shortened
        return book.now
    candidates = [column[open_rows & (column > book.now)] for column in (book.start, book.end, closes)]
    earliest = [int(column.min()) for column in candidates if len(column)]
    return min(earliest, default=None)


def close_rows(book: Book, rows: Ints, kind: Kind, at: int, changes: list[Change]) -> None:
    """Close allocations now: what an over-time one drew is frozen; what a level drew goes back and is drawn again."""
    with recorded(book, kind, at, changes):
        if book.rules.charged is Charged.OVER_TIME or not book.drawn[rows].any():
            book.closed[rows] = True
            book.cache.clear()
            return
        # Made before: what is closed here gives nothing back any more, since nothing is drawn through it.
        back = releasing(book, at)
        book.closed[rows] = True
        book.cache.clear()
        plan = drawing(book, at)
        figures = Figures(book)
        walk = Walk(book, figures)
        for row in rows.tolist():
            amount, source = figures.drawn[row], figures.source[row]
            if not amount:
                continue
            figures.drawn[row] = 0
            if source != ROOT:
                walk.release(back, source, amount)
            walk.draw(plan, int(book.wallet[row]), amount)
        figures.write_back()


def _apply(book: Book, at: int, changes: list[Change]) -> None:
    opened = np.flatnonzero(~book.closed & (book.start == at))
    if len(opened):
        with recorded(book, Kind.OPEN, at, changes, opened=opened):
            pass
    closing = np.flatnonzero(~book.closed & (book.closes() <= at))
    if len(closing):
        close_rows(book, closing, Kind.CLOSE, at, changes)
    settle(book, changes)
