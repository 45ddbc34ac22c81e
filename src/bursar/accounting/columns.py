"""Columns of rows that are to be written, in both forms: PostgreSQL's binary one for many rows, JSON for a few.

Source of the binary form: PostgreSQL's documentation of COPY, "Binary Format".
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain, groupby
from typing import Any, Final

import msgspec
import numpy as np

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">II", 0, 0)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_JSONB: Final = b"\1"  # the version of the type's binary form
_AT_ONCE: Final = 2000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# PostgreSQL counts instants from 2000.
_EPOCH_MICROS: Final = 946_684_800_000_000

Fixed = tuple[str, Any]
"""Values of one width: their form in NumPy's words, and the values (None: NULL throughout)."""
Pieces = list[bytes]
"""Values of different widths, each behind its length."""


@dataclass(frozen=True, slots=True)
class Column:
    """Values of one column, or one value for all rows.

    listed   the values as JSON knows them, for so many rows
    binary   as COPY reads them
    """

    listed: Callable[[int], Sequence[Any]]
    binary: Callable[[], Fixed | Pieces]


Block = tuple[int, Mapping[str, Column]]
"""How many rows, and their columns by name."""


def _each(values: Any) -> Callable[[int], Sequence[Any]]:
    def listed(count: int) -> Sequence[Any]:
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        return plain if isinstance(plain, list) else [plain] * count

    return listed


def whole(values: Any) -> Column:
    """bigint; an array, a list, or one number for all rows."""
    return Column(_each(values), lambda: (">i8", values))


def instants(micros: Any) -> Column:
    """timestamptz, from microseconds since 1970."""

    def listed(count: int) -> Sequence[str]:
        return [(_EPOCH + timedelta(microseconds=one)).isoformat() for one in _each(micros)(count)]

    return Column(listed, lambda: (">i8", np.asarray(micros, dtype=np.int64) - _EPOCH_MICROS))


def flags(values: Any) -> Column:
    """boolean."""
    return Column(_each(values), lambda: ("?", values))


def constant(text: str) -> Column:
    """The same text in each row."""
    return Column(_each(text), lambda: _constant(text.encode()))


def octets(values: Sequence[bytes], width: int) -> Column:
    """bytea, each of one width."""
    return Column(
        lambda _count: ["\\x" + value.hex() for value in values],
        lambda: (f"V{width}", np.frombuffer(b"".join(values), dtype=f"V{width}")),
    )


def _nothing(count: int) -> Sequence[None]:
    return [None] * count


NULL: Final = Column(_nothing, lambda: ("", None))


def texts(values: Sequence[str]) -> Column:
    """Text."""
    return Column(lambda _count: values, cache(lambda: _texts(values, b"")))  # some stand in two tables


def documents(values: Sequence[str]) -> Column:
    """jsonb, each written out."""
    return Column(lambda _count: [msgspec.Raw(value.encode()) for value in values], lambda: _texts(values, _JSONB))


def whole_or_null(values: Sequence[int | None]) -> Column:
    """bigint of which some are NULL."""
    return Column(lambda _count: values, lambda: _whole_or_null(values))


def as_json(blocks: Iterable[Block]) -> str:
    """A JSON array of the rows of blocks."""
    rows: list[dict[str, Any]] = []
    for count, columns in blocks:
        listed = [column.listed(count) for column in columns.values()]
        rows += [dict(zip(columns, row, strict=True)) for row in zip(*listed, strict=True)]
    return msgspec.json.encode(rows).decode()


def as_copies(blocks: Iterable[Block]) -> Iterator[tuple[tuple[str, ...], Iterator[bytes]]]:
    """The contents of COPYs, each with the names of its columns: blocks that want another order get a COPY of their own."""
    made = ((count, {name: column.binary() for name, column in columns.items()}) for count, columns in blocks)
    for names, alike in groupby(made, key=_order):
        rows = (part for count, columns in alike for part in _rows(count, [columns[name] for name in names]))
        yield names, chain((_HEADER,), rows, (_TRAILER,))


def _order(made: tuple[int, Mapping[str, Fixed | Pieces]]) -> tuple[str, ...]:
    """Values of one width stand together, so that they are laid out at once."""
    _, columns = made
    return tuple(sorted(columns, key=lambda name: isinstance(columns[name], list)))


def _texts(values: Sequence[str], before: bytes) -> Fixed | Pieces:
    different = set(values)
    if len(different) == 1:
        return _constant(before + different.pop().encode())
    if len(different) > len(values) // 2:
        return [_LENGTHS[len(content)] + content for content in [before + value.encode() for value in values]]
    known = {value: _piece(before + value.encode()) for value in different}
    return [known[value] for value in values]


def _whole_or_null(values: Sequence[int | None]) -> Fixed | Pieces:
    different = set(values)
    if None not in different:
        return ">i8", values
    if len(different) == 1:
        return "", None
    known = {value: _NULL if value is None else _piece(struct.pack(">q", value)) for value in different}
    return [known[value] for value in values]


def _constant(content: bytes) -> Fixed:
    return (f"V{len(content)}", np.frombuffer(content, dtype=f"V{len(content)}")[0]) if content else ("", b"")


def _piece(content: bytes) -> bytes:
    return _LENGTHS[len(content)] + content


class _Lengths(dict[int, bytes]):
    """A value's length as it stands before it."""

    def __missing__(self, length: int) -> bytes:
        made = self[length] = length.to_bytes(4, "big")
        return made


_LENGTHS: Final = _Lengths()


def _rows(count: int, columns: Sequence[Fixed | Pieces]) -> Iterator[bytes]:
    """Rows a few at a time: while one part is laid out here, the server reads the one before."""
    fixed = [column for column in columns if isinstance(column, tuple)]
    pieces = [column for column in columns if isinstance(column, list)]
    parts: list[tuple[str, str]] = [("fields", ">i2")]
    for place, (form, _) in enumerate(fixed):
        parts.append((f"width{place}", ">i4"))
        if form:
            parts.append((f"value{place}", form))
    table = np.empty(count, dtype=parts)
    table["fields"] = len(columns)
    for place, (form, values) in enumerate(fixed):
        table[f"width{place}"] = np.dtype(form).itemsize if form else (-1 if values is None else 0)
        if form:
            table[f"value{place}"] = values
    width = table.itemsize
    for first in range(0, count, _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        content = table[part].tobytes()
        if pieces:
            heads = [content[start : start + width] for start in range(0, len(content), width)]
            content = b"".join(chain.from_iterable(zip(heads, *(column[part] for column in pieces), strict=True)))
        yield content
