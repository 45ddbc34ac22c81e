"""Lists come in pages: `?limit=50&offset=0`, answered with the total and the addresses of the neighbours."""

from collections.abc import Sequence
from typing import Annotated, Any, Generic, TypeVar

from django.db.models import QuerySet
from django.http import HttpRequest
from ninja import Query, Schema
from pydantic import Field

T = TypeVar("T")

LIMIT_MAX = 500


class PageQuery(Schema):
    limit: int = Field(50, ge=1, le=LIMIT_MAX, description="how many at most")
    offset: int = Field(0, ge=0, le=10_000_000, description="how many to skip")


Paging = Annotated[PageQuery, Query()]


class Page(Schema, Generic[T]):
    items: list[T]
    total: int
    limit: int
    offset: int
    next: str | None = Field(None, description="the address of the next page")
    previous: str | None = Field(None, description="the address of the page before")


def page_of(request: HttpRequest, rows: QuerySet[Any] | Sequence[Any], paging: PageQuery) -> dict[str, Any]:
    """One page of rows in their own order, which has to be stable; two queries however many there are."""
    total = rows.count() if isinstance(rows, QuerySet) else len(rows)
    items = list(rows[paging.offset : paging.offset + paging.limit])
    after, before = paging.offset + paging.limit, max(0, paging.offset - paging.limit)
    return {
        "items": items,
        "total": total,
        "limit": paging.limit,
        "offset": paging.offset,
        "next": _address(request, after) if after < total else None,
        "previous": _address(request, before) if paging.offset else None,
    }


def _address(request: HttpRequest, offset: int) -> str:
    query = request.GET.copy()
    query["offset"] = str(offset)
    return f"{request.path}?{query.urlencode()}"
