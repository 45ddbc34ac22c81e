"""Usage of the past, told by resource and component in a file."""

import csv
import io
from datetime import datetime
from pathlib import Path

import pytest

from bursar.accounting.selectors import wallet_state
from bursar.metering.backfill import BackfillStopped, Progress, backfill
from bursar.metering.models import UsageReport
from bursar.provisioning.services.reported import complete
from tests.factories.provisioning import World, make_resource, make_world

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(at: datetime) -> World:
    return make_world(at=at)


def fill(path: Path, world: World, **more) -> Progress:
    return backfill(
        path,
        category_id=None,
        at=lambda: world.at,
        complete=lambda told: complete(told, by=None, at=world.at),
        **more,
    )


def test_backfill__by_resource_and_component__finds_the_wallet_and_names_what_is_wrong(tmp_path, world) -> None:
    resource = make_resource(world)
    path, aside = tmp_path / "usage.csv", io.StringIO()
    hour = "2026-11-20T10:00:00Z,2026-11-20T11:00:00Z"
    path.write_text(
        "report_id,amount_ticks,period_start,period_end,resource_id,component,workspace_id,category_id\n"
        f"job-1,7200,{hour},{resource.pk},cpu,,\n"
        f"job-2,1,{hour},{resource.pk},gpu,,\n"
        f"job-3,1,{hour},{resource.pk + 1},cpu,,\n"
        f"job-4,1,{hour},{resource.pk},storage,,\n"
        f"job-5,1,{hour},{resource.pk},cpu,{world.workspace.pk + 1},\n"
        f"job-6,1,{hour},{resource.pk},cpu,,{world.cpu.pk + 1000}\n"
        f"job-7,1,{hour},,cpu,,\n"
        f"job-8,1.5,{hour},{resource.pk},cpu,,\n"
        f"job-9,3600,{hour},,,{world.workspace.pk},{world.cpu.pk}\n"
    )
    wrong = [
        (3, "job-2", "unknown_component"),
        (4, "job-3", "unknown_resource"),
        (5, "job-4", "component_not_metered"),
        (6, "job-5", "resource_of_another_workspace"),
        (7, "job-6", "component_of_another_category"),
        (8, "job-7", "wallet_missing"),
        (9, "", "invalid"),
    ]
    with pytest.raises(BackfillStopped) as stopped:
        fill(path, world)
    assert [(one.line, one.report_id, one.code) for one in stopped.value.wrong] == wrong
    assert UsageReport.objects.count() == 0
    assert fill(path, world, set_aside=aside) == Progress(9, 2, 0, 7)
    rows = csv.reader(io.StringIO(aside.getvalue()))
    assert [(int(row[0]), row[1]) for row in rows] == [(line, code) for line, _, code in wrong]
    assert set(UsageReport.objects.values_list("report_id", "resource_id")) == {
        ("job-1", resource.pk), ("job-9", None),
    }  # fmt: skip
    state = wallet_state(workspace_id=world.workspace.pk, category_id=world.cpu.pk, at=world.at)
    assert state is not None
    assert state.used_ticks == 10_800
