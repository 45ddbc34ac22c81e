"""Who sees and does what on the pages of wallets and allocations; the browser tests show how they look."""

from copy import deepcopy
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from bursar.accounting.models import Allocation, Wallet
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.verification import tell, verify
from bursar.structure.models import Person
from bursar.structure.roles import Role
from tests.factories.nation import Nation, make_nation
from tests.factories.structure import make_membership, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(scope="module")
def made(standing: Any) -> Nation:
    return standing(make_nation)


@pytest.fixture
def nation(made: Nation) -> Nation:
    return deepcopy(made)


def of(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


ADDRESSES = {
    "wallet": lambda n: reverse("wallet", args=[n.wallet(n.physics).pk]),
    "give": lambda n: reverse("allocation_create", args=[n.wallet(n.university).pk]),
    "category": lambda n: reverse("category_allocations", args=[n.category.pk]),
    "give_root": lambda n: reverse("allocation_create_root", args=[n.category.pk]),
    "allocation": lambda n: reverse("allocation_change", args=[n.to_physics.pk]),
    "write_off": lambda n: reverse("wallet_write_off", args=[n.wallet(n.physics).pk]),
    "project_wallets": lambda n: reverse("project_wallets", args=[n.physics.pk]),
    "organization_wallets": lambda n: reverse("organization_wallets", args=[n.university.pk]),
}


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        ("owner", (200, 200, 404, 404, 200, 403, 200, 200)),
        ("investigator", (200, 404, 404, 404, 200, 403, 200, 404)),
        ("member", (200, 404, 404, 404, 200, 403, 200, 404)),
        ("seller", (200, 403, 200, 200, 200, 200, 404, 404)),
        ("stranger", (404, 404, 404, 404, 404, 404, 404, 404)),
    ],
)
def test_pages__each_person__opens_what_the_roles_allow(nation: Nation, who: str, expected: tuple[int, ...]) -> None:
    client = of(getattr(nation, who))
    found = {name: client.get(address(nation)).status_code for name, address in ADDRESSES.items()}
    assert found == dict(zip(ADDRESSES, expected, strict=True))


def test_wallets__more_of_them__cost_no_more_queries(nation: Nation, django_assert_max_num_queries: Any) -> None:
    client = of(nation.owner)
    address = reverse("allocations")
    client.get(address)
    with django_assert_max_num_queries(40) as few:
        client.get(address, {"q": "Lattice"})
    with django_assert_max_num_queries(len(few)):
        client.get(address)


def test_wallet__with_a_history__is_foretold(nation: Nation) -> None:
    page = of(nation.owner).get(reverse("wallet", args=[nation.wallet(nation.university).pk])).content.decode()
    assert "Foretold from 14 weeks of usage, as if it went on like that and nothing else were given." in page
    assert "What is likely to be used from now on" in page

    listed = of(nation.owner).get(reverse("project_wallets", args=[nation.chemistry.pk])).content.decode()
    assert "likely to be forfeited on" in listed


def test_give__by_the_provider__is_a_root(nation: Nation) -> None:
    page = of(nation.seller)
    workspace = nation.wallet(nation.university).workspace_id
    response = page.post(
        ADDRESSES["give_root"](nation),
        {"workspace": workspace, "quota": "2.5", "first_day": "2026-01-01", "last_day": "2099-12-31", "priority": 0},
    )

    assert response.status_code == 302, response.content
    made = Allocation.objects.latest("pk")
    assert (made.source_id, made.quota_ticks, made.made_by) == (None, 9000, nation.seller)
    assert made.end.isoformat() == "2100-01-01T00:00:00+00:00"  # the last day is the last on which it holds


def test_give__what_the_ledger_refuses__stands_by_the_field(nation: Nation) -> None:
    response = of(nation.owner).post(
        ADDRESSES["give"](nation),
        {
            "workspace": nation.wallet(nation.physics).workspace_id,
            "quota": "1",
            "first_day": "2020-01-01",
            "last_day": "2020-01-02",
            "priority": 0,
        },
    )

    assert response.status_code == 422
    assert response.context["form"].errors["last_day"] == [
        "The end lies in the past. To end an allocation now, revoke it."
    ]
    assert Allocation.objects.count() == 3


def test_give__the_last_day_left_alone__ends_with_its_source(nation: Nation) -> None:
    asked = of(nation.owner).get(ADDRESSES["give"](nation))
    last = asked.context["form"].initial["last_day"]
    given = {
        "workspace": nation.wallet(nation.physics).workspace_id,
        "quota": "1",
        "first_day": nation.at.date(),
        "priority": 0,
    }

    for day in (last, last - timedelta(days=1)):
        response = of(nation.owner).post(ADDRESSES["give"](nation), {**given, "last_day": day})
        assert response.status_code == 302, response.content

    untouched, chosen = Allocation.objects.order_by("pk")[3:]
    assert untouched.end == nation.root.end
    assert chosen.end == datetime.combine(last, time(), tzinfo=UTC)


