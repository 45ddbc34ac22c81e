"""The contract suite on the slurm plugin, against the real SLURM."""

from itertools import count

import pytest

from bursar.plugins.contract import DesiredResource, Member
from bursar.plugins.slurm.plugin import SlurmPlugin
from bursar.plugins.slurm.settings import SlurmSettings
from tests.real.slurm.cluster import Cluster
from tests.unit.plugins.contract import suite
from tests.unit.plugins.contract.suite import Case

NUMBERS = count(1)

pytestmark = pytest.mark.slurm


# Each of these takes seconds here; what becomes of all the others is looked at in tests/unit/plugins/slurm.
NAMES = (suite.HOSTILE_NAMES[0], suite.HOSTILE_NAMES[3], suite.HOSTILE_NAMES[8])


class TestSlurm(
    suite.Declares,
    suite.Reaches,
    suite.Provides,
    suite.PausesContract,
    suite.QuotaContract,
    suite.MembersContract,
    suite.UsageContract,
    suite.ImportsContract,
):
    @pytest.fixture
    def case(self, slurm: Cluster) -> Case:
        def use(resource: DesiredResource, username: str) -> None:
            job = slurm.submit(username, resource.backend_id, "sleep 1", "--cpus-per-task=3")
            slurm.await_state(job, "COMPLETED")
            slurm.await_accounted(job)

        def begin_use(resource: DesiredResource, username: str) -> None:
            job = slurm.submit(username, resource.backend_id, "sleep 600", "--cpus-per-task=2", minutes=20)
            slurm.await_state(job, "RUNNING")

        def found_there() -> str:
            name = f"old-{next(NUMBERS)}"
            # A description is free text: commas and quotes mean something to sacctmgr, and not to us.
            slurm.run("sacctmgr", "-i", "add", "account", name, "description=The group, as was", "organization=old")
            slurm.run("sacctmgr", "-i", "modify", "account", "where", f"name={name}", "set", "GrpTRESMins=cpu=6000")
            return name

        return Case(
            plugin=SlurmPlugin(SlurmSettings(slurm_conf=str(slurm.slurm_conf))),
            unreachable=SlurmPlugin(SlurmSettings(bin_path=str(slurm.folder / "absent"))),
            component="cpu",
            member=Member(1, "alice@example.org", "Alice", "alice"),
            use=use,
            begin_use=begin_use,
            found_there=found_there,
            first_id=100_000,
        )

    @pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
    def test_ensure__hostile_names__are_harmless(self, case: Case, name: str) -> None:
        super().test_ensure__hostile_names__are_harmless(case, name)
