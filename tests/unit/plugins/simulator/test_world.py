"""The pretend world under a stated clock: what runs, what waits, what was used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.plugins.simulator import wire
from bursar.plugins.simulator.backend import world as world_module
from bursar.plugins.simulator.backend.world import Forbidden, StateInUse, Unknown, World

SECOND = 1_000_000
START = int(datetime(2026, 11, 21, 12, 0, tzinfo=UTC).timestamp()) * SECOND
MIDNIGHT = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp()) * SECOND


@dataclass
class Clock:
    micros: int = START

    def __call__(self) -> int:
        return self.micros

    def sleep(self, seconds: float) -> None:
        self.micros += round(seconds * SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., World]]:
    """Make a world on the test's one state file; the one before is closed first."""
    made: list[World] = []

    def new(speed: float = 1.0) -> World:
        if made:
            made[-1].close()
        made.append(World(tmp_path / "state.db", speed=speed, now=clock))
        return made[-1]

    yield new
    if made:
        made[-1].close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


def open_cluster_account(world: World, available: int | None = 1_000_000, name: str = "r1") -> None:
    world.ensure_account(name, wire.AccountWanted(kind="hpc", title="Sea ice"))
    world.set_members(name, ["ada"])
    give(world, available, name=name)


def give(
    world: World, available: int | None, *, locked: bool = False, reported: int | None = None, name: str = "r1"
) -> None:
    world.set_quota(name, wire.QuotaWanted(available=available, locked=locked, reported=reported))


def submit(world: World, cores: int, seconds: int, name: str = "r1") -> int:
    job = wire.JobWanted(account=name, username="ada", name="trial", cores=cores, seconds=seconds)
    return world.submit_job(job).id


def told(world: World, after: int | None = None, *names: str) -> wire.UsageTold:
    return world.usage(wire.UsageAsked(accounts=list(names or ("r1",)), after=after))


def used(world: World, name: str = "r1") -> int:
    return world.account(name).counted_core_seconds


# ----------------------------------------------------------------------------------------------------------- jobs


def test_submit_job__quota_and_cores_are_there__runs_its_time_exactly(world: World, clock: Clock) -> None:
    open_cluster_account(world)
    job = submit(world, cores=4, seconds=60)
    clock.sleep(59.9)
    assert (world.job(job).state, world.job(job).elapsed_seconds, used(world)) == ("running", 59, 236)
    clock.sleep(100)
    assert (world.job(job).state, world.job(job).elapsed_seconds, used(world)) == ("completed", 60, 240)
    [sample] = told(world).samples
    assert (sample.cores, sample.seconds, sample.start, sample.end) == (4, 60, START, START + 60 * SECOND)


def test_submit_job__faster_site__takes_less_real_time(make: Callable[..., World], clock: Clock) -> None:
    world = make(speed=10)
    open_cluster_account(world)
    job = submit(world, cores=1, seconds=60)
    clock.sleep(6)
    assert world.job(job).state == "completed"
    [sample] = told(world).samples
    assert (sample.seconds, sample.end) == (60, START + 6 * SECOND)


def test_submit_job__new_account_without_quota__waits_until_it_comes(world: World) -> None:
    world.ensure_account("r1", wire.AccountWanted(kind="hpc", title="Sea ice"))
    world.set_members("r1", ["ada"])
    job = submit(world, 1, 10)
    assert (world.job(job).state, world.job(job).reason) == ("pending", "the account is locked: its quota is used up")
    give(world, 10)
    assert world.job(job).state == "running"


def test_submit_job__one_core_second_too_many__waits_and_runs_with_more(world: World) -> None:
    open_cluster_account(world, available=99)
    job = submit(world, 10, 10)
    assert world.job(job).reason == "would exceed the quota: needs 100 core-seconds, 99 are left"
    give(world, 100)
    assert world.job(job).state == "running"


def test_submit_job__running_jobs_hold_the_quota__waits(world: World) -> None:
    open_cluster_account(world, available=100)
    submit(world, 1, 60)
    second = submit(world, 1, 41)
    third = submit(world, 1, 40)
    assert [world.job(second).state, world.job(third).state] == ["pending", "running"]


