"""Organizations, projects, members and invitations in a real browser, by people with different roles."""

from typing import Any

import pytest

from bursar.delivery import services as delivery
from bursar.kernel import clock
from bursar.structure import services
from bursar.structure.models import Membership, Project
from bursar.structure.roles import Role
from tests.factories.structure import make_membership, make_operator, make_organization, make_person, make_project

LOOKS = ["light", "dark", "phone"]


def links_mailed(to: str) -> list[str]:
    """Carry out the mail jobs; the links of invitations that went to the address."""
    import re

    from django.core import mail
    from procrastinate.contrib.django.models import ProcrastinateJob

    for job in ProcrastinateJob.objects.order_by("id"):
        delivery.send_mail(**job.args, at=clock.now())
    return [
        link for m in mail.outbox if m.to == [to] for link in re.findall(r"https?://[^/\s]+(/invitations/\S+)", m.body)
    ]


def test_story__from_organization_to_accepted_invitation__each_step_is_a_page(visit: Any) -> None:
    operator = visit(make_operator("operator@example.org", full_name="Torben Kvist"))
    owner_person = make_person("owner@example.org", full_name="Mikkel Bruun")

    page = operator.page
    operator.go("/organizations/")
    page.get_by_role("link", name="New organization").click()
    page.get_by_label("Name", exact=True).fill("Nordhavn University")
    page.get_by_label("Country").select_option("DK")
    page.get_by_label("Mail address of its first owner").fill("owner@example.org")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="Nordhavn University").wait_for()
    operator.check()

    owner = visit(owner_person)
    page = owner.page
    owner.go("/projects/")
    page.get_by_role("link", name="New project").click()
    page.get_by_label("Name", exact=True).fill("Comet tails")
    page.get_by_role("button", name="Create").click()
    page.get_by_role("heading", name="Comet tails").wait_for()
    project = Project.objects.get()
    page.get_by_role("link", name="Members", exact=True).click()
    page.get_by_role("link", name="Invite").click()
    page.get_by_label("Mail address").fill("new@example.org")
    page.get_by_label("Project manager").check()
    page.get_by_label("Message").fill("We need you.")
    page.get_by_role("button", name="Send the invitation").click()
    page.get_by_text("new@example.org").first.wait_for()
    owner.check()

    (link,) = links_mailed("new@example.org")
    newcomer = visit(make_person("new@example.org", full_name="Freja Lindqvist"))
    newcomer.go(link)
    newcomer.shoot("invitation")
    newcomer.page.get_by_role("button", name="Accept").click()
    newcomer.page.get_by_role("heading", name="Comet tails").wait_for()
    assert Membership.objects.get(project=project, person__email="new@example.org").role == "project_manager"

    newcomer.page.get_by_role("link", name="New sub-project").click()
    newcomer.page.get_by_label("Name", exact=True).fill("Dust")
    newcomer.page.get_by_role("button", name="Create").click()
    newcomer.page.get_by_role("heading", name="Dust").wait_for()
    assert Project.objects.get(name="Dust").path[0] == project.pk

    page.reload()
    page.get_by_role("link", name="Hand over").first.click()
    page.get_by_label("New principal investigator").select_option(label="Freja Lindqvist")
    page.get_by_role("button", name="Hand over").click()
    page.get_by_text("now leads").wait_for()
    owner.check()


