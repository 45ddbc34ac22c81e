"""One colour, one icon and one wording for each state, wherever it is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True)
class Look:
    colour: str
    words: str | Promise
    icon: str = ""


LOOKS: Final[Mapping[str, Look]] = {
    # orders
    "pending_consumer": Look("yellow", _("Waiting for approval"), icon="hourglass"),
    "held": Look("orange", _("Held by a budget"), icon="pig-money"),
    "pending_provider": Look("yellow", _("Waiting for the provider"), icon="hourglass"),
    "pending_start": Look("azure", _("Waiting for its start"), icon="clock"),
    "executing": Look("blue", _("Being carried out"), icon="loader-2"),
    "done": Look("green", _("Done"), icon="check"),
    "rejected": Look("red", _("Rejected"), icon="x"),
    "canceled": Look("secondary", _("Canceled"), icon="ban"),
    "failed": Look("red", _("Failed"), icon="alert-triangle"),
    # resources
    "creating": Look("blue", _("Being created"), icon="loader-2"),
    "ok": Look("green", _("OK"), icon="circle-check"),
    "changing": Look("blue", _("Being changed"), icon="loader-2"),
    "paused": Look("orange", _("Paused"), icon="player-pause"),
    "terminating": Look("orange", _("Being terminated"), icon="loader-2"),
    "terminated": Look("secondary", _("Terminated"), icon="square-off"),
    # invoices
    "provisional": Look("secondary", _("Provisional"), icon="pencil"),
    "issued": Look("azure", _("Issued"), icon="send"),
    "part_paid": Look("yellow", _("Part paid"), icon="coins"),
    "paid": Look("green", _("Paid"), icon="check"),
    "credited": Look("secondary", _("Credited"), icon="arrow-back-up"),
    "overdue": Look("red", _("Overdue"), icon="alert-triangle"),
    # offerings
    "draft": Look("secondary", _("Draft"), icon="pencil"),
    "active": Look("green", _("Active"), icon="circle-check"),
    "archived": Look("secondary", _("Archived"), icon="archive"),
    # applications and their parts
    "submitted": Look("yellow", _("Submitted"), icon="hourglass"),
    "pending": Look("yellow", _("Awaited"), icon="hourglass"),
    "approved": Look("green", _("Approved"), icon="check"),
    "withdrawn": Look("secondary", _("Withdrawn"), icon="ban"),
    "left": Look("secondary", _("No longer asked"), icon="ban"),
    # allocations and wallets
    "planned": Look("azure", _("Not yet started"), icon="clock"),
    "scheduled": Look("azure", _("Not yet started"), icon="clock"),
    "unmade": Look("secondary", _("Not yet given"), icon="clock"),
    "running": Look("green", _("Running"), icon="circle-check"),
    "grace": Look("orange", _("In grace"), icon="hourglass"),
    "closed": Look("secondary", _("Closed"), icon="lock"),
    "expired": Look("secondary", _("Expired"), icon="calendar-off"),
    "rolled": Look("azure", _("Being replaced"), icon="refresh"),
    "revoked": Look("secondary", _("Revoked"), icon="ban"),
    "locked": Look("red", _("Locked"), icon="lock"),
    "over": Look("red", _("Over quota"), icon="alert-triangle"),
    "free": Look("green", _("Available"), icon="lock-open"),
    "at_risk": Look("orange", _("At risk"), icon="alert-triangle"),
    "idle": Look("secondary", _("Idle"), icon="zzz"),
    "under_used": Look("azure", _("Under-used"), icon="trending-down"),
    # backends
    "unknown": Look("secondary", _("Not checked yet"), icon="help"),
    "warning": Look("orange", _("Warning"), icon="alert-triangle"),
    "broken": Look("red", _("Broken"), icon="plug-connected-x"),
    # agents at providers' sites
    "unseen": Look("yellow", _("No agent yet"), icon="hourglass"),
    "heard": Look("green", _("Agent at work"), icon="heartbeat"),
    "silent": Look("red", _("Agent silent"), icon="heart-off"),
    "stopped": Look("red", _("Agent stopped"), icon="player-stop"),
    "dropped": Look("red", _("Its agent names it no longer"), icon="unlink"),
    # what a provider's side says
    "info": Look("azure", _("Note"), icon="info-circle"),
    "error": Look("red", _("Trouble"), icon="alert-circle"),
    # local accounts
    "wanted": Look("yellow", _("Asked for"), icon="hourglass"),
    "blocked": Look("red", _("Blocked"), icon="ban"),
    "disconnected": Look("secondary", _("Disconnected"), icon="plug-connected-x"),
    "none": Look("secondary", _("No account"), icon="minus"),
    # invitations and memberships
    "open": Look("yellow", _("Open"), icon="mail"),
    "accepted": Look("green", _("Accepted"), icon="check"),
    "declined": Look("red", _("Declined"), icon="x"),
    "ended": Look("secondary", _("Ended"), icon="calendar-off"),
    "yes": Look("green", _("Yes"), icon="check"),
    "no": Look("secondary", _("No"), icon="x"),
}


def look_of(state: str) -> Look:
    """The look of a state; an unknown one is shown as it is, in grey."""
    return LOOKS.get(state, Look("secondary", state.replace("_", " ").capitalize()))
