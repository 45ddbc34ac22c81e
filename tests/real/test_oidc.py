"""Logging in by a real OpenID Connect provider, over real HTTP: the whole ceremony, and what must not be connected."""

import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.core.cache import cache

from bursar.config.login import identity_providers
from bursar.structure import services
from bursar.structure.models import Person, Workspace
from tests.factories.structure import make_person
from tests.real.oidc.provider import Browser, missing, running

pytestmark = [pytest.mark.node, pytest.mark.django_db(transaction=True)]

USERS = {
    "ada": {"name": "Ada Lovelace", "email": "ada@campus.example", "email_verified": True},
    "bob": {"name": "Bob", "email": "bob@campus.example", "email_verified": False},
    "cleo": {"given_name": "Cleo", "family_name": "Patra", "email": "cleo@elsewhere.example", "email_verified": True},
    "nameless": {"email": "nameless@campus.example", "email_verified": True},
    "mailless": {"name": "Without Mail"},
}


@pytest.fixture(scope="module")
def issuer(live_server: Any) -> Iterator[str]:
    if why := missing():
        pytest.skip(f"not run here: {why}")
    with running(USERS, f"{live_server.url}/account/oidc/campus/login/callback/") as address:
        yield address


@pytest.fixture
def trusting(issuer: str, settings: Any) -> Callable[..., None]:
    """`trusting(trusted_mail=…)`: the installation knows the provider and trusts its mail so far."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()

    def set_up(**more: Any) -> None:
        apps = identity_providers(
            [
                {
                    "id": "campus",
                    "name": "Campus login",
                    "server": issuer,
                    "client_id": "bursar",
                    "client_secret": "a secret between the two of us",
                    **more,
                }
            ]
        )
        settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": apps, "OAUTH_PKCE_ENABLED": True}}

    set_up()
    return set_up


@pytest.fixture
def browsers(live_server: Any) -> Iterator[Callable[[], Browser]]:
    """Makes browsers, each with cookies of its own."""
    made: list[Browser] = []

    def make() -> Browser:
        made.append(Browser(live_server.url))
        return made[-1]

    yield make
    for browser in made:
        browser.client.close()


@pytest.fixture
def browser(browsers: Callable[[], Browser]) -> Browser:
    return browsers()


def logged_in(browser: Browser) -> str:
    """The name on the first page; empty when it is the login page."""
    page = browser.get("/profile/")
    return page.text.split('name="full_name" value="')[1].split('"')[0] if page.url.path == "/profile/" else ""


def test_new_person__verified_mail__is_registered_and_comes_back(trusting, browser, browsers) -> None:
    page = browser.log_in("ada")
    assert page.status_code == 200
    assert logged_in(browser) == "Ada Lovelace"
    person = Person.objects.get()
    assert (person.email, person.has_usable_password()) == ("ada@campus.example", False)
    assert Workspace.objects.get().person == person
    account = SocialAccount.objects.get()
    assert (account.user, account.provider, account.uid) == (person, "campus", "ada")
    assert EmailAddress.objects.get().verified
    again = browsers()
    again.log_in("ada")
    assert logged_in(again) == "Ada Lovelace"
    assert Person.objects.count() == SocialAccount.objects.count() == 1


def test_new_person__came_from_a_page__is_brought_back_to_it(trusting, browser) -> None:
    assert browser.log_in("ada", next_page="/memberships/").url.path == "/memberships/"


def test_new_person__name_in_parts__is_put_together(trusting, browser) -> None:
    browser.log_in("cleo")
    assert Person.objects.get().full_name == "Cleo Patra"


def test_new_person__unverified_mail__has_to_verify_it_here(trusting, browser) -> None:
    page = browser.log_in("bob")
    assert page.url.path == "/account/confirm-email/"
    assert logged_in(browser) == ""
    assert not EmailAddress.objects.get().verified


def test_new_person__provider_vouches_for_mail__needs_no_mail_of_ours(trusting, browser) -> None:
    trusting(mail_verified=True)
    browser.log_in("bob")
    assert logged_in(browser) == "Bob"


@pytest.mark.parametrize("login", ["nameless", "mailless"])
def test_new_person__provider_says_too_little__is_asked(trusting, browser, login) -> None:
    page = browser.log_in(login)
    if login == "nameless":
        assert logged_in(browser) == "nameless@campus.example"
        return
    assert page.url.path == "/account/3rdparty/signup/"
    page = browser.submit(page, "/account/3rdparty/signup/", full_name="Without Mail", email="w@campus.example")
    assert page.url.path == "/account/confirm-email/"
    assert not EmailAddress.objects.get().verified


def state() -> tuple[Any, ...]:
    return (
        list(Person.objects.order_by("pk").values("pk", "email", "password")),
        list(EmailAddress.objects.order_by("pk").values()),
        SocialAccount.objects.count(),
    )


def test_known_mail__provider_not_trusted__connects_nobody(trusting, browser) -> None:
    make_person("ada@campus.example", password="a long enough one")
    before = state()
    browser.log_in("ada")
    assert logged_in(browser) == ""
    assert state() == before


@pytest.mark.parametrize("trusted", [True, ["campus.example"], ["CAMPUS.example", "other.example"]])
def test_known_mail__provider_trusted__logs_in_who_has_it(trusting, browser, trusted) -> None:
    trusting(trusted_mail=trusted)
    person = make_person("ada@campus.example", full_name="Ada, known before", password="a long enough one")
    browser.log_in("ada")
    assert logged_in(browser) == "Ada, known before"
    assert SocialAccount.objects.get().user == person
    person.refresh_from_db()
    assert person.has_usable_password()


@pytest.mark.parametrize(
    ("login", "trusted"),
    [
        ("bob", True),  # the provider itself did not verify it
        ("cleo", ["campus.example"]),  # not one of the domains
        ("ada", ["ampus.example"]),
        ("ada", ["example"]),
        ("ada", []),
    ],
)
def test_known_mail__trust_does_not_reach__connects_nobody(trusting, browser, login, trusted) -> None:
    trusting(trusted_mail=trusted)
    make_person(str(USERS[login]["email"]), password="a long enough one")
    before = state()
    browser.log_in(login)
    assert logged_in(browser) == ""
    assert state() == before


def test_known_mail__never_verified_here__loses_the_password_of_whoever_set_it(trusting, browser) -> None:
    trusting(trusted_mail=True)
    person = make_person("ada@campus.example", password="set by somebody else", verified=False)
    browser.log_in("ada")
    person.refresh_from_db()
    assert not person.has_usable_password()
    assert SocialAccount.objects.get().user == person


def test_shut_out__by_the_provider__stays_out(trusting, browser, browsers, at) -> None:
    browser.log_in("ada")
    services.deactivate_person(person=Person.objects.get(), by=None, at=at)
    again = browsers()
    again.log_in("ada")
    assert logged_in(again) == ""


def test_connect__from_the_profile__and_disconnect(trusting, browser, browsers) -> None:
    person = make_person("other@example.org", full_name="Other", password="a long enough one")
    page = browser.get("/account/login/")
    browser.submit(page, "/account/login/", login="other@example.org", password="a long enough one")
    assert logged_in(browser) == "Other"
    page = browser.get("/account/3rdparty/")
    assert "Campus login" in page.text
    page = browser.get("/account/oidc/campus/login/?process=connect")
    page = _post_here(browser, page)
    if "reauthenticate" in str(page.url):
        page = _post_here(browser, page, password="a long enough one")
    page = browser.log_in_at_provider(browser.leave(page) if "refresh" in page.text else page, "cleo")
    if "reauthenticate" in str(page.url):
        page = _post_here(browser, page, password="a long enough one")
    assert SocialAccount.objects.get().user == person
    again = browsers()
    again.log_in("cleo")
    assert logged_in(again) == "Other"
    page = browser.get("/account/3rdparty/")
    page = browser.submit(page, "/account/3rdparty/", account=str(SocialAccount.objects.get().pk))
    assert page.status_code == 200
    assert not SocialAccount.objects.exists()


def _post_here(browser: Browser, page: Any, **fields: str) -> Any:
    """Send the page's own form, which names no address."""

    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)[1]
    return browser.client.post(
        str(page.url), data={"csrfmiddlewaretoken": token, **fields}, headers={"Referer": str(page.url)}
    )


