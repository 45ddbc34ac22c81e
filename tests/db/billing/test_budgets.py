"""Budgets: what is spent of them, what people change, and what follows when a threshold is passed: once."""

from collections.abc import Iterator
from copy import deepcopy
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bursar.billing import budgets, tasks
from bursar.billing.errors import (
    AmountNotInCurrency,
    BudgetClosed,
    BudgetExists,
    BudgetNegative,
    BudgetNotFound,
    BudgetPlaceOver,
    BudgetUnchanged,
    ThresholdInvalid,
)
from bursar.billing.models import (
    Budget,
    BudgetChange,
    BudgetCrossing,
    BudgetThreshold,
    CreditNote,
    CreditNoteLine,
    Cut,
    Invoice,
    InvoiceLine,
)
from bursar.billing.services import budgets as services
from bursar.catalogue import services as catalogue
from bursar.engine.budget import Threshold, Turn
from bursar.kernel.clock import stated_time
from bursar.provisioning import services as provisioning
from bursar.provisioning.models import Order, Resource, Side, SpendingHold
from bursar.structure.errors import TextMissing, TextNotAllowed, TextTooLong
from bursar.structure.models import Organization, Project
from bursar.structure.roles import NotAllowed, Role
from tests.factories.budgets import NOVEMBER, bill, budget_of, crossings, events, mails, make_priced_world, spent
from tests.factories.provisioning import World, make_resource, place_order, run_jobs
from tests.factories.puppet import use_puppet
from tests.factories.structure import make_membership, make_organization, make_project, make_workspace

pytestmark = pytest.mark.slow
OCTOBER = date(2026, 10, 1)
TELL, HOLD, PAUSE = (BudgetThreshold.Action(a) for a in ("tell", "hold", "pause"))


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: make_priced_world(at=at), at=at)  # type: ignore[no-any-return]


@pytest.fixture
def world(made: World, db: None, at: datetime) -> Iterator[World]:
    with stated_time(at):
        yield deepcopy(made)


# ------------------------------------------------------------------------------------------------ what is spent
def test_spending__lines_of_the_stretch__are_summed_net_and_once(world: World) -> None:
    below, beside = make_project(parent=world.project), make_project(organization=world.university)
    bill(world, "100.00")
    bill(world, "20.50", workspace=make_workspace(below))
    bill(world, "7.25", workspace=make_workspace(beside))
    bill(world, "3.00", workspace=make_workspace(world.university))
    bill(world, "-10.00", kind="compensation")
    bill(world, "5.00", kind="adjustment", month=NOVEMBER)
    bill(world, "-50.00", kind="credit")  # pays it, and makes it no less spent
    bill(world, "1000.00", month=OCTOBER)
    bill(world, "3000.00", month=date(2025, 12, 1))
    bill(world, "500.00", currency="NOK")
    bill(world, "900.00", customer=make_organization(), workspace=make_workspace(make_organization()))
    project, whole = budget_of(world), budget_of(world, scope=world.university)
    year = budget_of(world, span="year")
    total = budget_of(world, span="total")
    kroner = budget_of(world, currency="NOK")
    expected = {project: "115.50", whole: "125.75", year: "1115.50", total: "4115.50", kroner: "500.00"}
    found = budgets.spending_of(list(expected), at=world.at)
    assert {pk: one.spent for pk, one in found.items()} == {b.pk: Decimal(amount) for b, amount in expected.items()}


def test_spending__an_adjustment__counts_in_the_month_of_its_invoice(world: World) -> None:
    line = bill(world, "40.00", kind="adjustment")
    InvoiceLine.objects.filter(pk=line.pk).update(month=OCTOBER)
    budget = budget_of(world)
    assert spent(budget, world.at) == Decimal("40.00")
    assert spent(budget, world.at - timedelta(days=30)) == 0


def test_spending__a_credit_note__takes_off_what_it_takes_back(world: World) -> None:
    line = bill(world, "100.00")
    cut = Cut.objects.create(fact=0, price=0, tax_rate=0, operations={}, taken_at=world.at)
    Invoice.objects.filter(pk=line.invoice_id).update(state="issued", number=1, issued_at=world.at, cut=cut)
    note = CreditNote.objects.create(
        invoice=line.invoice, provider=world.provider, number=1, number_text="1", reason="r", net=30, tax=0, total=30,
        after_invoice=1,
        issued_at=world.at,
    )  # fmt: skip
    CreditNoteLine.objects.create(credit_note=note, line=line, amount=Decimal(30))
    assert spent(budget_of(world), world.at) == Decimal(70)


