"""Real workers are killed (SIGKILL) in the middle of provisioning; what was ordered comes to be, once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from bursar.kernel.clock import now
from bursar.provisioning.models import Order, Resource, ResourceFact
from tests.factories.provisioning import World, approve_all, make_world, place_order
from tests.unit.plugins.simulator.running import TOKEN, Backend


class Worker:
    """A worker as it runs in an installation, on the test's database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.started += 1
        database = connection.settings_dict
        url = f"postgresql://{database['USER']}@/{quote(database['NAME'])}?host={quote(database['HOST'], safe='/')}"
        with (self.folder / f"worker-{self.started}.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bursar.config", "worker"],
                env={
                    **os.environ,
                    "DATABASE_URL": url,
                    "BURSAR_HOME": str(self.folder),
                    "BURSAR_KEYS": ",".join(settings.BURSAR_KEYS),
                    "BURSAR_WORKER_HEARTBEAT_SECONDS": "0.5",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.log"))[-2:])


def empty_queue() -> None:
    # Django does not know these tables as its own and leaves them when it empties the others.
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers, procrastinate_periodic_defers CASCADE")


@pytest.fixture
def worker(transactional_db: None, tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    empty_queue()
    yield worker
    worker.kill()
    empty_queue()


def wait_for(holds: Callable[[], bool], *, seconds: float, what: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what()
        time.sleep(0.02)


def at_work(resource_id: int | None) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM procrastinate_jobs WHERE status = 'doing' AND task_name LIKE '%%reconcile_resource'"
            " AND args->>'resource_id' = %s",
            [str(resource_id)],
        )
        return cursor.fetchone() is not None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.soak)])
def test_worker__killed_at_random_points__every_order_ends_done_once(
    simulator: Backend, worker: Worker, kills: int
) -> None:
    chance = random.Random(kills)
    address = {"url": f"http://127.0.0.1:{simulator.port}", "token": TOKEN}
    world = make_world(plugin="simulator", values=address, at=now())
    orders: list[Order] = []
    worker.start()
    for _ in range(kills):
        order = _order(world, len(orders))
        orders.append(order)
        wait_for(partial(at_work, order.resource_id), seconds=60, what=worker.log)
        time.sleep(chance.uniform(0, 0.25))
        worker.kill()
        worker.start()
    for order in orders:
        wait_for(partial(_done, order), seconds=60, what=worker.log)
    resources = Resource.objects.filter(orders__in=orders)
    assert sorted(resources.values_list("state", flat=True)) == ["ok"] * kills
    assert [f"r{r.pk}" for r in resources.order_by("pk")] == [r.backend_id for r in resources.order_by("pk")]
    for resource in resources:
        states = ResourceFact.objects.filter(resource=resource, what="state").values_list("state", flat=True)
        assert list(states) == ["creating", "ok"]
        assert simulator.call("GET", f"/v1/accounts/r{resource.pk}")["closed"] is False
    with connection.cursor() as cursor:
        cursor.execute("SELECT task_name, args FROM procrastinate_jobs WHERE status = 'failed'")
        assert cursor.fetchall() == []


def _order(world: World, number: int) -> Order:
    return approve_all(world, place_order(world, name=f"Run {number}", limits={"storage": 5}, at=now()), at=now())


def _done(order: Order) -> bool:
    order.refresh_from_db()
    return order.state == "done"
