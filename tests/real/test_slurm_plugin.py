"""What the slurm plugin promises, against a real SLURM with real jobs by normal users; nothing is replaced."""

import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import pytest

from bursar.plugins.contract import (
    BackendUnreachable,
    Busy,
    ComponentQuota,
    DesiredResource,
    Done,
    Finding,
    Member,
    Outcome,
    Presence,
    Ref,
    Refused,
    Severity,
    UsageRecord,
)
from bursar.plugins.slurm.client import SlurmClient
from bursar.plugins.slurm.plugin import SlurmPlugin
from bursar.plugins.slurm.settings import SlurmSettings
from tests.real.slurm.cluster import Cluster
from tests.unit.plugins.contract.suite import levels

pytestmark = pytest.mark.slurm

ALICE = Member(1, "alice@example.org", "Alice", "alice")
BOB = Member(2, "bob@example.org", "Bob", "bob")
NEWCOMER = Member(3, "carol@example.org", "Carol", "")
PLENTY = 10**9

_ids = count(1)


@dataclass
class Site:
    """One SLURM and the plugin on it."""

    slurm: Cluster
    plugin: SlurmPlugin

    def resource(self, **changes: Any) -> DesiredResource:
        number = next(_ids)
        fields: dict[str, Any] = {
            "id": number,
            "slug": "climate",
            "name": "Climate models",
            "offering_slug": "hpc",
            "organization": Ref(1, "north", "University of the North"),
            "projects": (Ref(1, "sea", "Sea"), Ref(2, "ice", "Ice")),
            "owner": ALICE,
            "plan": "standard",
            "limits": {},
            "form": {},
            "members": (ALICE,),
        }
        return DesiredResource(**(fields | changes))

    def ready(self, *quota: ComponentQuota, **changes: Any) -> DesiredResource:
        """A resource with account, members and quota."""
        resource = self.resource(**changes)
        made = done(self.plugin.ensure(resource))
        resource = replace(resource, backend_id=made.backend_id, state=made.state)
        done(self.plugin.set_members(resource))
        self.give(resource, *(quota or (ComponentQuota("cpu", PLENTY, locked=False, reported=0),)))
        return resource

    def give(self, resource: DesiredResource, *quota: ComponentQuota) -> None:
        done(self.plugin.enforce_quota(resource, quota))

    def limit(self, resource: DesiredResource, tres: str = "cpu") -> int | None:
        limits: Mapping[str, int | None] = self.plugin.observe(resource).facts["limit_minutes"]
        return limits[tres]

    def records(self, resource: DesiredResource, mark: str = "") -> Sequence[UsageRecord]:
        return self.plugin.measure([resource], mark).records

    def used(self, resource: DesiredResource, component: str = "cpu") -> int:
        return sum(levels([r for r in self.records(resource) if r.component == component]).values())

    def run(self, resource: DesiredResource, command: str, *options: str, user: str = "alice", minutes: int = 2) -> str:
        """Run a job to its end; its number."""
        job = self.slurm.submit(user, resource.backend_id, command, *options, minutes=minutes)
        self.slurm.await_state(job, "COMPLETED")
        self.slurm.await_accounted(job)
        return job


def done(outcome: Outcome) -> Done:
    assert isinstance(outcome, Done), outcome
    return outcome


def until_done(verb: Any, resource: DesiredResource, seconds: float = 30) -> list[Outcome]:
    """Ask again until it is done; all answers."""
    deadline = time.monotonic() + seconds
    answers: list[Outcome] = []
    while not answers or not isinstance(answers[-1], Done):
        assert time.monotonic() < deadline, answers
        answers.append(verb(resource))
        if isinstance(answers[-1], Busy):
            time.sleep(0.3)
        else:
            assert isinstance(answers[-1], Done), answers[-1]
    return answers


def site_of(slurm: Cluster, **settings: Any) -> Site:
    return Site(slurm, SlurmPlugin(SlurmSettings(slurm_conf=str(slurm.slurm_conf), **settings)))


@pytest.fixture
def site(slurm: Cluster) -> Site:
    return site_of(slurm)