def test_change__below_what_is_drawn__stands_by_the_quota(nation: Nation) -> None:
    response = of(nation.owner).post(
        ADDRESSES["allocation"](nation), {"quota": "599", "last_day": nation.to_physics.end.date().isoformat()}
    )

    assert response.status_code == 422
    assert "600 core-hours is drawn" in response.context["form"].errors["quota"][0]


def test_change__only_the_quota__leaves_the_end_to_the_second(nation: Nation) -> None:
    response = of(nation.owner).post(
        ADDRESSES["allocation"](nation), {"quota": "650", "last_day": nation.to_physics.end.date().isoformat()}
    )

    assert response.status_code == 302
    before = nation.to_physics.end
    nation.to_physics.refresh_from_db()
    assert (nation.to_physics.quota_ticks, nation.to_physics.end) == (650 * 3600, before)


def test_revoke__by_who_holds_it__is_refused_on_the_page(nation: Nation) -> None:
    client = of(nation.investigator)
    response = client.post(reverse("allocation_revoke", args=[nation.to_physics.pk]), follow=True)

    assert "You may not do this here" in response.content.decode()
    nation.to_physics.refresh_from_db()
    assert nation.to_physics.closed_at is None


def test_move__to_another_of_the_same_source__moves(nation: Nation) -> None:
    response = of(nation.owner).post(
        reverse("allocation_move", args=[nation.to_chemistry.pk]), {"taker": nation.to_physics.pk, "amount": "100"}
    )

    assert response.status_code == 302
    nation.to_physics.refresh_from_db()
    assert nation.to_physics.quota_ticks == 700 * 3600


def test_home__owner__is_told_what_is_locked_and_what_ends(nation: Nation) -> None:
    html = of(nation.owner).get("/").content.decode()
    assert "Locked, and why" in html
    assert "The allocation of 600 core-hours to Lattice physics is used up." in html
    assert "Runs out soon" in html


@pytest.mark.parametrize(("drawn_ticks", "told"), [(7378697629483820646, True), (7378697629483820645, False)])
def test_home__the_largest_quota__is_told_from_four_fifths_on(nation: Nation, drawn_ticks: int, told: bool) -> None:
    large = {"quota_ticks": TICKS_MAX, "drawn_ticks": drawn_ticks}
    Allocation.objects.filter(pk=nation.to_chemistry.pk).update(**large, end=nation.at + timedelta(days=200))
    Wallet.objects.filter(pk=nation.wallet(nation.chemistry).pk).update(used_ticks=drawn_ticks, locked=False)
    member = make_person()
    make_membership(person=member, role=Role.PROJECT_MEMBER, scope=nation.chemistry)

    response = of(member).get("/")

    assert response.status_code == 200
    assert ("Runs out soon" in response.content.decode()) == told


def test_wallet__member__sees_the_sums_but_not_the_people(nation: Nation) -> None:
    html = of(nation.member).get(ADDRESSES["wallet"](nation)).content.decode()
    assert "Who used it here" not in html
    assert "Who used it here" in of(nation.investigator).get(ADDRESSES["wallet"](nation)).content.decode()


def test_past__of_a_wallet__stands_beside_the_present(nation: Nation) -> None:
    address = reverse("wallet_past", args=[nation.wallet(nation.physics).pk])
    client = of(nation.member)
    asked = client.get(address)
    assert asked.context["form"].initial["on"] == (nation.at - timedelta(days=30)).date()
    assert "past" not in asked.context
    before = client.get(address, {"on": (nation.at - timedelta(days=95)).date()})
    assert [figures[1:] for figures in before.context["figures"]][:3] == [
        (0, 600 * 3600, 600 * 3600), (0, 600 * 3600, 600 * 3600), (0, 0, 0),
    ]  # fmt: skip
    wrong = client.get(address, {"on": nation.at.date(), "known": (nation.at - timedelta(days=2)).date()})
    assert wrong.context["form"].errors["known"] == ["What happened on a day is known on that day at the earliest."]
    assert of(nation.stranger).get(address).status_code == 404


def test_home__a_ledger_differs__operators_and_support_see_it_and_nobody_else(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    Wallet.objects.filter(pk=wallet.pk).update(used_ticks=1)
    tell(category_id=wallet.category_id, found=verify(category_id=wallet.category_id), at=nation.at)
    support = make_person()
    make_membership(person=support, role=Role.PLATFORM_SUPPORT, scope=None)
    said = "A ledger differs from its journal"
    assert said in of(support).get("/").content.decode()
    assert said not in of(nation.owner).get("/").content.decode()
    assert " differs from its journal" in of(support).get(reverse("operator_events")).content.decode()
