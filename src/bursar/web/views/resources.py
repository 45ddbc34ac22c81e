"""Resources: lists of both sides, a resource's own page with its usage, and what may be done to it."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_POST

from bursar.catalogue import selectors as catalogue
from bursar.catalogue.order_form import form_fields
from bursar.kernel.refusals import words
from bursar.plugins.contract import ManagesMembers, Pauses
from bursar.provisioning import selectors, services
from bursar.provisioning.abilities import can
from bursar.provisioning.errors import AbilityMissing, BackendMissing, ImportableUnknown, TakeOversAtFault
from bursar.provisioning.lifecycle import LIVE_RESOURCE_STATES, RESOURCE_STATE_TITLES, ResourceState
from bursar.provisioning.models import AccountPolicy, Resource
from bursar.provisioning.selectors import ComponentUsage, ResourceDetails
from bursar.provisioning.services.imports import AT_ONCE_MAX as TAKEN_AT_ONCE
from bursar.provisioning.services.messages import post_message
from bursar.provisioning.services.resources import actions_of
from bursar.structure.models import Person, Project
from bursar.structure.roles import Permission, may, require
from bursar.structure.selectors import organization_seen, project_seen
from bursar.web.forms import refusals_in
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.order_form import SchemaForm
from bursar.web.orders_forms import ChangeForm, MessageForm
from bursar.web.panels import Panel, register
from bursar.web.resources_forms import (
    EndForm,
    NameForm,
    RefuseForm,
    TakeOverForm,
    TerminateForm,
    WorkForm,
)
from bursar.web.structure_forms import after, last_day
from bursar.web.tabs import card, scope_page
from bursar.web.viewer import Viewer
from bursar.web.views.billing import cost_of
from bursar.web.views.orders import _preview, billed_by_use, plan_cards, shown_value


def viewer_of(request: HttpRequest) -> Person:
    person = request.viewer.person  # type: ignore[attr-defined]
    assert person is not None
    return person  # type: ignore[no-any-return]


def at_of(request: HttpRequest) -> datetime:
    return request.at  # type: ignore[attr-defined,no-any-return]


# ------------------------------------------------------------------------------------------------ lists
LIVING = "living"


def _by_state(rows: Any, value: str) -> Any:
    return rows.exclude(state=ResourceState.TERMINATED) if value == LIVING else rows.filter(state=value)


def resource_listing(request: HttpRequest, rows: Any, *, workspace: bool = True, label: Any = "") -> Listing:
    columns = {
        "name": Column(gettext_lazy("Name"), sort="name"),
        "workspace": Column(gettext_lazy("For")),
        "offering": Column(gettext_lazy("Offering"), sort="offering__name"),
        "plan": Column(gettext_lazy("Plan"), sort="plan__name"),
        "end": Column(gettext_lazy("End"), sort="end"),
        "state": Column(gettext_lazy("State"), sort="state"),
    }
    if not workspace:
        del columns["workspace"]
    return Listing(
        request,
        rows,
        label=label or gettext_lazy("Resources"),
        sort="name",
        search=("name__icontains", "slug__icontains", "offering__name__icontains", "backend_id__icontains"),
        columns=columns,
        filters=(
            Filter(
                "state",
                gettext_lazy("Any state"),
                [(LIVING, gettext_lazy("Not terminated")), *((s.value, t) for s, t in RESOURCE_STATE_TITLES.items())],
                _by_state,
            ),
        ),
    )


def _listed(
    request: HttpRequest, template: str, listing: Listing, context: dict[str, Any] | None = None
) -> HttpResponse:
    live = [row for row in listing.rows if row.state in LIVE_RESOURCE_STATES]
    locked = selectors.locked_among(live, at=at_of(request))
    for row in listing.rows:
        row.locked_by = locked.get(row.pk, [])
    return page(request, template, {**(context or {}), "listing": listing})


def resources(request: HttpRequest) -> HttpResponse:
    rows = selectors.resources_for(viewer_of(request), at=at_of(request))
    return _listed(request, "bursar/resources/list.html", resource_listing(request, rows))


def provider_resources(request: HttpRequest) -> HttpResponse:
    rows = selectors.provider_resources(viewer_of(request), at=at_of(request))
    listing = resource_listing(request, rows, label=gettext_lazy("Customers’ resources"))
    return _listed(request, "bursar/resources/provider.html", listing)


def project_resources(request: HttpRequest, pk: int) -> HttpResponse:
    row = project_seen(pk, viewer_of(request), at_of(request))
    rows = selectors.resources_for(viewer_of(request), at=at_of(request)).filter(workspace__project=row)
    listing = resource_listing(request, rows, workspace=False)
    return _listed(request, "bursar/resources/project.html", listing, scope_page(request, row, "resources"))


def organization_resources(request: HttpRequest, pk: int) -> HttpResponse:
    row = organization_seen(pk, viewer_of(request), at_of(request))
    seen = selectors.resources_for(viewer_of(request), at=at_of(request))
    rows = seen.filter(workspace__project__organization=row) | seen.filter(workspace__organization=row)
    listing = resource_listing(request, rows)
    return _listed(request, "bursar/resources/organization.html", listing, scope_page(request, row, "resources"))


# ------------------------------------------------------------------------------------------------ one resource
def resource(request: HttpRequest, pk: int) -> HttpResponse:
    return _resource_page(request, pk, MessageForm())


def _resource_page(request: HttpRequest, pk: int, message_form: MessageForm) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    details = selectors.resource_details(viewer, pk, at=at, zone=timezone.get_current_timezone())
    row = details.resource
    titles = {field.name: field.title for field in form_fields(row.offering.order_form)}
    context = {
        "details": details,
        "resource": row,
        "sees_project": may(viewer, Permission.VIEW_PROJECT, row.workspace, at),
        "instructions": instructions_of(details, viewer),
        "shut_out": shut_out(details, viewer, at),
        "charts": [(usage, chart_of(usage)) for usage in details.components if usage.days],
        "form_values": [(titles.get(name, name), shown_value(value)) for name, value in row.form.items()],
        "moving": row.state in {"creating", "changing", "terminating"},
        "cost": cost_of(viewer, row, at),
        "can_pause": can(row.offering, Pauses),
        "keeps_members": can(row.offering, ManagesMembers),
        "actions": actions_of(row, at=at) if details.may_order else [],
        "name_form": NameForm(initial={"name": row.name}),
        "orders": list(row.orders.order_by("-pk")[:20]),
        "changeable": row.state in {"ok", "paused"} or (row.state == "failed" and row.first_ok_at is not None),
        "removable": row.state in {"ok", "changing", "paused", "failed"},
        "say_url": reverse("resource_say", args=[pk]) if details.may_handle else "",
    }
    return page(request, "bursar/resources/resource.html", context, form=message_form)


def shut_out(details: ResourceDetails, viewer: Person, at: datetime) -> selectors.MyAccount | None:
    """The viewer's account at the backend where they may use the resource and something is theirs to do or to know first:
    to connect, to read why they are blocked, or what stands in the way."""
    backend_id = details.resource.offering.backend_id
    if backend_id is None or not any(m.person == viewer and not m.username for m in details.members):
        return None
    row = next(iter(selectors.my_accounts(viewer, at=at, backend_id=backend_id)), None)
    if row is None or (row.state == "none" and row.policy.arrival == AccountPolicy.Arrival.AUTOMATIC):
        return None
    return row


def instructions_of(details: ResourceDetails, viewer: Person) -> str:
    """The offering's access instructions with what is known of this resource put in; names it does not know stay."""
    row = details.resource
    username = next((m.username for m in details.members if m.person == viewer), "")
    known = {
        "resource_name": row.name,
        "resource_slug": row.slug or "",
        "username": username or _("your-user-name"),
        "backend_id": row.backend_id,
        **{label.lower().replace(" ", "_"): value for label, value in row.access.items()},
    }
    text = row.offering.access_instructions
    for name, value in known.items():
        text = text.replace("{" + name + "}", str(value).replace("`", ""))
    return text


