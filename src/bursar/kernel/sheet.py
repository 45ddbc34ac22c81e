"""Tables as CSV, made to be opened in a spreadsheet without anything in them acting there."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

# A cell that begins so is a formula to a spreadsheet (source: OWASP, CSV Injection).
_ACTS: Final = ("=", "+", "-", "@", "\t", "\r")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")


def cell(value: object) -> str:
    """A value as text that a spreadsheet takes as text or as a number, never as a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_ACTS) and not _NUMBER.fullmatch(text) else text


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A whole table as CSV, its heads first."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(cell, heads))
    writer.writerows(map(cell, row) for row in rows)
    return out.getvalue()
