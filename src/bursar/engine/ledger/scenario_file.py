"""Reading a scenario from a line of JSON, so that a wrong one is refused with the place where it is wrong."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec


class _Step(msgspec.Struct, tag_field="op"):
    at: int


class _Allocate(_Step, tag="allocate"):
    id: str
    wallet: str
    quota: int
    start: int
    end: int
    source: str | None = None
    priority: int | None = None


class _Change(_Step, tag="change"):
    id: str
    quota: int | None = None
    start: int | None = None
    end: int | None = None


class _Charge(_Step, tag="charge"):
    wallet: str
    amount: int
    used_at: int | None = None
    scope: str | None = None


class _Level(_Step, tag="level"):
    wallet: str
    amount: int
    used_at: int | None = None  # read to be refused in words
    scope: str | None = None


class _Advance(_Step, tag="advance"):
    pass


class _Scenario(msgspec.Struct):
    charged: Literal["over_time", "once"]
    wallets: list[str]
    steps: list[_Allocate | _Change | _Charge | _Level | _Advance]
    grace: int | None = None


_check = msgspec.json.Decoder(_Scenario).decode
# What the database takes, so that both players play the same: its texts, and a century, for its calendar ends somewhere.
_NAME_MAX = 200
_TIME_MAX = 100 * 366 * 24 * 3600


def read_scenario(line: str | bytes) -> Mapping[str, Any]:
    """A scenario as the players take it: fields that are null are left out.

    raises   ValueError, saying what is wrong and where
    """
    try:
        told = _check(line)
        raw = msgspec.json.decode(line)
    except msgspec.DecodeError as fault:
        raise ValueError(str(fault)) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    for number, name in enumerate(told.wallets):
        _check_name(name, f"$.wallets[{number}]")
    if len(set(told.wallets)) < len(told.wallets):
        raise ValueError("a wallet is named twice - at `$.wallets`")
    if told.grace is not None and not 0 <= told.grace <= _TIME_MAX:
        raise ValueError("`grace` is no number of seconds - at `$.grace`")
    before = None
    for number, step in enumerate(told.steps):
        times = [getattr(step, name, None) for name in ("at", "start", "end", "used_at")]
        if isinstance(step, _Level) and step.used_at is not None:
            raise ValueError(
                f"a level counts at its own step's time: only a charge has `used_at` - at `$.steps[{number}]`"
            )
        if isinstance(step, _Charge | _Level) and step.scope:
            _check_name(step.scope, f"$.steps[{number}].scope")
        if any(time is not None and abs(time) > _TIME_MAX for time in times):
            raise ValueError(f"a time lies more than a century away - at `$.steps[{number}]`")
        if abs(getattr(step, "priority", None) or 0) >= 2**15:
            raise ValueError(f"a priority is between -32767 and 32767 - at `$.steps[{number}].priority`")
        if before is not None and step.at < before:
            raise ValueError(f"time goes back from {before} to {step.at} - at `$.steps[{number}].at`")
        before = step.at
    raw["steps"] = [{key: value for key, value in step.items() if value is not None} for step in raw["steps"]]
    if raw.get("grace") is None:
        raw.pop("grace", None)
    assert isinstance(raw, dict)
    return raw


def _check_name(name: str, place: str) -> None:
    if len(name) > _NAME_MAX:
        raise ValueError(f"a name has at most {_NAME_MAX} characters - at `{place}`")
    if "\0" in name:
        raise ValueError(f"a name holds no NUL - at `{place}`")
