#!/usr/bin/env python3
"""A whole backend in one file, for the plugin `script`: workbenches that people book, with all they hold as JSON files.

Bursar runs it with one JSON document on standard input and reads one from standard output:

    echo '{"version": 1, "verb": "importable"}' | WORKBENCH_FOLDER=/srv/workbench ./workbench.py

Whoever looks after the workbenches runs it by hand:

    ./workbench.py use NAME USER CORES SECONDS    somebody used a bench, up to now
    ./workbench.py begin NAME USER CORES          somebody begins to use it
    ./workbench.py make NAME TITLE CORE_HOURS     a bench that Bursar did not ask for

Replace what stands under "the backend" by calls to what you really have; keep what stands under "the verbs".
It needs nothing but Python 3.11.
"""

import fcntl
import json
import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

FOLDER = Path(os.environ.get("WORKBENCH_FOLDER", "/var/lib/workbench"))
SECONDS_PER_HOUR = 3600
EX_TEMPFAIL = 75  # "not now, ask again"


# ---------------------------------------------------------------------------------------------------------- the backend
@contextmanager
def alone() -> Iterator[None]:
    """One at a time: Bursar may ask for several resources at once."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def keep(kind: str, name: str, value: dict[str, Any]) -> None:
    """Write a file whole or not at all: whoever is killed midway leaves what was there before."""
    folder = FOLDER / kind
    folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", suffix=".new", delete=False) as file:
        json.dump(value, file)
    os.replace(file.name, folder / f"{name}.json")  # noqa: PTH105


def kept(kind: str, name: str) -> dict[str, Any] | None:
    path = FOLDER / kind / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def all_kept(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((FOLDER / kind).glob("[!.]*.json")):
        yield path.stem, json.loads(path.read_text())


def instance() -> str:
    """Names this folder: a mark of another one, or of one that was wiped, means the beginning."""
    found = kept("about", "instance")
    if found is None:
        found = {"id": uuid.uuid4().hex[:8]}
        keep("about", "instance", found)
    return str(found["id"])


def sessions_of(bench: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, session) for name, session in all_kept("sessions") if session["bench"] == bench)


def came_to(session: dict[str, Any], at: int) -> int:
    """The seconds that a session had come to at an instant."""
    end = session["end"]
    return (at if end is None else min(end, at)) - session["start"]


def core_seconds(bench: str, at: int) -> int:
    return sum(came_to(session, at) * session["cores"] for _, session in sessions_of(bench))


def end_sessions(bench: str, at: int) -> None:
    for name, session in sessions_of(bench):
        if session["end"] is None:
            keep("sessions", name, {**session, "end": at})


def book(bench: str, user: str, cores: int, start: int, end: int | None) -> None:
    number = 1 + sum(1 for _ in all_kept("sessions"))
    session = {"bench": bench, "user": user, "cores": cores, "start": start, "end": end}
    keep("sessions", f"{number:08d}", session)


# ------------------------------------------------------------------------------------------------------------ the verbs
def done(backend_id: str = "", **more: Any) -> dict[str, Any]:
    return {"answer": "done", "backend_id": backend_id, **more}


def refused(why: str) -> dict[str, Any]:
    return {"answer": "refused", "why": why}


def name_of(resource: dict[str, Any]) -> str:
    """What was taken over keeps its name; all else is named after the id, so that asking again finds the same one."""
    known = resource["backend_id"]
    return known if re.fullmatch(r"[a-z][a-z0-9-]{0,62}", known) else f"r{resource['id']}"


def bench_of(resource: dict[str, Any]) -> dict[str, Any] | None:
    bench = kept("benches", name_of(resource))
    return None if bench is None or bench["gone"] else bench


def ensure(asked: dict[str, Any]) -> dict[str, Any]:
    resource = asked["resource"]
    name = name_of(resource)
    bench = bench_of(resource)
    if bench is None:
        # A new one is locked until its quota has been told.
        bench = {"paused": False, "locked": True, "limit": 0, "members": []}
    bench |= {"title": resource["name"][:200], "bursar": True, "gone": False}
    keep("benches", name, bench)
    return done(name, access={"Workbench": name, "To begin": f"workbench begin {name}"})


def remove(asked: dict[str, Any]) -> dict[str, Any]:
    name, bench = name_of(asked["resource"]), bench_of(asked["resource"])
    if bench is not None:
        end_sessions(name, int(time.time()))
        keep("benches", name, {**bench, "gone": True})  # its sessions can still be measured
    return done()


def observe(asked: dict[str, Any]) -> dict[str, Any]:
    bench = bench_of(asked["resource"])
    if bench is None:
        return {"presence": "absent"}
    facts = {
        "used_core_seconds": core_seconds(name_of(asked["resource"]), int(time.time())),
        "limit_core_seconds": bench["limit"],
        "locked": bench["locked"],
        "members": bench["members"],
    }
    return {"presence": "paused" if bench["paused"] else "ok", "facts": facts}


def change(asked: dict[str, Any], **what: Any) -> dict[str, Any]:
    bench = bench_of(asked["resource"])
    if bench is None:
        return refused("There is no such workbench; it has to be made first.")
    keep("benches", name_of(asked["resource"]), {**bench, **what})
    return done(name_of(asked["resource"]))


def pause(asked: dict[str, Any]) -> dict[str, Any]:
    end_sessions(name_of(asked["resource"]), int(time.time()))
    return change(asked, paused=True)


def resume(asked: dict[str, Any]) -> dict[str, Any]:
    return change(asked, paused=False)


def enforce_quota(asked: dict[str, Any]) -> dict[str, Any]:
    """The limit is what may be used in all; what Bursar has not been told of yet lies below it already."""
    limit, locked = None, False  # a component that is not named draws on no wallet
    for told in asked["quota"]:
        if told["component"] != "cpu":
            continue
        locked = told["locked"]
        if told["available"] is not None:
            before = asked["resource"]["state"].get("used_before", 0)
            name = name_of(asked["resource"])
            used = core_seconds(name, int(time.time())) if told["reported"] is None else before + told["reported"]
            limit = used + told["available"]
    return change(asked, limit=limit, locked=locked)


def set_members(asked: dict[str, Any]) -> dict[str, Any]:
    return change(asked, members=sorted({m["username"] for m in asked["resource"]["members"] if m["username"]}))


def ensure_account(asked: dict[str, Any]) -> dict[str, Any]:
    """One name per person, for ever: the one that is told, or one made from the person's number, not from what people type."""
    member = asked["member"]
    person = str(int(member["person_id"]))
    known = kept("people", person)
    if known is None:
        known = {"username": member["username"] or f"u{person}", "uid": member["uid"]}
        if any(one["username"] == known["username"] for _, one in all_kept("people")):
            return refused(f"{known['username']} is somebody else here.")
        keep("people", person, known)
    if member["username"] not in {"", known["username"]}:
        return refused(f"This person is {known['username']} here, and stays it.")
    if known.get("shut"):
        keep("people", person, {**known, "shut": ""})
    return done(known["username"])