def test_submit_job__cap_of_the_account__holds_beside_the_quota(world: World) -> None:
    world.ensure_account("r1", wire.AccountWanted(kind="hpc", title="Sea ice", cap_core_seconds=50))
    world.set_members("r1", ["ada"])
    give(world, None)
    assert world.job(submit(world, 1, 51)).state == "pending"
    assert world.job(submit(world, 1, 50)).state == "running"


def test_submit_job__no_limit__runs(world: World) -> None:
    open_cluster_account(world, available=None)
    assert world.job(submit(world, 512, 86_400)).state == "running"


def test_submit_job__cluster_is_full__waits_for_cores(world: World, clock: Clock) -> None:
    open_cluster_account(world, available=None)
    first = submit(world, 500, 10)
    second = submit(world, 13, 10)
    assert (world.job(second).state, world.job(second).reason) == ("pending", "waiting for free cores")
    assert sum(world.busy_cores()) == 500
    clock.sleep(10)
    assert [world.job(first).state, world.job(second).state] == ["completed", "running"]
    assert world.busy_cores() == [13, 0, 0, 0, 0, 0, 0, 0]


def test_set_quota__locked__running_job_finishes_and_next_waits(world: World, clock: Clock) -> None:
    open_cluster_account(world)
    running = submit(world, 2, 30)
    clock.sleep(10)
    give(world, 0, locked=True)
    waiting = submit(world, 2, 30)
    clock.sleep(20)
    assert [world.job(running).state, world.job(waiting).state] == ["completed", "pending"]
    assert used(world) == 60


def test_set_quota__job_ran_on_since_the_report__is_not_given_twice(world: World, clock: Clock) -> None:
    open_cluster_account(world, available=100)
    submit(world, 1, 90)
    clock.sleep(50)
    give(world, 60, reported=40)
    assert world.account("r1").limit_core_seconds == 100
    assert world.job(submit(world, 1, 11)).state == "pending"
    assert world.job(submit(world, 1, 10)).state == "running"


def test_set_paused__job_waits__and_runs_when_resumed(world: World) -> None:
    open_cluster_account(world)
    world.set_paused("r1", paused=True)
    job = submit(world, 1, 1)
    assert world.job(job).reason == "the account is paused"
    world.set_paused("r1", paused=False)
    assert world.job(job).state == "running"


def test_submit_job__person_is_no_member__is_refused(world: World) -> None:
    open_cluster_account(world)
    world.set_members("r1", [])
    with pytest.raises(Forbidden, match="ada may not use the account r1"):
        submit(world, 1, 1)
    assert world.jobs() == []


def test_submit_job__group_or_larger_than_the_cluster_or_unknown__is_refused(world: World) -> None:
    open_cluster_account(world)
    world.ensure_account("o1", wire.AccountWanted(kind="group", title="North"))
    with pytest.raises(Forbidden):
        submit(world, 1, 1, name="o1")
    with pytest.raises(Forbidden, match="512 cores"):
        submit(world, 513, 1)
    with pytest.raises(Unknown):
        submit(world, 1, 1, name="r404")
    assert world.jobs() == []


def test_cancel_job__running__keeps_what_it_used(world: World, clock: Clock) -> None:
    open_cluster_account(world)
    job = submit(world, 3, 60)
    clock.sleep(7.5)
    assert world.cancel_job(job).state == "cancelled"
    clock.sleep(100)
    assert (world.cancel_job(job).elapsed_seconds, used(world)) == (7, 21)


def test_close_account__jobs_run_and_wait__end_now_and_usage_stands(world: World, clock: Clock) -> None:
    open_cluster_account(world)
    running = submit(world, 3, 60)
    waiting = submit(world, 512, 60)
    clock.sleep(10)
    world.close_account("r1")
    clock.sleep(100)
    assert [world.job(running).state, world.job(waiting).state] == ["cancelled", "cancelled"]
    assert [s.seconds * s.cores for s in told(world).samples] == [30]
    with pytest.raises(Forbidden, match="closed"):
        submit(world, 1, 1)


def test_ensure_account__closed__opens_again_and_waits_for_quota(world: World, clock: Clock) -> None:
    open_cluster_account(world)
    submit(world, 1, 5)
    clock.sleep(5)
    world.close_account("r1")
    again = world.ensure_account("r1", wire.AccountWanted(kind="hpc", title="Sea ice"))
    assert (again.closed, again.locked, again.limit_core_seconds, again.counted_core_seconds) == (False, True, 0, 5)


