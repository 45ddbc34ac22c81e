"""What the feed can refuse."""

from dataclasses import dataclass
from typing import ClassVar

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_


@dataclass
class CursorUnknown(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "cursor_unknown"
    message: ClassVar[str] = N_(
        "There is no place {cursor} in a snapshot: go on from `next` of the part before, or begin anew."
    )
    cursor: str
