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
    used_at: int | None = None
    scope: str | None = None


class _Advance(_Step, tag="advance"):
    pass


class _Scenario(msgspec.Struct):
    charged: Literal["over_time", "once"]
    wallets: list[str]
    steps: list[_Allocate | _Change | _Charge | _Level | _Advance]
    grace: int | None = None


_check = msgspec.json.Decoder(_Scenario).decode
# A batch of a century is enough; the calendar of a database ends somewhere.
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
    if len(set(told.wallets)) < len(told.wallets):
        raise ValueError("a wallet is named twice - at `$.wallets`")
    if told.grace is not None and not 0 <= told.grace <= _TIME_MAX:
        raise ValueError("`grace` is no number of seconds - at `$.grace`")
    before = None
    for number, step in enumerate(told.steps):
        times = [getattr(step, name, None) for name in ("at", "start", "end", "used_at")]
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