def test_ensure_account__below_itself_or_of_another_kind__is_refused(world: World) -> None:
    world.ensure_account("o1", wire.AccountWanted(kind="group", title="North"))
    world.ensure_account("p1", wire.AccountWanted(kind="group", title="Climate", parent="o1"))
    with pytest.raises(Forbidden, match="below itself"):
        world.ensure_account("o1", wire.AccountWanted(kind="group", title="North", parent="p1"))
    with pytest.raises(Forbidden, match="another kind"):
        world.ensure_account("p1", wire.AccountWanted(kind="hpc", title="Climate", parent="o1"))
    assert (world.account("o1").parent, world.account("p1").kind) == (None, "group")


# -------------------------------------------------------------------------------------------------------- machines


def open_machine(world: World, available: int | None = 1_000_000, flavor: str = "sim.medium") -> None:
    world.ensure_account("r1", wire.AccountWanted(kind="vm", title="Analysis"))
    give(world, available)
    build(world, flavor)


def build(world: World, flavor: str) -> None:
    world.ensure_machine("r1", wire.MachineWanted.model_validate({"name": "analysis", "flavor": flavor}))


def machine_state(world: World) -> str:
    machine = world.account("r1").machine
    assert machine is not None
    return machine.state


def test_ensure_machine__new__is_active_after_three_seconds(world: World, clock: Clock) -> None:
    open_machine(world)
    assert machine_state(world) == "building"
    clock.sleep(13)
    assert (machine_state(world), used(world)) == ("active", 20)


def test_ensure_machine__asked_again__is_one_machine(world: World, clock: Clock) -> None:
    open_machine(world)
    first = world.account("r1").machine
    clock.sleep(5)
    build(world, "sim.medium")
    again = world.account("r1").machine
    assert first is not None
    assert again is not None
    assert (again.id, again.state) == (first.id, "active")


def test_ensure_machine__other_flavor__is_rebuilt_and_counts_by_its_cores(world: World, clock: Clock) -> None:
    open_machine(world, flavor="sim.small")
    clock.sleep(13)
    build(world, "sim.large")
    assert machine_state(world) == "building"
    clock.sleep(13)
    assert used(world) == 10 * 1 + 10 * 4


def test_set_paused__machine__stops_counting(world: World, clock: Clock) -> None:
    open_machine(world)
    clock.sleep(13)
    world.set_paused("r1", paused=True)
    clock.sleep(1000)
    assert (machine_state(world), used(world)) == ("stopped", 20)
    world.set_paused("r1", paused=False)
    clock.sleep(5)
    assert (machine_state(world), used(world)) == ("active", 30)


def test_restart_machine__active__builds_for_two_seconds(world: World, clock: Clock) -> None:
    open_machine(world)
    clock.sleep(4)
    world.restart_machine("r1")
    assert machine_state(world) == "building"
    clock.sleep(3)
    assert (machine_state(world), used(world)) == ("active", 4)


def test_restart_machine__paused__is_refused(world: World, clock: Clock) -> None:
    open_machine(world)
    clock.sleep(4)
    world.set_paused("r1", paused=True)
    with pytest.raises(Forbidden, match="resume it first"):
        world.restart_machine("r1")
    assert machine_state(world) == "stopped"


def test_machine__quota_is_used_up_while_nobody_looks__stops_in_that_second(world: World, clock: Clock) -> None:
    open_machine(world, available=21)
    clock.sleep(100_000)
    assert (machine_state(world), used(world)) == ("held", 20)
    [sample] = told(world).samples
    assert sample.end == START + 13 * SECOND
    give(world, 10)
    clock.sleep(2)
    assert (machine_state(world), used(world)) == ("active", 24)


def test_machine__quota_lowered_below_what_was_told__ends_not_before_it(world: World, clock: Clock) -> None:
    open_machine(world)
    clock.sleep(13)
    [before] = told(world).samples
    give(world, 0, reported=4)
    clock.sleep(10)
    [after] = told(world).samples
    assert (after.seconds, machine_state(world)) == (before.seconds, "held")


