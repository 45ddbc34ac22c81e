"""Loads the demo nation through the services, under stated times, in the order in which things happened.

Nothing is written past a service: what stands in the tables afterwards could have come from people and providers.
"""

import os
import random
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from django.db import connection

from bursar.accounting import services as accounting
from bursar.catalogue import registry
from bursar.catalogue import services as catalogue
from bursar.catalogue.models import Offering, Plan, ProductCategory
from bursar.config.demo import invoicing, world
from bursar.config.demo.made import World
from bursar.engine.apportion import allot
from bursar.kernel import clock
from bursar.metering.services import Report, post_reports
from bursar.plugins.contract import BackendUnreachable
from bursar.plugins.manual.plugin import confirm
from bursar.provisioning.desired import desired_of
from bursar.provisioning.lifecycle import OrderState
from bursar.provisioning.models import Order, Resource, Side
from bursar.provisioning.quota import scope_of_usage
from bursar.provisioning.services import orders, outcome
from bursar.structure import services as structure
from bursar.structure.models import Person
from bursar.structure.roles import Role

Say = Callable[[str], None]
Prices = str | tuple[str, *tuple[tuple[str, str], ...]]
"""The price of a unit; with (from quantity, price) where use beyond a quantity of the month costs something else."""
PASSWORD: Final = "bursar demo password"  # noqa: S105 - of people who exist nowhere; the demo answers on loopback only

# How much of what it was given a project has used by today, in thousandths.
FLAVOR_CORES: Final = {"sim.small": 1, "sim.medium": 2, "sim.large": 4}
USED_BY_TODAY: Final = {"busy": 720, "growing": 480, "bursty": 560, "quiet": 90, "steady": 610, "exhausting": 1004}


@dataclass
class Metered:
    """A resource whose history is told: `total` ticks between two instants, in the rhythm of its project."""

    resource_id: int
    scope: str
    category: ProductCategory
    workspace_id: int
    people: Sequence[Person]
    start: datetime
    end: datetime
    total: int
    rhythm: str
    job: str


def load(*, say: Say) -> None:
    """Fill an empty database with the demo nation; its history ends at the present hour.

    The simulator must run at BURSAR_SIMULATOR_URL with BURSAR_SIMULATOR_TOKEN: what was sold of it is made real there.
    """
    today = clock.now().replace(minute=0, second=0, microsecond=0)
    made = World(today=today)
    steps: list[tuple[str, Callable[[World], None]]] = [
        ("People and organizations", _structure),
        ("Catalogue", _catalogue),
        ("Sellers, buyers and tax rates", invoicing.set_up),
        ("Projects", _projects),
        ("A year of allocations, orders, usage and invoices", _history),
        ("Today", _present),
        ("This month's invoices, and budgets", _spending),
        ("The simulator's share", _make_real),
    ]
    for title, step in steps:
        say(f"    {title}")
        step(made)
    with connection.cursor() as cursor:
        # The mails and errands of a year ago are nobody's business today.
        cursor.execute("DELETE FROM procrastinate_jobs WHERE status = 'todo'")


# ---------------------------------------------------------------------------------------------------------- structure


def _structure(made: World) -> None:
    at = made.ago(world.DAYS + 10)
    for data in world.people():
        made.people[data.key] = structure.register_person(
            email=data.email, full_name=data.full_name, password=None, verified=True, by=None, at=at
        )
    structure.give_membership(
        person=made.people["operator"], role=Role.PLATFORM_OPERATOR, scope=None, until=None, by=None, at=at
    )
    operator = made.people["operator"]
    for organization in world.ORGANIZATIONS:
        made.organizations[organization.key] = structure.create_organization(
            name=organization.name,
            slug=organization.slug,
            country=organization.country,
            vat_number=organization.vat_number,
            currency="EUR",
            time_zone=organization.time_zone,
            url=organization.url,
            by=operator,
            at=at,
        )

    def give(key: str, role: Role, organization: str) -> None:
        structure.give_membership(
            person=made.people[key], role=role, scope=made.organizations[organization], until=None, by=None, at=at
        )

    give("allocator", Role.ORGANIZATION_OWNER, "nordhavn")
    give("approver", Role.ORGANIZATION_MANAGER, "vestby")
    give("provider", Role.PROVIDER_MANAGER, "ncc")
    homes: dict[str, list[str]] = {}
    for data in world.people()[len(world.CARDS) :]:
        homes.setdefault(data.organization, []).append(data.key)
    give(homes["vestby"][-1], Role.ORGANIZATION_OWNER, "vestby")
    give(homes["alder"][-1], Role.ORGANIZATION_OWNER, "alder")
    give(homes["alder"][-2], Role.ORGANIZATION_MANAGER, "alder")
    give(homes["nordhavn"][-1], Role.BILLING_VIEWER, "nordhavn")
    give(homes["nordhavn"][-2], Role.ORGANIZATION_OWNER, "ncc")
    give(homes["vestby"][-2], Role.ORGANIZATION_OWNER, "sky")
    give(homes["vestby"][-3], Role.OFFERING_MANAGER, "sky")


