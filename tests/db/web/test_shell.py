"""What happens around every page: logins, refusals, htmx, messages, lists, the menu."""

import re
from typing import Any

import pytest
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.test import Client, RequestFactory
from django.urls import path, reverse
from django.utils.translation import gettext_lazy as _

from bursar.structure.errors import NotFound
from bursar.structure.models import Organization, Person
from bursar.structure.roles import NotAllowed, Role
from bursar.web.errors import server_error
from bursar.web.listing import Column, Filter, Listing
from bursar.web.urls import urlpatterns as pages
from tests.factories.catalogue import make_provider
from tests.factories.structure import make_membership, make_operator, make_organization, make_person, make_project

pytestmark = [pytest.mark.django_db, pytest.mark.slow]


def refuse(request: HttpRequest) -> HttpResponse:
    raise NotAllowed(permission="x", roles="Organization owner")


def missing(request: HttpRequest) -> HttpResponse:
    raise NotFound(noun="project")


def bug(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("the password is hunter2")


def said(request: HttpRequest) -> HttpResponse:
    messages.success(request, "Done & dusted")
    return HttpResponse("<p>part</p>")


def away(request: HttpRequest) -> HttpResponse:
    return redirect("/allocations/")


def posted(request: HttpRequest) -> HttpResponse:
    return HttpResponse("posted")


urlpatterns = [
    path("t/refuse", refuse),
    path("t/missing", missing),
    path("t/bug", bug),
    path("t/said", said),
    path("t/away", away),
    path("t/posted", posted),
]


@pytest.fixture
def client_of(settings: Any) -> Any:
    import types

    from bursar.config import urls as real

    module = types.ModuleType("tests_urls")
    module.urlpatterns = [*urlpatterns, *real.urlpatterns]  # type: ignore[attr-defined]
    for name in ("handler400", "handler403", "handler404", "handler500"):
        setattr(module, name, getattr(real, name))
    settings.ROOT_URLCONF = module

    def make(person: Person | None = None, **more: Any) -> Client:
        client = Client(raise_request_exception=False, **more)
        if person is not None:
            client.force_login(person)
        return client

    return make


def partial(client: Client, address: str) -> Any:
    return client.get(address, headers={"HX-Request": "true", "HX-Request-Type": "partial"})


# ------------------------------------------------------------------------------------------------ who may come in
def test_page__stranger__is_sent_to_the_login(client_of: Any) -> None:
    response = client_of().get("/allocations/")
    assert (response.status_code, response["Location"]) == (302, "/account/login/?next=/allocations/")


def test_page__stranger_by_htmx__is_sent_there_as_a_whole(client_of: Any) -> None:
    response = partial(client_of(), "/allocations/")
    assert (response.status_code, response["HX-Redirect"]) == (200, "/account/login/?next=/allocations/")


def test_pages__all_of_them__need_a_login_unless_they_are_listed_here() -> None:
    """Whoever opens a page to strangers says so here too."""
    open_pages = {
        pattern.name
        for include in pages
        for pattern in include.url_patterns
        if not getattr(pattern.callback, "login_required", True)
    }
    assert open_pages <= {"home", "demo_login", "invitation_accept", "jwks", "prices"}


# ------------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/t/refuse", 403, "it needs one of these roles: Organization owner"),
        ("/t/missing", 404, "project"),
        ("/no/such/page", 404, "There is nothing here"),
        ("/t/bug", 500, "Something broke on our side"),
    ],
)
def test_page__trouble__is_told_with_its_status(client_of: Any, address: str, status: int, words: str) -> None:
    response = client_of(make_person()).get(address)
    assert response.status_code == status
    assert words in response.content.decode()
    assert "hunter2" not in response.content.decode()
    assert "unsafe" not in response["Content-Security-Policy"]


def test_page__trouble_by_htmx__is_a_part(client_of: Any) -> None:
    response = partial(client_of(make_person()), "/t/refuse")
    assert response.status_code == 403
    assert "<html" not in response.content.decode()


def test_form__without_its_token__is_told_to_reload(client_of: Any) -> None:
    response = client_of(make_person(), enforce_csrf_checks=True).post("/t/posted")
    assert response.status_code == 403
    assert "This form has expired" in response.content.decode()


def test_bug__told_with_the_number_that_stands_in_the_log(client_of: Any) -> None:
    response = client_of(make_person()).get("/t/bug")
    assert response["X-Request-ID"] in response.content.decode()


def test_bug__on_its_page__offers_ways_on_without_the_database(client_of: Any, django_assert_num_queries: Any) -> None:
    client = client_of(make_person())
    with django_assert_num_queries(0):
        html = server_error(RequestFactory().get("/")).content.decode()
    assert "data-back" in html
    ways = re.findall(r'<a [^>]*href="([^"]*)"', html)
    assert ways == ["/", reverse("projects"), reverse("orders"), reverse("account_logout")]
    assert [client.get(way).status_code for way in ways] == [200, 200, 200, 200]


