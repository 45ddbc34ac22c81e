"""A provider's own pages: profile, backends, and the offerings from draft to shelf."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from bursar.catalogue import registry, selectors, services
from bursar.catalogue.errors import InvalidOrderForm, PluginBroken, PluginNotFound, ProviderNotFound
from bursar.catalogue.models import Backend, Component, Offering, ServiceProvider
from bursar.catalogue.order_form import validate_schema
from bursar.plugins.contract import PROTOCOLS
from bursar.provisioning import selectors as provisioning
from bursar.provisioning.services.account_policies import policy_of
from bursar.structure.roles import Permission, require
from bursar.web import panels
from bursar.web.agent_status import (
    COMMANDS,
    CONFIGURATION_FILE,
    INSTALL,
    TOKEN_FILE,
    clock_difference,
    configuration_for,
    read_declared,
    read_rival,
    read_status,
)
from bursar.web.backend_form import BackendForm
from bursar.web.catalogue_forms import (
    AccessForm,
    ComponentForm,
    ConnectForm,
    CopyForm,
    FormFieldSet,
    JsonForm,
    OfferingCreateForm,
    OfferingTextForm,
    PauseForm,
    PlanForm,
    PricesForm,
    ProviderForm,
    SiteBackendForm,
    VisibilityForm,
    rows_of_schema,
    schema_of_rows,
)
from bursar.web.forms import refusals_in
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.order_form import SchemaForm
from bursar.web.viewer import Viewer

TABS = (
    ("provider_offering", gettext_lazy("Overview"), "checklist"),
    ("provider_offering_texts", gettext_lazy("Texts"), "file-text"),
    ("provider_offering_backend", gettext_lazy("Backend"), "plug"),
    ("provider_offering_components", gettext_lazy("Components"), "gauge"),
    ("provider_offering_plans", gettext_lazy("Plans and prices"), "coin"),
    ("provider_offering_form", gettext_lazy("Order form"), "clipboard-list"),
    ("provider_offering_visibility", gettext_lazy("Visibility"), "eye"),
    ("provider_offering_access", gettext_lazy("Access"), "key"),
    ("offering_approval", gettext_lazy("Approval"), "users"),
)

# Where each requirement of the checklist is met.
TAB_OF = {
    "basics": "provider_offering_texts",
    "shelf": "provider_offering_texts",
    "backend": "provider_offering_backend",
    "backend_works": "provider_offering_backend",
    "components": "provider_offering_components",
    "categories": "provider_offering_components",
    "use_counted": "provider_offering_components",
    "plans": "provider_offering_plans",
    "prices": "provider_offering_plans",
    "order_form": "provider_offering_form",
    "visibility": "provider_offering_visibility",
}


def who_and_when(request: HttpRequest) -> dict[str, Any]:
    """Who does it and when, for a service."""
    return {"by": request.viewer.person, "at": request.at}  # type: ignore[attr-defined]


def seen_by(request: HttpRequest) -> tuple[Any, Any]:
    return request.viewer.person, request.at  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ the provider
def providers_of_viewer(request: HttpRequest) -> list[ServiceProvider]:
    return list(selectors.providers_visible_to(*seen_by(request)))


def provider_filter(
    providers: list[ServiceProvider], lookup: str = "provider__organization__slug"
) -> tuple[Filter, ...]:
    """A filter by provider where the viewer sees more than one."""
    if len(providers) < 2:
        return ()
    return (Filter("provider", _("All providers"), [(p.organization.slug, str(p)) for p in providers], lookup),)


def provider_home(request: HttpRequest) -> HttpResponse:
    """To the only provider the viewer belongs to, or the list of them."""
    providers = providers_of_viewer(request)
    if len(providers) == 1:
        return redirect("provider", providers[0].organization.slug)
    return page(request, "bursar/provider/providers.html", {"providers": providers})


def provider(request: HttpRequest, slug: str) -> HttpResponse:
    viewer, at = seen_by(request)
    found = selectors.provider_for(viewer, slug, at)
    return page(
        request,
        "bursar/provider/provider.html",
        {
            "provider": found,
            "overview": selectors.provider_overview(found, at),
            "can_edit": request.viewer.may(Permission.EDIT_PROVIDER, found.organization),  # type: ignore[attr-defined]
        },
    )


def provider_edit(request: HttpRequest, slug: str) -> HttpResponse:
    viewer, at = seen_by(request)
    found = selectors.provider_for(viewer, slug, at)
    require(viewer, Permission.EDIT_PROVIDER, found.organization, at)
    initial = {"description": found.description, "contact_email": found.contact_email}
    form = ProviderForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_provider(provider=found, **who_and_when(request), **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("provider", slug)
    return page(request, "bursar/provider/provider_form.html", {"provider": found}, form=form)


# ------------------------------------------------------------------------------------------------ backends
@panels.register("backends", order=15)
def broken_backends(viewer: Viewer) -> panels.Panel | None:
    """Backends that do not work, for those who can mend them."""
    if viewer.person is None or Permission.MANAGE_BACKENDS not in viewer.permissions:
        return None
    found = list(selectors.backends_visible_to(viewer.person, viewer.at).filter(enabled=True, health="broken")[:10])
    if not found:
        return None
    return panels.Panel(
        _("Backends that do not work"),
        "bursar/provider/panel_backends.html",
        "plug-connected-x",
        found,
        url=f"{reverse('provider_backends')}?health=broken",
        count=len(found),
    )


def backends(request: HttpRequest) -> HttpResponse:
    providers = providers_of_viewer(request)
    listing = Listing(
        request,
        selectors.backends_visible_to(*seen_by(request)),
        label=_("Backends"),
        sort="name",
        search=("name__icontains", "plugin__icontains"),
        columns={
            "name": Column(_("Name"), sort="name"),
            "plugin": Column(_("Plugin"), sort="plugin"),
            "runs": Column(_("Runs"), sort="runs_at"),
            "health": Column(_("Health"), sort="health"),
            "checked": Column(_("Last test"), sort="checked_at"),
            "offerings": Column(_("Offerings"), sort="offering_count", classes="num"),
        },
        filters=(
            *provider_filter(providers),
            Filter(
                "health",
                _("Any health"),
                [
                    ("ok", _("OK")),
                    ("warning", _("Warning")),
                    ("broken", _("Broken")),
                    ("unknown", _("Not checked yet")),
                ],
                "health",
            ),
            Filter("runs", _("Anywhere"), Backend.RunsAt.choices, "runs_at"),
        ),
    )
    titles = {entry.key: entry.title for entry in registry.installed()}
    for row in listing.rows:
        row.agent_now = row.agent_state(request.at)  # type: ignore[attr-defined]
        row.plugin_title = titles.get(row.plugin, row.plugin)  # one at a site may be known there alone
    return page(
        request,
        "bursar/provider/backends.html",
        {"listing": listing, "providers": providers, "can_create": can_somewhere(request, providers)},
    )


def can_somewhere(
    request: HttpRequest, providers: list[ServiceProvider], permission: Permission = Permission.MANAGE_BACKENDS
) -> bool:
    return bool(providers) and permission in request.viewer.permissions  # type: ignore[attr-defined]


def provider_asked(request: HttpRequest, permission: Permission) -> ServiceProvider | None:
    """The provider that the address names, or the only one there is; None where one has to be chosen.

    raises   ProviderNotFound; NotAllowed
    """
    viewer, at = seen_by(request)
    slug = request.GET.get("provider", "")
    providers = [p for p in providers_of_viewer(request) if p.revoked_at is None]
    if slug:
        found = selectors.provider_for(viewer, slug, at)
    elif len(providers) == 1:
        found = providers[0]
    elif not providers:
        raise ProviderNotFound
    else:
        return None
    require(viewer, permission, found.organization, at)
    return found


AT_SITE = Backend.RunsAt.SITE.value
ANOTHER = "another"  # a plugin that is not installed here, whose key is typed in


def backend_create(request: HttpRequest) -> HttpResponse:
    """Choose where it runs and the plugin, then fill in what its settings ask for: at the site nothing but its name."""
    found = provider_asked(request, Permission.MANAGE_BACKENDS)
    providers = [p for p in providers_of_viewer(request) if p.revoked_at is None]
    key, at_site = request.GET.get("plugin", ""), request.GET.get("runs") == AT_SITE
    if found is None or not (key or (at_site and ANOTHER in request.GET)):
        return page(
            request,
            "bursar/provider/backend_plugin.html",
            {
                "provider": found,
                "providers": providers,
                "plugins": registry.installed(),
                "broken": [] if at_site else registry.broken(),
                "at_site": at_site,
            },
        )
    if at_site:
        return _connect_at_site(request, found, key)
    plugin = registry.entry(key)
    form = BackendForm(plugin.plugin.Settings, request.POST or None, operator=_is_operator(request))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            backend = services.create_backend(
                provider=found,
                name=form.cleaned_data["backend_name"],
                plugin=key,
                values=form.settings_values(),
                **who_and_when(request),
            )
            services.check_backend(backend=backend, **who_and_when(request))
            messages.success(request, _("Connected. This is what the first test found."))
            return redirect("provider_backend", backend.pk)
    return page(request, "bursar/provider/backend_form.html", {"provider": found, "plugin": plugin}, form=form)


def _connect_at_site(request: HttpRequest, found: ServiceProvider, key: str) -> HttpResponse:
    plugin = registry.entry(key) if key else None
    form = SiteBackendForm(request.POST or None, plugin=key)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            backend = services.create_backend(
                provider=found,
                name=form.cleaned_data["name"],
                plugin=key or form.cleaned_data["plugin"],
                values={},
                runs_at=AT_SITE,
                **who_and_when(request),
            )
            messages.success(request, _("It is known now. Set up its agent: this page says how."))
            return redirect("provider_backend", backend.pk)
    context = {"provider": found, "plugin": plugin, "at_site": True}
    return page(request, "bursar/provider/backend_form.html", context, form=form)


def backend(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = seen_by(request)
    found = selectors.backend_of_provider(viewer, pk, at)
    can_edit = request.viewer.may(Permission.MANAGE_BACKENDS, found.provider.organization)  # type: ignore[attr-defined]
    plugin, trouble, rows = None, "", []
    try:
        plugin = registry.entry(found.plugin)
        rows = _settings_rows(plugin.plugin, found) if can_edit and not found.at_site else []
    except (PluginNotFound, PluginBroken) as refusal:
        trouble = "" if found.at_site else str(refusal)
    return page(
        request,
        "bursar/provider/backend.html",
        {
            "backend": found,
            "plugin": plugin,
            "trouble": trouble,
            "settings": rows,
            "abilities": _abilities(found) if (found.declared if found.at_site else plugin) else [],
            "offerings": found.offerings.order_by("name", "pk"),
            "can_edit": can_edit,
            "policy": policy_of(found),
            "set_aside": provisioning.records_set_aside(found).count(),
            **(_site_context(found, plugin, at) if found.at_site else {}),
        },
    )


def _site_context(found: Backend, plugin: registry.InstalledPlugin | None, at: datetime) -> dict[str, Any]:
    """What the page of a backend at the site shows beside the usual: its agent, and how to set one up."""
    agent = found.agent
    status = read_status(agent.status if agent is not None else None)
    return {
        "declared": read_declared(found.declared),
        "agent": agent,
        "agent_now": found.agent_state(at),
        "status": status,
        "resources": provisioning.resources_named(found.provider, status.resource_ids),
        "rival": read_rival(agent.rival) if agent is not None else None,
        "clock": clock_difference(agent) if agent is not None else None,
        "configuration": configuration_for(found, plugin.plugin.Settings if plugin else None, settings.BASE_URL),
        "configuration_file": CONFIGURATION_FILE,
        "token_file": TOKEN_FILE,
        "token_name": f"bursar agent, {found.name}"[:100],
        "provider_name": str(found.provider),
        "base_url": settings.BASE_URL,
        "install": INSTALL,
        "commands": COMMANDS,
    }


def _settings_rows(plugin: Any, found: Backend) -> list[dict[str, Any]]:
    """Each setting as the page tells it; of a secret only whether it is set."""
    names = registry.secret_names(plugin.Settings)
    set_names = selectors.secrets_set(found) if names else frozenset()
    rows = []
    for key, info in plugin.Settings.model_fields.items():
        title = _(info.title) if info.title else key.replace("_", " ").capitalize()
        if key in names:
            rows.append({"title": title, "secret": True, "is_set": key in set_names})
        else:
            rows.append({"title": title, "secret": False, "value": _told(found.settings.get(key))})
    return rows


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if isinstance(value, dict):
        return ", ".join(f"{key} = {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "" if value is None else str(value)


def backend_edit(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = seen_by(request)
    found = selectors.backend_of_provider(viewer, pk, at)
    require(viewer, Permission.MANAGE_BACKENDS, found.provider.organization, at)
    if found.at_site:
        return _rename_at_site(request, found)
    plugin = registry.entry(found.plugin)
    form = BackendForm(
        plugin.plugin.Settings,
        request.POST or None,
        name=found.name,
        stored=found.settings,
        secrets_set=selectors.secrets_set(found),
        operator=_is_operator(request),
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_backend(
                backend=found,
                name=form.cleaned_data["backend_name"],
                values=form.settings_values(),
                **who_and_when(request),
            )
            messages.success(request, _("Saved. Test it to see whether it still works."))
            return redirect("provider_backend", found.pk)
    context = {"provider": found.provider, "plugin": plugin, "backend": found}
    return page(request, "bursar/provider/backend_form.html", context, form=form)


def _rename_at_site(request: HttpRequest, found: Backend) -> HttpResponse:
    form = SiteBackendForm(request.POST or None, plugin=found.plugin, name=found.name)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_backend(backend=found, name=form.cleaned_data["name"], **who_and_when(request))
            messages.success(request, _("Saved. Write the new name into the agent's file as well."))
            return redirect("provider_backend", found.pk)
    context = {"provider": found.provider, "backend": found, "at_site": True}
    return page(request, "bursar/provider/backend_form.html", context, form=form)


def _is_operator(request: HttpRequest) -> bool:
    return bool(request.viewer.may(Permission.OPERATE_PLATFORM, None))  # type: ignore[attr-defined]


def _to_backend(request: HttpRequest, pk: int) -> Backend:
    viewer, at = seen_by(request)
    return selectors.backend_of_provider(viewer, pk, at)


@require_POST
@refusals_as_messages(to=lambda pk: reverse("provider_backend", args=[pk]))
def backend_test(request: HttpRequest, pk: int) -> HttpResponse:
    checked = services.check_backend(backend=_to_backend(request, pk), **who_and_when(request))
    said = {
        "ok": _("Its agent last found that it works.") if checked.at_site else _("It works."),
        "warning": _("It works, with warnings: see the findings."),
        "broken": _("It does not work: see the findings."),
    }.get(checked.health, _("Its settings changed during the test. Test it again."))
    (messages.success if checked.health == "ok" else messages.warning)(request, said)
    return redirect("provider_backend", pk)


@require_POST
@refusals_as_messages(to=lambda pk: reverse("provider_backend", args=[pk]))
def backend_switch(request: HttpRequest, pk: int) -> HttpResponse:
    enabled = request.POST.get("enabled") == "yes"
    services.set_backend_enabled(backend=_to_backend(request, pk), enabled=enabled, **who_and_when(request))
    messages.success(request, _("It is switched on.") if enabled else _("It is switched off."))
    return redirect("provider_backend", pk)


@require_POST
@refusals_as_messages(to=lambda pk: reverse("provider_backend", args=[pk]))
def backend_delete(request: HttpRequest, pk: int) -> HttpResponse:
    services.delete_backend(backend=_to_backend(request, pk), **who_and_when(request))
    messages.success(request, _("The backend is removed."))
    return redirect("provider_backends")


ABILITY_TITLES = {
    "provisions": gettext_lazy("makes and removes resources"),
    "pauses": gettext_lazy("pauses and resumes"),
    "enforces_quota": gettext_lazy("enforces quota"),
    "manages_accounts": gettext_lazy("makes local accounts"),
    "ends_accounts": gettext_lazy("blocks and ends local accounts"),
    "manages_groups": gettext_lazy("keeps a group for each project"),
    "manages_members": gettext_lazy("keeps members"),
    "measures_usage": gettext_lazy("measures usage"),
    "imports": gettext_lazy("imports what exists"),
    "actions": gettext_lazy("offers actions"),
}


def _abilities(backend: Backend) -> list[tuple[str, bool]]:
    able = registry.abilities_of(backend)
    return [(str(ABILITY_TITLES[name]), name in able) for name in PROTOCOLS]


# ------------------------------------------------------------------------------------------------ offerings
def offerings(request: HttpRequest) -> HttpResponse:
    providers = providers_of_viewer(request)
    listing = Listing(
        request,
        selectors.offerings_of_provider(*seen_by(request)),
        label=_("Offerings"),
        sort="name",
        search=("name__icontains", "summary__icontains"),
        columns={
            "name": Column(_("Name"), sort="name"),
            "shelf": Column(_("Shelf"), sort="shelf__title"),
            "backend": Column(_("Backend"), sort="backend__name"),
            "state": Column(_("State"), sort="state"),
        },
        filters=(
            *provider_filter(providers),
            Filter(
                "state",
                _("Any state"),
                [("draft", _("Draft")), ("active", _("Active")), ("paused", _("Paused")), ("archived", _("Archived"))],
                "state",
            ),
        ),
    )
    return page(
        request,
        "bursar/provider/offerings.html",
        {
            "listing": listing,
            "providers": providers,
            "can_create": can_somewhere(request, providers, Permission.MANAGE_OFFERINGS),
        },
    )


def offering_create(request: HttpRequest) -> HttpResponse:
    viewer, at = seen_by(request)
    providers = selectors.providers_visible_to(viewer, at).filter(revoked_at=None)
    if not providers:
        raise ProviderNotFound
    found = provider_asked(request, Permission.MANAGE_OFFERINGS)
    form = OfferingCreateForm(
        request.POST or None,
        providers=providers.filter(pk=found.pk) if found else providers,
        rows=selectors.shelf_tree(),
        initial={"provider": found.pk if found else None, "backend": request.GET.get("backend")},
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            made = services.create_offering(**form.cleaned_data, **who_and_when(request))
            messages.success(request, _("The draft stands. The checklist says what it still needs."))
            return redirect("provider_offering", made.pk)
    return page(request, "bursar/provider/offering_create.html", {"provider": found}, form=form)


def offering_editor(request: HttpRequest, pk: int, *, edit: bool = True) -> tuple[Offering, dict[str, Any]]:
    """The offering and what all its tabs show; refuses who may not edit when the tab is a form that was sent."""
    viewer, at = seen_by(request)
    found = selectors.offering_of_provider(viewer, pk, at)
    organization = found.provider.organization
    can_edit = request.viewer.may(Permission.MANAGE_OFFERINGS, organization)  # type: ignore[attr-defined]
    if edit and request.method == "POST":
        require(viewer, Permission.MANAGE_OFFERINGS, organization, at)
    items = selectors.publication_checklist(found)
    here = (request.resolver_match.url_name if request.resolver_match else "") or ""
    context = {
        "offering": found,
        "can_edit": can_edit,
        "checklist": [
            (item, reverse(TAB_OF[item.requirement], args=[pk]) if item.requirement in TAB_OF else "") for item in items
        ],
        "missing_count": sum(item.missing for item in items),
        "tabs": [
            (reverse(name, args=[pk]), title, icon, here.startswith(name) and (name != TABS[0][0] or here == name))
            for name, title, icon in TABS
        ],
    }
    return found, context


def offering(request: HttpRequest, pk: int) -> HttpResponse:
    found, context = offering_editor(request, pk)
    context["pause_form"] = PauseForm()
    context["copy_form"] = CopyForm(initial={"name": _("{name} (copy)").format(name=found.name)})
    return page(request, "bursar/provider/offering.html", context)


def _saved(request: HttpRequest, name: str, pk: int) -> HttpResponseRedirect:
    messages.success(request, _("Saved."))
    return redirect(name, pk)


def offering_texts(request: HttpRequest, pk: int) -> HttpResponse:
    found, context = offering_editor(request, pk)
    form = OfferingTextForm(request.POST or None, offering=found, rows=selectors.shelf_tree())
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_offering(offering=found, **form.cleaned_data, **who_and_when(request))
            return _saved(request, "provider_offering_texts", pk)
    return page(request, "bursar/provider/offering_form_tab.html", context, form=form)


def offering_access(request: HttpRequest, pk: int) -> HttpResponse:
    found, context = offering_editor(request, pk)
    form = AccessForm(request.POST or None, initial={"access_instructions": found.access_instructions})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_offering(offering=found, **form.cleaned_data, **who_and_when(request))
            return _saved(request, "provider_offering_access", pk)
    context["preview"] = found.access_instructions
    return page(request, "bursar/provider/offering_form_tab.html", context, form=form)


def offering_backend(request: HttpRequest, pk: int) -> HttpResponse:
    found, context = offering_editor(request, pk)
    form = ConnectForm(request.POST or None, offering=found)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"offering_kept": "backend"}):
            services.connect_offering(offering=found, backend=form.cleaned_data["backend"], **who_and_when(request))
            return _saved(request, "provider_offering_backend", pk)
    backend = found.backend
    context["can_take_over"] = (
        backend is not None
        and "imports" in registry.abilities_of(backend)
        and request.viewer.may(Permission.HANDLE_ORDERS, found.provider.organization)  # type: ignore[attr-defined]
    )
    return page(request, "bursar/provider/offering_backend.html", context, form=form)


def offering_visibility(request: HttpRequest, pk: int) -> HttpResponse:
    found, context = offering_editor(request, pk)
    form = VisibilityForm(request.POST or None, offering=found)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"offering_incomplete": "visibility"}):
            services.set_visibility(
                offering=found,
                visibility=form.cleaned_data["visibility"],
                organizations=list(form.cleaned_data["organizations"]),
                projects=list(form.cleaned_data["projects"]),
                **who_and_when(request),
            )
            return _saved(request, "provider_offering_visibility", pk)
    return page(request, "bursar/provider/offering_visibility.html", context, form=form)


# ------------------------------------------------------------------------------------------------ components
def offering_components(request: HttpRequest, pk: int) -> HttpResponse:
    _found, context = offering_editor(request, pk)
    return page(request, "bursar/provider/offering_components.html", context)


def component_form(request: HttpRequest, pk: int, component_pk: int | None = None) -> HttpResponse:
    """Add a component, or change one."""
    found, context = offering_editor(request, pk)
    component = selectors.component_of_offering(found, component_pk) if component_pk is not None else None
    form = ComponentForm(request.POST or None, offering=found, component=component)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            if component is None:
                services.add_component(offering=found, **form.cleaned_data, **who_and_when(request))
            else:
                services.edit_component(component=component, **form.cleaned_data, **who_and_when(request))
            return _saved(request, "provider_offering_components", pk)
    return page(request, "bursar/provider/offering_component_form.html", {**context, "component": component}, form=form)


@require_POST
@refusals_as_messages(to=lambda pk, component_pk: reverse("provider_offering_components", args=[pk]))
def component_remove(request: HttpRequest, pk: int, component_pk: int) -> HttpResponse:
    found, _context = offering_editor(request, pk)
    services.remove_component(component=selectors.component_of_offering(found, component_pk), **who_and_when(request))
    messages.success(request, _("The component is removed."))
    return redirect("provider_offering_components", pk)


# ------------------------------------------------------------------------------------------------ plans
def offering_plans(request: HttpRequest, pk: int) -> HttpResponse:
    _viewer, at = seen_by(request)
    found, context = offering_editor(request, pk)
    plans = list(found.plans.all())
    ids = [plan.pk for plan in plans]
    prices = selectors.prices_in_force(ids, at)
    components = list(found.components.all())
    coming = selectors.prices_to_come(ids, at)
    context["plans"] = [
        {
            "plan": plan,
            "organizations": list(plan.organizations.all()),
            "rows": [(c, prices.get((plan.pk, c.pk))) for c in components],
            "coming": [price for price in coming if price.plan_id == plan.pk],
        }
        for plan in plans
    ]
    context["currency"] = found.provider.organization.currency
    return page(request, "bursar/provider/offering_plans.html", context)


def plan_form(request: HttpRequest, pk: int, plan_pk: int | None = None) -> HttpResponse:
    """Add a plan, or change one."""
    found, context = offering_editor(request, pk)
    plan = selectors.plan_of_offering(found, plan_pk) if plan_pk is not None else None
    form = PlanForm(request.POST or None, offering=found, plan=plan)
    if request.method == "POST" and form.is_valid():
        values = {**form.cleaned_data, "organizations": list(form.cleaned_data["organizations"])}
        with refusals_in(form):
            if plan is None:
                made = services.add_plan(offering=found, **values, **who_and_when(request))
                messages.success(request, _("The plan stands. Now say what it costs; without prices it is free."))
                return redirect("provider_offering_plans_prices", pk, made.pk)
            services.edit_plan(plan=plan, **values, **who_and_when(request))
            return _saved(request, "provider_offering_plans", pk)
    return page(request, "bursar/provider/offering_plan_form.html", {**context, "plan": plan}, form=form)


def plan_prices(request: HttpRequest, pk: int, plan_pk: int) -> HttpResponse:
    _viewer, at = seen_by(request)
    found, context = offering_editor(request, pk)
    plan = selectors.plan_of_offering(found, plan_pk)
    components: list[Component] = list(found.components.all())
    in_force = {c: row for (_plan, c), row in selectors.prices_in_force([plan.pk], at).items()}
    currency = found.provider.organization.currency
    form = PricesForm(request.POST or None, components=components, in_force=in_force, currency=currency)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"price_in_the_past": "valid_from"}):
            services.set_prices(
                plan=plan, prices=form.prices(), valid_from=form.cleaned_data["valid_from"], **who_and_when(request)
            )
            return _saved(request, "provider_offering_plans", pk)
    context |= {"plan": plan, "currency": currency}
    return page(request, "bursar/provider/offering_prices.html", context, form=form)


@require_POST
@refusals_as_messages(to=lambda pk, plan_pk: reverse("provider_offering_plans", args=[pk]))
def plan_step(request: HttpRequest, pk: int, plan_pk: int) -> HttpResponse:
    """Archive a plan, take it back, or remove it from a draft."""
    found, _context = offering_editor(request, pk)
    plan = selectors.plan_of_offering(found, plan_pk)
    steps: dict[str, Callable[..., Any]] = {
        "archive": services.archive_plan,
        "unarchive": services.unarchive_plan,
        "remove": services.remove_plan,
    }
    step = steps.get(request.POST.get("step", ""))
    if step is not None:
        step(plan=plan, **who_and_when(request))
        messages.success(request, _("Saved."))
    return redirect("provider_offering_plans", pk)


# ------------------------------------------------------------------------------------------------ the order form
def offering_form(request: HttpRequest, pk: int) -> HttpResponse:
    """The editor of the order form: rows, or (name=json) the schema itself."""
    found, context = offering_editor(request, pk)
    as_json = JsonForm(initial={"schema": json.dumps(found.order_form, indent=2, ensure_ascii=False)})
    rows = FormFieldSet(initial=rows_of_schema(found.order_form), prefix="f")
    preview: SchemaForm | None = SchemaForm(found.order_form, prefix="preview")
    problems: dict[str, str] = {}
    status = 200
    if request.method == "POST" and "schema" in request.POST:
        as_json = JsonForm(request.POST)
        if as_json.is_valid() and _set_form(request, found, as_json.cleaned_data["schema"], problems):
            return _saved(request, "provider_offering_form", pk)
        status = 422
    elif request.method == "POST":
        rows = FormFieldSet(request.POST, prefix="f")
        if request.POST.get("step") == "add":
            rows = _with_one_more(request)
        elif rows.is_valid() and _set_form(request, found, schema_of_rows(rows), problems):
            return _saved(request, "provider_offering_form", pk)
        else:
            status = 422
        preview, _problems = _preview(rows)
    context |= {"rows": rows, "as_json": as_json, "preview_form": preview, "problems": problems}
    answer = page(request, "bursar/provider/offering_order_form.html", context)
    answer.status_code = status
    return answer


def _set_form(request: HttpRequest, found: Offering, schema: Any, problems: dict[str, str]) -> bool:
    try:
        services.set_order_form(offering=found, schema=schema, **who_and_when(request))
    except InvalidOrderForm as refusal:
        problems.update(refusal.errors)
        return False
    return True


def _with_one_more(request: HttpRequest) -> Any:
    data = request.POST.copy()
    data["f-TOTAL_FORMS"] = str(min(40, int(data.get("f-TOTAL_FORMS") or 0) + 1))
    return FormFieldSet(data, prefix="f")


def _preview(rows: Any) -> tuple[SchemaForm | None, dict[str, str]]:
    """The form as its readers would see it, of what is typed so far."""
    typed = [row for row in rows if row.is_valid()]
    try:
        return SchemaForm(validate_schema(schema_of_rows(typed)), prefix="preview"), {}
    except InvalidOrderForm as refusal:
        return None, dict(refusal.errors)


@require_POST
def offering_form_preview(request: HttpRequest, pk: int) -> HttpResponse:
    """A part of the page: nothing is saved."""
    found, _context = offering_editor(request, pk)
    preview, problems = _preview(FormFieldSet(request.POST, prefix="f"))
    return page(
        request,
        "bursar/provider/offering_form_preview.html",
        {"offering": found, "preview_form": preview, "problems": problems},
    )


# ------------------------------------------------------------------------------------------------ its life
@require_POST
@refusals_as_messages(to=lambda pk: reverse("provider_offering", args=[pk]))
def offering_step(request: HttpRequest, pk: int) -> HttpResponse:
    """Activate, pause, archive, reopen, copy or delete."""
    found, _context = offering_editor(request, pk)
    step = request.POST.get("step", "")
    doer = who_and_when(request)
    if step == "delete":
        services.delete_draft(offering=found, **doer)
        messages.success(request, _("The draft is deleted."))
        return redirect("provider_offerings")
    if step == "copy":
        copy = services.copy_offering(offering=found, name=request.POST.get("name", ""), **doer)
        messages.success(request, _("This is the copy, a draft."))
        return redirect("provider_offering", copy.pk)
    if step == "pause":
        services.pause_offering(offering=found, reason=request.POST.get("reason", ""), **doer)
        messages.success(request, _("It takes no new orders now."))
    elif step == "activate":
        services.activate_offering(offering=found, **doer)
        messages.success(request, _("It stands in the marketplace."))
    elif step == "archive":
        services.archive_offering(offering=found, **doer)
        messages.success(request, _("It has left the marketplace."))
    elif step == "reopen":
        services.reopen_offering(offering=found, **doer)
        messages.success(request, _("It is back, paused. Activate it when it may be ordered."))
    return redirect("provider_offering", pk)


_OFFERING = "provider/offerings/<int:pk>"

urlpatterns = [
    path("provider/", provider_home, name="provider_home"),
    path("providers/<slug:slug>/", provider, name="provider"),
    path("providers/<slug:slug>/edit/", provider_edit, name="provider_edit"),
    path("provider/backends/", backends, name="provider_backends"),
    path("provider/backends/new/", backend_create, name="provider_backend_create"),
    path("provider/backends/<int:pk>/", backend, name="provider_backend"),
    path("provider/backends/<int:pk>/edit/", backend_edit, name="provider_backend_edit"),
    path("provider/backends/<int:pk>/test/", backend_test, name="provider_backend_test"),
    path("provider/backends/<int:pk>/switch/", backend_switch, name="provider_backend_switch"),
    path("provider/backends/<int:pk>/delete/", backend_delete, name="provider_backend_delete"),
    path("provider/offerings/", offerings, name="provider_offerings"),
    path("provider/offerings/new/", offering_create, name="provider_offering_create"),
    path(f"{_OFFERING}/", offering, name="provider_offering"),
    path(f"{_OFFERING}/texts/", offering_texts, name="provider_offering_texts"),
    path(f"{_OFFERING}/backend/", offering_backend, name="provider_offering_backend"),
    path(f"{_OFFERING}/components/", offering_components, name="provider_offering_components"),
    path(f"{_OFFERING}/components/new/", component_form, name="provider_offering_components_new"),
    path(f"{_OFFERING}/components/<int:component_pk>/", component_form, name="provider_offering_components_edit"),
    path(f"{_OFFERING}/components/<int:component_pk>/remove/", component_remove, name="provider_component_remove"),
    path(f"{_OFFERING}/plans/", offering_plans, name="provider_offering_plans"),
    path(f"{_OFFERING}/plans/new/", plan_form, name="provider_offering_plans_new"),
    path(f"{_OFFERING}/plans/<int:plan_pk>/", plan_form, name="provider_offering_plans_edit"),
    path(f"{_OFFERING}/plans/<int:plan_pk>/prices/", plan_prices, name="provider_offering_plans_prices"),
    path(f"{_OFFERING}/plans/<int:plan_pk>/step/", plan_step, name="provider_plan_step"),
    path(f"{_OFFERING}/form/", offering_form, name="provider_offering_form"),
    path(f"{_OFFERING}/form/preview/", offering_form_preview, name="provider_offering_form_preview"),
    path(f"{_OFFERING}/visibility/", offering_visibility, name="provider_offering_visibility"),
    path(f"{_OFFERING}/access/", offering_access, name="provider_offering_access"),
    path(f"{_OFFERING}/step/", offering_step, name="provider_offering_step"),
]
