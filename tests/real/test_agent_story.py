"""The same story with the provider behind a firewall: SLURM is worked on by an agent of another user, which speaks HTTP only.

The server has no right to a single command of SLURM's here; the agent has neither Django nor the database in reach.
"""

import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installation import Installation, Somebody, await_true
from tests.real.agent import Site, install, interpreter_for_others
from tests.real.slurm.cluster import Cluster, People
from tests.real.test_slurm_story import (
    HOUR,
    WITHIN_SECONDS,
    Story,
    order_and_approve,
    publish_and_allocate,
    settings_of,
    terminate,
)

pytestmark = pytest.mark.slurm

AGENT = "bursaragent"


@pytest.fixture
def installation() -> Iterator[Installation]:
    made = Installation(has_tables=True)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture
def site(installation: Installation, slurm: Cluster) -> Iterator[Site]:
    """Another user, who may administer SLURM and nothing else."""
    python = interpreter_for_others()
    if not python:
        pytest.skip("not run here: no Python of this version that another user may run")
    people = People()
    people.add(AGENT)
    slurm.run("sacctmgr", "-i", "add", "user", AGENT, "account=root", "adminlevel=Admin")
    folder = Path(tempfile.mkdtemp(prefix="bursar-agent-", dir="/tmp"))
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    made = Site(AGENT, home, install(folder), python, installation.url, token="")
    try:
        yield made
    finally:
        made.kill()
        slurm.run("sacctmgr", "-i", "remove", "user", AGENT, check=False)
        people.leave()
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def begin(installation: Installation, slurm: Cluster, site: Site) -> Story:
    """Connect the site and publish on it; the agent runs."""

    def connect(people: dict[str, Somebody], provider_id: int) -> dict[str, Any]:
        manager = people["manager"]
        made = manager.post(
            "/backends",
            {"provider_id": provider_id, "name": "The cluster", "plugin": "slurm", "runs_at": "site"},
        )
        site.token = manager.client.headers["Authorization"].removeprefix("Bearer ")
        site.write("The cluster", "slurm", settings_of(slurm))
        checked = site.call("check")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        begun = time.monotonic()
        site.start()

        def heard() -> bool:
            assert site.process is not None
            assert site.process.poll() is None, site.log()
            return manager.get(f"/backends/{made['id']}")["health"] in {"ok", "warning"}

        await_true("the agent's first word", heard, WITHIN_SECONDS)
        print(f"the agent was heard after {time.monotonic() - begun:.1f} s and needs {site.memory_mib():.0f} MiB")
        return made

    return publish_and_allocate(installation, slurm, connect=connect)


def users(story: Story) -> list[str]:
    text = story.slurm.run("sacctmgr", "-nP", "show", "assoc", f"account={story.account}", "format=User")
    return sorted(name for name in text.split() if name)


