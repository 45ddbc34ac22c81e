"""Runs a few child processes as one: starts them, watches them, restarts one that dies, stops all of them cleanly."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

STOP_SECONDS = 12
QUICK_DEATH_SECONDS = 10
QUICK_DEATHS = 3
# Linux tells a child to stop when its parent was killed and cannot say so; the request outlives exec.
_LEASH = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execvp(sys.argv[1], sys.argv[1:])"


@dataclass
class Child:
    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    quick_deaths: int = 0


class ChildFailed(RuntimeError):
    """A child died again and again, or did not get ready; the message says which and shows the end of its log."""


class Supervisor:
    """The children, in the order in which they start; they stop in the reverse order."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.children: list[Child] = []
        self.asked_to_stop = False
        self._breaks = False

    def __enter__(self) -> "Supervisor":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask_to_stop)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.asked_to_stop = True
        if self._breaks:
            raise KeyboardInterrupt

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Inside, a request to stop breaks off at once what is done, by KeyboardInterrupt."""
        self._breaks = True
        try:
            yield
        finally:
            self._breaks = False

    def start(self, child: Child) -> None:
        self.children.append(child)
        self._spawn(child)

    def _spawn(self, child: Child) -> None:
        child.log.parent.mkdir(parents=True, exist_ok=True)
        with child.log.open("ab") as log:
            child.process = subprocess.Popen(
                [sys.executable, "-c", _LEASH, *child.command] if sys.platform == "linux" else child.command,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **child.environment},
                # A session of its own: Ctrl-C reaches only us, and we stop the children in order.
                start_new_session=True,
            )  # fmt: skip
        child.started = time.monotonic()

    def wait_until(self, ready: Callable[[], bool], *, seconds: float, what: str) -> bool:
        """Wait for something that a child will do; False when asked to stop meanwhile."""
        end = time.monotonic() + seconds
        while not ready():
            if self.asked_to_stop:
                return False
            if time.monotonic() > end:
                raise ChildFailed(f"{what} took more than {seconds:.0f} s.\n" + "\n".join(map(_tail, self.children)))
            self.check()
            time.sleep(0.1)
        return True

    def watch(self) -> None:
        """Until asked to stop."""
        while not self.asked_to_stop:
            self.check()
            time.sleep(0.3)

    def check(self) -> None:
        for child in self.children:
            if child.process is None or child.process.poll() is None:
                continue
            quick = time.monotonic() - child.started < QUICK_DEATH_SECONDS
            child.quick_deaths = child.quick_deaths + 1 if quick else 0
            if child.quick_deaths >= QUICK_DEATHS:
                raise ChildFailed(f"{child.name} keeps ending (exit code {child.process.returncode}).\n{_tail(child)}")
            self.say(f"{child.name} ended (exit code {child.process.returncode}); starting it again. Log: {child.log}")
            self._spawn(child)

    def stop(self) -> None:
        self.asked_to_stop = True
        running = [c for c in reversed(self.children) if c.process is not None and c.process.poll() is None]
        for child in running:
            _signal(child, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        for child in running:
            assert child.process is not None
            try:
                child.process.wait(max(0.1, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.say(f"{child.name} does not stop; killing it")
                _signal(child, signal.SIGKILL)
                child.process.wait()


def _signal(child: Child, number: signal.Signals) -> None:
    assert child.process is not None
    with suppress(ProcessLookupError):
        os.killpg(child.process.pid, number)


def _tail(child: Child) -> str:
    lines = child.log.read_text(errors="replace").splitlines()[-20:] if child.log.exists() else []
    return "\n".join([f"The end of {child.log}:", *(f"    {line}" for line in lines)])