# ------------------------------------------------------------------------------------------------ htmx
def test_messages__in_a_part__come_as_toasts(client_of: Any) -> None:
    html = partial(client_of(make_person()), "/t/said").content.decode()
    assert html.startswith("<p>part</p>")
    assert 'hx-swap-oob="beforeend:#toasts"' in html
    assert "Done &amp; dusted" in html


def test_redirect__by_htmx__moves_the_whole_page(client_of: Any) -> None:
    response = partial(client_of(make_person()), "/t/away")
    assert (response.status_code, response["HX-Redirect"]) == (200, "/allocations/")


def test_answer__page_or_part__is_not_mixed_up_by_a_cache(client_of: Any) -> None:
    assert "HX-Request" in client_of(make_person()).get("/")["Vary"]


# ------------------------------------------------------------------------------------------------ the viewer
def test_time_zone__of_the_person__holds_for_the_page(client_of: Any) -> None:
    person = make_person()
    Person.objects.filter(pk=person.pk).update(time_zone="Europe/Tallinn")
    assert "Times are in Europe/Tallinn" in client_of(person).get("/").content.decode()


def menu_of(client: Client) -> str:
    return client.get("/").content.decode()


def test_menu__each_person__is_offered_what_the_roles_allow(client_of: Any) -> None:
    seller = make_provider().organization
    offering_manager = make_person()
    make_membership(person=offering_manager, role=Role.OFFERING_MANAGER, scope=seller)
    owner = make_person()
    make_membership(person=owner, role=Role.ORGANIZATION_OWNER, scope=make_organization())

    assert ">Offerings<" in menu_of(client_of(offering_manager))
    assert ">Offerings<" not in menu_of(client_of(owner))  # an organization that does not sell
    assert ">Organizations<" in menu_of(client_of(owner))
    assert ">Organizations<" not in menu_of(client_of(make_person()))
    assert ">Operator<" in menu_of(client_of(make_operator()))
    assert ">Operator<" not in menu_of(client_of(owner))


# ------------------------------------------------------------------------------------------------ lists
@pytest.fixture
def names() -> list[str]:
    found = ["Aarhus", "Bergen", "Chalmers", "Dorpat", "Espoo"]
    for name in found:
        make_organization(name)
    return found


def listing(query: str, **more: Any) -> Listing:
    given: dict[str, Any] = {
        "columns": {"name": Column(_("Name"), sort="name"), "country": Column(_("Country"))},
        "search": ("name__icontains",),
        "filters": (Filter("country", _("Country"), [("EE", "Estonia"), ("NO", "Norway")], "country"),),
        "sort": "name",
        "per_page": 2,
    }
    return Listing(RequestFactory().get(f"/x/{query}"), Organization.objects.all(), **{**given, **more})


def shown(query: str, **more: Any) -> list[str]:
    return [row.name for row in listing(query, **more).rows]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", ["Aarhus", "Bergen"]),
        ("?page=2", ["Chalmers", "Dorpat"]),
        ("?page=99", ["Espoo"]),
        ("?page=x", ["Aarhus", "Bergen"]),
        ("?sort=-name", ["Espoo", "Dorpat"]),
        ("?sort=password", ["Aarhus", "Bergen"]),
        ("?sort=country", ["Aarhus", "Bergen"]),
        ("?q=er", ["Bergen", "Chalmers"]),
        ("?q=nothing", []),
        ("?country=NO", []),
        ("?country=XX", ["Aarhus", "Bergen"]),
    ],
)
def test_listing__as_the_address_says__shows_rows(names: list[str], query: str, rows: list[str]) -> None:
    assert shown(query) == rows


def test_listing__its_links__keep_what_was_chosen(names: list[str]) -> None:
    one = listing("?q=e&sort=-name&other=1")
    assert one.next_url == "?q=e&sort=-name&other=1&page=2"
    assert one.heads[0].direction == "descending"
    assert one.heads[0].url == "?q=e&other=1&sort=name"
    assert one.others == [("sort", "-name"), ("other", "1")]


def test_listing__two_on_a_page__do_not_meet(names: list[str]) -> None:
    assert shown("?q=Bergen", prefix="second-") == ["Aarhus", "Bergen"]
    assert shown("?second-q=Bergen", prefix="second-") == ["Bergen"]


def test_title__of_a_scopes_tab__begins_with_the_tab(client_of: Any) -> None:
    operator = make_operator()
    project = make_project(name="Ice cores", organization=make_organization("Polar institute"))
    client = client_of(operator)

    def title(name: str, pk: int) -> str:
        found = re.search("<title>(.*?)</title>", client.get(reverse(name, args=[pk])).content.decode(), re.DOTALL)
        assert found is not None
        return found[1]

    assert [title(name, project.pk) for name in ("project", "project_members", "project_costs")] == [
        "Overview · Ice cores · Bursar", "Members · Ice cores · Bursar", "Costs · Ice cores · Bursar",
    ]  # fmt: skip
    assert [title(name, project.organization_id) for name in ("organization_wallets", "organization_billing")] == [
        "Quota · Polar institute · Bursar", "Billing · Polar institute · Bursar",
    ]  # fmt: skip
