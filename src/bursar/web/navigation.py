"""The menu: what each person is offered, by what the role table lets them do somewhere."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bursar.structure.roles import Permission
from bursar.web.viewer import Viewer


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the menu.

    name    of the address; an entry whose page does not exist is left out
    needs   any of these permissions, held somewhere; empty = everybody
    """

    title: str | Promise
    name: str
    icon: str
    needs: Sequence[Permission] = ()


@dataclass(frozen=True, slots=True)
class Group:
    title: str | Promise
    entries: Sequence[Entry]


MENU: Final = (
    Group(
        _("My work"),
        (
            Entry(_("Home"), "home", icon="home"),
            Entry(_("Projects"), "projects", icon="folders"),
            Entry(_("Resources"), "resources", icon="server"),
            Entry(_("Orders"), "orders", icon="receipt"),
            Entry(_("Applications"), "applications", icon="file-text"),
            Entry(_("Accounts at providers"), "my_accounts", icon="id-badge-2"),
        ),
    ),
    Group(
        "",
        (
            Entry(_("Marketplace"), "marketplace", icon="building-store"),
            Entry(_("Prices"), "prices", icon="coin"),
        ),
    ),
    Group(
        _("Quota"),
        (
            Entry(_("Allocations"), "allocations", icon="hierarchy-2"),
            Entry(_("Applications to judge"), "grant_queue", icon="inbox", needs=(Permission.VIEW_GRANTS,)),
            Entry(_("Giving grants"), "grant_givers", icon="adjustments", needs=(Permission.MANAGE_GRANTS,)),
            Entry(_("Organizations"), "organizations", icon="building", needs=(Permission.VIEW_ORGANIZATION,)),
        ),
    ),
    Group(
        _("Billing"),
        (
            Entry(_("Invoices"), "invoices", icon="file-invoice", needs=(Permission.VIEW_BILLING,)),
            Entry(_("Customers’ invoices"), "provider_invoices", icon="receipt-2", needs=(Permission.VIEW_REVENUE,)),
            Entry(_("Credits"), "provider_credits", icon="coins", needs=(Permission.VIEW_REVENUE,)),
            Entry(_("Revenue"), "provider_revenue", icon="chart-bar", needs=(Permission.VIEW_REVENUE,)),
        ),
    ),
    Group(
        _("Provider"),
        (
            Entry(_("Overview"), "provider_home", icon="certificate", needs=(Permission.VIEW_PROVIDER,)),
            Entry(_("Offerings"), "provider_offerings", icon="box", needs=(Permission.VIEW_PROVIDER,)),
            Entry(_("Incoming orders"), "provider_orders", icon="inbox", needs=(Permission.HANDLE_ORDERS,)),
            Entry(
                _("Product categories"), "provider_categories", icon="ruler-measure", needs=(Permission.VIEW_PROVIDER,)
            ),
            Entry(_("Backends"), "provider_backends", icon="plug", needs=(Permission.MANAGE_BACKENDS,)),
            Entry(_("Customers’ resources"), "provider_resources", icon="server-2", needs=(Permission.VIEW_PROVIDER,)),
            Entry(_("Local accounts"), "provider_accounts", icon="id-badge-2", needs=(Permission.MANAGE_ACCOUNTS,)),
        ),
    ),
    Group(
        _("Operator"),
        (
            Entry(_("Providers"), "operator_providers", icon="certificate", needs=(Permission.READ_PLATFORM,)),
            Entry(_("People"), "operator_people", icon="users", needs=(Permission.READ_PLATFORM,)),
            Entry(_("Tax rates"), "tax_rates", icon="percentage", needs=(Permission.READ_PLATFORM,)),
            Entry(_("Shelves"), "operator_shelves", icon="category", needs=(Permission.OPERATE_PLATFORM,)),
            Entry(_("Plugins"), "operator_plugins", icon="puzzle", needs=(Permission.READ_PLATFORM,)),
            Entry(_("Jobs"), "operator_jobs", icon="stack-2", needs=(Permission.READ_PLATFORM,)),
            Entry(_("Audit log"), "operator_events", icon="history", needs=(Permission.READ_PLATFORM,)),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Shown:
    title: str | Promise
    url: str
    symbol: str
    current: bool
    count: int = 0


@dataclass(frozen=True, slots=True)
class ShownGroup:
    title: str | Promise
    entries: Sequence[Shown]


# Name of an entry -> how much waits behind it for this viewer; filled by the modules that know (bursar.web.panels).
COUNTERS: dict[str, Callable[[Viewer], int]] = {}


def menu_for(request: HttpRequest) -> list[ShownGroup]:
    """The groups and entries the viewer is offered, the one of the present page marked."""
    viewer: Viewer = request.viewer  # type: ignore[attr-defined]
    if viewer.person is None:
        return []
    offered: list[tuple[Group, list[tuple[Entry, str]]]] = []
    for group in MENU:
        entries = []
        for entry in group.entries:
            if entry.needs and viewer.permissions.isdisjoint(entry.needs):
                continue
            try:
                entries.append((entry, reverse(entry.name)))
            except NoReverseMatch:
                continue
        if entries:
            offered.append((group, entries))
    # The longest address that the present one begins with is where we are.
    addresses = [url for _group, entries in offered for _entry, url in entries]
    here = max((url for url in addresses if _begins(request.path, url)), key=len, default="")
    return [
        ShownGroup(
            group.title,
            [
                Shown(
                    entry.title,
                    url,
                    entry.icon,
                    url == here,
                    COUNTERS[entry.name](viewer) if entry.name in COUNTERS else 0,
                )
                for entry, url in entries
            ],
        )
        for group, entries in offered
    ]


def _begins(path: str, url: str) -> bool:
    return path == url or (url != "/" and path.startswith(url))
