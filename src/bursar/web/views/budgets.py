"""Budgets of organizations and projects: how they stand, their history, and setting, changing and closing them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from bursar.billing import budgets as selectors
from bursar.billing.budgets import Shown
from bursar.billing.models import Budget
from bursar.billing.services import budgets as services
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import Permission, may, require
from bursar.structure.selectors import organization_seen, project_seen
from bursar.web.budgets_forms import BudgetForm, ChangeForm, CloseForm, ThresholdsForm
from bursar.web.forms import refusals_in
from bursar.web.http import page
from bursar.web.panels import Panel
from bursar.web.tabs import card, scope_page
from bursar.web.viewer import Viewer


def viewer_of(request: HttpRequest) -> Person:
    person = request.viewer.person  # type: ignore[attr-defined]
    assert person is not None
    return person  # type: ignore[no-any-return]


def at_of(request: HttpRequest) -> datetime:
    return request.at  # type: ignore[attr-defined,no-any-return]


# ------------------------------------------------------------------------------------------------ the bar
@dataclass(frozen=True, slots=True)
class Mark:
    """A threshold on the bar. x   its place, as a percentage of the bar's width"""

    x: str
    percent: int
    passed: bool


@dataclass(frozen=True, slots=True)
class Bar:
    """A budget, what is spent and what is expected, each as a percentage of the bar's width."""

    whole: str
    spent: str
    expected: str
    colour: str
    marks: list[Mark]


def bar_of(shown: Shown) -> Bar:
    """The bar is as long as the greatest of what it shows; of a budget of nothing all is beyond it."""
    amount = shown.budget.amount
    spent, likely = max(shown.spending.spent, Decimal(0)), max(shown.spending.expected, Decimal(0))
    passed = {(row.percent, row.action) for row in shown.standing}
    percents: dict[int, bool] = {}
    for one in shown.budget.thresholds.all():
        percents[one.percent] = percents.get(one.percent, False) or (one.percent, one.action) in passed
    length = max([amount, spent, likely, *(amount * percent / 100 for percent in percents)]) or Decimal(1)

    def part(value: Decimal) -> str:
        return f"{value * 100 / length:.2f}%"

    over = amount > 0 and spent >= amount
    near = amount > 0 and spent * 100 >= amount * 75
    return Bar(
        whole=part(amount),
        spent=part(spent),
        expected=part(likely),
        colour="red" if over or (not amount and spent) else "orange" if near else "primary",
        marks=[Mark(part(amount * percent / 100), percent, done) for percent, done in sorted(percents.items())],
    )


def rows_of(found: list[Shown]) -> list[dict[str, Any]]:
    return [{"shown": shown, "budget": shown.budget, "bar": bar_of(shown)} for shown in found]


# ------------------------------------------------------------------------------------------------ of a scope
def organization_budgets(request: HttpRequest, pk: int) -> HttpResponse:
    """How an organization's budgets and those of its projects stand, and setting one."""
    row = organization_seen(pk, viewer_of(request), at_of(request))
    return _scope_page(request, row, "bursar/budgets/organization.html", "organization_budgets")


def project_budgets(request: HttpRequest, pk: int) -> HttpResponse:
    """How a project's budgets stand, and setting one."""
    row = project_seen(pk, viewer_of(request), at_of(request))
    return _scope_page(request, row, "bursar/budgets/project.html", "project_budgets")


def _scope_page(request: HttpRequest, scope: Organization | Project, template: str, name: str) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    require(viewer, Permission.VIEW_COSTS, scope, at)
    if request.method == "POST":
        require(viewer, Permission.MANAGE_BUDGETS, scope, at)
    organization = scope.organization if isinstance(scope, Project) else scope
    form = BudgetForm(organization.currency, request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"threshold_invalid": "tell"}):
            given = form.cleaned_data
            services.set_budget(
                scope=scope,
                span=Budget.Span(given["span"]),
                amount=given["amount"],
                thresholds=form.thresholds(),
                reason=given["reason"],
                by=viewer,
                at=at,
            )
            messages.success(request, _("The budget is set."))
            return redirect(name, scope.pk)
    context = {
        **scope_page(request, scope, "budgets"),
        "rows": rows_of(selectors.budgets_of(scope, viewer, at=at)),
        "below": rows_of(selectors.budgets_below(scope, viewer, at=at)) if isinstance(scope, Organization) else [],
        "closed": selectors.budgets_of(scope, viewer, at=at, closed=True),
        "may_manage": may(viewer, Permission.MANAGE_BUDGETS, scope, at),
    }
    return page(request, template, context, form=form)