def test_close_account__machine__is_deleted_and_its_usage_stands(world: World, clock: Clock) -> None:
    open_machine(world)
    clock.sleep(13)
    world.close_account("r1")
    clock.sleep(100)
    assert (machine_state(world), used(world)) == ("deleted", 20)


# ----------------------------------------------------------------------------------------------------------- usage


def test_usage__run_over_two_midnights__is_told_at_each(world: World, clock: Clock) -> None:
    open_cluster_account(world, available=None)
    clock.micros = MIDNIGHT - 100 * SECOND
    submit(world, 2, 86_400 + 200)
    clock.sleep(2 * 86_400)
    assert [(s.seconds, s.end) for s in told(world).samples] == [
        (100, MIDNIGHT),
        (86_500, MIDNIGHT + 86_400 * SECOND),
        (86_600, MIDNIGHT + 86_500 * SECOND),
    ]


def test_usage__after_the_end__tells_it_no_more(world: World, clock: Clock) -> None:
    open_cluster_account(world)
    submit(world, 1, 5)
    clock.sleep(3)
    first = told(world)
    clock.sleep(3)
    second = told(world, first.as_of)
    assert [s.seconds for s in first.samples] == [3]
    assert [s.seconds for s in second.samples] == [5]
    assert told(world, second.as_of).samples == []


def test_usage__more_than_a_page__comes_whole(world: World, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world_module, "SAMPLES_PER_PAGE", 2)
    open_cluster_account(world)
    for seconds in range(1, 8):
        submit(world, 1, seconds)
    clock.sleep(4)
    seen, asked = [], wire.UsageAsked(accounts=["r1"])
    while True:
        page = world.usage(asked)
        seen += [(s.run, s.seconds) for s in page.samples]
        if page.next_run is None:
            break
        clock.sleep(100)  # the pages are of one instant all the same
        asked = wire.UsageAsked(accounts=["r1"], as_of=page.as_of, from_run=page.next_run)
    assert seen == [(1, 1), (2, 2), (3, 3), (4, 4), (5, 4), (6, 4), (7, 4)]


def test_usage__accounts_not_asked_for__are_not_told(world: World, clock: Clock) -> None:
    open_cluster_account(world)
    submit(world, 1, 5)
    clock.sleep(5)
    assert told(world, None, "r2").samples == []


# --------------------------------------------------------------------------------------------------------- survival


def test_open__after_a_stop_while_a_job_ran__it_ended_when_it_was_due(make: Callable[..., World], clock: Clock) -> None:
    world = make()
    open_cluster_account(world)
    job = submit(world, 2, 60)
    clock.sleep(10)
    world = make(speed=1000)  # at another speed: what began before keeps its own
    clock.sleep(49)
    assert world.job(job).state == "running"
    clock.sleep(100_000)
    assert world.job(job).state == "completed"
    [sample] = told(world).samples
    assert (sample.seconds, sample.start, sample.end) == (60, START, START + 60 * SECOND)


def test_open__again__is_the_same_instance(make: Callable[..., World]) -> None:
    first = make().instance
    assert make().instance == first


def test_turn__clock_set_back__time_stands_still(world: World, clock: Clock) -> None:
    open_cluster_account(world)
    submit(world, 1, 100)
    clock.sleep(50)
    before = told(world)
    clock.sleep(-3600)
    after = told(world)
    assert [s.seconds for s in after.samples] == [s.seconds for s in before.samples] == [50]


def test_open__file_in_use__is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(StateInUse):
        World(tmp_path / "state.db")
    assert world.accounts() == []


def test_verb__refused_half_way__leaves_nothing(world: World) -> None:
    world.ensure_account("o1", wire.AccountWanted(kind="group", title="North"))
    with pytest.raises(Unknown):
        world.set_members("r404", ["ada"])
    world.ensure_person(1, wire.PersonWanted(email="ada@example.org", full_name="Ada"))
    assert [a.name for a in world.accounts()] == ["o1"]


# ----------------------------------------------------------------------------------------------------------- people


def test_ensure_person__same_person_and_namesake__one_name_each(world: World) -> None:
    ada = wire.PersonWanted(email="Ada.Lövelace@example.org", full_name="Ada")
    assert world.ensure_person(1, ada).username == "adalovelace"
    assert world.ensure_person(1, ada).username == "adalovelace"
    assert world.ensure_person(2, ada).username == "adalovelace2"