def test_story__by_an_agent_of_another_user__every_core_second_is_counted(
    installation: Installation, slurm: Cluster, site: Site
) -> None:
    story = begin(installation, slurm, site)
    order_and_approve(story, "Sea ice")
    manager, investigator, owner = (story.people[name] for name in ("manager", "investigator", "owner"))
    assert site.memory_mib() < 100

    # A job, counted everywhere, and limits that follow.
    story.run_job(100, "sleep 10")
    used = slurm.used_seconds(story.account)
    await_true("the first job's usage", lambda: story.figures()[1] == used, WITHIN_SECONDS)
    assert story.figures() == (used, used, used)

    # The server is away for the whole of a job's life; the agent goes on by itself and tells it later.
    for name in ("serve", "worker"):
        gone = installation.processes.pop(name)
        gone.send_signal(signal.SIGKILL)
        gone.wait(20)
    story.run_job(50, "sleep 6")
    used = slurm.used_seconds(story.account)
    installation.spawn("serve")
    installation.spawn("worker")
    await_true("the server", installation._answers, 120)
    await_true("the usage of the time without a server", lambda: story.figures()[1] == used, 2 * WITHIN_SECONDS)

    # Quota is taken away: what waits does not start. It is given back: it does.
    owner.patch(f"/allocations/{story.share_id}", {"quota_ticks": used})
    assert story.wallet()["locked"] is True
    await_true("the lock in SLURM", lambda: _is_locked(story), WITHIN_SECONDS)
    held = slurm.submit("alice", story.account, "sleep 2", "--ntasks=2", minutes=1)
    slurm.await_state(held, "PENDING Assoc")
    owner.patch(f"/allocations/{story.share_id}", {"quota_ticks": 9 * HOUR})
    slurm.await_state(held, "COMPLETED", seconds=WITHIN_SECONDS)
    slurm.await_accounted(held)

    # A member joins and leaves.
    manager.put(f"/provider/accounts/{story.backend_id}/{investigator.id}", {"username": "bob"})
    await_true("bob in SLURM", lambda: users(story) == ["alice", "bob"], WITHIN_SECONDS)
    member = story.people["member"]
    members = investigator.get(f"/projects/{_project_of(story)}/members")["items"]
    mine = next(row for row in members if row["person"]["id"] == member.id)
    assert investigator.client.delete(f"/memberships/{mine['id']}").status_code in {200, 204}
    await_true("alice gone from SLURM", lambda: users(story) == ["bob"], WITHIN_SECONDS)
    investigator.post(f"/projects/{_project_of(story)}/members", {"person_id": member.id, "role": "project_member"})
    await_true("alice back in SLURM", lambda: users(story) == ["alice", "bob"], WITHIN_SECONDS)

    # A limit that somebody changes by hand is mended with the next look at everything.
    site.stop()
    slurm.run("sacctmgr", "-i", "modify", "account", story.account, "set", "GrpTRESMins=cpu=99999")
    site.file.write_text(site.file.read_text().replace("[agent]", "[agent]\nreconcile_every_minutes = 0.05"))
    site.start()
    await_true("the limit as wished", lambda: story.limit_minutes() == 9 * HOUR // 60, WITHIN_SECONDS)
    told = lambda: site.call("status", "--json").stdout  # noqa: E731
    await_true("the agent to say so", lambda: f"set GrpTRESMins=cpu={9 * HOUR // 60}" in told(), WITHIN_SECONDS)

    terminate(story)
    seconds = site.stop()
    assert seconds < 10
    status = site.call("status", "--json")
    assert status.returncode == 0, status.stderr


def _is_locked(story: Story) -> bool:
    text = story.slurm.run("sacctmgr", "-nP", "show", "assoc", f"account={story.account}", "user=", "format=GrpJobs")
    return text.strip() == "0"


def _project_of(story: Story) -> int:
    return int(story.wallet()["workspace"]["project_id"])


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.soak)])
def test_agent__killed_at_random_while_orders_and_jobs_go_on__nothing_is_lost_or_doubled(
    installation: Installation, slurm: Cluster, site: Site, kills: int
) -> None:
    story = begin(installation, slurm, site)
    chance = random.Random(kills)
    order_and_approve(story, "Ice sheet")  # an account of its own: sacct keeps the jobs of others under their names
    jobs = []
    for number in range(kills):
        jobs.append(slurm.submit("alice", story.account, f"sleep {chance.randint(1, 4)}", f"--ntasks={number % 9 + 1}"))
        story.people["owner"].patch(f"/allocations/{story.share_id}", {"quota_ticks": (6 + number % 3) * HOUR})
        time.sleep(chance.uniform(0, 3))
        site.kill()
        time.sleep(chance.uniform(0, 1))
        site.start()
    for job in jobs:
        slurm.await_state(job, "COMPLETED", seconds=120)
    slurm.await_accounted(*jobs)
    used = slurm.used_seconds(story.account)
    await_true("the usage of all jobs", lambda: story.figures() == (used, used, used), 2 * WITHIN_SECONDS)
    quota = (6 + (kills - 1) % 3) * HOUR
    await_true("the last limit", lambda: story.limit_minutes() == quota // 60, WITHIN_SECONDS)
    terminate(story)
    installation.command("ledger", "verify")
    print(f"{kills} kills, {len(jobs)} jobs, {used} core-seconds")
