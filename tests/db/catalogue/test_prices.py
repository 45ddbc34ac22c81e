"""Prices in steps, prices to come, and the price list."""

import csv
import io
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core import mail as outbox
from django.core.mail import EmailMultiAlternatives
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.catalogue import selectors, services
from bursar.catalogue.checklist import publication_checklist
from bursar.catalogue.errors import ComponentKept, InvalidInput, OfferingIncomplete, UseNeedsCategory
from bursar.catalogue.models import Offering, Plan, PlanComponent
from bursar.delivery import services as delivery
from bursar.delivery import tasks  # noqa: F401  its table is filled
from bursar.delivery.price_mails import tell_of_prices
from bursar.kernel.clock import stated_time
from bursar.structure.mail import MAIL_TASK
from bursar.structure.models import Person
from bursar.structure.roles import Role
from tests.factories.catalogue import make_category, make_offering, make_plan, make_provider
from tests.factories.provisioning import make_resource, make_world, run_jobs
from tests.factories.structure import make_membership, make_organization

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

STEPS = [(Decimal(100), Decimal("0.5")), (Decimal(1000), Decimal("0.2"))]


def sold(at: datetime, **more: Any) -> Offering:
    """An offering with use that draws on a category, and a limit."""
    provider = make_provider()
    parts: list[dict[str, Any]] = [
        {"key": "cpu", "title": "CPU time", "billing": "usage", "category": make_category(provider)},
        {"key": "disk", "title": "Disk", "billing": "limit"},
    ]
    return make_offering(provider, components=parts, **more)


