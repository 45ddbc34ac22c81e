"""The event log as sentences."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils.html import strip_tags

import bursar
from bursar.events.models import Event
from bursar.events.services import Happening, record
from bursar.structure.roles import NotAllowed, Role
from bursar.structure.selectors import events_of
from bursar.web.happening_words import SENTENCES
from bursar.web.happenings import raw, told
from tests.factories.catalogue import make_category
from tests.factories.structure import make_membership, make_operator, make_organization, make_person, make_project

pytestmark = pytest.mark.django_db


def _said(event: Event, viewer, at, within=None) -> str:
    return strip_tags(told([event], viewer, at, within=within)[0].said).replace("&nbsp;", " ")


def test_sentences__of_every_kind_that_the_services_tell__are_there() -> None:
    prefixes = {"gifts.py": "gift.", "givers.py": "grant_giver.", "accounting": "", "": ""}
    found = set()
    for path in Path(bursar.__file__).parent.glob("*/**/*.py"):
        text = path.read_text()
        found |= set(re.findall(r'\btell\(\s*(?:kind=)?"([a-z_]+\.[a-z_]+)"', text))
        found |= set(
            re.findall(r'\b_?(?:tell|tell_hold|tell_of_credit|tell_of_compensation)\(\s*"([a-z_]+\.[a-z_]+)"', text)
        )
        found |= set(re.findall(r'\bHappening\(\s*(?:kind=)?"([a-z_]+\.[a-z_]+)"', text))
        if path.name in prefixes:
            found |= {prefixes[path.name] + verb for verb in re.findall(r'_tell\("([a-z_]+)"', text)}
        elif path.parent.parent.name == "grants":
            found |= {f"application.{verb}" for verb in re.findall(r'\btell\("([a-z_]+)"', text)}
    assert len(found) > 120
    assert sorted(found - set(SENTENCES)) == []


def test_told__of_quota__has_amount_unit_and_last_day(at) -> None:
    project = make_project()
    category = make_category(unit_name="core-hours", ticks_per_unit=3_600_000)
    facts = {
        "category_id": category.pk,
        "wallet_id": 0,
        "quota_ticks": 3_240_000_000,
        "start": "2026-01-01T00:00:00+00:00",
        "end": "2027-01-01T00:00:00+00:00",
        "source_id": None,
    }
    event = record(Happening("allocation.created", "allocation", 22, facts, project_id=project.pk), by_id=None, at=at)
    assert _said(event, make_operator(), at) == "wallet 0 was given 900 core-hours · from 1 Jan 2026 to 31 Dec 2026"


def test_told__of_a_role__has_its_title_and_the_name_in_safe_words(at) -> None:
    person = make_person(full_name="Ada <b>Byron</b>")
    facts = {"person_id": person.pk, "role": "project_member", "until": None}
    event = record(Happening("membership.given", "membership", 1, facts), by_id=None, at=at)
    line = told([event], make_person(), at)[0]
    assert line.said == "Ada &lt;b&gt;Byron&lt;/b&gt; became Project member"
    assert line.details == [
        ("kind", "membership.given"),
        ("about", "membership 1"),
        ("person_id", str(person.pk)),
        ("role", "project_member"),
        ("until", "–"),
    ]


def test_told__of_a_budget__has_currency_and_what_was_before(at) -> None:
    facts = {"amount": "11050.00", "before": "6000.000", "currency": "EUR", "span": "total", "reason": "More <money>"}
    event = record(Happening("budget.raised", "budget", 7, facts), by_id=None, at=at)
    assert told([event], make_person(), at)[0].said.endswith("reason: More &lt;money&gt;")
    facts |= {"percent": 75, "action": "tell", "stretch": "1970-01-01", "spent": "10170.570"}
    event = record(Happening("budget.crossed", "budget", 7, facts), by_id=None, at=at)
    said = "75 % of the budget 7 are spent: 10 170.57 EUR of 11 050.00 EUR · then: tell the owners"
    assert _said(event, make_person(), at) == said.replace("10 170", "10\u202f170").replace("11 050", "11\u202f050")


def test_told__of_a_subject__links_only_for_whoever_may_open_it(at) -> None:
    owner = make_person()
    organization = make_organization(name="Vestby", owner=owner)
    event = record(Happening("organization.archived", "organization", organization.pk), by_id=owner.pk, at=at)
    link = f'<a href="/organizations/{organization.pk}/">Vestby</a>'
    assert told([event], owner, at)[0].said == f"Organization {link} was archived"
    assert told([event], make_person(), at)[0].said == "Organization Vestby was archived"
    assert told([event], owner, at)[0].actor == str(owner)


def test_told__of_an_unknown_kind__names_what_it_is_about(at) -> None:
    event = record(Happening("thing.was_done", "thing", 5), by_id=None, at=at)
    assert _said(event, make_person(), at) == "thing was done: thing 5"


def test_raw__of_two_things__is_a_change_only_where_it_is_known_to_be() -> None:
    assert raw(["organization_owner", "organization_manager"]) == "organization_owner, organization_manager"
    assert raw(["old", "new"], changed=True) == "old → new"
    assert raw({"name": ["old", "new"], "end": [None, "2027"]}, changed=True) == "name: old → new, end: – → 2027"


def test_events__recorded_out_of_order__stand_in_the_order_of_time(at) -> None:
    organization = make_organization()
    make_membership(person=(viewer := make_person()), role=Role.PLATFORM_OPERATOR, scope=None)
    late = datetime(2040, 1, 1, tzinfo=UTC)
    kinds = [("third", 3), ("first", 1), ("second", 2), ("also_third", 3)]
    for kind, days in kinds:
        happening = Happening(f"x.{kind}", "organization", organization.pk, organization_id=organization.pk)
        record(happening, by_id=None, at=late + timedelta(days=days))
    wanted = ["x.also_third", "x.third", "x.second", "x.first"]
    assert [event.kind for event in events_of(None, viewer, at)[:4]] == wanted
    assert [event.kind for event in events_of(organization, viewer, at)[:4]] == wanted


MONEY = {"budget.set", "spending.held", "invoice.issued", "credit.given", "compensation.made", "buyer.edited"}
SELLING = {"invoice.sent", "seller.edited", "tax_rate.set", "credit.withdrawn"}


@pytest.mark.parametrize(
    ("role", "in_organization", "in_project"),
    [
        (Role.ORGANIZATION_OWNER, MONEY | SELLING, MONEY),
        (Role.ORGANIZATION_MANAGER, {"budget.set", "spending.held"}, MONEY),
        (Role.BILLING_VIEWER, MONEY | SELLING, MONEY),
        (Role.PROVIDER_MANAGER, SELLING, None),
        (Role.OFFERING_MANAGER, set(), None),
        (Role.GRANT_REVIEWER, set(), None),
        (Role.PROJECT_MANAGER, None, MONEY),
        (Role.PROJECT_MEMBER, None, set()),
    ],
)
def test_events__of_what_is_spent__are_told_to_whoever_may_see_costs(at, role, in_organization, in_project) -> None:
    organization = make_organization()
    project = make_project(organization=organization)
    viewer = make_person()
    make_membership(person=viewer, role=role, scope=organization if in_organization is not None else project)
    for kind in sorted(MONEY | {"order.placed"}):
        spent = Happening(kind, "thing", 1, organization_id=organization.pk, project_id=project.pk)
        record(spent, by_id=None, at=at)
    for kind in sorted(SELLING):
        record(Happening(kind, "thing", 1, provider_id=organization.pk), by_id=None, at=at)

    def told_in(scope):
        found = {event.kind for event in events_of(scope, viewer, at)}
        return found & (MONEY | SELLING | {"order.placed"})

    for scope, wanted in ((organization, in_organization), (project, in_project)):
        if wanted is None:
            with pytest.raises(NotAllowed):
                events_of(scope, viewer, at)
        else:
            assert told_in(scope) == wanted | {"order.placed"}
