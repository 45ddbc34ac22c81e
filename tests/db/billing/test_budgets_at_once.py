"""Budgets compared by several at once, and by one who is killed: each crossing and what it does happen once."""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from time import monotonic
from typing import Any

import pytest
from django.db import connection, connections, transaction

from bursar.billing.models import Budget, BudgetCrossing, BudgetThreshold
from bursar.billing.services import budgets as services
from bursar.engine.budget import Threshold
from bursar.kernel.clock import stated_time
from bursar.provisioning.models import SpendingHold
from tests.factories.budgets import bill, budget_of, crossings, events, mails, make_priced_world
from tests.factories.provisioning import World

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

TELL, HOLD = BudgetThreshold.Action.TELL, BudgetThreshold.Action.HOLD


@pytest.fixture
def own_world(transactional_db: None, at: datetime) -> Iterator[World]:
    with stated_time(at):
        yield make_priced_world(at=at)
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


def begin(*works: Callable[[], Any]) -> tuple[list[threading.Thread], list[Any]]:
    answers: list[Any] = [None] * len(works)
    gate = threading.Barrier(len(works))

    def run(index: int) -> None:
        try:
            gate.wait(timeout=10)
            answers[index] = works[index]()
        except Exception as error:
            answers[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,), daemon=True) for index in range(len(works))]
    for thread in threads:
        thread.start()
    return threads, answers


def finish(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def all_once(world: World, budget: Budget) -> None:
    assert crossings(budget) == [(75, "tell", True), (90, "hold", True)]
    assert SpendingHold.objects.count() == 1
    both = list(BudgetCrossing.objects.order_by("pk").values_list("pk", flat=True))
    assert mails() == [(pk, both) for pk in sorted([world.owner.pk, world.pi.pk])]
    assert events(budget) == ["set", "crossed", "crossed"]


def test_evaluate__several_at_once__acts_once(own_world: World) -> None:
    budget = budget_of(own_world, thresholds=[Threshold(75, TELL), Threshold(90, HOLD)])
    bill(own_world, "950.00")

    def evaluate() -> int:
        return len(services.evaluate_budget(budget_id=budget.pk, at=own_world.at).begin)

    threads, answers = begin(*[evaluate] * 4)
    finish(threads)
    assert sorted(answers) == [0, 0, 0, 2]
    all_once(own_world, budget)


def test_evaluate__killed_in_the_middle__leaves_nothing_and_is_done_once_after(own_world: World) -> None:
    budget = budget_of(own_world, thresholds=[Threshold(75, TELL), Threshold(90, HOLD)])
    bill(own_world, "950.00")
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute("LOCK TABLE procrastinate_jobs IN EXCLUSIVE MODE")  # it gets as far as the mails
        threads, answers = begin(lambda: services.evaluate_budget(budget_id=budget.pk, at=own_world.at))
        killed, until = 0, monotonic() + 30
        while not killed and monotonic() < until:
            cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees the same activity otherwise
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            (killed,) = cursor.fetchone()
        finish(threads)
    assert killed == 1
    assert isinstance(answers[0], Exception)
    assert (crossings(budget), mails(), SpendingHold.objects.count(), events(budget)) == ([], [], 0, ["set"])
    assert services.budgets_to_evaluate(at=own_world.at) == [budget.pk]
    for _ in range(2):
        services.evaluate_budget(budget_id=budget.pk, at=own_world.at)
    all_once(own_world, budget)


def test_raise_and_evaluate__at_once__agree_in_the_end(own_world: World) -> None:
    budget = budget_of(own_world, thresholds=[Threshold(90, HOLD)])
    bill(own_world, "950.00")
    threads, answers = begin(
        lambda: services.evaluate_budget(budget_id=budget.pk, at=own_world.at),
        lambda: services.change_budget(
            budget_id=budget.pk, amount=Decimal(5000), reason="r", by=own_world.owner, at=own_world.at
        ),
    )
    finish(threads)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    # Whichever came first: nothing is held, and what was held meanwhile was let go.
    assert all(not stands for _percent, _action, stands in crossings(budget))
    assert SpendingHold.objects.filter(lifted_at=None).count() == 0
    assert services.budgets_to_evaluate(at=own_world.at) == []
