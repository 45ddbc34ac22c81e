"""Ordering: the form with its live estimate, the order's own page, the lists of both sides, and who has to agree."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from bursar.catalogue import selectors as catalogue
from bursar.catalogue.models import Component, Offering, Plan
from bursar.catalogue.order_form import form_fields
from bursar.catalogue.tiers import is_priced, steps_of
from bursar.kernel.errors import DomainError
from bursar.kernel.money import Money
from bursar.kernel.refusals import words
from bursar.provisioning import policies, selectors, services
from bursar.provisioning.lifecycle import OPEN_ORDER_STATES, ORDER_STATE_TITLES
from bursar.provisioning.models import ApprovalPolicy, Order, Resource, Side
from bursar.provisioning.services.messages import post_message
from bursar.provisioning.services.policies import Line, provider_approval_of
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Permission, may, require
from bursar.structure.selectors import organization_seen, project_seen
from bursar.web import navigation
from bursar.web.forms import refusals_in
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.order_form import SchemaForm
from bursar.web.orders_forms import (
    LIMIT,
    MessageForm,
    OptionalReasonForm,
    OrderForm,
    PolicyLineForm,
    ProviderApprovalForm,
    ReasonForm,
)
from bursar.web.panels import Panel, Text, register
from bursar.web.tabs import scope_page
from bursar.web.viewer import Viewer
from bursar.web.views.provider import offering_editor


def viewer_of(request: HttpRequest) -> Person:
    person = request.viewer.person  # type: ignore[attr-defined]
    assert person is not None
    return person  # type: ignore[no-any-return]


def at_of(request: HttpRequest) -> datetime:
    return request.at  # type: ignore[attr-defined,no-any-return]


# ------------------------------------------------------------------------------------------------ lists
def _by_state(rows: Any, value: str) -> Any:
    return rows.filter(state__in=[s.value for s in OPEN_ORDER_STATES]) if value == "open" else rows.filter(state=value)


def order_listing(request: HttpRequest, rows: Any, *, workspace: bool = True, label: Any = "") -> Listing:
    columns = {
        "order": Column(gettext_lazy("Order"), sort="pk"),
        "resource": Column(gettext_lazy("Resource"), sort="name"),
        "workspace": Column(gettext_lazy("For")),
        "offering": Column(gettext_lazy("Offering"), sort="offering__name"),
        "at": Column(gettext_lazy("Placed"), sort="created_at"),
        "state": Column(gettext_lazy("State"), sort="state"),
    }
    if not workspace:
        del columns["workspace"]
    return Listing(
        request,
        rows,
        label=label or gettext_lazy("Orders"),
        sort="-at",
        search=("name__icontains", "offering__name__icontains", "created_by__full_name__icontains"),
        columns=columns,
        filters=(
            Filter(
                "state",
                gettext_lazy("Any state"),
                [("open", gettext_lazy("Open")), *((s.value, t) for s, t in ORDER_STATE_TITLES.items())],
                _by_state,
            ),
            Filter("kind", gettext_lazy("Any kind"), Order.Kind.choices, "kind"),
        ),
    )


def orders(request: HttpRequest) -> HttpResponse:
    rows = selectors.orders_for(viewer_of(request), at=at_of(request))
    awaiting = list(selectors.orders_awaiting(viewer_of(request), at=at_of(request))[:10])
    return page(request, "bursar/orders/list.html", {"listing": order_listing(request, rows), "awaiting": awaiting})


def project_orders(request: HttpRequest, pk: int) -> HttpResponse:
    row = project_seen(pk, viewer_of(request), at_of(request))
    rows = selectors.orders_for(viewer_of(request), at=at_of(request)).filter(workspace__project=row)
    context = {**scope_page(request, row, "orders"), "listing": order_listing(request, rows, workspace=False)}
    return page(request, "bursar/orders/project.html", context)


def organization_orders(request: HttpRequest, pk: int) -> HttpResponse:
    row = organization_seen(pk, viewer_of(request), at_of(request))
    seen = selectors.orders_for(viewer_of(request), at=at_of(request))
    rows = seen.filter(workspace__project__organization=row) | seen.filter(workspace__organization=row)
    context = {**scope_page(request, row, "orders"), "listing": order_listing(request, rows)}
    return page(request, "bursar/orders/organization.html", context)


# ------------------------------------------------------------------------------------------------ ordering
def _offering(request: HttpRequest) -> Offering:
    asked = request.GET.get("offering", "")
    if not asked.isdecimal() or len(asked) > 18:
        raise Http404
    return catalogue.offering_for_viewer(viewer_of(request), int(asked), at_of(request))


def _order_parts(request: HttpRequest) -> dict[str, Any]:
    """The offering and both halves of its form, bound when something was sent."""
    offering = _offering(request)
    components = list(offering.components.all())
    plans = [plan for plan in offering.plans.all() if plan.archived_at is None]
    workspaces = selectors.workspaces_to_order_for(viewer_of(request), offering, at=at_of(request))
    sent = request.POST if request.method == "POST" else None
    initial = {"workspace": request.GET.get("workspace", ""), "name": ""}
    initial = {key: value for key, value in initial.items() if value}
    cards = plan_cards(plans, components, at_of(request))
    form = OrderForm(
        offering, components, plans, workspaces, sent, initial=initial, by_use=billed_by_use(components, cards)
    )
    return {
        "offering": offering,
        "components": components,
        "plans": cards,
        "workspaces": workspaces,
        "form": form,
        "schema_form": SchemaForm(offering.order_form, sent),
        "currency": offering.provider.organization.currency,
        "closed": catalogue.why_closed(offering),
        "draft_url": f"{reverse('order_draft')}?offering={offering.pk}",
        "dynamic": any(field.condition is not None for field in form_fields(offering.order_form)),
    }


def plan_cards(plans: Sequence[Plan], components: Sequence[Component], at: datetime) -> list[dict[str, Any]]:
    prices = catalogue.prices_in_force([plan.pk for plan in plans], at)
    return [
        {
            "plan": plan,
            "rows": catalogue.priced_rows(plan, components, prices),
        }
        for plan in plans
    ]


def billed_by_use(components: Sequence[Component], cards: Sequence[dict[str, Any]]) -> list[Component]:
    """What costs something as it is used, in at least one of the plans."""
    priced = {component.pk for card in cards for component, _price in card["rows"]}
    return [c for c in components if c.billing == Component.Billing.USAGE and c.pk in priced]


def order_create(request: HttpRequest) -> HttpResponse:
    parts = _order_parts(request)
    form, schema_form, offering = parts["form"], parts["schema_form"], parts["offering"]
    if request.method == "POST" and all([form.is_valid(), schema_form.is_valid()]):
        with refusals_in(form):
            workspace = selectors.workspace_to_order_for(
                viewer_of(request), form.cleaned_data["workspace"], at=at_of(request)
            )
            order = services.submit_order(
                workspace=workspace,
                offering=offering,
                form=schema_form.values,
                by=viewer_of(request),
                at=at_of(request),
                **form.values(),
            )
            messages.success(request, _("The order was placed."))
            return redirect("order", order.pk)
    refused = request.method == "POST"
    parts["preview"] = _preview(request, parts)
    answer = page(request, "bursar/orders/create.html", parts)
    answer.status_code = 422 if refused else 200
    return answer


@require_POST
def order_draft(request: HttpRequest) -> HttpResponse:
    """The parts of the form that follow from what is typed: the estimate, and what is asked only with some answers."""
    parts = _order_parts(request)
    parts["schema_form"].errors.clear()
    parts["preview"] = _preview(request, parts)
    return page(request, "bursar/orders/_draft.html", parts)


def _preview(request: HttpRequest, parts: dict[str, Any], resource: Resource | None = None) -> dict[str, Any]:
    """The estimate of what is typed so far; what keeps it from being told, in words."""
    sent = request.POST
    plans: dict[str, Plan] = {str(card["plan"].pk): card["plan"] for card in parts["plans"]}
    plan = plans.get(sent.get("plan", "")) or next(iter(plans.values()), None)
    workspace: Workspace | None = None
    if resource is not None:
        workspace, plan = resource.workspace, plans.get(sent.get("plan", "")) or resource.plan
    else:
        chosen = sent.get("workspace") or str(parts["form"]["workspace"].value() or "")
        workspace = next((w for w in parts["workspaces"] if str(w.pk) == chosen), None)
    if plan is None or workspace is None:
        return {"missing": _("Choose a project or workspace and a plan, and see what it costs and draws.")}
    start, end = parts["form"].period() if resource is None else (None, None)
    given: dict[str, Any] = {} if resource is None else dict(resource.limits)
    for name, value in sent.items():
        if name.startswith(LIMIT):
            try:
                given[name.removeprefix(LIMIT)] = int(str(value))
            except ValueError:
                return {"missing": _("A whole number is needed for each limit.")}
    try:
        uses = parts["form"].uses()
    except ValidationError:
        return {"missing": _("What you expect to use is a number, zero or more.")}
    try:
        found = selectors.preview_order(
            viewer_of(request),
            offering=parts["offering"],
            workspace=workspace,
            plan=plan,
            limits=given,
            kind=Order.Kind.CREATE if resource is None else Order.Kind.CHANGE,
            resource=resource,
            start=start,
            end=end,
            uses=uses,
            at=at_of(request),
        )
    except DomainError as refusal:
        return {"missing": words(refusal, _)}
    refused = found.refusal
    may_apply = may(viewer_of(request), Permission.APPLY_FOR_GRANTS, workspace, at_of(request))
    return {
        "found": found,
        "by_use": _by_use(parts["plans"], plan, uses) if not found.estimate.month else [],
        "refused_category": getattr(refused, "category_id", None),
        "apply_url": f"{reverse('application_new')}?for={workspace.pk}" if may_apply else "",
        "month": Money.rounded(found.estimate.month, found.currency),
        "once": Money.rounded(found.estimate.once, found.currency) if found.estimate.once else None,
        "workspace": workspace,
        "plan": plan,
        "refusal": words(refused, _) if refused is not None else "",
    }


def _by_use(cards: Sequence[dict[str, Any]], plan: Plan, uses: Mapping[str, Any]) -> list[tuple[Component, Any]]:
    """(component, its price) of what the plan bills as it is used, where nothing was said of its use."""
    rows = next((card["rows"] for card in cards if card["plan"].pk == plan.pk), ())
    return [(c, price) for c, price in rows if c.billing == Component.Billing.USAGE and c.key not in uses]


# ------------------------------------------------------------------------------------------------ one order
def order(request: HttpRequest, pk: int) -> HttpResponse:
    return _order_page(request, pk, MessageForm())


def _order_page(request: HttpRequest, pk: int, message_form: MessageForm) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    details = selectors.order_details(viewer, pk, at=at)
    components = {c.key: c for c in details.order.offering.components.select_related("category")}
    used = {c.pk for c in components.values() if c.billing == Component.Billing.USAGE}
    limits = [(components[k], v) for k, v in details.order.limits.items() if k in components]
    titles = {f.name: f for f in form_fields(details.order.offering.order_form)}
    form = [
        (titles[name].title if name in titles else name, shown_value(value))
        for name, value in details.order.form.items()
    ]
    people = []
    if details.may_handle:
        people = [p for p in provider_people(details.order) if p != details.order.assignee]
    context = {
        "details": details,
        "order": details.order,
        "limits": limits,
        "form_values": form,
        "people": people,
        "sees_project": may(viewer, Permission.VIEW_PROJECT, details.order.workspace, at),
        "moving": details.order.state == "executing",
        "agreed": {step.key for step in details.steps if step.state == "done"},
        "by_use": any(
            price.component_id in used and is_priced(price.price, steps_of(price))
            for price in catalogue.prices_in_force([details.order.plan_id], details.order.created_at).values()
        ),
        "reject_form": ReasonForm(),
        "cancel_form": OptionalReasonForm(),
        "say_url": reverse("order_say", args=[pk]) if details.may_handle else "",
    }
    return page(request, "bursar/orders/order.html", context, form=message_form)


def shown_value(value: Any) -> str:
    """What was filled in, as people read it."""
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    return str(value)


def provider_people(order: Order) -> list[Person]:
    from bursar.provisioning.people import people_of_provider

    at = order.created_at
    ids = people_of_provider(order.offering.provider.organization_id, at=at)
    return list(Person.objects.filter(pk__in=ids).order_by("full_name"))


def _to_order(pk: int, *_args: Any, **_kwargs: Any) -> str:
    return reverse("order", args=[pk])


def _side(request: HttpRequest) -> Side:
    if request.POST.get("side") not in Side.values:
        raise Http404
    return Side(request.POST["side"])


@require_POST
@refusals_as_messages(to=_to_order)
def order_approve(request: HttpRequest, pk: int) -> HttpResponse:
    selectors.order_for(viewer_of(request), pk, at=at_of(request))
    services.approve_order(
        order_id=pk,
        side=_side(request),
        reason=request.POST.get("reason", ""),
        by=viewer_of(request),
        at=at_of(request),
    )
    messages.success(request, _("Approved."))
    return redirect("order", pk)


@require_POST
@refusals_as_messages(to=_to_order)
def order_reject(request: HttpRequest, pk: int) -> HttpResponse:
    selectors.order_for(viewer_of(request), pk, at=at_of(request))
    services.reject_order(
        order_id=pk,
        side=_side(request),
        reason=request.POST.get("reason", ""),
        by=viewer_of(request),
        at=at_of(request),
    )
    messages.success(request, _("Rejected. The orderer was told why."))
    return redirect("order", pk)


@require_POST
@refusals_as_messages(to=_to_order)
def order_agree(request: HttpRequest, pk: int) -> HttpResponse:
    """Let an order go on that a budget holds."""
    selectors.order_for(viewer_of(request), pk, at=at_of(request))
    services.agree_to_spend(
        order_id=pk, reason=request.POST.get("reason", ""), by=viewer_of(request), at=at_of(request)
    )
    messages.success(request, _("Agreed. The order goes on."))
    return redirect("order", pk)


@require_POST
@refusals_as_messages(to=_to_order)
def order_refuse(request: HttpRequest, pk: int) -> HttpResponse:
    """Reject an order that a budget holds."""
    selectors.order_for(viewer_of(request), pk, at=at_of(request))
    services.refuse_to_spend(
        order_id=pk, reason=request.POST.get("reason", ""), by=viewer_of(request), at=at_of(request)
    )
    messages.success(request, _("Rejected. The orderer was told why."))
    return redirect("order", pk)


@require_POST
@refusals_as_messages(to=_to_order)
def order_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    selectors.order_for(viewer_of(request), pk, at=at_of(request))
    services.cancel_order(order_id=pk, reason=request.POST.get("reason", ""), by=viewer_of(request), at=at_of(request))
    messages.success(request, _("Canceled."))
    return redirect("order", pk)


@require_POST
@refusals_as_messages(to=_to_order)
def order_retry(request: HttpRequest, pk: int) -> HttpResponse:
    selectors.order_for(viewer_of(request), pk, at=at_of(request))
    services.retry_order(order_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("It is being tried again."))
    return redirect("order", pk)


@require_POST
@refusals_as_messages(to=_to_order)
def order_comment(request: HttpRequest, pk: int) -> HttpResponse:
    selectors.order_for(viewer_of(request), pk, at=at_of(request))
    services.comment_order(order_id=pk, text=request.POST.get("text", ""), by=viewer_of(request), at=at_of(request))
    return redirect("order", pk)


@require_POST
def order_say(request: HttpRequest, pk: int) -> HttpResponse:
    """A message of the provider's side."""
    row = selectors.order_for(viewer_of(request), pk, at=at_of(request))
    require(viewer_of(request), Permission.HANDLE_ORDERS, row.offering.provider.organization, at_of(request))
    form = MessageForm(request.POST)
    if form.is_valid():
        with refusals_in(form):
            post_message(order_id=pk, by=viewer_of(request), at=at_of(request), **form.cleaned_data)
            messages.success(request, _("Said. Both sides see it."))
            return redirect("order", pk)
    return _order_page(request, pk, form)


