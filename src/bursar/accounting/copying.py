"""Writing rows, a few or by the thousand, and reading them as arrays of whole columns.

Inside `settled` nobody waits for what is written: a few rows wait for each other and go in one message, many go in a thread
of their own. Whatever is asked of the database next comes after them.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import psycopg
from django.db import DEFAULT_DB_ALIAS, connection, connections
from numpy.typing import NDArray
from psycopg import sql

from bursar.accounting.columns import Block, as_copies, as_json
from bursar.structure import prepared

_FEW: Final = 50
_WORTH_A_THREAD: Final = 500
_THREADS: Final = ThreadPoolExecutor(max_workers=16, thread_name_prefix="copying")
_under_way = threading.local()


def write(table: str, *blocks: Block) -> None:
    """Add rows to a table; the columns of all blocks have the same names."""
    settle()
    if _rows_of(blocks) <= _FEW:
        with connection.cursor() as cursor:
            cursor.execute(*_insert(table, blocks))
        return
    with connection.cursor() as cursor:
        _send(cursor.cursor, table, as_copies(blocks))  # psycopg's own, below Django's


def _rows_of(blocks: Iterable[Block]) -> int:
    return sum(count for count, _ in blocks)


def _insert(table: str, blocks: Sequence[Block]) -> tuple[str, list[Any]]:
    """For a few rows a COPY has too many ways to the server and back."""
    names = ", ".join(f'"{name}"' for name in blocks[0][1])
    statement = f'INSERT INTO "{table}" ({names}) SELECT {names} FROM json_populate_recordset(NULL::"{table}", %s)'  # noqa: S608  names of ours
    return statement, [as_json(blocks)]


@dataclass(slots=True)
class _Lane:
    """What is to be written in a transaction, in the order given.

    few    statements of a few rows that wait to be sent together
    work   what goes on beside the caller, one piece after the other
    """

    few: list[tuple[str, Sequence[Any]]] = field(default_factory=list)
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
    """As `write`; inside `settled` the caller may go on, and what goes wrong is raised later."""
    count = _rows_of(blocks)
    if count <= _FEW:
        begin_statement(*_insert(table, blocks), rows=count)
        return
    lane = _lane_for(count)
    if lane is None:
        write(table, *blocks)
    else:
        # Laid out here: the thread has nothing to do but wait for the server.
        contents = [(names, list(parts)) for names, parts in as_copies(blocks)]
        lane.put(partial(_send, psycopg.Cursor(connection.connection), table, contents))


def begin_statement(statement: str, parameters: Sequence[Any], *, rows: int) -> None:
    """The same for a statement, each time of the same words, that changes so many rows."""
    lane = _lane_for(rows)
    if lane is not None:
        lane.put(partial(psycopg.ClientCursor(connection.connection).execute, statement.encode(), parameters))
        return
    idle = _lane()
    if idle is not None:
        idle.few.append((statement, parameters))
        return
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _lane() -> _Lane | None:
    """That of the transaction that this thread is in, if it is one of `settled`."""
    return getattr(_under_way, "lane", None)


def _lane_for(rows: int) -> _Lane | None:
    """What is worth a thread goes beside, and what comes after it behind it."""
    lane = _lane()
    if lane is None or (rows < _WORTH_A_THREAD and lane.running is None):
        return None
    _send_few(lane)
    return lane


def _send_few(lane: _Lane) -> None:
    """All in one go, without waiting for the answers in between."""
    waiting, lane.few = lane.few, []
    if not waiting:
        return
    database = connections[DEFAULT_DB_ALIAS]  # as in `prepared.cursor`
    with database.wrap_database_errors, database.connection.pipeline():
        cursor = psycopg.Cursor(database.connection)
        for statement, parameters in waiting:
            cursor.execute(statement.encode(), parameters)


def settle() -> None:
    """Have everything written that was begun; raises what went wrong with it."""
    lane = _lane()
    if lane is None:
        return
    _send_few(lane)
    if lane.running is not None:
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


def _send(cursor: Any, table: str, contents: Iterable[tuple[tuple[str, ...], Iterable[bytes]]]) -> None:
    for names, parts in contents:
        statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, names))
        )
        with cursor.copy(statement) as copy:
            for part in parts:
                copy.write(part)


def read(query: str, parameters: Mapping[str, Any], width: int) -> NDArray[np.int64]:
    """The rows of a query all of whose columns are bigint and not NULL, in the order of their first two columns.

    returns   shape (width, n)
    """
    # One row of whole columns: thousands of rows would each be taken apart by the driver.
    names = [f"c{place}" for place in range(width)]
    wanted = ", ".join(f"array_agg({name})::text" for name in names)
    statement = f"SELECT {wanted} FROM ({query}) AS q({', '.join(names)})"  # noqa: S608  the caller's constant
    with prepared.cursor() as cursor:
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
