"""Answers as CSV, made to be opened in a spreadsheet without anything in them acting there."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.http import HttpResponse

from bursar.kernel.sheet import cell, table

__all__ = ["CSV_ANSWER", "cell", "csv_answer"]

# For `openapi_extra`: what an operation answers with.
CSV_ANSWER: Final[dict[str, Any]] = {
    "responses": {200: {"description": "OK", "content": {"text/csv": {"schema": {"type": "string"}}}}}
}


def csv_answer(name: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> HttpResponse:
    """A table as a file to be kept. name: of the file, without its ending."""
    safe = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    return HttpResponse(
        table(heads, rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{safe}.csv"'},
    )
