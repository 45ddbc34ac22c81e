"""The pages of the catalogue, through the whole stack of the web but without a browser."""

import re
from datetime import UTC, datetime

import pytest
from django.test import Client
from django.urls import reverse

from bursar.catalogue import services
from bursar.catalogue.models import Backend, Offering, OfferingCategory, ProductCategory, ServiceProvider
from bursar.kernel.clock import stated_time
from bursar.structure.models import Person
from bursar.structure.roles import Role
from tests.factories.catalogue import (
    make_backend,
    make_category,
    make_level_category,
    make_offering,
    make_plan,
    make_product,
    make_provider,
    make_shelf,
)
from tests.factories.structure import make_membership, make_operator, make_organization, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


@pytest.fixture(autouse=True)
def clock(at):
    with stated_time(at):
        yield


def logged_in(person: Person) -> Client:
    client = Client()
    client.force_login(person)
    return client


def text(response) -> str:
    return re.sub(r"\s+", " ", response.content.decode())


def manager_of(provider, role=Role.PROVIDER_MANAGER):
    return make_membership(role=role, scope=provider.organization).person


def test_first_offering__empty_installation__through_pages_alone():
    operator = make_operator()
    organization = make_organization("Thor Centre", slug="thor")
    owner = make_membership(role=Role.ORGANIZATION_OWNER, scope=organization).person
    runs, sells = logged_in(operator), logged_in(owner)

    assert "The shelves are empty" in text(runs.get("/marketplace/"))
    assert (
        runs.post("/operator/shelves/new/", {"title": "Computing", "slug": "computing", "position": "0"}).status_code
        == 302
    )
    assert runs.post("/operator/providers/", {"organization": organization.pk}).status_code == 302
    provider = ServiceProvider.objects.get()

    home = sells.get("/provider/", follow=True)
    assert home.redirect_chain == [("/providers/thor/", 302)]
    assert "The way to your first offering" in text(home)

    made = sells.post(
        "/provider/categories/new/?provider=thor",
        {
            "title": "CPU on Thor", "name": "cpu-thor", "product_type": "compute", "charging": "hour",
            "unit_name": "core-hours", "ticks_per_unit": "3600", "requires_allocation": "on", "grace_days": "7",
        },
    )  # fmt: skip
    category = ProductCategory.objects.get()
    assert made.headers["Location"] == f"/provider/categories/{category.pk}/"

    assert "By hand" in text(sells.get("/provider/backends/new/"))
    made = sells.post(
        "/provider/backends/new/?provider=thor&plugin=manual", {"backend_name": "Desk", "contact": "desk@thor.example"}
    )
    backend = Backend.objects.get()
    assert made.headers["Location"] == f"/provider/backends/{backend.pk}/"
    assert backend.health == "ok"

    shelf = OfferingCategory.objects.get()
    made = sells.post(
        "/provider/offerings/new/",
        {"provider": provider.pk, "name": "Thor CPU", "summary": "Cores.", "backend": backend.pk, "shelf": shelf.pk},
    )
    offering = Offering.objects.get()
    base = f"/provider/offerings/{offering.pk}/"
    assert made.headers["Location"] == base
    assert "4 missing" in text(sells.get(base))

    saved = sells.post(
        f"{base}texts/",
        {
            "name": "Thor CPU",
            "slug": "thor-cpu",
            "shelf": shelf.pk,
            "summary": "Cores.",
            "description": "**Many** cores.",
        },
    )
    assert saved.status_code == 302
    saved = sells.post(
        f"{base}components/new/",
        {
            "title": "CPU time", "key": "cpu", "unit_name": "core-hours", "billing": "usage", "limit_period": "month",
            "category": category.pk, "draws": "1", "measured_unit": "core-seconds", "measured_per_unit": "3600",
        },
    )  # fmt: skip
    assert saved.status_code == 302
    component = offering.components.get()
    assert (component.ticks_per_unit, component.ticks_per_measured) == (3600, 1)
    saved = sells.post(f"{base}plans/new/", {"name": "Standard", "unit": "month"})
    plan = offering.plans.get()
    assert saved.headers["Location"] == f"{base}plans/{plan.pk}/prices/"
    saved = sells.post(f"{base}plans/{plan.pk}/prices/", {f"price_{component.pk}": "0.025", "valid_from": ""})
    assert saved.status_code == 302
    assert sells.post(f"{base}visibility/", {"visibility": "everyone"}).status_code == 302
    assert "complete" in text(sells.get(base))
    assert sells.post(f"{base}step/", {"step": "activate"}).status_code == 302

    offering.refresh_from_db()
    assert offering.state == "active"
    shop = text(logged_in(make_person()).get("/marketplace/"))
    assert "Thor CPU" in shop
    assert "0.025 EUR" in shop
    page = text(logged_in(make_person()).get(f"/offerings/{offering.pk}/"))
    assert "<strong>Many</strong> cores." in page
    assert f"/orders/new?offering={offering.pk}" in page


