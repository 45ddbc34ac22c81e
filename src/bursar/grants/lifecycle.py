"""The life of an application and of each giver's part in it: two tables, read by services, pages and tests."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from django.utils.translation import gettext_lazy as _


class ApplicationState(StrEnum):
    DRAFT = "draft"  # seen by nobody but the applicant's side
    SUBMITTED = "submitted"  # each giver decides its part
    APPROVED = "approved"  # awarded, in the same instant
    REJECTED = "rejected"  # a giver said no, and the parts do not stand alone
    WITHDRAWN = "withdrawn"  # taken back by the applicant's side

    @property
    def label(self) -> str:
        return str(APPLICATION_STATE_TITLES[self])


APPLICATION_STATE_TITLES: Final = {
    ApplicationState.DRAFT: _("draft"),
    ApplicationState.SUBMITTED: _("submitted"),
    ApplicationState.APPROVED: _("approved"),
    ApplicationState.REJECTED: _("rejected"),
    ApplicationState.WITHDRAWN: _("withdrawn"),
}


class ApplicationAction(StrEnum):
    SAVE = "save"  # what a draft says
    SUBMIT = "submit"
    REVISE = "revise"  # another revision, by the applicant or by a giver
    AGREE = "agree"  # the applicant, to what a giver changed
    JUDGE = "judge"  # one giver, its part; others are still awaited
    APPROVE = "approve"  # the last part was decided
    REJECT = "reject"
    WITHDRAW = "withdraw"


_S, _A = ApplicationState, ApplicationAction
APPLICATION_TRANSITIONS: Final[Mapping[tuple[ApplicationState, ApplicationAction], ApplicationState]] = {
    (_S.DRAFT, _A.SAVE): _S.DRAFT,
    (_S.DRAFT, _A.SUBMIT): _S.SUBMITTED,
    (_S.DRAFT, _A.WITHDRAW): _S.WITHDRAWN,
    (_S.SUBMITTED, _A.REVISE): _S.SUBMITTED,
    (_S.SUBMITTED, _A.AGREE): _S.SUBMITTED,
    (_S.SUBMITTED, _A.JUDGE): _S.SUBMITTED,
    (_S.SUBMITTED, _A.APPROVE): _S.APPROVED,
    (_S.SUBMITTED, _A.REJECT): _S.REJECTED,
    (_S.SUBMITTED, _A.WITHDRAW): _S.WITHDRAWN,
}

CLOSED_STATES: Final = (_S.APPROVED, _S.REJECTED, _S.WITHDRAWN)


class PartState(StrEnum):
    PENDING = "pending"  # the giver is awaited
    APPROVED = "approved"  # for the revision as it is
    REJECTED = "rejected"  # for good
    LEFT = "left"  # no longer asked: handed over, or taken out by the applicant

    @property
    def label(self) -> str:
        return str(PART_STATE_TITLES[self])


PART_STATE_TITLES: Final = {
    PartState.PENDING: _("awaited"),
    PartState.APPROVED: _("approved"),
    PartState.REJECTED: _("rejected"),
    PartState.LEFT: _("no longer asked"),
}


class PartAction(StrEnum):
    ASK = "ask"  # a giver that had left is asked again
    RESET = "reset"  # its amounts changed
    APPROVE = "approve"
    REJECT = "reject"
    LEAVE = "leave"


_P, _B = PartState, PartAction
PART_TRANSITIONS: Final[Mapping[tuple[PartState, PartAction], PartState]] = {
    (_P.PENDING, _B.RESET): _P.PENDING,
    (_P.PENDING, _B.APPROVE): _P.APPROVED,
    (_P.PENDING, _B.REJECT): _P.REJECTED,
    (_P.PENDING, _B.LEAVE): _P.LEFT,
    (_P.APPROVED, _B.RESET): _P.PENDING,
    (_P.APPROVED, _B.REJECT): _P.REJECTED,  # while nothing was awarded, a giver may change its mind
    (_P.APPROVED, _B.LEAVE): _P.LEFT,
    (_P.LEFT, _B.ASK): _P.PENDING,
}

# The givers that an application concerns now; those who left have no rights in it.
PRESENT_PARTS: Final = (_P.PENDING, _P.APPROVED, _P.REJECTED)


def application_after(state: ApplicationState, action: ApplicationAction) -> ApplicationState | None:
    """The application's state that follows, or None where the action is not open."""
    return APPLICATION_TRANSITIONS.get((state, action))


def part_after(state: PartState, action: PartAction) -> PartState | None:
    """The part's state that follows, or None where the action is not open."""
    return PART_TRANSITIONS.get((state, action))