def chart_of(usage: ComponentUsage) -> dict[str, Any]:
    assert usage.component.category is not None
    unit = usage.component.category.unit
    return {
        "kind": "bar",
        "unit": unit.name,
        "x": [day.isoformat() for day, _ticks in usage.days],
        "time": True,
        "series": [
            {"name": usage.component.title, "values": [float(unit.text(ticks, 3)) for _day, ticks in usage.days]}
        ],
    }


def _to_resource(pk: int, *_args: Any, **_kwargs: Any) -> str:
    return reverse("resource", args=[pk])


def _seen(request: HttpRequest, pk: int) -> Resource:
    return selectors.resource_for(viewer_of(request), pk, at=at_of(request))


def _to_order_for(request: HttpRequest, pk: int) -> Resource:
    """raises   ResourceNotFound; NotAllowed for whoever may not order anything there"""
    row = _seen(request, pk)
    require(viewer_of(request), Permission.PLACE_ORDER, row.workspace, at_of(request))
    return row


def resource_change(request: HttpRequest, pk: int) -> HttpResponse:
    row = _to_order_for(request, pk)
    parts = _change_parts(request, row)
    form = parts["form"]
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            order = services.submit_change(resource_id=pk, by=viewer_of(request), at=at_of(request), **form.values())
            messages.success(request, _("The change was ordered."))
            return redirect("order", order.pk)
    parts["preview"] = _preview(request, parts, row)
    parts["open_order"] = selectors.open_order_on(row)
    return page(request, "bursar/resources/change.html", parts, form=form)


