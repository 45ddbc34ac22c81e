"""From the shelf to a running SLURM job and back: the main job of Bursar, told over REST against a real SLURM.

Nothing is replaced: an installation with its own database, web server and worker; munge, slurmdbd, slurmctld and slurmd;
jobs that people submit with sbatch.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.installation import Installation, Somebody, await_true
from tests.real.slurm.cluster import Cluster

pytestmark = pytest.mark.slurm

HOUR = 3600  # ticks of a core-hour: core-seconds
WITHIN_SECONDS = 60


@pytest.fixture
def installation() -> Iterator[Installation]:
    made = Installation(has_tables=True)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@dataclass
class Story:
    """What the story made, and how its figures are read."""

    slurm: Cluster
    people: dict[str, Somebody]
    category_id: int
    backend_id: int
    university_id: int
    workspace_id: int
    root_id: int
    share_id: int
    account: str = ""
    resource_id: int = 0

    def wallet(self) -> dict[str, Any]:
        rows = self.people["investigator"].get("/wallets", workspace=self.workspace_id)["items"]
        return next(row for row in rows if row["category"]["id"] == self.category_id)

    def figures(self) -> tuple[int, int, int]:
        """Core-seconds of the resource, of the project's wallet, and drawn through the university's root allocation."""
        resource = self.people["investigator"].get(f"/resources/{self.resource_id}")
        of_resource = sum(row["used_ticks"] for row in resource["components"] if row["key"] == "cpu")
        return (
            of_resource,
            self.wallet()["used_ticks"],
            self.people["owner"].get(f"/allocations/{self.root_id}")["drawn_ticks"],
        )

    def limit_minutes(self) -> int:
        text = self.slurm.run(
            "sacctmgr", "-nP", "show", "assoc", f"account={self.account}", "user=", "format=GrpTRESMins"
        )
        return int(next(item for item in text.strip().split(",") if item.startswith("cpu=")).removeprefix("cpu="))

    def run_job(self, cores: int, command: str, *, minutes: int = 1) -> str:
        """Submit, wait for its end as SLURM's accounting knows it."""
        job = self.slurm.submit("alice", self.account, command, f"--ntasks={cores}", minutes=minutes)
        self.slurm.await_state(job, "COMPLETED", seconds=150)
        self.slurm.await_accounted(job)
        return job


