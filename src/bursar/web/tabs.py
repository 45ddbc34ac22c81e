"""The tabs and cards of a project's and an organization's pages, to which other modules add theirs.

A tab is a page of its own at an address with the scope's id, such as `path("projects/<int:pk>/wallets/", …,
name="project_wallets")`; its template extends `bursar/structure/project_base.html` (or `organization_base.html`), fills the block
`tab`, and gets `scope_page(request, project, "wallets")` in its context. A card stands on the overview.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bursar.structure.models import Organization, Project
from bursar.structure.roles import Permission, permissions_in
from bursar.web.panels import Panel
from bursar.web.viewer import Viewer


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab.

    name    of the address; a tab whose page does not exist is left out
    needs   the permission in the scope without which it is not offered; None = seeing the scope is enough
    """

    key: str
    title: str | Promise
    name: str
    icon: str
    order: int
    needs: Permission | None = None


PROJECT_TABS: Final[list[Tab]] = [
    Tab("overview", _("Overview"), "project", icon="folder", order=10),
    Tab("members", _("Members"), "project_members", icon="users", order=20),
    Tab("wallets", _("Quota"), "project_wallets", icon="wallet", order=30),
    Tab("resources", _("Resources"), "project_resources", icon="server", order=40),
    Tab("orders", _("Orders"), "project_orders", icon="receipt", order=50),
    Tab(
        "applications",
        _("Applications"),
        "project_applications",
        icon="file-text",
        order=35,
        needs=Permission.APPLY_FOR_GRANTS,
    ),
    Tab("usage", _("Usage"), "project_usage", icon="chart-bar", order=60),
    Tab("costs", _("Costs"), "project_costs", icon="coin", order=65, needs=Permission.VIEW_COSTS),
    Tab("budgets", _("Budgets"), "project_budgets", icon="pig-money", order=66, needs=Permission.VIEW_COSTS),
    Tab("policies", _("Approval"), "project_policies", icon="checklist", order=70),
    Tab("history", _("History"), "project_history", icon="history", order=90),
]
ORGANIZATION_TABS: Final[list[Tab]] = [
    Tab("overview", _("Overview"), "organization", icon="building", order=10),
    Tab("projects", _("Projects"), "organization_projects", icon="folders", order=20),
    Tab("members", _("Members"), "organization_members", icon="users", order=30),
    Tab("wallets", _("Quota"), "organization_wallets", icon="wallet", order=40),
    Tab("resources", _("Resources"), "organization_resources", icon="server", order=50),
    Tab("orders", _("Orders"), "organization_orders", icon="receipt", order=60),
    Tab("usage", _("Usage"), "organization_usage", icon="chart-bar", order=70),
    Tab("billing", _("Billing"), "organization_billing", icon="coin", order=75, needs=Permission.VIEW_BILLING),
    Tab("budgets", _("Budgets"), "organization_budgets", icon="pig-money", order=76, needs=Permission.VIEW_COSTS),
    Tab("policies", _("Approval"), "organization_policies", icon="checklist", order=80),
    Tab("history", _("History"), "organization_history", icon="history", order=90),
]


@dataclass(frozen=True, slots=True)
class ShownTab:
    title: str | Promise
    url: str
    symbol: str
    current: bool


def tabs_of(scope: Organization | Project, can: frozenset[Permission], current: str) -> list[ShownTab]:
    """The tabs of the scope that are there and may be opened, in order."""
    shown = []
    for tab in sorted(PROJECT_TABS if isinstance(scope, Project) else ORGANIZATION_TABS, key=lambda tab: tab.order):
        if tab.needs is not None and tab.needs not in can:
            continue
        try:
            url = reverse(tab.name, args=[scope.pk])
        except NoReverseMatch:
            continue
        shown.append(ShownTab(tab.title, url, tab.icon, tab.key == current))
    return shown


def scope_page(request: HttpRequest, scope: Organization | Project, current: str) -> dict[str, Any]:
    """What every page of a scope needs: the scope, its tabs, and `can`, the permissions of the viewer as words."""
    can = permissions_in(request.viewer.person, scope, request.at)  # type: ignore[attr-defined]
    return {
        "scope": scope,
        "project" if isinstance(scope, Project) else "organization": scope,
        "tabs": tabs_of(scope, can, current),
        "can": frozenset(str(p) for p in can),
        "state": scope.state(request.at) if isinstance(scope, Project) else "",  # type: ignore[attr-defined]
    }


# ------------------------------------------------------------------------------------------------ cards of the overview
Load = Callable[[Viewer, Any], Panel | None]
_CARDS: Final[dict[tuple[str, str], tuple[int, Load]]] = {}


def card(kind: str, name: str, *, order: int) -> Callable[[Load], Load]:
    """`@card("project", "wallets", order=30)` above a function (viewer, project) -> Panel, or None for nothing."""

    def add(load: Load) -> Load:
        _CARDS[kind, name] = (order, load)
        return load

    return add


def cards_of(viewer: Viewer, scope: Organization | Project) -> list[Panel]:
    """The cards that other modules show on the overview of the scope."""
    kind = "project" if isinstance(scope, Project) else "organization"
    loads = sorted(
        ((order, name, load) for (k, name), (order, load) in _CARDS.items() if k == kind), key=lambda x: x[:2]
    )
    return [panel for _order, _name, load in loads if (panel := load(viewer, scope)) is not None]
