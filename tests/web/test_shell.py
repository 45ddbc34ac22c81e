"""The frame around every page."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.factories.structure import make_operator, make_person

LOOKS = ("light", "dark", "phone")


@pytest.mark.parametrize("look", LOOKS)
def test_home__new_person__says_what_will_stand_there(visit: Callable[..., Any], look: str) -> None:
    visitor = visit(make_person(full_name="Freja Lindqvist"), look)

    visitor.go("/")

    assert visitor.page.get_by_role("heading", level=1).inner_text() == "Hello, Freja Lindqvist"
    assert visitor.page.evaluate("document.documentElement.dataset.bsTheme") == ("dark" if look == "dark" else "light")
    visitor.shoot("home-empty")


@pytest.mark.parametrize("look", LOOKS)
def test_login__demo__offers_six_people(visit: Callable[..., Any], look: str, settings: Any) -> None:
    settings.DEMO = True
    visitor = visit(None, look)

    visitor.go("/")

    assert visitor.page.locator("form[action^='/demo/login/']").count() == 6
    visitor.shoot("landing-demo")


@pytest.mark.parametrize("look", LOOKS)
def test_login__outside_the_demo__only_asks_who(visit: Callable[..., Any], look: str) -> None:
    visitor = visit(None, look)

    visitor.go("/")

    assert visitor.page.locator("form[action^='/demo/login/']").count() == 0
    assert visitor.page.get_by_label("Password").count() == 1
    visitor.shoot("landing")


def test_demo_card__clicked__logs_that_person_in(visit: Callable[..., Any], settings: Any) -> None:
    settings.DEMO = True
    make_person("researcher@demo.bursar.example", full_name="Freja Lindqvist")
    visitor = visit()
    visitor.go("/")

    with visitor.page.expect_event("load"):
        visitor.page.get_by_role("button", name=re.compile("^Researcher")).click()

    assert "Freja Lindqvist" in visitor.page.locator(".topbar .person-name").inner_text()


@pytest.mark.parametrize("look", LOOKS)
def test_unknown_address__anybody__gets_a_page_that_leads_on(visit: Callable[..., Any], look: str) -> None:
    visitor = visit(make_person(), look)
    visitor.allow(404)

    response = visitor.go("/no/such/page")

    assert response.status == 404
    assert visitor.page.get_by_role("heading", level=1).inner_text() == "There is nothing here"
    visitor.shoot("not-found")


def test_colours__chosen__stay_on_the_next_page_without_a_flash(visit: Callable[..., Any]) -> None:
    visitor = visit(make_person())
    visitor.go("/")

    visitor.page.get_by_role("button", name="Use dark colours").click()

    assert visitor.page.evaluate("document.documentElement.dataset.bsTheme") == "dark"
    assert visitor.page.evaluate("document.activeElement.dataset.themeChoice") == "light"
    response = visitor.go("/")
    assert 'data-bs-theme="dark"' in response.text()


def test_keyboard__first_tab__skips_to_the_content(visit: Callable[..., Any]) -> None:
    visitor = visit(make_person())
    visitor.go("/")

    visitor.page.keyboard.press("Tab")
    assert visitor.page.evaluate("document.activeElement.className").startswith("skip-link")
    visitor.page.keyboard.press("Enter")

    assert visitor.page.evaluate("document.activeElement.id") == "main"


def test_menu__phone__opens_and_closes(visit: Callable[..., Any]) -> None:
    visitor = visit(make_operator(), "phone")
    visitor.go("/")
    menu = visitor.page.get_by_role("navigation", name="Main")
    assert not menu.is_visible()

    visitor.page.get_by_role("button", name="Menu", exact=True).click()

    visitor.page.wait_for_selector("#menu.show")
    assert menu.is_visible()
    visitor.shoot("menu")


def test_person_menu__opened__holds_the_way_out(visit: Callable[..., Any]) -> None:
    visitor = visit(make_person())
    visitor.go("/")

    visitor.page.get_by_role("button", name="Your menu").click()
    visitor.shoot("person-menu")
    with visitor.page.expect_event("load"):
        visitor.page.get_by_role("button", name="Log out").click()

    assert "/account/login" in visitor.page.url


def test_api_docs__opened__runs_under_the_policy(visit: Callable[..., Any]) -> None:
    visit(make_person()).look_at("/api/v1/docs", "api-docs")
