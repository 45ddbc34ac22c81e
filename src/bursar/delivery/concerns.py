"""Which provider has to look at what after something happened. Reads only; a few queries for any number of events."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from django.db.models import Q

from bursar.accounting.models import Wallet
from bursar.catalogue.models import ServiceProvider
from bursar.delivery.models import FeedEntry
from bursar.events.models import Event, Untold
from bursar.provisioning.lifecycle import ResourceState
from bursar.provisioning.models import LocalAccount, Order, Resource
from bursar.provisioning.wakes import resources_concerned, wallets_concerned

Subject = FeedEntry.Subject
LOOK_AT_ACCOUNT: Final = "account.look"
LOOK: Final = "resource.look"
"""In place of a kind: nothing happened to the resource itself, but to its wallet, its members or its share."""

Add = Callable[[int, Subject, int, Iterable[str]], None]


@dataclass
class Concern:
    """What a provider is to look at, and why."""

    provider_id: int
    subject_type: str
    subject_id: int
    kinds: set[str] = field(default_factory=set)


def concerns_of(untold: Iterable[Untold]) -> list[Concern]:
    """Each subject once per provider, in the order in which they were first touched."""
    untold = list(untold)
    events = list(Event.objects.filter(pk__in=[row.event_id for row in untold if row.event_id]).order_by("pk"))
    found: dict[tuple[int, str, int], Concern] = {}

    def add(provider_id: int, subject: Subject, subject_id: int, kinds: Iterable[str]) -> None:
        key = (provider_id, subject.value, subject_id)
        found.setdefault(key, Concern(*key)).kinds.update(kinds)

    _resources(events, untold, add)
    _orders(events, add)
    _wallets(events, add)
    _projects(events, add)
    _accounts(events, untold, add)
    return list(found.values())


def _kinds(events: Iterable[Event], subject_type: str) -> dict[int, set[str]]:
    kinds: dict[int, set[str]] = {}
    for event in events:
        if event.subject_type == subject_type:
            kinds.setdefault(event.subject_id, set()).add(event.kind)
    return kinds


def _resources(events: list[Event], untold: list[Untold], add: Add) -> None:
    kinds = _kinds(events, "resource")
    named = {row.subject_id for row in untold if row.subject_type == Subject.RESOURCE and row.subject_id is not None}
    concerned = resources_concerned(events)
    rows = Resource.objects.filter(pk__in={*kinds, *named, *concerned}).order_by("pk")
    for pk, provider_id in rows.values_list("pk", "offering__provider_id"):
        add(provider_id, Subject.RESOURCE, pk, kinds.get(pk, set()) | ({LOOK} if pk in named | concerned else set()))


def _orders(events: list[Event], add: Add) -> None:
    kinds = _kinds(events, "order")
    if kinds:
        for pk, provider_id in Order.objects.filter(pk__in=kinds).values_list("pk", "offering__provider_id"):
            add(provider_id, Subject.ORDER, pk, kinds[pk])


def _wallets(events: list[Event], add: Add) -> None:
    about = [event for event in events if event.subject_type in {"wallet", "allocation"}]
    wallets = wallets_concerned(about)
    if not wallets:
        return
    kinds = _kinds(about, "wallet")
    for pk, provider_id in Wallet.objects.filter(pk__in=wallets).values_list("pk", "category__provider_id"):
        add(provider_id, Subject.WALLET, pk, kinds.get(pk, {"wallet.changed"}))


def _projects(events: list[Event], add: Add) -> None:
    """A project's members and dates concern each provider at which it has a resource or a wallet."""
    kinds: dict[int, set[str]] = {}
    for event in events:
        if event.project_id is not None and event.kind.startswith(("membership.", "project.")):
            kinds.setdefault(event.project_id, set()).add(event.kind)
    if not kinds:
        return
    resources = Resource.objects.filter(workspace__project_id__in=kinds).exclude(state=ResourceState.TERMINATED)
    pairs = set(resources.values_list("workspace__project_id", "offering__provider_id"))
    wallets = Wallet.objects.filter(workspace__project_id__in=kinds)
    pairs |= set(wallets.values_list("workspace__project_id", "category__provider_id"))
    for project_id, provider_id in sorted(pairs):
        add(provider_id, Subject.PROJECT, project_id, kinds[project_id])


def _accounts(events: list[Event], untold: list[Untold], add: Add) -> None:
    """A local account itself, and the person behind it: a name, a key, whether they are still let in."""
    kinds: dict[tuple[int, int], set[str]] = {}
    named = {row.subject_id for row in untold if row.subject_type == Subject.ACCOUNT and row.subject_id is not None}
    for pk, provider_id in LocalAccount.objects.filter(pk__in=named).values_list("pk", "backend__provider_id"):
        add(provider_id, Subject.ACCOUNT, pk, {LOOK_AT_ACCOUNT})
    told = [event for event in events if event.kind.startswith("account.")]
    for event in told:
        if event.provider_id is not None:
            kinds.setdefault((event.provider_id, event.subject_id), set()).add(event.kind)
    people = {event.subject_id: event.kind for event in events if event.kind.startswith("person.")}
    people |= {event.actor_id: event.kind for event in events if event.kind.startswith("ssh_key.") and event.actor_id}
    if not kinds and not people:
        return
    organizations = {organization_id for organization_id, _ in kinds}
    providers = dict(
        ServiceProvider.objects.filter(organization_id__in=organizations).values_list("organization_id", "pk")
    )
    where = Q(person_id__in=people)
    if kinds:
        where |= Q(person_id__in={person for _, person in kinds}, backend__provider__in=providers.values())
    for pk, person_id, provider_id, organization_id in LocalAccount.objects.filter(where).values_list(
        "pk", "person_id", "backend__provider_id", "backend__provider__organization_id"
    ):
        reasons = set(kinds.get((organization_id, person_id), ()))
        if person_id in people:
            reasons.add(people[person_id])
        if reasons:
            add(provider_id, Subject.ACCOUNT, pk, reasons)
