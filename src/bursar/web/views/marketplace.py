"""The shop: shelves, search, filters, and the page of one offering."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import path

from bursar.catalogue import selectors
from bursar.catalogue.models import Component, ProductType
from bursar.catalogue.order_form import form_fields
from bursar.structure.roles import Permission
from bursar.web.http import page

PER_PAGE = 24


def marketplace(request: HttpRequest) -> HttpResponse:
    viewer, at = request.viewer.person, request.at  # type: ignore[attr-defined]
    visible = selectors.offerings_visible_to(viewer, at)
    query = request.GET.get("q", "").strip()[:200]
    product_type = request.GET.get("type", "")
    product_type = product_type if product_type in ProductType.values else ""
    providers = list(selectors.providers_of(visible))
    provider = next((p for p in providers if p.organization.slug == request.GET.get("provider")), None)

    found = selectors.search_offerings(visible, query)
    if product_type:
        found = selectors.offerings_of_type(found, product_type)
    if provider is not None:
        found = found.filter(provider=provider)
    # The shelves count what the other filters leave, so that a number is what a click shows.
    shelves = selectors.shelf_tree(found)
    shelf_row = next((row for row in shelves if row.shelf.slug == request.GET.get("shelf")), None)
    if shelf_row is not None:
        found = found.filter(shelf_id__in=selectors.shelves_below(shelf_row.shelf, shelves))
    found = found.select_related("provider__organization", "shelf")
    paginator = Paginator(found if query else found.order_by("name", "pk"), PER_PAGE)
    shown = paginator.get_page(request.GET.get("page"))
    return page(
        request,
        "bursar/marketplace/list.html",
        {
            "query": query,
            "product_type": product_type,
            "product_types": ProductType.choices,
            "providers": providers,
            "provider": provider,
            "shelves": shelves,
            "shelf_row": shelf_row,
            "page_of": shown,
            "cards": selectors.cards(list(shown.object_list), at),
            "total": paginator.count,
            "total_on_shelves": sum(row.count for row in shelves if row.depth == 0),
            "narrowed": bool(query or product_type or provider or shelf_row),
            "can_publish": Permission.MANAGE_OFFERINGS in request.viewer.permissions,  # type: ignore[attr-defined]
            "can_operate": Permission.OPERATE_PLATFORM in request.viewer.permissions,  # type: ignore[attr-defined]
        },
    )


def offering(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = request.viewer.person, request.at  # type: ignore[attr-defined]
    found = selectors.offering_for_viewer(viewer, pk, at)
    components = list(found.components.all())
    plans = [plan for plan in found.plans.all() if plan.archived_at is None]
    prices = selectors.prices_in_force([plan.pk for plan in plans], at)
    return page(
        request,
        "bursar/marketplace/offering.html",
        {
            "offering": found,
            "components": components,
            "plans": [plan_card(plan, components, prices) for plan in plans],
            "currency": found.provider.organization.currency,
            "closed": selectors.why_closed(found),
            "fields": form_fields(found.order_form),
            "can_edit": request.viewer.may(Permission.VIEW_PROVIDER, found.provider.organization),  # type: ignore[attr-defined]
        },
    )


def plan_card(plan: Any, components: list[Component], prices: Any) -> dict[str, Any]:
    """A plan with the prices of its components that are above zero."""
    rows = [(c, prices[plan.pk, c.pk]) for c in components if (plan.pk, c.pk) in prices and prices[plan.pk, c.pk].price]
    return {"plan": plan, "rows": rows, "organizations": list(plan.organizations.all())}


urlpatterns = [
    path("marketplace/", marketplace, name="marketplace"),
    path("offerings/<int:pk>/", offering, name="offering"),
]
