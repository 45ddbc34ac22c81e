"""The life of an offering."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class OfferingState(StrEnum):
    DRAFT = "draft"  # being written; nobody can order it
    ACTIVE = "active"  # on the shelf
    PAUSED = "paused"  # on the shelf, takes no new orders
    ARCHIVED = "archived"  # gone from the shelf; what was sold goes on


class OfferingAction(StrEnum):
    ACTIVATE = "activate"
    PAUSE = "pause"
    ARCHIVE = "archive"
    REOPEN = "reopen"


TRANSITIONS: Final[Mapping[tuple[OfferingState, OfferingAction], OfferingState]] = {
    (OfferingState.DRAFT, OfferingAction.ACTIVATE): OfferingState.ACTIVE,
    (OfferingState.DRAFT, OfferingAction.ARCHIVE): OfferingState.ARCHIVED,
    (OfferingState.ACTIVE, OfferingAction.PAUSE): OfferingState.PAUSED,
    (OfferingState.PAUSED, OfferingAction.ACTIVATE): OfferingState.ACTIVE,
    (OfferingState.PAUSED, OfferingAction.ARCHIVE): OfferingState.ARCHIVED,
    (OfferingState.ARCHIVED, OfferingAction.REOPEN): OfferingState.PAUSED,
}


def after(state: OfferingState, action: OfferingAction) -> OfferingState | None:
    """The state that follows, or None where the action is not open."""
    return TRANSITIONS.get((state, action))