def shut(asked: dict[str, Any], how: str) -> dict[str, Any]:
    """Nobody works by this account any more; its name stays this person's. One that is not there is as good."""
    person = str(int(asked["member"]["person_id"]))
    known = kept("people", person)
    if known is not None:
        keep("people", person, {**known, "shut": how})
    return done()


def block_account(asked: dict[str, Any]) -> dict[str, Any]:
    return shut(asked, "blocked")


def remove_account(asked: dict[str, Any]) -> dict[str, Any]:
    return shut(asked, "removed")


def ensure_group(asked: dict[str, Any]) -> dict[str, Any]:
    """A project's group with exactly these users; its name and number belong to the project for ever."""
    group = asked["group"]
    project = str(int(group["project_id"]))
    for other, one in all_kept("groups"):
        if other != project and (one["name"] == group["name"] or one["gid"] == group["gid"]):
            return refused(f"{group['name']} or {group['gid']} is another project's here.")
    keep("groups", project, {"name": group["name"], "gid": group["gid"], "users": group["usernames"], "gone": False})
    return done(group["name"])


def remove_group(asked: dict[str, Any]) -> dict[str, Any]:
    known = kept("groups", str(int(asked["group"]["project_id"])))
    if known is not None:
        keep("groups", str(int(asked["group"]["project_id"])), {**known, "users": [], "gone": True})
    return done()


