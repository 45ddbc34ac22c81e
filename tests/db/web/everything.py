"""A world with one object of each kind that an address can be about, and people of every role who ask."""

import logging
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from django.db import transaction
from django.test import Client

from bursar.accounting import services as accounting
from bursar.accounting.models import Allocation, Operation, Wallet
from bursar.billing import services as billing
from bursar.billing.models import Budget
from bursar.billing.services import budgets
from bursar.catalogue import registry
from bursar.catalogue import services as catalogue
from bursar.grants import services as grants
from bursar.grants.models import Notice, Recipient
from bursar.kernel.clock import stated_time
from bursar.metering.services import post_reports
from bursar.plugins import wire
from bursar.plugins.contract import ActionSpec, BackendSettings, DesiredResource, Done, Outcome, UsageRecord
from bursar.plugins.manual.plugin import ManualSettings
from bursar.provisioning import services as provisioning
from bursar.provisioning.models import ApprovalPolicy, Order, Resource, SetAside, Side, SpendingHold
from bursar.provisioning.services.policies import Line
from bursar.structure import services as structure
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import Role
from tests.db.web.who_may import Rights
from tests.factories.billing import make_invoice, make_trade
from tests.factories.catalogue import make_backend, make_category, make_offering, make_product, make_provider
from tests.factories.ledger import make_report
from tests.factories.pictures import png
from tests.factories.provisioning import run_jobs
from tests.factories.puppet import Puppet
from tests.factories.structure import make_membership, make_organization, make_person, make_project, make_workspace

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


# ------------------------------------------------------------------------------------------------ who asks
@dataclass(frozen=True)
class Actor:
    """Somebody who asks: their roles with their places, or none."""

    key: str
    held: tuple[tuple[Role, str], ...] = ()

    @property
    def rights(self) -> Rights:
        return Rights(self.key, frozenset(self.held))


# In CI each role is tried where it means most; BURSAR_SOAK=1 tries it wherever it can be held.
PLACES: Mapping[Role, tuple[str, ...]] = {
    Role.PLATFORM_OPERATOR: ("platform",),
    Role.PLATFORM_SUPPORT: ("platform",),
    Role.ORGANIZATION_OWNER: ("university", "centre"),
    Role.ORGANIZATION_MANAGER: ("university",),
    Role.BILLING_VIEWER: ("university",),
    Role.PROVIDER_MANAGER: ("centre",),
    Role.OFFERING_MANAGER: ("centre",),
    Role.GRANT_REVIEWER: ("university",),
    Role.PRINCIPAL_INVESTIGATOR: ("project", "sub"),
    Role.PROJECT_MANAGER: ("project",),
    Role.PROJECT_MEMBER: ("project",),
}
MORE_PLACES: Mapping[Role, tuple[str, ...]] = {
    Role.ORGANIZATION_MANAGER: ("centre",),
    Role.BILLING_VIEWER: ("centre",),
    Role.PROVIDER_MANAGER: ("university",),
    Role.OFFERING_MANAGER: ("university",),
    Role.GRANT_REVIEWER: ("centre",),
    Role.PROJECT_MANAGER: ("sub",),
    Role.PROJECT_MEMBER: ("sub",),
}
SOAK = os.environ.get("BURSAR_SOAK") == "1"


def _actors() -> list[Actor]:
    return [
        *(
            Actor(f"{role.value}@{place}", ((role, place),))
            for role in Role
            for place in (*PLACES[role], *(MORE_PLACES.get(role, ()) if SOAK else ()))
        ),
        Actor(""),  # a stranger
        Actor("nobody"),
        Actor("owner_of_personal"),
        Actor("former"),  # was owner until somebody ended it, and project manager until the day that had been set
        # everything there is, at another organization, which is a provider as well
        Actor("foreigner", ((Role.ORGANIZATION_OWNER, "elsewhere"), (Role.PROVIDER_MANAGER, "elsewhere"))),
    ]


ACTORS = {actor.key: actor for actor in _actors()}


# ------------------------------------------------------------------------------------------------ the world
def ssh_key(number: int) -> str:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([number]) * 32
    return f"ssh-ed25519 {b64encode(blob).decode()} key{number}"


