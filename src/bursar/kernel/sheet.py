"""Tables as CSV, made to be opened in a spreadsheet without anything in them acting there."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

# A cell that begins so is a formula to a spreadsheet (source: OWASP, CSV Injection).
_ACTS: Final = ("=", "+", "-", "@", "\t", "\r")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def cell(value: object) -> str:
    """A value as text that a spreadsheet takes as text or as a number, never as a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_ACTS) and not _NUMBER.fullmatch(text) else text


def rows_of(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """A table as CSV line by line, its heads first: for one that is too large to be held."""
    out = io.StringIO()
    writer = csv.writer(out)
    for row in chain([heads], rows):
        writer.writerow(map(cell, row))
        yield out.getvalue()
        out.seek(0)
        out.truncate()


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A whole table as CSV, its heads first."""
    return "".join(rows_of(heads, rows))
