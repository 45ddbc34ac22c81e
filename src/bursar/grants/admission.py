"""Who may ask whom, and for what: by the giver's lists, or because the recipient draws from the giver already."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.db.models import F, Max, Min, Q, QuerySet, Sum

from bursar.accounting.models import Allocation
from bursar.catalogue.models import ProductCategory
from bursar.grants.models import Criterion, GiverSettings
from bursar.structure.models import Membership, Person, Workspace

OWNERS = ("project__organization", "organization", "person")


@dataclass(frozen=True, slots=True)
class Asker:
    """What the criteria look at in a person. A mail address allows only when it was verified, and forbids in any case."""

    verified_domains: frozenset[str]
    domains: frozenset[str]
    logins: frozenset[str]
    organizations: frozenset[int]

    def fits(self, criterion: Criterion) -> bool:
        if criterion.kind == Criterion.Kind.ANYONE:
            return True
        if criterion.kind == Criterion.Kind.MAIL_DOMAIN:
            known = self.domains if criterion.side == Criterion.Side.NEVER else self.verified_domains
            return criterion.value.lower() in known
        if criterion.kind == Criterion.Kind.IDENTITY_PROVIDER:
            return criterion.value in self.logins
        return criterion.organization_id in self.organizations


def asker_of(person: Person, at: datetime) -> Asker:
    return askers_of([person], at)[person.pk]


def askers_of(people: Iterable[Person], at: datetime) -> dict[int, Asker]:
    """Each by their id; as many queries for many as for one."""
    by_id = {person.pk: person for person in people}
    verified: dict[int, set[str]] = {key: set() for key in by_id}
    domains = {key: {_domain(person.email)} for key, person in by_id.items()}
    logins: dict[int, set[str]] = {key: set() for key in by_id}
    organizations: dict[int, set[int]] = {key: set() for key in by_id}
    for key, email, is_verified in EmailAddress.objects.filter(user__in=by_id).values_list(
        "user_id", "email", "verified"
    ):
        domains[key].add(_domain(email))
        if is_verified:
            verified[key].add(_domain(email))
    for key, provider in SocialAccount.objects.filter(user__in=by_id).values_list("user_id", "provider"):
        logins[key].add(provider)
    held = Membership.objects.held_at(at).filter(person__in=by_id)
    for key, *places in held.values_list("person_id", "organization_id", "project__organization_id"):
        organizations[key] |= {place for place in places if place is not None}
    return {
        key: Asker(
            verified_domains=frozenset(verified[key]),
            domains=frozenset(domains[key]),
            logins=frozenset(logins[key]),
            organizations=frozenset(organizations[key]),
        )
        for key in by_id
    }


def _domain(email: str) -> str:
    return email.rpartition("@")[2].lower()


def is_allowed(asker: Asker, criteria: Iterable[Criterion]) -> bool:
    """Whether a line allows, and none forbids."""
    lines = list(criteria)
    return not is_forbidden(asker, lines) and any(
        asker.fits(line) for line in lines if line.side == Criterion.Side.ALLOW
    )


def is_forbidden(asker: Asker, criteria: Iterable[Criterion]) -> bool:
    return any(asker.fits(line) for line in criteria if line.side == Criterion.Side.NEVER)


# ------------------------------------------------------------------------------------------------ what there is to give
@dataclass(frozen=True, slots=True)
class Offer:
    """What a giver has of a category. `until` and `free_ticks` None: it is the provider, nothing bounds it.

    free_ticks   what it can promise now; the period that is asked for may leave less
    """

    category: ProductCategory
    start: datetime
    until: datetime | None
    free_ticks: int | None


@dataclass(frozen=True, slots=True)
class Giver:
    """A workspace that may be asked, with what it has to give.

    is_source   the recipient draws from it already, so it may be asked whatever its settings say
    """

    workspace: Workspace
    settings: GiverSettings | None
    is_source: bool
    offers: tuple[Offer, ...]

    @property
    def title(self) -> str:
        return str(self.workspace)


def _workspaces() -> QuerySet[Workspace]:
    return Workspace.objects.select_related(*OWNERS)


def sources_of(recipient: Workspace) -> set[int]:
    """The workspaces from which the recipient draws: those of its allocations' sources, or of the providers."""
    found = Allocation.objects.filter(wallet__workspace=recipient, closed_at=None, quota_ticks__gt=0).values_list(
        "source__workspace_id", "category__provider__organization__workspace__id"
    )
    return {provider if source is None else source for source, provider in found}