def measure(asked: dict[str, Any]) -> dict[str, Any]:
    """How far each session has come. A record's id names the session and its seconds, and all else follows from these two."""
    at = int(time.time())
    ours, _, instant = asked["mark"].partition(":")
    since = int(instant) if ours == instance() and instant.isascii() and instant.isdigit() else 0
    records = []
    for resource in asked["resources"]:
        for name, session in sessions_of(name_of(resource)):
            seconds = came_to(session, at)
            if seconds < 1 or (session["end"] is not None and session["end"] < since):
                continue
            records.append(
                {
                    "id": f"{instance()}-{name}-{seconds}",
                    "resource_id": resource["id"],
                    "component": "cpu",
                    "amount": seconds * session["cores"],
                    "absolute": True,
                    "scope": f"{instance()}-{name}",
                    "username": session["user"],
                    "period_start": moment(session["start"]),
                    "period_end": moment(session["start"] + seconds),
                }
            )
    return {"records": records, "mark": f"{instance()}:{at}"}


def moment(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()


def importable(_: dict[str, Any]) -> dict[str, Any]:
    """What was here before; `state` comes back with every call once it has been taken over."""
    at = int(time.time())
    return {
        "resources": [
            {
                "backend_id": name,
                "name": bench["title"],
                "limits": {} if bench["limit"] is None else {"cpu": bench["limit"] // SECONDS_PER_HOUR},
                "state": {"used_before": core_seconds(name, at)},
            }
            for name, bench in all_kept("benches")
            if not bench["bursar"] and not bench["gone"]
        ]
    }


def health(_: dict[str, Any]) -> dict[str, Any]:
    count = sum(1 for _, bench in all_kept("benches") if not bench["gone"])
    finding = {"severity": "ok", "subject": "Workbenches", "message": f"{count} workbenches in {FOLDER}."}
    return {"findings": [finding], "version": "1.0"}


VERBS = {
    verb.__name__: verb
    for verb in (
        ensure, remove, observe, pause, resume, enforce_quota, set_members, ensure_account, block_account, remove_account,
        ensure_group, remove_group, measure, importable, health,
    )
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------- by hand
def by_hand(words: list[str]) -> None:
    at = int(time.time())
    match words:
        case ["use", bench, user, cores, seconds]:
            book(bench, user, int(cores), at - int(seconds), at)
        case ["begin", bench, user, cores]:
            book(bench, user, int(cores), at, None)
        case ["make", bench, title, core_hours]:
            limit = int(core_hours) * SECONDS_PER_HOUR
            shape = {"paused": False, "locked": False, "limit": limit, "members": [], "gone": False, "bursar": False}
            keep("benches", bench, {**shape, "title": title})
        case _:
            sys.exit(__doc__)


def fail(why: str, code: int = 1) -> NoReturn:
    """Standard error is for people: Bursar keeps its end and shows it to the provider."""
    print(why, file=sys.stderr)
    sys.exit(code)


def main() -> None:
    try:
        with alone():
            if len(sys.argv) > 1:
                by_hand(sys.argv[1:])
                return
            asked = json.load(sys.stdin)
            verb = VERBS.get(asked["verb"]) if asked.get("version") == 1 else None
            if verb is None:
                fail("this backend does not know that verb, or that version of the document")
            print(json.dumps(verb(asked)))
    except OSError as error:
        fail(f"the folder {FOLDER} cannot be used: {error.strerror}", EX_TEMPFAIL)


if __name__ == "__main__":
    main()