# ---------------------------------------------------------------------------------------------------------- catalogue

SHELVES: Final = (
    ("compute", "Computing", "cpu", ""),
    ("clusters", "Clusters", "server-2", "compute"),
    ("machines", "Virtual machines", "device-desktop", "compute"),
    ("storage", "Storage", "database", ""),
    ("software", "Software licences", "license", ""),
    ("network", "Network", "network", ""),
)


def _catalogue(made: World) -> None:
    at = made.ago(world.DAYS + 5)
    operator = made.people["operator"]
    for key in world.PROVIDERS:
        made.providers[key] = catalogue.authorize_provider(organization=made.organizations[key], by=operator, at=at)
    catalogue.edit_provider(
        provider=made.providers["ncc"],
        description="The national centre runs the cluster Thor, the file system Mimer and the national licences.",
        contact_email="help@ncc.example",
        by=None,
        at=at,
    )
    catalogue.edit_provider(
        provider=made.providers["sky"],
        description="Skygarden is the universities' own cloud.",
        contact_email="help@skygarden.example",
        by=None,
        at=at,
    )
    for data in world.CATEGORIES:
        made.categories[data.key] = catalogue.create_category(
            provider=made.providers[data.provider],
            name=data.key,
            title=data.title,
            product_type=data.product_type,
            charging=data.charging,
            unit_name=data.unit_name,
            ticks_per_unit=data.ticks_per_unit,
            description=data.description,
            requires_allocation=data.requires_allocation,
            allows_overallocation=data.allows_overallocation,
            by=None,
            at=at,
        )
    for slug, title, icon, parent in SHELVES:
        made.shelves[slug] = catalogue.create_shelf(
            title=title, slug=slug, icon=icon, parent=made.shelves.get(parent), by=operator, at=at
        )
    for name, title, specs, units in (
        ("thor-standard", "Standard node: 64 cores, 256 GiB", {"cores": 64, "memory_gib": 256}, 64),
        ("thor-large", "Large-memory node: 64 cores, 2 TiB", {"cores": 64, "memory_gib": 2048}, 64),
    ):
        catalogue.create_product(
            category=made.categories["thor-cpu"],
            name=name,
            title=title,
            specs=specs,
            ticks_per_charge=units * 3600,
            by=None,
            at=at,
        )
    _backends(made, at)
    _offerings(made, at)


def _backends(made: World, at: datetime) -> None:
    simulator = {"url": os.environ["BURSAR_SIMULATOR_URL"], "token": os.environ["BURSAR_SIMULATOR_TOKEN"]}
    by_hand = {"contact": "Operations desk", "instructions": "Tell the customer when it stands."}
    for key, provider, name, plugin, values in (
        ("thor", "ncc", "Thor (simulated cluster)", "simulator", {**simulator, "sells": "hpc"}),
        ("desk", "ncc", "Operations desk", "manual", by_hand),
        ("sky", "sky", "Skygarden (simulated cloud)", "simulator", {**simulator, "sells": "vm"}),
        ("garden", "sky", "Network desk", "manual", {"contact": "Network desk", "instructions": ""}),
    ):
        backend = catalogue.create_backend(
            provider=made.providers[provider], name=name, plugin=plugin, values=values, by=None, at=at
        )
        made.backends[key] = catalogue.check_backend(backend=backend, by=None, at=at)


THOR_ACCESS: Final = """Log in with your local account **{username}**:

    ssh {username}@thor.ncc.example

Your account on the cluster is `{backend_id}`; name it with each job: `sbatch -A {backend_id} job.sh`.
"""


