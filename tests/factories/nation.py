"""A small tree with usage in it, for pages and API: provider -> university -> two projects, one of them used up."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bursar.accounting import services as accounting
from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import ProductCategory
from bursar.kernel import clock
from bursar.metering.reports import Report
from bursar.metering.services import post_reports
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import Role
from bursar.structure.selectors import workspace_of
from tests.factories.catalogue import make_category, make_provider
from tests.factories.structure import make_membership, make_organization, make_person, make_project


@dataclass(frozen=True)
class Nation:
    at: datetime
    centre: Organization
    university: Organization
    category: ProductCategory
    physics: Project
    chemistry: Project
    owner: Person
    investigator: Person
    member: Person
    seller: Person
    stranger: Person
    root: Allocation
    to_physics: Allocation
    to_chemistry: Allocation

    def wallet(self, scope: Organization | Project) -> Wallet:
        return Wallet.objects.get(category=self.category, workspace=workspace_of(scope))


def make_nation(at: datetime | None = None) -> Nation:
    """1,000 core-hours to the university; 600 to physics, 500 to chemistry (more than there is); physics used 600."""
    at = at or clock.now()
    long_ago = at - timedelta(days=400)
    centre = make_organization("National Computing Centre", at=long_ago)
    category = make_category(make_provider(centre, at=long_ago), title="CPU on Thor", at=long_ago)
    owner = make_person("owner@example.org", full_name="Mikkel Bruun")
    university = make_organization("University of Nordhavn", owner=owner, at=long_ago)
    investigator = make_person("pi@example.org", full_name="Anders Holm")
    physics = make_project(
        organization=university, pi=investigator, name="Lattice physics", start=long_ago, at=long_ago
    )
    chemistry = make_project(organization=university, name="Catalysis", start=long_ago, at=long_ago)
    member = make_person("member@example.org", full_name="Freja Lindqvist")
    make_membership(person=member, role=Role.PROJECT_MEMBER, scope=physics)
    seller = make_person("seller@example.org", full_name="Sunniva Dahl")
    make_membership(person=seller, role=Role.PROVIDER_MANAGER, scope=centre)
    start, end = at - timedelta(days=100), at + timedelta(days=20)

    def give(scope: Organization | Project, hours: int, source: Wallet | None, end: datetime) -> Allocation:
        return accounting.allocate(
            workspace=workspace_of(scope),
            category=category,
            source=source,
            quota_ticks=hours * 3600,
            start=start,
            end=end,
            by=None,
            at=at - timedelta(days=90),
        )

    root = give(university, 1000, None, at + timedelta(days=200))
    wallet = Wallet.objects.get(category=category, workspace=workspace_of(university))
    to_physics, to_chemistry = give(physics, 600, wallet, end), give(chemistry, 500, wallet, end)
    reports = [
        Report(
            report_id=f"physics-{day}",
            category_id=category.pk,
            workspace_id=workspace_of(physics).pk,
            amount_ticks=10 * 3600,
            period_start=at - timedelta(days=day, hours=1),
            period_end=at - timedelta(days=day),
            person_id=(investigator if day % 3 else member).pk,
            user="anders",
        )
        for day in range(1, 61)
    ]
    reports.append(
        Report(
            report_id="chemistry-1",
            category_id=category.pk,
            workspace_id=workspace_of(chemistry).pk,
            amount_ticks=5400,
            period_start=at - timedelta(days=2),
            period_end=at - timedelta(days=1),
        )
    )
    post_reports(reports=reports, by=None, at=at)
    for allocation in (root, to_physics, to_chemistry):
        allocation.refresh_from_db()
    return Nation(
        at=at,
        centre=centre,
        university=university,
        category=category,
        physics=physics,
        chemistry=chemistry,
        owner=owner,
        investigator=investigator,
        member=member,
        seller=seller,
        stranger=make_person("stranger@example.org", full_name="Nobody Inparticular"),
        root=root,
        to_physics=to_physics,
        to_chemistry=to_chemistry,
    )
