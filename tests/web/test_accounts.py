"""Accounts at providers, in a real browser: connecting, the provider's page in between, and what each side sees."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import expect

from bursar.provisioning import services
from bursar.provisioning.models import AccountPolicy, LocalAccount
from bursar.structure.roles import Role
from tests.factories.catalogue import make_backend, make_offering
from tests.factories.provisioning import World, make_world
from tests.factories.structure import make_membership, make_person


@pytest.fixture
def world(transactional_db: None) -> Any:
    world = make_world(at=datetime.now(UTC), name="Thor batch computing")
    yield world
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


def test_connect__asked_for_answered_and_given_up__by_clicking(visit: Callable[..., Any], world: World) -> None:
    mine, theirs = visit(world.member), visit(world.manager)
    mine.go("/")
    with mine.page.expect_event("load"):
        mine.page.get_by_role("link", name="Accounts at providers").click()
    with mine.page.expect_event("load"):
        mine.page.get_by_role("button", name="Connect").click()
    mine.check()
    assert "The provider has been told and has to set it up." in mine.page.locator("main").inner_text()
    theirs.go("/provider/accounts/?account=wanted")
    with theirs.page.expect_event("load"):
        theirs.page.get_by_role("link", name="Set").click()
    theirs.page.get_by_label("Local user name").fill("ada")
    theirs.page.get_by_label("User number").fill("4711")
    with theirs.page.expect_event("load"):
        theirs.page.get_by_role("button", name="The account is there").click()
    theirs.check()
    account = LocalAccount.objects.get()
    assert (account.state, account.username, account.uid) == ("active", "ada", 4711)
    theirs.go(f"/provider/accounts/{world.backend.pk}/{world.member.pk}/")
    assert theirs.page.get_by_label("Local user name").is_disabled()
    theirs.page.get_by_label("Why").fill("Mining coins on the login node.")
    with theirs.page.expect_event("load"):
        theirs.page.get_by_role("button", name="Block").click()
    mine.go("/profile/accounts/")
    said = mine.page.locator("main").inner_text()
    assert "Mining coins on the login node." in said
    assert mine.page.get_by_role("button", name="Disconnect").count() == 0
    mine.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copy = mine.page.get_by_role("button", name="Copy the name")
    copy.click()
    copy.click()  # the second click while it says that it was done
    expect(copy).to_have_text("✓")
    assert mine.page.evaluate("navigator.clipboard.readText()") == "ada"
    expect(copy.locator("svg")).to_be_visible()
    expect(copy).to_have_text("")
    with theirs.page.expect_event("load"):
        theirs.page.get_by_role("button", name="Unblock").click()
    mine.go("/profile/accounts/")
    mine.page.get_by_role("button", name="Disconnect").click()
    with mine.page.expect_event("load"):
        mine.page.get_by_role("dialog").get_by_role("button", name="Disconnect").click()
    account.refresh_from_db()
    assert (account.state, account.username) == ("ended", "ada")
    assert "Your name there is kept for you" in mine.page.locator("main").inner_text()


def test_connect__by_the_providers_page__is_told_first_and_then_sent_there(
    visit: Callable[..., Any], world: World, live_server: Any
) -> None:
    seller = visit(world.manager)
    seller.go(f"/provider/backends/{world.backend.pk}/accounts/")
    seller.page.get_by_label("when the person connects and has been at your own page").check()
    seller.page.get_by_label("your page", exact=False).last.fill("http://example.org/")
    seller.allow(422)
    with seller.page.expect_event("load"):
        seller.page.get_by_role("button", name="Save").click()
    assert "begin with https://" in seller.page.locator("main").inner_text()
    target = f"{live_server.url}/marketplace/"
    seller.page.locator("#id_connect_url").fill(target)
    with seller.page.expect_event("load"):
        seller.page.get_by_role("button", name="Save").click()
    assert AccountPolicy.objects.get().connect_url == target

    person = visit(world.member)
    person.go("/profile/accounts/")
    with person.page.expect_event("load"):
        person.page.get_by_role("link", name="Connect").click()
    person.show("account-connect")
    said = person.page.locator("main").inner_text()
    assert target in said
    assert world.member.email in said
    person.page.get_by_role("button", name="Go to").click()
    person.page.wait_for_url("**/marketplace/?token=*")
    assert LocalAccount.objects.get().state == "wanted"


def test_pages__of_accounts__stand_in_three_looks(visit: Callable[..., Any], world: World, settings: Any) -> None:
    settings.SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"APPS": [{"provider_id": "campus", "name": "Campus login"}]}}
    stranger = make_person()
    visit(stranger).look_at("/profile/accounts/", "accounts-empty")
    backends = {}
    for name in ("Odin’s login nodes", "Freya cloud", "Loki storage with quite a long name", "Tyr GPUs", "Hel archive"):
        backends[name] = make_backend(world.provider, plugin="manual", at=world.at, name=name)
        make_offering(
            world.provider, backend=backends[name], at=world.at, name=name, slug=f"o{len(backends)}",
            components=[{
                "key": "cpu", "title": "CPU", "billing": "usage", "category": world.cpu, "unit_name": "core-hours",
                "measured_unit": "core-seconds", "ticks_per_measured": 1,
            }],
        )  # fmt: skip
    odin, freya, loki, tyr, hel = backends.values()
    by = {"by": world.manager, "at": world.at}
    services.set_account_policy(
        backend=freya, arrival="redirect", connect_url="https://accounts.freya.example.org/in", **by
    )
    services.set_account_policy(
        backend=tyr, arrival="on_request", naming="claim", claim="preferred_username", identity_provider="campus", **by
    )
    services.set_account_policy(backend=hel, arrival="on_request", naming="initial_last", **by)
    me = {"person": world.member, "by": world.member, "at": world.at}
    for backend in (odin, loki, hel):
        services.connect_account(backend=backend, **me)
    for backend, name in ((odin, "ada"), (loki, "alovelace")):
        services.set_local_account(backend=backend, person=world.member, username=name, uid=200_017, **by)
    services.block_account(
        backend=loki,
        person=world.member,
        reason="Your jobs filled /scratch for a week. Call us: +47 73 59 50 00.",
        **by,
    )
    LocalAccount.objects.create(
        backend=tyr, person=world.member, state="wanted", state_at=world.at,
        message="Your name at “Tyr GPUs” comes from your login “Campus login”, which has told us no “preferred_username” of you.",
    )  # fmt: skip
    for number in range(3):
        other = make_person(full_name=f"Person {number}")
        make_membership(person=other, role=Role.PROJECT_MEMBER, scope=world.project)
        services.connect_account(backend=hel, person=other, by=other, at=world.at)

    mine = visit(world.member)
    mine.look_at("/profile/accounts/", "accounts-mine")
    seller = visit(world.manager)
    for path, name in (
        ("/provider/accounts/", "accounts-provider"),
        (f"/provider/accounts/{odin.pk}/{world.member.pk}/", "account-active"),
        (f"/provider/accounts/{loki.pk}/{world.member.pk}/", "account-blocked"),
        (f"/provider/accounts/{hel.pk}/{world.member.pk}/", "account-wanted"),
        (f"/provider/backends/{tyr.pk}/accounts/", "account-policy"),
        (f"/provider/backends/{tyr.pk}/", "backend-with-accounts"),
    ):
        seller.look_at(path, name)