@require_POST
def resource_draft(request: HttpRequest, pk: int) -> HttpResponse:
    row = _to_order_for(request, pk)
    parts = _change_parts(request, row)
    parts["preview"] = _preview(request, parts, row)
    return page(request, "bursar/resources/_draft.html", parts)


def _change_parts(request: HttpRequest, row: Resource) -> dict[str, Any]:
    components = list(row.offering.components.select_related("category"))
    plans = list(catalogue.plans_open_to(row.offering, row.workspace))
    offered = plans if row.plan in plans else [row.plan, *plans]
    sent = request.POST if request.method == "POST" else None
    cards = plan_cards(offered, components, at_of(request))
    by_use = billed_by_use(components, cards)
    return {
        "resource": row,
        "offering": row.offering,
        "components": components,
        "plans": cards,
        "form": ChangeForm(components, plans, sent, plan=row.plan, limits=row.limits, by_use=by_use),
        "currency": row.offering.provider.organization.currency,
        "draft_url": reverse("resource_draft", args=[row.pk]),
    }


def resource_terminate(request: HttpRequest, pk: int) -> HttpResponse:
    row = _to_order_for(request, pk)
    form = TerminateForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            order = services.submit_termination(
                resource_id=pk, comment=form.cleaned_data["comment"], by=viewer_of(request), at=at_of(request)
            )
            messages.success(request, _("The termination was ordered."))
            return redirect("order", order.pk)
    return page(request, "bursar/resources/terminate.html", {"resource": row}, form=form)


def resource_end(request: HttpRequest, pk: int) -> HttpResponse:
    row = _seen(request, pk)
    services.require_either_side(row, Permission.APPROVE_ORDER, viewer_of(request), at_of(request))
    form = EndForm(request.POST or None, initial={"last_day": last_day(row.end)})
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"end_in_the_past": "last_day", "end_after_project": "last_day"}):
            services.set_end(
                resource_id=pk, end=after(form.cleaned_data["last_day"]), by=viewer_of(request), at=at_of(request)
            )
            messages.success(request, _("Saved."))
            return redirect("resource", pk)
    return page(request, "bursar/resources/end.html", {"resource": row}, form=form)


@require_POST
def resource_say(request: HttpRequest, pk: int) -> HttpResponse:
    """A message of the provider's side."""
    row = _seen(request, pk)
    require(viewer_of(request), Permission.HANDLE_ORDERS, row.offering.provider.organization, at_of(request))
    form = MessageForm(request.POST)
    if form.is_valid():
        with refusals_in(form):
            post_message(resource_id=pk, by=viewer_of(request), at=at_of(request), **form.cleaned_data)
            messages.success(request, _("Said. Both sides see it."))
            return redirect("resource", pk)
    return _resource_page(request, pk, form)


@require_POST
@refusals_as_messages(to=_to_resource)
def resource_rename(request: HttpRequest, pk: int) -> HttpResponse:
    _seen(request, pk)
    services.rename_resource(
        resource_id=pk, name=request.POST.get("name", ""), by=viewer_of(request), at=at_of(request)
    )
    messages.success(request, _("Saved."))
    return redirect("resource", pk)


@require_POST
@refusals_as_messages(to=_to_resource)
def resource_pause(request: HttpRequest, pk: int) -> HttpResponse:
    _seen(request, pk)
    services.pause_resource(resource_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("It is being paused."))
    return redirect("resource", pk)