def test_spending__use__is_expected_to_go_on(world: World) -> None:
    use = catalogue.add_component(
        offering=world.offering, ticks_per_unit=1, by=None, at=world.at,
        key="more", title="Use", billing="usage", unit_name="hours", category=world.cpu,
    )  # fmt: skip
    bill(world, "60.00")
    bill(world, "41.00", component=use)
    budget = budget_of(world)
    # 20.5 days of 30 are over: 60 + 41 x 30/20.5
    assert budgets.spending_of([budget], at=world.at)[budget.pk] == budgets.Spending(
        NOVEMBER, Decimal("101.00"), Decimal("120.00")
    )


def test_spending__the_customers_day__turns_the_month(world: World) -> None:
    Organization.objects.filter(pk=world.university.pk).update(time_zone="Pacific/Auckland")
    world.university.refresh_from_db()
    bill(world, "10.00")
    bill(world, "25.00", month=date(2026, 12, 1))
    Project.objects.filter(pk=world.project.pk).update(organization=world.university)
    budget = budget_of(world, scope=Organization.objects.get(pk=world.university.pk))
    late = datetime.fromisoformat("2026-11-30T10:59:59+00:00")
    assert spent(budget, late) == 10
    assert spent(budget, late + timedelta(seconds=1)) == 25


def test_spending__more_budgets__asks_no_more(world: World) -> None:
    def asked(amount: int) -> int:
        for _ in range(amount):
            project = make_project(organization=world.university)
            bill(world, "1.00", workspace=make_workspace(project))
            budget_of(world, scope=project)
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert len(budgets.budgets_below(world.university, world.owner, at=world.at)) >= amount
            services.budgets_to_evaluate(at=world.at)
        return len(queries)

    assert asked(1) == asked(4)


# ------------------------------------------------------------------------------------------------ by people
def test_set__by_the_owner__has_the_usual_thresholds_and_a_trace(world: World) -> None:
    budget = budget_of(world, "1500.5", reason="As agreed.")
    assert [(t.percent, t.action) for t in budget.thresholds.all()] == [(75, "tell"), (90, "tell"), (100, "tell")]
    assert [(c.amount, c.reason, c.by) for c in budget.changes.all()] == [
        (Decimal("1500.500"), "As agreed.", world.owner)
    ]
    assert (budget.currency, budget.organization, events(budget)) == ("EUR", world.university, ["set"])