def test_activate__something_missing__page_says_what_and_stays():
    offering = make_offering(active=False, plan="")
    client = logged_in(manager_of(offering.provider))
    answer = client.post(f"/provider/offerings/{offering.pk}/step/", {"step": "activate"}, follow=True)
    assert "missing: There is a plan to order." in text(answer)
    offering.refresh_from_db()
    assert offering.state == "draft"
    assert offering.activated_at is None


PAGES = (
    "marketplace", "provider_home", "provider_backends", "provider_backend_create", "provider_offerings",
    "provider_offering_create", "provider_categories", "provider_category_create", "operator_plugins",
)  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_get__page_of_a_provider__answers(name):
    provider = make_provider()
    make_offering(provider, plugin="simulator", category=make_category(provider))
    assert logged_in(manager_of(provider)).get(reverse(name), follow=True).status_code == 200


@pytest.mark.parametrize(
    "tab",
    [
        "",
        "texts/",
        "backend/",
        "components/",
        "components/new/",
        "plans/",
        "plans/new/",
        "form/",
        "visibility/",
        "access/",
    ],
)
@pytest.mark.parametrize("active", [True, False])
def test_get__tab_of_an_offering__answers_to_its_provider_only(tab, active):
    offering = make_offering(active=active)
    address = f"/provider/offerings/{offering.pk}/{tab}"
    assert logged_in(manager_of(offering.provider, Role.OFFERING_MANAGER)).get(address).status_code == 200
    assert logged_in(manager_of(make_provider())).get(address).status_code == 404
    assert logged_in(make_person()).get(address).status_code == 404


def test_get__edit_pages_of_parts__answer():
    provider = make_provider()
    category = make_category(provider)
    offering = make_offering(provider, category=category)
    product = make_product(category)
    client = logged_in(manager_of(provider))
    plan, component = offering.plans.get(), offering.components.get()
    for address in (
        f"/provider/offerings/{offering.pk}/components/{component.pk}/",
        f"/provider/offerings/{offering.pk}/plans/{plan.pk}/",
        f"/provider/offerings/{offering.pk}/plans/{plan.pk}/prices/",
        f"/provider/categories/{category.pk}/",
        f"/provider/categories/{category.pk}/edit/",
        f"/provider/categories/{category.pk}/products/new/",
        f"/provider/categories/{category.pk}/products/{product.pk}/",
        f"/provider/backends/{offering.backend_id}/",
        f"/provider/backends/{offering.backend_id}/edit/",
        f"/providers/{provider.organization.slug}/edit/",
        f"/providers/{provider.organization.slug}/",
    ):
        assert client.get(address).status_code == 200, address


def test_get__operator_pages__answer_to_the_operator_only():
    make_shelf("Storage", parent=make_shelf("Data"))
    shelf = OfferingCategory.objects.get(title="Data")
    make_provider()
    operator, stranger = logged_in(make_operator()), logged_in(make_person())
    for address in ("/operator/providers/", "/operator/shelves/", "/operator/shelves/new/", f"/operator/shelves/{shelf.pk}/",
                    "/operator/plugins/"):  # fmt: skip
        assert operator.get(address).status_code == 200, address
        assert stranger.get(address).status_code == 403, address


