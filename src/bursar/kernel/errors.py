"""Refusals: what a caller did that cannot be, said so that the reader knows what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar


class Kind(StrEnum):
    """What sort of refusal; the edge turns it into a status (404, 403, 409, 422, 503)."""

    NOT_FOUND = "not_found"
    FORBIDDEN = "forbidden"
    CONFLICT = "conflict"
    INVALID = "invalid"
    UNAVAILABLE = "unavailable"


@dataclass(eq=False)  # not frozen: the runtime writes __traceback__ on it
class DomainError(Exception):
    """A refusal: a kind, a stable code, a message with named facts, and the facts.

    A subclass sets `kind`, `code` and `message`, and declares its facts as dataclass fields
    (`@dataclass(eq=False)`). `message` is a gettext template with `{fact}` placeholders, marked with `N_`.
    A fact named `field` names the form or request field at fault.
    """

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = ""
    message: ClassVar[str] = ""

    @property
    def facts(self) -> Mapping[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __str__(self) -> str:
        return self.message.format(**self.facts)

    def __reduce__(self) -> tuple[Any, ...]:
        # Without this an error built by keyword does not survive a process boundary.
        return (_rebuild, (type(self), dict(self.facts)))


@dataclass(frozen=True, slots=True)
class At:
    """What is wrong with one of several things that were sent together.

    index   counts from 0
    place   the list it is in, where there are several; "" = that of the refusal which holds it
    """

    index: int
    refusal: DomainError
    place: str = ""


def _rebuild(cls: type[DomainError], facts: dict[str, Any]) -> DomainError:
    return cls(**facts)