def _offerings(made: World, at: datetime) -> None:
    cpu = {
        "key": "cpu", "title": "CPU time", "unit_name": "core-hours", "billing": "usage",
        "category": "thor-cpu", "ticks_per_unit": 3600, "measured_unit": "core-seconds",
    }  # fmt: skip
    scratch = {
        "key": "storage", "title": "Storage", "unit_name": "GB", "billing": "limit", "category": "mimer-storage",
        "limit_min": 10, "limit_max": 50_000, "limit_default": 500,
    }  # fmt: skip
    _offer(
        made, at, key="thor", provider="ncc", shelf="clusters", backend="thor", name="Thor: shared cluster",
        summary="A share of the national cluster: 40,000 cores, fast network, jobs through a queue.",
        description="## What you get\n\nAn account on **Thor** and space on the file system *Mimer*.\n\n"
        "- jobs of up to 1,024 cores\n- up to seven days a job\n- help by mail on workdays\n\n"
        "Computing time is taken from your project's wallet while jobs run.",
        terms="Use it for research. Do not share your account. Say thank you in your publications.",
        access=THOR_ACCESS, components=[cpu, scratch],
        plans=[
            # Whoever computes much in a month pays less for what is beyond.
            (
                "Research",
                "For publicly funded research.",
                {"cpu": ("0.0120", ("20000", "0.0100"), ("50000", "0.0085")), "storage": "0.0040"},
            ),
            ("Industry", "For everybody else.", {"cpu": "0.0450", "storage": "0.0100"}),
        ],
    )  # fmt: skip
    _offer(
        made, at, key="gpu", provider="ncc", shelf="clusters", backend="desk", name="Thor: accelerators",
        summary="Four accelerators a node, set up by our staff within two days.",
        description="For learning and for codes that have been ported. Tell us which software you need.",
        components=[{
            "key": "gpu", "title": "Accelerator time", "unit_name": "GPU-hours", "billing": "usage",
            "category": "thor-gpu", "ticks_per_unit": 3600, "measured_unit": "GPU-seconds",
        }],
        plans=[("Research", "For publicly funded research.", {"gpu": "0.6000"})],
        form={"type": "object", "required": ["software"], "properties": {
            "software": {"type": "string", "title": "Software you will run", "maxLength": 200},
            "node_type": {"type": "string", "title": "Node type", "enum": ["A: 40 GB", "B: 80 GB"], "default": "A: 40 GB"},
        }},
    )  # fmt: skip
    _offer(
        made, at, key="mimer", provider="ncc", shelf="storage", backend="desk", name="Mimer: project storage",
        summary="Space for data that outlives jobs, backed up every night.",
        description="Reachable from Thor and, by SFTP, from everywhere.",
        components=[{
            "key": "space", "title": "Space", "unit_name": "GB", "billing": "limit", "category": "mimer-storage",
            "limit_min": 100, "limit_max": 200_000, "limit_default": 1000,
        }],
        plans=[("Standard", "", {"space": "0.0040"})],
    )  # fmt: skip
    _offer(
        made, at, key="matrixlab", provider="ncc", shelf="software", backend="desk", name="MatrixLab seats",
        summary="Seats of the national licence for MatrixLab.",
        description="One seat for each person who uses it.",
        components=[{
            "key": "seats", "title": "Seats", "unit_name": "seats", "billing": "limit", "category": "matrixlab",
            "limit_min": 1, "limit_max": 100, "limit_default": 5,
        }],
        plans=[("Academic", "", {"seats": "4.5000"})],
    )  # fmt: skip
    _offer(
        made, at, key="vm", provider="sky", shelf="machines", backend="sky", name="Skygarden virtual machine",
        summary="Your own machine in seconds, with the key you choose.",
        description="Linux, 1 to 8 cores. It counts while it exists, whether or not it works.",
        terms="Keep it up to date. We stop machines that attack others.",
        components=None,
        plans=[("Standard", "", {"vm": "0.0200"})],
        draws={"vm": "sky-vm"},
    )  # fmt: skip
    _offer(
        made, at, key="ip", provider="sky", shelf="network", backend="garden", name="Public network address",
        summary="An IPv4 address that the whole world can reach.",
        description="Addresses are few. Give them back when you no longer need them.",
        components=[{
            "key": "addresses", "title": "Addresses", "unit_name": "addresses", "billing": "limit", "category": "sky-ip",
            "limit_min": 1, "limit_max": 8, "limit_default": 1,
        }],
        plans=[("Standard", "", {"addresses": "1.5000"})],
    )  # fmt: skip
    _offer(
        made, at, key="link", provider="sky", shelf="network", backend="garden", name="Public link",
        summary="A web address below skygarden.example for your machine.",
        description="Free of charge.",
        components=[{
            "key": "links", "title": "Links", "unit_name": "links", "billing": "limit", "category": "sky-link",
            "limit_min": 1, "limit_max": 5, "limit_default": 1,
        }],
        plans=[("Free", "", {})],
    )  # fmt: skip
    _offer(
        made, at, key="saferoom", provider="ncc", shelf="machines", backend="desk", name="Safe room for register data",
        summary="A closed environment for data that must not leave; for Vestby University only.",
        description="No network, two-factor login, everything is logged.",
        components=[{
            "key": "space", "title": "Space", "unit_name": "GB", "billing": "limit", "category": "mimer-storage",
            "limit_min": 10, "limit_max": 5000, "limit_default": 100,
        }],
        plans=[("Standard", "", {"space": "0.0200"})],
        organizations=["vestby"],
    )  # fmt: skip
    old = _offer(
        made, at, key="odin", provider="ncc", shelf="clusters", backend="desk", name="Odin (the former cluster)",
        summary="Switched off; kept here for the record.", description="Odin served from 2019 on.",
        components=[cpu], plans=[("Research", "", {"cpu": "0.0200"})],
    )  # fmt: skip
    catalogue.pause_offering(offering=old, reason="Odin is being switched off.", by=None, at=made.ago(330))
    old.refresh_from_db()
    catalogue.archive_offering(offering=old, by=None, at=made.ago(300))
    catalogue.create_offering(
        provider=made.providers["ncc"],
        name="Thor: large memory (being prepared)",
        summary="Nodes with 2 TiB of memory.",
        shelf=made.shelves["clusters"],
        by=made.people["provider"],
        at=made.ago(6),
    )


