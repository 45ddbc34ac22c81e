"""Of which steps a person is told, and in which way; what they have read of it."""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from bursar.events.services import Happening, record
from bursar.grants.errors import NoticeNotFound
from bursar.grants.models import Notice, NoticeChoice
from bursar.grants.notices import KINDS
from bursar.grants.selectors import notices_of
from bursar.structure.errors import NotWithToken
from bursar.structure.models import Person
from bursar.structure.roles import TokenScope

Channel = NoticeChoice.Channel


def _require_own(by: Person) -> None:
    """raises   NotWithToken"""
    if by.limits is not None and TokenScope.PROFILE not in by.limits.scopes:
        raise NotWithToken(scope=TokenScope.PROFILE.value)


@transaction.atomic
def set_notices(*, by_mail: Collection[str], in_pages: Collection[str], by: Person, at: datetime) -> None:
    """Be told of these kinds of steps in these ways, and of no others; unknown names are passed over.

    raises   NotWithToken
    """
    _require_own(by)
    wanted = {Channel.MAIL: by_mail, Channel.PAGE: in_pages}
    unwanted = {channel.value: [kind for kind in KINDS if kind not in kinds] for channel, kinds in wanted.items()}
    NoticeChoice.objects.filter(person=by).delete()
    NoticeChoice.objects.bulk_create(
        [NoticeChoice(person=by, kind=kind, channel=channel) for channel, kinds in unwanted.items() for kind in kinds]
    )
    record(Happening("person.notices_set", "person", by.pk, {"unwanted": unwanted}), by_id=by.pk, at=at)


@transaction.atomic
def read_notice(*, notice_id: int, by: Person, at: datetime) -> Notice:
    """Mark a notice as read; twice is once.

    raises   NoticeNotFound, also for somebody else's; NotWithToken
    """
    row = notices_of(by, at).filter(pk=notice_id).first()
    if row is None:
        raise NoticeNotFound
    _require_own(by)
    if row.read_at is None:
        Notice.objects.filter(pk=row.pk, read_at=None).update(read_at=at)
        row.read_at = at
    return row


@transaction.atomic
def read_notices(*, by: Person, at: datetime) -> int:
    """Mark all that one was told as read; how many were not.

    raises   NotWithToken
    """
    _require_own(by)
    return Notice.objects.filter(person=by, read_at=None).update(read_at=at)