def test_provider_pages__someone_without_the_role__refused_and_nothing_changes():
    provider = make_provider()
    backend = make_backend(provider)
    client = logged_in(manager_of(provider, Role.OFFERING_MANAGER))
    answer = client.post(f"/provider/backends/{backend.pk}/edit/", {"backend_name": "Mine", "contact": "x"})
    assert answer.status_code == 403
    backend.refresh_from_db()
    assert backend.name != "Mine"


def test_edit_backend__page__never_shows_the_secret_and_blank_keeps_it():
    secret = "quite-a-secret-token"
    backend = make_backend(plugin="simulator", values={"token": secret})
    client = logged_in(manager_of(backend.provider))
    shown = text(client.get(f"/provider/backends/{backend.pk}/"))
    edit = text(client.get(f"/provider/backends/{backend.pk}/edit/"))
    assert secret not in shown + edit
    assert "Leave this blank to keep it" in edit
    typed = {"backend_name": "Sim", "url": "http://127.0.0.1:9999", "token": "", "sells": "vm", "timeout_seconds": "5"}
    assert client.post(f"/provider/backends/{backend.pk}/edit/", typed).status_code == 302
    from bursar.catalogue import registry

    backend.refresh_from_db()
    assert backend.settings == {"url": "http://127.0.0.1:9999", "sells": "vm", "timeout_seconds": 5}
    assert registry.secrets_of(backend) == {"token": secret}
    wrong = {**typed, "token": "two words", "url": "http://elsewhere.example"}
    refused = client.post(f"/provider/backends/{backend.pk}/edit/", wrong)
    assert refused.status_code == 422
    assert "two words" not in text(refused)
    assert "must be one word of visible ASCII characters" in text(refused)
    assert "must be http:// and one of" in text(refused)


def test_test_backend__simulator_not_running__page_shows_the_finding():
    backend = make_backend(plugin="simulator", values={"url": "http://127.0.0.1:9"}, health="unknown")
    client = logged_in(manager_of(backend.provider))
    answer = client.post(f"/provider/backends/{backend.pk}/test/", follow=True)
    assert "The simulator at http://127.0.0.1:9 did not answer. Is it running?" in text(answer)
    backend.refresh_from_db()
    assert backend.health == "broken"


def test_home__broken_backend__told_to_those_who_can_mend_it():
    provider = make_provider()
    make_backend(provider, name="Thor", health="broken")
    make_backend(provider, name="Odin", health="ok")
    home = text(logged_in(manager_of(provider)).get("/"))
    assert "Backends that do not work" in home
    assert "Thor" in home
    assert "Odin" not in home
    assert "Backends that do not work" not in text(logged_in(manager_of(provider, Role.OFFERING_MANAGER)).get("/"))


def test_order_form_editor__field_added_previewed_and_saved():
    offering = make_offering(active=False)
    client = logged_in(manager_of(offering.provider))
    address = f"/provider/offerings/{offering.pk}/form/"
    empty = {"f-TOTAL_FORMS": "0", "f-INITIAL_FORMS": "0", "step": "add"}
    assert 'name="f-0-title"' in text(client.post(address, empty))
    typed = {
        "f-TOTAL_FORMS": "2", "f-INITIAL_FORMS": "0",
        "f-0-title": "With <b>GPU</b>", "f-0-name": "gpu", "f-0-type": "boolean", "f-0-description": "<script>alert(1)</script>",
        "f-1-title": "Model", "f-1-name": "", "f-1-type": "string", "f-1-choices": "a100 = A100, 40 GB\nh100",
        "f-1-required": "on", "f-1-when_property": "gpu", "f-1-when_values": "yes",
    }  # fmt: skip
    preview = text(client.post(f"{address}preview/", typed))
    assert "With &lt;b&gt;GPU&lt;/b&gt;" in preview
    assert "<script>alert(1)" not in preview
    assert 'name="preview-model"' not in preview  # only asked with a GPU
    assert client.post(address, {**typed, "step": "save"}).status_code == 302
    offering.refresh_from_db()
    assert offering.order_form == {
        "type": "object",
        "properties": {
            "gpu": {"type": "boolean", "title": "With <b>GPU</b>", "description": "<script>alert(1)</script>"},
            "model": {
                "type": "string",
                "title": "Model",
                "enum": ["a100", "h100"],
                "x-labels": {"a100": "A100, 40 GB"},
                "x-when": {"property": "gpu", "is": [True]},
            },
        },
        "required": ["model"],
        "x-order": ["gpu", "model"],
    }
    shown = text(client.get(address))
    assert "a100 = A100, 40 GB" in shown
    refused = client.post(address, {**typed, "f-1-pattern": "(a+)+", "step": "save"})
    assert refused.status_code == 422
    assert "let nothing that repeats stand inside a repeat" in text(refused)


