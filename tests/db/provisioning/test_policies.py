"""Who has to agree: each condition, nearer lines before farther ones, what is said in words, and trying on past orders."""

from copy import deepcopy
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from bursar.kernel.clock import stated_time
from bursar.provisioning import policies, selectors, services
from bursar.provisioning.errors import NotAwaited, OwnOrder, PolicyInvalid
from bursar.provisioning.models import ApprovalPolicy, Order, OrderDecision, Side
from bursar.provisioning.services import Line, ProviderApproval, outcome
from bursar.structure.roles import NotAllowed, Role
from tests.factories.provisioning import World, make_resource, make_world, place_order
from tests.factories.structure import make_membership, make_person, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: make_world(at=at), at=at)


@pytest.fixture
def world(made: World) -> World:
    return deepcopy(made)


def state_of(order: Order) -> str:
    order.refresh_from_db()
    return order.state


def lines(world: World, *made: Line) -> None:
    services.set_policies(side=Side.CONSUMER, scope=world.university, lines=made, by=world.owner, at=world.at)


ASK = Line(condition="always", outcome="ask")


def allow(condition: str, **more: object) -> Line:
    return Line(condition=condition, outcome="allow", **more)  # type: ignore[arg-type]


def test_default__a_member_orders__the_leaders_and_owners_are_asked(world: World) -> None:
    order = place_order(world, by=world.member)
    assert order.awaited_roles == [
        "principal_investigator",
        "project_manager",
        "organization_owner",
        "organization_manager",
    ]
    approved = services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.pi, at=world.at)
    assert approved.state == "pending_provider"


def test_default__an_owner_orders__only_the_provider_is_asked(world: World) -> None:
    order = place_order(world, by=world.owner)
    assert order.state == "pending_provider"
    (decision,) = OrderDecision.objects.filter(order=order)
    assert (decision.side, decision.decision, decision.by) == ("consumer", "not_asked", None)


def test_default__the_providers_own_people_order__they_are_not_asked(world: World) -> None:
    make_membership(person=world.manager, role=Role.PROJECT_MEMBER, scope=world.project)
    order = place_order(world, by=world.manager)
    services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.pi, at=world.at)
    assert state_of(order) == "executing"


def test_default__a_personal_workspace__only_the_provider_is_asked(at: datetime) -> None:
    world = make_world(at=at, components=[{"key": "seat", "billing": "limit", "limit_default": 1}])
    person = make_person()
    order = place_order(world, workspace=make_workspace(person), by=person)
    assert order.state == "pending_provider"


@pytest.mark.parametrize(
    ("wished", "wanted", "passes"), [(150, 50, True), (151, 51, False), (100, 0, True), (40, 0, True)]
)
def test_change__the_wallet_is_asked_for_what_comes_on_top(
    at: datetime, wished: int, wanted: int, passes: bool
) -> None:
    world = make_world(at=at, quota_gb=150)
    resource = make_resource(world, limits={"storage": 100})
    outcome.note_made(resource_id=resource.pk, generation=1, backend_id="r", state={}, access={}, at=at)
    outcome.note_matching(resource_id=resource.pk, generation=1, paused=False, at=at)
    resource.refresh_from_db()
    lines(world, allow("wallet"), ASK)
    found = selectors.preview_order(
        world.member, offering=world.offering, workspace=world.workspace, plan=resource.plan,
        limits={"storage": wished}, kind=Order.Kind.CHANGE, resource=resource, at=at,
    )  # fmt: skip
    (draw,) = [each for each in found.draws if each.category == world.disk]
    assert (draw.wanted_ticks, draw.left_ticks, draw.is_enough) == (wanted, 50, passes)
    assert found.lines[0].asked is not passes
    if wished != 100:
        order = services.submit_change(
            resource_id=resource.pk, plan_id=resource.plan_id, limits={"storage": wished}, by=world.member, at=at
        )
        assert order.state == ("pending_provider" if passes else "pending_consumer")


@pytest.mark.parametrize(
    "line, passes",
    [
        (allow("wallet"), True),
        (allow("free"), True),
        (allow("cost", amount=Decimal(10), currency="EUR"), True),
        (allow("cost", amount=Decimal(10), currency="SEK"), False),
        (allow("role", roles=["principal_investigator"]), True),
        (allow("role", roles=["project_member"]), False),
        (allow("always", kinds=["terminate"]), False),
        (allow("always", kinds=["create"]), True),
    ],
)
def test_policy__of_the_university__decides_before_the_platform(world: World, line: Line, passes: bool) -> None:
    lines(world, line, ASK)
    order = place_order(world)
    assert order.state == ("pending_provider" if passes else "pending_consumer")


def test_policy__the_wallet_covers_less_than_the_estimate__somebody_is_asked(at: datetime) -> None:
    world = make_world(at=at, quota_gb=15)
    lines(world, allow("wallet"), ASK)
    assert place_order(world, limits={"storage": 15}).state == "pending_provider"
    assert place_order(world, limits={"storage": 16}).state == "pending_consumer"