@require_POST
@refusals_as_messages(to=_to_resource)
def resource_resume(request: HttpRequest, pk: int) -> HttpResponse:
    _seen(request, pk)
    services.resume_resource(resource_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("It is being resumed."))
    return redirect("resource", pk)


@require_POST
@refusals_as_messages(to=_to_resource)
def resource_ask_again(request: HttpRequest, pk: int) -> HttpResponse:
    _seen(request, pk)
    services.ask_again(resource_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("The backend is being asked."))
    return redirect("resource", pk)


def resource_act(request: HttpRequest, pk: int, action: str) -> HttpResponse:
    row = _to_order_for(request, pk)
    spec = next((spec for spec in actions_of(row, at=at_of(request)) if spec.key == action), None)
    if spec is None:
        raise Http404
    schema = dict(spec.form)
    form = SchemaForm(schema, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            answer = services.act(
                resource=row, action=action, form=form.values, by=viewer_of(request), at=at_of(request)
            )
            told = ", ".join(f"{label}: {value}" if label else value for label, value in answer.items())
            messages.success(request, told or _("Done."))
            return redirect("resource", pk)
    return page(request, "bursar/resources/act.html", {"resource": row, "action": spec}, form=form)


# ------------------------------------------------------------------------------------------------ work done by hand
def resource_work(request: HttpRequest, pk: int) -> HttpResponse:
    row = _seen(request, pk)
    provider = row.offering.provider.organization
    require(viewer_of(request), Permission.HANDLE_ORDERS, provider, at_of(request))
    refusing = "refuse" in request.POST
    form = WorkForm(
        request.POST if request.method == "POST" and not refusing else None,
        initial={
            "backend_id": row.backend_id,
            "access": "\n".join(f"{label}: {value}" for label, value in row.access.items()),
        },
    )
    refuse_form = RefuseForm(request.POST if refusing else None)
    if request.method == "POST":
        bound: Any = refuse_form if refusing else form
        if bound.is_valid():
            with refusals_in(bound):
                if refusing:
                    services.refuse_work(
                        resource_id=pk,
                        reason=refuse_form.cleaned_data["reason"],
                        by=viewer_of(request),
                        at=at_of(request),
                    )
                else:
                    services.confirm_work(
                        resource_id=pk,
                        by=viewer_of(request),
                        at=at_of(request),
                        **form.values(),  # type: ignore[arg-type]
                    )
                messages.success(request, _("Thank you: the orderer was told."))
                return redirect("provider_orders")
        form = form if not refusing else WorkForm(initial={"backend_id": row.backend_id})
    components = {component.key: component for component in row.offering.components.all()}
    titles = {field.name: field.title for field in form_fields(row.offering.order_form)}
    details = {
        "resource": row,
        "refuse_form": refuse_form,
        "limits": [(components[key], limit) for key, limit in row.desired_limits.items() if key in components],
        "form_values": [(titles.get(name, name), value) for name, value in row.form.items()],
    }
    answer = page(request, "bursar/resources/work.html", {**details, "form": form})
    answer.status_code = 422 if request.method == "POST" else 200
    return answer


# ------------------------------------------------------------------------------------------------ panels and cards
@register("resources", order=50)
def resources_panel(viewer: Viewer) -> Panel | None:
    assert viewer.person is not None
    at: Any = viewer.at
    rows = list(
        selectors.resources_of_mine(viewer.person, at=at).exclude(state=ResourceState.TERMINATED).order_by("name")[:8]
    )
    if not rows:
        return None
    return Panel(
        gettext_lazy("My resources"),
        "bursar/resources/_panel.html",
        icon="server",
        data=rows,
        url=reverse("resources"),
    )


@register("resources_locked", order=20)
def locked_panel(viewer: Viewer) -> Panel | None:
    assert viewer.person is not None
    at: Any = viewer.at
    rows = list(selectors.resources_of_mine(viewer.person, at=at).filter(state__in=LIVE_RESOURCE_STATES)[:200])
    locked = selectors.locked_among(rows, at=at)
    data = [(row, locked[row.pk]) for row in rows if row.pk in locked]
    if not data:
        return None
    return Panel(
        gettext_lazy("Locked: nothing new may start"),
        "bursar/resources/_locked_panel.html",
        icon="lock",
        data=data[:8],
        url=reverse("resources"),
        count=len(data),
    )


@card("project", "resources", order=40)
def project_card(viewer: Viewer, scope: Project) -> Panel | None:
    assert viewer.person is not None
    at: Any = viewer.at
    rows = selectors.resources_for(viewer.person, at=at).filter(workspace__project=scope)
    found = list(rows.exclude(state=ResourceState.TERMINATED)[:8])
    if not found:
        return None
    return Panel(
        gettext_lazy("Resources"),
        "bursar/resources/_panel.html",
        icon="server",
        data=found,
        url=reverse("project_resources", args=[scope.pk]),
    )


# ------------------------------------------------------------------------------------------------ taking over
SHOWN_AT_ONCE = 200


def offering_take_over(request: HttpRequest, pk: int) -> HttpResponse:
    """What is at the offering's backend, to be made somebody's; the backend is asked each time the page is looked at."""
    viewer, at = viewer_of(request), at_of(request)
    offering = catalogue.offering_of_provider(viewer, pk, at)
    require(viewer, Permission.HANDLE_ORDERS, offering.provider.organization, at)
    form = TakeOverForm(
        request.POST or None,
        workspaces=selectors.workspaces_to_take_over_for(offering, at=at),
        plans=offering.plans.filter(archived_at=None),
    )
    chosen = request.POST.getlist("backend_id")[: TAKEN_AT_ONCE + 1]
    faults: dict[str, str] = {}
    if request.method == "POST" and form.is_valid():
        wishes = [
            services.TakeOver(backend_id, form.cleaned_data["workspace"], form.cleaned_data["plan"].pk)
            for backend_id in chosen
        ]
        with refusals_in(form):
            try:
                made = services.take_over(offering=offering, wishes=wishes, by=viewer, at=at)
            except TakeOversAtFault as refusal:
                faults = {chosen[each.index]: words(each.refusal, _) for each in refusal.each}
                raise
            said = ngettext("{n} resource was taken over.", "{n} resources were taken over.", len(made))
            messages.success(request, said.format(n=len(made)))
            return redirect("offering_take_over", pk)
    trouble, rows = "", []
    try:
        rows = services.importable(offering=offering, by=viewer, at=at)
    except (AbilityMissing, BackendMissing, ImportableUnknown) as refusal:
        trouble = words(refusal, _)
    search = request.GET.get("q", "").strip()[:200].casefold()
    matching = [row for row in rows if search in row.name.casefold() or search in row.backend_id.casefold()]
    titles = dict(offering.components.values_list("key", "title"))
    context = {
        "offering": offering,
        "trouble": trouble,
        "search": search,
        "count": len(matching),
        "rows": [
            {
                "found": row,
                "limits": [(titles.get(key, key), limit) for key, limit in row.limits.items()],
                "fault": faults.get(row.backend_id, ""),
                "chosen": row.backend_id in chosen,
            }
            for row in matching[:SHOWN_AT_ONCE]
        ],
    }
    return page(request, "bursar/resources/take_over.html", context, form=form)


urlpatterns = [
    path("resources/", resources, name="resources"),
    path("resources/<int:pk>/", resource, name="resource"),
    path("resources/<int:pk>/change", resource_change, name="resource_change"),
    path("resources/<int:pk>/change/draft", resource_draft, name="resource_draft"),
    path("resources/<int:pk>/terminate", resource_terminate, name="resource_terminate"),
    path("resources/<int:pk>/end", resource_end, name="resource_end"),
    path("resources/<int:pk>/say", resource_say, name="resource_say"),
    path("resources/<int:pk>/rename", resource_rename, name="resource_rename"),
    path("resources/<int:pk>/pause", resource_pause, name="resource_pause"),
    path("resources/<int:pk>/resume", resource_resume, name="resource_resume"),
    path("resources/<int:pk>/ask-again", resource_ask_again, name="resource_ask_again"),
    path("resources/<int:pk>/actions/<slug:action>", resource_act, name="resource_act"),
    path("resources/<int:pk>/work", resource_work, name="resource_work"),
    path("projects/<int:pk>/resources/", project_resources, name="project_resources"),
    path("organizations/<int:pk>/resources/", organization_resources, name="organization_resources"),
    path("provider/resources/", provider_resources, name="provider_resources"),
    path("provider/offerings/<int:pk>/take-over/", offering_take_over, name="offering_take_over"),
]
