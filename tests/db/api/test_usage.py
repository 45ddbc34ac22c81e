"""What was used in any period, by REST and as CSV."""

import csv
import io
from copy import deepcopy
from datetime import UTC, timedelta
from typing import Any

import pytest
from django.test import Client

from bursar.api.tables import cell
from bursar.metering import rollups
from bursar.structure.models import Person, Project
from tests.factories.nation import Nation, make_nation

pytestmark = pytest.mark.django_db
HOUR = 3600


def gathered() -> Nation:
    nation = make_nation()
    rollups.roll_up(category_id=nation.category.pk, limit=40)
    return nation


@pytest.fixture(scope="module")
def made(standing: Any) -> Nation:
    return standing(gathered)


@pytest.fixture
def nation(made: Nation) -> Nation:
    return deepcopy(made)


def get(person: Person, path: str, **query: Any) -> Any:
    client = Client()
    client.force_login(person)
    return client.get(f"/api/v1{path}", query)


def table(response: Any) -> list[list[str]]:
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8", response.content
    assert response.headers["Content-Disposition"].startswith('attachment; filename="')
    return list(csv.reader(io.StringIO(response.content.decode())))


def test_series__of_a_university__is_the_same_as_json_and_as_csv(nation: Nation) -> None:
    path = f"/wallets/{nation.wallet(nation.university).pk}/usage/series"
    today = nation.at.astimezone(UTC).date()
    period = {"first_day": today - timedelta(days=2), "last_day": today}

    told = get(nation.owner, path, **period).json()
    rows = table(get(nation.owner, f"{path}.csv", **period))

    assert (told["step"], told["change_ticks"]) == ("day", (20 + 1.5) * HOUR)
    last = told["points"][-1]
    assert (last["change_ticks"], last["level_ticks"], last["quota_ticks"], last["drawn_ticks"]) == (
        0, 601.5 * HOUR, 1000 * HOUR, 601.5 * HOUR,
    )  # fmt: skip
    assert last["utilisation_percent"] == 60.15
    assert rows[0][:7] == ["first_day", "last_day", "change", "level", "quota", "drawn", "utilisation_percent"]
    assert rows[-1] == [
        str(today), str(today), "0", "601.5", "1000", "601.5", "60.15", "core-hours", "0", "2165400", "3600000", "2165400",
    ]  # fmt: skip
    assert len(rows) == 4


def test_breakdown__by_person__is_told_to_who_may_see_people(nation: Nation) -> None:
    path = f"/wallets/{nation.wallet(nation.physics).pk}/usage/breakdown"
    first = (nation.at - timedelta(days=70)).date()
    told = get(nation.investigator, path, by="person", first_day=first).json()
    assert [(one["key"], one["name"], one["ticks"]) for one in told["parts"]] == [
        (nation.investigator.pk, "Anders Holm", 400 * HOUR),
        (nation.member.pk, "Freja Lindqvist", 200 * HOUR),
    ]
    for ending in ("", ".csv"):
        refused = get(nation.member, path + ending, by="person", first_day=first)
        assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
        assert get(nation.member, path + ending, first_day=first).status_code == 200


def test_breakdown__a_name_that_is_a_formula__is_text_in_the_csv(nation: Nation) -> None:
    Project.objects.filter(pk=nation.physics.pk).update(name="=cmd|'/c calc'!A1")
    path = f"/wallets/{nation.wallet(nation.university).pk}/usage/breakdown.csv"
    rows = table(get(nation.owner, path, first_day=(nation.at - timedelta(days=70)).date()))
    assert rows == [
        ["child", "id", "used", "unit", "used_ticks"],
        ["'=cmd|'/c calc'!A1", str(nation.wallet(nation.physics).pk), "600", "core-hours", "2160000"],
        ["Catalysis", str(nation.wallet(nation.chemistry).pk), "1.5", "core-hours", "5400"],
    ]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("=1+1", "'=1+1"), ("+1+1", "'+1+1"), ("-1-1", "'-1-1"), ("@SUM(A1)", "'@SUM(A1)"), ("\t=1", "'\t=1"), ("\r=1", "'\r=1"),
        ("-12.5", "-12.5"), ("+3", "+3"), (-7, "-7"), ("-", "'-"), ("a=b", "a=b"), (None, ""), ("-1\n", "'-1\n"), ("-१", "'-१"),
    ],
)  # fmt: skip
def test_cell__what_a_spreadsheet_would_run__is_text(value: object, written: str) -> None:
    assert cell(value) == written


def test_health__of_the_children__and_over_commitment(nation: Nation) -> None:
    path = f"/wallets/{nation.wallet(nation.university).pk}/health"
    told = get(nation.owner, path).json()
    assert (told["held_ticks"], told["given_ticks"], told["over_commitment_percent"]) == (
        1000 * HOUR,
        1100 * HOUR,
        110.0,
    )
    assert [(one["workspace"]["name"], one["health"]) for one in told["children"]] == [
        ("Catalysis", "at_risk"),  # it ends in 20 days, and nothing follows
        ("Lattice physics", "at_risk"),
    ]
    rows = table(get(nation.owner, f"{path}.csv"))
    assert [row[:5] for row in rows[1:]] == [
        ["Catalysis", str(nation.wallet(nation.chemistry).pk), "at_risk", "500", "1.5"],
        ["Lattice physics", str(nation.wallet(nation.physics).pk), "at_risk", "600", "600"],
    ]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"first_day": "2026-02-02", "last_day": "2026-02-01"}, "period_backwards"),
        ({"first_day": "1900-01-01", "last_day": "2026-02-01"}, "period_too_long"),
        ({"first_day": "2024-01-01", "last_day": "2026-02-01", "step": "day"}, "step_too_fine"),
        ({"first_day": "2024-13-01"}, "invalid_request"),
        ({"step": "hour"}, "invalid_request"),
    ],
)
def test_series__a_period_that_cannot_be_told__is_refused(nation: Nation, query: dict[str, str], code: str) -> None:
    for ending in ("", ".csv"):
        answer = get(nation.owner, f"/wallets/{nation.wallet(nation.university).pk}/usage/series{ending}", **query)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_series__the_first_and_the_last_days_there_are__are_told(nation: Nation) -> None:
    path = f"/wallets/{nation.wallet(nation.university).pk}/usage/series"
    for day in ("0001-01-01", "9999-12-31"):
        for step in ("day", "week", "month"):
            assert get(nation.owner, path, last_day=day, step=step).status_code == 200