def test_callback__forged__logs_nobody_in(trusting, browser) -> None:
    for query in ("", "?code=abc", "?code=abc&state=forged", "?error=access_denied&state=forged"):
        page = browser.get(f"/account/oidc/campus/login/callback/{query}")
        assert page.status_code in {200, 401, 403}
    assert logged_in(browser) == ""
    assert not Person.objects.exists()


def test_provider_away__says_so(trusting, browser, settings) -> None:
    trusting(server="http://127.0.0.1:1")
    page = browser.get("/account/login/")
    page = browser.submit(page, "/account/oidc/campus/login/")
    assert page.status_code == 503
    assert "Campus login does not answer" in page.text
    assert logged_in(browser) == ""


def test_unknown_provider__is_not_there(trusting, browser) -> None:
    assert browser.get("/account/oidc/nonsense/login/").status_code == 404


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium on this machine")
def test_in_chromium__the_policy__lets_people_go_and_come_back(trusting, live_server, monkeypatch) -> None:
    from playwright.sync_api import sync_playwright

    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(f"{live_server.url}/account/login/")
        page.get_by_role("button", name="Log in with Campus login").click()
        page.locator("input[name=login]").fill("ada")
        page.locator("input[name=password]").fill("any")
        ours = [text for text in complaints if "Content Security Policy" in text]
        page.locator("button[type=submit]").click()
        page.locator("button[type=submit]").click()  # consent
        page.get_by_role("heading", name="Hello, Ada Lovelace").wait_for()
        assert ours == []
        chromium.close()
