"""Rows by the thousand between PostgreSQL and arrays: written in COPY's binary form, read as arrays of whole columns.

Source of the form: PostgreSQL's documentation of COPY, "Binary Format".
"""

import struct
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from typing import Any, Final

import numpy as np
import psycopg
from django.db import connection
from numpy.typing import NDArray
from psycopg import sql

_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + struct.pack(">II", 0, 0)
_TRAILER: Final = b"\xff\xff"
_NULL: Final = b"\xff\xff\xff\xff"
_AT_ONCE: Final = 2000
_WORTH_A_THREAD: Final = 500
_THREADS: Final = ThreadPoolExecutor(max_workers=16, thread_name_prefix="copying")
_under_way = threading.local()
# PostgreSQL counts instants from 2000.
_EPOCH_MICROS: Final = 946_684_800_000_000

Fixed = tuple[str, Any]
"""Values of one width: their form in NumPy's words, and the values (None: NULL throughout)."""
Pieces = list[bytes]
"""Values of different widths, each behind its length."""
Block = tuple[int, Mapping[str, Fixed | Pieces]]
"""How many rows, and their columns by name."""


def whole(values: Any) -> Fixed:
    """bigint; an array, a list, or one number for all rows."""
    return ">i8", values


def instants(micros: Any) -> Fixed:
    """timestamptz, from microseconds since 1970."""
    return ">i8", np.asarray(micros, dtype=np.int64) - _EPOCH_MICROS


def flags(values: Any) -> Fixed:
    """boolean."""
    return "?", values


def constant(text: str) -> Fixed:
    """The same text in each row."""
    return _constant(text.encode())


def octets(values: Sequence[bytes], width: int) -> Fixed:
    """bytea, each of one width."""
    return f"V{width}", np.frombuffer(b"".join(values), dtype=f"V{width}")


NULL: Final[Fixed] = ("", None)


def texts(values: Sequence[str], before: bytes = b"") -> Fixed | Pieces:
    """Text; `before` is what a type wants in front (jsonb: its version)."""
    different = set(values)
    if len(different) == 1:
        return _constant(before + different.pop().encode())
    if len(different) > len(values) // 2:
        return [_LENGTHS[len(content)] + content for content in [before + value.encode() for value in values]]
    known = {value: _piece(before + value.encode()) for value in different}
    return [known[value] for value in values]


def whole_or_null(values: Sequence[int | None]) -> Fixed | Pieces:
    """bigint of which some are NULL."""
    different = set(values)
    if None not in different:
        return whole(values)
    if len(different) == 1:
        return NULL
    known = {value: _NULL if value is None else _piece(struct.pack(">q", value)) for value in different}
    return [known[value] for value in values]


def write(table: str, *blocks: Block) -> None:
    """Add rows to a table; the columns of all blocks have the same names."""
    settle()
    with connection.cursor() as cursor:
        _send(cursor.cursor, table, _laid_out(blocks))  # psycopg's own, below Django's


@dataclass(slots=True)
class _Lane:
    """Work on the connection that goes on beside the caller, one piece after the other, in the order given."""

    work: deque[Callable[[], object]] = field(default_factory=deque)
    guard: threading.Lock = field(default_factory=threading.Lock)
    running: Future[None] | None = None

    def put(self, piece: Callable[[], object]) -> None:
        with self.guard:
            self.work.append(piece)
            if self.running is None:
                self.running = _THREADS.submit(self._run)

    def _run(self) -> None:
        while True:
            with self.guard:
                if not self.work:
                    self.running = None
                    return
                piece = self.work.popleft()
            piece()  # what fails stays in `running`: nothing of what was given after it is begun

    def wait(self) -> None:
        with self.guard:
            running = self.running
        if running is not None:
            running.result()


def begin(table: str, *blocks: Block) -> None:
    """As `write`; inside `settled` the caller may go on while many rows are written.

    Whatever is asked of the database next waits for them, and what goes wrong is raised there.
    """
    lane = _lane_for(sum(count for count, _ in blocks))
    if lane is None:
        write(table, *blocks)
    else:
        # Laid out here: the thread has nothing to do but wait for the server.
        contents = [(names, list(parts)) for names, parts in _laid_out(blocks)]
        lane.put(partial(_send, psycopg.Cursor(connection.connection), table, contents))


def begin_statement(statement: str, parameters: Sequence[Any], rows: int) -> None:
    """The same for a statement that changes so many rows."""
    lane = _lane_for(rows)
    if lane is None:
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
    else:
        lane.put(partial(psycopg.ClientCursor(connection.connection).execute, statement.encode(), parameters))


def _lane_for(rows: int) -> _Lane | None:
    """What is worth a thread goes beside, and what comes after it behind it."""
    lane: _Lane | None = getattr(_under_way, "lane", None)
    if lane is None or (rows < _WORTH_A_THREAD and lane.running is None):
        return None
    return lane


def settle() -> None:
    """Wait for what was begun; raises what went wrong with it."""
    lane: _Lane | None = getattr(_under_way, "lane", None)
    if lane is None or lane.running is None:
        return
    with connection.wrap_database_errors:
        lane.wait()


@contextmanager
def settled() -> Iterator[None]:
    """What the body begins is done when it ends, however it ends; to be entered inside the transaction."""
    _under_way.lane = lane = _Lane()
    connection.execute_wrappers.append(_wait_first)
    try:
        yield
        settle()
    except BaseException:
        with suppress(Exception):  # the first that went wrong is told
            lane.wait()
        raise
    finally:
        connection.execute_wrappers.remove(_wait_first)
        _under_way.lane = None


def _wait_first(execute: Callable[..., Any], *call: Any) -> Any:
    settle()
    return execute(*call)


def _laid_out(blocks: Iterable[Block]) -> Iterator[tuple[tuple[str, ...], Iterator[bytes]]]:
    """The contents of COPYs, each with the names of its columns: blocks that want another order get a COPY of their own."""
    for names, alike in groupby(blocks, key=_order):
        yield names, (part for count, columns in alike for part in _rows(count, [columns[name] for name in names]))


def _send(cursor: Any, table: str, contents: Iterable[tuple[tuple[str, ...], Iterable[bytes]]]) -> None:
    for names, parts in contents:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
        )
        with cursor.copy(statement) as copy:
            copy.write(_HEADER)
            for part in parts:
                copy.write(part)
            copy.write(_TRAILER)


def _order(block: Block) -> tuple[str, ...]:
    """Values of one width stand together, so that they are laid out at once."""
    _, columns = block
    return tuple(sorted(columns, key=lambda name: isinstance(columns[name], list)))


def read(query: str, parameters: Mapping[str, Any], width: int) -> NDArray[np.int64]:
    """The rows of a query all of whose columns are bigint and not NULL, in the order of their first two columns.

    returns   shape (width, n)
    """
    # One row of whole columns: thousands of rows would each be taken apart by the driver.
    names = [f"c{place}" for place in range(width)]
    wanted = ", ".join(f"array_agg({name})::text" for name in names)
    statement = f"SELECT {wanted} FROM ({query}) AS q({', '.join(names)})"  # noqa: S608  the caller's constant
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        columns = cursor.fetchone()
    if columns is None or columns[0] is None:
        return np.zeros((width, 0), dtype=np.int64)
    table = np.array([np.fromstring(column[1:-1], dtype=np.int64, sep=",") for column in columns])
    return table[:, np.lexsort((table[1], table[0]))]


def array(values: NDArray[Any] | Sequence[int]) -> str:
    """An array of numbers as PostgreSQL reads it, for `%s::bigint[]`."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    return "{" + ",".join(map(str, listed)) + "}"


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
