"""Small requests at the same time are booked as one, and nobody can tell from the books or the answers."""

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connections

from bursar.accounting.models import Allocation, Operation, Wallet
from bursar.metering import together
from bursar.metering.answers import Answer
from bursar.metering.errors import BookingBrokeOff, ReportConflict, ReportsAtFault
from bursar.metering.models import ReportIdentity, UsageReport
from bursar.metering.reports import Report
from bursar.metering.services import OrderCounts, post_as_one, post_reports
from bursar.metering.together import post_together
from bursar.metering.verification import verify
from tests.factories.catalogue import make_category
from tests.factories.ledger import AT, YEAR_START, make_allocation, make_report
from tests.factories.structure import make_organization, make_project, make_workspace

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@dataclass
class Tree:
    """A university with three projects, of which the first two are promised more than there is."""

    category: Any
    university: Any
    projects: list[Any]

    def report(self, project: int, ticks: int, **more: Any) -> Report:
        return make_report(self.projects[project], self.category, ticks, **more)

    def books(self) -> tuple[list[Any], list[Any]]:
        """Wallets and allocations by their order, not their ids."""
        wallets = Wallet.objects.filter(category=self.category).order_by("pk")
        allocations = Allocation.objects.filter(category=self.category).order_by("pk")
        return (
            list(wallets.values_list("used_ticks", "uncovered_ticks", "locked")),
            list(allocations.values_list("quota_ticks", "drawn_ticks")),
        )

    def operations(self) -> int:
        return Operation.objects.filter(category_id=self.category.pk, kind="usage").count()


def make_tree() -> Tree:
    category, university = make_category(), make_organization()
    projects = [make_workspace(make_project(organization=university)) for _ in range(3)]
    root = make_allocation(make_workspace(university), category, 100)
    for place, quota in zip(projects, (60, 70, 10), strict=True):
        make_allocation(place, category, quota, source=root.wallet)
    return Tree(category, university, projects)


@pytest.fixture
def tree() -> Tree:
    return make_tree()


class Gate:
    """Holds the first that books until all the others wait, so that they are booked as one."""

    def __init__(self) -> None:
        self.booking, self.go_on = threading.Event(), threading.Event()
        self.sizes: list[int] = []


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made, real = Gate(), together._book

    def held(line: Any, group: Any) -> None:
        made.sizes.append(len(group))
        if not made.booking.is_set():
            made.booking.set()
            assert made.go_on.wait(20)
        real(line, group)

    monkeypatch.setattr(together, "_book", held)
    yield made
    assert together._lines == {}, "somebody was left waiting"


def at_once(gate: Gate, requests: Sequence[Sequence[Report]], *, at: Any = AT) -> list[Any]:
    """What each of these is told: the first books alone, the others wait for it in their order."""
    outcomes: list[Any] = [None] * len(requests)

    def one(number: int) -> None:
        try:
            outcomes[number] = post_together(reports=requests[number], by=None, at=at)
        except BaseException as raised:
            outcomes[number] = raised
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(requests))]
    for number, thread in enumerate(threads):
        thread.start()
        if number == 0:
            assert gate.booking.wait(20)
        else:
            _until(lambda number=number: sum(len(line.waiting) for line in together._lines.values()) == number)
    gate.go_on.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    return outcomes


