"""Product categories and products; and the operator's pages: providers, shelves, plugins."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from bursar.catalogue import registry, selectors, services
from bursar.catalogue.errors import ProviderNotFound
from bursar.catalogue.models import Backend, ProductType, ServiceProvider
from bursar.structure.roles import NotAllowed, Permission, require, roles_with
from bursar.web.catalogue_forms import AuthorizeForm, CategoryForm, ProductForm, ShelfForm
from bursar.web.forms import refusals_in
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.views.provider import (
    ABILITY_TITLES,
    can_somewhere,
    provider_asked,
    provider_filter,
    providers_of_viewer,
    seen_by,
    who_and_when,
)


# ------------------------------------------------------------------------------------------------ categories
def categories(request: HttpRequest) -> HttpResponse:
    providers = providers_of_viewer(request)
    listing = Listing(
        request,
        selectors.categories_visible_to(*seen_by(request)),
        label=_("Product categories"),
        sort="title",
        search=("title__icontains", "name__icontains"),
        columns={
            "title": Column(_("Title"), sort="title"),
            "type": Column(_("Product type"), sort="product_type"),
            "unit": Column(_("Unit"), sort="unit_name"),
            "charging": Column(_("Charged"), sort="charging"),
            "state": Column(_("State"), sort="archived_at"),
        },
        filters=(
            *provider_filter(providers),
            Filter("type", _("All product types"), ProductType.choices, "product_type"),
        ),
    )
    return page(
        request,
        "bursar/catalogue/categories.html",
        {
            "listing": listing,
            "providers": providers,
            "can_create": can_somewhere(request, providers, Permission.MANAGE_CATEGORIES),
        },
    )


def category_create(request: HttpRequest) -> HttpResponse:
    found = provider_asked(request, Permission.MANAGE_CATEGORIES)
    if found is None:
        providers = [p for p in providers_of_viewer(request) if p.revoked_at is None]
        return page(request, "bursar/provider/choose.html", {"providers": providers, "what": _("New product category")})
    form = CategoryForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            made = services.create_category(provider=found, **form.cleaned_data, **who_and_when(request))
            messages.success(request, _("The category stands. Quota can be given in it."))
            return redirect("provider_category", made.pk)
    return page(request, "bursar/catalogue/category_form.html", {"provider": found}, form=form)


def category(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = seen_by(request)
    found = selectors.category_of_provider(viewer, pk, at)
    return page(
        request,
        "bursar/catalogue/category.html",
        {
            "category": found,
            "products": found.products.order_by("archived_at", "title", "pk"),
            "offerings": selectors.offerings_of_provider(viewer, at).filter(components__category=found).distinct(),
            "can_edit": request.viewer.may(Permission.MANAGE_CATEGORIES, found.provider.organization),  # type: ignore[attr-defined]
        },
    )


def category_edit(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = seen_by(request)
    found = selectors.category_of_provider(viewer, pk, at)
    require(viewer, Permission.MANAGE_CATEGORIES, found.provider.organization, at)
    form = CategoryForm(request.POST or None, category=found)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_category(category=found, **form.cleaned_data, **who_and_when(request))
            messages.success(request, _("Saved."))
            return redirect("provider_category", pk)
    context = {"provider": found.provider, "category": found}
    return page(request, "bursar/catalogue/category_form.html", context, form=form)


@require_POST
@refusals_as_messages(to=lambda pk: reverse("provider_category", args=[pk]))
def category_archive(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = seen_by(request)
    found = selectors.category_of_provider(viewer, pk, at)
    step = services.unarchive_category if request.POST.get("step") == "unarchive" else services.archive_category
    step(category=found, **who_and_when(request))
    messages.success(request, _("Saved."))
    return redirect("provider_category", pk)


def product_form(request: HttpRequest, pk: int, product_pk: int | None = None) -> HttpResponse:
    """Add a product to a category, or change one."""
    viewer, at = seen_by(request)
    found = selectors.category_of_provider(viewer, pk, at)
    require(viewer, Permission.MANAGE_CATEGORIES, found.provider.organization, at)
    product = selectors.product_of_provider(viewer, product_pk, at) if product_pk is not None else None
    form = ProductForm(request.POST or None, category=found, product=product)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            if product is None:
                services.create_product(category=found, **form.cleaned_data, **who_and_when(request))
            else:
                changes = {key: value for key, value in form.cleaned_data.items() if key != "name"}
                services.edit_product(product=product, **changes, **who_and_when(request))
            messages.success(request, _("Saved."))
            return redirect("provider_category", pk)
    return page(request, "bursar/catalogue/product_form.html", {"category": found, "product": product}, form=form)


@require_POST
@refusals_as_messages(to=lambda pk, product_pk: reverse("provider_category", args=[pk]))
def product_archive(request: HttpRequest, pk: int, product_pk: int) -> HttpResponse:
    viewer, at = seen_by(request)
    product = selectors.product_of_provider(viewer, product_pk, at)
    step = services.unarchive_product if request.POST.get("step") == "unarchive" else services.archive_product
    step(product=product, **who_and_when(request))
    messages.success(request, _("Saved."))
    return redirect("provider_category", pk)


# ------------------------------------------------------------------------------------------------ the operator
def operator_providers(request: HttpRequest) -> HttpResponse:
    """All providers, and the form that authorizes one more."""
    viewer, at = seen_by(request)
    require(viewer, Permission.READ_PLATFORM, None, at)
    can_edit = request.viewer.may(Permission.OPERATE_PLATFORM)  # type: ignore[attr-defined]
    form = AuthorizeForm(request.POST or None)
    if request.method == "POST":
        require(viewer, Permission.OPERATE_PLATFORM, None, at)
        if form.is_valid():
            with refusals_in(form, {"already_provider": "organization"}):
                made = services.authorize_provider(**form.cleaned_data, **who_and_when(request))
                messages.success(request, _("{name} may publish offerings now.").format(name=made.organization.name))
                return redirect("operator_providers")
    listing = Listing(
        request,
        selectors.all_providers(),
        label=_("Providers"),
        sort="name",
        search=("organization__name__icontains", "organization__slug__icontains"),
        columns={
            "name": Column(_("Organization"), sort="organization__name"),
            "since": Column(_("Authorized"), sort="authorized_at"),
            "offerings": Column(_("On the shelf"), sort="active", classes="num"),
            "actions": Column(_("Actions"), hidden=True),
        },
    )
    return page(
        request, "bursar/catalogue/operator_providers.html", {"listing": listing, "can_edit": can_edit}, form=form
    )


@require_POST
@refusals_as_messages(to="/operator/providers/")
def operator_provider_step(request: HttpRequest, pk: int) -> HttpResponse:
    """Take an authorization back, or give it again."""
    found = ServiceProvider.objects.select_related("organization").filter(pk=pk).first()
    if found is None:
        raise ProviderNotFound
    if request.POST.get("step") == "authorize":
        services.authorize_provider(organization=found.organization, **who_and_when(request))
    else:
        reason = request.POST.get("reason", "") or _("The provider is no longer authorized.")
        services.revoke_provider(provider=found, reason=reason, **who_and_when(request))
    messages.success(request, _("Saved."))
    return redirect("operator_providers")


def operator_shelves(request: HttpRequest) -> HttpResponse:
    viewer, at = seen_by(request)
    require(viewer, Permission.OPERATE_PLATFORM, None, at)
    rows = selectors.shelf_tree(selectors.offerings_visible_to(viewer, at))
    return page(request, "bursar/catalogue/operator_shelves.html", {"rows": rows})


def operator_shelf(request: HttpRequest, pk: int | None = None) -> HttpResponse:
    """Put up a shelf, or change or move one."""
    viewer, at = seen_by(request)
    require(viewer, Permission.OPERATE_PLATFORM, None, at)
    shelf = selectors.shelf_by_id(pk) if pk is not None else None
    form = ShelfForm(
        request.POST or None,
        rows=selectors.shelf_tree(),
        shelf=shelf,
        **({} if shelf else {"initial": {"parent": request.GET.get("parent")}}),
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"shelf_cycle": "parent"}):
            if shelf is None:
                services.create_shelf(**form.cleaned_data, **who_and_when(request))
            else:
                services.edit_shelf(shelf=shelf, **form.cleaned_data, **who_and_when(request))
            messages.success(request, _("Saved."))
            return redirect("operator_shelves")
    return page(request, "bursar/catalogue/operator_shelf_form.html", {"shelf": shelf}, form=form)


@require_POST
@refusals_as_messages(to="/operator/shelves/")
def operator_shelf_delete(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = seen_by(request)
    require(viewer, Permission.OPERATE_PLATFORM, None, at)
    services.delete_shelf(shelf=selectors.shelf_by_id(pk), **who_and_when(request))
    messages.success(request, _("The shelf is removed."))
    return redirect("operator_shelves")


def plugins(request: HttpRequest) -> HttpResponse:
    """The registry: each plugin with what it can do, and the configured backends the viewer may see."""
    needs = {Permission.READ_PLATFORM, Permission.MANAGE_BACKENDS}
    if request.viewer.permissions.isdisjoint(needs):  # type: ignore[attr-defined]
        roles = sorted(str(role.title) for role in roles_with(Permission.MANAGE_BACKENDS))
        raise NotAllowed(permission=Permission.MANAGE_BACKENDS.value, roles=", ".join(roles))
    used: dict[str, list[Backend]] = {}
    for backend in selectors.backends_visible_to(*seen_by(request)):
        used.setdefault(backend.plugin, []).append(backend)
    entries: list[dict[str, Any]] = [
        {
            "plugin": entry,
            "abilities": [ABILITY_TITLES[name] for name in entry.abilities],
            "backends": used.pop(entry.key, []),
        }
        for entry in registry.installed()
    ]
    return page(
        request,
        "bursar/catalogue/plugins.html",
        {"entries": entries, "broken": registry.broken(), "lost": sorted(used.items())},
    )


urlpatterns = [
    path("provider/categories/", categories, name="provider_categories"),
    path("provider/categories/new/", category_create, name="provider_category_create"),
    path("provider/categories/<int:pk>/", category, name="provider_category"),
    path("provider/categories/<int:pk>/edit/", category_edit, name="provider_category_edit"),
    path("provider/categories/<int:pk>/archive/", category_archive, name="provider_category_archive"),
    path("provider/categories/<int:pk>/products/new/", product_form, name="provider_product_create"),
    path("provider/categories/<int:pk>/products/<int:product_pk>/", product_form, name="provider_product_edit"),
    path(
        "provider/categories/<int:pk>/products/<int:product_pk>/archive/",
        product_archive,
        name="provider_product_archive",
    ),
    path("operator/providers/", operator_providers, name="operator_providers"),
    path("operator/providers/<int:pk>/step/", operator_provider_step, name="operator_provider_step"),
    path("operator/shelves/", operator_shelves, name="operator_shelves"),
    path("operator/shelves/new/", operator_shelf, name="operator_shelf_create"),
    path("operator/shelves/<int:pk>/", operator_shelf, name="operator_shelf"),
    path("operator/shelves/<int:pk>/delete/", operator_shelf_delete, name="operator_shelf_delete"),
    path("operator/plugins/", plugins, name="operator_plugins"),
]
