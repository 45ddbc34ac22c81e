"""A provider's feed: what changed, numbered without gaps, and the whole state of what changed as it is when it is read.

Transactions write what happened without a number. Whoever reads, or is called because something was written, gives the
numbers after the commit, one at a time for all providers: numbers taken inside transactions would leave holes and come late.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q

from bursar.catalogue.models import ServiceProvider
from bursar.delivery.concerns import concerns_of
from bursar.delivery.errors import CursorUnknown
from bursar.delivery.models import FeedEntry, FeedHead
from bursar.delivery.states import READERS, State, ids_from, states_of
from bursar.events.models import Untold

CHANNEL: Final = "bursar_feed"
"""PostgreSQL's channel on which listeners are called; the payload is the provider's id."""

AT_ONCE: Final = 500
EVENTS_MAX: Final = 500
SNAPSHOT_MAX: Final = 500
_NUMBERING: Final = 71_011

KEPT: Final = timedelta(days=14)
"""For so long every entry is kept; of what is older, the latest of each subject, for ever."""


def number(*, at: datetime) -> int:
    """Give numbers to all that is waiting; answer how many were given."""
    given = 0
    while True:
        taken, entries = _number_some(at=at)
        given += entries
        if taken < AT_ONCE:
            return given


@transaction.atomic
def _number_some(*, at: datetime) -> tuple[int, int]:
    """How many were taken from the waiting, and how many entries they made."""
    if not Untold.objects.exists():
        return 0, 0
    with connection.cursor() as cursor:  # held to the commit: nobody else sees the same rows
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_NUMBERING])
    waiting = list(Untold.objects.order_by("pk")[:AT_ONCE])
    if not waiting:
        return 0, 0
    concerns: dict[int, list[FeedEntry]] = {}
    for one in concerns_of(waiting):
        entry = FeedEntry(
            provider_id=one.provider_id,
            subject_type=one.subject_type,
            subject_id=one.subject_id,
            kinds=sorted(one.kinds),
            at=at,
        )
        concerns.setdefault(one.provider_id, []).append(entry)
    for provider_id, entries in sorted(concerns.items()):
        FeedHead.objects.get_or_create(provider_id=provider_id)
        head = FeedHead.objects.select_for_update().get(provider_id=provider_id)
        for place, entry in enumerate(entries, head.last_number + 1):
            entry.number = place
        head.last_number += len(entries)
        head.save(update_fields=["last_number"])
    FeedEntry.objects.bulk_create([entry for entries in concerns.values() for entry in entries], batch_size=1000)
    Untold.objects.filter(pk__in=[row.pk for row in waiting]).delete()
    with connection.cursor() as cursor:
        for provider_id in concerns:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(provider_id)])
    return len(waiting), sum(map(len, concerns.values()))


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """An entry with the subject's state now; None: there is nothing of it (any more) that concerns the provider."""

    number: int
    at: datetime
    subject: str
    id: int
    kinds: list[str]
    state: State | None


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Events after a number. `last_number` is the last there is; `compacted_to`: up to there only the latest are kept."""

    events: list[FeedEvent]
    last_number: int
    compacted_to: int


def head_of(provider: ServiceProvider) -> FeedHead:
    """How far the feed is numbered; nothing is written for a provider to whom nothing happened yet."""
    return FeedHead.objects.filter(provider=provider).first() or FeedHead(provider=provider)


def events_after(provider: ServiceProvider, after: int, *, limit: int = 200, at: datetime) -> FeedPage:
    """What changed since, oldest first."""
    number(at=at)
    return pages({provider.pk: after}, limit=limit, at=at)[provider.pk]


def pages(after: Mapping[int, int], *, limit: int = 200, at: datetime) -> dict[int, FeedPage]:
    """Provider id -> what changed since its number, of what is numbered already; together as few statements as for one."""
    heads = {head.pk: head for head in FeedHead.objects.filter(pk__in=after)}
    behind = {pk: number for pk, number in after.items() if pk in heads and heads[pk].last_number > number}
    entries: dict[int, list[FeedEntry]] = {}
    if behind:
        where = Q(pk__in=[])
        for pk, number in behind.items():
            where |= Q(provider_id=pk, number__gt=number, number__lte=number + min(limit, EVENTS_MAX) * 4)
        for entry in FeedEntry.objects.filter(where).order_by("provider_id", "number"):
            entries.setdefault(entry.provider_id, []).append(entry)
        for pk, number in behind.items():  # what is compacted leaves wide gaps
            if len(entries.get(pk, ())) < limit and heads[pk].last_number > number + limit * 4:
                rest = FeedEntry.objects.filter(provider_id=pk, number__gt=number).order_by("number")
                entries[pk] = list(rest[: min(limit, EVENTS_MAX)])
    entries = {pk: rows[: min(limit, EVENTS_MAX)] for pk, rows in entries.items()}
    states = states_of(
        [(row.provider_id, row.subject_type, row.subject_id) for rows in entries.values() for row in rows], at=at
    )
    told = {}
    for pk in after:
        events = [
            FeedEvent(
                number=entry.number,
                at=entry.at,
                subject=entry.subject_type,
                id=entry.subject_id,
                kinds=entry.kinds,
                state=states.get((pk, entry.subject_type, entry.subject_id)),
            )
            for entry in entries.get(pk, ())
        ]
        head = heads.get(pk)
        told[pk] = FeedPage(events, head.last_number if head else 0, head.compacted_to if head else 0)
    return told


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A part of all that concerns a provider. Whoever read all parts goes on from the first part's `number`."""

    number: int
    subjects: list[FeedEvent]
    next: str | None


