"""The loop: each kind of answer, newer wishes in between, the same asked twice, shares of a wallet, ends and starts."""

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import pytest
from django.db import Error, connection, transaction
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.accounting.selectors import verify, wallet_state
from bursar.catalogue import registry
from bursar.catalogue.errors import PluginBroken
from bursar.catalogue.models import Plan
from bursar.kernel.clock import stated_time
from bursar.kernel.errors import DomainError
from bursar.metering.reports import Report
from bursar.metering.services import post_reports
from bursar.plugins.contract import (
    ActionSpec,
    BackendUnreachable,
    Busy,
    DesiredResource,
    Done,
    NeedsAction,
    Observation,
    Outcome,
    Plugin,
    Presence,
    Refused,
    UsageBatch,
    UsageRecord,
)
from bursar.provisioning import quota, reconcile, selectors, services, tasks
from bursar.provisioning.errors import (
    AbilityMissing,
    ActionRefused,
    ActionUnanswered,
    BackendUnreachableNow,
    KeyReused,
    NoValidAllocation,
    OrderStepNotOpen,
    PlanSoldOut,
    QuotaUsedUp,
    ResourceStepNotOpen,
)
from bursar.provisioning.models import (
    LocalAccount,
    Order,
    OrderDecision,
    Resource,
    ResourceFact,
    SetAside,
    Side,
    UsageMark,
)
from bursar.provisioning.queue import ask_to_sync
from bursar.provisioning.services import resources, set_aside, usage
from bursar.structure.roles import Role
from tests.factories.catalogue import make_plan
from tests.factories.ledger import make_report
from tests.factories.provisioning import World, approve_all, make_resource, make_world, place_order, run_jobs
from tests.factories.puppet import Puppet, use_puppet
from tests.factories.structure import make_membership, make_person, make_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: make_world(at=at), at=at)


@pytest.fixture
def world(made: World, at: datetime) -> Any:
    with stated_time(at):
        yield deepcopy(made)


@pytest.fixture
def puppet(monkeypatch: pytest.MonkeyPatch, world: World) -> Puppet:
    return use_puppet(monkeypatch)


def fresh(resource: Resource) -> Resource:
    return Resource.objects.get(pk=resource.pk)


def ready(world: World, **more: Any) -> Resource:
    resource = make_resource(world, **more)
    run_jobs()
    resource = fresh(resource)
    assert resource.state == "ok"
    return resource


def facts_of(resource: Resource) -> list[tuple[str, Any]]:
    rows = ResourceFact.objects.filter(resource=resource).order_by("pk")
    return [(f.what, f.state or f.limit or f.plan_id) for f in rows]


# ------------------------------------------------------------------------------------------------ answers
def test_reconcile__done__is_ready_after_quota_and_members_were_told(world: World, puppet: Puppet) -> None:
    resource = ready(world, limits={"storage": 20})
    assert puppet.verbs() == ["ensure", "set_members", "enforce_quota"]
    assert puppet.quotas[resource.pk][0].available == 360_000
    assert (resource.backend_id, resource.observed_generation) == (f"b{resource.pk}", 1)
    assert facts_of(resource) == [
        ("state", "creating"),
        ("plan", world.plan_id),
        ("limit", 20),
        ("state", "ok"),
    ]
    assert Order.objects.get().state == "done"
    assert not verify(category_id=world.disk.pk)


def test_reconcile__asked_twice__asks_the_backend_once(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    before = puppet.verbs()
    reconcile.reconcile(resource.pk)
    tasks.reconcile_resource(resource_id=resource.pk)
    assert puppet.verbs() == before
    assert ResourceFact.objects.filter(resource=resource, what="state").count() == 2


def test_reconcile__busy__asks_again_when_its_time_has_come(world: World, puppet: Puppet) -> None:
    puppet.answers["ensure"] = [Busy(30, "Being built.", {"ticket": 7})]
    resource = make_resource(world)
    run_jobs()
    resource = fresh(resource)
    assert (resource.state, resource.message, resource.plugin_state) == ("creating", "Being built.", {"ticket": 7})
    assert resource.retry_at == world.at + timedelta(seconds=30)
    assert Order.objects.get().state == "executing"
    with stated_time(world.at + timedelta(seconds=31)):
        run_jobs()
    assert fresh(resource).state == "ok"
    assert puppet.asked[-3][1].state == {"ticket": 7}


@pytest.mark.parametrize("trouble", [BackendUnreachable("No answer from thor."), RuntimeError("secret=hunter2")])
def test_reconcile__unreachable_or_broken__waits_and_says_so_without_secrets(
    world: World, puppet: Puppet, trouble: Exception
) -> None:
    def fail(_resource: Any) -> Outcome:
        raise trouble

    puppet.answers["ensure"] = [fail, fail]
    resource = make_resource(world)
    run_jobs()
    resource = fresh(resource)
    assert (resource.state, resource.unreachable_since) == ("creating", world.at)
    assert "hunter2" not in resource.message
    assert Order.objects.get().state == "executing"
    with stated_time(world.at + timedelta(minutes=5)):
        run_jobs()
    with stated_time(world.at + timedelta(minutes=10)):
        run_jobs()
    resource = fresh(resource)
    assert (resource.state, resource.unreachable_since, resource.message) == ("ok", None, "")


def test_reconcile__no_such_plugin__waits_and_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_backend: Any) -> Any:
        raise PluginBroken(key="manual", why="missing library")

    monkeypatch.setattr(registry, "make", broken)
    resource = make_resource(world)
    run_jobs()
    assert "missing library" in fresh(resource).message
    assert Order.objects.get().state == "executing"


