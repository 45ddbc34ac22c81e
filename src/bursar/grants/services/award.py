"""The award: project, its principal investigator, allocations and events in one transaction, once."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.formats import date_format

from bursar.accounting import services as accounting
from bursar.accounting.books import lock as lock_ledger
from bursar.grants import capacity
from bursar.grants.errors import GrantReasonMissing, NothingToRevoke, PeriodOver
from bursar.grants.lifecycle import ApplicationAction, PartState
from bursar.grants.models import Application, Award, AwardedAllocation, Decision, RequestedAmount, Revision
from bursar.grants.services._common import (
    WORKSPACE_RELATED,
    decide,
    is_new_project,
    lock_application,
    parts_of,
    present_revision,
    require_judge,
    step,
    tell,
    tell_applicant,
)
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Role
from bursar.structure.selectors import workspace_of
from bursar.structure.services import create_project, invite
from bursar.structure.services.projects import require_open_project

What = Decision.What


def require_time_left(revision: Revision, at: datetime) -> datetime:
    """The end of the period.

    raises   PeriodOver when it has passed
    """
    assert revision.end is not None  # nothing is submitted without
    if revision.end <= at:
        last = timezone.localtime(revision.end - timedelta(microseconds=1))
        raise PeriodOver(end=date_format(last, "DATE_FORMAT"))
    return revision.end


def go_on(application: Application, *, at: datetime) -> None:
    """Award, or let fall, an application for which nobody is awaited any more; else do nothing.

    raises   what an award may be refused for: PeriodOver, NotOffered and its kin, BeyondWhatIsHeld, ProjectClosed,
             PersonInactive, OrganizationArchived, and what accounting refuses
    """
    parts = parts_of(application)
    if application.agreement_awaited or any(part.state == PartState.PENDING for part in parts.values()):
        return
    approved = {key for key, part in parts.items() if part.state == PartState.APPROVED}
    if approved:
        _award(application, approved, at=at)
    else:
        fall(application, by=None, at=at, reason="")


def fall(application: Application, *, by: Person | None, at: datetime, reason: str) -> None:
    """End an application that was rejected."""
    step(application, ApplicationAction.REJECT, at=at)
    application.why = reason[:2000]
    application.save()
    tell("rejected", application, by=by, at=at)
    tell_applicant("rejected", application, but=by, at=at)


def _award(application: Application, approved: set[int], *, at: datetime) -> None:
    revision = present_revision(application)
    end = require_time_left(revision, at)
    start = max(at, revision.start or at)
    project = None
    if is_new_project(application):
        assert revision.organization is not None
        project = create_project(
            organization=revision.organization,
            name=revision.project_name,
            principal_investigator=application.applicant,
            start=at,
            by=None,
            at=at,
        )
        workspace = workspace_of(project)
        for email in revision.members:
            if email != application.applicant.email:
                invite(email=email, role=Role.PROJECT_MEMBER, scope=project, by=application.applicant, at=at)
        application.workspace = workspace
    else:
        assert application.workspace is not None
        workspace = application.workspace
        if workspace.project is not None:
            require_open_project(workspace.project, at)
    award = Award.objects.create(application=application, revision=revision, project=project, at=at)
    amounts = _amounts(revision, approved)
    for category_id in sorted({amount.category_id for amount in amounts}):
        lock_ledger(category_id)  # in one order, so that two awards never wait for each other
    for amount in amounts:
        found = capacity.require_room(amount.giver, amount.category, amount.ticks, start=start, end=end)
        allocation = accounting.allocate(
            workspace=workspace,
            category=amount.category,
            source=found.source,
            quota_ticks=amount.ticks,
            start=start,
            end=end,
            note=f"#{application.pk}",
            by=None,
            at=at,
        )
        AwardedAllocation.objects.create(award=award, amount=amount, allocation=allocation)
    step(application, ApplicationAction.APPROVE, at=at)
    application.save()
    decide(application, What.AWARDED, by=None, at=at)
    facts = {"workspace_id": workspace.pk, "new_project": project is not None, "amounts": len(amounts)}
    tell("awarded", application, by=None, at=at, facts=facts)
    tell_applicant("approved", application, but=None, at=at)


def _amounts(revision: Revision, approved: Iterable[int]) -> list[RequestedAmount]:
    rows = RequestedAmount.objects.filter(revision=revision, giver_id__in=approved)
    related = (f"giver__{name}" for name in WORKSPACE_RELATED)
    return list(rows.select_related("category__provider__organization", *related).order_by("category_id", "giver_id"))


@transaction.atomic
def revoke_grant(*, application_id: int, giver: Workspace, reason: str, by: Person | None, at: datetime) -> int:
    """Take back what a giver granted, from now on, with a reason; how many allocations were closed.

    raises   ApplicationNotFound; NotAllowed; GrantReasonMissing; NothingToRevoke; what accounting refuses
    """
    application = lock_application(application_id, by, at)
    require_judge(giver, by, at)
    if not reason.strip():
        raise GrantReasonMissing
    rows = AwardedAllocation.objects.select_related("allocation__category__provider__organization").filter(
        award__application=application,
        amount__giver=giver,
        allocation__closed_at=None,
        allocation__end__gt=at,
    )
    running = list(rows.order_by("allocation__category_id", "id"))
    if not running:
        raise NothingToRevoke(giver=str(giver))
    for row in running:
        accounting.revoke_allocation(allocation=row.allocation, by=None, at=at)
    decide(application, What.REVOKED, giver=giver, by=by, at=at, reason=reason.strip())
    tell("revoked", application, giver=giver, by=by, at=at, facts={"allocations": len(running)})
    tell_applicant("revoked", application, but=by, at=at)
    return len(running)
