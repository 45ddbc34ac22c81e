"""The pages of orders and resources, through the whole stack of the web but without a browser."""

import re
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.formats import date_format

from bursar.catalogue import services as catalogue_services
from bursar.kernel.clock import stated_time
from bursar.kernel.money import Money
from bursar.provisioning import services
from bursar.provisioning.models import ApprovalPolicy, LocalAccount, Order, ProviderMessage, Resource, Side
from bursar.provisioning.selectors import DrawPreview
from bursar.provisioning.services.messages import note_mended
from bursar.structure.models import Person, Project, Workspace
from tests.factories.provisioning import World, make_resource, make_world, place_order, run_jobs
from tests.factories.structure import make_person, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(autouse=True)
def clock(at: datetime) -> Any:
    with stated_time(at):
        yield


@pytest.fixture(scope="module")
def made(standing: Any, at: datetime) -> World:
    return standing(lambda: make_world(at=at, terms_of_use="Be kind."), at=at)


@pytest.fixture
def world(made: World) -> World:
    return deepcopy(made)


def logged_in(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def text_of(response: Any) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", unescape(response.content.decode())).split())


def filled(world: World, **changes: Any) -> dict[str, Any]:
    return {
        "workspace": world.workspace.pk,
        "plan": world.plan_id,
        "name": "Run 1",
        "limits.storage": 20,
        "terms": "on",
        "key": "page-1",
        **changes,
    }


def new_url(world: World) -> str:
    return f"{reverse('order_create')}?offering={world.offering.pk}"


def test_order_form__shown__offers_the_project_and_says_who_has_to_agree(world: World) -> None:
    response = logged_in(world.pi).get(f"{new_url(world)}&workspace={world.workspace.pk}")
    assert response.status_code == 200
    shown = text_of(response)
    assert world.project.name in shown
    assert "To be approved by Organization owner or Organization manager" in shown
    assert "Draws as it is used, of 100" in shown


def test_order_form__filled_in__places_one_order_however_often_it_is_sent(world: World) -> None:
    client = logged_in(world.pi)
    first = client.post(new_url(world), filled(world))
    again = client.post(new_url(world), filled(world))
    order = Order.objects.get()
    assert first.status_code == again.status_code == 302
    assert first["Location"] == again["Location"] == reverse("order", args=[order.pk])
    assert (order.limits, order.state) == ({"storage": 20}, "pending_consumer")


def test_order_form__end_after_the_project__is_told_its_last_day(world: World) -> None:
    Project.objects.filter(pk=world.project.pk).update(end=datetime(2099, 1, 1, tzinfo=UTC))
    response = logged_in(world.pi).post(new_url(world), filled(world, last_day="2099-01-01"))
    assert "itself ends on 31 Dec 2098." in text_of(response)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"limits.storage": 501}, "at most 500 GB can be ordered, not 501"),
        ({"limits.storage": 99999999}, "at most 500 GB can be ordered, not 99 999 999"),
        ({"limits.storage": -1}, "-1 GB is less than nothing"),
        ({"name": ""}, "This field is required"),
        ({"terms": ""}, "Read the terms of use and accept them"),
        ({"last_day": "2026-01-01"}, "The end has to be later"),
        ({"workspace": 999999}, "Select a valid choice"),
    ],
)
def test_order_form__bad_input__says_so_and_writes_nothing(world: World, changes: dict[str, Any], said: str) -> None:
    response = logged_in(world.pi).post(new_url(world), filled(world, **changes))
    assert response.status_code == 422
    assert said in text_of(response)
    assert not Order.objects.exists()


def test_order_draft__a_limit_is_typed__shows_what_it_draws_of_what_is_left(world: World) -> None:
    url = f"{reverse('order_draft')}?offering={world.offering.pk}"
    shown = text_of(logged_in(world.pi).post(url, filled(world, **{"limits.storage": 40})))
    assert "Draws 40 GB of 1 000 GB left" in shown
    shown = text_of(logged_in(world.pi).post(url, filled(world, **{"limits.storage": 700})))
    assert "at most 500 GB" in shown