# ------------------------------------------------------------------------------------------------ one budget
def budget(request: HttpRequest, pk: int) -> HttpResponse:
    """How a budget stands, what happened to it, and the forms of whoever may change it."""
    return _budget_page(request, pk)


def _budget_page(request: HttpRequest, pk: int, **bound: forms.Form) -> HttpResponse:
    details = selectors.budget_details(viewer_of(request), pk, at=at_of(request))
    found = details.shown.budget
    context = {
        "details": details,
        "shown": details.shown,
        "budget": found,
        "bar": bar_of(details.shown),
        "scope": found.project or found.organization,
        "back": _list_of(found),
        "change_form": ChangeForm(found.currency),
        "thresholds_form": ThresholdsForm(given=selectors.thresholds_of(found)),
        "close_form": CloseForm(),
        **bound,
    }
    answer = page(request, "bursar/budgets/budget.html", context)
    answer.status_code = 422 if bound else 200
    return answer


def _list_of(found: Budget) -> str:
    if found.project_id is not None:
        return reverse("project_budgets", args=[found.project_id])
    return reverse("organization_budgets", args=[found.organization_id])


def _changed(
    request: HttpRequest, pk: int, name: str, make: Callable[[Budget], Any], work: Callable[[Any], Any], said: str
) -> HttpResponse:
    """Do what a form of the budget's page says; a refusal stands in the form."""
    found = selectors.budget_for(viewer_of(request), pk, at=at_of(request))
    require(viewer_of(request), Permission.MANAGE_BUDGETS, found.project or found.organization, at_of(request))
    form = make(found)
    if form.is_valid():
        with refusals_in(form, {"threshold_invalid": "tell"}):
            work(form)
            messages.success(request, said)
            return redirect("budget", pk)
    return _budget_page(request, pk, **{name: form})


@require_POST
def budget_change(request: HttpRequest, pk: int) -> HttpResponse:
    """Raise or lower a budget."""
    return _changed(
        request,
        pk,
        "change_form",
        lambda found: ChangeForm(found.currency, request.POST),
        lambda form: services.change_budget(
            budget_id=pk,
            amount=form.cleaned_data["amount"],
            reason=form.cleaned_data["reason"],
            by=viewer_of(request),
            at=at_of(request),
        ),
        _("The budget is changed."),
    )


@require_POST
def budget_thresholds(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what happens at which part of a budget."""
    return _changed(
        request,
        pk,
        "thresholds_form",
        lambda _found: ThresholdsForm(request.POST),
        lambda form: services.set_thresholds(
            budget_id=pk, thresholds=form.thresholds(), by=viewer_of(request), at=at_of(request)
        ),
        _("The thresholds are changed."),
    )


@require_POST
def budget_close(request: HttpRequest, pk: int) -> HttpResponse:
    """Compare spending with a budget no longer."""
    return _changed(
        request,
        pk,
        "close_form",
        lambda _found: CloseForm(request.POST),
        lambda form: services.close_budget(
            budget_id=pk, reason=form.cleaned_data["reason"], by=viewer_of(request), at=at_of(request)
        ),
        _("The budget is closed. What it held goes on."),
    )


# ------------------------------------------------------------------------------------------------ on overviews
def _card(viewer: Viewer, scope: Organization | Project, name: str) -> Panel | None:
    assert viewer.person is not None
    found = selectors.budgets_of(scope, viewer.person, at=viewer.at)  # type: ignore[arg-type]
    if not found:
        return None
    return Panel(
        gettext_lazy("Budgets"),
        "bursar/budgets/_panel.html",
        icon="pig-money",
        data=rows_of(found),
        url=reverse(name, args=[scope.pk]),
    )


@card("project", "budgets", order=45)
def project_card(viewer: Viewer, scope: Project) -> Panel | None:
    return _card(viewer, scope, "project_budgets")


@card("organization", "budgets", order=45)
def organization_card(viewer: Viewer, scope: Organization) -> Panel | None:
    return _card(viewer, scope, "organization_budgets")


urlpatterns = [
    path("organizations/<int:pk>/budgets/", organization_budgets, name="organization_budgets"),
    path("projects/<int:pk>/budgets/", project_budgets, name="project_budgets"),
    path("budgets/<int:pk>/", budget, name="budget"),
    path("budgets/<int:pk>/change", budget_change, name="budget_change"),
    path("budgets/<int:pk>/thresholds", budget_thresholds, name="budget_thresholds"),
    path("budgets/<int:pk>/close", budget_close, name="budget_close"),
]
