"""What spending holds up: orders that wait for whoever answers for the budget, resources that are paused, nobody who pays."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bursar.catalogue import services as catalogue
from bursar.catalogue.models import PlanComponent
from bursar.events.models import Event
from bursar.kernel.clock import stated_time
from bursar.plugins.contract import Done, Refused
from bursar.provisioning import holds, selectors, services
from bursar.provisioning.errors import (
    HeldByBudget,
    NobodyPays,
    OrderStepNotOpen,
    PausedByBudget,
    ReasonNeeded,
)
from bursar.provisioning.models import Order, OrderDecision, Resource, Side, SpendingHold, SpendingPause
from bursar.structure.models import Organization, Project
from bursar.structure.roles import NotAllowed, Role
from tests.factories.catalogue import make_offering
from tests.factories.provisioning import World, make_resource, make_world, place_order, run_jobs
from tests.factories.puppet import Puppet, use_puppet
from tests.factories.structure import make_membership, make_person, make_project, make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

Effect = SpendingHold.Effect
SLOT = {"key": "slot", "title": "Slot", "billing": "limit", "unit_name": "slots", "limit_default": 1, "limit_min": 0}
FACTS = {
    "percent": 90,
    "spent": "923.40",
    "amount": "1000",
    "currency": "EUR",
    "span": "month",
    "stretch": "2026-11-01",
}


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    def make() -> World:
        world = make_world(at=at, quota_hours=None, quota_gb=None, components=[SLOT])
        price(world.offering, "2.50", at)
        world.free = make_offering(world.provider, backend=world.backend, components=[SLOT])  # type: ignore[attr-defined]
        return world

    return standing(make, at=at)  # type: ignore[no-any-return]


@pytest.fixture
def world(made: World, at: datetime) -> Iterator[World]:
    with stated_time(at):
        yield deepcopy(made)


@pytest.fixture
def puppet(monkeypatch: pytest.MonkeyPatch, world: World) -> Puppet:
    return use_puppet(monkeypatch)


def price(offering: Any, amount: str, at: datetime) -> PlanComponent:
    return catalogue.set_price(
        plan=offering.plans.get(), component=offering.components.get(), price=Decimal(amount), by=None, at=at
    )


def hold(world: World, effect: Effect = Effect.ORDERS, *, scope: Any = None, source: str = "budget 1") -> SpendingHold:
    scope = scope or world.project
    return services.set_hold(
        source=source,
        effect=effect,
        organization=scope if isinstance(scope, Organization) else scope.organization,
        project=scope if isinstance(scope, Project) else None,
        facts=FACTS,
        at=world.at,
    )


def agreed_by_customer(world: World, **more: Any) -> Order:
    """An order to which its own side has agreed."""
    order = place_order(world, **more)
    return services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)


def decisions_of(order: Order) -> list[tuple[str, str]]:
    rows = OrderDecision.objects.filter(order=order).order_by("pk")
    return [(row.decision, row.reason) for row in rows]


def events_of(order: Order) -> list[str]:
    rows = Event.objects.filter(subject_type="order", subject_id=order.pk).order_by("pk")
    return list(rows.values_list("kind", flat=True))


def mails_asked(kind: str) -> list[int]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (args->>'to_person_id')::int FROM procrastinate_jobs WHERE args->>'kind' = %s ORDER BY 1", [kind]
        )
        return [person_id for (person_id,) in cursor.fetchall()]


# ------------------------------------------------------------------------------------------------ held
def test_submit__under_a_hold__waits_after_its_own_side_agreed(world: World) -> None:
    manager = make_membership(role=Role.ORGANIZATION_MANAGER, scope=world.university).person
    hold(world)
    order = place_order(world)
    assert order.state == "pending_consumer"
    order = services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
    assert (order.state, order.resource) == ("held", None)
    assert order.awaited_roles == ["organization_owner", "organization_manager"]
    assert decisions_of(order) == [("approved", ""), ("held", "")]
    assert events_of(order) == ["order.placed", "order.awaits", "order.approved", "order.held"]
    assert mails_asked("order_held") == sorted([world.owner.pk, manager.pk])


def test_agree__by_the_owner__lets_it_go_on(world: World) -> None:
    hold(world)
    order = agreed_by_customer(world)
    order = services.agree_to_spend(order_id=order.pk, reason="It is needed.", by=world.owner, at=world.at)
    assert order.state == "pending_provider"
    assert decisions_of(order) == [("approved", ""), ("held", ""), ("agreed", "It is needed.")]
    with pytest.raises(OrderStepNotOpen):
        services.agree_to_spend(order_id=order.pk, by=world.owner, at=world.at)


def test_agree__by_the_principal_investigator__is_refused(world: World) -> None:
    hold(world)
    order = agreed_by_customer(world)
    for by in (world.pi, world.member, world.manager):
        with pytest.raises(NotAllowed):
            services.agree_to_spend(order_id=order.pk, by=by, at=world.at)
    assert Order.objects.get(pk=order.pk).state == "held"
    assert decisions_of(order) == [("approved", ""), ("held", "")]


def test_refuse__with_a_reason__rejects_and_tells_the_orderer(world: World) -> None:
    hold(world)
    order = agreed_by_customer(world)
    with pytest.raises(ReasonNeeded):
        services.refuse_to_spend(order_id=order.pk, reason=" ", by=world.owner, at=world.at)
    assert Order.objects.get(pk=order.pk).state == "held"
    order = services.refuse_to_spend(order_id=order.pk, reason="Not this year.", by=world.owner, at=world.at)
    assert order.state == "rejected"
    assert decisions_of(order)[-1] == ("rejected", "Not this year.")
    assert mails_asked("order_rejected") == [world.pi.pk]


def test_retry__of_a_failed_order_under_a_hold__is_refused_unless_it_was_agreed_to(
    world: World, puppet: Puppet
) -> None:
    def failed(order: Order) -> Order:
        puppet.answers["ensure"] = [Refused("Not today.")]
        services.approve_order(order_id=order.pk, side=Side.PROVIDER, by=world.manager, at=world.at)
        run_jobs()
        return Order.objects.get(pk=order.pk)

    order = failed(agreed_by_customer(world))
    hold(world)
    agreed = agreed_by_customer(world, name="Run 2")
    services.agree_to_spend(order_id=agreed.pk, by=world.owner, at=world.at)
    agreed = failed(agreed)
    assert (order.state, agreed.state) == ("failed", "failed")
    for by in (world.pi, world.manager):
        with pytest.raises(HeldByBudget):
            services.retry_order(order_id=order.pk, by=by, at=world.at)
        with pytest.raises(HeldByBudget):  # the same wish, asked at the resource
            services.ask_again(resource_id=order.resource_id, by=by, at=world.at)
    assert Order.objects.get(pk=order.pk).state == "failed"
    assert services.retry_order(order_id=agreed.pk, by=world.manager, at=world.at).state == "executing"
    services.lift_holds(source="budget 1", at=world.at)
    assert services.retry_order(order_id=order.pk, by=world.pi, at=world.at).state == "executing"


def test_held__what_is_free_or_ends_or_saves__goes_on(world: World, puppet: Puppet) -> None:
    resource = ready(world, limits={"slot": 4})
    hold(world)
    free = agreed_by_customer(world, offering=world.free, plan_id=world.free.plans.get().pk)  # type: ignore[attr-defined]
    assert free.state == "pending_provider"
    for limit, state in ((5, "held"), (3, "pending_provider")):
        change = services.submit_change(resource_id=resource.pk, limits={"slot": limit}, by=world.pi, at=world.at)
        change = services.approve_order(order_id=change.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
        assert change.state == state
        services.cancel_order(order_id=change.pk, by=world.owner, at=world.at)
    end = services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
    assert end.state in {"pending_consumer", "pending_provider", "executing"}
    if end.state == "pending_consumer":
        end = services.approve_order(order_id=end.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
    assert end.state != "held"


@pytest.mark.parametrize(
    "price, tiers, limit, held",
    [("0", [], 1, False), ("0", [["10", "1"]], 1, True), ("1", [], 1, True)],
    ids=["free", "free at first", "paid"],
)
def test_costs_something__prices_and_steps__are_looked_at(
    world: World, price: str, tiers: list[Any], limit: int, held: bool
) -> None:
    plan = world.free.plans.get()  # type: ignore[attr-defined]
    PlanComponent.objects.create(
        plan=plan, component=plan.offering.components.get(), price=price, tier_kind="graduated" if tiers else "",
        tiers=tiers, valid_from=world.at - timedelta(days=1),
    )  # fmt: skip
    hold(world)
    order = agreed_by_customer(world, offering=plan.offering, plan_id=plan.pk)
    assert (order.state == "held") is held


def test_hold__of_a_project__reaches_those_below_and_no_other(world: World) -> None:
    below = make_project(parent=world.project, pi=world.pi)
    beside = make_project(organization=world.university, pi=world.pi)
    hold(world)
    for project, state in ((below, "held"), (beside, "pending_provider")):
        assert agreed_by_customer(world, workspace=make_workspace(project)).state == state
    hold(world, scope=world.university, source="budget 2")
    assert agreed_by_customer(world, workspace=make_workspace(beside)).state == "held"


def test_lift__the_last_hold__lets_the_order_go_on_once(world: World) -> None:
    hold(world)
    hold(world, scope=world.university, source="budget 2")
    order = agreed_by_customer(world)
    services.lift_holds(source="budget 1", at=world.at)
    run_jobs(only="settle_holds")
    assert Order.objects.get(pk=order.pk).state == "held"
    services.lift_holds(source="budget 2", at=world.at)
    run_jobs(only="settle_holds")
    assert Order.objects.get(pk=order.pk).state == "pending_provider"
    services.lift_holds(source="budget 2", at=world.at)
    assert run_jobs(only="settle_holds") == []
    assert decisions_of(order) == [("approved", ""), ("held", ""), ("let_go", "")]
    held = Event.objects.filter(subject_type="spending_hold").order_by("pk").values_list("kind", flat=True)
    assert list(held) == ["spending.held"] * 2 + ["spending.let_go"] * 2


def test_let_go__another_hold_came_meanwhile__keeps_it(world: World) -> None:
    hold(world)
    order = agreed_by_customer(world)
    services.lift_holds(source="budget 1", at=world.at)
    hold(world, source="budget 3")
    run_jobs(only="settle_holds")
    assert Order.objects.get(pk=order.pk).state == "held"
    assert selectors.why_held(order, world.owner, at=world.at) == [
        f"Of the budget of “{world.project}” (November 2026) 90 % are spent: 923.40 EUR of 1,000.00 EUR."
    ]


def test_why_held__whoever_may_not_see_costs__reads_no_amount(world: World) -> None:
    hold(world, scope=world.university)
    order = agreed_by_customer(world)
    said = selectors.order_details(world.pi, order.pk, at=world.at)
    assert said.held_by == [f"Of the budget of “{world.university}” too much is spent."]
    assert (said.may_agree, [step.state for step in said.steps]) == (
        False, ["done", "done", "current", "open", "open", "open"],
    )  # fmt: skip
    asked = selectors.order_details(world.owner, order.pk, at=world.at)
    assert asked.held_by == [
        f"Of the budget of “{world.university}” (November 2026) 90 % are spent: 923.40 EUR of 1,000.00 EUR."
    ]
    assert (asked.may_agree, asked.awaited) == (True, [world.owner])
    assert list(selectors.orders_awaiting(world.owner, at=world.at)) == [order]
    assert list(selectors.orders_awaiting(world.pi, at=world.at)) == []
    assert list(selectors.orders_awaiting(world.manager, at=world.at)) == []


# ------------------------------------------------------------------------------------------------ paused
def ready(world: World, **more: Any) -> Resource:
    resource = make_resource(world, **more)
    run_jobs()
    resource.refresh_from_db()
    assert resource.state == "ok"
    return resource


def states(*resources: Resource) -> list[tuple[str, bool]]:
    found = Resource.objects.in_bulk([resource.pk for resource in resources])
    return [(found[r.pk].state, found[r.pk].desired_paused) for r in resources]


def test_pause__resources_that_cost__stand_still_until_it_is_lifted(world: World, puppet: Puppet) -> None:
    paid = ready(world, limits={"slot": 2})
    free = ready(world, offering=world.free, plan_id=world.free.plans.get().pk)  # type: ignore[attr-defined]
    by_person = ready(world, name="Run 2")
    services.pause_resource(resource_id=by_person.pk, by=world.pi, at=world.at)
    run_jobs()
    stop = hold(world, Effect.RESOURCES)
    run_jobs()
    assert states(paid, free, by_person) == [("paused", True), ("ok", False), ("paused", True)]
    assert [(s.resource.pk, s.state) for s in holds.standing_under(stop, at=world.at)] == [
        (paid.pk, "paused"),
        (by_person.pk, "person"),
    ]
    for resource in (paid, by_person):
        with pytest.raises(PausedByBudget):
            services.resume_resource(resource_id=resource.pk, by=world.pi, at=world.at)
    assert selectors.why_paused(paid, world.pi, at=world.at) == (
        f"Of the budget of “{world.project}” (November 2026) 90 % are spent: 923.40 EUR of 1,000.00 EUR."
    )
    services.lift_holds(source="budget 1", at=world.at)
    run_jobs()
    assert states(paid, free, by_person) == [("ok", False), ("ok", False), ("paused", True)]
    assert SpendingPause.objects.get().ended_at == world.at
    assert puppet.verbs().count("resume") == 1


def test_pause__two_holds__resumes_after_the_second(world: World, puppet: Puppet) -> None:
    paid = ready(world)
    hold(world, Effect.RESOURCES)
    hold(world, Effect.RESOURCES, scope=world.university, source="budget 2")
    run_jobs()
    services.lift_holds(source="budget 1", at=world.at)
    run_jobs()
    assert states(paid) == [("paused", True)]
    services.lift_holds(source="budget 2", at=world.at)
    run_jobs()
    assert states(paid) == [("ok", False)]
    assert SpendingPause.objects.count() == 1


def test_pause__a_resource_that_is_being_changed__follows_when_it_is_ready(world: World, puppet: Puppet) -> None:
    paid = make_resource(world)
    stop = hold(world, Effect.RESOURCES)
    run_jobs(only="settle_holds")
    assert states(paid) == [("creating", False)]
    run_jobs()
    assert states(paid) == [("ok", False)]
    assert [s.state for s in holds.standing_under(stop, at=world.at)] == ["soon"]
    for work, _what in services.holds.to_settle(at=world.at):
        work()
    run_jobs()
    assert states(paid) == [("paused", True)]


def test_pause__what_cannot_be_paused__is_named_and_runs_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unpausable(Puppet):
        pause = resume = None  # type: ignore[assignment]

    from bursar.catalogue import registry

    puppet = Unpausable()
    monkeypatch.setattr(registry, "make", lambda _backend: puppet)
    monkeypatch.setattr(registry, "plugin_class", lambda _key: Unpausable)
    paid = ready(world)
    stop = hold(world, Effect.RESOURCES)
    run_jobs()
    assert states(paid) == [("ok", False)]
    assert [(s.resource.pk, s.state) for s in holds.standing_under(stop, at=world.at)] == [(paid.pk, "cannot")]


def test_pause__ended_meanwhile__is_not_resumed(world: World, puppet: Puppet) -> None:
    paid = ready(world)
    hold(world, Effect.RESOURCES)
    run_jobs()
    puppet.answers["remove"] = [Done()]
    order = services.submit_termination(resource_id=paid.pk, by=None, at=world.at)
    run_jobs()
    order.refresh_from_db()
    assert order.state == "done"
    services.lift_holds(source="budget 1", at=world.at)
    run_jobs()
    assert states(paid) == [("terminated", True)]
    assert SpendingPause.objects.get().ended_at == world.at


# ------------------------------------------------------------------------------------------------ nobody pays
def test_submit__a_personal_workspace_and_a_plan_that_costs__nobody_pays(world: World) -> None:
    person = make_person(full_name="Ada")
    own = make_workspace(person)
    before = Order.objects.count()
    with pytest.raises(NobodyPays) as refused:
        place_order(world, workspace=own, by=person)
    assert str(refused.value).startswith("The plan “Standard” costs something, and nobody pays for “")
    assert Order.objects.count() == before
    found = selectors.preview_order(
        person, offering=world.offering, workspace=own, plan=world.offering.plans.get(), limits={}, at=world.at
    )
    assert found.refusal is not None
    assert found.refusal.code == "nobody_pays"
    free = world.free  # type: ignore[attr-defined]
    assert place_order(world, workspace=own, by=person, offering=free, plan_id=free.plans.get().pk).state != "held"


def test_submit__a_price_that_is_to_come__counts(world: World) -> None:
    person = make_person()
    free = world.free  # type: ignore[attr-defined]
    catalogue.set_price(
        plan=free.plans.get(), component=free.components.get(), price=Decimal("0.01"),
        valid_from=world.at + timedelta(days=30), by=None, at=world.at,
    )  # fmt: skip
    with pytest.raises(NobodyPays):
        place_order(world, workspace=make_workspace(person), by=person, offering=free, plan_id=free.plans.get().pk)
