"""What an agent says of itself, made fit for a page.

It is a stranger's word: any field may be missing, of another kind, or longer than is good for anybody. What cannot be read
is left out; nothing here fails.
"""

import json
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from django.utils.translation import gettext as _

from bursar.catalogue import registry
from bursar.catalogue.models import Agent, Backend
from bursar.plugins.contract import BackendSettings

Row = TypeVar("Row")

ROWS_MAX: Final = 50
WORDS_MAX: Final = 1_000
OUTPUT_MAX: Final = 20_000
CLOCK_AGREES: Final = timedelta(seconds=5)
"""A difference of less is the time that the question took."""

_RESOURCE: Final = re.compile(r"resource ([1-9][0-9]{0,17})")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,17}")
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
_COLOUR: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# Dates beyond these cannot be brought into every time zone.
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What does not go through. resource_id: where it is about one."""

    subject: str
    resource_id: int | None
    message: str
    since: datetime | None
    attempts: int | None


@dataclass(frozen=True, slots=True)
class Mended:
    subject: str
    resource_id: int | None
    what: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record of usage that Bursar set aside, or could not even read."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Measured:
    name: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Output:
    """What a command of the provider said when it was last run for something; without an exit code it never began."""

    verb: str
    command: str
    exit_code: int | None
    seconds: float | None
    text: str
    at: datetime | None

    @property
    def failed(self) -> bool:
        return self.exit_code != 0


@dataclass(frozen=True, slots=True)
class Status:
    """read_number, done_number   of the feed
    waiting, waiting_since        records of usage that were not told yet
    """

    read_number: int | None = None
    done_number: int | None = None
    outstanding: int | None = None
    waiting: int | None = None
    waiting_since: datetime | None = None
    stuck: tuple[BadRecord, ...] = ()
    set_aside: tuple[BadRecord, ...] = ()
    trouble: tuple[Trouble, ...] = ()
    mended: tuple[Mended, ...] = ()
    measured: tuple[Measured, ...] = ()
    outputs: tuple[Output, ...] = ()

    @property
    def resource_ids(self) -> frozenset[int]:
        """The resources that it speaks of; there may be no such ones."""
        named = [*(one.resource_id for one in self.trouble), *(one.resource_id for one in self.mended)]
        return frozenset(pk for pk in named if pk is not None)


@dataclass(frozen=True, slots=True)
class Rival:
    host: str
    address: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Declared:
    """What its agent said of the plugin."""

    title: str
    version: str


def read_declared(told: Any) -> Declared:
    told = told if isinstance(told, Mapping) else {}
    return Declared(_line(told.get("title")), _line(told.get("version")))


def read_status(told: Any) -> Status:
    """The newest of what happened stands first; of the commands, those that failed."""
    if not isinstance(told, Mapping):
        return Status()
    spool = told.get("spool")
    spool = spool if isinstance(spool, Mapping) else {}
    measured = told.get("measured_at")
    measured = measured if isinstance(measured, Mapping) else {}
    return Status(
        read_number=_whole(told.get("read_number")),
        done_number=_whole(told.get("done_number")),
        outstanding=_whole(told.get("outstanding")),
        waiting=_whole(spool.get("count")),
        waiting_since=_moment(spool.get("oldest_at")),
        stuck=_rows(spool.get("stuck"), _bad_record),
        set_aside=_rows(_latest(told.get("set_aside")), _bad_record),
        trouble=_rows(told.get("trouble"), _trouble),
        mended=_rows(_latest(told.get("mended")), _mended),
        measured=tuple(Measured(_line(name), _moment(at)) for name, at in list(measured.items())[:ROWS_MAX]),
        outputs=tuple(sorted(_rows(_latest(told.get("outputs")), _output), key=lambda one: not one.failed)),
    )


def read_rival(told: Any) -> Rival | None:
    """The other agent that was refused because this one is in charge; None: there was none."""
    if not isinstance(told, Mapping) or not told:
        return None
    return Rival(_line(told.get("host")), _line(told.get("address")), _moment(told.get("at")))


def clock_difference(agent: Agent) -> timedelta | None:
    """By how much its clock is ahead, where it is worth saying."""
    ahead = timedelta(milliseconds=max(-(10**12), min(10**12, agent.clock_ahead_ms)))
    return ahead if abs(ahead) > CLOCK_AGREES else None


def _rows(told: Any, read: Callable[[Mapping[str, Any]], Row]) -> tuple[Row, ...]:
    return tuple(read(one) for one in told[:ROWS_MAX] if isinstance(one, Mapping)) if isinstance(told, list) else ()


def _latest(told: Any) -> Any:
    return told[::-1] if isinstance(told, list) else told


def _bad_record(one: Mapping[str, Any]) -> BadRecord:
    return BadRecord(_line(one.get("id")), _text(one.get("why")))


def _trouble(one: Mapping[str, Any]) -> Trouble:
    subject = _line(one.get("subject"))
    found = _RESOURCE.fullmatch(subject)
    return Trouble(
        subject,
        int(found[1]) if found else None,
        _text(one.get("message")),
        _moment(one.get("since")),
        _whole(one.get("attempts")),
    )


def _mended(one: Mapping[str, Any]) -> Mended:
    resource = _line(one.get("resource"))
    pk = int(resource) if _NUMBER.fullmatch(resource) else None
    return Mended(resource if pk is None else f"resource {pk}", pk, _text(one.get("what")), _moment(one.get("at")))


def _output(one: Mapping[str, Any]) -> Output:
    code, seconds = _number(one.get("exit_code")), _number(one.get("seconds"))
    return Output(
        _line(one.get("verb")),
        _command(one.get("command")),
        int(code) if code is not None and abs(code) < 2**31 else None,
        seconds if seconds is not None and 0 <= seconds < 10**7 else None,
        _text(one.get("text"), OUTPUT_MAX),
        _moment(one.get("at")),
    )


def _command(told: Any) -> str:
    """As one would type it."""
    words = told[:ROWS_MAX] if isinstance(told, list) else [told]
    return _text(" ".join(shlex.quote(_line(word)) if isinstance(told, list) else _line(word) for word in words))


def _number(told: Any) -> float | None:
    is_number = isinstance(told, int | float) and not isinstance(told, bool) and abs(told) < 10**18
    return float(told) if is_number else None


def _whole(told: Any) -> int | None:
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < 2**63 else None


def _moment(told: Any) -> datetime | None:
    if not isinstance(told, str) or len(told) > 40:
        return None
    try:
        at = datetime.fromisoformat(told)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return at if _FIRST < at < _LAST else None


def _text(told: Any, limit: int = WORDS_MAX) -> str:
    """Several lines without colours and without characters that hide something; what was cut off ends in an ellipsis."""
    if not isinstance(told, str):
        whole = _whole(told)
        return "" if whole is None else str(whole)
    raw = _COLOUR.sub("", told[: 4 * limit])
    text = "".join(c for c in raw if c in "\n\t" or unicodedata.category(c) not in _HIDDEN)
    return text if len(text) <= limit and len(told) <= 4 * limit else f"{text[:limit]}…"


def _line(told: Any) -> str:
    return " ".join(_text(told, 200).split())


# ------------------------------------------------------------------------------------------------ setting one up
TOKEN_FILE: Final = "/etc/bursar-agent/token"  # noqa: S105  a path
CONFIGURATION_FILE: Final = "/etc/bursar-agent/agent.toml"
# As docs/agent.md has them.
INSTALL: Final = """python3 -m venv /opt/bursar-agent
/opt/bursar-agent/bin/pip install 'bursar[agent]'
useradd --system --home-dir /var/lib/bursar-agent bursar-agent
install -d -o bursar-agent -m 700 /var/lib/bursar-agent /etc/bursar-agent"""
COMMANDS: Final = """sudo -u bursar-agent /opt/bursar-agent/bin/bursar agent check
sudo -u bursar-agent /opt/bursar-agent/bin/bursar agent run --once
sudo -u bursar-agent /opt/bursar-agent/bin/bursar agent run"""


def configuration_for(backend: Backend, settings: type[BackendSettings] | None, base_url: str) -> str:
    """The agent's file for a backend, as far as it is known here; of the plugin's settings, what may be filled in.

    settings   None where the plugin is only at the site
    """
    lines = [
        "[server]",
        f"url = {_quoted(base_url)}",
        f"token_file = {_quoted(TOKEN_FILE)}",
        "",
        "[agent]",
        'folder = "/var/lib/bursar-agent"',
        "",
        "[[backend]]",
        f"name = {_quoted(backend.name)}",
        f"plugin = {_quoted(backend.plugin)}",
        "[backend.settings]",
        *(_settings(backend.plugin, settings) if settings is not None else ()),
    ]
    return "\n".join(lines) + "\n"


def _settings(plugin: str, model: type[BackendSettings]) -> Iterable[str]:
    """One line for each: those that must be given stand as they are, the others behind a # with what they are without."""
    for key, info in model.model_fields.items():
        note = f"  # {_line(_(info.title))}" if info.title else ""
        is_needed = info.is_required()
        if registry.is_secret(info.annotation):
            value = f'{{ file = "/etc/bursar-agent/{plugin}-{key}" }}'
        else:
            default = "…" if is_needed else info.get_default(call_default_factory=True)
            value = _quoted(default) if isinstance(default, str | int | float) else "…"
        yield f"{'' if is_needed else '# '}{key} = {value}{note}"


def _quoted(value: Any) -> str:
    """A TOML value: texts, numbers and truths are written as in JSON, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
