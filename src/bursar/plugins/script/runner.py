"""Runs one command: bounded in time and output, its whole process group ended with it, a document in and a document out."""

import json
import os
import selectors
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from typing import IO, Any, Final

from bursar.plugins.contract import BackendUnreachable, Output
from bursar.plugins.script.settings import ScriptSettings

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
OUTPUT_BYTES_KEPT: Final = 64 * 1024
OUTPUTS_KEPT: Final = 50
MESSAGE_LENGTH_MAX: Final = 600
LAST_LINES: Final = 3
TERM_SECONDS: Final = 3.0
HIDDEN: Final = "•••"
EX_TEMPFAIL: Final = 75
_CHUNK_BYTES: Final = 65_536
_LOOK_SECONDS: Final = 0.05


class TemporaryFailure(Exception):
    """The command said (exit code 75) that it cannot do it now; the message is what it printed last."""


class Runner:
    """Runs the commands of one backend. What they printed for people is kept in `outputs`."""

    def __init__(self, settings: ScriptSettings) -> None:
        self._settings = settings
        self._secret = "" if settings.token is None else settings.token.get_secret_value()
        self.outputs: list[Output] = []

    def run(self, verb: str, document: Mapping[str, Any]) -> Any:
        """The document that the verb's command answers.

        raises   TemporaryFailure; BackendUnreachable for whatever is not a good answer
        """
        command: list[str] = getattr(self._settings, verb)
        began = time.monotonic()
        with tempfile.TemporaryFile() as given:
            # A file and not a pipe: a command that does not read it, or reads it late, holds nobody up.
            given.write(json.dumps(document).encode())
            given.seek(0)
            try:
                process = subprocess.Popen(
                    command,
                    stdin=given,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=self._settings.folder,
                    env=self._environment(verb),
                    start_new_session=True,
                )
            except OSError as fault:
                what = fault.filename if fault.filename in (command[0], self._settings.folder) else command[0]
                self._keep(verb, command, None, began, b"", cut=False)
                raise BackendUnreachable(f"{verb}: {what} cannot be started: {fault.strerror}.") from None
        watch = _Watch(process, began + self._settings.seconds)
        try:
            watch.follow()
        finally:
            watch.end()
        said = self._keep(verb, command, process.returncode, began, bytes(watch.said), cut=watch.said_more)
        return self._answer(verb, watch, process.returncode, said)

    def _environment(self, verb: str) -> dict[str, str]:
        environment = {
            **self._settings.environment,
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "BURSAR_VERB": verb,
        }
        if self._secret:
            environment["BURSAR_TOKEN"] = self._secret
        return environment

    def _answer(self, verb: str, watch: "_Watch", code: int, said: str) -> Any:
        last = _last_lines(said)
        if watch.late:
            raise self._fault(verb, f"the command did not end within {self._settings.seconds} s and was ended", last)
        if watch.answered_more:
            raise self._fault(verb, f"the command answered more than {ANSWER_BYTES_MAX} bytes and was ended", last)
        if code == EX_TEMPFAIL:
            raise TemporaryFailure(last)
        if code < 0:
            raise self._fault(verb, f"the command was ended by {_signal_name(-code)}", last)
        if code != 0:
            raise self._fault(verb, f"the command ended with {code}", last)
        try:
            document = json.loads(watch.answer.decode(), parse_constant=_no_number)
        except UnicodeDecodeError:
            raise self._fault(verb, "the answer is not UTF-8", last) from None
        except RecursionError:
            raise self._fault(verb, "the answer is nested too deeply", last) from None
        except ValueError as fault:
            if not watch.answer.strip():
                raise self._fault(verb, "the command answered nothing", last) from None
            where = f" (line {fault.lineno}, column {fault.colno})" if isinstance(fault, json.JSONDecodeError) else ""
            raise self._fault(verb, f"the answer is not one JSON document{where}", last) from None
        return _without(document, self._secret)

    @staticmethod
    def _fault(verb: str, what: str, last: str) -> BackendUnreachable:
        return BackendUnreachable(f"{verb}: {what}. It printed: {last}" if last else f"{verb}: {what}.")

    def _keep(self, verb: str, command: list[str], code: int | None, began: float, said: bytes, *, cut: bool) -> str:
        text = said.decode(errors="replace")
        if self._secret:
            text = text.replace(self._secret, HIDDEN)
            # What was cut off at the front may have been the beginning of the secret.
            text = text[len(self._secret) :] if cut else text
        text = "\n".join(_visible(line) for line in text.splitlines())
        words = tuple(word.replace(self._secret, HIDDEN) if self._secret else word for word in command)
        self.outputs.append(Output(verb, words, code, round(time.monotonic() - began, 3), text))
        del self.outputs[:-OUTPUTS_KEPT]
        return text