def test_order_draft__a_last_day_is_typed__shows_what_it_costs_until_then(world: World) -> None:
    component = world.offering.components.get(key="storage")
    catalogue_services.set_price(
        plan=world.offering.plans.get(pk=world.plan_id), component=component, price=Decimal(31), by=None, at=world.at
    )
    url = f"{reverse('order_draft')}?offering={world.offering.pk}"
    first = (world.at + timedelta(days=62)).replace(day=1).date()
    typed = {"start": first.isoformat(), "last_day": first.isoformat(), "limits.storage": 1}
    days = ((first + timedelta(days=31)).replace(day=1) - first).days
    shown = text_of(logged_in(world.pi).post(url, filled(world, **typed)))
    assert (
        f"In all, until {date_format(first, 'DATE_FORMAT')} {Money.rounded(Fraction(31, days), 'EUR').amount}" in shown
    )
    assert "In all" not in text_of(logged_in(world.pi).post(url, filled(world, last_day="nonsense")))


@pytest.fixture
def by_the_hour(world: World) -> World:
    """A core-hour costs 0.05; what is ordered costs nothing."""
    catalogue_services.set_price(
        plan=world.offering.plans.get(pk=world.plan_id), component=world.offering.components.get(key="cpu"),
        price=Decimal("0.05"), by=None, at=world.at,
    )  # fmt: skip
    return world


def test_order_draft__an_expected_use_is_typed__is_in_the_estimate_and_not_in_the_order(by_the_hour: World) -> None:
    client = logged_in(by_the_hour.pi)
    url = f"{reverse('order_draft')}?offering={by_the_hour.offering.pk}"
    assert "What you expect to use" in text_of(client.get(new_url(by_the_hour)))
    on_top = "Nothing else is charged each month."
    shown = text_of(client.post(url, filled(by_the_hour)))
    assert ("Per month, about" in shown, on_top in shown) == (False, True)
    shown = text_of(client.post(url, filled(by_the_hour, **{"uses.cpu": "1000.5"})))
    assert ("Per month, about 50.03 EUR" in shown, on_top in shown) == (True, False)
    for wrong in ("many", "-1", "1e99"):
        shown = text_of(client.post(url, filled(by_the_hour, **{"uses.cpu": wrong})))
        assert "What you expect to use is a number, zero or more." in shown
        answer = client.post(new_url(by_the_hour), filled(by_the_hour, **{"uses.cpu": wrong}))
        assert (answer.status_code, Order.objects.count()) == (422, 0)
    client.post(new_url(by_the_hour), filled(by_the_hour, **{"uses.cpu": "1000.5"}))
    assert Order.objects.get().limits == {"storage": 20}


def test_order_form__nothing_costs_by_use__does_not_ask_what_will_be_used(world: World) -> None:
    assert "What you expect to use" not in text_of(logged_in(world.pi).get(new_url(world)))


def test_change_page__an_expected_use_is_typed__is_in_the_estimate(by_the_hour: World) -> None:
    resource = ready(by_the_hour)
    client = logged_in(by_the_hour.pi)
    assert "What you expect to use" in text_of(client.get(reverse("resource_change", args=[resource.pk])))
    typed = {"plan": resource.plan_id, "limits.storage": 30, "uses.cpu": "10"}
    shown = text_of(client.post(reverse("resource_draft", args=[resource.pk]), typed))
    assert "Per month, about 0.50 EUR" in shown


def test_order_page__each_side_in_turn__shows_and_takes_the_decision(world: World) -> None:
    order = place_order(world, terms_accepted=True)
    page = reverse("order", args=[order.pk])
    assert "Your decision" not in text_of(logged_in(world.pi).get(page))
    assert "Your decision, for the customer" in text_of(logged_in(world.owner).get(page))
    logged_in(world.owner).post(reverse("order_approve", args=[order.pk]), {"side": "consumer", "reason": "fine"})
    assert "Your decision, for the provider" in text_of(logged_in(world.manager).get(page))
    logged_in(world.manager).post(reverse("order_approve", args=[order.pk]), {"side": "provider"})
    order.refresh_from_db()
    assert order.state == "executing"
    run_jobs(only="provisioning")
    shown = text_of(logged_in(world.manager).get(page))
    assert "A person at the provider has to do something" in shown


def test_order_page__of_a_stranger__is_not_found(world: World) -> None:
    order = place_order(world, terms_accepted=True)
    stranger = logged_in(make_person())
    assert stranger.get(reverse("order", args=[order.pk])).status_code == 404
    assert stranger.get(reverse("resource", args=[1])).status_code == 404


