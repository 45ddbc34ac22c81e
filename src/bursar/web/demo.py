"""The six people of a demo: who they are, and what to try first as each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Card:
    """One person of the demo world.

    first   addresses to land on, the first that exists
    """

    key: str
    title: Text
    does: Text
    try_first: Text
    icon: str
    colour: str
    first: Sequence[str] = ("home",)

    @property
    def email(self) -> str:
        return f"{self.key}@demo.bursar.example"


CARDS: Final = (
    Card(
        "researcher",
        _("Researcher"),
        _("Member of a project who needs something to compute on."),
        _("Try this first: order cluster time in the marketplace and watch it being set up."),
        icon="microscope",
        colour="blue",
        first=("marketplace", "home"),
    ),
    Card(
        "pi",
        _("Principal investigator"),
        _("Leads a project: people, quota, orders."),
        _("Try this first: approve the order that waits for you, then see who used what."),
        icon="school",
        colour="teal",
    ),
    Card(
        "approver",
        _("Funder"),
        _("Looks after the quota of a whole university."),
        _("Try this first: open the allocations and find the project that is about to run out."),
        icon="clipboard-check",
        colour="purple",
        first=("allocations", "home"),
    ),
    Card(
        "allocator",
        _("Allocator"),
        _("Hands quota down the tree and keeps it fair."),
        _("Try this first: find the locked project, see why, and give it more."),
        icon="hierarchy-2",
        colour="orange",
        first=("allocations", "home"),
    ),
    Card(
        "provider",
        _("Service provider"),
        _("Publishes offerings and carries out orders."),
        _("Try this first: look at what was ordered, and at the health of the backends."),
        icon="server",
        colour="pink",
        first=("provider_orders", "provider_offerings", "home"),
    ),
    Card(
        "operator",
        _("Platform operator"),
        _("Keeps Bursar itself running."),
        _("Try this first: see the plugins, and what happened in the audit log."),
        icon="heart-rate-monitor",
        colour="green",
        first=("operator_events", "operator_providers", "home"),
    ),
)