def _offer(
    made: World,
    at: datetime,
    *,
    key: str,
    provider: str,
    shelf: str,
    backend: str,
    name: str,
    summary: str,
    description: str,
    components: Sequence[dict[str, Any]] | None,
    plans: Sequence[tuple[str, str, Mapping[str, Prices]]],
    terms: str = "",
    access: str = "",
    form: dict[str, Any] | None = None,
    draws: dict[str, str] | None = None,
    organizations: Iterable[str] = (),
) -> Offering:
    offering = catalogue.create_offering(
        provider=made.providers[provider],
        name=name,
        slug=key,
        summary=summary,
        description=description,
        shelf=made.shelves[shelf],
        backend=made.backends[backend],
        by=None,
        at=at,
    )
    if components is not None:
        for proposed in offering.components.all():
            catalogue.remove_component(component=proposed, by=None, at=at)
        for data in components:
            category = made.categories[data["category"]]
            catalogue.add_component(offering=offering, by=None, at=at, **{**data, "category": category})
    for component in offering.components.all():
        if component.key in (draws or {}):
            assert draws is not None
            category = made.categories[draws[component.key]]
            catalogue.edit_component(
                component=component, category=category, ticks_per_unit=category.ticks_per_unit, by=None, at=at
            )
    if form is not None:
        catalogue.set_order_form(offering=offering, schema=form, by=None, at=at)
    by_key = {component.key: component for component in offering.components.all()}
    for plan_name, plan_description, prices in plans:
        plan = catalogue.add_plan(offering=offering, name=plan_name, description=plan_description, by=None, at=at)
        for component_key, stated in prices.items():
            price, *steps = (stated,) if isinstance(stated, str) else stated
            catalogue.set_price(
                plan=plan,
                component=by_key[component_key],
                price=Decimal(price),
                tier_kind="graduated" if steps else "",
                tiers=[(Decimal(quantity), Decimal(beyond)) for quantity, beyond in steps],
                by=None,
                at=at,
                valid_from=at,
            )
    catalogue.edit_offering(offering=offering, terms_of_use=terms, access_instructions=access, by=None, at=at)
    chosen = [made.organizations[o] for o in organizations]
    catalogue.set_visibility(
        offering=offering,
        visibility="organizations" if chosen else "everyone",
        organizations=chosen,
        projects=[],
        by=None,
        at=at,
    )
    made.offerings[key] = catalogue.activate_offering(offering=offering, by=None, at=at)
    return made.offerings[key]


# ----------------------------------------------------------------------------------------------------------- projects


def _projects(made: World) -> None:
    everybody = world.people()
    for data in sorted(world.PROJECTS, key=lambda p: -p.started_days_ago):
        at = made.ago(data.started_days_ago)
        project = structure.create_project(
            organization=made.organizations[data.organization],
            name=data.name,
            slug=data.slug,
            principal_investigator=made.people[data.pi],
            start=at,
            end=made.ago(-400) if data.key == "course" else None,
            parent=made.projects.get(data.parent),
            description=data.description,
            field_of_science=data.field_of_science,
            by=None,
            at=at,
        )
        made.projects[data.key] = project
        for number, member in enumerate(world.members_of(data, everybody)):
            role = Role.PROJECT_MANAGER if number == 0 and member.key != "researcher" else Role.PROJECT_MEMBER
            structure.give_membership(
                person=made.people[member.key],
                role=role,
                scope=project,
                until=made.ago(-20) if number == 3 else None,
                by=made.people[data.pi],
                at=at + timedelta(days=1),
            )
    for data in world.PROJECTS:
        if data.ended_days_ago is not None:
            at = made.ago(data.ended_days_ago)
            structure.end_project(project=made.projects[data.key], end=at, by=None, at=at)


# -------------------------------------------------------------------------------------------------------- allocations

# (university, category, units): what the providers gave, from a year ago until 90 days from now.
ROOTS: Final = (
    ("nordhavn", "thor-cpu", 4_000_000),
    ("alder", "thor-cpu", 3_000_000),
    ("vestby", "thor-cpu", 1_500_000),
    ("nordhavn", "mimer-storage", 120_000),
    ("alder", "mimer-storage", 80_000),
    ("vestby", "mimer-storage", 90_000),
    ("nordhavn", "thor-gpu", 20_000),
    ("alder", "thor-gpu", 30_000),
    ("nordhavn", "matrixlab", 60),
    ("vestby", "matrixlab", 40),
    ("alder", "matrixlab", 50),
    ("nordhavn", "sky-vm", 200_000),
    ("alder", "sky-vm", 150_000),
    ("vestby", "sky-vm", 100_000),
    ("nordhavn", "sky-ip", 16),
    ("alder", "sky-ip", 16),
    ("vestby", "sky-ip", 12),
)

