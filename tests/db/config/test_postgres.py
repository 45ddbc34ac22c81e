import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest

pytestmark = pytest.mark.slow

# Where the tests run in the background of a shell, Ctrl-C is ignored by all that they start.
HOLD = """
import signal, sys, time
from bursar.config import postgres
signal.signal(signal.SIGINT, signal.default_int_handler)
print(postgres.ensure_running(), flush=True)
time.sleep(float(sys.argv[1]))
"""


class House:
    """An installation's home in a folder with a space in it, used by processes that may be killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.processes: list[subprocess.Popen[str]] = []
        kept = {k: v for k, v in os.environ.items() if k not in {"DATABASE_URL", "DJANGO_SETTINGS_MODULE"}}
        self.environment = {**kept, "BURSAR_HOME": str(root)}

    def enter(self, seconds: float = 60) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(seconds)], env=self.environment, stdout=subprocess.PIPE, text=True
        )
        self.processes.append(process)
        assert process.stdout is not None
        self.url = process.stdout.readline().strip()
        assert self.url.startswith("postgresql://")
        return process

    @property
    def postmaster(self) -> int:
        return int((self.root / "pg" / "data" / "postmaster.pid").read_text().splitlines()[0])

    def ask(self, statement: str) -> object:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchone() if cursor.description else None

    def leave(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


@pytest.fixture
def house():
    # Not pytest's own temporary folder: as root the server runs as another user, whom each new run of pytest shuts out there.
    root = Path(tempfile.mkdtemp(prefix="bursar a house "))
    root.chmod(0o711)
    made = House(root)
    yield made
    made.leave()
    last = subprocess.run([sys.executable, "-c", HOLD, "0"], env=made.environment, capture_output=True, check=True)
    assert last.returncode == 0
    assert not (root / "pg" / "data" / "postmaster.pid").exists()
    shutil.rmtree(root)


def test_ensure_running__two_processes__share_one_server_and_the_last_stops_it(house: House) -> None:
    first, second = house.enter(), house.enter(0)
    server = house.postmaster
    second.wait()
    assert house.postmaster == server
    first.send_signal(signal.SIGINT)  # an orderly end: atexit runs
    first.wait()
    assert not (house.root / "pg" / "data" / "postmaster.pid").exists()


def test_ensure_running__owner_killed__next_one_finds_the_data_and_stops_the_server(house: House) -> None:
    owner = house.enter()
    house.ask("CREATE TABLE kept AS SELECT 42 AS answer")
    owner.kill()
    owner.wait()
    house.enter()
    assert house.ask("SELECT answer FROM kept") == (42,)


def test_ensure_running__server_killed__next_one_gets_a_living_one_with_what_was_committed(house: House) -> None:
    house.enter()
    house.ask("CREATE TABLE kept AS SELECT 42 AS answer")
    os.kill(house.postmaster, signal.SIGKILL)
    house.enter()
    assert house.ask("SELECT answer FROM kept") == (42,)


def test_ensure_running__everything_killed_and_pid_taken_by_another__starts_again(house: House) -> None:
    owner = house.enter()
    house.ask("CREATE TABLE kept AS SELECT 42 AS answer")
    owner.kill()
    owner.wait()
    server = house.postmaster
    os.kill(server, signal.SIGKILL)
    pid_file = house.root / "pg" / "data" / "postmaster.pid"
    other = subprocess.Popen(["sleep", "60"])
    try:
        pid_file.write_text("\n".join([str(other.pid), *pid_file.read_text().splitlines()[1:]]) + "\n")
        time.sleep(0.2)
        house.enter()
        assert house.ask("SELECT answer FROM kept") == (42,)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_ensure_running__sockets__nobody_else_may_enter(house: House) -> None:
    house.enter()
    assert (house.root / "pg" / "socket").stat().st_mode & 0o077 == 0
    assert house.ask("SHOW listen_addresses") == ("",)


def test_ensure_running__home_too_deep_for_a_socket__uses_a_short_private_folder(house: House) -> None:
    deep = house.root / ("long " * 12) / ("deep " * 12)
    house.environment["BURSAR_HOME"] = str(deep)
    process = house.enter()
    assert house.ask("SELECT 1") == (1,)
    assert str(house.root) not in house.url
    process.send_signal(signal.SIGINT)
    process.wait()
    assert not (deep / "pg" / "data" / "postmaster.pid").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_ensure_running__copied_without_the_owner_of_its_files__says_so_at_once(house: House) -> None:
    data = house.root / "pg" / "data"
    process = house.enter()
    process.send_signal(signal.SIGINT)
    process.wait()
    owner = (data / "PG_VERSION").stat().st_uid
    os.chown(data / "PG_VERSION", 0, 0)
    failed = subprocess.run(
        [sys.executable, "-c", HOLD, "0"],
        env=house.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    os.chown(data / "PG_VERSION", owner, -1)
    assert failed.returncode != 0
    assert f"chown -R bursar-db: '{data}'" in failed.stderr
