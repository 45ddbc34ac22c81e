"""Two givers with quota for a year, and a person who may ask both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import ProductCategory
from bursar.grants import services
from bursar.grants.models import Application, Recipient
from bursar.grants.services import Amount, Line, Wish
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Role
from tests.factories.catalogue import make_category, make_level_category, make_provider
from tests.factories.ledger import make_allocation
from tests.factories.structure import (
    make_membership,
    make_organization,
    make_person,
    make_project,
    make_workspace,
)

HOUR = 3600
ANYONE = (Line("allow", "anyone"),)


@dataclass
class Grants:
    """`north` holds core-hours and storage, `south` core-hours of the same category; each with a reviewer."""

    at: datetime
    centre: Organization
    cpu: ProductCategory
    disk: ProductCategory
    north: Workspace
    south: Workspace
    north_owner: Person
    south_owner: Person
    reviewer: Person
    applicant: Person
    stranger: Person

    @property
    def personal(self) -> Workspace:
        return make_workspace(self.applicant)

    @property
    def end(self) -> datetime:
        return self.at + timedelta(days=300)

    def wallet(self, of: Workspace, category: ProductCategory | None = None) -> Wallet:
        return Wallet.objects.get(category=category or self.cpu, workspace=of)

    def wish(self, *amounts: tuple[Workspace, ProductCategory, int], **more: Any) -> Wish:
        lines = amounts or ((self.north, self.cpu, 100 * HOUR),)
        return Wish(
            **{
                "end": self.end,
                "amounts": tuple(Amount(giver.pk, category.pk, ticks) for giver, category, ticks in lines),
                **more,
            }
        )

    def apply(
        self,
        *amounts: tuple[Workspace, ProductCategory, int],
        workspace: Workspace | None = None,
        project_name: str = "",
        by: Person | None = None,
        at: datetime | None = None,
        **more: Any,
    ) -> Application:
        """A submitted application: for the applicant's own workspace, or for another one or a new project."""
        by, at = by or self.applicant, at or self.at
        recipient = Recipient.NEW_PROJECT if project_name else Recipient.PROJECT if workspace else Recipient.PERSONAL
        place = None if project_name else workspace or make_workspace(by)
        if project_name:
            more["project_name"] = project_name
            more.setdefault("organization", self.north.organization)
        row = services.draft_application(
            recipient=recipient, workspace=place, wish=self.wish(*amounts, **more), by=by, at=at
        )
        return services.submit_application(application_id=row.pk, by=by, at=at)

    def approve(self, row: Application, giver: Workspace, by: Person, **more: Any) -> Application:
        row.refresh_from_db()
        facts = {"revision": row.revision, "at": self.at, **more}
        return services.approve_part(application_id=row.pk, giver=giver, by=by, **facts)


def make_grants(at: datetime, *, overallocation: bool = True) -> Grants:
    centre = make_organization("Computing Centre", at=at - timedelta(days=400))
    provider = make_provider(centre)
    cpu = make_category(provider, title="CPU on Thor", allows_overallocation=overallocation)
    disk = make_level_category(provider, title="Storage on Thor", allows_overallocation=overallocation)
    owners = [make_person(f"{name}@uni.example", full_name=name.title()) for name in ("north", "south")]
    homes = [make_workspace(make_organization(f"University of {owner.full_name}", owner=owner)) for owner in owners]
    reviewer = make_person("reviewer@uni.example", full_name="Rita Reviewer")
    make_membership(person=reviewer, role=Role.GRANT_REVIEWER, scope=homes[0].organization)
    for home in homes:
        for category, ticks in ((cpu, 1_000_000 * HOUR), (disk, 1_000_000)):
            make_allocation(home, category, ticks, start=at - timedelta(days=1), end=at + timedelta(days=365), at=at)
        services.set_giver(workspace=home, is_open=True, lines=ANYONE, by=None, at=at)
    return Grants(
        at=at,
        centre=centre,
        cpu=cpu,
        disk=disk,
        north=homes[0],
        south=homes[1],
        north_owner=owners[0],
        south_owner=owners[1],
        reviewer=reviewer,
        applicant=make_person("ada@uni.example", full_name="Ada Applicant"),
        stranger=make_person("stranger@elsewhere.example", full_name="Sten Stranger"),
    )


def given_to(workspace: Workspace) -> dict[tuple[str, int], int]:
    """(title of the category, id of the giver's workspace or 0 for the provider) -> ticks of open allocations."""
    rows = Allocation.objects.filter(wallet__workspace=workspace, closed_at=None).values_list(
        "category__title", "source__workspace_id", "quota_ticks"
    )
    found: dict[tuple[str, int], int] = {}
    for title, source, ticks in rows:
        found[title, source or 0] = found.get((title, source or 0), 0) + ticks
    return found


def states_of(row: Application) -> tuple[str, dict[int, str]]:
    row.refresh_from_db()
    return row.state, dict(row.parts.exclude(state="left").values_list("giver_id", "state"))


def amounts_of(row: Application) -> Mapping[tuple[int, int], int]:
    """Of the present revision: (giver, category) -> ticks."""
    row.refresh_from_db()
    revision = row.revisions.get(number=row.revision)
    return {(a.giver_id, a.category_id): a.ticks for a in revision.amounts.all()}


def project_with(pi: Person, others: Iterable[tuple[Person, Role]] = (), **more: Any) -> Project:
    project = make_project(pi=pi, **more)
    for person, role in others:
        make_membership(person=person, role=role, scope=project)
    return project
