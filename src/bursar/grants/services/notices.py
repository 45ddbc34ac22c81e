"""Of which steps a person is told by mail."""

from collections.abc import Collection
from datetime import datetime

from django.db import transaction

from bursar.events.services import Happening, record
from bursar.grants.models import NoticeChoice
from bursar.grants.notices import KINDS
from bursar.structure.errors import NotWithToken
from bursar.structure.models import Person
from bursar.structure.roles import TokenScope


@transaction.atomic
def set_notices(*, wanted: Collection[str], by: Person, at: datetime) -> list[str]:
    """Be told of these kinds of steps, and of no others; unknown names are passed over. What is wanted, in order.

    raises   NotWithToken
    """
    if by.limits is not None and TokenScope.PROFILE not in by.limits.scopes:
        raise NotWithToken(scope=TokenScope.PROFILE.value)
    unwanted = [kind for kind in KINDS if kind not in wanted]
    NoticeChoice.objects.filter(person=by).delete()
    NoticeChoice.objects.bulk_create([NoticeChoice(person=by, kind=kind) for kind in unwanted])
    facts = {"unwanted": unwanted}
    record(Happening("person.notices_set", "person", by.pk, facts), by_id=by.pk, at=at)
    return [kind for kind in KINDS if kind in wanted]
