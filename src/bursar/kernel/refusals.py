"""How the edges answer a refusal: one table of statuses, one way to say the words."""

from collections.abc import Callable, Mapping
from typing import Final

from bursar.kernel.errors import DomainError, Kind

STATUS: Final[Mapping[Kind, int]] = {
    Kind.NOT_FOUND: 404,
    Kind.FORBIDDEN: 403,
    Kind.CONFLICT: 409,
    Kind.INVALID: 422,
    Kind.UNAVAILABLE: 503,
}


def status(refusal: DomainError) -> int:
    return STATUS[refusal.kind]


def words(refusal: DomainError, translate: Callable[[str], str]) -> str:
    """The message with its facts filled in, after `translate` has found the reader's language for the template."""
    template = translate(refusal.message) if refusal.message else ""
    return template.format(**refusal.facts) if template else str(refusal)