class ActingPuppet(Puppet):
    """A backend that does at once whatever it is asked, with one action of its own."""

    Settings: ClassVar[type[BackendSettings]] = ManualSettings

    def actions(self, resource: DesiredResource) -> list[ActionSpec]:
        return [ActionSpec("restart", "Restart")]

    def act(self, resource: DesiredResource, action: str, form: Mapping[str, Any]) -> Outcome:
        return Done(access={"Told": "done"})


@dataclass
class World(SimpleNamespace):
    """One object of each kind that an address can be about, by the names of `who_may`."""

    sessions: dict[str, str] = field(default_factory=dict)

    def parameter(self, name: str) -> Any:
        found = getattr(self, name)
        return found if isinstance(found, str) else found.pk


def build(patch: pytest.MonkeyPatch) -> World:
    puppet = ActingPuppet()
    patch.setattr(registry, "make", lambda _backend: puppet)
    patch.setattr(registry, "plugin_class", lambda _key: ActingPuppet)
    w = World()
    start, end = AT - timedelta(days=100), AT + timedelta(days=100)
    w.centre, w.university, elsewhere = (
        make_organization("Centre"),
        make_organization("University"),
        make_organization(),
    )
    w.provider, w.centre_slug = make_provider(w.centre), w.centre.slug
    make_provider(elsewhere)
    people = w.people = {key: make_person(full_name=key) for key in ACTORS if key}
    leaders = {place: people[f"principal_investigator@{place}"] for place in ("project", "sub")}
    w.project = make_project(organization=w.university, pi=leaders["project"], name="Physics")
    w.sub = make_project(parent=w.project, pi=leaders["sub"], name="Optics")
    other_project = make_project(organization=w.university, name="Chemistry")
    places: dict[str, Any] = {
        "platform": None, "university": w.university, "centre": w.centre, "elsewhere": elsewhere,
        "project": w.project, "sub": w.sub,
    }  # fmt: skip
    for actor in ACTORS.values():
        for role, place in actor.held:
            if role != Role.PRINCIPAL_INVESTIGATOR:
                make_membership(person=people[actor.key], role=role, scope=places[place])
    former = people["former"]
    left = make_membership(person=former, role=Role.ORGANIZATION_OWNER, scope=w.university)
    structure.end_membership(membership=left, by=None, at=AT - timedelta(days=1))
    make_membership(person=former, role=Role.PROJECT_MANAGER, scope=w.project, until=AT - timedelta(seconds=1))

    w.bystander, w.stranger = make_person(full_name="Bystander"), make_person(full_name="Somebody")
    w.membership = make_membership(person=w.bystander, scope=w.project)
    w.organization_membership = make_membership(person=w.bystander, role=Role.BILLING_VIEWER, scope=w.university)
    operator, owner = people["platform_operator@platform"], people["owner_of_personal"]
    invite = {"role": Role.PROJECT_MEMBER, "by": operator, "at": AT - timedelta(days=1)}
    w.invitation = structure.invite(email="x@example.org", scope=w.project, **invite).invitation
    own = structure.invite(email=owner.email, scope=other_project, **invite)
    w.own_invitation, w.own_invitation_token = own.invitation, own.token
    w.ssh_key = structure.add_ssh_key(person=owner, name="", public_key=ssh_key(1), by=owner, at=AT)
    w.another_key = ssh_key(2)
    w.api_token = structure.create_token(person=owner, name="t", scopes=["read"], days=9, by=owner, at=AT).row

    w.cpu, open_cpu = make_category(w.provider), make_category(w.provider)
    w.product, w.backend = make_product(w.cpu), make_backend(w.provider)
    fields = {
        "key": "cpu",
        "title": "CPU",
        "limit_min": 1,
        "limit_max": 1000,
        "limit_default": 10,
        "ticks_per_unit": 60,
    }
    components = [[{**fields, "category": category, "measured_unit": "s"}] for category in (w.cpu, open_cpu)]
    w.offering = make_offering(
        backend=w.backend, components=components[0], visibility="organizations", organizations=[w.university]
    )
    w.component, w.plan, w.shelf = w.offering.components.get(), w.offering.plans.get(), w.offering.shelf
    w.open_offering = make_offering(backend=w.backend, components=components[1])
    ask = [Line(condition=ApprovalPolicy.Condition.ALWAYS, outcome=ApprovalPolicy.Outcome.ASK)]
    for side, scope in ((Side.CONSUMER, None), (Side.PROVIDER, None)):  # whoever may, is asked
        provisioning.set_policies(side=side, scope=scope, lines=ask, by=None, at=AT)

    def give(to: Organization | Project | Person, source: Wallet | None, category: Any = w.cpu) -> Allocation:
        return accounting.allocate(
            workspace=make_workspace(to), category=category, source=source, quota_ticks=3_600_000,
            start=start, end=end, by=None, at=AT - timedelta(days=50),
        )  # fmt: skip

    w.root_allocation = give(w.university, None)
    w.university_wallet = w.root_allocation.wallet
    w.allocation, w.other_allocation = (give(p, w.university_wallet) for p in (w.project, other_project))
    w.wallet = w.allocation.wallet
    w.sub_wallet = give(w.sub, w.wallet).wallet
    w.personal_wallet = give(owner, None, open_cpu).wallet
    report = make_report(w.allocation.wallet.workspace, w.cpu, 60, until=AT - timedelta(days=1))
    post_reports(reports=[report], by=None, at=AT - timedelta(days=1))
    w.usage_report, w.ledger_operation = report.report_id, Operation.objects.get(category_id=w.cpu.pk, kind="usage")

    def order(workspace: Any, offering: Any, by: Person, name: str) -> Order:
        return provisioning.submit_order(
            workspace=workspace, offering=offering, plan_id=offering.plans.get().pk, name=name, by=by, at=AT
        )

    def approve(placed: Order, *sides: Side) -> Order:
        for side in sides:
            placed = provisioning.approve_order(order_id=placed.pk, side=side, by=operator, at=AT)
        return placed

    def running(placed: Order) -> Resource:
        approve(placed, Side.CONSUMER, Side.PROVIDER)
        run_jobs(only="reconcile")
        resource = Resource.objects.get(orders=placed)
        assert resource.state == "ok"
        return resource

    workspace, personal = make_workspace(w.project), make_workspace(owner)
    w.order = order(workspace, w.offering, w.bystander, "waits")
    w.order_at_provider = approve(order(workspace, w.offering, w.bystander, "at the provider"), Side.CONSUMER)
    w.personal_order = order(personal, w.open_offering, owner, "own")
    w.resource = running(order(workspace, w.offering, w.bystander, "runs"))
    w.personal_resource = running(order(personal, w.open_offering, owner, "runs too"))
    w.record = SetAside.objects.create(
        backend=w.backend, record_id="job-1", component="cpu", resource_id=1,
        record=wire.dump(UsageRecord("job-1", 10**6, "cpu", 60, AT, AT)), code="unknown_resource",
        why="There is no such resource.", first_at=AT, last_at=AT,
    )  # fmt: skip
    w.local_account = provisioning.set_local_account(
        backend=w.backend, person=w.bystander, username="by", by=None, at=AT
    )
    provisioning.connect_account(backend=w.backend, person=owner, by=owner, at=AT)

    _grants(w, end)
    _invoices(w)
    _budgets(w, workspace)
    w.restart, w.pi_key, w.no_key, w.no_uid = "restart", "pi", "nothing", "nobody"
    w.new_name, w.cpu_name = "something-new", w.cpu.name
    for key, person in people.items():
        client = Client()
        client.force_login(person)
        w.sessions[key] = client.cookies["sessionid"].value
    return w