# (project, category, units, from days ago, until days ahead). Vestby promised more than it has: 1.9 of 1.5 million.
SHARES: Final = (
    ("ice", "thor-cpu", 900_000, 355, 90),
    ("ice-melt", "thor-cpu", 150_000, 248, 90),
    ("ice-core", "thor-cpu", 60_000, 198, 90),
    ("protein", "thor-cpu", 420_000, 350, 60),
    ("genome", "thor-cpu", 300_000, 338, 60),
    ("lexicon", "thor-cpu", 40_000, 295, 45),
    ("climate", "thor-cpu", 1_300_000, 355, 90),
    ("climate-sea", "thor-cpu", 200_000, 138, 60),
    ("course", "thor-cpu", 20_000, 78, 30),
    ("reactor", "thor-cpu", 1_200_000, 360, 90),
    ("reactor-ml", "thor-cpu", 100_000, 218, 60),
    ("bridge", "thor-cpu", 400_000, 328, 21),
    ("battery", "thor-cpu", 500_000, 345, 90),
    ("battery-lab", "thor-cpu", 80_000, 148, 60),
    ("chip", "thor-cpu", 150_000, 275, 60),
    ("robot", "thor-cpu", 90_000, 178, 60),
    ("quantum", "thor-cpu", 240_000, 238, 60),
    ("epidemic", "thor-cpu", 600_000, 343, 60),
    ("brain", "thor-cpu", 450_000, 318, 60),
    ("brain-sleep", "thor-cpu", 50_000, 168, 60),
    ("fish", "thor-cpu", 250_000, 308, 60),
    ("archive", "thor-cpu", 200_000, 258, 60),
    ("math", "thor-cpu", 150_000, 228, 60),
    ("old-survey", "thor-cpu", 250_000, 362, -40),
    ("old-survey", "mimer-storage", 500, 362, -40),
    ("ice", "mimer-storage", 20_000, 355, 90),
    ("climate", "mimer-storage", 40_000, 355, 90),
    ("genome", "mimer-storage", 15_000, 338, 60),
    ("protein", "mimer-storage", 8_000, 350, 60),
    ("lexicon", "mimer-storage", 2_000, 295, 45),
    ("course", "mimer-storage", 1_000, 78, 30),
    ("ice-melt", "mimer-storage", 4_000, 248, 90),
    ("climate-sea", "mimer-storage", 4_000, 138, 60),
    ("reactor", "mimer-storage", 30_000, 360, 90),
    ("bridge", "mimer-storage", 10_000, 328, 21),
    ("battery", "mimer-storage", 10_000, 345, 90),
    ("chip", "mimer-storage", 5_000, 275, 60),
    ("robot", "mimer-storage", 5_000, 178, 60),
    ("epidemic", "mimer-storage", 10_000, 343, 60),
    ("brain", "mimer-storage", 40_000, 318, 60),
    ("fish", "mimer-storage", 10_000, 308, 60),
    ("archive", "mimer-storage", 10_000, 258, 60),
    ("poverty", "mimer-storage", 2_000, 285, 60),
    ("reactor", "thor-gpu", 15_000, 220, 90),
    ("ice", "thor-gpu", 8_000, 202, 90),
    ("reactor-ml", "thor-gpu", 9_000, 218, 60),
    ("quantum", "thor-gpu", 12_000, 238, 60),
    ("ice-melt", "thor-gpu", 6_000, 200, 60),
    ("protein", "matrixlab", 10, 350, 60),
    ("bridge", "matrixlab", 20, 328, 21),
    ("brain", "matrixlab", 15, 318, 60),
    ("lexicon", "sky-vm", 30_000, 295, 45),
    ("ice", "sky-vm", 40_000, 300, 90),
    ("fish", "sky-vm", 30_000, 308, 60),
    ("chip", "sky-vm", 40_000, 275, 60),
    ("poverty", "sky-vm", 20_000, 285, 60),
    ("lexicon", "sky-ip", 2, 295, 45),
    ("fish", "sky-ip", 2, 308, 60),
    ("chip", "sky-ip", 4, 275, 60),
)


