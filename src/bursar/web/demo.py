"""The demonstration's way in: six people, one click each, and nowhere but on one's own machine."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from django.http.request import split_domain_port
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Card:
    """A person of the demonstration: `key` is the part of the mail address before the @."""

    key: str
    title: str | Promise
    who: str | Promise
    text: str | Promise
    first: str | Promise
    symbol: str

    @property
    def email(self) -> str:
        return f"{self.key}@{DOMAIN}"


DOMAIN: Final = "demo.bursar.example"
CARDS: Final = (
    Card(
        "researcher",
        _("Researcher"),
        _("member of a project"),
        _("Finds a service, orders it, sees its state, what is left and until when."),
        _("open the marketplace and order a virtual machine."),
        symbol="microscope",
    ),
    Card(
        "pi",
        _("Principal investigator"),
        _("leads a project"),
        _("Approves orders, invites people, splits quota among sub-projects, sees who used what."),
        _("approve the order that waits on the first page."),
        symbol="flask",
    ),
    Card(
        "approver",
        _("Approver"),
        _("manages a university"),
        _("Sees what the university’s projects hold and use, and decides on their orders."),
        _("open a project of the university and look at its quota and usage."),
        symbol="clipboard-check",
    ),
    Card(
        "allocator",
        _("Allocator"),
        _("owns a university"),
        _("Sees the whole tree below, who runs out, who is idle, what it costs, and moves quota."),
        _("open the university’s invoices, then its budgets: one holds an order."),
        symbol="hierarchy-2",
    ),
    Card(
        "provider",
        _("Service provider"),
        _("manages a computing centre"),
        _("Publishes offerings, connects backends, sees orders, customers, usage and revenue."),
        _("look at the incoming orders, then at the revenue and at an invoice that is overdue."),
        symbol="server",
    ),
    Card(
        "operator",
        _("Platform operator"),
        _("runs this installation"),
        _("Creates organizations, authorizes providers, watches plugins and what happened."),
        _("look at the audit log, then at the tax rates and a seller’s invoices."),
        symbol="shield-check",
    ),
)


def _is_loopback(host: str) -> bool:
    name = host.strip("[]")
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_at_home(request: HttpRequest) -> bool:
    """Whether this is a demonstration, and whoever asks sits at the same machine.

    The connection comes from loopback, was taken on loopback, names loopback (a page elsewhere whose name was made to
    point here does not), and nobody passed it on.
    """
    if not settings.DEMO or getattr(settings, "SECURE_PROXY_SSL_HEADER", None):
        return False
    if any(
        name in request.headers for name in ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
    ):
        return False
    host, _port = split_domain_port(request.headers.get("Host", ""))
    places = (request.META.get("REMOTE_ADDR", ""), request.META.get("SERVER_NAME", ""), host)
    return all(_is_loopback(str(place)) for place in places)