def test_reconcile__needs_action__stands_in_the_work_queue_and_mail_goes_out_once(world: World, puppet: Puppet) -> None:
    puppet.answers["ensure"] = [NeedsAction("Plug it in."), NeedsAction("Plug it in.")]
    resource = make_resource(world)
    run_jobs()
    with stated_time(world.at + timedelta(seconds=61)):
        run_jobs()
    assert fresh(resource).awaited_work == "Plug it in."
    assert mails("work_awaited") == [world.manager.pk]
    services.confirm_work(resource_id=resource.pk, backend_id="x1", by=world.manager, at=world.at)
    resource = fresh(resource)
    assert (resource.state, resource.backend_id, resource.awaited_work) == ("ok", "x1", "")
    assert OrderDecision.objects.filter(decision="confirmed", by=world.manager).count() == 1


def mails(kind: str) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT (args->>'to_person_id')::int FROM procrastinate_jobs WHERE queue_name = 'mail' AND args->>'kind' = %s"
            " ORDER BY id",
            [kind],
        )
        return [row[0] for row in cursor.fetchall()]


def test_reconcile__refused_at_first__fails_and_may_be_tried_again(world: World, puppet: Puppet) -> None:
    puppet.answers["ensure"] = [Refused("No such flavor.")]
    resource = make_resource(world)
    run_jobs()
    order = Order.objects.get()
    assert (fresh(resource).state, order.state, order.error) == ("failed", "failed", "No such flavor.")
    assert mails("order_failed") == [world.pi.pk]
    tasks.sweep(timestamp=0)
    assert puppet.verbs() == ["ensure"]  # what was refused is not asked again by itself
    services.retry_order(order_id=order.pk, by=world.manager, at=world.at)
    run_jobs()
    assert (fresh(resource).state, Order.objects.get().state) == ("ok", "done")
    assert Resource.objects.count() == 1


def test_reconcile__a_change_refused__is_taken_back_to_what_is_in_force(world: World, puppet: Puppet) -> None:
    resource = ready(world, limits={"storage": 20})
    puppet.answers["ensure"] = [Refused("Too large.")]
    order = approve_all(world, change(world, resource, 40))
    run_jobs()
    resource, order = fresh(resource), Order.objects.get(pk=order.pk)
    assert (order.state, order.error) == ("failed", "Too large.")
    assert (resource.state, resource.limits, resource.desired_limits) == ("ok", {"storage": 20}, {"storage": 20})
    assert resource.matches
    assert [r.limits for verb, r in puppet.asked if verb == "ensure"] == [
        {"storage": 20},
        {"storage": 40},
        {"storage": 20},
    ]
    disk = wallet_state(workspace_id=world.workspace.pk, category_id=world.disk.pk, at=world.at)
    assert disk is not None
    assert disk.used_ticks == 20


def change(world: World, resource: Resource, storage: int) -> Order:
    return services.submit_change(resource_id=resource.pk, limits={"storage": storage}, by=world.pi, at=world.at)


