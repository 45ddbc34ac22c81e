"""Lists that search, filter, sort and page on the server and keep their state in the address."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, reduce
from operator import or_
from typing import Any

from django.core.paginator import EmptyPage, Page, PageNotAnInteger, Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, and what it sorts by (names of fields; "" = it does not sort).

    classes   on the heading, such as "num" for numbers
    hidden    the heading is only for screen readers
    """

    label: Text
    sort: str | Sequence[str] = ""
    classes: str = ""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """A select box above the list.

    apply     lookup name ("state"), or a function (rows, value) -> rows
    """

    key: str
    label: Text
    choices: Iterable[tuple[str, Text]]
    apply: str | Callable[[Any, str], Any]


@dataclass(frozen=True, slots=True)
class Head:
    """A heading as the template shows it."""

    label: Text
    classes: str
    hidden: bool
    url: str = ""
    direction: str = ""  # "ascending", "descending" or "": as aria-sort says it


@dataclass(frozen=True, slots=True)
class Box:
    key: str
    label: Text
    choices: list[tuple[str, Text]]
    value: str


@dataclass
class Listing:
    """One list on a page.

    rows      a queryset with a stable order (or a sequence: then it pages, and filters by functions only)
    columns   key -> Column, in order
    search    lookups joined by "or", such as "name__icontains", or a function (rows, words) -> rows
    prefix    put before each parameter when a page has several lists
    """

    request: HttpRequest
    source: QuerySet[Any] | Sequence[Any]
    columns: Mapping[str, Column]
    search: Sequence[str] | Callable[[Any, str], Any] = ()
    filters: Sequence[Filter] = ()
    sort: str = ""
    per_page: int = 25
    prefix: str = ""
    label: Text = ""
    search_label: Text = ""
    id: str = field(default="")

    def __post_init__(self) -> None:
        self.id = self.id or f"list-{self.prefix}" if self.prefix else self.id or "list"

    def parameter(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def value(self, name: str) -> str:
        return self.request.GET.get(self.parameter(name), "").strip()

    @property
    def words(self) -> str:
        return self.value("q")[:200]

    @cached_property
    def boxes(self) -> list[Box]:
        boxes = []
        for each in self.filters:
            choices = [(str(key), label) for key, label in each.choices]
            value = self.value(each.key)
            boxes.append(Box(self.parameter(each.key), each.label, choices, value if value in dict(choices) else ""))
        return boxes

    @property
    def searches(self) -> bool:
        return bool(self.search)

    @property
    def narrowed(self) -> bool:
        return bool(self.words) or any(box.value for box in self.boxes)

    @cached_property
    def ordering(self) -> str:
        """The key of the column to sort by, with "-" before it for descending."""
        asked = self.value("sort")
        column = self.columns.get(asked.removeprefix("-"))
        return asked if column and column.sort else self.sort

    @cached_property
    def page(self) -> Page[Any]:
        rows: Any = self.source
        for each, box in zip(self.filters, self.boxes, strict=True):
            if box.value:
                rows = each.apply(rows, box.value) if callable(each.apply) else rows.filter(**{each.apply: box.value})
        if isinstance(rows, QuerySet):
            search = self.search
            if self.words and callable(search):
                rows = search(rows, self.words)
            elif self.words and search and not callable(search):
                rows = rows.filter(reduce(or_, (Q(**{lookup: self.words}) for lookup in search)))
            rows = self._sorted(rows)
        paginator = Paginator(rows, self.per_page)
        try:
            return paginator.page(self.value("page") or 1)
        except PageNotAnInteger:
            return paginator.page(1)
        except EmptyPage:
            return paginator.page(paginator.num_pages)

    def _sorted(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        key = self.ordering.removeprefix("-")
        column = self.columns.get(key)
        if not column or not column.sort:
            return rows
        names = [column.sort] if isinstance(column.sort, str) else list(column.sort)
        if self.ordering.startswith("-"):
            names = [name[1:] if name.startswith("-") else f"-{name}" for name in names]
        return rows.order_by(*names, "pk")

    @cached_property
    def rows(self) -> list[Any]:
        return list(self.page.object_list)

    def url(self, **changes: str) -> str:
        """The query string with some of this list's parameters changed; "" removes one."""
        query = self.request.GET.copy()
        for name, value in changes.items():
            query.pop(self.parameter(name), None)
            if value:
                query[self.parameter(name)] = value
        return f"?{query.urlencode()}"

    @property
    def others(self) -> list[tuple[str, str]]:
        """The parameters of the address that the list's form has to carry along."""
        own = {self.parameter("q"), self.parameter("page"), *(box.key for box in self.boxes)}
        return [(key, value) for key, values in self.request.GET.lists() if key not in own for value in values]

    @cached_property
    def heads(self) -> list[Head]:
        heads = []
        for key, column in self.columns.items():
            if not column.sort:
                heads.append(Head(column.label, column.classes, column.hidden))
                continue
            ascending = self.ordering == key
            descending = self.ordering == f"-{key}"
            direction = "ascending" if ascending else "descending" if descending else ""
            heads.append(
                Head(
                    column.label,
                    column.classes,
                    column.hidden,
                    self.url(sort=f"-{key}" if ascending else key, page=""),
                    direction,
                )
            )
        return heads

    @property
    def pages(self) -> list[tuple[str, str, bool]]:
        """(text, address, is this one) of each link below the list; an address of "" is a gap."""
        page = self.page
        if page.paginator.num_pages < 2:
            return []
        return [
            (str(number), "", False)
            if not isinstance(number, int)
            else (str(number), self.url(page=str(number) if number > 1 else ""), number == page.number)
            for number in page.paginator.get_elided_page_range(page.number, on_each_side=1, on_ends=1)
        ]

    @property
    def previous_url(self) -> str:
        page = self.page
        return self.url(page=str(page.previous_page_number())) if page.has_previous() else ""

    @property
    def next_url(self) -> str:
        page = self.page
        return self.url(page=str(page.next_page_number())) if page.has_next() else ""

    @property
    def total(self) -> int:
        return self.page.paginator.count
