"""Recording what happened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.db import connection

from bursar.events.models import Event, Untold

UNTOLD_CHANNEL: Final = "bursar_untold"
"""PostgreSQL's channel on which readers are called when there is something untold; a trigger calls it for events."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event before it is written; the same fields as the table."""

    kind: str
    subject_type: str
    subject_id: int
    facts: Mapping[str, Any] = field(default_factory=dict)
    organization_id: int | None = None
    project_id: int | None = None
    provider_id: int | None = None


def record(happening: Happening, *, by_id: int | None, at: datetime) -> Event:
    """Write one event in the caller's transaction."""
    return record_all([happening], by_id=by_id, at=at)[0]


def record_all(happenings: Iterable[Happening], *, by_id: int | None, at: datetime) -> list[Event]:
    """Write many events with one statement per thousand, in the caller's transaction."""
    return Event.objects.bulk_create(
        [
            Event(
                at=at,
                kind=h.kind,
                actor_id=by_id,
                subject_type=h.subject_type,
                subject_id=h.subject_id,
                organization_id=h.organization_id,
                project_id=h.project_id,
                provider_id=h.provider_id,
                facts=dict(h.facts),
            )
            for h in happenings
        ],
        batch_size=1000,
    )


def look_again(subject_type: str, subject_ids: Iterable[int]) -> None:
    """Say, in the caller's transaction, that these should be looked at again although nothing happened to them.

    Such as a share of a wallet that is another one because somebody else drew on it.
    """
    rows = [Untold(subject_type=subject_type, subject_id=subject_id) for subject_id in subject_ids]
    if not rows:
        return
    Untold.objects.bulk_create(rows, batch_size=1000)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [UNTOLD_CHANNEL])