@pytest.mark.slow
def test_pages__every_one_of_both_sides__answers(world: World) -> None:
    resource = make_resource(world, terms_accepted=True)
    run_jobs(only="provisioning")
    order = Order.objects.get()
    for person, names in (
        (world.pi, ["orders", "resources", "home"]),
        (world.manager, ["provider_orders", "provider_resources", "provider_accounts", "home"]),
    ):
        for name in names:
            assert logged_in(person).get(reverse(name)).status_code == 200, name
    for name, key in (
        ("order", order.pk),
        ("resource", resource.pk),
        ("resource_terminate", resource.pk),
        ("resource_end", resource.pk),
        ("project_orders", world.project.pk),
        ("project_resources", world.project.pk),
        ("project_policies", world.project.pk),
        ("project", world.project.pk),
    ):
        assert logged_in(world.pi).get(reverse(name, args=[key])).status_code == 200, name
    for name in ("organization_orders", "organization_resources", "organization_policies"):
        assert logged_in(world.owner).get(reverse(name, args=[world.university.pk])).status_code == 200, name
    assert (
        logged_in(world.owner).get(reverse("organization_policies", args=[world.university.pk]) + "?try=1").status_code
        == 200
    )
    assert logged_in(world.manager).get(reverse("offering_approval", args=[world.offering.pk])).status_code == 200


def test_work_page__the_person_at_the_provider__says_that_it_is_done(world: World) -> None:
    resource = make_resource(world, terms_accepted=True)
    run_jobs(only="provisioning")
    manager = logged_in(world.manager)
    assert "Run 1" in text_of(manager.get(reverse("provider_orders")))
    response = manager.post(
        reverse("resource_work", args=[resource.pk]),
        {"confirm": "1", "backend_id": "acc-7", "access": "Login: login.example.org", "note": "by hand"},
    )
    assert response.status_code == 302
    resource.refresh_from_db()
    assert (resource.state, resource.backend_id, resource.access) == ("ok", "acc-7", {"Login": "login.example.org"})
    assert Order.objects.get().state == "done"
    shown = text_of(logged_in(world.member).get(reverse("resource", args=[resource.pk])))
    assert "login.example.org" in shown


def ready(world: World) -> Resource:
    resource = make_resource(world, terms_accepted=True)
    run_jobs(only="provisioning")
    services.confirm_work(resource_id=resource.pk, by=world.manager, at=world.at + timedelta(seconds=1))
    resource.refresh_from_db()
    return resource


def test_change_page__another_limit__orders_the_change(world: World) -> None:
    resource = ready(world)
    client = logged_in(world.pi)
    url = reverse("resource_change", args=[resource.pk])
    assert client.get(url).status_code == 200
    assert client.post(reverse("resource_draft", args=[resource.pk]), {"limits.storage": 30}).status_code == 200
    response = client.post(url, {"plan": resource.plan_id, "limits.storage": 30, "key": "k"})
    order = Order.objects.latest("pk")
    assert (response.status_code, order.kind, order.limits) == (302, "change", {"storage": 30})
    assert "30" in text_of(client.get(reverse("order", args=[order.pk])))


def test_terminate_page__ordered__goes_on_without_asking(world: World) -> None:
    resource = ready(world)
    logged_in(world.pi).post(reverse("resource_terminate", args=[resource.pk]), {"comment": "over"})
    order = Order.objects.latest("pk")
    assert (order.kind, order.state) == ("terminate", "executing")


def test_end_page__a_day__is_kept_as_the_moment_after_it(world: World) -> None:
    resource = ready(world)
    logged_in(world.owner).post(reverse("resource_end", args=[resource.pk]), {"last_day": "2027-03-31"})
    resource.refresh_from_db()
    assert resource.end is not None
    assert resource.end.isoformat() == "2027-04-01T00:00:00+00:00"


def test_account_page__the_provider__sets_a_local_user(world: World) -> None:
    ready(world)
    manager = logged_in(world.manager)
    url = reverse("provider_account", args=[world.backend.pk, world.member.pk])
    assert manager.get(url).status_code == 200
    assert manager.post(url, {"username": "Not a name"}).status_code == 422
    assert manager.post(url, {"username": "mmember"}).status_code == 302
    assert LocalAccount.objects.get().username == "mmember"
    assert logged_in(world.pi).get(url).status_code == 404


