"""Applying to two givers and judging in a real browser: one changes an amount, the applicant agrees, both approve."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from bursar.grants import services
from bursar.grants.models import Application, Recipient
from bursar.kernel import clock
from bursar.structure.models import Project
from tests.factories.grants import HOUR, Grants, given_to, make_grants
from tests.factories.structure import make_workspace

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
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Name of the project").fill("Lattice physics")
    page.get_by_label("In the organization").select_option(label="University of North")
    page.locator(f"[name='amount-{grants.north.pk}-{grants.cpu.pk}']").fill("100")
    page.locator(f"[name='amount-{grants.south.pk}-{grants.cpu.pk}']").fill("40.5")
    ada.shoot("apply-amounts")
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("Until").fill((grants.at + timedelta(days=200)).date().isoformat())
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("What do you want to compute?").fill("Gluons.")
    ada.shoot("apply-form")
    page.get_by_role("button", name="Go on").click()
    ada.shoot("apply-summary")
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
    ada.go(f"/applications/{row.pk}/")
    ada.shoot("application-awarded")


@pytest.mark.parametrize("look", ("light", "dark", "phone"))
def test_pages__each_of_them__stand(visit: Callable[..., Any], grants: Grants, look: str) -> None:
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
        by=None,
        at=grants.at,
    )
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
            "application-applicant": f"/applications/{row.pk}/",
            "application-revise": f"/applications/{row.pk}/edit/",
            "notices": "/applications/notices/",
            "home-applicant": "/",
        },
    }.items():
        visitor = visit(person, look)
        for name, path in pages.items():
            visitor.go(path)
            visitor.shoot(name)
