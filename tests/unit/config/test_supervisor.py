import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bursar.config.supervisor import Child, ChildFailed, Supervisor


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with Supervisor(said.append) as made:
        yield made
    for number, handler in handlers.items():
        signal.signal(number, handler)


def sleeper(log: Path, *, deaf: bool = False) -> Child:
    ignore = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " if deaf else ""
    code = f"{ignore}import time; print('ready', flush=True); time.sleep(60)"
    return Child("sleeper", [sys.executable, "-c", code], log)


def ready(child: Child) -> bool:
    return child.log.exists() and "ready" in child.log.read_text()


def test_check__child_killed__is_started_again(supervisor: Supervisor, said: list[str], tmp_path: Path) -> None:
    child = sleeper(tmp_path / "log")
    supervisor.start(child)
    assert child.process is not None
    first = child.process.pid
    os.kill(first, signal.SIGKILL)
    child.process.wait()
    supervisor.check()
    assert child.process.pid != first
    assert child.process.poll() is None
    assert said == [f"sleeper ended (exit code -9); starting it again. Log: {tmp_path / 'log'}"]


def test_check__child_dies_at_once_three_times__gives_up_and_shows_why(supervisor: Supervisor, tmp_path: Path) -> None:
    child = Child("broken", [sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log")
    supervisor.start(child)
    with pytest.raises(ChildFailed, match=r"broken keeps ending \(exit code 1\)(?s:.*)no such thing"):
        supervisor.wait_until(lambda: False, seconds=20, what="Nothing")


def test_stop__children__all_end(supervisor: Supervisor, tmp_path: Path) -> None:
    children = [sleeper(tmp_path / str(n)) for n in range(3)]
    for child in children:
        supervisor.start(child)
    supervisor.stop()
    assert [child.process.poll() is None for child in children if child.process] == [False] * 3


def test_stop__child_deaf_to_sigterm__is_killed(
    supervisor: Supervisor, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bursar.config.supervisor.STOP_SECONDS", 0.3)
    child = sleeper(tmp_path / "log", deaf=True)
    supervisor.start(child)
    supervisor.wait_until(lambda: ready(child), seconds=20, what="The sleeper")
    supervisor.stop()
    assert child.process is not None
    assert child.process.returncode == -signal.SIGKILL
    assert said == ["sleeper does not stop; killing it"]


def test_watch__asked_to_stop__returns(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(sleeper(tmp_path / "log"))
    os.kill(os.getpid(), signal.SIGTERM)
    supervisor.watch()
    assert supervisor.asked_to_stop


def test_breakable__asked_to_stop__breaks_off_at_once(supervisor: Supervisor) -> None:
    def work() -> None:
        with supervisor.breakable():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        work()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_start__parent_killed__child_ends(tmp_path: Path) -> None:
    code = f"""
import sys, time
from pathlib import Path
from bursar.config.supervisor import Child, Supervisor
with Supervisor(print) as supervisor:
    child = Child("sleeper", [sys.executable, "-c", "import time; time.sleep(60)"], Path({str(tmp_path / "log")!r}))
    supervisor.start(child)
    time.sleep(0.5)
    print(child.process.pid, flush=True)
    time.sleep(60)
"""
    import subprocess

    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    end = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < end, "the child lives on"
        time.sleep(0.05)
