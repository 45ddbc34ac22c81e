"""Records of usage that could not be posted: kept with the reason, sent again after repair, or given up with a reason."""

from collections.abc import Collection, Iterable
from datetime import datetime
from hashlib import blake2b
from typing import Final

from django.db import transaction
from django.db.models import F

from bursar.catalogue.models import Backend
from bursar.events.services import Happening, record
from bursar.kernel.quantity import TICKS_MAX
from bursar.plugins import wire
from bursar.plugins.contract import UsageRecord
from bursar.provisioning.errors import ReasonNeeded, RecordNotSetAside, TooManySetAside
from bursar.provisioning.models import Resource, SetAside
from bursar.provisioning.services._common import RESOURCE_RELATED, hold_ledgers_of
from bursar.structure.models import Person
from bursar.structure.roles import Permission, require

KEPT_MAX: Final = 10_000
"""Of one backend. Beyond it nothing more is taken, so that what is wrong stays where it is complete: at the site."""


@transaction.atomic
def keep(*, backend: Backend, trouble: Iterable[tuple[UsageRecord, str, str]], at: datetime) -> None:
    """Set records aside; one that was before gets the newer content and reason.

    raises   TooManySetAside
    """
    rows = {
        (component, record_id): SetAside(
            backend=backend,
            record_id=record_id,
            component=component,
            resource_id=record_.resource_id if 0 <= record_.resource_id <= TICKS_MAX else 0,
            record=wire.dump(record_),
            code=code[:60],
            why=why[:1000],
            first_at=at,
            last_at=at,
        )
        for record_, code, why in trouble
        for component, record_id in [_name(record_)]
    }
    if not rows:
        return
    Backend.objects.select_for_update(no_key=True).get(pk=backend.pk)
    fresh = len(rows) - _known(backend, rows)
    there = SetAside.objects.filter(backend=backend).count()
    if fresh and there + fresh > KEPT_MAX:
        raise TooManySetAside(backend=backend.name, count=there, limit=KEPT_MAX)
    SetAside.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["backend", "component", "record_id"],
        update_fields=["record", "resource_id", "code", "why", "last_at"],
        batch_size=1000,
    )
    if not there:
        _tell("usage.set_aside", backend, by=None, at=at, count=fresh)


def _known(backend: Backend, rows: Collection[tuple[str, str]]) -> int:
    names = {record_id for _, record_id in rows}
    found = SetAside.objects.filter(backend=backend, record_id__in=names).values_list("component", "record_id")
    return len(set(rows) & set(found))


def _name(told: UsageRecord) -> tuple[str, str]:
    """The component and the id under which a record is kept, for each record its own."""
    return _bounded(told.component, 80), _bounded(told.id, 200)


def _bounded(text: str, length_max: int) -> str:
    """The text, or its beginning and a digest of all of it."""
    if len(text) <= length_max:
        return text
    digest = blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return f"{text[: length_max - len(digest) - 1]}…{digest}"


@transaction.atomic
def send_again(
    *, backend: Backend, ids: Collection[int] | None = None, by: Person | None, at: datetime
) -> tuple[int, int]:
    """Try to post what was set aside (all, or these); answers how many stand now, and how many still cannot be.

    raises   NotAllowed; RecordNotSetAside when one of the ids is not there
    """
    from bursar.provisioning.services import usage

    require(by, Permission.REPORT_USAGE, backend.provider.organization, at)
    # Whoever posts anew holds the ledgers first, and then sets aside.
    hold_ledgers_of(backend)
    rows = SetAside.objects.select_for_update().filter(backend=backend).order_by("pk")
    if ids is not None:
        rows = rows.filter(pk__in=ids)
    kept = list(rows[:KEPT_MAX])
    if ids is not None and len(kept) != len(set(ids)):
        raise RecordNotSetAside
    records = [wire.load(UsageRecord, row.record) for row in kept]
    resources = list(
        Resource.objects.filter(pk__in={r.resource_id for r in records}, offering__backend=backend)
        .select_related(*RESOURCE_RELATED)
        .order_by("pk")
    )
    SetAside.objects.filter(pk__in=[row.pk for row in kept]).update(tries=F("tries") + 1)
    taken = usage.post_what_holds(backend=backend, records=records, resources=resources, at=at)
    bad = {_name(one.record) for one in (*taken.set_aside, *taken.later)}
    good = [row.pk for row, told in zip(kept, records, strict=True) if _name(told) not in bad]
    SetAside.objects.filter(pk__in=good).delete()
    _tell("usage.sent_again", backend, by=by, at=at, posted=len(good), still=len(bad))
    for resource_id in sorted(taken.resources):
        usage.ask_to_sync(resource_id)
    return len(good), len(kept) - len(good)


@transaction.atomic
def give_up(*, backend: Backend, ids: Collection[int], reason: str, by: Person | None, at: datetime) -> int:
    """Drop records that will never be right; who did it and why stands in the log, with the records.

    raises   NotAllowed; ReasonNeeded; RecordNotSetAside
    """
    require(by, Permission.WRITE_OFF, backend.provider.organization, at)
    if not reason.strip():
        raise ReasonNeeded
    rows = list(SetAside.objects.select_for_update().filter(backend=backend, pk__in=ids))
    if len(rows) != len(set(ids)):
        raise RecordNotSetAside
    for row in rows:
        _tell("usage.given_up", backend, by=by, at=at, record=row.record, why=row.why, reason=reason.strip()[:1000])
    SetAside.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)


def _tell(kind: str, backend: Backend, *, by: Person | None, at: datetime, **facts: object) -> None:
    record(
        Happening(
            kind=kind,
            subject_type="backend",
            subject_id=backend.pk,
            facts=facts,
            provider_id=backend.provider.organization_id,
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )
