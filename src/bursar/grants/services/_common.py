"""What the services of this package share: locking, steps of the two life cycles, rights, telling of events and people."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bursar.events.services import Happening, record
from bursar.grants.errors import (
    ApplicationNotFound,
    ApplicationStepNotOpen,
    GiverNotFound,
    NotAskedHere,
    PartStepNotOpen,
    RevisionOutdated,
)
from bursar.grants.lifecycle import (
    CLOSED_STATES,
    PRESENT_PARTS,
    ApplicationAction,
    ApplicationState,
    PartAction,
    PartState,
    application_after,
    part_after,
)
from bursar.grants.models import Application, Decision, Part, Recipient, Revision
from bursar.grants.notices import ask_for_notices
from bursar.grants.people import reviewers_of, side_of_applicant
from bursar.grants.selectors import applications_seen, speaks_for
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, require

APPLICATION_RELATED = ("workspace__project__organization", "workspace__organization", "workspace__person", "applicant")
WORKSPACE_RELATED = ("project__organization", "organization", "person")


def lock_application(application_id: int, by: Person | None, at: datetime) -> Application:
    """The application, locked: whatever is decided about it is decided one at a time.

    raises   ApplicationNotFound, also for whoever may not see it
    """
    row = (
        Application.objects.select_for_update(of=("self",))
        .select_related(*APPLICATION_RELATED)
        .filter(pk=application_id)
        .first()
    )
    if row is None or (by is not None and not applications_seen(by, at).filter(pk=row.pk).exists()):
        raise ApplicationNotFound
    return row


def require_applicant(application: Application, by: Person | None, at: datetime) -> None:
    """raises   NotAllowed, TokenTooNarrow for whoever is not on the applicant's side"""
    if by is None or speaks_for(application, by, at):
        return
    require(by, Permission.APPLY_FOR_GRANTS, application.workspace, at)


def require_judge(giver: Workspace, by: Person | None, at: datetime) -> None:
    """raises   NotAllowed, TokenTooNarrow"""
    require(by, Permission.JUDGE_GRANTS, giver, at)


def giver_of(giver_id: int) -> Workspace:
    """raises   GiverNotFound"""
    row = Workspace.objects.select_related(*WORKSPACE_RELATED).filter(pk=giver_id, person=None).first()
    if row is None:
        raise GiverNotFound
    return row


def present_revision(application: Application, expected: int | None = None) -> Revision:
    """The present revision; `expected` is the number that the person has read.

    raises   RevisionOutdated
    """
    if expected is not None and expected != application.revision:
        raise RevisionOutdated(revision=application.revision)
    return Revision.objects.select_related("organization").get(application=application, number=application.revision)


def parts_of(application: Application) -> dict[int, Part]:
    """Those that count now, by giver."""
    rows = Part.objects.filter(application=application, state__in=PRESENT_PARTS)
    return {part.giver_id: part for part in rows.select_related(*(f"giver__{name}" for name in WORKSPACE_RELATED))}


def part_of(application: Application, giver: Workspace) -> Part:
    """raises   NotAskedHere"""
    part = parts_of(application).get(giver.pk)
    if part is None:
        raise NotAskedHere(giver=str(giver))
    return part


def step(application: Application, action: ApplicationAction, *, at: datetime) -> None:
    """Set the state that follows; the caller saves and tells.

    raises   ApplicationStepNotOpen
    """
    state = application_after(ApplicationState(application.state), action)
    if state is None:
        raise ApplicationStepNotOpen(state=ApplicationState(application.state).label, action=action.value)
    application.state = state.value
    application.changed_at = at
    if state in CLOSED_STATES:
        application.closed_at = at
        application.agreement_awaited = False


def step_part(part: Part, action: PartAction, *, by: Person | None, at: datetime) -> None:
    """Set and save the state that follows.

    raises   PartStepNotOpen
    """
    state = part_after(PartState(part.state), action)
    if state is None:
        raise PartStepNotOpen(giver=str(part.giver), state=PartState(part.state).label, action=action.value)
    part.state = state.value
    decided = state in {PartState.APPROVED, PartState.REJECTED}
    part.decided_by, part.decided_at = (by, at) if decided else (None, None)
    part.save()


def decide(
    application: Application,
    what: Decision.What,
    *,
    giver: Workspace | None = None,
    by: Person | None,
    at: datetime,
    reason: str = "",
) -> None:
    Decision.objects.create(
        application=application,
        giver=giver,
        revision=application.revision,
        what=what,
        by=by,
        at=at,
        reason=reason[:2000],
    )


def tell(
    kind: str,
    application: Application,
    *,
    giver: Workspace | None = None,
    by: Person | None,
    at: datetime,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Record an event: about a giver's part in the giver's log, else in the recipient's."""
    place = giver or application.workspace
    project = None if place is None else place.project
    record(
        Happening(
            kind=f"application.{kind}",
            subject_type="application",
            subject_id=application.pk,
            facts={"revision": application.revision, "giver_id": None if giver is None else giver.pk, **(facts or {})},
            organization_id=project.organization_id if project else None if place is None else place.organization_id,
            project_id=None if project is None else project.pk,
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )


def tell_reviewers(
    kind: str, application: Application, givers: Iterable[Workspace], *, but: Person | None, at: datetime
) -> None:
    """Tell each reviewer of these givers, once, except whoever did it."""
    told = {person for giver in givers for person in reviewers_of(giver, at)} - {None if but is None else but.pk}
    ask_for_notices(kind, application, told, by=but, at=at)


def tell_applicant(kind: str, application: Application, *, but: Person | None, at: datetime) -> None:
    """Tell the applicant's side, except whoever did it."""
    told = side_of_applicant(application, at) - {None if but is None else but.pk}
    ask_for_notices(kind, application, told, by=but, at=at)


def is_new_project(application: Application) -> bool:
    return application.recipient == Recipient.NEW_PROJECT