@pytest.fixture
def idle(slurm: Cluster) -> Iterator[None]:
    """For tests that stop daemons: whatever happens, they run again afterwards."""
    yield
    if not slurm.succeeds("sacctmgr", "-n", "show", "cluster"):
        slurm.start_dbd()
    if not slurm.succeeds("scontrol", "ping"):
        slurm.start_controller()
        slurm.await_nodes()


# ------------------------------------------------------------------------------------------------------ accounts


def test_ensure__organization_project_allocation__are_a_tree_closed_until_quota_is_set(site: Site) -> None:
    resource = site.resource()
    made = done(site.plugin.ensure(resource))
    assert made.backend_id == f"climate-r{resource.id}"
    assert made.state["parents"] == ["north-o1", "sea-p1", "ice-p2"]
    assert made.access["To submit a job"] == f"sbatch --account=climate-r{resource.id} job.sh"
    rows = site.slurm.run("sacctmgr", "-nP", "show", "assoc", "format=Account,ParentName,User,GrpJobs").splitlines()
    for row in ("north-o1|root||", "sea-p1|north-o1||", "ice-p2|sea-p1||", f"climate-r{resource.id}|ice-p2||0"):
        assert row in rows


def test_ensure__slug_and_project_change__keeps_its_account_and_moves_it(site: Site) -> None:
    resource = site.ready()
    moved = replace(resource, slug="weather", projects=(Ref(7, "other", "Other"),))
    assert done(site.plugin.ensure(moved)).backend_id == resource.backend_id
    facts = site.plugin.observe(moved).facts
    assert (facts["account"], facts["parent"], facts["users"]) == (resource.backend_id, "other-p7", ["alice"])


def test_ensure__hostile_name__reaches_slurm_as_plain_text(site: Site) -> None:
    name = '"; rm -rf ~ #'
    resource = site.ready(name=name, organization=Ref(66, name, name), projects=(Ref(67, name, name),))
    text = site.slurm.run("sacctmgr", "-nP", "show", "account", "where", "name=rm-rf-p67", "format=Account,Desc,Org")
    assert text.strip() == "rm-rf-p67|bursar project 67|rm -rf"
    assert site.plugin.observe(resource).presence is Presence.OK


def test_ensure__account_of_somebody_else__is_refused_and_not_touched(site: Site) -> None:
    resource = site.resource()
    name = f"climate-r{resource.id}"
    site.slurm.run("sacctmgr", "-i", "add", "account", name, "cluster=test", "description=by hand", "GrpJobs=7")
    before = site.slurm.run("sacctmgr", "-nP", "show", "account", "withassoc")
    for known in (resource, replace(resource, backend_id=name)):
        assert isinstance(site.plugin.ensure(known), Refused)
    for verb in (site.plugin.remove, site.plugin.pause, site.plugin.set_members):
        assert isinstance(verb(replace(resource, backend_id=name)), Refused)
    quota = [ComponentQuota("cpu", 600, locked=True, reported=0)]
    assert isinstance(site.plugin.enforce_quota(replace(resource, backend_id=name), quota), Refused)
    # The organization's and projects' accounts may have come before the refusal in another test, never after it.
    assert site.slurm.run("sacctmgr", "-nP", "show", "account", "withassoc") == before


class Killed(BaseException):
    """Not an Exception: nothing in the plugin may catch it, as nothing catches a kill."""