def snapshot(provider: ServiceProvider, cursor: str = "", *, limit: int = 200, at: datetime) -> Snapshot:
    """All that concerns the provider now, in parts.

    cursor   `next` of the part before; "" = the first
    raises   CursorUnknown
    """
    number(at=at)
    head = head_of(provider)  # read before the states: what changes meanwhile comes again by the feed
    kinds = list(READERS)
    kind, _, last = (cursor or f"{kinds[0]}:0").partition(":")
    if kind not in kinds or not last.isdecimal() or len(last) > 18:
        raise CursorUnknown(cursor=cursor[:40])
    limit = min(limit, SNAPSHOT_MAX)
    ids = ids_from(provider, kind, int(last), limit)
    states = states_of([(provider.pk, kind, pk) for pk in ids], at=at)
    named = [(pk, states.get((provider.pk, kind, pk))) for pk in ids]
    subjects = [FeedEvent(head.last_number, at, kind, pk, [], state) for pk, state in named if state is not None]
    if len(ids) == limit:
        following: str | None = f"{kind}:{ids[-1]}"
    else:
        place = kinds.index(kind) + 1
        following = f"{kinds[place]}:0" if place < len(kinds) else None
    return Snapshot(head.last_number, subjects, following)


@transaction.atomic
def compact(*, at: datetime, kept: timedelta = KEPT) -> int:
    """Remove old entries for whose subject there is a later one; answer how many."""
    old = FeedEntry.objects.filter(at__lt=at - kept)
    later = FeedEntry.objects.filter(
        provider=OuterRef("provider"),
        subject_type=OuterRef("subject_type"),
        subject_id=OuterRef("subject_id"),
        number__gt=OuterRef("number"),
    )
    for head in FeedHead.objects.select_for_update().order_by("pk"):
        last = old.filter(provider_id=head.provider_id).order_by("-number").values_list("number", flat=True).first()
        if last is not None and last > head.compacted_to:
            FeedHead.objects.filter(pk=head.pk).update(compacted_to=last)
    removed, _ = old.filter(Exists(later), number__lte=F("provider__feed__compacted_to")).delete()
    return removed
