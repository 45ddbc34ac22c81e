"""A client reports usage at full speed while server, worker and PostgreSQL are killed (SIGKILL): the books stay right.

What was acknowledged is there once; what was never sent is not there; the ledger verifies clean.
"""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.installation import Installation, Somebody, await_true

pytestmark = pytest.mark.slow

BATCH = 40
TICKS = 5

_STORED = """
import json
from django.db.models import Sum
from bursar.accounting.models import Wallet
from bursar.metering.models import ReportIdentity, UsageReport
print("TOLD " + json.dumps({
    "identities": list(ReportIdentity.objects.values_list("report_id", flat=True)),
    "reports": list(UsageReport.objects.values_list("report_id", flat=True)),
    "used": Wallet.objects.aggregate(Sum("used_ticks"))["used_ticks__sum"],
}))
"""


@pytest.fixture
def installation() -> Iterator[Installation]:
    made = Installation(has_tables=True)
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Client(threading.Thread):
    """Sends batch after batch; one that was not answered is sent again, except that now and then it is given up."""

    def __init__(self, manager: Somebody, category_id: int, workspace_id: int) -> None:
        super().__init__(daemon=True)
        self.manager = manager
        self.wallet = {"category_id": category_id, "workspace_id": workspace_id}
        self.sent: set[str] = set()
        self.acknowledged: set[str] = set()
        self.refused: list[str] = []
        self.unanswered = 0
        self.ended = threading.Event()

    def run(self) -> None:
        number = 0
        while not self.ended.is_set():
            number += 1
            names = [f"batch {number} report {n}" for n in range(BATCH)]
            self.sent.update(names)
            while not self.ended.is_set():
                answer = self._send(names)
                if answer is True:
                    self.acknowledged.update(names)
                    break
                if answer is False or self.unanswered % 5 == 4:
                    break  # given up: it may be there or not, but not in part

    def _send(self, names: list[str]) -> bool | None:
        """True: acknowledged; False: refused; None: nobody knows."""
        period = {"period_start": "2026-11-01T00:00:00Z", "period_end": "2026-11-01T00:05:00Z"}
        reports = [{"report_id": name, "amount_ticks": TICKS, **self.wallet, **period} for name in names]
        try:
            answer = self.manager.client.post("/usage/reports", json={"reports": reports}, timeout=20)
        except httpx.HTTPError:
            self.unanswered += 1
            time.sleep(0.05)
            return None
        if answer.status_code == 200:
            return True
        if answer.status_code >= 500:
            self.unanswered += 1
            time.sleep(0.05)
            return None
        self.refused.append(answer.text[:300])
        return False


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.soak)])
def test_reports__while_everything_is_killed_at_random__are_there_once_when_acknowledged(
    installation: Installation, kills: int
) -> None:
    chance = random.Random(kills)
    client = publish(installation)
    client.start()
    targets = ["serve", "postgres", "worker", "serve", "serve"]
    for number in range(kills):
        before = len(client.acknowledged)
        await_true("reports to go on", lambda before=before: len(client.acknowledged) > before, 90)
        time.sleep(chance.uniform(0.0, 0.3))
        strike(installation, targets[number % len(targets)])
    before = len(client.acknowledged)
    await_true("reports to go on", lambda: len(client.acknowledged) > before, 90)
    client.ended.set()
    client.join(30)

    told = installation.command("manage", "shell", "--verbosity", "0", "-c", _STORED)
    stored = json.loads(told.split("TOLD ", 1)[1])
    identities, reports = set(stored["identities"]), stored["reports"]
    assert client.refused == []
    assert client.acknowledged - identities == set()
    assert identities - client.sent == set()
    assert sorted(reports) == sorted(identities)  # each once
    assert stored["used"] == TICKS * len(reports)
    in_part = {name.split(" report")[0] for name in identities}
    assert len(reports) == BATCH * len(in_part)  # a batch is there whole or not at all
    installation.command("ledger", "verify")  # ends with 1 where anything differs
    print(f"{kills} kills, {len(client.acknowledged)} reports acknowledged, {client.unanswered} requests unanswered")


def publish(installation: Installation) -> Client:
    people = installation.people(("operator", "manager"))
    operator, manager = people["operator"], people["manager"]
    centre = operator.post("/organizations", {"name": "Computing Centre", "slug": "centre"})
    university = operator.post("/organizations", {"name": "University of the North"})
    operator.post(f"/organizations/{centre['id']}/members", {"person_id": manager.id, "role": "provider_manager"})
    provider = operator.post("/providers", {"organization_id": centre["id"]})
    category = manager.post(
        "/product-categories",
        {
            "provider_id": provider["id"], "name": "cpu", "title": "CPU time", "product_type": "compute",
            "charging": "hour", "unit_name": "core-hours", "ticks_per_unit": 3600,
        },
    )  # fmt: skip
    end = (datetime.now(UTC) + timedelta(days=30)).isoformat()
    root = manager.post(
        "/allocations",
        {"category_id": category["id"], "organization_id": university["id"], "quota_ticks": 10_000, "end": end},
    )
    return Client(manager, category["id"], root["workspace"]["id"])


def strike(installation: Installation, target: str) -> None:
    """Kill one of the processes and bring up again what an installation's supervisor would."""
    if target != "postgres":
        process = installation.processes.pop(target)
        process.kill()
        process.wait(10)
        installation.spawn(target)
        return
    [pid_file] = installation.home.rglob("postmaster.pid")
    os.kill(int(pid_file.read_text().splitlines()[0]), signal.SIGKILL)
    # The embedded server comes up with whoever needs it next, and goes through its log first.
    for name in ("serve", "worker"):
        process = installation.processes.pop(name)
        process.kill()
        process.wait(10)
        installation.spawn(name)