def _history(made: World) -> None:
    _allocations(made)
    _orders(made)
    invoicing.plan_year(made)
    for weeks in range(world.DAYS // 7, -1, -1):
        made.then(made.ago(7 * weeks), partial(_post_what_is_known, made, made.ago(7 * weeks)))
    for _, _, happening in sorted(made.timeline, key=lambda entry: entry[:2]):
        happening()


def _allocations(made: World) -> None:
    at = made.ago(world.DAYS)
    for university, category, units in ROOTS:
        accounting.allocate(
            workspace=made.workspace(university),
            category=made.categories[category],
            source=None,
            quota_ticks=made.ticks(category, units),
            start=at,
            end=made.ago(-90),
            note="National share of the year",
            by=None,
            at=at,
        )
    for project, category, units, since, until in SHARES:
        made.then(made.ago(since), partial(_give, made, project, category, units, made.ago(since), made.ago(-until)))


def _give(made: World, project: str, category: str, units: int, at: datetime, end: datetime) -> None:
    """From the wallet of the project above, or of the university."""
    data = next(p for p in world.PROJECTS if p.key == project)
    above = made.workspace(data.parent or data.organization)
    accounting.allocate(
        workspace=made.workspace(project),
        category=made.categories[category],
        source=accounting.wallet_for(workspace_id=above.pk, category_id=made.categories[category].pk, at=at),
        quota_ticks=made.ticks(category, units),
        start=at,
        end=end,
        by=None,
        at=at,
    )


# ------------------------------------------------------------------------------------------------- orders and resources

# (project, offering, plan, name, limits, form, ordered days ago, category of its usage, part of the allocation it uses)
Bought = tuple[str, str, str, str, dict[str, int], dict[str, Any], int, str]
STARS: Final[Bought] = ("old-survey", "thor", "Research", "stars-thor", {"storage": 10}, {}, 360, "thor-cpu")
BOUGHT: Final[tuple[Bought, ...]] = (
    *(
        (project, "thor", "Research", f"{project}-thor", {"storage": gigabytes}, {}, since - 2, "thor-cpu")
        for project, gigabytes, since in (
            ("ice", 4_000, 355), ("ice-melt", 1_000, 248), ("protein", 2_000, 350), ("genome", 5_000, 338),
            ("lexicon", 200, 295), ("climate", 12_000, 355), ("climate-sea", 1_500, 138), ("course", 300, 78),
            ("reactor", 9_000, 360), ("bridge", 3_000, 328), ("battery", 2_000, 345), ("chip", 500, 275),
            ("robot", 800, 178), ("epidemic", 2_500, 343), ("brain", 14_000, 318), ("fish", 1_200, 308),
            ("archive", 2_600, 258),
        )
    ),
    ("reactor-ml", "gpu", "Research", "reactor-ml-gpu", {}, {"software": "PyTorch"}, 214, "thor-gpu"),
    ("quantum", "gpu", "Research", "quantum-gpu", {}, {"software": "tensor networks"}, 230, "thor-gpu"),
    ("ice-melt", "gpu", "Research", "ponds-gpu", {}, {"software": "segmentation"}, 190, "thor-gpu"),
    ("climate", "mimer", "Standard", "climate-archive", {"space": 20_000}, {}, 300, ""),
    ("brain", "mimer", "Standard", "scans", {"space": 20_000}, {}, 290, ""),
    ("protein", "matrixlab", "Academic", "protein-seats", {"seats": 8}, {}, 300, ""),
    ("bridge", "matrixlab", "Academic", "bridge-seats", {"seats": 12}, {}, 310, ""),
    ("poverty", "saferoom", "Standard", "registers", {"space": 400}, {}, 270, ""),
    ("lexicon", "vm", "Standard", "dialects-web", {}, {"name": "dialects-web", "flavor": "sim.medium"}, 290, "sky-vm"),
    ("ice", "vm", "Standard", "ice-viewer", {}, {"name": "ice-viewer", "flavor": "sim.large"}, 260, "sky-vm"),
    ("fish", "vm", "Standard", "fish-map", {}, {"name": "fish-map", "flavor": "sim.small"}, 300, "sky-vm"),
    ("chip", "vm", "Standard", "proof-server", {}, {"name": "proof-server", "flavor": "sim.large"}, 270, "sky-vm"),
    ("lexicon", "ip", "Standard", "dialects-address", {"addresses": 1}, {}, 288, ""),
    ("chip", "ip", "Standard", "proof-address", {"addresses": 2}, {}, 260, ""),
    ("fish", "link", "Free", "fish-link", {"links": 1}, {}, 298, ""),
)  # fmt: skip


def _orders(made: World) -> None:
    for bought in (*BOUGHT, STARS):
        at = made.ago(bought[6])
        made.then(at, partial(_buy, made, bought, at))


def _buy(made: World, bought: Bought, at: datetime) -> None:
    project, offering, plan, name, limits, form, _, category = bought
    order = _order(made, project, offering, plan, name, limits, form, at=at)
    resource = _done(made, order, at=at + timedelta(hours=3))
    if category:
        _meter(made, project, resource, category, since=at + timedelta(hours=4))


def _order(
    made: World,
    project: str,
    offering: str,
    plan: str,
    name: str,
    limits: dict[str, int],
    form: dict[str, Any],
    *,
    at: datetime,
    by: str = "",
    start: datetime | None = None,
    comment: str = "",
) -> Order:
    """Placed by the principal investigator (or `by`), and approved by whoever is asked unless `by` is stated."""
    data = next(p for p in world.PROJECTS if p.key == project)
    orderer = made.people[by or data.pi]
    order = orders.submit_order(
        workspace=made.workspace(project),
        offering=made.offerings[offering],
        plan_id=Plan.objects.get(offering=made.offerings[offering], name=plan).pk,
        limits=limits,
        form=form,
        name=name,
        start=start,
        comment=comment,
        terms_accepted=True,
        by=orderer,
        at=at,
    )
    return order if by else _approve(made, order, at=at + timedelta(hours=1))


def _approve(made: World, order: Order, *, at: datetime, provider: bool = True) -> Order:
    while order.state in {OrderState.PENDING_CONSUMER, OrderState.PENDING_PROVIDER}:
        side = Side.CONSUMER if order.state == OrderState.PENDING_CONSUMER else Side.PROVIDER
        if side == Side.PROVIDER and not provider:
            break
        order = orders.approve_order(order_id=order.pk, side=side, by=made.people["operator"], at=at)
    return order


def _done(made: World, order: Order, *, at: datetime) -> Resource:
    """The backend made it: for history, what its answer was is told as it would have come."""
    order.refresh_from_db()
    assert order.resource_id is not None
    resource = Resource.objects.select_related("offering__backend", "offering__provider").get(pk=order.resource_id)
    backend = resource.offering.backend
    assert backend is not None
    backend_id, state, access = f"{resource.name}-{resource.pk}", dict(resource.plugin_state), {}
    if backend.plugin == "manual":
        access = {"Contact": "help@ncc.example"}
        state = confirm(state, resource.generation, backend_id, access)
    outcome.note_made(
        resource_id=resource.pk,
        generation=resource.generation,
        backend_id=backend_id if backend.plugin == "manual" else "",
        state=state,
        access=access,
        at=at,
    )
    outcome.note_matching(resource_id=resource.pk, generation=resource.generation, paused=False, at=at)
    resource.refresh_from_db()
    return resource


def _meter(made: World, project: str, resource: Resource, category: str, *, since: datetime) -> None:
    data = next(p for p in world.PROJECTS if p.key == project)
    quota = next(units for p, c, units, *_ in SHARES if (p, c) == (project, category))
    people = [made.people[data.pi]] + [made.people[m.key] for m in world.members_of(data, world.people())]
    component = resource.offering.components.get(category=made.categories[category])
    start = since.replace(hour=0) + timedelta(days=1)
    end = made.today if data.ended_days_ago is None else made.ago(data.ended_days_ago + 1)
    if category == "sky-vm":  # a machine counts all the time: cores x seconds
        total = FLAVOR_CORES[resource.form["flavor"]] * int((end - start) / timedelta(days=1)) * 86_400
    else:
        total = made.ticks(category, quota) * USED_BY_TODAY[data.rhythm] // 1000
    made.pending.append(
        deque(
            _reports(
                Metered(
                    resource_id=resource.pk,
                    scope=scope_of_usage(resource.pk, component.key),
                    category=made.categories[category],
                    workspace_id=resource.workspace_id,
                    people=people[:4],
                    start=start,
                    end=end,
                    total=total,
                    rhythm="even" if category == "sky-vm" else data.rhythm,
                    job=data.slug,
                )
            )
        )
    )


# -------------------------------------------------------------------------------------------------------------- usage


def _post_what_is_known(made: World, at: datetime) -> None:
    """The daily reports of the week that ends now, in one request, as providers would have sent them."""
    reports: list[Report] = []
    for queue in made.pending:
        while queue and queue[0].period_end <= at:
            reports.append(queue.popleft())
    if reports:
        post_reports(reports=reports, by=None, at=at)


def _reports(metered: Metered) -> Iterable[Report]:
    """One or two people a day; the days add up to the total exactly."""
    rng = random.Random(f"{world.SEED}/{metered.job}/{metered.category.name}")
    days = (metered.end - metered.start).days
    if days < 1:
        return
    shape = [int(1000 * world.usage_of_day(metered.rhythm, day, days, rng)) + 1 for day in range(days)]
    weights = [rng.randint(1, 9) for _ in metered.people]
    for day, amount in enumerate(allot(metered.total, shape)):
        start = metered.start + timedelta(days=day)
        working = sorted(set(rng.choices(range(len(weights)), weights, k=2)))
        for person, ticks in zip(working, allot(amount, [1] * len(working)), strict=True):
            if ticks:
                yield Report(
                    report_id=f"history/{metered.resource_id}/{start:%Y-%m-%d}/{metered.people[person].pk}",
                    category_id=metered.category.pk,
                    workspace_id=metered.workspace_id,
                    amount_ticks=ticks,
                    period_start=start,
                    period_end=start + timedelta(days=1),
                    scope=metered.scope,
                    resource_id=metered.resource_id,
                    person_id=metered.people[person].pk,
                    user=metered.people[person].email.split("@")[0].replace(".", ""),
                    job=f"{metered.job}-{start:%j}",
                )


# -------------------------------------------------------------------------------------------------------------- today


def _present(made: World) -> None:
    """Orders in every other state, invitations under way, a resource that was given back, one that is paused."""
    now = made.today
    researcher = "researcher"
    _order(
        made, "ice", "thor", "Research", "ice-second-run", {"storage": 200}, {},
        at=now - timedelta(hours=5), by=researcher, comment="For the reviewers' second question.",
    )  # fmt: skip
    waiting = _order(
        made, "robot", "thor", "Industry", "robot-partner", {"storage": 100}, {}, at=now - timedelta(days=1), by="p12"
    )
    _approve(made, waiting, at=now - timedelta(hours=20), provider=False)
    work = _order(
        made, "quantum", "gpu", "Research", "quantum-gpu-b", {}, {"software": "state vectors"},
        at=now - timedelta(days=2), by="p21",
    )  # fmt: skip
    _approve(made, work, at=now - timedelta(days=1))
    later = _order(
        made, "chip", "ip", "Standard", "proof-address-2", {"addresses": 1}, {},
        at=now - timedelta(days=3), by="p11", start=now + timedelta(days=12),
    )  # fmt: skip
    _approve(made, later, at=now - timedelta(days=2))
    refused = _order(
        made, "fish", "ip", "Standard", "fish-address", {"addresses": 2}, {}, at=now - timedelta(days=9), by="p16"
    )
    if refused.state == OrderState.PENDING_CONSUMER:
        refused = orders.approve_order(
            order_id=refused.pk, side=Side.CONSUMER, by=made.people["operator"], at=now - timedelta(days=8)
        )
    if refused.state == OrderState.PENDING_PROVIDER:
        orders.reject_order(
            order_id=refused.pk,
            side=Side.PROVIDER,
            reason="All addresses of this range are taken. Please ask again in January.",
            by=made.people["operator"],
            at=now - timedelta(days=7),
        )
    taken_back = _order(
        made, "ice", "mimer", "Standard", "ice-copies", {"space": 500}, {}, at=now - timedelta(days=15), by=researcher
    )
    if taken_back.state in {OrderState.PENDING_CONSUMER, OrderState.PENDING_PROVIDER, OrderState.PENDING_START}:
        orders.cancel_order(
            order_id=taken_back.pk,
            reason="We found the space elsewhere.",
            by=made.people[researcher],
            at=now - timedelta(days=14),
        )
    failed = _order(
        made, "bridge", "mimer", "Standard", "bridge-fields", {"space": 2_000}, {}, at=now - timedelta(days=4), by="p08"
    )
    failed = _approve(made, failed, at=now - timedelta(days=4))
    if failed.resource_id is not None:
        resource = Resource.objects.get(pk=failed.resource_id)
        outcome.note_refused(
            resource_id=resource.pk,
            generation=resource.generation,
            why="The file system is being moved this week; please try again on Monday.",
            at=now - timedelta(days=3),
        )
    for email, role, scope, by in (
        ("guest@elsewhere.example", Role.PROJECT_MEMBER, made.projects["ice"], "pi"),
        ("new.colleague@vestby.example", Role.ORGANIZATION_MANAGER, made.organizations["vestby"], "operator"),
    ):
        structure.invite(email=email, role=role, scope=scope, by=made.people[by], at=now - timedelta(days=2))


# ------------------------------------------------------------------------------------------------------- money


def _spending(made: World) -> None:
    """The present month's invoices, what budgets say to them, and an order that one of them holds."""
    invoicing.present(made)
    data = next(p for p in world.PROJECTS if p.key == "climate")
    member = world.members_of(data, world.people())[-1]
    order = _order(
        made, "climate", "thor", "Research", "climate-ensemble", {"storage": 500}, {},
        at=made.today, by=member.key, comment="Forty more members of the ensemble.",
    )  # fmt: skip
    # Who leads the project agrees; its budget is spent, so the university's owners and managers are asked.
    orders.approve_order(order_id=order.pk, side=Side.CONSUMER, by=made.people[data.pi], at=made.today)


# ------------------------------------------------------------------------------------------------------ made real


def _make_real(made: World) -> None:
    """Have the simulator hold what was sold of it, so that jobs can run and machines stand as soon as the demo does."""
    at = clock.now()
    resources = [
        r
        for r in Resource.objects.select_related(
            "workspace__project__organization", "workspace__person", "workspace__organization",
            "offering__backend", "offering__provider__organization", "desired_plan", "plan",
        ).order_by("pk")
        if r.offering.backend is not None and r.offering.backend.plugin == "simulator" and r.matches
    ]  # fmt: skip
    for resource, desired in zip(resources, desired_of(resources, at=at), strict=True):
        assert resource.offering.backend is not None
        plugin = registry.make(resource.offering.backend)
        try:
            answer = plugin.ensure(desired)  # type: ignore[attr-defined]
        except BackendUnreachable as error:
            raise RuntimeError(f"The simulator does not answer: {error}") from error
        outcome.note_made(
            resource_id=resource.pk,
            generation=resource.generation,
            backend_id=getattr(answer, "backend_id", ""),
            state=getattr(answer, "state", None) or {},
            access=getattr(answer, "access", {}),
            at=at,
        )
