"""Passkeys in a real Chromium with its own virtual authenticator; nothing of the ceremony is replaced."""

import json
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.cache import cache

from tests.factories.structure import make_person

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def _quick(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    cache.clear()


class AtLocalhost:
    """A visitor whose pages are at http://localhost: a bare address has no passkeys, and only this name needs no TLS."""

    def __init__(self, visitor: Any) -> None:
        self.visitor = visitor
        self.page = visitor.page
        self.base = visitor.base.replace("127.0.0.1", "localhost")
        visitor.base = self.base
        self.session = visitor.context.new_cdp_session(self.page)
        self.session.send("WebAuthn.enable")
        self.key = self.session.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "transport": "internal",
                    "hasResidentKey": True,
                    "hasUserVerification": True,
                    "isUserVerified": True,
                    "automaticPresenceSimulation": True,
                }
            },
        )["authenticatorId"]

    def go(self, path: str) -> None:
        self.visitor.go(self.base + path)

    def credentials(self) -> list[dict[str, Any]]:
        return self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.key})["credentials"]


@pytest.fixture
def at_localhost(visit: Any) -> AtLocalhost:
    return AtLocalhost(visit(None))


def log_in_by_password(browser: AtLocalhost) -> None:
    page = browser.page
    browser.go("/account/login/")
    page.get_by_label("Email").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("heading", name="Hello").wait_for()


def add_passkey(browser: AtLocalhost) -> None:
    page = browser.page
    browser.go("/account/2fa/webauthn/add/")
    if "reauthenticate" in page.url:
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Confirm").click()
        page.wait_for_url("**/webauthn/add/")
    page.get_by_label("Name").fill("Laptop")
    passwordless = page.get_by_label("Passwordless")
    if passwordless.count():
        passwordless.check()
    page.get_by_role("button", name="Add", exact=True).click()
    page.wait_for_url(lambda url: "/webauthn/add" not in url)


def test_passkey__added__logs_in_without_a_password(at_localhost: AtLocalhost) -> None:
    person = make_person("ada@example.org", full_name="Ada L", password=PASSWORD)
    browser = at_localhost
    page = browser.page
    log_in_by_password(browser)
    add_passkey(browser)
    assert len(browser.credentials()) == 1
    assert browser.credentials()[0]["rpId"] == "localhost"
    assert Authenticator.objects.filter(user=person, type=Authenticator.Type.WEBAUTHN).count() == 1
    browser.visitor.check()

    page.context.clear_cookies()
    browser.go("/account/login/")
    page.get_by_role("button", name="Log in with a passkey").click()
    page.get_by_role("heading", name="Hello, Ada L").wait_for()
    browser.visitor.check()


def test_passkey__second_factor__is_asked_for_after_the_password(at_localhost: AtLocalhost) -> None:
    make_person("ada@example.org", full_name="Ada L", password=PASSWORD)
    browser = at_localhost
    page = browser.page
    log_in_by_password(browser)
    add_passkey(browser)

    page.context.clear_cookies()
    browser.go("/account/login/")
    page.get_by_label("Email").fill("ada@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in", exact=True).click()
    page.get_by_role("button", name="Use a security key").click()
    page.get_by_role("heading", name="Hello, Ada L").wait_for()
    browser.visitor.check()


def test_passkey__removed__no_longer_logs_in(at_localhost: AtLocalhost) -> None:
    person = make_person("ada@example.org", full_name="Ada L", password=PASSWORD)
    browser = at_localhost
    page = browser.page
    log_in_by_password(browser)
    add_passkey(browser)
    Authenticator.objects.filter(user=person).delete()

    page.context.clear_cookies()
    browser.go("/account/login/")
    page.get_by_role("button", name="Log in with a passkey").click()
    page.get_by_text("Incorrect code").or_(page.get_by_role("alert")).first.wait_for()
    assert "/account/" in page.url
    assert json.dumps(page.context.cookies()).count("sessionid") <= 1
    browser.go("/profile/")
    assert "/account/login/" in page.url