def _until(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(2_000):
        if true():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come to that")


def of(answer: Answer) -> tuple[int, tuple[str, ...], list[int]]:
    return answer.posted, answer.duplicates, [balance.workspace_id for balance in answer.balances]


def test_post_together__five_at_once__one_operation_for_four_and_the_books_of_one_by_one(
    tree: Tree, gate: Gate
) -> None:
    other = make_tree()
    uses = [[(0, 50)], [(1, 30), (2, 5)], [(1, 40)], [(0, 20), (1, 1)], [(2, 9)]]
    outcomes = at_once(gate, [[tree.report(*use) for use in uses_] for uses_ in uses])
    for uses_ in uses:
        post_reports(reports=[other.report(*use) for use in uses_], by=None, at=AT)

    assert gate.sizes == [1, 4]
    assert (tree.operations(), other.operations()) == (2, 5)
    assert tree.books() == other.books()
    assert tree.books()[0] == [(0, 40, True), (70, 10, True), (71, 1, True), (14, 4, True)]
    places = [place.pk for place in tree.projects]
    assert [of(answer) for answer in outcomes] == [
        (1, (), [places[0]]),
        (2, (), [places[1], places[2]]),
        (1, (), [places[1]]),
        (2, (), [places[0], places[1]]),
        (1, (), [places[2]]),
    ]
    assert [balance.used_ticks for balance in outcomes[3].balances] == [70, 71]
    assert verify(category_id=tree.category.pk) == []


def test_post_together__one_is_at_fault__it_alone_is_refused(tree: Tree, gate: Gate) -> None:
    faulty = tree.report(1, 7, period_start=AT)
    outcomes = at_once(
        gate, [[tree.report(0, 1)], [tree.report(0, 2)], [tree.report(0, 4), faulty], [tree.report(0, 8)]]
    )

    assert [getattr(one, "posted", None) for one in outcomes] == [1, 1, None, 1]
    assert isinstance(outcomes[2], ReportsAtFault)
    assert [(one.index, one.report_id, one.code) for one in outcomes[2].faults] == [
        (1, faulty.report_id, "period_empty")
    ]
    assert [row[0] for row in tree.books()[0]] == [0, 11, 0, 0]
    assert UsageReport.objects.filter(category_id=tree.category.pk).count() == 3
    assert verify(category_id=tree.category.pk) == []


def test_post_together__one_id_twice__the_second_is_a_duplicate_or_a_conflict(tree: Tree, gate: Gate) -> None:
    report = tree.report(0, 3)
    outcomes = at_once(gate, [[tree.report(0, 1)], [report], [tree.report(1, 1), report]])
    assert [of(answer)[:2] for answer in outcomes] == [(1, ()), (1, ()), (1, (report.report_id,))]
    assert [balance.used_ticks for balance in outcomes[2].balances] == [1, 4]
    gate.booking.clear()
    gate.go_on.clear()

    first = tree.report(0, 5)
    second = tree.report(0, 6, report_id=first.report_id)
    outcomes = at_once(gate, [[tree.report(0, 1)], [first], [second], [tree.report(0, 1)]])
    assert [type(one) for one in outcomes] == [Answer, Answer, ReportConflict, Answer]
    assert (outcomes[2].report_ids, outcomes[2].faults[0].index) == ((first.report_id,), 0)
    assert tree.books()[0][1][0] == 4 + 5 + 2
    assert verify(category_id=tree.category.pk) == []


def test_post_together__the_one_that_books_is_killed__the_others_are_told_and_nothing_is_written(
    tree: Tree, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(**_request: Any) -> Any:
        raise SystemExit

    monkeypatch.setattr(together, "post_as_one", killed)
    outcomes = at_once(gate, [[tree.report(0, 1)], [tree.report(0, 2)], [tree.report(0, 4)], [tree.report(0, 8)]])
    assert [type(one) for one in outcomes] == [Answer, SystemExit, BookingBrokeOff, BookingBrokeOff]
    assert [row[0] for row in tree.books()[0]] == [0, 1, 0, 0]
    assert post_together(reports=[tree.report(0, 16)], by=None, at=AT).posted == 1


def test_post_together__the_connection_breaks_in_the_middle__the_others_are_told_and_nothing_is_half_written(
    tree: Tree, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bursar.metering import services as metering

    real = metering.begin_writing

    def broken(**rows: Any) -> None:
        real(**rows)
        if len(rows["reports"]) == 3:  # of the group: balances and journal are on their way by now
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr(metering, "begin_writing", broken)
    outcomes = at_once(gate, [[tree.report(0, 1)], [tree.report(0, 2)], [tree.report(0, 4)], [tree.report(0, 8)]])
    assert [type(one) for one in outcomes] == [Answer, OperationalError, BookingBrokeOff, BookingBrokeOff]
    assert [row[0] for row in tree.books()[0]] == [0, 1, 0, 0]
    assert ReportIdentity.objects.filter(category=tree.category).count() == 1
    assert post_together(reports=[tree.report(0, 16)], by=None, at=AT).balances[0].used_ticks == 17
    assert verify(category_id=tree.category.pk) == []


def test_post_together__two_categories_and_what_may_not_wait__go_each_by_itself(tree: Tree, gate: Gate) -> None:
    other = make_tree()
    level = tree.report(2, 5, is_absolute=True)
    gate.booking.set()
    gate.go_on.set()
    assert post_together(reports=[level], by=None, at=AT).posted == 1
    assert post_together(reports=[tree.report(0, 1), other.report(0, 1)], by=None, at=AT).posted == 2
    assert post_together(reports=[tree.report(0, -1)], by=None, at=AT).posted == 1
    ahead = tree.report(0, 1, until=AT + timedelta(minutes=2))
    assert post_together(reports=[ahead], by=None, at=AT).posted == 1
    assert gate.sizes == []


@pytest.mark.parametrize("seed", range(3))
def test_post_as_one__any_requests__come_to_what_one_after_the_other_come_to(tree: Tree, seed: int) -> None:
    """Also where quota runs out in the middle, and where ids come again in the same request, in another or later."""
    chance, other = random.Random(seed), make_tree()
    sent: list[tuple[Report, Report]] = []
    for _round in range(8):
        both: tuple[list[list[Report]], list[list[Report]]] = ([], [])
        for _request in range(chance.randint(2, 5)):
            pairs = []
            for _report in range(chance.randint(1, 4)):
                if sent and chance.random() < 0.2:
                    pairs.append(chance.choice(sent))
                    continue
                use = (chance.randrange(3), chance.choice([0, 1, 4, 9]))
                until = AT - timedelta(hours=chance.randint(0, 50))
                first = tree.report(*use, until=until)
                pairs.append((first, other.report(*use, until=until, report_id=first.report_id)))
                sent.append(pairs[-1])
            for side, reports in zip(both, zip(*pairs, strict=True), strict=True):
                side.append(list(reports))
        joint = post_as_one(requests=both[0], by=None, at=AT)
        single = [post_reports(reports=request, by=None, at=AT) for request in both[1]]
        assert [of(answer)[:2] for answer in joint] == [of(answer)[:2] for answer in single]
        assert [len(answer.balances) for answer in joint] == [len(answer.balances) for answer in single]
        assert tree.books() == other.books()
        last = {balance.workspace_id: balance for answer in joint for balance in answer.balances}
        for answer in joint:
            assert all(balance == last[balance.workspace_id] for balance in answer.balances)
    assert tree.books()[0][0][1] > 0  # the university's quota ran out on the way
    assert verify(category_id=tree.category.pk) == verify(category_id=other.category.pk) == []


def test_post_as_one__where_the_order_could_count__is_left_to_one_after_the_other(tree: Tree, gate: Gate) -> None:
    """Usage from before an allocation began; and a wallet with two sources."""
    late = make_organization()
    soon = make_workspace(make_project(organization=late))
    make_allocation(soon, tree.category, 5, start=AT - timedelta(hours=3))
    before = make_report(soon, tree.category, 1, until=AT - timedelta(hours=6))
    with pytest.raises(OrderCounts):
        post_as_one(requests=[[before], [tree.report(0, 1)]], by=None, at=AT)

    second = make_allocation(make_workspace(late), tree.category, 50, start=YEAR_START)
    make_allocation(tree.projects[0], tree.category, 10, source=second.wallet)
    with pytest.raises(OrderCounts):
        post_as_one(requests=[[tree.report(0, 1)], [tree.report(1, 1)]], by=None, at=AT)
    assert not UsageReport.objects.filter(category_id=tree.category.pk).exists()

    outcomes = at_once(gate, [[tree.report(0, 1)], [tree.report(0, 2)], [tree.report(1, 3)]])
    assert [one.posted for one in outcomes] == [1, 1, 1]
    assert tree.operations() == 3
    assert verify(category_id=tree.category.pk) == []
