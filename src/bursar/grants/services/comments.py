"""What is said about an application, and the files that belong to it."""

from datetime import datetime

from django.db import transaction

from bursar.grants import files
from bursar.grants.errors import (
    ApplicationStepNotOpen,
    AttachmentNotFound,
    CommentNotFound,
    CommentWithdrawn,
    FileAnswers,
    TooManyFiles,
)
from bursar.grants.lifecycle import CLOSED_STATES, ApplicationState
from bursar.grants.models import Application, Attachment, AttachmentContent, Comment, FormAnswer
from bursar.grants.selectors import applications_seen, judged_givers, speaks_for
from bursar.grants.services._common import (
    lock_application,
    parts_of,
    require_applicant,
    tell,
    tell_applicant,
    tell_reviewers,
)
from bursar.structure.errors import TextMissing
from bursar.structure.models import Person
from bursar.structure.roles import Permission, require
from bursar.structure.text import clean_text


@transaction.atomic
def comment_application(
    *, application_id: int, text: str, is_internal: bool = False, by: Person, at: datetime
) -> Comment:
    """Say something about an application; an internal remark is for the givers' reviewers alone.

    raises   ApplicationNotFound; NotAllowed for who only reads, or writes internally without judging; TextMissing,
             TextTooLong, TextNotAllowed; ApplicationStepNotOpen for a draft
    """
    row = lock_application(application_id, by, at)
    judges = bool(judged_givers(row, by, at))
    if is_internal or not speaks_for(row, by, at):
        _require_judging(row, judges, by, at)
    if row.state == ApplicationState.DRAFT:
        raise ApplicationStepNotOpen(state=ApplicationState(row.state).label, action="comment")
    text = clean_text(text, field="text", limit=5000)
    if not text:
        raise TextMissing(field="text")
    comment = Comment.objects.create(application=row, by=by, at=at, text=text, is_internal=is_internal)
    givers = [part.giver for part in parts_of(row).values()]
    for giver in givers if is_internal else [None]:
        tell("commented", row, giver=giver, by=by, at=at, facts={"comment": comment.pk, "is_internal": is_internal})
    tell_reviewers("commented_internally" if is_internal else "commented", row, givers, but=by, at=at)
    if not is_internal:
        tell_applicant("commented", row, but=by, at=at)
    return comment


@transaction.atomic
def withdraw_comment(*, comment_id: int, by: Person, at: datetime) -> Comment:
    """Take a remark back, as its author or as a reviewer: its words go, a mark stays.

    raises   CommentNotFound; ApplicationNotFound; NotAllowed; CommentWithdrawn
    """
    found = Comment.objects.filter(pk=comment_id).values_list("application_id", "is_internal").first()
    if found is None:
        raise CommentNotFound
    row = lock_application(found[0], by, at)
    judges = bool(judged_givers(row, by, at))
    if found[1] and not judges:
        raise CommentNotFound
    comment = Comment.objects.select_for_update().get(pk=comment_id)
    if comment.by_id == by.pk:
        if not judges:
            require_applicant(row, by, at)
    else:
        _require_judging(row, judges, by, at)
    if comment.withdrawn_at is not None:
        raise CommentWithdrawn
    comment.text, comment.withdrawn_by, comment.withdrawn_at = "", by, at
    comment.save()
    tell("comment_withdrawn", row, by=by, at=at, facts={"comment": comment.pk})
    return comment


def _require_judging(row: Application, judges: bool, by: Person, at: datetime) -> None:
    """raises   NotAllowed for whoever judges for none of its givers"""
    if judges:
        return
    for part in parts_of(row).values():
        require(by, Permission.JUDGE_GRANTS, part.giver, at)
    require(by, Permission.JUDGE_GRANTS, None, at)


@transaction.atomic
def attach_file(*, application_id: int, name: str, data: bytes, by: Person, at: datetime) -> Attachment:
    """Add a file to an open application, as the applicant. What it is, is read from its bytes.

    raises   ApplicationNotFound; NotAllowed; ApplicationStepNotOpen; FileTooLarge; FileTypeNotAllowed; TooManyFiles
    """
    row = lock_application(application_id, by, at)
    require_applicant(row, by, at)
    if row.state in CLOSED_STATES:
        raise ApplicationStepNotOpen(state=ApplicationState(row.state).label, action="attach")
    checked = files.check_file(name, data)
    if Attachment.objects.filter(application=row, removed_at=None).count() >= files.FILES_MAX:
        raise TooManyFiles(limit=files.FILES_MAX)
    attachment = Attachment.objects.create(
        application=row,
        by=by,
        at=at,
        name=checked.name,
        content_type=checked.content_type,
        size_bytes=len(data),
        sha256=checked.sha256,
    )
    AttachmentContent.objects.create(attachment=attachment, data=data)
    tell("file_attached", row, by=by, at=at, facts={"name": attachment.name, "size_bytes": len(data)})
    return attachment


@transaction.atomic
def remove_file(*, attachment_id: int, by: Person, at: datetime) -> None:
    """Take a file out of an open application, as the applicant. Of a draft nothing of it stays, also not as an answer;
    of what was submitted its bytes go, and a mark stays.

    raises   AttachmentNotFound, also for one that was removed; NotAllowed; ApplicationStepNotOpen; FileAnswers while the
             present revision names it as an answer: what was submitted is not changed behind the reviewers' backs
    """
    found = Attachment.objects.filter(pk=attachment_id).values_list("application_id", flat=True).first()
    if found is None or not applications_seen(by, at).filter(pk=found).exists():
        raise AttachmentNotFound
    row = lock_application(found, by, at)
    attachment = Attachment.objects.filter(pk=attachment_id, removed_at=None).first()
    if attachment is None:
        raise AttachmentNotFound
    require_applicant(row, by, at)
    if row.state in CLOSED_STATES:
        raise ApplicationStepNotOpen(state=ApplicationState(row.state).label, action="remove_file")
    for answer in _answers_with(row, attachment):
        if row.state != ApplicationState.DRAFT:
            raise FileAnswers(name=attachment.name, giver=str(answer.template.giver))
        answer.values = {key: value for key, value in answer.values.items() if not _names(answer, key, attachment)}
        answer.save()
    AttachmentContent.objects.filter(attachment=attachment).delete()
    if row.state == ApplicationState.DRAFT:
        attachment.delete()
    else:
        attachment.removed_by, attachment.removed_at = by, at
        attachment.save()
    tell("file_removed", row, by=by, at=at, facts={"name": attachment.name, "size_bytes": attachment.size_bytes})


def _answers_with(row: Application, attachment: Attachment) -> list[FormAnswer]:
    """The answers of the present revision that name the file."""
    answers = FormAnswer.objects.filter(revision__application=row, revision__number=row.revision).select_related(
        "template__giver__project", "template__giver__organization"
    )
    return [one for one in answers if any(_names(one, key, attachment) for key in one.values)]


def _names(answer: FormAnswer, key: str, attachment: Attachment) -> bool:
    is_file = any(field["key"] == key and field["type"] == "file" for field in answer.template.fields)
    return is_file and bool(answer.values[key] == attachment.pk)
