"""Who sees which usage on its pages; the browser tests show how they look."""

from copy import deepcopy
from datetime import date, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from bursar.metering import rollups
from bursar.structure.models import Person
from bursar.web.views.usage import period_of
from tests.factories.nation import Nation, make_nation

pytestmark = pytest.mark.django_db


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


def of(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_usage__of_a_university__adds_up_and_breaks_down(nation: Nation) -> None:
    address = reverse("organization_usage", args=[nation.university.pk])
    answer = of(nation.owner).get(address, {"period": "90"})
    assert answer.status_code == 200
    assert answer.context["series"].change_ticks == (600 + 1.5) * 3600
    assert [(row.name, row.ticks) for row in answer.context["rows"]] == [
        ("Lattice physics", 600 * 3600),
        ("Catalysis", 5400),
    ]
    assert (answer.context["given_percent"], answer.context["health"]) == (110, [("at_risk", 2)])
    html = answer.content.decode()
    assert f"/api/v1/wallets/{nation.wallet(nation.university).pk}/usage/series.csv?first_day=" in html
    people = of(nation.owner).get(address, {"period": "90", "by": "person"}).context["rows"]
    assert [(row.name, row.ticks) for row in people] == [
        ("Anders Holm", 400 * 3600),
        ("Freja Lindqvist", 200 * 3600),
        ("not told", 5400),
    ]


def test_usage__member__is_not_offered_the_people(nation: Nation) -> None:
    address = reverse("project_usage", args=[nation.physics.pk])
    answer = of(nation.member).get(address, {"by": "person", "period": "90"})
    assert [by.value for by, _label in answer.context["breakdowns"]] == ["child", "resource", "product"]
    assert "Anders Holm" not in answer.content.decode()
    assert [row.name for row in answer.context["rows"]] == ["Lattice physics, itself"]


@pytest.mark.parametrize(
    "query",
    [
        {"first": "2026-02-02", "last": "2026-02-01"},
        {"first": "x", "last": ""},
        {"period": "8", "by": "=", "wallet": "x"},
    ],
)
def test_usage__a_period_that_cannot_be_told__is_said_and_the_usual_one_shown(nation: Nation, query: Any) -> None:
    answer = of(nation.owner).get(reverse("wallet_usage", args=[nation.wallet(nation.university).pk]), query)
    assert answer.status_code == 200
    assert answer.context["days"].last - answer.context["days"].first == timedelta(days=29)
    assert ("alert-warning" in answer.content.decode()) == ("first" in query)


def test_tree__of_a_wallet__tells_health_and_over_commitment(nation: Nation) -> None:
    answer = of(nation.owner).get(reverse("wallet", args=[nation.wallet(nation.university).pk]))
    assert [(str(one.row.state.wallet.workspace), one.health) for one in answer.context["tree"]] == [
        ("Catalysis", "at_risk"),
        ("Lattice physics", "at_risk"),
    ]


def test_period_of__months__begin_the_day_after_the_same_day() -> None:
    told = {name: period_of(name, date(2026, 8, 31)).first for name in ("7", "30", "90", "6m", "12m")}
    assert told == {
        "7": date(2026, 8, 25),
        "30": date(2026, 8, 2),
        "90": date(2026, 6, 3),
        "6m": date(2026, 3, 1),
        "12m": date(2025, 9, 1),
    }