def test_resource_page__a_member_without_an_account__is_told_what_to_do(world: World) -> None:
    resource = ready(world)
    page = reverse("resource", args=[resource.pk])
    member = logged_in(world.member)
    assert "Accounts at providers" not in text_of(member.get(page)).partition("How to get in")[2]
    who = {"backend": world.backend, "by": world.manager, "at": world.at}
    services.set_account_policy(**who, arrival="on_request")
    assert "You have no account there yet. Connect first" in text_of(member.get(page))
    member.post(reverse("my_account_connect", args=[world.backend.pk]))
    assert "Your account there is not made yet." in text_of(member.get(page))
    services.set_local_account(**who, person=world.member, username="ada")
    assert "account there" not in text_of(member.get(page))
    services.block_account(**who, person=world.member, reason="Mining.")
    assert "Your account there is blocked. Mining." in text_of(member.get(page))
    assert "account there" not in text_of(logged_in(world.manager).get(page))


def test_policy_pages__lines_of_the_university_and_the_offering__are_read_in_words(world: World) -> None:
    owner = logged_in(world.owner)
    url = reverse("organization_policies", args=[world.university.pk])
    owner.post(url, {"add": "1", "condition": "wallet", "outcome": "allow"})
    assert "when the wallet covers the estimate, nobody is asked" in text_of(owner.get(url))
    line = ApprovalPolicy.objects.get(organization=world.university)
    owner.post(url, {"remove": line.pk})
    assert not ApprovalPolicy.objects.filter(organization=world.university).exists()

    manager = logged_in(world.manager)
    url = reverse("offering_approval", args=[world.offering.pk])
    manager.post(url, {"choice": "none"})
    assert "All orders: always, nobody is asked." in text_of(manager.get(url))
    order = place_order(world, terms_accepted=True)
    order = services.approve_order(order_id=order.pk, side=Side.CONSUMER, by=world.owner, at=world.at)
    assert order.state == "executing"


# ------------------------------------------------------------------------------------------------ messages
@pytest.fixture
def executing(world: World) -> Order:
    make_resource(world, terms_accepted=True)
    run_jobs(only="provisioning")
    order = Order.objects.get()
    assert order.state == "executing"
    return order


def addresses_of(order: Order) -> list[tuple[str, str]]:
    """(the page, where its form goes) of an order and its resource."""
    assert order.resource is not None
    return [
        (reverse(f"{kind}", args=[pk]), reverse(f"{kind}_say", args=[pk]))
        for kind, pk in (("order", order.pk), ("resource", order.resource.pk))
    ]


