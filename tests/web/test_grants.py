"""Applying to two givers and judging in a real browser: one changes an amount, the applicant agrees, both approve."""

import base64
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bursar.grants import services
from bursar.grants.models import Application, GiverLogo, Recipient
from bursar.kernel import clock
from bursar.metering.services import post_reports
from bursar.provisioning.models import Order, Side
from bursar.provisioning.services import approve_order
from bursar.structure.models import Project
from bursar.structure.roles import Role
from tests.factories.catalogue import make_offering
from tests.factories.grants import HOUR, Grants, given_to, make_grants
from tests.factories.ledger import make_report
from tests.factories.structure import make_membership, make_person, make_workspace

QUESTIONS = [
    {"key": "why", "type": "long_text", "title": "What do you want to compute?", "required": True},
    {"key": "field", "type": "choice", "title": "Field", "choices": ["Physics", "Law"]},
]


@pytest.fixture
def grants(transactional_db: None) -> Grants:
    made = make_grants(clock.now() - timedelta(days=2))
    services.set_form(workspace=made.north, recipient=Recipient.NEW_PROJECT, fields=QUESTIONS, by=None, at=made.at)
    return made


def test_apply__two_givers_and_a_change__project_appears_with_its_quota(
    visit: Callable[..., Any], grants: Grants
) -> None:
    ada = visit(grants.applicant)
    page = ada.page
    ada.go("/applications/new/")
    page.get_by_label("A new project").check()
    ada.shoot("apply-for-whom")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name of the project").fill("Lattice physics")
    page.get_by_label("In the organization").select_option(label="University of North")
    ada.show("apply-project")
    page.get_by_role("button", name="Go on").click()
    # What each has to give, and from when, before one chooses.
    shown = re.sub(r"\s", "", page.get_by_role("main").inner_text())
    assert shown.count("CPUonThor:1000000core-hoursnotpromisedyet,until") == 2
    page.get_by_label("University of North").check()
    page.get_by_label("University of South").check()
    ada.show("apply-givers")
    page.get_by_role("button", name="Go on").click()
    page.locator(f"[name='amount-{grants.north.pk}-{grants.cpu.pk}']").fill("100")
    page.locator(f"[name='amount-{grants.south.pk}-{grants.cpu.pk}']").fill("40.5")
    ada.show("apply-amounts")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Until").fill((grants.at + timedelta(days=200)).date().isoformat())
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("What do you want to compute?").fill("Gluons.")
    ada.show("apply-form")
    page.get_by_role("button", name="Go on").click()
    ada.show("apply-summary")
    page.get_by_role("button", name="Submit").click()
    page.wait_for_url("**/applications/*/")
    row = Application.objects.get()
    assert row.state == "submitted"

    rita = visit(grants.reviewer)
    rita.go("/grants/queue/")
    rita.page.get_by_role("link", name=f"#{row.pk}").click()
    rita.page.get_by_role("link", name="Change the amounts").click()
    rita.page.locator(f"[name='amount-{grants.cpu.pk}']").fill("60")
    rita.page.get_by_label("Why").fill("As much as there is.")
    rita.page.get_by_role("button", name="Change").click()
    rita.page.wait_for_url(f"**/applications/{row.pk}/")
    rita.page.get_by_role("button", name="Approve").click()
    rita.page.wait_for_url(f"**/applications/{row.pk}/")
    rita.shoot("application-judged")

    ada.go(f"/applications/{row.pk}/")
    ada.shoot("application-agree")
    page.get_by_role("button", name="Agree to the amounts").click()
    page.wait_for_url(f"**/applications/{row.pk}/")

    south = visit(grants.south_owner)
    south.go(f"/applications/{row.pk}/")
    south.page.get_by_role("button", name="Approve").click()
    south.page.wait_for_url(f"**/applications/{row.pk}/")
    project = Project.objects.get(name="Lattice physics")
    assert given_to(make_workspace(project)) == {
        ("CPU on Thor", grants.north.pk): 60 * HOUR,
        ("CPU on Thor", grants.south.pk): 145_800,
    }
    ada.go(f"/projects/{project.pk}/wallets/")
    assert "100.5" in page.get_by_role("main").inner_text()
    ada.go("/notices/")
    assert "was granted" in page.get_by_role("main").inner_text()
    ada.show("notices-applicant")
    for unread in (1, 0):  # opening one reads it
        page.get_by_role("button", name=re.compile(f"^#{row.pk} Lattice physics")).first.click()
        page.wait_for_url(f"**/applications/{row.pk}/")
        assert page.locator(".bell-count:visible").count() == unread
        ada.go("/notices/")
    ada.go(f"/applications/{row.pk}/")
    ada.shoot("application-awarded")

    # The first order, placed with what was granted, and what it uses is drawn from both givers.
    cpu = {"key": "cpu", "title": "CPU time", "billing": "usage", "category": grants.cpu, "unit_name": "core-hours"}
    offering = make_offering(
        grants.cpu.provider,
        name="Thor batch computing",
        components=[{**cpu, "measured_unit": "core-seconds", "ticks_per_measured": 1}],
        at=grants.at,
    )
    ada.go(f"/offerings/{offering.pk}/")
    with page.expect_event("load"):
        page.get_by_role("link", name="Order", exact=True).click()
    workspace = make_workspace(project)
    page.get_by_label("For", exact=True).select_option(str(workspace.pk))
    page.get_by_label("Name of the resource").fill("First run")
    ada.shoot("first-order")
    with page.expect_event("load"):
        page.get_by_role("button", name="Place the order").click()
    order = Order.objects.get()
    assert (order.workspace, order.created_by, order.state) == (workspace, grants.applicant, "pending_consumer")
    ada.shoot("first-order-placed")
    seller = make_person()
    make_membership(person=seller, role=Role.PROVIDER_MANAGER, scope=grants.centre)
    for person, side in ((grants.north_owner, Side.CONSUMER), (seller, Side.PROVIDER)):
        approve_order(order_id=order.pk, side=side, by=person, at=clock.now())
    order.refresh_from_db()
    assert order.state == "executing"
    report = make_report(workspace, grants.cpu, 70 * HOUR, until=clock.now())
    post_reports(reports=[report], by=None, at=clock.now())
    drawn = workspace.wallets.get(category=grants.cpu).into.values_list("source__workspace_id", "drawn_ticks")
    assert sum(ticks for _source, ticks in drawn) == 70 * HOUR
    ada.go(f"/projects/{project.pk}/wallets/")
    ada.shoot("first-use")
    assert "70" in page.get_by_role("main").inner_text()