def logged_in(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def price_of(offering: Offering, key: str, price: str, at: datetime, **more: Any) -> PlanComponent:
    return services.set_price(
        plan=offering.plans.get(),
        component=offering.components.get(key=key),
        price=Decimal(price),
        by=None,
        at=at,
        **more,
    )


def test_set_price__steps__kept_as_plain_text_and_only_once(at: datetime) -> None:
    offering = sold(at)
    row = price_of(
        offering, "cpu", "1", at, tier_kind="graduated", tiers=[(Decimal("1E+2"), Decimal("0.50")), STEPS[1]]
    )
    assert (row.tier_kind, row.tiers) == ("graduated", [["100", "0.5"], ["1000", "0.2"]])
    assert price_of(offering, "cpu", "1", at, tier_kind="graduated", tiers=STEPS).pk == row.pk
    assert price_of(offering, "cpu", "1", at, tier_kind="volume", tiers=STEPS).pk != row.pk


@pytest.mark.parametrize(
    "key, kind, tiers, field",
    [
        ("disk", "volume", STEPS, "tiers"),
        ("cpu", "", STEPS, "tier_kind"),
        ("cpu", "sometimes", STEPS, "tier_kind"),
        ("cpu", "volume", [], "tiers"),
        ("cpu", "volume", STEPS[::-1], "tiers"),
        ("cpu", "volume", [STEPS[0], STEPS[0]], "tiers"),
        ("cpu", "volume", [(Decimal(0), Decimal(1))], "tiers"),
        ("cpu", "volume", [(Decimal(1), Decimal(-1))], "tiers"),
        ("cpu", "volume", [(Decimal("NaN"), Decimal(1))], "tiers"),
        ("cpu", "volume", [(Decimal(1), Decimal("1E+30"))], "tiers"),
        ("cpu", "volume", [(Decimal(1), Decimal("1E-11"))], "tiers"),
        ("cpu", "volume", [(Decimal(i), Decimal(1)) for i in range(1, 22)], "tiers"),
    ],
)
def test_set_price__steps_that_cannot_be__refused_and_nothing_is_written(
    at: datetime, key: str, kind: str, tiers: list[tuple[Decimal, Decimal]], field: str
) -> None:
    offering = sold(at)
    with pytest.raises(InvalidInput) as refusal:
        price_of(offering, key, "1", at, tier_kind=kind, tiers=tiers)
    assert list(refusal.value.errors) == [field]
    assert not PlanComponent.objects.exists()


def test_set_price__use_that_draws_on_nothing__refused_unless_free(at: datetime) -> None:
    offering = make_offering(components=[{"key": "cpu", "title": "CPU", "billing": "usage"}])
    with pytest.raises(UseNeedsCategory):
        price_of(offering, "cpu", "1", at)
    with pytest.raises(UseNeedsCategory):
        price_of(offering, "cpu", "0", at, tier_kind="volume", tiers=STEPS)
    assert not PlanComponent.objects.exists()
    assert price_of(offering, "cpu", "0", at).price == 0


def test_checklist__priced_use_that_draws_on_nothing__keeps_it_off_the_shelf(at: datetime) -> None:
    offering = sold(at, active=False)
    price_of(offering, "cpu", "1", at)
    services.edit_component(component=offering.components.get(key="cpu"), category=None, by=None, at=at)
    offering = Offering.objects.get(pk=offering.pk)
    found = {item.requirement.value: item for item in publication_checklist(offering)}
    assert (found["use_counted"].missing, "CPU time" in str(found["use_counted"].advice)) == (True, True)
    with pytest.raises(OfferingIncomplete) as refusal:
        services.activate_offering(offering=offering, by=None, at=at)
    assert refusal.value.missing == ("use_counted",)


def test_checklist__a_plan_without_a_price_another_has__warns_only(at: datetime) -> None:
    offering = sold(at, active=False)
    price_of(offering, "disk", "1", at)
    make_plan(offering, name="Bare", at=at)
    offering = Offering.objects.get(pk=offering.pk)
    item = next(i for i in publication_checklist(offering) if i.requirement.value == "prices")
    assert (item.ok, item.missing, "Bare: Disk" in str(item.advice)) == (False, False, True)
    assert services.activate_offering(offering=offering, by=None, at=at).state == "active"


def test_checklist__ten_plans__one_query_for_prices(at: datetime) -> None:
    offering = sold(at)

    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            publication_checklist(Offering.objects.get(pk=offering.pk))
        return len(found)

    few = queries()
    for i in range(10):
        make_plan(offering, name=f"P{i}", prices={offering.components.get(key="disk"): i}, at=at)
    assert queries() == few


def test_copy_offering__steps__come_along(at: datetime) -> None:
    offering = sold(at)
    price_of(offering, "cpu", "1", at, tier_kind="volume", tiers=STEPS)
    copy = services.copy_offering(offering=offering, name="Copy", by=None, at=at + timedelta(days=1))
    row = PlanComponent.objects.get(plan__offering=copy)
    assert (row.tier_kind, row.tiers) == ("volume", [["100", "0.5"], ["1000", "0.2"]])


# ------------------------------------------------------------------------------------------------ pages
def test_prices_page__steps_are_typed__and_shown_again(at: datetime) -> None:
    offering = sold(at)
    cpu, plan = offering.components.get(key="cpu"), offering.plans.get()
    manager = make_membership(role=Role.PROVIDER_MANAGER, scope=offering.provider.organization).person
    url = reverse("provider_offering_plans_prices", args=[offering.pk, plan.pk])
    typed = {
        f"price_{cpu.pk}": "1",
        f"tier_kind_{cpu.pk}": "graduated",
        f"tiers_{cpu.pk}": "100 0.5\n\n  1000   0.2 ",
        f"price_{offering.components.get(key='disk').pk}": "2",
    }
    client = logged_in(manager)
    with stated_time(at):
        for wrong, said in [("100", "is not a quantity"), ("5 x", "is not a quantity"), ("9 1\n8 1", "must rise")]:
            refused = client.post(url, typed | {f"tiers_{cpu.pk}": wrong})
            assert (refused.status_code, said in refused.content.decode()) == (422, True)
        assert not PlanComponent.objects.exists()
        assert client.post(url, typed).status_code == 302
        assert PlanComponent.objects.get(component=cpu).tiers == [["100", "0.5"], ["1000", "0.2"]]
        assert "100 0.5\n1000 0.2" in client.get(url).content.decode()
        assert "from 1\u202f000" in client.get(reverse("offering", args=[offering.pk])).content.decode()


def test_set_prices__steps_by_api__taken_told_and_refused_when_they_do_not_rise(at: datetime) -> None:
    offering = sold(at)
    manager = make_membership(role=Role.PROVIDER_MANAGER, scope=offering.provider.organization).person
    url = f"/api/v1/offerings/{offering.pk}/plans/{offering.plans.get().pk}/prices"
    steps = [{"start": "100", "price": "0.5"}, {"start": "1000", "price": "0.2"}]
    price = {"component": "cpu", "price": "1", "tier_kind": "volume", "tiers": steps}
    client = logged_in(manager)

    def post(**changes: Any) -> tuple[int, Any]:
        sent = {"prices": [price | changes]}
        answer = client.post(url, json.dumps(sent), content_type="application/json")
        return answer.status_code, answer.json()

    with stated_time(at):
        for changes in ({"tiers": steps[::-1]}, {"tiers": []}, {"component": "disk"}):
            status, problem = post(**changes)
            assert (status, problem["code"]) == (422, "invalid_input")
        assert post(tiers=[{"start": "0", "price": "1"}])[0] == 422
        assert not PlanComponent.objects.exists()
        status, plan = post()
    assert status == 201
    found = plan["prices"][0]
    assert (found["tier_kind"], [(float(s["start"]), float(s["price"])) for s in found["tiers"]]) == (
        "volume",
        [(100, 0.5), (1000, 0.2)],
    )


def test_component_form__a_tax_category__is_kept(at: datetime) -> None:
    offering = sold(at)
    component = offering.components.get(key="cpu")
    with pytest.raises(ComponentKept):
        services.edit_component(component=component, tax_category="reduced", by=None, at=at)
    draft = sold(at, active=False)
    manager = make_membership(role=Role.PROVIDER_MANAGER, scope=draft.provider.organization).person
    url = reverse("provider_offering_components_edit", args=[draft.pk, draft.components.get(key="disk").pk])
    typed = {
        "title": "Disk", "key": "disk", "unit_name": "GB", "billing": "limit", "limit_period": "month", "draws": "1",
        "measured_per_unit": "1", "tax_category": "reduced",
    }  # fmt: skip
    with stated_time(at):
        assert logged_in(manager).post(url, typed | {"tax_category": "not a word"}).status_code == 422
        assert logged_in(manager).post(url, typed).status_code == 302
    assert draft.components.get(key="disk").tax_category == "reduced"


def test_price_list__who_is_not_logged_in__sees_what_is_for_everybody(at: datetime) -> None:
    offering, hidden = sold(at), sold(at)
    price_of(offering, "cpu", "1", at, tier_kind="volume", tiers=STEPS)
    price_of(hidden, "cpu", "77", at)
    organization = make_organization(at=at)
    owner = make_membership(role=Role.ORGANIZATION_OWNER, scope=organization).person
    services.set_visibility(
        offering=hidden, visibility="organizations", organizations=[organization], projects=[], by=None, at=at
    )
    with stated_time(at):
        rows = list(csv.DictReader(io.StringIO(Client().get(reverse("prices"), {"format": "csv"}).content.decode())))
        assert [(row["offering"], row["component"], row["price"], row["per"]) for row in rows] == [
            (offering.name, "CPU time", "1", "per core-hour")
        ]
        assert (rows[0]["steps"], rows[0]["further_steps"]) == ("volume", "100: 0.5; 1000: 0.2")
        shown = Client().get(reverse("prices")).content.decode()
        assert (offering.name in shown, hidden.name in shown) == (True, False)
        assert "Nothing is found" in Client().get(reverse("prices"), {"q": "\x00 no such"}).content.decode()
        assert hidden.name in logged_in(owner).get(reverse("prices")).content.decode()


def test_price_list__more_offerings__no_more_queries(at: datetime) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            selectors.price_list(selectors.offerings_on_price_list(None, at), at)
        return len(found)

    price_of(sold(at), "cpu", "1", at)
    few = queries()
    for _ in range(5):
        price_of(sold(at), "cpu", "1", at)
    assert queries() == few == 4


# ------------------------------------------------------------------------------------------------ prices to come
def send_all(at: datetime) -> list[EmailMultiAlternatives]:
    outbox.outbox.clear()
    for job in ProcrastinateJob.objects.filter(queue_name="mail", task_name=MAIL_TASK).order_by("id"):
        delivery.send_mail(**job.args, at=at)
    return [message for message in outbox.outbox if "New prices" in message.subject]


def test_prices_to_come__set_ahead__who_answers_for_a_resource_is_told_once(at: datetime) -> None:
    world = make_world(at=at)
    resource = make_resource(world, limits={"storage": 20})
    plan, storage = Plan.objects.get(pk=world.plan_id), world.offering.components.get(key="storage")
    start = at + timedelta(days=40)
    with stated_time(at):
        row = services.set_price(plan=plan, component=storage, price=Decimal(3), valid_from=start, by=None, at=at)
        assert "tell_of_prices" in run_jobs()
        told = send_all(at)
        assert sorted(m.to[0] for m in told) == sorted([world.owner.email, world.pi.email])
        assert f"{storage.title} (GB): 3 {world.provider.organization.currency}" in told[0].body
        assert tell_of_prices(price_ids=[row.pk], at=at) == 2  # a job that runs twice
        assert send_all(at) == []
        page = logged_in(world.pi).get(reverse("offering", args=[world.offering.pk])).content.decode()
        assert "Prices to come" in page
    assert resource.plan_id == plan.pk


def test_prices_to_come__from_now_on_or_replaced__nobody_is_told(at: datetime) -> None:
    world = make_world(at=at)
    make_resource(world, limits={"storage": 20})
    plan, storage = Plan.objects.get(pk=world.plan_id), world.offering.components.get(key="storage")
    start = at + timedelta(days=40)
    now = services.set_price(plan=plan, component=storage, price=Decimal(2), by=None, at=at)
    first = services.set_price(plan=plan, component=storage, price=Decimal(3), valid_from=start, by=None, at=at)
    second = services.set_price(plan=plan, component=storage, price=Decimal(4), valid_from=start, by=None, at=at)
    told = [tell_of_prices(price_ids=[row.pk], at=at) for row in (now, first, second)]
    assert told == [0, 0, 2]