def test_whole_life__killed_before_and_after_each_command__is_done_when_asked_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SlurmClient.write
    left = 0

    def killed_write(self: SlurmClient, *argv: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        write(self, *argv)
        if left == 0:
            raise Killed

    fresh = site.resource(
        organization=Ref(500, "kill", "Kill"), projects=(Ref(501, "kill", "Kill"),), members=(ALICE, BOB)
    )

    def life(resource: DesiredResource) -> None:
        made = done(site.plugin.ensure(resource))
        resource = replace(resource, backend_id=made.backend_id)
        done(site.plugin.set_members(resource))
        site.give(resource, ComponentQuota("cpu", 6000, locked=False, reported=0))

    kills = 0
    while True:
        monkeypatch.setattr(SlurmClient, "write", killed_write)
        left = 1
        try:
            life(fresh)
            break
        except Killed:
            kills += 1
    assert kills == 5  # three accounts, the users, the quota: one command got through each time
    rows = site.slurm.run(
        "sacctmgr", "-nP", "show", "assoc", "where", f"account=kill-o500,kill-p501,climate-r{fresh.id}",
        "format=Account,ParentName,User,GrpJobs,GrpTRESMins",
    )  # fmt: skip
    own = f"climate-r{fresh.id}"
    assert sorted(rows.split()) == sorted(
        [
            "kill-o500|root|||",
            "kill-p501|kill-o500|||",
            f"{own}|kill-p501|||cpu=100",
            f"{own}||alice||",
            f"{own}||bob||",
        ]
    )


def test_dry_run__whole_life__changes_nothing_and_says_what_it_would_do(slurm: Cluster) -> None:
    site = site_of(slurm, dry_run=True)
    resource = site.resource(organization=Ref(90, "dry", "Dry"), projects=(Ref(91, "dry", "Dry"),))
    before = slurm.run("sacctmgr", "-nP", "show", "account", "withassoc")
    made = done(site.plugin.ensure(resource))
    own = f"climate-r{resource.id}"
    assert [shlex.split(line)[:5] for line in made.state["dry_run"]] == [
        ["sacctmgr", "-i", "add", "account", name] for name in ("dry-o90", "dry-p91", own)
    ]
    real = site_of(slurm).ready()
    before = slurm.run("sacctmgr", "-nP", "show", "account", "withassoc")
    quota = [ComponentQuota("cpu", 60, locked=True, reported=0)]
    for outcome in (
        site.plugin.set_members(replace(real, members=(BOB,))),
        site.plugin.enforce_quota(real, quota),
        site.plugin.pause(real),
        site.plugin.remove(real),
    ):
        assert done(outcome).state["dry_run"]
    assert slurm.run("sacctmgr", "-nP", "show", "account", "withassoc") == before


# ------------------------------------------------------------------------------------------------------- members


def test_set_members__people_come_and_go__associations_follow_and_a_default_account_remains(site: Site) -> None:
    first, other = site.ready(members=(ALICE, BOB, NEWCOMER)), site.ready(members=(BOB,))
    assert done(site.plugin.set_members(first)).state["members_without_account"] == [3]
    default = ("sacctmgr", "-nP", "show", "user", "where", "name=bob", "format=DefaultAccount")
    site.slurm.run("sacctmgr", "-i", "modify", "user", "where", "name=bob", "set", f"defaultaccount={first.backend_id}")
    done(site.plugin.set_members(replace(first, members=(ALICE,))))
    assert site.plugin.observe(first).facts["users"] == ["alice"]
    assert site.plugin.observe(other).facts["users"] == ["bob"]
    assert site.slurm.run(*default).strip() not in {"", first.backend_id}
    # Back again, and out of the last account of all.
    done(site.plugin.set_members(first))
    assert site.plugin.observe(first).facts["users"] == ["alice", "bob"]


def test_set_members__leaver_with_running_job__finishes_it_and_starts_no_other(site: Site) -> None:
    slurm = site.slurm
    resource = site.ready(members=(ALICE, BOB))
    running = slurm.submit("bob", resource.backend_id, "sleep 7")
    slurm.await_state(running, "RUNNING")
    pending = slurm.submit("bob", resource.backend_id, "sleep 1", "--hold")
    without = replace(resource, members=(ALICE,))
    answer = site.plugin.set_members(without)
    assert isinstance(answer, Busy)
    assert slurm.state(running).startswith("RUNNING")
    assert slurm.state(pending).startswith("CANCELLED")
    with pytest.raises(RuntimeError, match="job submit limit"):
        slurm.submit("bob", resource.backend_id, "sleep 1")
    # Back before the job ended: as if never left.
    done(site.plugin.set_members(resource))
    assert site.plugin.observe(resource).facts["users"] == ["alice", "bob"]
    slurm.run("scancel", slurm.submit("bob", resource.backend_id, "sleep 1", "--hold"))
    assert isinstance(site.plugin.set_members(without), Busy)
    slurm.await_state(running, "COMPLETED")
    until_done(site.plugin.set_members, without)
    assert site.plugin.observe(resource).facts["users"] == ["alice"]
    slurm.await_accounted(running)
    assert site.used(resource) == slurm.used_seconds(resource.backend_id) > 0


# --------------------------------------------------------------------------------------------------------- usage


def test_measure__jobs_of_every_sort__equal_sacct_and_what_the_controller_counted_to_the_second(site: Site) -> None:
    slurm = site.slurm
    cpu = ComponentQuota("cpu", PLENTY, locked=False, reported=0)
    resource = site.ready(cpu, members=(ALICE, BOB))
    account = resource.backend_id
    wide = slurm.submit("alice", account, "sleep 3", "--nodes=2", "--ntasks=2", "--cpus-per-task=100", "--gres=gpu:2")
    array = slurm.submit("bob", account, "sleep 2", "--array=1-3%2", "--cpus-per-task=7")
    requeued = slurm.submit("alice", account, "sleep 600", "--requeue", "--cpus-per-task=11")
    cancelled = slurm.submit("alice", account, "sleep 600", "--cpus-per-task=13")
    failing = slurm.submit("alice", account, "sleep 1; exit 3", "--cpus-per-task=3")
    never = slurm.submit("bob", account, "sleep 1", "--hold")
    for job in (requeued, cancelled):
        slurm.await_state(job, "RUNNING")
    time.sleep(2.2)
    slurm.run("scontrol", "requeue", requeued)
    slurm.run("scancel", cancelled, never)
    # A requeued job waits two minutes, until all of its first run has gone; an administrator may let it go earlier.
    slurm.await_state(requeued, "PENDING")
    time.sleep(4)
    slurm.run("scontrol", "update", f"jobid={requeued}", "starttime=now")
    slurm.await_state(requeued, "RUNNING")
    early = site.plugin.measure([resource], "")
    time.sleep(1.2)
    slurm.run("scancel", requeued)
    for job in (wide, array, requeued, cancelled, failing):
        slurm.await_state(job, "COMPLETED", "CANCELLED", "FAILED")
    slurm.await_accounted(wide, array, requeued, cancelled, failing)

    late = site.plugin.measure([resource], early.mark)
    told = levels([r for r in (*early.records, *late.records) if r.component == "cpu"])
    assert sum(told.values()) == slurm.used_seconds(account) > 0
    assert told == levels([r for r in site.records(resource) if r.component == "cpu"])
    seconds, minutes = slurm.counted(account)
    assert seconds == slurm.used_seconds(account)  # nothing weighs TRES here: billing is cpu
    assert minutes["cpu"] == slurm.used_seconds(account) // 60
    assert site.used(resource, "gpu") == slurm.used_seconds(account, "gres/gpu") > 0
    assert minutes["gres/gpu"] == slurm.used_seconds(account, "gres/gpu") // 60
    assert minutes["mem"] == slurm.used_seconds(account, "mem") // 60

    records = [r for r in late.records if r.component == "cpu"]
    for user in ("alice", "bob"):
        mine = levels([r for r in records if r.username == user])
        assert sum(mine.values()) == slurm.used_seconds(account, user=user) > 0
    assert {r.job for r in records if r.job.startswith(f"{array}_")} == {f"{array}_{task}" for task in (1, 2, 3)}
    assert len({r.scope for r in records if r.job == requeued}) == 2
    assert not [r for r in records if r.job == never]

    # Asked again: the very same facts by the very same names.
    again = site.plugin.measure([resource], early.mark)
    assert {r.id: r for r in again.records} == {r.id: r for r in late.records}


def test_measure__job_changes_its_size__each_part_counts_once(site: Site) -> None:
    slurm = site.slurm
    resource = site.ready()
    job = slurm.submit("alice", resource.backend_id, "sleep 5", "--nodes=2", "--ntasks=2", "--cpus-per-task=50")
    slurm.await_state(job, "RUNNING")
    time.sleep(1.2)
    slurm.run("scontrol", "update", f"jobid={job}", "numnodes=1")
    slurm.await_state(job, "COMPLETED")
    slurm.await_accounted(job)
    text = slurm.run("env", "SLURM_TIME_FORMAT=%s", "sacct", "-aXDPn", "-j", job, "-o", "Submit,Start,End,AllocCPUS")
    (_, start, cut, wide), (again, start_again, end, narrow) = [list(map(int, row.split("|"))) for row in text.split()]
    assert (again, start_again, wide, narrow) == (
        cut,
        start,
        100,
        50,
    )  # as sacct has it: the second part from the start
    assert site.used(resource) == 100 * (cut - start) + 50 * (end - cut)
    assert len({r.scope for r in site.records(resource)}) == 2


def test_measure__running_job__is_told_while_it_runs_and_rightly_at_its_end(site: Site) -> None:
    slurm = site.slurm
    resource = site.ready()
    job = slurm.submit("alice", resource.backend_id, "sleep 9", "--cpus-per-task=10")
    slurm.await_state(job, "RUNNING")
    told: list[UsageRecord] = []
    mark = ""
    while not slurm.state(job).startswith("COMPLETED"):
        batch = site.plugin.measure([resource], mark)
        told += batch.records
        mark = batch.mark
        time.sleep(0.5)
    amounts = [r.amount for r in told]
    assert amounts == sorted(amounts)
    assert len(set(amounts)) > 2
    assert {r.scope for r in told} == {told[0].scope}
    slurm.await_accounted(job)
    told += site.records(resource, mark)
    assert levels(told) == {told[0].scope: slurm.used_seconds(resource.backend_id)}
    assert max(told, key=lambda r: (r.period_end, r.id)).amount == max(r.amount for r in told)
    content = {r.id: r for r in told}
    assert all(content[r.id] == r for r in told)


def test_measure__database_away_while_jobs_end__nothing_is_lost(site: Site, idle: None) -> None:
    slurm = site.slurm
    resource = site.ready()
    first = site.run(resource, "sleep 1", "--cpus-per-task=4")
    early = site.plugin.measure([resource], "")
    job = slurm.submit("alice", resource.backend_id, "sleep 3", "--cpus-per-task=9")
    slurm.await_state(job, "RUNNING")
    slurm.stop_dbd()
    slurm.await_state(job, "COMPLETED")
    with pytest.raises(BackendUnreachable):
        site.plugin.measure([resource], early.mark)
    for verb in (
        site.plugin.ensure,
        site.plugin.remove,
        site.plugin.pause,
        site.plugin.set_members,
        site.plugin.observe,
    ):
        with pytest.raises(BackendUnreachable):
            verb(resource)
    slurm.start_dbd()
    slurm.await_accounted(first, job)
    late = site.records(resource, early.mark)
    assert sum(levels([*early.records, *late]).values()) == slurm.used_seconds(resource.backend_id)
    assert {r.job for r in late} >= {job}


# --------------------------------------------------------------------------------------------------------- quota


def test_enforce_quota__used_but_not_reported__is_not_granted_twice(site: Site) -> None:
    # 1020 core-minutes are available; 1000 cores use some of them before anybody has heard of it.
    slurm = site.slurm
    available = 1020 * 60
    resource = site.ready(ComponentQuota("cpu", available, locked=False, reported=0))
    assert site.limit(resource) == 1020
    site.run(resource, "sleep 3", "--cpus-per-task=1000", minutes=1)
    used = slurm.used_seconds(resource.backend_id)
    assert used >= 2400
    site.give(resource, ComponentQuota("cpu", available, locked=False, reported=0))
    assert site.limit(resource) == 1020
    # A minute of 1000 cores is less than what was available, and more than what is left.
    held = slurm.submit("alice", resource.backend_id, "sleep 1", "--cpus-per-task=1000", minutes=1)
    slurm.await_state(held, "PENDING AssocGrpCPUMinutesLimit")
    # Reported: what is available went down by as much, and the limit stays.
    site.give(resource, ComponentQuota("cpu", available - used, locked=False, reported=used))
    assert site.limit(resource) == 1020
    assert slurm.state(held).startswith("PENDING")
    # More is given: the job that waited runs.
    site.give(resource, ComponentQuota("cpu", available, locked=False, reported=used))
    assert site.limit(resource) == (available + used) // 60
    slurm.await_state(held, "COMPLETED")


def test_enforce_quota__used_up__holds_the_next_job(site: Site) -> None:
    slurm = site.slurm
    resource = site.ready(ComponentQuota("cpu", 310 * 60, locked=False, reported=0))
    site.run(resource, "sleep 2", "--cpus-per-task=300", minutes=1)
    used = slurm.used_seconds(resource.backend_id)
    # Without the lock, the limit alone holds it.
    site.give(resource, ComponentQuota("cpu", 0, locked=False, reported=used))
    assert site.limit(resource) == used // 60
    held = slurm.submit("alice", resource.backend_id, "sleep 1", minutes=1)
    slurm.await_state(held, "PENDING AssocGrpCPUMinutesLimit")
    site.give(resource, ComponentQuota("cpu", 0, locked=True, reported=used))
    assert site.plugin.observe(resource).facts["closed"] is True
    slurm.run("scancel", held)


def test_enforce_quota__locked_and_paused__running_finish_pending_wait_and_neither_undoes_the_other(site: Site) -> None:
    slurm = site.slurm
    resource = site.ready()
    running = slurm.submit("alice", resource.backend_id, "sleep 8")
    slurm.await_state(running, "RUNNING")
    locked = ComponentQuota("cpu", 0, locked=True, reported=0)
    opened = ComponentQuota("cpu", PLENTY, locked=False, reported=0)
    site.give(resource, locked)
    pending = slurm.submit("alice", resource.backend_id, "sleep 1")
    slurm.await_state(pending, "PENDING AssocGrp")
    done(site.plugin.pause(resource))
    site.give(resource, opened)
    slurm.await_state(pending, "PENDING AssocMaxJobsLimit")
    assert site.plugin.observe(resource).presence is Presence.PAUSED
    # One who joins a paused resource is paused as well.
    done(site.plugin.set_members(replace(resource, members=(ALICE, BOB))))
    joined = slurm.submit("bob", resource.backend_id, "sleep 1")
    slurm.await_state(joined, "PENDING AssocMaxJobsLimit")
    site.give(resource, locked)
    done(site.plugin.resume(resource))
    slurm.await_state(pending, "PENDING AssocGrp")
    assert slurm.state(running).startswith(("RUNNING", "COMPLETED"))
    slurm.await_state(running, "COMPLETED")
    site.give(resource, opened)
    slurm.await_state(pending, "COMPLETED")
    slurm.await_state(joined, "COMPLETED")


def test_enforce_quota__gpu_used_up__jobs_without_gpu_run_on(site: Site) -> None:
    slurm = site.slurm
    resource = site.ready(
        ComponentQuota("cpu", PLENTY, locked=False, reported=0), ComponentQuota("gpu", 0, locked=True, reported=0)
    )
    with_gpu = slurm.submit("alice", resource.backend_id, "sleep 1", "--gres=gpu:1")
    site.run(resource, "sleep 1")
    slurm.await_state(with_gpu, "PENDING AssocGrpGRESMinutes")
    site.give(resource, ComponentQuota("gpu", None, locked=False, reported=0))
    slurm.await_state(with_gpu, "COMPLETED")


def test_enforce_quota__controller_lost_what_it_counted__the_limit_follows(site: Site, idle: None) -> None:
    # A killed slurmctld comes back with the use it had last saved, minutes ago; accounting has it all.
    slurm = site.slurm
    resource = site.ready(ComponentQuota("cpu", 360_000, locked=False, reported=0))
    job = site.run(resource, "sleep 4", "--cpus-per-task=1000", minutes=2)
    used = slurm.used_seconds(resource.backend_id)
    quota = ComponentQuota("cpu", 360_000 - used, locked=False, reported=used)
    site.give(resource, quota)
    assert site.limit(resource) == 6000
    # Jobs are saved within seconds. Were this one not, it would come back as running, and end anew.
    ended = time.time()
    deadline = ended + 20
    while (slurm.folder / "state" / "job_state").stat().st_mtime < ended and time.time() < deadline:
        slurm.submit("alice", resource.backend_id, "sleep 1", "--hold")
        time.sleep(1)
    slurm.kill_controller()
    slurm.start_controller()
    slurm.await_nodes()
    counted, _ = slurm.counted(resource.backend_id)
    assert counted < used == slurm.used_seconds(resource.backend_id), job
    site.give(resource, quota)
    assert site.limit(resource) == 6000 + counted // 60 - used // 60
    # What counts again is not taken for lost.
    site.give(resource, quota)
    assert site.limit(resource) == 6000 + counted // 60 - used // 60


def test_enforce_quota__administrator_reset_the_use__nothing_is_granted_again(site: Site) -> None:
    slurm = site.slurm
    resource = site.ready(ComponentQuota("cpu", 360_000, locked=False, reported=0))
    site.run(resource, "sleep 3", "--cpus-per-task=1000", minutes=2)
    used = slurm.used_seconds(resource.backend_id)
    slurm.run("sacctmgr", "-i", "modify", "account", resource.backend_id, "set", "RawUsage=0")
    counted, _ = slurm.counted(resource.backend_id)
    assert counted == 0
    quota = ComponentQuota("cpu", 0, locked=False, reported=used)
    site.give(resource, quota)
    assert site.limit(resource) == 0
    running = slurm.submit("alice", resource.backend_id, "sleep 1", minutes=1)
    slurm.await_state(running, "PENDING AssocGrpCPUMinutesLimit")
    slurm.run("scancel", running)


def test_enforce_quota__suspension_counted_as_use__is_given_back(site: Site) -> None:
    # The controller counts a suspended job's time, sacct does not.
    slurm = site.slurm
    resource = site.ready(ComponentQuota("cpu", 36_000, locked=False, reported=0))
    job = slurm.submit("alice", resource.backend_id, "sleep 2", "--cpus-per-task=500", minutes=1)
    slurm.await_state(job, "RUNNING")
    slurm.run("scontrol", "suspend", job)
    time.sleep(3)
    slurm.run("scontrol", "resume", job)
    slurm.await_state(job, "COMPLETED")
    slurm.await_accounted(job)
    used = slurm.used_seconds(resource.backend_id)
    assert site.used(resource) == used
    counted, _ = slurm.counted(resource.backend_id)
    assert counted - used >= 1000
    available = 6_000
    site.give(resource, ComponentQuota("cpu", available, locked=False, reported=used))
    assert site.limit(resource) == (used + available) // 60 + counted // 60 - used // 60


# -------------------------------------------------------------------------------------------------------- removal


def test_remove__jobs_running_and_waiting__ends_them_and_keeps_their_usage_measurable(site: Site) -> None:
    slurm = site.slurm
    resource = site.ready(members=(ALICE, BOB))
    running = slurm.submit("alice", resource.backend_id, "sleep 600", "--cpus-per-task=20")
    slurm.await_state(running, "RUNNING")
    waiting = slurm.submit("bob", resource.backend_id, "sleep 1", "--hold")
    time.sleep(1.5)
    answers = until_done(site.plugin.remove, resource)
    assert isinstance(answers[0], Busy)
    # At once, without waiting for anything: Done says that all of it can be measured.
    assert site.used(resource) == slurm.used_seconds(resource.backend_id) >= 20
    assert slurm.state(waiting).startswith("CANCELLED")
    assert site.plugin.observe(resource).presence is Presence.ABSENT
    assert slurm.run("sacctmgr", "-nP", "show", "account", "where", f"name={resource.backend_id}") == ""
    with pytest.raises(RuntimeError, match="Invalid account"):
        slurm.submit("alice", resource.backend_id, "sleep 1")
    assert isinstance(site.plugin.remove(resource), Done)
    # The accounts above stay: another allocation may be coming below them.
    assert "ice-p2" in slurm.run("sacctmgr", "-nP", "show", "account", "format=Account").split()


# --------------------------------------------------------------------------------------------------------- health


def faults(findings: Sequence[Finding]) -> dict[str, Severity]:
    return {f.subject: f.severity for f in findings if f.severity is not Severity.OK}


def test_check_health__working_cluster__has_nothing_to_say(site: Site) -> None:
    health = site.plugin.check_health()
    assert faults(health.findings) == {}
    assert health.version.startswith("22.05.")


def test_check_health__wrong_settings__each_is_named(slurm: Cluster) -> None:
    components = {"cpu": "cpu", "fpga": "gres/fpga"}
    site = site_of(slurm, cluster="moon", components=components)
    assert faults(site.plugin.check_health().findings) == {
        "cluster": Severity.BROKEN,
        "ClusterName": Severity.BROKEN,
        "AccountingStorageTRES gres/fpga": Severity.BROKEN,
    }
    site = site_of(slurm, parent_account="nowhere", qos="gold")
    assert faults(site.plugin.check_health().findings) == {"parent account": Severity.BROKEN, "QOS": Severity.BROKEN}
    assert isinstance(site.plugin.ensure(site.resource()), Refused)


def test_check_health__limits_not_enforced_and_use_decays__is_said(slurm: Cluster, idle: None) -> None:
    good = slurm.slurm_conf.read_text()
    bad = good.replace("associations,limits,qos,safe", "associations").replace("DecayHalfLife=0", "DecayHalfLife=7-0")
    try:
        slurm.slurm_conf.write_text(bad.replace("UsageResetPeriod=NONE", "UsageResetPeriod=YEARLY"))
        slurm.restart_controller()
        found = faults(site_of(slurm).plugin.check_health().findings)
    finally:
        slurm.slurm_conf.write_text(good)
        slurm.restart_controller()
    assert found == {
        "AccountingStorageEnforce limits": Severity.BROKEN,
        "AccountingStorageEnforce safe": Severity.WARNING,
        "PriorityDecayHalfLife": Severity.BROKEN,
        "PriorityUsageResetPeriod": Severity.BROKEN,
    }


def test_check_health__user_without_rights__is_said_and_changes_are_refused(slurm: Cluster) -> None:
    # The commands as another user, by a folder of small scripts in place of ssh.
    folder = slurm.folder / "as-carol"
    folder.mkdir()
    folder.chmod(0o755)
    for program in ("sacctmgr", "sacct", "scontrol", "squeue", "sdiag", "scancel", "id"):
        script = folder / program
        script.write_text(f'#!/bin/sh\nexec runuser -u carol -- /usr/bin/{program} "$@"\n')
        script.chmod(0o755)
    site = site_of(slurm, bin_path=str(folder))
    findings = [f for f in site.plugin.check_health().findings if f.severity is not Severity.OK]
    assert [(f.subject, f.severity) for f in findings] == [("rights", Severity.BROKEN)]
    assert "carol" in findings[0].message
    before = slurm.run("sacctmgr", "-nP", "show", "account", "withassoc")
    answer = site.plugin.ensure(site.resource(organization=Ref(70, "no", "No")))
    assert isinstance(answer, Refused)
    assert "ermission denied" in answer.why
    assert slurm.run("sacctmgr", "-nP", "show", "account", "withassoc") == before


# ------------------------------------------------------------------------------------------------------------ ssh


def test_ssh__nobody_answers__is_unreachable(slurm: Cluster) -> None:
    try:
        subprocess.run(["ssh", "-V"], capture_output=True, check=True)
    except FileNotFoundError:
        pytest.skip("not run here: no ssh (Debian package openssh-client)")
    site = site_of(slurm, reach="ssh", ssh_host="127.0.0.1", ssh_port=9)
    with pytest.raises(BackendUnreachable, match=r"127\.0\.0\.1"):
        site.plugin.ensure(site.resource())
    assert site.plugin.check_health().severity is Severity.BROKEN