def test_submit__the_same_key_after_more_has_happened__is_the_order_that_was_placed(
    world: World, puppet: Puppet
) -> None:
    made = place_order(world, limits={"storage": 20}, idempotency_key="k1")
    approve_all(world, made)
    run_jobs()
    assert place_order(world, limits={"storage": 20}, idempotency_key="k1").pk == made.pk
    resource = Resource.objects.get()
    again: dict[str, Any] = {"resource_id": resource.pk, "by": world.pi, "at": world.at}
    first = services.submit_change(limits={"storage": 40}, idempotency_key="k2", **again)
    assert services.submit_change(limits={"storage": 40}, idempotency_key="k2", **again).pk == first.pk
    approve_all(world, first)  # the resource is being changed, which is no time for another order
    assert services.submit_change(limits={"storage": 40}, idempotency_key="k2", **again).pk == first.pk
    run_jobs()
    services.rename_resource(name="Other", **again)
    approve_all(world, change(world, resource, 50))
    run_jobs()
    assert services.submit_change(limits={"storage": 40}, idempotency_key="k2", **again).pk == first.pk
    for other in ({"limits": {"storage": 50}}, {}, {"limits": {"storage": 40}, "start": world.at}):
        with pytest.raises(KeyReused):
            services.submit_change(idempotency_key="k2", **again, **other)
    end = services.submit_termination(idempotency_key="k3", **again)
    services.rename_resource(name="Once more", **again)
    assert services.submit_termination(idempotency_key="k3", **again).pk == end.pk
    assert Order.objects.count() == 4


def test_change__into_a_plan_with_one_place__keeps_it_from_the_order_until_it_is_left(
    world: World, puppet: Puppet
) -> None:
    first, second = ready(world), ready(world, name="Run 2")
    small = make_plan(world.offering, name="Small", resources_max=1)

    def into(resource: Resource, plan_id: int) -> Order:
        return services.submit_change(resource_id=resource.pk, plan_id=plan_id, by=world.pi, at=world.at)

    def see_it_sold_out() -> None:
        with pytest.raises(PlanSoldOut):
            into(second, small.pk)
        with pytest.raises(PlanSoldOut):
            place_order(world, name="Run 3", plan_id=small.pk)

    order = into(first, small.pk)
    see_it_sold_out()
    approve_all(world, order)
    see_it_sold_out()
    run_jobs()
    assert fresh(first).plan == small
    back = into(first, world.plan_id)
    see_it_sold_out()
    approve_all(world, back)
    see_it_sold_out()  # it may come back to it: the backend has not let it go yet
    run_jobs()
    assert approve_all(world, into(second, small.pk)).state == "executing"


def test_retry__the_last_place_was_given_since__is_refused(world: World, puppet: Puppet) -> None:
    first, second = ready(world), ready(world, name="Run 2")
    small = make_plan(world.offering, name="Small", resources_max=1)

    def into(resource: Resource) -> Order:
        wish = services.submit_change(resource_id=resource.pk, plan_id=small.pk, by=world.pi, at=world.at)
        return approve_all(world, wish)

    puppet.answers["ensure"] = [Refused("Not today.")]
    failed = into(first)
    run_jobs()
    assert Order.objects.get(pk=failed.pk).state == "failed"
    into(second)
    with pytest.raises(PlanSoldOut):
        services.retry_order(order_id=failed.pk, by=world.manager, at=world.at)
    assert Order.objects.get(pk=failed.pk).state == "failed"
    assert (fresh(first).desired_plan_id, fresh(first).state) == (world.plan_id, "ok")


def test_approve__more_wait_than_there_are_places_now__those_placed_first_get_them(
    world: World, puppet: Puppet
) -> None:
    first, second = place_order(world), place_order(world, name="Run 2")
    Plan.objects.filter(pk=world.plan_id).update(resources_max=1)
    with pytest.raises(PlanSoldOut):
        approve_all(world, second)
    assert approve_all(world, first).state == "executing"
    assert Resource.objects.count() == 1


def test_reconcile__a_newer_wish_while_asked__the_old_answer_does_not_pass_for_it(world: World, puppet: Puppet) -> None:
    resource = ready(world, limits={"storage": 20})
    seen: list[int] = []

    def newer_wish_comes(desired: Any) -> Outcome:
        seen.append(desired.generation)
        services.pause_resource(resource_id=resource.pk, by=world.pi, at=world.at)
        return Done(backend_id="b-late", access={"Door": "2"})

    # The first ask of an (earlier queued) repair is overtaken by a pause.
    Resource.objects.filter(pk=resource.pk).update(generation=2)
    puppet.answers["ensure"] = [newer_wish_comes]
    reconcile.reconcile(resource.pk)
    resource = fresh(resource)
    assert seen == [2]
    assert (resource.state, resource.generation, resource.observed_generation) == ("paused", 3, 3)
    assert puppet.verbs()[-1] == "pause"
    assert resource.access == {"Door": "2"}  # what the backend made is true whatever is wished
    assert [r.generation for verb, r in puppet.asked if verb == "ensure"] == [1, 2, 3]