def _budgets(w: World, workspace: Any) -> None:
    """A budget of the project, and an order that a hold keeps waiting."""
    w.budget = budgets.set_budget(
        scope=w.project, span=Budget.Span.MONTH, amount=Decimal(100), thresholds=[], by=None, at=AT
    )
    paid = make_offering(backend=w.backend, components=[{"key": "setup", "billing": "one_time"}])
    catalogue.set_price(plan=paid.plans.get(), component=paid.components.get(), price=Decimal(5), by=None, at=AT)
    provisioning.set_hold(
        source="budget", effect=SpendingHold.Effect.ORDERS, organization=w.university, project=w.project, at=AT,
        facts={"percent": 90, "spent": "90", "amount": "100", "currency": "EUR", "span": "month", "stretch": "2026-11-01"},
    )  # fmt: skip
    held = provisioning.submit_order(
        workspace=workspace, offering=paid, plan_id=paid.plans.get().pk, name="held", by=w.bystander, at=AT
    )
    operator = w.people["platform_operator@platform"]
    w.held_order = provisioning.approve_order(order_id=held.pk, side=Side.CONSUMER, by=operator, at=AT)
    assert w.held_order.state == "held"


def _grants(w: World, end: datetime) -> None:
    """An application of the project to its university, and everything that hangs on it."""
    w.giver, w.other_giver = make_workspace(w.university), make_workspace(w.centre)
    anyone = [grants.Line("allow", "anyone")]
    for giver in (w.giver, w.other_giver):
        grants.set_giver(workspace=giver, is_open=True, lines=anyone, by=None, at=AT)
    w.kind = Recipient.PERSONAL.value
    w.logo = b64encode(png(16, 16)).decode()
    grants.set_logo(workspace=w.giver, data=png(16, 16), by=None, at=AT)
    grants.set_form(workspace=w.giver, recipient=Recipient.PERSONAL, fields=[], by=None, at=AT)
    lead = make_person(full_name="Lead")
    make_membership(person=lead, role=Role.PROJECT_MANAGER, scope=w.project)
    w.amounts = [{"giver_id": w.giver.pk, "category_id": w.cpu.pk, "ticks": 60}]
    wish = grants.Wish(end=end, amounts=(grants.Amount(w.giver.pk, w.cpu.pk, 60),))
    facts = {"by": lead, "at": AT}
    w.application = grants.draft_application(
        recipient=Recipient.PROJECT, workspace=make_workspace(w.project), wish=wish, **facts
    )
    grants.submit_application(application_id=w.application.pk, **facts)
    w.grant_comment = grants.comment_application(application_id=w.application.pk, text="Please.", **facts)
    w.grant_file = grants.attach_file(application_id=w.application.pk, name="a.txt", data=b"a", **facts)
    w.gift = grants.offer_gift(
        workspace=w.giver, title="Gift", amounts={w.cpu.pk: 60}, start=AT, end=end, claims_max=9, lines=anyone, by=None, at=AT
    )  # fmt: skip
    owner = w.personal_wallet.workspace.person
    w.notice = Notice.objects.create(person=owner, kind="given", gift=w.gift, at=AT)


