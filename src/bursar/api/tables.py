"""Answers as CSV, made to be opened in a spreadsheet without anything in them acting there."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.http import HttpResponse

# A cell that begins so is a formula to a spreadsheet (source: OWASP, CSV Injection).
_ACTS: Final = ("=", "+", "-", "@", "\t", "\r")
_NUMBER: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")

# For `openapi_extra`: what an operation answers with.
CSV_ANSWER: Final[dict[str, Any]] = {
    "responses": {200: {"description": "OK", "content": {"text/csv": {"schema": {"type": "string"}}}}}
}


def cell(value: object) -> str:
    """A value as text that a spreadsheet takes as text or as a number, never as a formula."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_ACTS) and not _NUMBER.fullmatch(text) else text


def csv_answer(name: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> HttpResponse:
    """A table as a file to be kept. name: of the file, without its ending."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(map(cell, heads))
    writer.writerows(map(cell, row) for row in rows)
    safe = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    return HttpResponse(
        out.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{safe}.csv"'},
    )
