"""A few figures of a book, however large it is: read when they are asked for, written back at the end."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bursar.engine.ledger.book import MAX, Book, Ints
from bursar.engine.ledger.change import NONE, Change, Kind
from bursar.engine.ledger.errors import Overflow


class Few(dict[int, int]):
    """A column by row, as far as it was asked for; what is set is seen here alone until it is written back."""

    def __init__(self, column: Ints) -> None:
        super().__init__()
        self._column = column

    def __missing__(self, row: int) -> int:
        value = self[row] = int(self._column[row])
        return value

    def write_back(self) -> None:
        if self:
            self._column[list(self)] = list(self.values())

    def moved(self, since: dict[int, int]) -> dict[int, int]:
        """By row the difference to a copy that was taken of this."""
        result = {}
        for row, value in self.items():
            before = since[row] if row in since else int(self._column[row])
            if value != before:
                result[row] = value - before
        return result


class Figures:
    """The figures that a posting can move."""

    def __init__(self, book: Book) -> None:
        self.used, self.uncovered, self.written_off = Few(book.used), Few(book.uncovered), Few(book.written_off)
        self.drawn, self.quota, self.source = Few(book.drawn), Few(book.quota), Few(book.source)

    @contextmanager
    def recorded(self, kind: Kind, at: int, into: list[Change]) -> Iterator[None]:
        """Append to `into` what the body changes, if anything.

        raises   Overflow
        """
        columns = (self.used, self.uncovered, self.written_off, self.drawn)
        before = [dict(column) for column in columns]
        yield
        used, uncovered, written_off, drawn = (
            column.moved(since) for column, since in zip(columns, before, strict=True)
        )
        self._check()
        wallets, allocations = sorted({*used, *uncovered, *written_off}), sorted(drawn)
        if wallets or allocations:
            into.append(
                Change(
                    kind=kind,
                    at=at,
                    wallets=_column(wallets),
                    used=_column([used.get(row, 0) for row in wallets]),
                    uncovered=_column([uncovered.get(row, 0) for row in wallets]),
                    written_off=_column([written_off.get(row, 0) for row in wallets]),
                    allocations=_column(allocations),
                    drawn=_column([drawn[row] for row in allocations]),
                    quota=np.zeros(len(allocations), dtype=np.int64),
                    opened=NONE,
                    closed=NONE,
                )
            )

    def write_back(self) -> None:
        """raises   Overflow"""
        self._check()
        for column in (self.used, self.uncovered, self.written_off, self.drawn):
            column.write_back()

    def _check(self) -> None:
        if max(self.used.values(), default=0) > MAX or max(self.uncovered.values(), default=0) > MAX:
            raise Overflow


def _column(values: list[int]) -> Ints:
    return np.array(values, dtype=np.int64)
