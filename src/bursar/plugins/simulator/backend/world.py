"""The pretend world: accounts, quota, jobs that take real time, virtual machines. Durable in one SQLite file.

Nothing has to be awake for something to end: each turn first brings the world up to the present (`_advance`), and
what a run has used at an instant follows from its start, its speed and that instant alone. So a killed process loses
nothing, and a job that was due to end meanwhile ended when it was due.
"""

import re
import secrets
import sqlite3
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from bursar import __version__
from bursar.plugins.simulator import wire

NODES: Final = 8
CORES_PER_NODE: Final = 64
BUILD_SECONDS: Final = 3
RESTART_SECONDS: Final = 2
DAY_MICROSECONDS: Final = 86_400_000_000
SAMPLES_PER_PAGE: Final = 2_000
PRETEND_NAMES: Final = ("relax", "postprocess", "ensemble-member", "train", "equilibrate", "mesh-sweep")

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS person (
    username TEXT PRIMARY KEY, person_id INTEGER UNIQUE, email TEXT NOT NULL, full_name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS account (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, parent TEXT REFERENCES account,
    closed INTEGER NOT NULL DEFAULT 0, locked INTEGER NOT NULL DEFAULT 1, paused INTEGER NOT NULL DEFAULT 0,
    "limit" INTEGER DEFAULT 0, cap INTEGER, storage_gb INTEGER NOT NULL DEFAULT 0,
    pretend INTEGER NOT NULL DEFAULT 0, pretend_next INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS membership (
    account TEXT NOT NULL REFERENCES account, username TEXT NOT NULL, PRIMARY KEY (account, username));
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL REFERENCES account, username TEXT NOT NULL,
    name TEXT NOT NULL, cores INTEGER NOT NULL, seconds INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'pending',
    reason TEXT NOT NULL DEFAULT '', submitted INTEGER NOT NULL, nodes TEXT NOT NULL DEFAULT '', run INTEGER);
CREATE INDEX IF NOT EXISTS job_open ON job (state) WHERE state IN ('pending', 'running');
CREATE INDEX IF NOT EXISTS job_account ON job (account);
CREATE TABLE IF NOT EXISTS machine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL REFERENCES account, name TEXT NOT NULL,
    flavor TEXT NOT NULL, ssh_key TEXT NOT NULL, ready INTEGER, deleted INTEGER NOT NULL DEFAULT 0, run INTEGER);
CREATE UNIQUE INDEX IF NOT EXISTS machine_one ON machine (account) WHERE NOT deleted;
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL REFERENCES account, username TEXT NOT NULL,
    label TEXT NOT NULL, cores INTEGER NOT NULL, seconds INTEGER, speed INTEGER NOT NULL, start INTEGER NOT NULL,
    ended INTEGER, elapsed INTEGER);