def test_note_matching__for_an_older_wish__changes_nothing(world: World, puppet: Puppet) -> None:
    from bursar.provisioning.services import outcome

    resource = make_resource(world)
    Resource.objects.filter(pk=resource.pk).update(generation=5)
    for note in (
        lambda: outcome.note_matching(resource_id=resource.pk, generation=4, paused=False, at=world.at),
        lambda: outcome.note_refused(resource_id=resource.pk, generation=4, why="no", at=world.at),
        lambda: outcome.note_busy(
            resource_id=resource.pk, generation=4, retry_after_seconds=5, message="x", at=world.at
        ),
        lambda: outcome.note_work(resource_id=resource.pk, generation=4, what="x", at=world.at),
        lambda: outcome.note_unreachable(resource_id=resource.pk, generation=4, message="x", at=world.at),
    ):
        assert note() is False
    resource = fresh(resource)
    assert (resource.state, resource.observed_generation, resource.message) == ("creating", 0, "")
    assert Order.objects.get().state == "executing"


def test_terminate__after_removal__reads_the_last_usage_before_it_is_gone(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    puppet.batches = [UsageBatch([record(resource, "last", 60)], "m9")]
    order = services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
    assert order.state == "executing"
    run_jobs()
    resource = fresh(resource)
    assert puppet.verbs()[-2:] == ["remove", "measure"]
    assert (resource.state, resource.terminated_at) == ("terminated", world.at)
    cpu = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=world.at)
    disk = wallet_state(workspace_id=world.workspace.pk, category_id=world.disk.pk, at=world.at)
    assert cpu is not None
    assert disk is not None
    assert (cpu.used_ticks, disk.used_ticks) == (60, 0)
    assert UsageMark.objects.get().mark == "m9"


