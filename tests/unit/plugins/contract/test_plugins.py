"""The contract suite on the plugins that need nothing installed. SLURM's hook is in tests/real."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from bursar.plugins.contract import DesiredResource, Presence
from bursar.plugins.manual.plugin import ManualPlugin, ManualSettings, confirm
from bursar.plugins.script.plugin import VERBS, ScriptPlugin
from bursar.plugins.script.settings import ScriptSettings
from tests.unit.plugins.contract import suite
from tests.unit.plugins.contract.suite import Case
from tests.unit.plugins.simulator.running import TOKEN, Backend, wait_until

pytestmark = pytest.mark.slow

NUMBERS = count(1)
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
    suite.ImportsContract,
    suite.ActionsContract,
):
    @pytest.fixture
    def case(self, backend: Backend) -> Case:
        def use(resource: DesiredResource, username: str) -> None:
            job = backend.submit(resource.backend_id, username, cores=3, seconds=5)
            wait_until(lambda: backend.job(job)["state"] == "completed")

        def begin_use(resource: DesiredResource, username: str) -> None:
            backend.submit(resource.backend_id, username, cores=2, seconds=86_400)

        def found_there() -> str:
            name = f"group-{next(NUMBERS)}"
            account = {
                "kind": "hpc",
                "title": "The old group",
                "parent": None,
                "storage_gb": 7,
                "cap_core_seconds": None,
            }
            backend.call("PUT", f"/v1/accounts/{name}", account)
            return name

        return Case(
            plugin=backend.plugin(),
            secrets=[TOKEN],
            unreachable=backend.plugin(url="http://127.0.0.1:9", timeout_seconds=1),
            limits={"storage": 100},
            component="cpu",
            use=use,
            begin_use=begin_use,
            found_there=found_there,
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
    suite.ImportsContract,
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

        def found_there() -> str:
            name = f"server-{next(NUMBERS)}"
            account = {
                "kind": "vm",
                "title": "The old server",
                "parent": None,
                "storage_gb": 0,
                "cap_core_seconds": None,
            }
            backend.call("PUT", f"/v1/accounts/{name}", account)
            backend.call("PUT", f"/v1/accounts/{name}/quota", {"available": None, "locked": False})
            machine = {"name": "old", "flavor": "sim.large", "ssh_key": ""}
            backend.call("PUT", f"/v1/accounts/{name}/machine", machine)
            wait_until(lambda: backend.call("GET", f"/v1/accounts/{name}")["machine"]["state"] == "active")
            return name

        return Case(
            plugin=plugin,
            secrets=[TOKEN],
            unreachable=backend.plugin(sells="vm", url="http://127.0.0.1:9", timeout_seconds=1),
            form={"name": "analysis", "flavor": "sim.medium", "ssh_key": "ssh-ed25519 AAAA ada@example.org"},
            component="vm",
            use=use,
            begin_use=begin_use,
            found_there=found_there,
        )


class TestManual(suite.Declares, suite.Provides, suite.PausesContract):
    @pytest.fixture
    def case(self) -> Case:
        left = {"ensure": Presence.OK, "resume": Presence.OK, "pause": Presence.PAUSED, "remove": Presence.ABSENT}

        def person_does(resource: DesiredResource, verb: str) -> DesiredResource:
            state = confirm(resource.state, resource.generation, f"box-{resource.id}", presence=left[verb])
            return replace(resource, state=state)

        return Case(plugin=ManualPlugin(ManualSettings(contact="desk@example.org")), person_does=person_does)


EXAMPLES = Path(__file__).resolve().parents[4] / "docs" / "examples" / "script-backend"
SECRET = "workbench-secret-91c4"


class TestScriptWorkbench(
    suite.Declares,
    suite.Reaches,
    suite.Provides,
    suite.PausesContract,
    suite.QuotaContract,
    suite.MembersContract,
    suite.AccountsContract,
    suite.EndsAccountsContract,
    suite.GroupsContract,
    suite.UsageContract,
    suite.ImportsContract,
):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        program = str(EXAMPLES / "workbench.py")

        def plugin(program: str) -> ScriptPlugin:
            return ScriptPlugin(
                ScriptSettings.model_validate(
                    {
                        **{verb: [program] for verb in VERBS},
                        "environment": {"WORKBENCH_FOLDER": str(tmp_path)},
                        "token": SECRET,
                    }
                )
            )

        def by_hand(*words: str) -> None:
            subprocess.run(
                [program, *words], check=True, env={"WORKBENCH_FOLDER": str(tmp_path), "PATH": "/usr/bin:/bin"}
            )

        def found_there() -> str:
            name = f"bench-{next(NUMBERS)}"
            by_hand("make", name, "The old bench", "40")
            return name

        return Case(
            plugin=plugin(program),
            secrets=[SECRET],
            unreachable=plugin("/no/such/workbench"),
            limits={"cpu": 100},
            component="cpu",
            use=lambda resource, username: by_hand("use", resource.backend_id, username, "3", "60"),
            begin_use=lambda resource, username: by_hand("begin", resource.backend_id, username, "2"),
            found_there=found_there,
        )


@pytest.mark.skipif(shutil.which("jq") is None, reason="the example in bash needs jq")
class TestScriptFolders(suite.Declares, suite.Reaches, suite.Provides, suite.PausesContract):
    @pytest.fixture
    def case(self, tmp_path: Path) -> Case:
        def plugin(program: str) -> ScriptPlugin:
            commands = {verb: [program] for verb in ("ensure", "remove", "observe", "pause", "resume")}
            return ScriptPlugin(
                ScriptSettings.model_validate({**commands, "environment": {"FOLDERS_ROOT": str(tmp_path)}})
            )

        return Case(plugin=plugin(str(EXAMPLES / "folders.sh")), unreachable=plugin("/no/such/folders"))