DRAWN = """(kind) => { const canvas = document.createElement("canvas"); canvas.width = 240; canvas.height = 160;
    const pen = canvas.getContext("2d"); pen.fillStyle = "#0b3d91"; pen.fillRect(20, 20, 200, 120);
    pen.fillStyle = "#ffd200"; pen.beginPath(); pen.arc(120, 80, 45, 0, 7); pen.fill();
    return canvas.toDataURL(kind, 0.9).split(",")[1]; }"""


def test_logo__of_each_kind__is_drawn_by_the_browser_after_it_was_written_anew(
    visit: Callable[..., Any], grants: Grants
) -> None:
    owner = visit(grants.north_owner)
    page = owner.page
    owner.go(f"/grants/givers/{grants.north.pk}/")
    owner.show("grant-settings-initials")
    for kind in ("image/jpeg", "image/webp", "image/png"):
        data = base64.b64decode(page.evaluate(DRAWN, kind))
        page.get_by_label(re.compile("Add one|Replace it")).set_input_files(
            {"name": "logo.bin", "mimeType": kind, "buffer": data}
        )
        with page.expect_event("load"):
            page.get_by_role("button", name="Set", exact=True).click()
        assert GiverLogo.objects.get().content_type == kind
        sides = page.evaluate("(() => { const i = document.querySelector('.giver-logo img');"
                              " return [i.complete, i.naturalWidth, i.naturalHeight]; })()")  # fmt: skip
        assert sides == [True, 240, 160]
        owner.check()
    owner.show("grant-settings-logo")
    ada = visit(grants.applicant)
    row = services.draft_application(
        recipient=Recipient.PERSONAL, workspace=grants.personal, by=grants.applicant, at=clock.now()
    )
    ada.go(f"/applications/{row.pk}/edit/?step=givers")
    ada.show("apply-givers-logo")
    owner.go("/grants/givers/")
    owner.show("grant-givers-logo")
    owner.go(f"/grants/givers/{grants.north.pk}/")
    page.get_by_role("button", name="Remove the logo").click()
    with page.expect_event("load"):
        page.get_by_role("dialog").get_by_role("button", name="Remove the logo").click()
    assert not GiverLogo.objects.exists()