def test_story__from_the_shelf_to_slurm_and_back__every_core_second_is_counted(
    installation: Installation, slurm: Cluster
) -> None:
    story = publish_and_allocate(installation, slurm)
    order_and_approve(story)

    # A real job. Within a minute of its end its core-seconds stand everywhere, equal to what sacct says.
    story.run_job(100, "sleep 15")
    used = slurm.used_seconds(story.account)
    assert used >= 1500
    await_true("the first job's usage", lambda: story.figures()[1] == used, WITHIN_SECONDS)
    assert story.figures() == (used, used, used)
    await_true("the limit in SLURM", lambda: story.limit_minutes() == 6 * HOUR // 60, WITHIN_SECONDS)
    by_person = story.people["investigator"].get(f"/resources/{story.resource_id}")["by_person"]
    assert [(row["username"], row["ticks"]) for row in by_person] == [("alice", used)]

    # A job that asks for more than is left waits; one that fits starts. The cluster's operator lets it run on until it has used
    # more than there was: how late SLURM ends a job at its time limit is not to be relied upon.
    too_large = slurm.submit("alice", story.account, "sleep 5", "--ntasks=700", minutes=1)
    slurm.await_state(too_large, "PENDING AssocGrpCPUMinutesLimit")
    slurm.run("scancel", too_large)
    left_minutes = (6 * HOUR - used) // 60
    long = slurm.submit("alice", story.account, "sleep 600", f"--ntasks={left_minutes}", minutes=1)
    slurm.await_state(long, "RUNNING")
    slurm.run("scontrol", "update", f"jobid={long}", "TimeLimit=10")
    await_true("more use than quota", lambda: slurm.used_seconds(story.account) > 6 * HOUR, 2 * WITHIN_SECONDS)
    slurm.run("scancel", long)
    slurm.await_accounted(long)
    used = slurm.used_seconds(story.account)
    assert 6 * HOUR < used < 9 * HOUR
    await_true("the second job's usage", lambda: story.figures()[1] == used, WITHIN_SECONDS)
    assert story.figures() == (used, used, 6 * HOUR)  # what the project was not given stands uncovered at its wallet
    wallet = story.wallet()
    assert (wallet["available_ticks"], wallet["uncovered_ticks"], wallet["locked"]) == (0, used - 6 * HOUR, True)

    # The next job does not start; more quota is given, and it runs.
    held = slurm.submit("alice", story.account, "sleep 2", "--ntasks=2", minutes=1)
    assert slurm.await_state(held, "PENDING Assoc")
    story.people["owner"].patch(f"/allocations/{story.share_id}", {"quota_ticks": 9 * HOUR})
    wallet = story.wallet()
    assert (wallet["uncovered_ticks"], wallet["available_ticks"], wallet["locked"]) == (0, 9 * HOUR - used, False)
    slurm.await_state(held, "COMPLETED", seconds=WITHIN_SECONDS)

    terminate(story)


def settings_of(slurm: Cluster) -> dict[str, Any]:
    return {"slurm_conf": str(slurm.slurm_conf), "cluster": slurm.name, "components": {"cpu": "cpu"}, "tag": "story"}


def publish_and_allocate(
    installation: Installation,
    slurm: Cluster,
    *,
    connect: Callable[[dict[str, Somebody], int], dict[str, Any]] | None = None,
) -> Story:
    """The operator makes a university and a centre; the centre publishes and gives 10 core-hours, the university 6 of them.

    connect   makes the backend of a provider; None = one beside the server
    """
    people = installation.people(("operator", "manager", "owner", "investigator", "member"))
    operator, manager, owner, investigator = (people[k] for k in ("operator", "manager", "owner", "investigator"))
    centre = operator.post("/organizations", {"name": "Computing Centre", "slug": "centre"})
    university = operator.post("/organizations", {"name": "University of the North", "owner_id": owner.id})
    operator.post(f"/organizations/{centre['id']}/members", {"person_id": manager.id, "role": "provider_manager"})
    provider = operator.post("/providers", {"organization_id": centre["id"]})
    shelf = operator.post("/shelves", {"title": "Clusters", "slug": "clusters"})

    category = manager.post(
        "/product-categories",
        {
            "provider_id": provider["id"], "name": "cpu", "title": "CPU time", "product_type": "compute",
            "charging": "hour", "unit_name": "core-hours", "ticks_per_unit": HOUR,
        },
    )  # fmt: skip
    # The operator, since its settings name a file of the machine that Bursar runs on.
    backend = (
        connect(people, provider["id"])
        if connect is not None
        else operator.post(
            "/backends",
            {"provider_id": provider["id"], "name": "The cluster", "plugin": "slurm", "settings": settings_of(slurm)},
        )
    )
    assert manager.post(f"/backends/{backend['id']}/test")["health"] != "broken"
    offering = manager.post(
        "/offerings",
        {
            "provider_id": provider["id"], "name": "The cluster", "slug": "cluster", "summary": "Cores for computing.",
            "description": "Many cores.", "shelf_id": shelf["id"], "backend_id": backend["id"],
        },
    )  # fmt: skip
    path = f"/offerings/{offering['id']}"
    for component in manager.get(path)["components"]:
        if component["key"] != "cpu":
            _gone(manager, f"{path}/components/{component['id']}")
    cpu = next(c for c in manager.get(path)["components"] if c["key"] == "cpu")
    manager.patch(f"{path}/components/{cpu['id']}", {"category_id": category["id"], "ticks_per_unit": HOUR})
    manager.post(f"{path}/plans", {"name": "Standard"})
    manager.put(f"{path}/visibility", {"visibility": "everyone"})
    assert manager.post(f"{path}/activate")["state"] == "active"

    now = datetime.now(UTC)
    end = (now + timedelta(days=30)).isoformat()
    root = manager.post(
        "/allocations",
        {"category_id": category["id"], "organization_id": university["id"], "quota_ticks": 10 * HOUR, "end": end},
    )
    project = owner.post(
        "/projects",
        {"organization_id": university["id"], "name": '"; rm -rf ~ #', "slug": "sea", "principal_investigator_id": investigator.id},
    )  # fmt: skip
    member_body = {"person_id": people["member"].id, "role": "project_member"}
    investigator.post(f"/projects/{project['id']}/members", member_body)
    share = owner.post(
        "/allocations",
        {
            "category_id": category["id"], "source_wallet_id": root["wallet_id"], "project_id": project["id"],
            "quota_ticks": 6 * HOUR, "end": end,
        },
    )  # fmt: skip
    return Story(
        slurm=slurm,
        backend_id=backend["id"],
        people=people,
        category_id=category["id"],
        university_id=university["id"],
        workspace_id=share["workspace"]["id"],
        root_id=root["id"],
        share_id=share["id"],
    )


def _gone(somebody: Somebody, path: str) -> None:
    assert somebody.client.delete(path).status_code == 204


def order_and_approve(story: Story, name: str = "Sea level") -> None:
    """The investigator orders, the university's owner and the centre approve; account, user and limit stand in SLURM."""
    people = story.people
    offering = people["investigator"].get("/offerings")["items"][0]
    plan = people["investigator"].get(f"/offerings/{offering['id']}")["plans"][0]
    order = people["investigator"].post(
        "/orders",
        {
            "workspace_id": story.workspace_id, "offering_id": offering["id"], "plan_id": plan["id"],
            "name": name, "limits": {}, "form": {},
        },
    )  # fmt: skip
    assert order["state"] == "pending_consumer"
    order = people["owner"].post(f"/orders/{order['id']}/approve", {"side": "consumer"})
    assert order["state"] == "pending_provider"
    order = people["manager"].post(f"/orders/{order['id']}/approve", {"side": "provider"})
    assert order["state"] == "executing"
    done = lambda: people["investigator"].get(f"/orders/{order['id']}")["state"] == "done"  # noqa: E731
    await_true("the order", done, WITHIN_SECONDS)
    story.resource_id = people["investigator"].get(f"/orders/{order['id']}")["resource_id"]
    story.account = people["investigator"].get(f"/resources/{story.resource_id}")["backend_id"]

    accounts = f"/provider/accounts/{story.backend_id}/{people['member'].id}"
    people["manager"].put(accounts, {"username": "alice"})

    def users() -> list[str]:
        text = story.slurm.run("sacctmgr", "-nP", "show", "assoc", f"account={story.account}", "format=User")
        return [name for name in text.split() if name]

    await_true("the user in SLURM", lambda: users() == ["alice"], WITHIN_SECONDS)
    await_true("the limit in SLURM", lambda: story.limit_minutes() == 6 * HOUR // 60, WITHIN_SECONDS)


def terminate(story: Story) -> None:
    """Terminating brings the last usage in and closes the account."""
    investigator = story.people["investigator"]
    running = story.slurm.submit("alice", story.account, "sleep 600", "--ntasks=3", minutes=20)
    story.slurm.await_state(running, "RUNNING")
    order = investigator.post(f"/resources/{story.resource_id}/terminate")
    if order["state"] == "pending_consumer":
        order = story.people["owner"].post(f"/orders/{order['id']}/approve", {"side": "consumer"})
    if order["state"] == "pending_provider":
        story.people["manager"].post(f"/orders/{order['id']}/approve", {"side": "provider"})
    ended = lambda: investigator.get(f"/resources/{story.resource_id}")["state"] == "terminated"  # noqa: E731
    await_true("the end", ended, 2 * WITHIN_SECONDS)
    story.slurm.await_accounted(running)
    used = story.slurm.used_seconds(story.account)
    assert story.figures() == (used, used, used)
    refused = story.slurm.succeeds(
        "runuser", "-u", "alice", "--", "sbatch", "--output=/dev/null", f"--account={story.account}", "--wrap=true"
    )
    assert not refused
