"""Giving quota down the tree and seeing what is left, in a real browser."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from bursar.accounting.models import Allocation
from tests.factories.nation import Nation, make_nation


@pytest.fixture
def nation(transactional_db: None) -> Nation:
    return make_nation()


def test_pages__each_of_them__stand_in_three_looks(visit: Callable[..., Any], nation: Nation) -> None:
    owner = visit(nation.owner)
    for name, path in {
        "home-owner": "/",
        "allocations": "/allocations/",
        "wallet-university": f"/wallets/{nation.wallet(nation.university).pk}/",
        "wallet-physics": f"/wallets/{nation.wallet(nation.physics).pk}/",
        "wallet-past": f"/wallets/{nation.wallet(nation.physics).pk}/past/?on={(nation.at - timedelta(days=1)).date()}",
        "wallet-past-asked": f"/wallets/{nation.wallet(nation.physics).pk}/past/",
        "give": f"/wallets/{nation.wallet(nation.university).pk}/give/",
        "change": f"/allocations/{nation.to_physics.pk}/",
        "move": f"/allocations/{nation.to_chemistry.pk}/move/",
        "project-wallets": f"/projects/{nation.physics.pk}/wallets/",
        "organization-wallets": f"/organizations/{nation.university.pk}/wallets/",
        "organization-usage": f"/organizations/{nation.university.pk}/usage/?period=90",
        "project-usage": f"/projects/{nation.physics.pk}/usage/?period=12m&by=person",
        "wallet-usage": f"/wallets/{nation.wallet(nation.chemistry).pk}/usage/?first=2026-02-02&last=2026-02-01",
        "project": f"/projects/{nation.physics.pk}/",
    }.items():
        owner.look_at(path, name)
    seller = visit(nation.seller)
    for name, path in {
        "allocations-seller": "/allocations/",
        "category": f"/categories/{nation.category.pk}/allocations/",
        "give-root": f"/categories/{nation.category.pk}/give/",
    }.items():
        seller.look_at(path, name)


def test_give__from_the_university__stands_in_the_tree(visit: Callable[..., Any], nation: Nation) -> None:
    visitor = visit(nation.owner)
    visitor.go(f"/wallets/{nation.wallet(nation.university).pk}/give/")
    page = visitor.page

    page.get_by_label("Who gets it").select_option(label="Lattice physics")
    page.get_by_label("Quota").fill("12.5")
    page.get_by_role("button", name="Give quota").click()
    page.wait_for_url("**/wallets/*/")

    assert "12.5 core-hours given to Lattice physics." in page.get_by_role("status").first.inner_text()
    made = Allocation.objects.latest("pk")
    assert (made.quota_ticks, made.source_id) == (45_000, nation.wallet(nation.university).pk)


def test_give__an_amount_that_is_no_number__is_told_by_the_field(visit: Callable[..., Any], nation: Nation) -> None:
    visitor = visit(nation.owner)
    visitor.allow(422)
    visitor.go(f"/wallets/{nation.wallet(nation.university).pk}/give/")
    page = visitor.page
    page.get_by_label("Who gets it").select_option(label="Lattice physics")
    page.get_by_label("Quota").fill("a lot")

    page.get_by_role("button", name="Give quota").click()
    page.wait_for_selector(".is-invalid")

    field = page.get_by_label("Quota")
    assert field.get_attribute("aria-invalid") == "true"
    described = field.get_attribute("aria-describedby")
    assert "is not a number" in page.locator(f"#{described.split()[-1]}").inner_text()
    assert Allocation.objects.count() == 3
    visitor.shoot("give-refused")


def test_revoke__asked_first__only_yes_does_it(visit: Callable[..., Any], nation: Nation) -> None:
    visitor = visit(nation.owner)
    visitor.go(f"/allocations/{nation.to_chemistry.pk}/")
    page = visitor.page
    dialog = page.get_by_role("dialog")

    page.get_by_role("button", name="Revoke").click()
    visitor.shoot("dialog")
    dialog.get_by_role("button", name="No, go back").click()
    nation.to_chemistry.refresh_from_db()
    assert nation.to_chemistry.closed_at is None

    page.get_by_role("button", name="Revoke").click()
    dialog.get_by_role("button", name="Revoke").click()
    page.wait_for_url("**/wallets/*/")
    nation.to_chemistry.refresh_from_db()
    assert nation.to_chemistry.closed_at is not None


def test_list__searched__narrows_without_losing_the_focus(visit: Callable[..., Any], nation: Nation) -> None:
    visitor = visit(nation.owner)
    visitor.go("/allocations/")
    page = visitor.page
    assert page.locator("tbody tr").count() == 3

    page.get_by_role("searchbox").click()
    page.keyboard.type("Latt")
    expect(page.locator("#list tbody tr")).to_have_count(1)

    assert page.url.endswith("q=Latt&kind=&state=")
    assert page.evaluate("document.activeElement.id") == "list-q"
    assert page.get_by_role("searchbox").input_value() == "Latt"


def test_tree__a_branch_closed__hides_what_is_below(visit: Callable[..., Any], nation: Nation) -> None:
    visitor = visit(nation.seller)
    visitor.go(f"/wallets/{nation.wallet(nation.university).pk}/")

    assert visitor.page.get_by_text("The allocation of 600 core-hours to Lattice physics is used up.").count() == 1