def test_policy__of_the_project__comes_before_that_of_the_university(world: World) -> None:
    lines(world, allow("always"))
    with pytest.raises(NotAllowed):  # who leads a project must not free themselves from the university's lines
        services.set_policies(side=Side.CONSUMER, scope=world.project, lines=[ASK], by=world.pi, at=world.at)
    services.set_policies(side=Side.CONSUMER, scope=world.project, lines=[ASK], by=world.owner, at=world.at)
    assert place_order(world).state == "pending_consumer"


def test_policy__switched_after_the_order__leaves_the_open_order_as_it_was(world: World) -> None:
    order = place_order(world)
    lines(world, allow("always"))
    assert state_of(order) == "pending_consumer"


@pytest.mark.parametrize(
    "choice, named, state",
    [
        (ProviderApproval.ALL, False, "pending_provider"),
        (ProviderApproval.NONE, False, "executing"),
        (ProviderApproval.ORGANIZATIONS, True, "executing"),
        (ProviderApproval.ORGANIZATIONS, False, "pending_provider"),
    ],
)
def test_provider_approval__each_choice__decides(
    world: World, choice: ProviderApproval, named: bool, state: str
) -> None:
    organizations = [world.university] if named else [world.provider.organization]
    with stated_time(world.at):
        services.set_provider_approval(
            offering=world.offering, choice=choice, organizations=organizations, by=world.manager, at=world.at
        )
        order = place_order(world, by=world.owner)
    assert order.state == state


def test_approve__ones_own_order__is_refused(world: World) -> None:
    lines(world, Line(condition="always", outcome="ask", approvers=["organization_owner"]))
    order = place_order(world, by=world.owner)
    with pytest.raises(OwnOrder):
        services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
    with pytest.raises(NotAwaited):
        services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.pi, at=world.at)
    with pytest.raises(NotAllowed):
        services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.member, at=world.at)
    assert not OrderDecision.objects.exists()
    assert state_of(order) == "pending_consumer"


@pytest.mark.parametrize(
    "line, field",
    [
        (Line(condition="role", outcome="allow"), "roles"),
        (Line(condition="cost", outcome="allow"), "amount"),
        (Line(condition="organizations", outcome="allow"), "organizations"),
        (Line(condition="often", outcome="allow"), "condition"),
        (Line(condition="always", outcome="ask", approvers=["king"]), "roles"),
    ],
)
def test_set_policies__a_line_that_cannot_hold__is_refused_and_nothing_changes(
    world: World, line: Line, field: str
) -> None:
    lines(world, ASK)
    with pytest.raises(PolicyInvalid) as refusal:
        lines(world, line)
    assert refusal.value.field == field
    assert ApprovalPolicy.objects.filter(organization=world.university).count() == 1


def test_set_policies__by_somebody_without_the_role__is_refused(world: World) -> None:
    with pytest.raises(NotAllowed):
        services.set_policies(
            side=Side.CONSUMER, scope=world.university, lines=[allow("always")], by=world.pi, at=world.at
        )
    with pytest.raises(PolicyInvalid):
        services.set_policies(
            side=Side.CONSUMER, scope=world.offering, lines=[allow("always")], by=world.manager, at=world.at
        )
    assert not ApprovalPolicy.objects.filter(organization=world.university).exists()


def test_words__of_every_default_line__are_sentences(world: World) -> None:
    shown = [policies.words_of_line(line) for line in ApprovalPolicy.objects.filter(side="consumer")]
    assert shown == [
        "All orders: when it is for the orderer's own workspace, nobody is asked.",
        "All orders: when the orderer is Organization owner, Organization manager or Platform operator, nobody is asked.",
        "Orders (termination): when the orderer is Principal investigator or Project manager, nobody is asked.",
        (
            "All orders: when the orderer is Principal investigator or Project manager,"
            " ask Organization owner or Organization manager."
        ),
        "All orders: always, ask Principal investigator, Project manager, Organization owner or Organization manager.",
    ]


def test_who_must_approve__an_order__says_whom_it_awaits_and_why(world: World) -> None:
    assert [(line.side, line.asked, line.text) for line in selectors.who_must_approve(place_order(world))] == [
        (
            "consumer",
            True,
            "To be approved by Organization owner or Organization manager, because it was placed by: Principal investigator.",
        ),
        (
            "provider",
            True,
            "To be approved by Provider manager, Offering manager or Organization owner, because all such orders need approval.",
        ),
    ]


def test_try_policies__on_past_orders__says_what_they_would_have_said(world: World) -> None:
    place_order(world)
    tried = selectors.try_policies(
        side=Side.CONSUMER,
        lines=[ApprovalPolicy(side="consumer", condition="wallet", outcome="allow", position=1)],
        orders=Order.objects.select_related("offering__provider__organization", "workspace__project__organization"),
        at=world.at,
    )
    assert [(t.then.asked, t.now.asked) for t in tried] == [(True, False)]
    assert ApprovalPolicy.objects.filter(condition="wallet").count() == 0


def test_orders_awaiting__only_those_whose_role_is_asked__see_it(world: World) -> None:
    order = place_order(world)
    stranger = make_person()
    for person, seen in ((world.owner, [order]), (world.pi, []), (world.manager, []), (stranger, [])):
        assert list(selectors.orders_awaiting(person, at=world.at)) == seen
    services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
    assert list(selectors.orders_awaiting(world.manager, at=world.at)) == [order]
    assert list(selectors.orders_awaiting(world.owner, at=world.at)) == []
