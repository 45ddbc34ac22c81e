"""What a wallet's quota was at any instant, from the changes that the journal holds.

Instants are whole microseconds, amounts whole ticks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QuotaChange:
    """A step of one allocation, in the order of recording: `quota` is by how much it changed.

    start, end   the window from now on; None = as before
    """

    at: int
    quota: int
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Stage:
    """How an allocation stood from `since` until the next stage."""

    since: int
    quota: int
    start: int
    end: int


def stages(changes: Iterable[QuotaChange]) -> list[Stage]:
    """How an allocation stood, stage by stage; the first change has a window.

    One that was made after its start counts from its start, for that is what was agreed; later changes count from the
    instant of the change.
    """
    found: list[Stage] = []
    for change in changes:
        if not found:
            assert change.start is not None
            assert change.end is not None
            found.append(Stage(min(change.at, change.start), change.quota, change.start, change.end))
            continue
        last = found[-1]
        found.append(
            Stage(
                max(change.at, last.since),
                last.quota + change.quota,
                last.start if change.start is None else change.start,
                last.end if change.end is None else change.end,
            )
        )
    return found


def stage_at(history: Sequence[Stage], at: int) -> Stage | None:
    """The stage at an instant whose window holds it; None where the allocation was not open."""
    found = None
    for stage in history:
        if stage.since > at:
            break
        found = stage
    return found if found is not None and found.start <= at < found.end else None


def quota_at(allocations: Mapping[int, Sequence[Stage]], at: int) -> dict[int, int]:
    """The quota of each allocation that was open at an instant, by its key."""
    found = {key: stage_at(history, at) for key, history in allocations.items()}
    return {key: stage.quota for key, stage in found.items() if stage is not None}
