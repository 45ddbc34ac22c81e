"""Which events of those below concern resources: wallets that lock or get room, memberships, accounts, keys, projects."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import Q

from bursar.accounting.models import Allocation, Wallet
from bursar.events.models import Event
from bursar.kernel.clock import now
from bursar.provisioning.account_steps import note_changed_people
from bursar.provisioning.lifecycle import ResourceState
from bursar.provisioning.models import EventMark, Resource

READER: Final = "provisioning.sync"
EVENTS_AT_ONCE: Final = 5000
# A transaction takes its events' numbers before it commits: what is younger may still lack earlier numbers.
SETTLED_AFTER: Final = timedelta(seconds=3)

_WALLET_KINDS: Final = (
    "wallet.locked",
    "wallet.unlocked",
    "allocation.created",
    "allocation.changed",
    "allocation.revoked",
    "allocation.opened",
    "allocation.closed",
    "quota.transferred",
    "usage.written_off",
)
_MEMBER_KINDS: Final = ("membership.", "person.", "ssh_key.", "project.")


@transaction.atomic
def resources_to_sync() -> list[int]:
    """Resources that events since the mark concern; the mark moves with the caller's jobs.

    Events of slow transactions may be passed over: the comparison of everything each few minutes catches those.
    """
    mark, _ = EventMark.objects.select_for_update().get_or_create(reader=READER)
    settled = Event.objects.filter(pk__gt=mark.event_id, recorded_at__lt=now() - SETTLED_AFTER).order_by("pk")
    last = settled.values_list("pk", flat=True)[:EVENTS_AT_ONCE]
    last_id = max(last, default=None)
    if last_id is None:
        return []
    kinds = Q(kind__in=_WALLET_KINDS)
    for prefix in _MEMBER_KINDS:
        kinds |= Q(kind__startswith=prefix)
    events = list(settled.filter(kinds, pk__lte=last_id))
    changed = {event.subject_id for event in events if event.kind == "person.edited"}
    changed |= {event.actor_id for event in events if event.kind.startswith("ssh_key.") and event.actor_id is not None}
    if changed:
        note_changed_people(changed)
    EventMark.objects.filter(pk=READER).update(event_id=last_id)
    return sorted(resources_concerned(events))


def wallets_concerned(events: Iterable[Event]) -> set[int]:
    """Ids of the wallets whose quota, lock or time changed by these events. One query."""
    events = list(events)
    wallets = {event.subject_id for event in events if event.subject_type == "wallet"}
    allocations = {event.subject_id for event in events if event.subject_type == "allocation"}
    if allocations:
        wallets |= set(Allocation.objects.filter(pk__in=allocations).values_list("wallet_id", flat=True))
    return wallets


def resources_concerned(events: Iterable[Event]) -> set[int]:
    """Ids of the live resources whose quota or members these events may have changed. A few queries for any number."""
    events = [event for event in events if event.kind in _WALLET_KINDS or event.kind.startswith(_MEMBER_KINDS)]
    if not events:
        return set()
    where = Q(pk__in=())
    wallets = wallets_concerned(event for event in events if event.kind in _WALLET_KINDS)
    for workspace_id, category_id in Wallet.objects.filter(pk__in=wallets).values_list("workspace_id", "category_id"):
        where |= Q(workspace_id=workspace_id, offering__components__category_id=category_id)
    told = [event for event in events if event.kind.startswith(_MEMBER_KINDS)]
    projects = {event.project_id for event in told if event.project_id is not None}
    organizations = {
        event.organization_id
        for event in told
        if event.project_id is None and event.organization_id is not None and event.kind.startswith("membership.")
    }
    people = {event.subject_id for event in told if event.subject_type == "person"}
    people |= {event.actor_id for event in told if event.kind.startswith("ssh_key.") and event.actor_id is not None}
    if projects:
        where |= Q(workspace__project_id__in=projects)
    if organizations:
        where |= Q(workspace__organization_id__in=organizations)
    if people:
        where |= Q(workspace__person_id__in=people) | Q(workspace__project__memberships__person_id__in=people)
    live = Resource.objects.filter(where).exclude(state=ResourceState.TERMINATED)
    return set(live.values_list("pk", flat=True))