@require_POST
@refusals_as_messages(to=_to_order)
def order_assign(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.order_for(viewer_of(request), pk, at=at_of(request))
    chosen = request.POST.get("assignee", "")
    assignee = next((p for p in provider_people(row) if str(p.pk) == chosen), None)
    services.assign_order(order_id=pk, assignee=assignee, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("Handed over.") if assignee else _("Nobody in particular handles it now."))
    return redirect("order", pk)


# ------------------------------------------------------------------------------------------------ the provider's side
def provider_orders(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    rows = selectors.provider_orders(viewer, at=at)
    context = {
        "listing": order_listing(request, rows, label=gettext_lazy("Incoming orders")),
        "awaiting": list(selectors.orders_awaiting(viewer, at=at, side=Side.PROVIDER)[:25]),
        "work": list(selectors.awaited_work(viewer, at=at)[:25]),
    }
    return page(request, "bursar/orders/provider.html", context)


# ------------------------------------------------------------------------------------------------ who has to agree
def offering_approval(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    offering, context = offering_editor(request, pk)
    choice, organizations = provider_approval_of(offering)
    form = ProviderApprovalForm(
        request.POST or None, initial={"choice": choice or "", "organizations": [o.pk for o in organizations]}
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.set_provider_approval(
                offering=offering,
                choice=services.ProviderApproval(form.cleaned_data["choice"]),
                organizations=list(form.cleaned_data["organizations"]),
                by=viewer,
                at=at,
            )
            messages.success(request, _("Saved. Orders that are open keep what held when they were placed."))
            return redirect("offering_approval", pk)
    own = list(ApprovalPolicy.objects.filter(offering=offering, enabled=True).prefetch_related("organizations"))
    lines = own or list(
        ApprovalPolicy.objects.filter(
            side=Side.PROVIDER, offering=None, organization=None, project=None, enabled=True
        ).prefetch_related("organizations")
    )
    context |= {"lines": [policies.words_of_line(line) for line in lines], "own": bool(own)}
    return page(request, "bursar/orders/offering_approval.html", context, form=form)


def _policy_page(request: HttpRequest, scope: Organization | Project, template: str) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    permission = Permission.EDIT_PROJECT if isinstance(scope, Project) else Permission.EDIT_ORGANIZATION
    if request.method == "POST":
        require(viewer, permission, scope, at)
    may_edit = may(viewer, permission, scope, at)
    where = {"project": scope} if isinstance(scope, Project) else {"organization": scope}
    own = list(ApprovalPolicy.objects.filter(side=Side.CONSUMER, **where).prefetch_related("organizations"))
    form = PolicyLineForm(request.POST if "add" in request.POST else None)
    currency = scope.organization.currency if isinstance(scope, Project) else scope.currency
    if request.method == "POST":
        lines: list[Line] | None = None
        if "remove" in request.POST:
            lines = [_line(p) for p in own if str(p.pk) != request.POST["remove"]]
        elif "up" in request.POST:
            lines = [_line(p) for p in _moved_up(own, request.POST["up"])]
        elif form.is_valid():
            given = form.cleaned_data
            new = Line(
                condition=given["condition"],
                outcome=given["outcome"],
                kinds=given["kinds"],
                roles=given["roles"] if given["condition"] == ApprovalPolicy.Condition.ROLE else [],
                amount=given["amount"] if given["condition"] == ApprovalPolicy.Condition.COST else None,
                currency=currency if given["condition"] == ApprovalPolicy.Condition.COST else "",
                approvers=given["approvers"] if given["outcome"] == ApprovalPolicy.Outcome.ASK else [],
            )
            lines = [*(_line(p) for p in own), new]
        if lines is not None:
            with refusals_in(form if form.is_bound else PolicyLineForm({})):
                services.set_policies(side=Side.CONSUMER, scope=scope, lines=lines, by=viewer, at=at)
                messages.success(request, _("Saved. Orders that are open keep what held when they were placed."))
                return redirect(request.path)
    above = ApprovalPolicy.objects.filter(side=Side.CONSUMER, enabled=True).prefetch_related("organizations")
    organization = scope.organization if isinstance(scope, Project) else None
    inherited = [
        *(
            (policies.words_of_line(p), str(organization))
            for p in (above.filter(organization=organization) if organization is not None else ())
        ),
        *((policies.words_of_line(p), "") for p in above.filter(organization=None, project=None, offering=None)),
    ]
    context = {
        **scope_page(request, scope, "policies"),
        "own": [(p, policies.words_of_line(p)) for p in own],
        "inherited": inherited,
        "may_edit": may_edit,
        "currency": currency,
        "tried": _tried(request, scope, own) if request.GET.get("try") else None,
    }
    return page(request, template, context, form=form)


def _line(policy: ApprovalPolicy) -> Line:
    return Line(
        condition=policy.condition,
        outcome=policy.outcome,
        kinds=policy.kinds,
        roles=policy.roles,
        amount=policy.amount,
        currency=policy.currency,
        organizations=list(policy.organizations.all()),
        approvers=policy.approvers,
    )


def _moved_up(own: list[ApprovalPolicy], key: str) -> list[ApprovalPolicy]:
    index = next((i for i, p in enumerate(own) if str(p.pk) == key), 0)
    if index:
        own[index - 1], own[index] = own[index], own[index - 1]
    return own


def _tried(request: HttpRequest, scope: Organization | Project, own: list[ApprovalPolicy]) -> list[Any]:
    """The last orders of the scope, with what the lines in force now would say of them."""
    rows = selectors.orders_for(viewer_of(request), at=at_of(request))
    if isinstance(scope, Project):
        rows = rows.filter(workspace__project=scope)
    else:
        rows = rows.filter(workspace__project__organization=scope)
    return [
        (tried, policies.words_of_verdict(Side.CONSUMER, tried.now))
        for tried in selectors.try_policies(side=Side.CONSUMER, lines=None, orders=rows[:20], at=at_of(request))
    ]


def project_policies(request: HttpRequest, pk: int) -> HttpResponse:
    return _policy_page(
        request, project_seen(pk, viewer_of(request), at_of(request)), "bursar/orders/project_policies.html"
    )


def organization_policies(request: HttpRequest, pk: int) -> HttpResponse:
    return _policy_page(
        request, organization_seen(pk, viewer_of(request), at_of(request)), "bursar/orders/organization_policies.html"
    )


# ------------------------------------------------------------------------------------------------ the first page
def _beginning(rows: QuerySet[Any], title: Text, template: str, *, icon: str, route: str) -> Panel | None:
    """A panel of the first rows of a list; None where it has none."""
    found = list(rows[:9])
    if not found:
        return None
    return Panel(title, template, icon=icon, data=found[:8], url=reverse(route), count=len(found))


@register("orders_awaiting", order=11)
def awaiting_panel(viewer: Viewer) -> Panel | None:
    assert viewer.person is not None
    rows = selectors.orders_awaiting(viewer.person, at=viewer.at)  # type: ignore[arg-type]
    title = gettext_lazy("Orders await your decision")
    return _beginning(rows, title, "bursar/orders/_awaiting_panel.html", icon="checklist", route="orders")


@register("orders_open", order=13)
def open_panel(viewer: Viewer) -> Panel | None:
    assert viewer.person is not None
    rows = selectors.open_orders_by(viewer.person)
    title = gettext_lazy("My open orders")
    return _beginning(rows, title, "bursar/orders/_awaiting_panel.html", icon="shopping-cart", route="orders")


@register("work_awaited", order=12)
def work_panel(viewer: Viewer) -> Panel | None:
    assert viewer.person is not None
    if Permission.HANDLE_ORDERS not in viewer.permissions:
        return None
    rows = selectors.awaited_work(viewer.person, at=viewer.at)  # type: ignore[arg-type]
    title = gettext_lazy("To be done by hand")
    return _beginning(rows, title, "bursar/orders/_work_panel.html", icon="tool", route="provider_orders")


def _awaiting_count(viewer: Viewer) -> int:
    assert viewer.person is not None
    return selectors.orders_awaiting(viewer.person, at=viewer.at, side=Side.CONSUMER).count()  # type: ignore[arg-type]


def _incoming_count(viewer: Viewer) -> int:
    assert viewer.person is not None
    at: Any = viewer.at
    awaiting = selectors.orders_awaiting(viewer.person, at=at, side=Side.PROVIDER).count()
    return awaiting + selectors.awaited_work(viewer.person, at=at).count()


navigation.COUNTERS["orders"] = _awaiting_count
navigation.COUNTERS["provider_orders"] = _incoming_count


urlpatterns = [
    path("orders/", orders, name="orders"),
    path("orders/new", order_create, name="order_create"),
    path("orders/new/draft", order_draft, name="order_draft"),
    path("orders/<int:pk>/", order, name="order"),
    path("orders/<int:pk>/approve", order_approve, name="order_approve"),
    path("orders/<int:pk>/reject", order_reject, name="order_reject"),
    path("orders/<int:pk>/agree", order_agree, name="order_agree"),
    path("orders/<int:pk>/refuse", order_refuse, name="order_refuse"),
    path("orders/<int:pk>/cancel", order_cancel, name="order_cancel"),
    path("orders/<int:pk>/retry", order_retry, name="order_retry"),
    path("orders/<int:pk>/comment", order_comment, name="order_comment"),
    path("orders/<int:pk>/say", order_say, name="order_say"),
    path("orders/<int:pk>/assign", order_assign, name="order_assign"),
    path("projects/<int:pk>/orders/", project_orders, name="project_orders"),
    path("organizations/<int:pk>/orders/", organization_orders, name="organization_orders"),
    path("projects/<int:pk>/approval/", project_policies, name="project_policies"),
    path("organizations/<int:pk>/approval/", organization_policies, name="organization_policies"),
    path("provider/orders/", provider_orders, name="provider_orders"),
    path("provider/offerings/<int:pk>/approval/", offering_approval, name="offering_approval"),
]
