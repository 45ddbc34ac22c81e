"""Kinds of events of which not everybody is told who sees the history of a place. Each package says so of its own, at the start."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Guard:
    """The permissions that somebody needs to be told, by whose history is read. "" = nobody is told there."""

    project: str
    organization: str
    provider: str


_guards: dict[str, Guard] = {}


def guard(*nouns: str, project: str, organization: str, provider: str) -> None:
    """From now on events of these nouns (what stands before the dot of their kind) need a permission to be told.

    project, organization   the customer's side, in the history of a project or of an organization with all its projects
    provider                the provider's side
    """
    for noun in nouns:
        _guards[noun] = Guard(project, organization, provider)


def guards() -> Mapping[str, Guard]:
    """What is guarded, by noun."""
    return _guards