def _invoices(w: World) -> None:
    """An issued invoice of the centre to the university with a payment and a credit note, one that is open, and credits."""
    # Between the project's own and those of others there is nothing: it stands for all.
    trade = make_trade(provider=w.provider, customer=w.university, workspace=make_workspace(w.project))
    w.invoice, w.open_invoice = make_invoice(trade), make_invoice(trade, month=AT.date().replace(day=1), issued=False)
    w.invoice_line = w.invoice.lines.get(position=1)
    facts: dict[str, Any] = {"by": None, "at": AT}
    w.payment = billing.note_payment(invoice_id=w.invoice.pk, amount=Decimal(1), **facts)
    of_line = {w.invoice_line.pk: Decimal(1)}
    w.credit_note = billing.credit_invoice(invoice_id=w.invoice.pk, reason="Wrong.", amounts=of_line, **facts)
    sides: dict[str, Any] = {"provider": w.provider, "customer": w.university}
    w.credit = billing.give_credit(kind="granted", amount=Decimal(9), **sides, **facts)
    w.compensation = billing.compensate(amount=Decimal(9), reason="It was down.", **sides, **facts)
    w.csv_form = "csv"


@contextmanager
def standing_world(django_db_blocker: Any) -> Iterator[World]:
    """The world for as long as it is used, by the tests of a module together; nothing is left of it."""
    logging.disable(logging.WARNING)  # each refusal would be told
    try:
        with django_db_blocker.unblock(), stated_time(AT), pytest.MonkeyPatch.context() as patch, transaction.atomic():
            yield build(patch)
            transaction.set_rollback(True)
    finally:
        logging.disable(logging.NOTSET)
