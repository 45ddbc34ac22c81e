"""The shop: shelves, search, filters, and the page of one offering."""

import csv
import io
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import path

from bursar.catalogue import selectors
from bursar.catalogue.models import Component, ProductType
from bursar.catalogue.order_form import form_fields
from bursar.catalogue.tiers import steps_of
from bursar.grants.selectors import harmless
from bursar.kernel.money import plain
from bursar.structure.roles import Permission
from bursar.web.http import page
from bursar.web.templatetags.catalogue import price_basis

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
            "coming": selectors.prices_to_come([plan.pk for plan in plans], at),
            "currency": found.provider.organization.currency,
            "closed": selectors.why_closed(found),
            "fields": form_fields(found.order_form),
            "can_edit": request.viewer.may(Permission.VIEW_PROVIDER, found.provider.organization),  # type: ignore[attr-defined]
        },
    )


def plan_card(plan: Any, components: list[Component], prices: Any) -> dict[str, Any]:
    """A plan with the prices of its components that cost something."""
    return {
        "plan": plan,
        "rows": selectors.priced_rows(plan, components, prices),
        "organizations": list(plan.organizations.all()),
    }


@login_not_required
def prices(request: HttpRequest) -> HttpResponse:
    """What everything costs; who is not logged in sees what is for everybody. With `format=csv` as a table, whole."""
    viewer, at = request.viewer.person, request.at  # type: ignore[attr-defined]
    query = request.GET.get("q", "").strip()[:200]
    found = selectors.offerings_on_price_list(viewer, at, query)
    if request.GET.get("format") == "csv":
        return _as_csv(selectors.price_list(found, at))
    paginator = Paginator(found, PER_PAGE)
    shown = paginator.get_page(request.GET.get("page"))
    rows = selectors.price_list(shown.object_list, at)
    context = {"query": query, "page_of": shown, "rows": rows, "total": paginator.count}
    return page(request, "bursar/marketplace/prices.html", context)


PRICE_COLUMNS = (
    "provider", "offering", "plan", "component", "billing", "included", "unit", "price", "currency", "per", "steps",
    "further_steps", "tax_category",
)  # fmt: skip


def _as_csv(plans: Iterable[selectors.ListedPlan]) -> HttpResponse:
    """A row for each price; no spreadsheet takes a cell for a formula."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(PRICE_COLUMNS)
    for each in plans:
        organization = each.offering.provider.organization
        for component, row in each.rows:
            cells = (
                organization.name,
                each.offering.name,
                each.plan.name,
                component.title,
                component.billing,
                row.amount if component.billing == Component.Billing.FIXED else "",
                component.unit_name,
                plain(row.price),
                organization.currency,
                price_basis(component, each.plan),
                row.tier_kind,
                "; ".join(f"{plain(step.start)}: {plain(step.price)}" for step in steps_of(row)),
                component.tax_category,
            )
            writer.writerow([harmless(cell) for cell in cells])
    answer = HttpResponse(file.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="prices.csv"'
    return answer


urlpatterns = [
    path("marketplace/", marketplace, name="marketplace"),
    path("prices/", prices, name="prices"),
    path("offerings/<int:pk>/", offering, name="offering"),
]