def test_terminate__usage_cannot_be_read__waits_for_it(
    world: World, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = ready(world)

    def away(*_args: Any) -> UsageBatch:
        raise BackendUnreachable("No answer.")

    with monkeypatch.context() as patch:
        patch.setattr(puppet, "measure", away)
        services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
        run_jobs()
        assert (fresh(resource).state, fresh(resource).removed_at) == ("terminating", world.at)
    with stated_time(world.at + timedelta(seconds=10)):
        run_jobs()
    assert fresh(resource).state == "terminated"
    assert puppet.verbs().count("remove") == 1


def record(resource: Resource, name: str, amount: int, **more: Any) -> UsageRecord:
    at = datetime.fromisoformat("2026-11-21T11:00:00+00:00")
    fields: dict[str, Any] = {"period_start": at - timedelta(hours=1), "period_end": at}
    return UsageRecord(id=name, resource_id=resource.pk, component="cpu", amount=amount, **{**fields, **more})


# ------------------------------------------------------------------------------------------------ usage
def test_pull__told_twice__counts_once_and_moves_the_mark(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    batch = UsageBatch([record(resource, "j1", 100, absolute=True, scope="j1", username="pp")], "m1")
    puppet.batches = [batch, batch]
    assert usage.pull(world.offering.pk)
    assert usage.pull(world.offering.pk)
    state = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=world.at)
    assert state is not None
    assert (state.used_ticks, UsageMark.objects.get().mark) == (100, "m1")


def test_pull__a_record_told_again_otherwise__is_named_and_stops_nobody_else(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    puppet.batches = [
        UsageBatch([record(resource, "a", 10)], "m1"),
        UsageBatch([record(resource, "a", 11), record(resource, "b", 5), record(resource, "c", -999)], "m2"),
    ]
    usage.pull(world.offering.pk)
    usage.pull(world.offering.pk)
    state = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=world.at)
    assert state is not None
    mark = UsageMark.objects.get()
    assert (state.used_ticks, mark.mark) == (15, "m2")
    assert "/cpu/a" in mark.error
    assert mark.failing_since == world.at


def test_pull__a_record_from_the_future__is_asked_for_again(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    early = record(resource, "e", 10, period_start=world.at, period_end=world.at + timedelta(hours=1))
    puppet.batches = [UsageBatch([early], "m1")]
    usage.pull(world.offering.pk)
    assert UsageMark.objects.get().mark == ""


def test_pull__times_without_a_zone_of_one_taken_over__are_set_aside(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    Resource.objects.filter(pk=resource.pk).update(taken_over_at=world.at, taken_over_from=world.backend)
    naive = datetime.fromisoformat("2026-11-21T11:00:00")
    puppet.batches = [
        UsageBatch([record(resource, "n", 10, period_start=naive - timedelta(hours=1), period_end=naive)], "m1")
    ]
    assert usage.pull(world.offering.pk)
    assert [(one.record_id, one.code) for one in SetAside.objects.all()] == [("n", "time_without_zone")]
    assert UsageMark.objects.get().mark == "m1"


def test_pull__names_too_long__are_set_aside_each_by_itself(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    long = "x" * 220
    puppet.batches = [
        UsageBatch(
            [
                record(resource, f"{long}1", 10),
                record(resource, f"{long}2", 20),
                record(resource, "a", 30, absolute=True, scope=f"{long}1"),
                record(resource, "b", 40, absolute=True, scope=f"{long}2"),
                record(resource, "c", 5, absolute=True, scope="short"),
            ],
            "m1",
        )
    ]
    assert usage.pull(world.offering.pk)
    state = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=world.at)
    assert state is not None
    assert (state.used_ticks, UsageMark.objects.get().mark) == (5, "m1")
    assert [(one.record["id"], one.code) for one in SetAside.objects.order_by("pk")] == [
        (name, "text_too_long") for name in (f"{long}1", f"{long}2", "a", "b")
    ]
    # Nothing has changed, so that all of them are kept as they are.
    assert set_aside.send_again(backend=world.backend, by=None, at=world.at) == (0, 4)
    assert SetAside.objects.count() == 4


def test_pull__what_was_measured_breaks_the_posting__is_noted_on_the_mark(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    puppet.batches = [UsageBatch([record(resource, "b", "ten")], "m1")]  # type: ignore[arg-type]
    assert not usage.pull(world.offering.pk)
    mark = UsageMark.objects.get()
    assert (mark.mark, mark.failing_since) == ("", world.at)
    assert mark.error == "What was measured cannot be posted: TypeError. The server's log says where."


@pytest.mark.slow
# ------------------------------------------------------------------------------------------------ shares of a wallet
def test_quota__several_resources_on_one_wallet__never_promise_more_than_there_is(world: World, puppet: Puppet) -> None:
    first = ready(world)
    assert told(puppet, first) == 360_000
    second = ready(world, name="Run 2")
    third = ready(world, name="Run 3")
    run_jobs()
    assert told(puppet, first) + told(puppet, second) + told(puppet, third) == 360_000
    assert {told(puppet, r) for r in (first, second, third)} == {120_000}
    puppet.batches = [UsageBatch([record(first, "x", 359_999)], "m")]
    usage.pull(world.offering.pk)
    run_jobs()
    assert sum(told(puppet, r) for r in (first, second, third)) == 1
    assert puppet.quotas[first.pk][0].reported == 359_999
    puppet.batches = [UsageBatch([record(second, "y", 5)], "m2")]
    usage.pull(world.offering.pk)
    run_jobs()
    tasks.sync_all(timestamp=0)
    run_jobs()
    assert [puppet.quotas[r.pk][0].locked for r in (first, second, third)] == [True, True, True]


def told(puppet: Puppet, resource: Resource) -> int:
    available = puppet.quotas[resource.pk][0].available
    assert available is not None
    return available


def test_reported_ticks__levels_told_again_and_another_resource__is_what_was_posted_of_this_one(
    world: World, puppet: Puppet
) -> None:
    first, second = ready(world), ready(world, name="Run 2")
    told = [("a1", 100, "j1"), ("a2", 250, "j1"), ("b1", 7, "j2")]
    records = [record(first, name, amount, absolute=True, scope=scope) for name, amount, scope in told]
    puppet.batches = [UsageBatch([*records, record(first, "d", 3), record(second, "c1", 40, scope="j1")], "m")]
    usage.pull(world.offering.pk)
    cpu = world.offering.components.get(key="cpu")
    assert [quota.reported_ticks(one, cpu) for one in (first, second)] == [250 + 7 + 3, 40]


def test_quota__a_resource_joins__gets_nothing_until_the_others_were_lowered(world: World, puppet: Puppet) -> None:
    first = ready(world)
    second = make_resource(world, name="Run 2")
    run_jobs(only="reconcile")
    assert (told(puppet, first), told(puppet, second)) == (360_000, 0)
    run_jobs()
    assert (told(puppet, first), told(puppet, second)) == (180_000, 180_000)


# ------------------------------------------------------------------------------------------------ gates, pause, times
def test_gate__nothing_left__nothing_new_starts(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    services.pause_resource(resource_id=resource.pk, by=world.pi, at=world.at)
    run_jobs()
    assert fresh(resource).state == "paused"
    usage.report_usage(resource_id=resource.pk, records=[record(resource, "all", 360_000)], by=None, at=world.at)
    with pytest.raises(QuotaUsedUp):
        services.resume_resource(resource_id=resource.pk, by=world.pi, at=world.at)
    with pytest.raises(QuotaUsedUp):
        place_order(world, name="Another")
    later = world.at + timedelta(days=400)  # the allocation has ended
    with pytest.raises(NoValidAllocation):
        services.submit_change(resource_id=resource.pk, limits={"storage": 30}, by=world.pi, at=later)
    assert (fresh(resource).state, Order.objects.count()) == ("paused", 1)


def test_pause__and_resume__are_kept_as_facts(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    services.pause_resource(resource_id=resource.pk, by=world.pi, at=world.at)
    run_jobs()
    with pytest.raises(ResourceStepNotOpen):
        services.pause_resource(resource_id=resource.pk, by=world.pi, at=world.at)
    services.resume_resource(resource_id=resource.pk, by=world.pi, at=world.at)
    run_jobs()
    states = [value for what, value in facts_of(resource) if what == "state"]
    assert states == ["creating", "ok", "changing", "paused", "changing", "ok"]
    assert [v for v in puppet.verbs() if v in {"pause", "resume"}] == ["pause", "resume"]


class ActingPuppet(Puppet):
    """One with an action of its own, which a test answers as it likes."""

    answer: ClassVar[Callable[[], Any]]

    def actions(self, resource: DesiredResource) -> list[ActionSpec]:
        return [ActionSpec("restart", "Restart")]

    def act(self, resource: DesiredResource, action: str, form: Mapping[str, Any]) -> Outcome:
        return type(self).answer()  # type: ignore[no-any-return]


def broken() -> Outcome:
    raise KeyError("hidden-word")


@pytest.mark.parametrize(
    ("answer", "refusal", "said"),
    [
        (broken, BackendUnreachableNow, "does not answer now"),
        (lambda: "done", BackendUnreachableNow, "does not answer now"),
        (lambda: Done(access=["no", "mapping"]), BackendUnreachableNow, "does not answer now"),  # type: ignore[arg-type]
        (lambda: Refused("Not with hidden-word."), ActionRefused, f"Not with {registry.HIDDEN}."),
        (partial(time.sleep, 1), ActionUnanswered, "did not answer within 0.2 seconds"),
    ],
    ids=["breaks", "no answer", "no mapping", "refuses", "hangs"],
)
def test_act__a_plugin_answers_badly__is_a_refusal_without_secrets(
    world: World,
    puppet: Puppet,
    monkeypatch: pytest.MonkeyPatch,
    answer: Callable[[], Any],
    refusal: type[DomainError],
    said: str,
) -> None:
    resource = acting(world, monkeypatch, answer)
    with pytest.raises(refusal) as refused:
        services.act(resource=resource, action="restart", by=world.pi, at=world.at)
    assert said in str(refused.value)
    assert "hidden-word" not in str(refused.value)


def acting(world: World, monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]) -> Resource:
    resource = ready(world)
    acts = ActingPuppet()
    monkeypatch.setattr(ActingPuppet, "answer", staticmethod(answer), raising=False)
    monkeypatch.setattr(registry, "make", lambda _backend: acts)
    monkeypatch.setattr(registry, "secrets_of", lambda _backend: {"token": "hidden-word"})
    monkeypatch.setattr("bursar.provisioning.services.resources.WAIT_SECONDS", 0.2)
    return resource


def test_act__done__tells_what_it_may_and_no_more(
    world: World, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = acting(world, monkeypatch, lambda: Done(access={"Door": "hidden-word at 7", "Note": "x" * 5000}))
    told = services.act(resource=resource, action="restart", by=world.pi, at=world.at)
    assert told == {"Door": f"{registry.HIDDEN} at 7", "Note": "x" * 1000}


def test_actions__a_plugin_hangs__are_none_on_a_page_that_comes_all_the_same(
    world: World, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = acting(world, monkeypatch, Done)
    assert [spec.key for spec in resources.actions_of(resource, at=world.at)] == ["restart"]
    monkeypatch.setattr("bursar.provisioning.services.resources.OFFERS_SECONDS", 0.1)
    monkeypatch.setattr(ActingPuppet, "actions", lambda _self, _resource: time.sleep(2) or [ActionSpec("late", "Late")])
    assert resources.actions_of(resource, at=world.at) == []


def test_pause__a_backend_that_cannot__is_refused(
    world: World, puppet: Puppet, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = ready(world)
    monkeypatch.setattr(registry, "plugin_class", lambda _key: Plugin)
    with pytest.raises(AbilityMissing):
        services.pause_resource(resource_id=resource.pk, by=world.pi, at=world.at)


def test_sweep__an_end_has_come__terminates_in_the_systems_name(world: World, puppet: Puppet) -> None:
    resource = ready(world, end=world.at + timedelta(days=2))
    with stated_time(world.at + timedelta(days=1)):
        tasks.sweep(timestamp=0)
    assert not fresh(resource).desired_gone
    with stated_time(world.at + timedelta(days=2)):
        tasks.sweep(timestamp=0)
        run_jobs()
    assert fresh(resource).state == "terminated"
    order = Order.objects.latest("pk")
    assert (order.kind, order.created_by, order.state) == ("terminate", None, "done")


def test_sweep__the_project_has_ended__terminates_what_it_has_and_cancels_what_is_open(
    world: World, puppet: Puppet
) -> None:
    resource = ready(world)
    open_change = change(world, resource, 40)
    type(world.project).objects.filter(pk=world.project.pk).update(end=world.at + timedelta(days=3))
    with stated_time(world.at + timedelta(days=3)):
        tasks.sweep(timestamp=0)
        run_jobs()
    assert fresh(resource).state == "terminated"
    assert Order.objects.get(pk=open_change.pk).state == "canceled"


def test_sweep__a_start_has_come__begins_or_says_why_not(world: World, puppet: Puppet) -> None:
    start = world.at + timedelta(days=2)
    order = approve_all(world, place_order(world, start=start))
    assert (order.state, Resource.objects.count()) == ("pending_start", 0)
    late = approve_all(world, place_order(world, name="Late", start=world.at + timedelta(days=500)))
    with stated_time(start):
        tasks.sweep(timestamp=0)
        run_jobs()
    assert Order.objects.get(pk=order.pk).state == "done"
    with stated_time(world.at + timedelta(days=500)):
        tasks.sweep(timestamp=0)
    late.refresh_from_db()
    assert (late.state, late.resource) == ("failed", None)
    assert "no valid allocation" in late.error


def test_sweep__a_job_was_lost__asks_again(world: World, puppet: Puppet) -> None:
    resource = make_resource(world)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE task_name LIKE '%reconcile%'")
    assert run_jobs(only="reconcile") == []
    tasks.sweep(timestamp=0)
    run_jobs()
    assert fresh(resource).state == "ok"


def test_retry__after_a_later_order__does_not_undo_it(world: World, puppet: Puppet) -> None:
    resource = ready(world, limits={"storage": 20})
    puppet.answers["ensure"] = [Refused("Not now.")]
    first = approve_all(world, change(world, resource, 40))
    run_jobs()
    approve_all(world, change(world, resource, 50))
    run_jobs()
    with pytest.raises(OrderStepNotOpen):
        services.retry_order(order_id=first.pk, by=world.pi, at=world.at)
    assert fresh(resource).limits == {"storage": 50}


# ------------------------------------------------------------------------------------------------ in the database
@pytest.mark.parametrize("table", ["resource_fact", "order_decision"])
@pytest.mark.parametrize("verb", ["UPDATE {0} SET recorded_at = now()", "DELETE FROM {0}", "TRUNCATE {0}"])
def test_history__rewritten_in_the_database__is_refused(world: World, puppet: Puppet, table: str, verb: str) -> None:
    ready(world)
    with pytest.raises(Error, match="append-only"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; " + verb.format(table))


def test_one_open_order__written_past_the_services__is_refused_by_the_database(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    order = change(world, resource, 40)
    with pytest.raises(Error, match="one_open_order_per_resource"), transaction.atomic():
        Order.objects.create(
            kind="change",
            workspace=order.workspace,
            offering=order.offering,
            resource=resource,
            plan=order.plan,
            name="x",
            currency="EUR",
            created_at=world.at,
        )


def test_approve__for_the_wrong_side__is_refused(world: World) -> None:
    order = place_order(world)
    with pytest.raises(OrderStepNotOpen):
        services.approve_order(order_id=order.pk, side=Side.PROVIDER, by=world.manager, at=world.at)
    assert not OrderDecision.objects.exists()


# ------------------------------------------------------------------------------------------------ what wakes it
def test_read_events__a_member_joins__the_backend_is_told_of_the_new_list(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    tasks.read_events(timestamp=0)
    person = make_person()
    make_membership(person=person, role=Role.PROJECT_MEMBER, scope=world.project)
    LocalAccount.objects.create(backend=world.backend, person=person, username="newcomer", set_at=world.at)
    with stated_time(now_later()):
        tasks.read_events(timestamp=0)
        assert "sync_resource" in run_jobs()
    assert fresh(resource).members == ["newcomer"]


def test_read_events__a_source_is_used_up_elsewhere__the_share_here_is_lowered(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    assert told(puppet, resource) == 360_000
    university = make_workspace(world.university)
    post_reports(
        reports=[
            Report("elsewhere", world.cpu.pk, university.pk, 360_000, world.at - timedelta(hours=1), world.at),
        ],
        by=None,
        at=world.at,
    )
    with stated_time(now_later()):
        tasks.read_events(timestamp=0)
        run_jobs()
    assert puppet.quotas[resource.pk][0].locked
    assert told(puppet, resource) == 0
    with stated_time(world.at):
        assert selectors.locked_among([fresh(resource)], at=world.at) == {resource.pk: [world.cpu]}


def now_later() -> datetime:
    """After the moment at which the rows of this test were recorded, whatever time was stated."""
    return datetime.now(UTC) + timedelta(seconds=10)


# ------------------------------------------------------------------------------------------------ changed by hand
def test_mend__absent_at_the_backend__is_made_again_and_told_once(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    quota = puppet.quotas.pop(resource.pk)
    seen = [Presence.ABSENT, Presence.OK]
    puppet.observe = lambda _resource: Observation(seen.pop(0))  # type: ignore[method-assign]
    assert reconcile.mend_resource(resource.pk)
    assert reconcile.mend_resource(resource.pk)
    assert puppet.quotas[resource.pk] == quota
    told = [(message.text, message.by) for message in resource.messages.all()]
    assert told == [("Mended: It was absent at the backend and was made again.", None)]


def test_mend__the_backend_says_what_it_had_to_change__is_told(world: World, puppet: Puppet) -> None:
    resource = ready(world)
    puppet.answers["enforce_quota"] = [Done(changed=("set GrpTRESMins=cpu=540",))]
    assert reconcile.mend_resource(resource.pk)
    assert [message.text for message in resource.messages.all()] == ["Mended: set GrpTRESMins=cpu=540"]
    assert fresh(resource).matches


def test_mend__backend_away__waits_and_says_so(world: World, puppet: Puppet) -> None:
    resource = ready(world)

    def away(_resource: Any) -> Outcome:
        raise BackendUnreachable("No route.")

    puppet.answers["ensure"] = [away]
    assert not reconcile.mend_resource(resource.pk)
    assert (fresh(resource).message, resource.messages.count()) == ("No route.", 0)


def test_ask_to_sync__many_that_wait_already__cost_one_question(
    django_assert_num_queries: Callable[..., Any],
) -> None:
    ask_to_sync(3, 1)
    with django_assert_num_queries(1):
        ask_to_sync(*[1, 3] * 50)

    ask_to_sync(1, 2, 3)

    waiting = ProcrastinateJob.objects.filter(task_name="bursar.provisioning.tasks.sync_resource", status="todo")
    assert list(waiting.order_by("id").values_list("queueing_lock", flat=True)) == ["sync-1", "sync-3", "sync-2"]


# ------------------------------------------------------------------------------------------------ what is reserved
def used_gb(world: World) -> int:
    state = wallet_state(workspace_id=world.workspace.pk, category_id=world.disk.pk, at=world.at)
    assert state is not None
    return state.used_ticks // world.disk.ticks_per_unit


def test_terminate__noted_by_a_clock_that_is_behind__frees_what_was_reserved(world: World, puppet: Puppet) -> None:
    resource = ready(world, limits={"storage": 20})
    assert used_gb(world) == 20
    services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
    with stated_time(world.at - timedelta(seconds=2)):
        run_jobs()
    assert fresh(resource).state == "terminated"
    assert used_gb(world) == 0


def test_terminate__the_ledger_refuses__says_why_and_goes_on_when_that_is_mended(world: World, puppet: Puppet) -> None:
    resource = ready(world, limits={"storage": 20})
    wrong = make_report(world.workspace, world.disk, -20 * world.disk.ticks_per_unit, scope="other", until=world.at)
    post_reports(reports=[wrong], by=None, at=world.at)
    services.submit_termination(resource_id=resource.pk, by=world.pi, at=world.at)
    run_jobs()
    waits = fresh(resource)
    assert waits.state == "terminating"
    assert waits.awaited_work == (
        "The ledger does not take what this resource reserves. More would be taken back than was ever used."
    )
    right = make_report(world.workspace, world.disk, 0, corrects=wrong.report_id, until=world.at)
    post_reports(reports=[right], by=None, at=world.at)
    with stated_time(world.at + timedelta(minutes=2)):
        run_jobs()
    assert fresh(resource).state == "terminated"
    assert used_gb(world) == 0