def said_on(response: Any) -> str:
    """What stands in the card of messages; "" where there is none."""
    card = re.search(r'<section [^>]*id="said">.*?</section>', response.content.decode(), re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", card[0])).split()) if card else ""


@pytest.mark.parametrize("place", [0, 1], ids=["order", "resource"])
def test_message__said_by_the_provider__is_read_by_both_sides_newest_first(
    world: World, executing: Order, place: int
) -> None:
    page, say = addresses_of(executing)[place]
    manager, customer = logged_in(world.manager), logged_in(world.pi)
    assert "Nothing was said yet." in said_on(manager.get(page))
    # Whoever waits for an order is told that nothing was said; a resource needs no such words.
    assert said_on(customer.get(page)) == ("From the provider The provider has said nothing about it yet.", "")[place]
    first = manager.post(say, {"text": "The rack is <b>full</b>.", "level": "warning", "progress": ""})
    assert (first.status_code, first["Location"]) == (302, page)
    manager.post(say, {"text": "Half of it stands.", "level": "info", "progress": "50"})
    name = world.manager.full_name
    told = f"Note {name} just now 50 % Half of it stands. Warning {name} just now The rack is <b>full</b>."
    assert said_on(customer.get(page)) == f"From the provider {told}"
    assert told in said_on(manager.get(page))
    assert "The rack is &lt;b&gt;full&lt;/b&gt;." in customer.get(page).content.decode()


@pytest.mark.parametrize("place", [0, 1], ids=["order", "resource"])
def test_message__with_progress__draws_a_bar_while_the_work_is_under_way(
    world: World, executing: Order, place: int
) -> None:
    page, say = addresses_of(executing)[place]
    manager = logged_in(world.manager)

    def bar() -> list[str]:
        return re.findall(r'data-progress="(\d+)"', logged_in(world.pi).get(page).content.decode())

    assert bar() == []
    manager.post(say, {"text": "Begun.", "level": "info", "progress": "0"})
    assert bar() == ["0"]
    manager.post(say, {"text": "Most of it.", "level": "info", "progress": "80"})
    assert bar() == ["80"]
    manager.post(say, {"text": "It waits for a cable.", "level": "warning", "progress": ""})
    assert bar() == []
    manager.post(say, {"text": "Nearly.", "level": "info", "progress": "99"})
    assert bar() == ["99"]
    assert executing.resource is not None
    services.confirm_work(resource_id=executing.resource.pk, by=world.manager, at=world.at + timedelta(seconds=1))
    assert bar() == []


def test_message__of_earlier_work__is_no_progress_of_the_next(world: World) -> None:
    resource = ready(world)
    logged_in(world.manager).post(
        reverse("resource_say", args=[resource.pk]), {"text": "All of it.", "level": "info", "progress": "90"}
    )
    with stated_time(world.at + timedelta(hours=1)):
        logged_in(world.pi).post(
            reverse("resource_change", args=[resource.pk]),
            {"plan": resource.plan_id, "limits.storage": 30, "key": "k"},
        )
        change = Order.objects.latest("pk")
        for side, by in ((Side.CONSUMER, world.owner), (Side.PROVIDER, world.manager)):
            if Order.objects.get(pk=change.pk).state != "executing":
                services.approve_order(order_id=change.pk, side=side, by=by, at=world.at + timedelta(hours=1))
        assert Order.objects.get(pk=change.pk).state == "executing"
        page = logged_in(world.pi).get(reverse("resource", args=[resource.pk])).content.decode()
    assert "All of it." in page
    assert "data-progress" not in page


def test_message__on_an_order__stands_on_its_resource_as_well(world: World, executing: Order) -> None:
    services_page, say = addresses_of(executing)[0]
    logged_in(world.manager).post(say, {"text": "Ordered from the vendor.", "level": "info"})
    assert executing.resource is not None
    shown = said_on(logged_in(world.pi).get(reverse("resource", args=[executing.resource.pk])))
    assert f"on order #{executing.pk} Ordered from the vendor." in shown
    assert services_page in logged_in(world.pi).get(reverse("resource", args=[executing.resource.pk])).content.decode()


@pytest.mark.parametrize("place", [0, 1], ids=["order", "resource"])
@pytest.mark.parametrize(
    "sent, said",
    [
        ({"text": "", "level": "info"}, "This field is required"),
        ({"text": " \n ", "level": "info"}, "This field is required"),
        ({"text": "x" * 2001, "level": "info"}, "at most 2000 characters"),
        ({"text": "a\u202eb", "level": "info"}, "cannot be seen"),
        ({"text": "Words", "level": "shout"}, "Select a valid choice"),
        ({"text": "Words", "level": "info", "progress": "101"}, "less than or equal to 100"),
        ({"text": "Words", "level": "info", "progress": "half"}, "Enter a whole number"),
    ],
)
def test_message__bad_input__says_so_keeps_what_was_typed_and_writes_nothing(
    world: World, executing: Order, place: int, sent: dict[str, str], said: str
) -> None:
    _page, say = addresses_of(executing)[place]
    response = logged_in(world.manager).post(say, sent)
    assert response.status_code == 422
    assert said in said_on(response)
    assert sent["text"].strip() in response.content.decode()
    assert not ProviderMessage.objects.exists()


def test_message__of_the_loop_itself__stands_there_as_the_systems(world: World, executing: Order) -> None:
    assert executing.resource is not None
    note_mended(resource=executing.resource, words="Its limits were others.", at=world.at)
    shown = said_on(logged_in(world.pi).get(reverse("resource", args=[executing.resource.pk])))
    assert shown == "From the provider Warning the system just now Mended: Its limits were others."


def test_message__by_the_customer_or_a_stranger__is_refused(world: World, executing: Order) -> None:
    for page, say in addresses_of(executing):
        assert "<form" not in said_on(logged_in(world.pi).get(page))
        assert logged_in(world.pi).post(say, {"text": "Mine.", "level": "info"}).status_code == 403
        assert logged_in(make_person()).post(say, {"text": "Mine.", "level": "info"}).status_code == 404
    assert not ProviderMessage.objects.exists()


@pytest.mark.parametrize("place", [0, 1], ids=["order", "resource"])
def test_messages__more_of_them__same_number_of_queries_and_fifty_are_shown(
    world: World, executing: Order, place: int, django_assert_num_queries: Any, django_assert_max_num_queries: Any
) -> None:
    assert executing.resource is not None
    page, _say = addresses_of(executing)[place]
    about = {"order": executing} if place == 0 else {"resource": executing.resource}
    client = logged_in(world.manager)

    def grow(count: int) -> None:
        ProviderMessage.objects.bulk_create(
            ProviderMessage(**about, text=f"Message {n}", by=make_person(), at=world.at) for n in range(count)
        )

    grow(1)
    client.get(page)
    with django_assert_max_num_queries(90) as first:
        client.get(page)
    grow(60)
    with django_assert_num_queries(len(first)):
        response = client.get(page)
    assert said_on(response).count("Message ") == 50


def test_order_form__billed_by_use_alone__tells_the_price_instead_of_nothing(by_the_hour: World) -> None:
    client = logged_in(by_the_hour.pi)
    url = reverse("order_draft") + f"?offering={by_the_hour.offering.pk}"
    response = client.post(url, filled(by_the_hour))
    shown = text_of(response)
    assert "0.05 EUR per" in shown.replace("\xa0", " ")
    assert "Per month, about" not in shown
    assert 'href="#id_uses.cpu"' in response.content.decode()


def test_preview__an_expected_use__is_compared_with_what_is_left(world: World, at: datetime) -> None:
    def lasts(left_ticks: int, used: Fraction | None, wanted: int | None = None) -> int | None:
        state: Any = SimpleNamespace(available_ticks=left_ticks)
        return DrawPreview(world.offering.provider.categories.first(), wanted, state, used).lasts_months  # type: ignore[arg-type]

    assert [lasts(100, Fraction(30)), lasts(100, Fraction(101)), lasts(100, None), lasts(100, Fraction(0))] == [
        3,
        0,
        None,
        None,
    ]
    assert lasts(100, Fraction(30), wanted=5) is None


def test_order_form__no_allocation__says_so_once_with_a_way_to_apply(world: World) -> None:
    other = make_project(organization=world.project.organization, pi=world.pi)
    workspace = Workspace.objects.get(project=other)
    url = reverse("order_draft") + f"?offering={world.offering.pk}"
    response = logged_in(world.pi).post(url, filled(world, workspace=workspace.pk))
    shown = text_of(response)
    assert shown.count("has no valid allocation of") == 1
    assert "That is more than what is left." not in shown
    assert " of 0 " not in shown
    assert f'href="{reverse("application_new")}?for={workspace.pk}"' in response.content.decode()


def test_change_page__an_order_is_open__links_to_it_and_takes_nothing(world: World) -> None:
    resource = ready(world)
    client = logged_in(world.pi)
    url = reverse("resource_change", args=[resource.pk])
    assert "Order the change" in text_of(client.get(url))
    client.post(url, {"plan": resource.plan_id, "limits.storage": 30, "key": "k"})
    order = Order.objects.latest("pk")
    link = f'<a href="{reverse("order", args=[order.pk])}">'
    again = client.post(url, {"plan": resource.plan_id, "limits.storage": 40, "key": "l"})
    for response in (client.get(url), again):
        assert link in response.content.decode()
        assert "Order the change" not in text_of(response)
    assert Order.objects.latest("pk") == order


def test_order_page__of_a_change__has_amounts_with_their_unit(world: World) -> None:
    resource = ready(world)
    client = logged_in(world.pi)
    client.post(
        reverse("resource_change", args=[resource.pk]), {"plan": resource.plan_id, "limits.storage": 30, "key": "k"}
    )
    shown = text_of(client.get(reverse("order", args=[Order.objects.latest("pk").pk])))
    assert f"Change Before After Storage {resource.limits['storage']} GB 30 GB" in shown


def test_home__own_orders_that_wait__are_shown_until_they_are_closed(world: World) -> None:
    client = logged_in(world.pi)
    assert "My open orders" not in text_of(client.get("/"))
    order = place_order(world, terms_accepted=True)
    assert "My open orders" in text_of(client.get("/"))
    assert "My open orders" not in text_of(logged_in(world.owner).get("/"))
    services.cancel_order(order_id=order.pk, by=world.pi, at=world.at)
    assert "My open orders" not in text_of(client.get("/"))