def test_offering_page__hostile_texts__nothing_can_act():
    hostile = "<img src=x onerror=alert(1)> [x](javascript:alert(1)) <script>alert(2)</script> **bold**"
    offering = make_offering(
        name="<script>alert(3)</script>", summary="<b onmouseover=alert(4)>x", description=hostile, terms_of_use=hostile
    )
    page = text(logged_in(make_person()).get(f"/offerings/{offering.pk}/"))
    assert "<strong>bold</strong>" in page
    for bad in ("<script>alert", "<img src=x", 'javascript:alert(1)"', "<b onmouseover"):
        assert bad not in page
    shop = text(logged_in(make_person()).get("/marketplace/"))
    assert "<script>alert" not in shop
    assert "<b onmouseover" not in shop


def test_marketplace__search_shelf_and_filters__narrow_together():
    data = make_shelf("Data")
    provider = make_provider()
    make_offering(provider, name="Deep archive", summary="Tape for years.", description="Slow.",
                  shelf=make_shelf("Tape", parent=data), category=make_level_category(provider))  # fmt: skip
    make_offering(name="Fast cores", summary="For simulations.", shelf=make_shelf("Computing"))
    client = logged_in(make_person())
    slug = data.slug
    assert [c.offering.name for c in client.get("/marketplace/").context["cards"]] == ["Deep archive", "Fast cores"]
    for query, names in (
        (f"shelf={slug}", ["Deep archive"]),
        ("q=simulat", ["Fast cores"]),
        ("q=tape+years", ["Deep archive"]),
        ("type=storage", ["Deep archive"]),
        (f"provider={provider.organization.slug}", ["Deep archive"]),
        (f"shelf={slug}&q=cores", []),
        ("q=%00", ["Deep archive", "Fast cores"]),
        ("q=%22%27%3A%26", []),
        ("page=99", ["Deep archive", "Fast cores"]),
    ):
        answer = client.get(f"/marketplace/?{query}")
        assert [c.offering.name for c in answer.context["cards"]] == names, query
    counts = {row.shelf.title: row.count for row in client.get("/marketplace/?q=tape").context["shelves"]}
    assert counts == {"Data": 1, "Tape": 1, "Computing": 0}


def test_offering_page__not_for_the_person__is_not_found():
    offering = make_offering(visibility="organizations", organizations=[make_organization()])
    assert logged_in(make_person()).get(f"/offerings/{offering.pk}/").status_code == 404


def test_offering_page__paused__no_order_button_and_the_reason():
    offering = make_offering()
    services.pause_offering(
        offering=offering, reason="Down until Monday.", by=None, at=datetime(2026, 11, 1, tzinfo=UTC)
    )
    page = text(logged_in(make_person()).get(f"/offerings/{offering.pk}/"))
    assert "Down until Monday." in page
    assert "/orders/new" not in page


@pytest.mark.parametrize(
    "address", ["/marketplace/", "/provider/offerings/", "/provider/backends/", "/provider/categories/"]
)
def test_list__more_rows__same_number_of_queries(address, django_assert_num_queries, django_assert_max_num_queries):
    provider = make_provider()
    client = logged_in(manager_of(provider))

    def grow(count):
        for _ in range(count):
            offering = make_offering(provider, category=make_category(provider))
            make_plan(offering, prices={offering.components.get(): 2})

    grow(1)
    with django_assert_max_num_queries(60) as first:
        client.get(address)
    grow(4)
    with django_assert_num_queries(len(first)):
        client.get(address)