def givers_for(
    person: Person, recipient: Workspace | None, at: datetime, *, only: Collection[int] | None = None
) -> list[Giver]:
    """Those whom the person may ask on behalf of the recipient (None = a new project); as many queries for many as for one.

    only   ids of workspaces to look at
    """
    asker = asker_of(person, at)
    sources = set() if recipient is None else sources_of(recipient) - {recipient.pk}
    rows = GiverSettings.objects.select_related("logo", *(f"workspace__{owner}" for owner in OWNERS)).prefetch_related(
        "criteria"
    )
    rows = rows.filter(Q(is_open=True) | Q(workspace_id__in=sources))
    if only is not None:
        rows = rows.filter(workspace_id__in=only)
        sources &= set(only)
    if recipient is not None:
        rows = rows.exclude(workspace=recipient)
    known = {row.workspace_id: row for row in rows}
    chosen: dict[int, tuple[Workspace, GiverSettings | None]] = {}
    for key, row in known.items():
        lines = list(row.criteria.all())
        if not is_forbidden(asker, lines) and (key in sources or is_allowed(asker, lines)):
            chosen[key] = (row.workspace, row)
    for workspace in _workspaces().filter(pk__in=sources - known.keys()):
        chosen[workspace.pk] = (workspace, None)
    offers = offers_of([workspace for workspace, _row in chosen.values()], at)
    found = [
        Giver(workspace, row, workspace.pk in sources, tuple(offers.get(workspace.pk, ())))
        for workspace, row in chosen.values()
        if _is_alive(workspace, at) and offers.get(workspace.pk)
    ]
    return sorted(found, key=lambda giver: (giver.title.lower(), giver.workspace.pk))


def _is_alive(workspace: Workspace, at: datetime) -> bool:
    project, organization = workspace.project, workspace.organization
    if project is not None:
        ended = project.archived_at is not None or (project.end is not None and project.end <= at)
        return not ended and project.organization.archived_at is None
    return organization is not None and organization.archived_at is None


def offers_of(workspaces: Iterable[Workspace], at: datetime) -> dict[int, list[Offer]]:
    """What each of the workspaces has to give, by its id; four statements however many they are."""
    by_id = {workspace.pk: workspace for workspace in workspaces}
    homes = {w.organization_id: key for key, w in by_id.items() if w.organization_id is not None}
    categories = ProductCategory.objects.select_related("provider__organization").filter(
        archived_at=None, requires_allocation=True, provider__revoked_at=None
    )
    found: dict[int, dict[int, Offer]] = {key: {} for key in by_id}
    for category in categories.filter(provider__organization_id__in=homes):
        key = homes[category.provider.organization_id]
        found[key][category.pk] = Offer(category, at, None, None)
    running = Allocation.objects.filter(closed_at=None, end__gt=at)
    held = (
        running.filter(wallet__workspace_id__in=by_id, quota_ticks__gt=0)
        .values("wallet__workspace_id", "category_id")
        .annotate(first=Min("start"), last=Max("end"))
        .values_list("wallet__workspace_id", "category_id", "first", "last")
    )
    spans = {(key, category): (first, last) for key, category, first, last in held}
    now = running.filter(start__lte=at)
    left = _sums(now.filter(wallet__workspace_id__in=by_id), "wallet__workspace_id")
    given = _sums(now.filter(source__workspace_id__in=by_id), "source__workspace_id")
    passed_on = categories.filter(pk__in={category for _key, category in spans}, allows_suballocation=True)
    named = {category.pk: category for category in passed_on}
    for (key, category_id), (first, last) in spans.items():
        if category_id in named and category_id not in found[key]:
            free = max(0, left.get((key, category_id), 0) - given.get((key, category_id), 0))
            found[key][category_id] = Offer(named[category_id], max(first, at), last, free)
    return {
        key: sorted(offers.values(), key=lambda offer: (offer.category.title, offer.category.pk))
        for key, offers in found.items()
        if offers
    }


def _sums(rows: QuerySet[Allocation], by: str) -> Mapping[tuple[int, int], int]:
    sums = rows.values(by, "category_id").annotate(left=Sum(F("quota_ticks") - F("drawn_ticks")))
    return {(key, category): int(ticks) for key, category, ticks in sums.values_list(by, "category_id", "left")}


def may_be_asked(giver: Workspace, person: Person, recipient: Workspace | None, at: datetime) -> bool:
    """Whether the person may ask this giver on behalf of the recipient, whether or not it has anything to give."""
    if recipient is not None and giver.pk == recipient.pk:
        return False
    asker = asker_of(person, at)
    row = GiverSettings.objects.filter(workspace=giver).prefetch_related("criteria").first()
    lines = [] if row is None else list(row.criteria.all())
    if is_forbidden(asker, lines) or not _is_alive(giver, at):
        return False
    if recipient is not None and giver.pk in sources_of(recipient):
        return True
    return row is not None and row.is_open and is_allowed(asker, lines)
