"""What a giver decides about its part: approve, reject, hand over to another giver."""

from datetime import datetime

from django.db import transaction

from bursar.grants import admission, capacity
from bursar.grants.errors import (
    AsksItself,
    GrantReasonMissing,
    HandsOverToItself,
    NotAdmitted,
    NotHandedOver,
    NotOffered,
    NotOfferedThatLong,
    NotYetOffered,
    OwnApplication,
    PartClosed,
)
from bursar.grants.lifecycle import ApplicationAction, PartAction, PartState
from bursar.grants.models import Application, Comment, Decision
from bursar.grants.services._common import (
    decide,
    lock_application,
    part_of,
    parts_of,
    present_revision,
    require_judge,
    step,
    step_part,
    tell,
    tell_applicant,
    tell_reviewers,
)
from bursar.grants.services.applications import ask_giver, handed_over, write_revision
from bursar.grants.services.award import fall, go_on, require_time_left
from bursar.structure.models import Person, Workspace
from bursar.structure.text import clean_text

What = Decision.What


@transaction.atomic
def approve_part(
    *, application_id: int, giver: Workspace, revision: int, reason: str = "", by: Person, at: datetime
) -> Application:
    """Grant what the present revision asks of a giver. When nobody else is awaited, it is awarded in the same step.

    revision   the number of the revision that was read
    raises     ApplicationNotFound; NotAllowed; NotAskedHere; OwnApplication; ApplicationStepNotOpen; PartStepNotOpen;
               RevisionOutdated; PeriodOver; NotOffered and its kin; BeyondWhatIsHeld; and as `award.go_on`
    """
    row = lock_application(application_id, by, at)
    require_judge(giver, by, at)
    part = part_of(row, giver)
    if by.pk == row.applicant_id:
        raise OwnApplication
    step(row, ApplicationAction.JUDGE, at=at)
    present = present_revision(row, revision)
    end = require_time_left(present, at)
    start = max(at, present.start or at)
    step_part(part, PartAction.APPROVE, by=by, at=at)
    for amount in present.amounts.filter(giver=giver).select_related("category__provider__organization"):
        capacity.require_room(giver, amount.category, amount.ticks, start=start, end=end)
    row.save()
    decide(row, What.APPROVED, giver=giver, by=by, at=at, reason=clean_text(reason, field="reason", limit=2000))
    tell("part_approved", row, giver=giver, by=by, at=at)
    go_on(row, at=at)
    return row


@transaction.atomic
def reject_part(
    *, application_id: int, giver: Workspace, revision: int, reason: str, by: Person, at: datetime
) -> Application:
    """Refuse what is asked of a giver, with the reason. The rest goes on only if the applicant let the parts stand alone.

    raises   ApplicationNotFound; NotAllowed; NotAskedHere; ApplicationStepNotOpen; PartStepNotOpen; RevisionOutdated;
             GrantReasonMissing; and, where the rest is awarded at once, as `award.go_on`
    """
    row = lock_application(application_id, by, at)
    require_judge(giver, by, at)
    part = part_of(row, giver)
    reason = clean_text(reason, field="reason", limit=2000)
    step(row, ApplicationAction.JUDGE, at=at)
    present = present_revision(row, revision)
    if not reason:
        raise GrantReasonMissing
    step_part(part, PartAction.REJECT, by=by, at=at)
    row.save()
    decide(row, What.REJECTED, giver=giver, by=by, at=at, reason=reason)
    tell("part_rejected", row, giver=giver, by=by, at=at)
    if not present.is_separable or len(parts_of(row)) == 1:
        fall(row, by=by, at=at, reason=f"{giver}: {reason}")
    else:
        tell_applicant("part_rejected", row, but=by, at=at)
        go_on(row, at=at)
    return row


@transaction.atomic
def hand_over(
    *, application_id: int, giver: Workspace, to: Workspace, revision: int, message: str, by: Person, at: datetime
) -> Application:
    """Let another giver decide instead, about the whole part; it is told, with the message, and so is the applicant.

    raises   ApplicationNotFound; NotAllowed; NotAskedHere; ApplicationStepNotOpen; RevisionOutdated; PartClosed;
             GrantReasonMissing; HandsOverToItself; AsksItself; NotAdmitted (the applicant, by the other giver);
             NotHandedOver, naming what the other giver does not have: nothing is dropped
    """
    row = lock_application(application_id, by, at)
    require_judge(giver, by, at)
    part = part_of(row, giver)
    message = clean_text(message, field="message", limit=2000)
    step(row, ApplicationAction.REVISE, at=at)
    present = present_revision(row, revision)
    if part.state == PartState.REJECTED:
        raise PartClosed(giver=str(giver))
    if not message:
        raise GrantReasonMissing(field="message")
    if to.pk == giver.pk:
        raise HandsOverToItself(giver=str(giver))
    if to.pk == row.workspace_id:
        raise AsksItself(giver=str(to))
    parts = parts_of(row)
    if to.pk in parts and parts[to.pk].state == PartState.REJECTED:
        raise PartClosed(giver=str(to))
    if not admission.may_be_asked(to, row.applicant, row.workspace, at):
        raise NotAdmitted(giver=str(to))
    end = require_time_left(present, at)
    start = max(at, present.start or at)
    amounts: dict[tuple[int, int], int] = {}
    missing = []
    for amount in present.amounts.select_related("category__provider__organization"):
        key = amount.giver_id
        if key == giver.pk:
            key = to.pk
            try:
                capacity.room(to, amount.category, start=start, end=end)
            except (NotOffered, NotYetOffered, NotOfferedThatLong):
                missing.append(amount.category.title)
        amounts[key, amount.category_id] = amounts.get((key, amount.category_id), 0) + amount.ticks
    if missing:
        raise NotHandedOver(giver=str(to), categories=", ".join(missing))
    checked = handed_over(row, present, amounts, message, giver=giver, to=to, at=at)
    write_revision(row, checked, by=by, giver=giver, at=at)
    step_part(part, PartAction.LEAVE, by=by, at=at)
    decide(row, What.HANDED_OVER, giver=giver, by=by, at=at, reason=message)
    tell("handed_over", row, giver=giver, by=by, at=at, facts={"to": to.pk})
    if to.pk in parts:
        taker = parts[to.pk]
        step_part(taker, PartAction.RESET, by=by, at=at)
        decide(row, What.RESET, giver=to, by=by, at=at)
        tell("reset", row, giver=to, by=by, at=at)
    else:
        ask_giver(row, to, by=by, at=at)
    Comment.objects.create(application=row, by=by, at=at, text=message)
    tell_reviewers("handed_over", row, [to], but=by, at=at)
    tell_applicant("handed_over", row, but=by, at=at)
    return row