@pytest.mark.parametrize(
    "wish, refusal",
    [
        ({"amount": "-1"}, BudgetNegative),
        ({"amount": "1.001"}, AmountNotInCurrency),
        ({"amount": "1e15"}, AmountNotInCurrency),
        ({"amount": "NaN"}, AmountNotInCurrency),
        ({"amount": "1.5", "currency": "JPY"}, AmountNotInCurrency),
        ({"thresholds": [Threshold(0, "tell")]}, ThresholdInvalid),
        ({"thresholds": [Threshold(50, "burn")]}, ThresholdInvalid),
        ({"thresholds": [Threshold(50, "tell")] * 2}, ThresholdInvalid),
        ({"thresholds": [Threshold(n, "tell") for n in range(1, 14)]}, ThresholdInvalid),
    ],
)
def test_set__what_makes_no_sense__is_refused(world: World, wish: dict[str, Any], refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        budget_of(world, wish.pop("amount", "10"), **wish)
    assert Budget.objects.count() == BudgetChange.objects.count() == BudgetThreshold.objects.count() == 0


def test_set__twice__is_refused_until_the_first_is_closed(world: World) -> None:
    first = budget_of(world)
    with pytest.raises(BudgetExists) as refused:
        budget_of(world, "5")
    assert refused.value.amount == "1,000.00 EUR"
    services.close_budget(budget_id=first.pk, reason="Over.", by=world.owner, at=world.at)
    assert budget_of(world, "5").amount == 5


def test_set__where_nothing_is_spent_any_more__is_refused(world: World) -> None:
    Project.objects.filter(pk=world.project.pk).update(archived_at=world.at)
    with pytest.raises(BudgetPlaceOver):
        budget_of(world, scope=Project.objects.get(pk=world.project.pk))


@pytest.mark.parametrize("who, sees", [("pi", True), ("member", False), ("manager", False)])
def test_change__by_whoever_may_not__is_refused_and_nothing_changes(world: World, who: str, sees: bool) -> None:
    budget = budget_of(world)
    by = getattr(world, who)
    for attempt in (
        lambda: services.change_budget(budget_id=budget.pk, amount=Decimal(1), reason="r", by=by, at=world.at),
        lambda: services.set_thresholds(budget_id=budget.pk, thresholds=[], by=by, at=world.at),
        lambda: services.close_budget(budget_id=budget.pk, reason="r", by=by, at=world.at),
    ):
        with pytest.raises(NotAllowed if sees else BudgetNotFound):
            attempt()
    with pytest.raises(NotAllowed):
        budget_of(world, scope=world.university, by=by)
    budget.refresh_from_db()
    assert (budget.amount, budget.closed_at, budget.thresholds.count(), budget.changes.count()) == (1000, None, 3, 1)


def test_change__up_and_down__is_traced_with_reasons(world: World) -> None:
    budget = budget_of(world)
    for amount, reason in (("1200", "More work."), ("800", "Less work.")):
        services.change_budget(budget_id=budget.pk, amount=Decimal(amount), reason=reason, by=world.owner, at=world.at)
    with pytest.raises(BudgetUnchanged):
        services.change_budget(budget_id=budget.pk, amount=Decimal(800), reason="r", by=world.owner, at=world.at)
    for reason, refusal in ((" ", TextMissing), ("x" * 501, TextTooLong), ("a\0b", TextNotAllowed)):
        with pytest.raises(refusal):
            services.change_budget(budget_id=budget.pk, amount=Decimal(7), reason=reason, by=world.owner, at=world.at)
    services.close_budget(budget_id=budget.pk, reason="Done.", by=world.owner, at=world.at)
    with pytest.raises(BudgetClosed):
        services.change_budget(budget_id=budget.pk, amount=Decimal(7), reason="r", by=world.owner, at=world.at)
    changes = budgets.budget_details(world.pi, budget.pk, at=world.at).changes
    assert [(c.what, c.row.amount, c.row.reason) for c in changes] == [
        ("closed", 800, "Done."),
        ("lowered", 800, "Less work."),
        ("raised", 1200, "More work."),
        ("set", 1000, ""),
    ]
    assert events(budget) == ["set", "raised", "lowered", "closed"]


# ------------------------------------------------------------------------------------------------ crossing
def test_evaluate__a_threshold_is_passed__tells_each_once(world: World) -> None:
    manager = make_membership(role=Role.ORGANIZATION_MANAGER, scope=world.university).person
    make_membership(role=Role.BILLING_VIEWER, scope=world.university)
    budget = budget_of(world)
    line = bill(world, "749.99")
    assert services.evaluate_budget(budget_id=budget.pk, at=world.at) == Turn((), ())
    InvoiceLine.objects.filter(pk=line.pk).update(amount="900.00")
    for _ in range(2):
        tasks.evaluate_budgets(timestamp=0)
    assert crossings(budget) == [(75, "tell", True), (90, "tell", True)]
    both = list(BudgetCrossing.objects.order_by("pk").values_list("pk", flat=True))
    assert mails() == [(pk, both) for pk in sorted([world.owner.pk, manager.pk, world.pi.pk])]
    assert events(budget) == ["set", "crossed", "crossed"]
    row = BudgetCrossing.objects.get(percent=75)
    assert (row.spent, row.amount, row.stretch, row.at) == (900, 1000, NOVEMBER, world.at)


def test_lower__below_what_is_spent__crosses_at_once_and_raising_lets_go(world: World) -> None:
    bill(world, "500.00")
    budget = budget_of(world, thresholds=[Threshold(100, HOLD)])
    assert crossings(budget) == []
    services.change_budget(budget_id=budget.pk, amount=Decimal(500), reason="r", by=world.owner, at=world.at)
    assert crossings(budget) == [(100, "hold", True)]
    order = place_order(world)
    order = provisioning.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
    assert order.state == "held"
    services.change_budget(budget_id=budget.pk, amount=Decimal("500.01"), reason="r", by=world.owner, at=world.at)
    run_jobs(only="settle_holds")
    assert crossings(budget) == [(100, "hold", False)]
    assert Order.objects.get(pk=order.pk).state == "pending_provider"
    services.change_budget(budget_id=budget.pk, amount=Decimal(400), reason="r", by=world.owner, at=world.at)
    assert crossings(budget) == [(100, "hold", False), (100, "hold", True)]  # a new crossing acts again
    assert [(h.lifted_at is None, h.facts["spent"]) for h in SpendingHold.objects.all()] == [
        (False, "500.000"),
        (True, "500.000"),
    ]
    assert len(mails()) == 4  # owner and principal investigator, twice


def test_evaluate__corrected_below__ends_the_crossing(world: World) -> None:
    budget = budget_of(world, thresholds=[Threshold(50, HOLD)])
    bill(world, "600.00")
    services.evaluate_budget(budget_id=budget.pk, at=world.at)
    bill(world, "-200.00", kind="compensation")
    services.evaluate_budget(budget_id=budget.pk, at=world.at)
    assert crossings(budget) == [(50, "hold", False)]
    assert SpendingHold.objects.filter(lifted_at=None).count() == 0
    assert events(budget) == ["set", "crossed", "uncrossed"]


def test_evaluate__the_next_month__ends_what_stood(world: World) -> None:
    budget = budget_of(world, thresholds=[Threshold(50, HOLD)])
    bill(world, "600.00")
    services.evaluate_budget(budget_id=budget.pk, at=world.at)
    december = world.at + timedelta(days=10)
    assert services.budgets_to_evaluate(at=world.at) == []
    assert services.budgets_to_evaluate(at=december) == [budget.pk]
    services.evaluate_budget(budget_id=budget.pk, at=december)
    assert crossings(budget) == [(50, "hold", False)]


def test_thresholds__changed__end_and_begin_what_they_must(world: World) -> None:
    bill(world, "600.00")
    budget = budget_of(world, thresholds=[Threshold(50, HOLD), Threshold(55, TELL)])
    services.set_thresholds(
        budget_id=budget.pk, thresholds=[Threshold(60, PAUSE), Threshold(55, TELL)], by=world.owner, at=world.at
    )
    assert crossings(budget) == [(50, "hold", False), (55, "tell", True), (60, "pause", True)]
    assert [(h.effect, h.lifted_at is None) for h in SpendingHold.objects.order_by("pk")] == [
        ("orders", False),
        ("resources", True),
    ]


def test_close__what_it_held__is_let_go(world: World) -> None:
    bill(world, "600.00")
    budget = budget_of(world, thresholds=[Threshold(50, HOLD), Threshold(60, PAUSE)])
    services.close_budget(budget_id=budget.pk, reason="Over.", by=world.owner, at=world.at)
    assert crossings(budget) == [(50, "hold", False), (60, "pause", False)]
    assert SpendingHold.objects.filter(lifted_at=None).count() == 0
    tasks.evaluate_budgets(timestamp=0)
    assert len(crossings(budget)) == 2


def test_pause__at_the_threshold__pauses_and_resumes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use_puppet(monkeypatch)
    resource = make_resource(world)
    run_jobs()
    bill(world, "600.00")
    budget = budget_of(world, thresholds=[Threshold(60, PAUSE)])
    run_jobs()
    assert Resource.objects.get(pk=resource.pk).state == "paused"
    shown = budgets.budget_details(world.owner, budget.pk, at=world.at)
    assert [(s.resource.pk, s.state) for s in shown.resources] == [(resource.pk, "paused")]
    assert (shown.shown.percent, shown.shown.left, shown.shown.may_manage) == (60, 400, True)
    services.change_budget(budget_id=budget.pk, amount=Decimal(2000), reason="r", by=world.owner, at=world.at)
    run_jobs()
    assert Resource.objects.get(pk=resource.pk).state == "ok"
