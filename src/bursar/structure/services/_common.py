"""What the services of this package share."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from bursar.events.services import Happening, record
from bursar.structure.models import Organization, Person, Project

Scope = Organization | Project | None


def subject_of(scope: Scope) -> dict[str, Any]:
    """The columns by which an event of the scope is found."""
    if isinstance(scope, Project):
        return {"organization_id": scope.organization_id, "project_id": scope.pk}
    if isinstance(scope, Organization):
        return {"organization_id": scope.pk}
    return {}


def tell(
    kind: str,
    subject: Any,
    *,
    scope: Scope = None,
    by: Person | None,
    at: datetime,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Record an event about a row of this package."""
    record(
        Happening(
            kind=kind,
            subject_type=subject._meta.model_name,
            subject_id=subject.pk,
            facts=facts or {},
            **subject_of(scope),
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )


def write_changes(row: Any, values: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Set the values on the row, save those that differ, and answer `{field: [before, after]}`."""
    changes: dict[str, list[Any]] = {}
    for field, value in values.items():
        before = getattr(row, field)
        if before != value:
            changes[field] = [_plain(before), _plain(value)]
            setattr(row, field, value)
    if changes:
        row.save(update_fields=list(changes))
    return changes


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
