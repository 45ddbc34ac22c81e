"""`make demo`: claims a folder, fills the database once, and keeps web, worker and the simulator's backend running."""

import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from bursar.config import environment, postgres
from bursar.config.supervisor import Child, ChildFailed, Supervisor

Say = Callable[[str], None]
MARK = "demo.json"  # in the home: this folder is a demo's and may be thrown away
_STATE = "bursar demo: "  # on the database: it is a demo's, and how far its world is


class CannotRun(RuntimeError):
    """The demo cannot run here as asked; the message says why and what to do."""


def run(folder: Path, *, say: Say) -> None:
    """Everything from an environment that stands to an address that answers, then wait for Ctrl-C."""
    port = int(os.environ.get("PORT") or "8000")
    level = os.environ.setdefault("BURSAR_LOG_LEVEL", "WARNING")  # here progress is shown; the children have log files
    level = "INFO" if level == "WARNING" else level
    began = float(os.environ.get("BURSAR_STARTED") or time.time())
    claim_home(folder)
    with _only_one(folder), Supervisor(say) as supervisor:
        if _free_port(port) != port:
            raise CannotRun(f"Port {port} of this machine is taken. Choose another one: PORT=8080 make demo.")
        with _step(say, "Database"):
            _start_database()
        with _step(say, "Tables and page assets"):
            from bursar.config.cli import setup

            setup()
            _claim_database()
            from bursar.config import installation

            installation.upgrade_database()
            if not installation.assets_built():
                raise CannotRun("The page assets are not built: run `make assets` first.")
            installation.publish_assets()
        try:
            if supervisor.asked_to_stop:
                return
            loaded = _read_state() == "loaded"
            if not loaded:
                for left in (folder / "simulator").glob("world.json*"):  # of an attempt that was broken off
                    left.unlink()
            with _step(say, "Simulator"):
                _start_simulator(supervisor, folder, web_port=port)
            if not loaded:
                say("  Demo world, a year of history:")
                with supervisor.breakable():
                    load_world(say=say)
            if supervisor.asked_to_stop:
                return
            installation.close_connections()
            with _step(say, "Web and worker"):
                log = folder / "log"
                bursar = [sys.executable, "-m", "bursar.config"]
                environ = {"BURSAR_LOG_LEVEL": level, "PORT": str(port)}
                supervisor.start(Child("web", [*bursar, "serve"], log / "web.log", environ))
                supervisor.start(Child("worker", [*bursar, "worker"], log / "worker.log", environ))
                supervisor.wait_until(lambda: _answers(port), seconds=60, what="The web server's start")
            if not supervisor.asked_to_stop:
                _greet(say, folder, port, time.time() - began)
            supervisor.watch()
        except KeyboardInterrupt:
            return
        except ChildFailed as error:
            raise CannotRun(str(error)) from error
        finally:
            say("\nStopping ...")
            supervisor.stop()
            installation.close_connections()
            postgres.release()
            say(f"Stopped. The data stay in {folder}; `make demo` goes on with them, `make demo-reset` starts afresh.")


def _greet(say: Say, folder: Path, port: int, seconds: float) -> None:
    say(f"\nReady after {seconds:.1f} s.\n")
    say(f"    http://127.0.0.1:{port}/\n")
    say("The login page offers six people, one click each. Only this machine can reach it.")
    say(f"Data, logs and mail: {folder}. Ctrl-C stops everything.")


@contextmanager
def _step(say: Say, name: str) -> Iterator[None]:
    begin = time.monotonic()
    print(f"  {name:<46}", end="", flush=True)
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f"{time.monotonic() - begin:6.1f} s", flush=True)


# ------------------------------------------------------------------------------------------------ the folder


