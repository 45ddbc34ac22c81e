"""The contract suite on the plugins that need nothing installed. SLURM's hook is in tests/real."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bursar.plugins.contract import DesiredResource, Presence
from bursar.plugins.manual.plugin import ManualPlugin, ManualSettings, confirm
from tests.unit.plugins.contract import suite
from tests.unit.plugins.contract.suite import Case
from tests.unit.plugins.simulator.running import TOKEN, Backend, wait_until

pytestmark = pytest.mark.slow

SPEED = 20  # pretend seconds per real second


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    running = Backend(tmp_path_factory.mktemp("simulator") / "state.db", speed=SPEED).start()
    yield running
    assert running.stop() == ""


class TestSimulatorCluster(
    suite.Declares,
    suite.Reaches,
    suite.Provides,
    suite.PausesContract,
    suite.QuotaContract,
    suite.MembersContract,
    suite.AccountsContract,
    suite.UsageContract,
    suite.ActionsContract,
):
    @pytest.fixture
    def case(self, backend: Backend) -> Case:
        def use(resource: DesiredResource, username: str) -> None:
            job = backend.submit(resource.backend_id, username, cores=3, seconds=5)
            wait_until(lambda: backend.job(job)["state"] == "completed")

        def begin_use(resource: DesiredResource, username: str) -> None:
            backend.submit(resource.backend_id, username, cores=2, seconds=86_400)

        return Case(
            plugin=backend.plugin(),
            secrets=[TOKEN],
            unreachable=backend.plugin(url="http://127.0.0.1:9", timeout_seconds=1),
            limits={"storage": 100},
            component="cpu",
            use=use,
            begin_use=begin_use,
        )


class TestSimulatorCloud(
    suite.Declares,
    suite.Reaches,
    suite.Provides,
    suite.PausesContract,
    suite.QuotaContract,
    suite.MembersContract,
    suite.AccountsContract,
    suite.UsageContract,
    suite.ActionsContract,
):
    @pytest.fixture
    def case(self, backend: Backend) -> Case:
        plugin = backend.plugin(sells="vm")

        def begin_use(resource: DesiredResource, _: str) -> None:
            plugin.resume(resource)

        def use(resource: DesiredResource, _: str) -> None:
            before = plugin.observe(resource).facts["used_core_seconds"]
            plugin.resume(resource)
            wait_until(lambda: plugin.observe(resource).facts["used_core_seconds"] > before)
            plugin.pause(resource)

        return Case(
            plugin=plugin,
            secrets=[TOKEN],
            unreachable=backend.plugin(sells="vm", url="http://127.0.0.1:9", timeout_seconds=1),
            form={"name": "analysis", "flavor": "sim.medium", "ssh_key": "ssh-ed25519 AAAA ada@example.org"},
            component="vm",
            use=use,
            begin_use=begin_use,
        )


class TestManual(suite.Declares, suite.Provides, suite.PausesContract):
    @pytest.fixture
    def case(self) -> Case:
        left = {"ensure": Presence.OK, "resume": Presence.OK, "pause": Presence.PAUSED, "remove": Presence.ABSENT}

        def person_does(resource: DesiredResource, verb: str) -> DesiredResource:
            state = confirm(resource.state, resource.generation, f"box-{resource.id}", presence=left[verb])
            return replace(resource, state=state)

        return Case(plugin=ManualPlugin(ManualSettings(contact="desk@example.org")), person_does=person_does)
