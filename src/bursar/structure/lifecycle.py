"""What an invitation goes through. An answer or a revocation ends it; time may, and sending again undoes that."""

from enum import StrEnum

from django.utils.translation import gettext_lazy as _


class InvitationState(StrEnum):
    OPEN = "open"  # waits for an answer
    EXPIRED = "expired"  # ran out unanswered; may be sent again
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REVOKED = "revoked"

    @property
    def title(self) -> str:  # type: ignore[override]
        return str(_TITLES[self])


_TITLES = {
    InvitationState.OPEN: _("open"),
    InvitationState.EXPIRED: _("expired"),
    InvitationState.ACCEPTED: _("accepted"),
    InvitationState.DECLINED: _("declined"),
    InvitationState.REVOKED: _("revoked"),
}


class ProjectState(StrEnum):
    UPCOMING = "upcoming"
    ACTIVE = "active"
    ENDED = "ended"
    ARCHIVED = "archived"

    @property
    def title(self) -> str:  # type: ignore[override]
        return str(_PROJECT_TITLES[self])


_PROJECT_TITLES = {
    ProjectState.UPCOMING: _("upcoming"),
    ProjectState.ACTIVE: _("active"),
    ProjectState.ENDED: _("ended"),
    ProjectState.ARCHIVED: _("archived"),
}