def claim_home(folder: Path) -> None:
    """Mark the folder as a demo's; refuse one that holds something else."""
    mark = folder / MARK
    if mark.exists():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise CannotRun(f"{folder} holds something that is no demo. Choose an empty BURSAR_HOME.")
        mark.write_text(json.dumps({"what": "a Bursar demo: may be thrown away with `make demo-reset`"}) + "\n")
    except OSError as error:
        raise CannotRun(f"{folder} cannot be used: {error.strerror}. Choose another BURSAR_HOME.") from error


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    handle = os.open(folder / "running", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            raise CannotRun(f"A demo is running in {folder} already. Stop it first (Ctrl-C there).") from None
        raise
    try:
        yield
    finally:
        os.close(handle)


def reset(folder: Path) -> None:
    """Throw away a demo's folder, and the tables of its database where DATABASE_URL named one."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARK).exists():
            raise CannotRun(f"{folder} holds something that is no demo; nothing was thrown away.")
        with _only_one(folder):
            if environment.read("DATABASE_URL"):
                _drop_tables()
            elif (folder / "pg" / "data" / "postmaster.pid").exists():
                postgres.ensure_running()  # of a demo that was killed: taken over, then stopped in good order
                postgres.release()
            shutil.rmtree(folder)
    elif environment.read("DATABASE_URL"):
        _drop_tables()


# ------------------------------------------------------------------------------------------------ the database


def _start_database() -> None:
    import psycopg

    try:
        url = postgres.ensure_running()
    except postgres.EmbeddedServerFailed as error:
        raise CannotRun(str(error)) from error
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            version = connection.info.server_version // 10000
    except psycopg.Error as error:
        raise CannotRun(f"The database that DATABASE_URL names cannot be used: {error}") from error
    if version < postgres.MINIMUM_VERSION:
        raise CannotRun(f"DATABASE_URL names PostgreSQL {version}; {postgres.MINIMUM_VERSION} or later is needed.")


def _read_state() -> str:
    """How far the demo world in this database is: empty, claimed, loading or loaded."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = current_schema()"
        )  # fmt: skip
        row = cursor.fetchone()
    comment = (row and row[0]) or ""
    return comment.removeprefix(_STATE) if comment.startswith(_STATE) else ""


def _write_state(state: str) -> None:
    from django.db import connection
    from psycopg import sql

    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        (schema,) = cursor.fetchone()
        statement = sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), sql.Literal(_STATE + state))
        cursor.execute(statement.as_string(None))


def _claim_database() -> None:
    from django.db import connection

    if _read_state():
        return
    if connection.introspection.table_names():
        raise CannotRun("The database that DATABASE_URL names holds something that is no demo. Choose an empty one.")
    _write_state("claimed")


def _drop_tables() -> None:
    from bursar.config.cli import setup

    setup()
    from django.db import connection

    if not _read_state():
        if connection.introspection.table_names():
            raise CannotRun(
                "The database that DATABASE_URL names holds something that is no demo; nothing was thrown away."
            )
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        (schema,) = cursor.fetchone()
        cursor.execute(f"DROP SCHEMA {schema} CASCADE; CREATE SCHEMA {schema}")


def load_world(*, say: Say) -> None:
    """Fill the database with the demo world, once. One that was broken off is thrown away and begun again."""
    from bursar.config import installation

    state = _read_state()
    if state == "loaded":
        return
    if state == "loading":
        say("  The last attempt was broken off; beginning again.")
        _drop_tables()
        _write_state("claimed")
        installation.upgrade_database()
    if find_spec("bursar.config.demo.load") is None:
        return
    _write_state("loading")
    import_module("bursar.config.demo.load").load(say=say)
    _write_state("loaded")


# ------------------------------------------------------------------------------------------------ the children


def _start_simulator(supervisor: Supervisor, folder: Path, *, web_port: int) -> None:
    """The pretend cluster. Its address is part of the demo's data, so its port and token stay what they were."""
    home = folder / "simulator"
    home.mkdir(mode=0o700, exist_ok=True)
    known = home / "address.json"
    if known.exists():
        address = json.loads(known.read_text())
    else:
        address = {"port": _free_port(8790 if web_port != 8790 else 0), "token": secrets.token_urlsafe(32)}
        handle = os.open(known, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(address, file)
    os.environ["BURSAR_SIMULATOR_URL"] = f"http://127.0.0.1:{address['port']}"
    os.environ["BURSAR_SIMULATOR_TOKEN"] = address["token"]
    supervisor.start(
        Child(
            "simulator",
            [
                sys.executable, "-m", "bursar.plugins.simulator.backend",
                "--port", str(address["port"]), "--state", str(home / "world.json"),
            ],
            folder / "log" / "simulator.log",
        )
    )  # fmt: skip
    supervisor.wait_until(lambda: _listens(address["port"]), seconds=20, what="The simulator's start")


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found: int = probe.getsockname()[1]
            return found
    raise CannotRun("There is no free port on 127.0.0.1.")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