@pytest.mark.parametrize(
    ("email", "username"),
    [("", "user"), ("@example.org", "user"), ("42@x", "user"), ("日本@x", "user"), ("9b9@x", "b9")],
)
def test_ensure_person__nothing_to_make_a_name_of__gets_one(world: World, email: str, username: str) -> None:
    assert world.ensure_person(1, wire.PersonWanted(email=email, full_name="")).username == username


def test_pretend_users__on_for_an_hour__submit_jobs_as_members_and_stop(world: World, clock: Clock) -> None:
    open_cluster_account(world, available=None)
    world.set_pretend_users("r1", on=True)
    for _ in range(720):
        clock.sleep(5)
        world.tick()
    submitted = world.jobs(newest=10_000)
    assert 60 <= len(submitted) <= 400
    assert {job.username for job in submitted} == {"ada"}
    world.set_pretend_users("r1", on=False)
    clock.sleep(10_000)
    assert len(world.jobs(newest=10_000)) == len(submitted)


def test_pretend_users__locked_account__leave_a_few_waiting_jobs(world: World, clock: Clock) -> None:
    open_cluster_account(world, available=0)
    world.set_pretend_users("r1", on=True)
    for _ in range(200):
        clock.sleep(20)
        world.tick()
    assert [job.state for job in world.jobs()] == ["pending"] * 3


# -------------------------------------------------------------------------------------------------------------- laws

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("sleep"), st.integers(0, 200_000)),
        st.tuples(st.just("submit"), st.integers(1, 40)),
        st.tuples(st.just("give"), st.integers(0, 2000)),
        st.tuples(st.just("lock"), st.just(0)),
        st.tuples(st.just("pause"), st.integers(0, 1)),
        st.tuples(st.just("flavor"), st.integers(0, 3)),
        st.tuples(st.just("measure"), st.just(0)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=STEPS)
def test_usage__any_story__facts_never_change_and_nothing_is_lost(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An id has one content for ever, levels only rise, and what was told step by step is what is told at once."""
    clock = Clock()
    path = tmp_path_factory.mktemp("law") / "state.db"
    world = World(path, now=clock)
    open_cluster_account(world)
    world.ensure_account("r2", wire.AccountWanted(kind="vm", title="Analysis"))
    give(world, 1000, name="r2")
    world.ensure_machine("r2", wire.MachineWanted(name="analysis", flavor="sim.small"))
    facts: dict[tuple[int, int], wire.Sample] = {}
    levels: dict[int, int] = {}
    after: int | None = None

    def measure() -> None:
        nonlocal after
        answer = told(world, after, "r1", "r2")
        for sample in answer.samples:
            assert facts.setdefault((sample.run, sample.seconds), sample) == sample
            assert sample.start < sample.end <= answer.as_of
            assert sample.seconds >= levels.get(sample.run, 0)
            levels[sample.run] = sample.seconds
        after = answer.as_of

    for verb, number in steps:
        match verb:
            case "sleep":
                clock.sleep(number)
            case "submit":
                submit(world, number, 3 * number)
            case "give":
                for name in ("r1", "r2"):
                    give(world, number, reported=number // 2, name=name)
            case "lock":
                for name in ("r1", "r2"):
                    give(world, 0, locked=True, name=name)
            case "pause":
                for name in ("r1", "r2"):
                    world.set_paused(name, paused=bool(number))
            case "flavor":
                world.ensure_machine(
                    "r2", wire.MachineWanted.model_validate({"name": "a", "flavor": list(wire.FLAVORS)[number]})
                )
            case "measure":
                measure()
            case "reopen":
                world.close()
                world = World(path, now=clock)
    measure()
    at_once: dict[int, int] = {}
    for sample in told(world, None, "r1", "r2").samples:
        at_once[sample.run] = max(at_once.get(sample.run, 0), sample.seconds)
    assert at_once == levels
    cores = {sample.run: sample.cores for sample in facts.values()}
    assert sum(cores[run] * seconds for run, seconds in levels.items()) == used(world) + used(world, "r2")
    world.close()