CREATE INDEX IF NOT EXISTS run_open ON run (account) WHERE ended IS NULL;
CREATE INDEX IF NOT EXISTS run_account ON run (account, id);
"""
# run.seconds: how long a job will take in its own seconds (None = until it is stopped); run.speed: thousandths of its
# own seconds per real second, kept with the run so that a restart at another speed changes nothing that happened.


class StateInUse(Exception):
    """Another process works with this state file."""


class Unknown(Exception):
    """There is no such thing here."""


class Forbidden(Exception):
    """The pretend site does not do this; the message says why and goes to whoever asked."""


def _elapsed(run: sqlite3.Row, at: int) -> int:
    """Whole seconds of its own time a run had behind it at an instant."""
    if run["elapsed"] is not None and at >= run["ended"]:
        return int(run["elapsed"])
    seconds = max(0, at - int(run["start"])) * int(run["speed"]) // 1_000_000_000
    return seconds if run["seconds"] is None else min(seconds, int(run["seconds"]))


def _reached(run: sqlite3.Row, seconds: int) -> int:
    """The first microsecond at which a run had so many of its own seconds behind it."""
    return int(run["start"]) + -(-seconds * 1_000_000_000 // int(run["speed"]))


def _limit(account: sqlite3.Row) -> int | None:
    """The core-seconds an account may use in all; None = no limit."""
    limits = [int(limit) for limit in (account["limit"], account["cap"]) if limit is not None]
    return min(limits) if limits else None


class World:
    """All verbs of the pretend site. Each is one turn: one lock, one transaction, the world brought up to date first.

    speed   the site's seconds per real second
    now     the present in microseconds since 1970; never runs backwards inside a world
    """

    def __init__(self, path: Path, *, speed: float = 1.0, now: Callable[[], int] | None = None) -> None:
        self.speed_milli = max(1, round(speed * 1000))
        self._now = now or (lambda: time.time_ns() // 1000)
        self._lock = threading.RLock()
        self._random = Random()  # noqa: S311  it only invents jobs
        # EXCLUSIVE keeps a second process away from the file for as long as this one lives, kill -9 included.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1.0)
        self._db.row_factory = sqlite3.Row
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(f"BEGIN EXCLUSIVE; {SCHEMA} COMMIT;")
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" in str(error):
                raise StateInUse(f"another process works with {path}") from None
            raise
        self.instance = self._remember("instance", lambda: secrets.token_hex(4))
        self.form_secret = self._remember("form_secret", lambda: secrets.token_hex(16))
        self._latest = int(self._remember("latest", lambda: "0"))

    def close(self) -> None:
        with self._lock:
            self._db.close()

    # ------------------------------------------------------------------------------------------ people and accounts

    def ensure_person(self, person_id: int, wanted: wire.PersonWanted) -> wire.PersonShown:
        """The local account of a person: made at the first asking, the same ever after."""
        with self._turn():
            found = self._one("SELECT username FROM person WHERE person_id = ?", person_id)
            if found is not None:
                if wanted.username not in {None, found["username"]}:
                    raise Forbidden(f"this person is {found['username']} here")
                return wire.PersonShown(username=found["username"])
            username = wanted.username or self._free_username(wanted.email)
            known = self._one("SELECT person_id FROM person WHERE username = ?", username)
            if known is not None and known["person_id"] is not None:
                raise Forbidden(f"{username} is somebody else here")
            # A name that was only ever let into accounts now has its person.
            self._db.execute(
                "INSERT OR REPLACE INTO person VALUES (?, ?, ?, ?)",
                (username, person_id, wanted.email, wanted.full_name),
            )
            return wire.PersonShown(username=username)

    def ensure_account(self, name: str, wanted: wire.AccountWanted) -> wire.AccountShown:
        """Make, change or reopen an account. A new one may not use anything until its quota is set."""
        with self._turn() as at:
            found = self._one("SELECT kind, closed FROM account WHERE name = ?", name)
            if wanted.parent is not None and self._account(wanted.parent)["kind"] != "group":
                raise Forbidden(f"{wanted.parent} cannot have accounts below it")
            if found is None:
                self._db.execute(
                    "INSERT INTO account (name, kind, title, parent, storage_gb, cap) VALUES (?, ?, ?, ?, ?, ?)",
                    (name, wanted.kind, wanted.title, wanted.parent, wanted.storage_gb, wanted.cap_core_seconds),
                )
                return self._account_shown(name, at)
            if found["kind"] != wanted.kind:
                raise Forbidden(f"{name} is there already, as another kind of account")
            if wanted.parent is not None and name in self._above(wanted.parent):
                raise Forbidden(f"{name} cannot stand below itself")
            if found["closed"]:
                self._db.execute(
                    'UPDATE account SET closed = 0, locked = 1, paused = 0, "limit" = 0 WHERE name = ?', (name,)
                )
            self._db.execute(
                "UPDATE account SET title = ?, parent = ?, storage_gb = ?, cap = ? WHERE name = ?",
                (wanted.title, wanted.parent, wanted.storage_gb, wanted.cap_core_seconds, name),
            )
            self._step_machines(at, since=at)
            self._start_what_can(at)
            return self._account_shown(name, at)

    def account(self, name: str) -> wire.AccountShown:
        with self._turn() as at:
            return self._account_shown(name, at)

    def close_account(self, name: str) -> wire.AccountShown:
        """No new use; what runs is stopped now, so that the last usage stands when this answers. Its history stays."""
        with self._turn() as at:
            self._account(name)
            self._db.execute("UPDATE account SET closed = 1, locked = 1, pretend = 0 WHERE name = ?", (name,))
            self._db.execute(
                "UPDATE job SET state = 'cancelled', reason = 'the account was closed' "
                "WHERE account = ? AND state IN ('pending', 'running')",
                (name,),
            )
            for run in self._all("SELECT * FROM run WHERE account = ? AND ended IS NULL", name):
                self._end_run(run, at)
            self._db.execute("UPDATE machine SET deleted = 1, run = NULL WHERE account = ?", (name,))
            self._db.execute("DELETE FROM membership WHERE account = ?", (name,))
            self._start_what_can(at)
            return self._account_shown(name, at)

    def set_members(self, name: str, usernames: Sequence[str]) -> wire.AccountShown:
        """Let exactly these use the account; who is not known here yet gets an entry without a person."""
        with self._turn() as at:
            self._open_account(name)
            for username in usernames:
                self._db.execute("INSERT OR IGNORE INTO person VALUES (?, NULL, '', '')", (username,))
            self._db.execute("DELETE FROM membership WHERE account = ?", (name,))
            self._db.executemany(
                "INSERT OR IGNORE INTO membership VALUES (?, ?)", [(name, username) for username in usernames]
            )
            return self._account_shown(name, at)

    def set_quota(self, name: str, wanted: wire.QuotaWanted) -> wire.AccountShown:
        """The account may use so many core-seconds beyond those that were reported.

        Counted from there and not from what it has used by now, because what is available was computed from what was
        reported: what ran since is not given for free, and setting the same quota twice is setting it once.
        """
        with self._turn() as at:
            self._open_account(name)
            limit = None
            if wanted.available is not None:
                base = self._counted(name, at) if wanted.reported is None else wanted.reported
                limit = min(base + wanted.available, wire.CORE_SECONDS_MAX)
            self._db.execute('UPDATE account SET "limit" = ?, locked = ? WHERE name = ?', (limit, wanted.locked, name))
            self._step_machines(at, since=at)
            self._start_what_can(at)
            return self._account_shown(name, at)

    def set_paused(self, name: str, *, paused: bool) -> wire.AccountShown:
        """Paused: no job of the account starts, its machine stands still."""
        with self._turn() as at:
            self._open_account(name)
            self._db.execute("UPDATE account SET paused = ? WHERE name = ?", (paused, name))
            self._step_machines(at, since=at)
            self._start_what_can(at)
            return self._account_shown(name, at)

    def set_pretend_users(self, name: str, *, on: bool) -> wire.AccountShown:
        """Let pretend users submit jobs to the account, a few a minute, until it is switched off."""
        with self._turn() as at:
            if self._open_account(name)["kind"] != "hpc":
                raise Forbidden("only accounts that run jobs have pretend users")
            self._db.execute("UPDATE account SET pretend = ?, pretend_next = ? WHERE name = ?", (on, at, name))
            return self._account_shown(name, at)

    # ------------------------------------------------------------------------------------------------------ the cluster

    def submit_job(self, wanted: wire.JobWanted) -> wire.JobShown:
        with self._turn() as at:
            job_id = self._submit(wanted, at)
            self._start_what_can(at)
            return self._job_shown(job_id, at)

    def job(self, job_id: int) -> wire.JobShown:
        with self._turn() as at:
            return self._job_shown(job_id, at)

    def cancel_job(self, job_id: int) -> wire.JobShown:
        with self._turn() as at:
            job = self._one("SELECT * FROM job WHERE id = ?", job_id)
            if job is None:
                raise Unknown(f"there is no job {job_id}")
            if job["state"] in ("pending", "running"):
                if job["run"] is not None:
                    self._end_run(self._run(job["run"]), at)
                self._db.execute("UPDATE job SET state = 'cancelled', reason = 'on request' WHERE id = ?", (job_id,))
                self._start_what_can(at)
            return self._job_shown(job_id, at)

    # -------------------------------------------------------------------------------------------------------- the cloud

    def ensure_machine(self, name: str, wanted: wire.MachineWanted) -> wire.AccountShown:
        """The one machine of an account: built at the first asking, rebuilt in place when its flavor changes."""
        with self._turn() as at:
            if self._open_account(name)["kind"] != "vm":
                raise Forbidden(f"{name} is not an account for a virtual machine")
            found = self._machine(name)
            if found is None:
                self._db.execute(
                    "INSERT INTO machine (account, name, flavor, ssh_key, ready) VALUES (?, ?, ?, ?, ?)",
                    (name, wanted.name, wanted.flavor, wanted.ssh_key, self._after(at, BUILD_SECONDS)),
                )
            else:
                self._db.execute(
                    "UPDATE machine SET name = ?, flavor = ?, ssh_key = ? WHERE id = ?",
                    (wanted.name, wanted.flavor, wanted.ssh_key, found["id"]),
                )
                if found["flavor"] != wanted.flavor:
                    self._rebuild(found, at, BUILD_SECONDS)
            return self._account_shown(name, at)

    def restart_machine(self, name: str) -> wire.AccountShown:
        with self._turn() as at:
            row = self._open_account(name)
            found = self._machine(name)
            if found is None:
                raise Unknown(f"{name} has no virtual machine")
            if row["paused"]:
                raise Forbidden("the virtual machine is paused; resume it first")
            self._rebuild(found, at, RESTART_SECONDS)
            return self._account_shown(name, at)

    # ------------------------------------------------------------------------------------------------------------ usage

    def usage(self, asked: wire.UsageAsked) -> wire.UsageTold:
        """How far each run of these accounts had come, for runs that had not ended by `after`.

        A run is told at each UTC midnight it passed (so that days and months are exact although nobody asked at
        midnight), and at its end or at `as_of`.
        """
        with self._turn() as at:
            as_of = at if asked.as_of is None else min(asked.as_of, at)
            after = -1 if asked.after is None else asked.after
            samples: list[wire.Sample] = []
            wanted = set(asked.accounts)
            next_run: int | None = None
            runs = self._db.execute(
                "SELECT * FROM run WHERE id >= ? AND start < ? AND (ended IS NULL OR ended > ?) ORDER BY id",
                (asked.from_run, as_of, after),
            )
            for run in runs:
                if run["account"] not in wanted:
                    continue
                if len(samples) >= SAMPLES_PER_PAGE:
                    next_run = int(run["id"])
                    break
                samples += _samples(run, after, as_of)
            # A later turn, after a restart and with a clock set back too, must not end a run before what was told here.
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'latest'", (str(at),))
            return wire.UsageTold(instance=self.instance, as_of=as_of, samples=samples, next_run=next_run)

    # ------------------------------------------------------------------------------------------------- to be looked at

    def info(self) -> wire.Info:
        with self._turn():
            jobs = self._all("SELECT state FROM job WHERE state IN ('pending', 'running')")
            return wire.Info(
                product="Bursar simulator",
                purpose="a pretend cluster and cloud, for trials and training",
                version=__version__,
                instance=self.instance,
                speed=self.speed_milli / 1000,
                cores=NODES * CORES_PER_NODE,
                jobs_running=sum(job["state"] == "running" for job in jobs),
                jobs_pending=sum(job["state"] == "pending" for job in jobs),
            )

    def jobs(self, account: str | None = None, newest: int = 50) -> list[wire.JobShown]:
        """The open jobs and the newest of the others, newest first."""
        with self._turn() as at:
            rows = self._all(
                "SELECT id FROM job WHERE account = coalesce(?, account) "
                "ORDER BY state IN ('running', 'pending') DESC, id DESC LIMIT ?",
                account,
                newest,
            )
            return [self._job_shown(row["id"], at) for row in rows]

    def accounts(self) -> list[wire.AccountShown]:
        with self._turn() as at:
            rows = self._all("SELECT name FROM account ORDER BY name")
            return [self._account_shown(row["name"], at) for row in rows]

    def busy_cores(self) -> list[int]:
        """Cores in use, per node."""
        with self._turn():
            return self._busy()

    def tick(self) -> None:
        """Bring the world up to the present."""
        with self._turn():
            pass

    # -------------------------------------------------------------------------------------------------------- the turn

    @contextmanager
    def _turn(self) -> Iterator[int]:
        with self._lock:
            since = self._latest
            self._latest = at = max(self._now(), since)
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._advance(at, since)
                yield at
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _advance(self, at: int, since: int) -> None:
        for run in self._all("SELECT * FROM run WHERE ended IS NULL AND seconds IS NOT NULL"):
            due = _reached(run, int(run["seconds"]))
            if due <= at:
                self._end_run(run, due)
                self._db.execute("UPDATE job SET state = 'completed', reason = '' WHERE run = ?", (run["id"],))
        self._step_machines(at, since=since)
        for row in self._all("SELECT * FROM account WHERE pretend AND NOT closed AND pretend_next <= ?", at):
            self._pretend(row, at)
        self._start_what_can(at)

    def _start_what_can(self, at: int) -> None:
        """Start each waiting job that may and fits, oldest first; the others say what they wait for."""
        waiting = self._all("SELECT * FROM job WHERE state = 'pending' ORDER BY id")
        if not waiting:
            return
        free = [CORES_PER_NODE - busy for busy in self._busy()]
        for job in waiting:
            reason = self._hindrance(job)
            if not reason and sum(free) < job["cores"]:
                reason = "waiting for free cores"
            if reason:
                if reason != job["reason"]:
                    self._db.execute("UPDATE job SET reason = ? WHERE id = ?", (reason, job["id"]))
                continue
            nodes = []
            missing = int(job["cores"])
            for index in range(NODES):
                taken = min(free[index], missing)
                if taken:
                    nodes.append(f"{index}:{taken}")
                    free[index] -= taken
                    missing -= taken
            run = self._begin_run(job["account"], job["username"], f"job-{job['id']}", job["cores"], job["seconds"], at)
            self._db.execute(
                "UPDATE job SET state = 'running', reason = '', nodes = ?, run = ? WHERE id = ?",
                (",".join(nodes), run, job["id"]),
            )

    def _hindrance(self, job: sqlite3.Row) -> str:
        account = self._account(job["account"])
        if account["paused"]:
            return "the account is paused"
        if account["locked"]:
            return "the account is locked: its quota is used up"
        room = self._room(account)
        needed = job["cores"] * job["seconds"]
        if room is not None and needed > room:
            return f"would exceed the quota: needs {needed} core-seconds, {max(room, 0)} are left"
        return ""

    def _room(self, account: sqlite3.Row) -> int | None:
        """Core-seconds not used and not promised to running jobs; None = no limit."""
        limit = _limit(account)
        if limit is None:
            return None
        taken = self._one(
            "SELECT coalesce(sum(cores * coalesce(elapsed, seconds)), 0) AS n FROM run WHERE account = ?",
            account["name"],
        )
        assert taken is not None
        return limit - int(taken["n"])

    def _step_machines(self, at: int, *, since: int) -> None:
        """Start and stop machines. since   the instant up to which the past is settled: nothing may end before it."""
        for row in self._all("SELECT * FROM machine WHERE NOT deleted"):
            machine, account = row, self._account(row["account"])
            if machine["ready"] is not None:
                if machine["ready"] > at:
                    continue
                self._db.execute("UPDATE machine SET ready = NULL WHERE id = ?", (machine["id"],))
            if machine["run"] is None:
                if not self._may_run(account, machine, at):
                    continue
                cores, start = wire.FLAVORS[machine["flavor"]], machine["ready"] or at
                run_id = self._begin_run(account["name"], "", f"vm-{machine['id']}", cores, None, start)
                self._db.execute("UPDATE machine SET run = ? WHERE id = ?", (run_id, machine["id"]))
            else:
                run_id = machine["run"]
            run = self._run(run_id)
            limit = _limit(account)
            if account["paused"]:
                self._stop(run, at)
            elif limit is not None:
                # It stops in the second in which the quota is used up, also when nobody looked then.
                others = self._counted(account["name"], at) - _elapsed(run, at) * run["cores"]
                used_up = _reached(run, max(0, (limit - others) // run["cores"]))
                if used_up <= at:
                    self._stop(run, max(used_up, since))

    def _may_run(self, account: sqlite3.Row, machine: sqlite3.Row, at: int) -> bool:
        limit = _limit(account)
        room = None if limit is None else limit - self._counted(account["name"], at)
        fits = room is None or room >= wire.FLAVORS[machine["flavor"]]
        return fits and not account["paused"] and not account["locked"]

    def _rebuild(self, machine: sqlite3.Row, at: int, seconds: int) -> None:
        if machine["run"] is not None:
            self._stop(self._run(machine["run"]), at)
        self._db.execute("UPDATE machine SET ready = ? WHERE id = ?", (self._after(at, seconds), machine["id"]))

    def _after(self, at: int, seconds: int) -> int:
        """The instant so many of the site's seconds later."""
        return at + seconds * 1_000_000_000 // self.speed_milli

    def _stop(self, run: sqlite3.Row, at: int) -> None:
        self._end_run(run, at)
        self._db.execute("UPDATE machine SET run = NULL WHERE run = ?", (run["id"],))

    def _pretend(self, account: sqlite3.Row, at: int) -> None:
        """One pretend user submits one job, unless several wait already; the next comes some seconds later."""
        members = [row["username"] for row in self._all("SELECT * FROM membership WHERE account = ?", account["name"])]
        waiting = self._one("SELECT count(*) AS n FROM job WHERE account = ? AND state = 'pending'", account["name"])
        assert waiting is not None
        if members and waiting["n"] < 3:
            # About a real minute, whatever the speed; a few much longer.
            seconds = round(self._random.lognormvariate(4.0, 0.8) * self.speed_milli / 1000)
            self._submit(
                wire.JobWanted(
                    account=account["name"],
                    username=self._random.choice(members),
                    name=self._random.choice(PRETEND_NAMES),
                    cores=self._random.choice((1, 2, 4, 4, 8, 16, 32)),
                    seconds=max(5, min(30 * 86_400, seconds)),
                ),
                at,
            )
        pause = round(self._random.expovariate(1 / 15) * 1_000_000) + 1_000_000
        self._db.execute("UPDATE account SET pretend_next = ? WHERE name = ?", (at + pause, account["name"]))

    def _submit(self, wanted: wire.JobWanted, at: int) -> int:
        account = self._open_account(wanted.account)
        if account["kind"] != "hpc":
            raise Forbidden(f"{wanted.account} does not run jobs")
        member = "SELECT 1 FROM membership WHERE account = ? AND username = ?"
        if self._one(member, wanted.account, wanted.username) is None:
            raise Forbidden(f"{wanted.username} may not use the account {wanted.account}")
        if wanted.cores > NODES * CORES_PER_NODE:
            raise Forbidden(f"the cluster has {NODES * CORES_PER_NODE} cores")
        cursor = self._db.execute(
            "INSERT INTO job (account, username, name, cores, seconds, submitted) VALUES (?, ?, ?, ?, ?, ?)",
            (wanted.account, wanted.username, wanted.name, wanted.cores, wanted.seconds, at),
        )
        return int(cursor.lastrowid or 0)

    # ------------------------------------------------------------------------------------------------------------ rows

    def _begin_run(self, account: str, username: str, label: str, cores: int, seconds: int | None, at: int) -> int:
        cursor = self._db.execute(
            "INSERT INTO run (account, username, label, cores, seconds, speed, start) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (account, username, label, cores, seconds, self.speed_milli, at),
        )
        return int(cursor.lastrowid or 0)

    def _end_run(self, run: sqlite3.Row, at: int) -> None:
        self._db.execute("UPDATE run SET ended = ?, elapsed = ? WHERE id = ?", (at, _elapsed(run, at), run["id"]))

    def _counted(self, account: str, at: int) -> int:
        """Core-seconds an account had used by an instant."""
        ended = self._one(
            "SELECT coalesce(sum(cores * elapsed), 0) AS n FROM run WHERE account = ? AND ended <= ?", account, at
        )
        assert ended is not None
        open_runs = self._all("SELECT * FROM run WHERE account = ? AND (ended IS NULL OR ended > ?)", account, at)
        return int(ended["n"]) + sum(int(run["cores"]) * _elapsed(run, at) for run in open_runs)

    def _busy(self) -> list[int]:
        busy = [0] * NODES
        for row in self._all("SELECT nodes FROM job WHERE state = 'running'"):
            for part in row["nodes"].split(","):
                index, cores = part.split(":")
                busy[int(index)] += int(cores)
        return busy

    def _account_shown(self, name: str, at: int) -> wire.AccountShown:
        row = self._account(name)
        jobs = self._all("SELECT state FROM job WHERE state IN ('pending', 'running') AND account = ?", name)
        members = [
            member["username"]
            for member in self._all("SELECT username FROM membership WHERE account = ? ORDER BY username", name)
        ]
        return wire.AccountShown(
            name=name,
            kind=row["kind"],
            title=row["title"],
            parent=row["parent"],
            closed=bool(row["closed"]),
            locked=bool(row["locked"]),
            paused=bool(row["paused"]),
            limit_core_seconds=_limit(row),
            counted_core_seconds=self._counted(name, at),
            storage_gb=row["storage_gb"],
            members=members,
            pretend_users=bool(row["pretend"]),
            jobs_running=sum(job["state"] == "running" for job in jobs),
            jobs_pending=sum(job["state"] == "pending" for job in jobs),
            machine=self._machine_shown(row, members),
        )

    def _machine_shown(self, account: sqlite3.Row, members: list[str]) -> wire.MachineShown | None:
        row = self._one("SELECT * FROM machine WHERE account = ? ORDER BY id DESC LIMIT 1", account["name"])
        if row is None:
            return None
        if row["deleted"]:
            state = "deleted"
        elif row["ready"] is not None:
            state = "building"
        elif row["run"] is not None:
            state = "active"
        else:
            state = "stopped" if account["paused"] else "held"
        return wire.MachineShown.model_validate(
            {
                "id": row["id"],
                "name": row["name"],
                "flavor": row["flavor"],
                "cores": wire.FLAVORS[row["flavor"]],
                "state": state,
                # RFC 5737: an address that leads nowhere.
                "address": f"192.0.2.{row['id'] % 254 + 1}",
                "authorized": members,
            }
        )

    def _job_shown(self, job_id: int, at: int) -> wire.JobShown:
        row = self._one("SELECT * FROM job WHERE id = ?", job_id)
        if row is None:
            raise Unknown(f"there is no job {job_id}")
        nodes = [f"node{int(part.split(':')[0]) + 1}" for part in row["nodes"].split(",") if part]
        return wire.JobShown(
            id=row["id"],
            account=row["account"],
            username=row["username"],
            name=row["name"],
            cores=row["cores"],
            seconds=row["seconds"],
            state=row["state"],
            reason=row["reason"],
            elapsed_seconds=_elapsed(self._run(row["run"]), at) if row["run"] is not None else 0,
            nodes=" ".join(nodes),
        )

    def _free_username(self, email: str) -> str:
        local = email.partition("@")[0]
        plain = unicodedata.normalize("NFKD", local).encode("ascii", "ignore").decode().lower()
        base = re.sub(r"[^a-z0-9]", "", plain).lstrip("0123456789")[:12] or "user"
        username, number = base, 1
        while self._one("SELECT 1 FROM person WHERE username = ?", username) is not None:
            number += 1
            username = f"{base}{number}"
        return username

    def _above(self, name: str) -> list[str]:
        """An account and all above it."""
        chain = []
        following: str | None = name
        while following is not None:
            chain.append(following)
            following = self._account(following)["parent"]
        return chain

    def _account(self, name: str) -> sqlite3.Row:
        row = self._one("SELECT * FROM account WHERE name = ?", name)
        if row is None:
            raise Unknown(f"there is no account {name}")
        return row

    def _open_account(self, name: str) -> sqlite3.Row:
        row = self._account(name)
        if row["closed"]:
            raise Forbidden(f"the account {name} is closed")
        return row

    def _machine(self, account: str) -> sqlite3.Row | None:
        return self._one("SELECT * FROM machine WHERE account = ? AND NOT deleted", account)

    def _run(self, run_id: int) -> sqlite3.Row:
        row = self._one("SELECT * FROM run WHERE id = ?", run_id)
        assert row is not None
        return row

    def _one(self, sql: str, *parameters: object) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(sql, parameters).fetchone()
        return row

    def _all(self, sql: str, *parameters: object) -> list[sqlite3.Row]:
        return self._db.execute(sql, parameters).fetchall()

    def _remember(self, key: str, make: Callable[[], str]) -> str:
        self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, make()))
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        assert row is not None
        return str(row["value"])


def _samples(run: sqlite3.Row, after: int, as_of: int) -> Iterator[wire.Sample]:
    start = int(run["start"])
    last = as_of if run["ended"] is None else min(as_of, int(run["ended"]))
    midnight = max(start, after) // DAY_MICROSECONDS * DAY_MICROSECONDS + DAY_MICROSECONDS
    told = 0
    for at in (*range(midnight, last, DAY_MICROSECONDS), last):
        seconds = _elapsed(run, at)
        if seconds > told:
            told = seconds
            yield wire.Sample(
                run=run["id"],
                account=run["account"],
                username=run["username"],
                label=run["label"],
                cores=run["cores"],
                seconds=seconds,
                start=start,
                end=_reached(run, seconds),
            )