def test_pages__each_of_them__stand_in_three_looks(visit: Callable[..., Any], grants: Grants) -> None:
    lines = ((grants.north, grants.cpu, 100 * HOUR), (grants.south, grants.disk, 50))
    answers = (services.Answers(grants.north.pk, {"why": "Gluons.", "field": "Physics"}),)
    row = grants.apply(*lines, project_name="Lattice physics", answers=answers)
    facts = {"application_id": row.pk, "at": grants.at}
    services.comment_application(text="Could you say more?", by=grants.reviewer, **facts)
    services.comment_application(text="Rather much.", is_internal=True, by=grants.reviewer, **facts)
    services.change_amounts(
        giver=grants.north, revision=1, amounts={grants.cpu.pk: 60 * HOUR}, comment="Less.", by=grants.reviewer, **facts
    )
    rule = services.Rule(("personal",), {grants.cpu.pk: 10 * HOUR}, 10, enabled=True)
    services.set_rules(workspace=grants.north, rules=[rule], by=None, at=grants.at)
    services.offer_gift(
        workspace=grants.north,
        title="Ten core-hours for everybody",
        amounts={grants.cpu.pk: 10 * HOUR},
        start=grants.at,
        end=grants.end,
        claims_max=100,
        lines=[services.Line("allow", "anyone")],
        at_login=True,
        by=None,
        at=grants.at,
    )
    services.give_gifts_at_login(person=grants.applicant, at=grants.at)
    for name in ("plan.txt", "wrong.txt"):
        file = services.attach_file(name=name, data=b"plan", by=grants.applicant, **facts)
    services.remove_file(attachment_id=file.pk, by=grants.applicant, at=grants.at)
    for hours in (5, 500):
        decided = grants.apply(
            (grants.north, grants.cpu, hours * HOUR), project_name=f"Of {hours} hours", answers=answers
        )
        grants.approve(decided, grants.north, grants.reviewer)
    for person, pages in {
        grants.north_owner: {
            "grant-queue": "/grants/queue/",
            "grant-givers": "/grants/givers/",
            "grant-settings": f"/grants/givers/{grants.north.pk}/",
            "grant-questions": f"/grants/givers/{grants.north.pk}/forms/new_project/",
            "grant-rule": f"/grants/givers/{grants.north.pk}/rules/",
            "grant-gift": f"/grants/givers/{grants.north.pk}/gifts/",
            "application-giver": f"/applications/{row.pk}/",
            "part-change": f"/applications/{row.pk}/parts/{grants.north.pk}/change/",
            "part-hand-over": f"/applications/{row.pk}/parts/{grants.north.pk}/hand-over/",
        },
        grants.applicant: {
            "applications": "/applications/",
            "application-new": "/applications/new/",
            "notices-list": "/notices/",
            "application-applicant": f"/applications/{row.pk}/",
            "application-revise": f"/applications/{row.pk}/edit/",
            "notice-choices": "/applications/notices/",
            "home-applicant": "/",
        },
    }.items():
        visitor = visit(person)
        for name, path in pages.items():
            visitor.look_at(path, name)
            if name == "grant-rule":
                visitor.page.get_by_label("a personal workspace").check()
                visitor.page.get_by_label("CPU on Thor: at most").fill("10")
                with visitor.page.expect_event("load"):
                    visitor.page.get_by_role("button", name="Try it on past applications").click()
                visitor.show("grant-rule-tried")