class _Watch:
    """Reads what a process prints until it has ended, its time is over, or it prints too much.

    answer, said   standard output, and the last of standard error
    """

    def __init__(self, process: subprocess.Popen[bytes], deadline: float) -> None:
        self.process = process
        self.deadline = deadline
        self.answer = bytearray()
        self.said = bytearray()
        self.late = self.answered_more = self.said_more = False

    def follow(self) -> None:
        with selectors.DefaultSelector() as open_pipes:
            for pipe in (self.process.stdout, self.process.stderr):
                assert pipe is not None
                os.set_blocking(pipe.fileno(), False)
                open_pipes.register(pipe, selectors.EVENT_READ)
            while True:
                # Looked at first: what it printed before it ended is in the pipes then.
                ended = self._has_ended()
                # A child that was left behind may hold the pipes open for ever; only what is there is waited for.
                for key, _ in open_pipes.select(0 if ended else self._patience(open_pipes)):
                    self._read(key.fileobj, open_pipes)
                if ended:
                    for key in list(open_pipes.get_map().values()):
                        self._read(key.fileobj, open_pipes)
                    return
                self.late = time.monotonic() > self.deadline
                if self.late or self.answered_more:
                    return

    def _patience(self, open_pipes: selectors.BaseSelector) -> float:
        if not open_pipes.get_map():
            time.sleep(_LOOK_SECONDS / 10)
            return 0
        return max(0.0, min(_LOOK_SECONDS, self.deadline - time.monotonic()))

    def _has_ended(self) -> bool:
        """Whether it has ended. It is not taken from the process table yet, so that its group keeps its number."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _read(self, pipe: Any, open_pipes: selectors.BaseSelector) -> None:
        while not self.answered_more and time.monotonic() <= self.deadline:
            try:
                chunk = os.read(pipe.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                open_pipes.unregister(pipe)
                return
            if pipe is self.process.stdout:
                self.answer += chunk
                self.answered_more = len(self.answer) > ANSWER_BYTES_MAX
            else:
                self.said += chunk
                if len(self.said) > OUTPUT_BYTES_KEPT:
                    self.said_more = True
                    del self.said[:-OUTPUT_BYTES_KEPT]

    def end(self) -> None:
        """End whatever is left of the process group: politely, then not."""
        self._signal(signal.SIGTERM)
        patience = time.monotonic() + TERM_SECONDS
        while not self._has_ended() and time.monotonic() < patience:
            time.sleep(_LOOK_SECONDS)
        self._signal(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            _close(pipe)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except (ProcessLookupError, PermissionError):  # none is left, or (on some systems) only ended ones are
            return


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        pipe.close()


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _visible(line: str) -> str:
    return "".join(c if c.isprintable() else " " for c in line).rstrip()


def _last_lines(text: str) -> str:
    """The last lines that hold anything, on one line."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return " / ".join(lines[-LAST_LINES:])[-MESSAGE_LENGTH_MAX:]


def _without(value: Any, secret: str) -> Any:
    """The document without the secret, wherever a text in it may hold it."""
    if not secret:
        return value
    if isinstance(value, str):
        return value.replace(secret, HIDDEN)
    if isinstance(value, list):
        return [_without(item, secret) for item in value]
    if isinstance(value, dict):
        return {_without(key, secret): _without(item, secret) for key, item in value.items()}
    return value


def shown(command: list[str]) -> str:
    """A command as a person would type it."""
    return shlex.join(command)