def test_pages__each_of_them__stand_in_three_looks(visit: Any, at: Any) -> None:
    owner = make_person("owner@example.org", full_name="Mikkel Bruun")
    make_membership(person=owner, role=Role.PLATFORM_OPERATOR, scope=None)
    organization = make_organization("Nordhavn University", owner=owner, country="DK", url="https://nordhavn.example")
    project = make_project(
        organization=organization,
        pi=owner,
        name="Comet tails and the dust between the planets of other suns",
        description="We look at **dust**.\n\n- one\n- two",
        field_of_science="Astronomy",
    )
    make_project(parent=project, pi=make_person(full_name="Anders Holm"), name="Dust")
    for role in (Role.PROJECT_MANAGER, Role.PROJECT_MEMBER):
        make_membership(role=role, scope=project, person=make_person(full_name=f"Somebody with a {role} name"))
    services.invite(
        email="a.very.long.address.of.somebody@some.university.example.org",
        role=Role.PROJECT_MEMBER,
        scope=project,
        by=owner,
        at=clock.now(),
    )
    services.add_ssh_key(
        person=owner,
        name="",
        public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMaXgGsi/eCI5DJbKeN7OqfBkNWOIXE21MijSjbg6H79 laptop",
        by=owner,
        at=clock.now(),
    )
    made = services.create_token(
        person=owner, name="nightly reports", scopes=["read", "usage"], days=90, by=owner, at=clock.now()
    )
    services.authenticate_token(token=made.token, at=clock.now(), address="2001:db8:85a3::8a2e:370:7334")
    agent = services.create_token(
        person=owner,
        name="agent",
        scopes=["usage", "roll"],
        days=90,
        organization=organization,
        by=owner,
        at=clock.now(),
    )
    services.roll_token(token=agent.row, by=owner, at=clock.now())
    visitor = visit(owner)
    for name, address in {
        "home": "/",
        "organizations": "/organizations/",
        "organization": f"/organizations/{organization.pk}/",
        "organization-form": "/organizations/new/",
        "projects": "/projects/",
        "project": f"/projects/{project.pk}/",
        "project-form": f"/projects/{project.pk}/edit/",
        "members": f"/projects/{project.pk}/members/",
        "invite": f"/projects/{project.pk}/members/invite/",
        "history": f"/projects/{project.pk}/history/",
        "memberships": "/memberships/",
        "profile": "/profile/",
        "tokens": "/profile/tokens/",
        "token-form": "/profile/tokens/new/",
        "token-roll": f"/profile/tokens/{made.row.pk}/roll/",
        "people": "/operator/people/",
        "person": f"/operator/people/{owner.pk}/",
        "audit": "/operator/events/",
        "second-factor": "/account/2fa/",
        "mail-addresses": "/account/email/",
        "providers": "/account/3rdparty/",
    }.items():
        visitor.look_at(address, f"structure-{name}")


@pytest.mark.parametrize("look", LOOKS)
def test_login_page__of_a_demonstration__looks(visit: Any, look: str, settings: Any) -> None:
    settings.DEMO = True
    visitor = visit(None, look=look)
    make_person("pi@demo.bursar.example", full_name="Anders Holm")
    visitor.go("/account/login/")
    visitor.shoot("structure-login-demo")
    visitor.page.get_by_role("button", name="Principal investigator").click()
    visitor.page.get_by_role("heading", name="Hello").wait_for()


def test_entrance_pages__stand_in_three_looks(visit: Any) -> None:
    visitor = visit(None)
    for name, address in {
        "login": "/account/login/",
        "signup": "/account/signup/",
        "reset": "/account/password/reset/",
        "verify": "/account/confirm-email/",
    }.items():
        visitor.look_at(address, f"structure-{name}")


def test_token__made_in_the_browser__is_shown_once(visit: Any) -> None:
    visitor = visit(make_person())
    page = visitor.page
    visitor.go("/profile/tokens/new/")
    page.get_by_label("Name").fill("nightly")
    page.get_by_role("button", name="Create").click()
    token = page.get_by_label("New token").input_value()
    assert token.startswith("bur_")
    visitor.check()
    page.reload()
    assert token not in page.content()


def test_remove_member__asks_first(visit: Any) -> None:
    project = make_project(pi=(pi := make_person()))
    member = make_membership(scope=project)
    visitor = visit(pi)
    page = visitor.page
    visitor.go(f"/projects/{project.pk}/members/")
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="No, go back").click()
    member.refresh_from_db()
    assert member.ended_at is None
    page.get_by_role("button", name="Remove").click()
    page.locator("#ask button").last.click()
    page.get_by_text("has left").wait_for()
    member.refresh_from_db()
    assert member.ended_at is not None


def test_project__named_by_one_long_word__fits_a_phone_and_shows_its_tab(visit: Any) -> None:
    word = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft"
    project = make_project(name=word)
    operator = visit(make_operator("operator@example.org", full_name="Torben Kvist"), "phone")
    operator.go(f"/projects/{project.pk}/history/")
    operator.check()  # nothing scrolls sideways

    strip = operator.page.locator("[data-strip]")
    assert strip.evaluate("strip => [strip.hasAttribute('data-more-before'), strip.hasAttribute('data-more-after')]") == [
        True, False,
    ]  # fmt: skip
    inside = "([strip, tab]) => tab.right <= strip.right + 1 && tab.left >= strip.left"
    boxes = "strip => [strip, strip.querySelector('[aria-current]')].map((one) => one.getBoundingClientRect().toJSON())"
    assert operator.page.evaluate(inside, strip.evaluate(boxes))

    operator.page.set_viewport_size({"width": 1280, "height": 900})
    operator.go("/projects/")
    fits = "table => table.scrollWidth <= table.parentElement.clientWidth"
    assert operator.page.locator("table").first.evaluate(fits)
