"""What the agent must not lose, in one SQLite file: who it is, how far it has read, what is to be done, what is to be told.

All of it but the marks of measuring can be had again from Bursar and the backend: an agent whose disk was wiped begins with
a snapshot, measures from the beginning, and nothing is counted twice, because records keep their names.
"""

import fcntl
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from bursar.plugins import wire
from bursar.plugins.contract import UsageRecord

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS subject (
    kind TEXT NOT NULL, id INTEGER NOT NULL, state TEXT, number INTEGER NOT NULL, done INTEGER NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX IF NOT EXISTS subject_open ON subject (kind, id) WHERE done < number;
CREATE TABLE IF NOT EXISTS measured (backend TEXT NOT NULL, offering INTEGER NOT NULL, mark TEXT NOT NULL,
    PRIMARY KEY (backend, offering));
CREATE TABLE IF NOT EXISTS record (
    place INTEGER PRIMARY KEY, backend TEXT NOT NULL, resource INTEGER NOT NULL, record TEXT NOT NULL, kept_at TEXT NOT NULL,
    stuck TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS record_backend ON record (backend, place);
"""


class InUse(Exception):
    """Another agent runs with this folder."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is known of a thing that concerns us. `number`: of its last event; `done`: up to which it was worked at."""

    kind: str
    id: int
    state: Mapping[str, Any] | None
    number: int
    done: int


@dataclass(frozen=True, slots=True)
class Spooled:
    place: int
    record: UsageRecord


class Store:
    """Opened by one agent at a time; `read_only` for those who only look."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._lock = threading.RLock()
        self._held = None
        if not read_only:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held = (folder / "lock").open("w")
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._held.close()
                raise InUse(f"another agent runs with {folder}") from None
        path = folder / "agent.sqlite"
        self._db = sqlite3.connect(
            f"file:{path}?mode={'ro' if read_only else 'rwc'}", uri=True, check_same_thread=False, isolation_level=None
        )
        if not read_only:
            path.chmod(0o600)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_TABLES)

    def close(self) -> None:
        with self._lock:
            self._db.close()
            if self._held is not None:
                self._held.close()

    @contextmanager
    def _written(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()

    # -------------------------------------------------------------------------------------------- who and how far
    def meta(self, key: str) -> str | None:
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def keep(self, key: str, value: str) -> None:
        with self._written() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def instance(self) -> UUID:
        """The number by which Bursar knows this disk."""
        known = self.meta("instance")
        if known is None:
            known = str(uuid4())
            self.keep("instance", known)
        return UUID(known)

    @property
    def mark(self) -> int | None:
        """The last event whose state is kept here; None: nothing was read yet."""
        known = self.meta("mark")
        return None if known is None else int(known)

    # -------------------------------------------------------------------------------------------- what concerns us
    def keep_events(self, events: Sequence[Mapping[str, Any]], *, mark: int | None) -> None:
        """Keep the states, and with them how far we have read: together or not at all."""
        with self._written() as db:
            db.executemany(
                "INSERT INTO subject VALUES (?, ?, ?, ?, -1) ON CONFLICT (kind, id) DO UPDATE SET state = excluded.state,"
                " number = max(number, excluded.number), done = CASE WHEN excluded.number >= number THEN"
                " min(done, excluded.number - 1) ELSE done END",
                [
                    (event["subject"], event["id"], None if event["state"] is None else json.dumps(event["state"]),
                     event["number"])
                    for event in events
                ],
            )  # fmt: skip
            if mark is not None:
                db.execute("INSERT OR REPLACE INTO meta VALUES ('mark', ?)", (str(mark),))

    def keep_state(self, kind: str, pk: int, state: Mapping[str, Any]) -> None:
        """A newer state that came with an answer to us, and not by the feed."""
        with self._written() as db:
            db.execute("UPDATE subject SET state = ? WHERE kind = ? AND id = ?", (json.dumps(state), kind, pk))

    def note_done(self, kind: str, pk: int, number: int) -> None:
        with self._written() as db:
            db.execute("UPDATE subject SET done = max(done, ?) WHERE kind = ? AND id = ?", (number, kind, pk))

    def forget_numbers(self) -> None:
        """The feed's numbers begin lower than those known here: what is known stays, as if it had been read before all."""
        with self._written() as db:
            db.execute("UPDATE subject SET number = 0, done = -1")
            db.execute("DELETE FROM meta WHERE key = 'mark'")

    def begin_anew(self, kept: Mapping[str, Sequence[int]], number: int, *, ended_before: str = "") -> None:
        """After a whole snapshot: what was not in it concerns us no longer; the mark is the snapshot's.

        ended_before   an instant: resources that ended earlier are forgotten; of later ones usage may still be out
        """
        with self._written() as db:
            for kind, ids in kept.items():
                there = set(ids)
                gone = [
                    (kind, pk)
                    # What came by the feed while the snapshot was read is not in it and is not gone.
                    for (pk,) in db.execute("SELECT id FROM subject WHERE kind = ? AND number <= ?", (kind, number))
                    if pk not in there
                ]
                if kind != "resource":
                    db.executemany("DELETE FROM subject WHERE kind = ? AND id = ?", gone)
                    continue
                db.executemany("UPDATE subject SET done = number WHERE kind = ? AND id = ?", gone)
                db.executemany(
                    "DELETE FROM subject WHERE kind = ? AND id = ? AND coalesce(json_extract(state, '$.terminated_at'), '') < ?",
                    [(kind, pk, ended_before) for kind, pk in gone],
                )
            db.execute("INSERT OR REPLACE INTO meta VALUES ('mark', ?)", (str(number),))

    def subject(self, kind: str, pk: int) -> Subject | None:
        rows = self._rows("SELECT kind, id, state, number, done FROM subject WHERE kind = ? AND id = ?", kind, pk)
        return next(map(_subject, rows), None)

    def subjects(self, kind: str) -> list[Subject]:
        rows = self._rows("SELECT kind, id, state, number, done FROM subject WHERE kind = ? ORDER BY id", kind)
        return list(map(_subject, rows))

    def outstanding(self) -> list[Subject]:
        """What changed and was not worked at to the end, the oldest first."""
        rows = self._rows("SELECT kind, id, state, number, done FROM subject WHERE done < number ORDER BY number, id")
        return list(map(_subject, rows))

    # -------------------------------------------------------------------------------------------- what is to be told
    def measured_to(self, backend: str, offering: int) -> str:
        rows = self._rows("SELECT mark FROM measured WHERE backend = ? AND offering = ?", backend, offering)
        return str(rows[0][0]) if rows else ""

    def keep_records(self, backend: str, offering: int, records: Sequence[UsageRecord], mark: str, at: str) -> None:
        """Keep what a plugin measured, and its mark with it."""
        with self._written() as db:
            db.executemany(
                "INSERT INTO record (backend, resource, record, kept_at) VALUES (?, ?, ?, ?)",
                [(backend, one.resource_id, json.dumps(wire.dump(one)), at) for one in records],
            )
            db.execute("INSERT OR REPLACE INTO measured VALUES (?, ?, ?)", (backend, offering, mark))

    def spooled(self, backend: str, limit: int, *, after: int = 0) -> list[Spooled]:
        rows = self._rows(
            "SELECT place, record FROM record WHERE backend = ? AND stuck = '' AND place > ? ORDER BY place LIMIT ?",
            backend, after, limit,
        )  # fmt: skip
        return [Spooled(place, wire.load(UsageRecord, json.loads(record))) for place, record in rows]

    def drop(self, places: Sequence[int]) -> None:
        with self._written() as db:
            db.executemany("DELETE FROM record WHERE place = ?", [(place,) for place in places])

    def note_stuck(self, place: int, why: str) -> None:
        """One that the server cannot even read: it waits here and stops no other."""
        with self._written() as db:
            db.execute("UPDATE record SET stuck = ? WHERE place = ?", (why[:500], place))

    def spool(self) -> dict[str, Any]:
        """How much waits to be told, since when, and what is stuck."""
        ((count, oldest),) = self._rows("SELECT count(*), min(kept_at) FROM record WHERE stuck = ''")
        stuck = self._rows("SELECT record, stuck FROM record WHERE stuck <> '' ORDER BY place LIMIT 20")
        return {
            "count": count,
            "oldest_at": oldest,
            "stuck": [{"id": json.loads(record)["id"], "why": why} for record, why in stuck],
        }

    def spooled_of(self, resource: int) -> int:
        ((count,),) = self._rows("SELECT count(*) FROM record WHERE resource = ? AND stuck = ''", resource)
        return int(count)


def _subject(row: tuple[Any, ...]) -> Subject:
    kind, pk, state, number, done = row
    return Subject(kind, pk, None if state is None else json.loads(state), number, done)
