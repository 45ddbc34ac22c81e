"""The life of an order, of a resource and of a local account: three tables, read by services, pages and tests."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from django.utils.translation import gettext_lazy as _


class OrderState(StrEnum):
    PENDING_CONSUMER = "pending_consumer"  # the customer's side has to agree
    HELD = "held"  # a budget is spent so far that whoever answers for it has to agree
    PENDING_PROVIDER = "pending_provider"  # the provider has to agree
    PENDING_START = "pending_start"  # agreed; its start date has not come
    EXECUTING = "executing"  # the backend is being made to match
    DONE = "done"  # the backend matches
    FAILED = "failed"  # the backend refused; may be retried
    REJECTED = "rejected"  # somebody who was asked said no
    CANCELED = "canceled"  # taken back before it was executed

    @property
    def label(self) -> str:
        return str(ORDER_STATE_TITLES[self])


ORDER_STATE_TITLES: Final = {
    OrderState.PENDING_CONSUMER: _("awaits your side"),
    OrderState.HELD: _("held by a budget"),
    OrderState.PENDING_PROVIDER: _("awaits the provider"),
    OrderState.PENDING_START: _("awaits its start"),
    OrderState.EXECUTING: _("being carried out"),
    OrderState.DONE: _("done"),
    OrderState.FAILED: _("failed"),
    OrderState.REJECTED: _("rejected"),
    OrderState.CANCELED: _("canceled"),
}


class OrderAction(StrEnum):
    APPROVE = "approve"
    HOLD = "hold"
    REJECT = "reject"
    CANCEL = "cancel"
    START = "start"
    COMPLETE = "complete"
    FAIL = "fail"
    RETRY = "retry"


_O, _A = OrderState, OrderAction
ORDER_TRANSITIONS: Final[Mapping[tuple[OrderState, OrderAction], OrderState]] = {
    (_O.PENDING_CONSUMER, _A.APPROVE): _O.PENDING_PROVIDER,
    (_O.PENDING_CONSUMER, _A.REJECT): _O.REJECTED,
    (_O.PENDING_CONSUMER, _A.CANCEL): _O.CANCELED,
    (_O.PENDING_CONSUMER, _A.HOLD): _O.HELD,
    (_O.HELD, _A.APPROVE): _O.PENDING_PROVIDER,
    (_O.HELD, _A.REJECT): _O.REJECTED,
    (_O.HELD, _A.CANCEL): _O.CANCELED,
    (_O.PENDING_PROVIDER, _A.APPROVE): _O.PENDING_START,
    (_O.PENDING_PROVIDER, _A.REJECT): _O.REJECTED,
    (_O.PENDING_PROVIDER, _A.CANCEL): _O.CANCELED,
    (_O.PENDING_START, _A.START): _O.EXECUTING,
    (_O.PENDING_START, _A.FAIL): _O.FAILED,  # what it asks for may no longer be given when its day comes
    (_O.PENDING_START, _A.CANCEL): _O.CANCELED,
    (_O.EXECUTING, _A.COMPLETE): _O.DONE,
    (_O.EXECUTING, _A.FAIL): _O.FAILED,
    (_O.FAILED, _A.RETRY): _O.EXECUTING,
}

# One such order per resource at most; the partial unique index holds the same list.
OPEN_ORDER_STATES: Final = (_O.PENDING_CONSUMER, _O.HELD, _O.PENDING_PROVIDER, _O.PENDING_START, _O.EXECUTING)


class ResourceState(StrEnum):
    CREATING = "creating"  # ordered; the backend does not have it yet
    OK = "ok"  # the backend matches the wish
    CHANGING = "changing"  # it exists, and the backend is being made to match a newer wish
    PAUSED = "paused"  # it exists and stands still, as wished
    TERMINATING = "terminating"  # the backend is to hold it no longer
    TERMINATED = "terminated"  # gone; its last usage is in
    FAILED = "failed"  # the backend refused the wish

    @property
    def label(self) -> str:
        return str(RESOURCE_STATE_TITLES[self])


RESOURCE_STATE_TITLES: Final = {
    ResourceState.CREATING: _("being created"),
    ResourceState.OK: _("ready"),
    ResourceState.CHANGING: _("being changed"),
    ResourceState.PAUSED: _("paused"),
    ResourceState.TERMINATING: _("being terminated"),
    ResourceState.TERMINATED: _("terminated"),
    ResourceState.FAILED: _("failed"),
}


class ResourceAction(StrEnum):
    CREATE = "create"  # ask (again) for it to be made
    CHANGE = "change"  # the wish changed: plan, limits, paused or not
    COMPLETE = "complete"  # the backend matches, and it runs
    REST = "rest"  # the backend matches, and it is paused
    FAIL = "fail"  # the backend refuses
    TERMINATE = "terminate"
    DISAPPEAR = "disappear"  # the backend holds it no longer, and its usage is in


_R, _B = ResourceState, ResourceAction
RESOURCE_TRANSITIONS: Final[Mapping[tuple[ResourceState, ResourceAction], ResourceState]] = {
    (_R.CREATING, _B.COMPLETE): _R.OK,
    (_R.CREATING, _B.FAIL): _R.FAILED,
    (_R.CREATING, _B.TERMINATE): _R.TERMINATING,
    (_R.OK, _B.CHANGE): _R.CHANGING,
    (_R.OK, _B.FAIL): _R.FAILED,
    (_R.OK, _B.TERMINATE): _R.TERMINATING,
    (_R.CHANGING, _B.CHANGE): _R.CHANGING,
    (_R.CHANGING, _B.COMPLETE): _R.OK,
    (_R.CHANGING, _B.REST): _R.PAUSED,
    (_R.CHANGING, _B.FAIL): _R.FAILED,
    (_R.CHANGING, _B.TERMINATE): _R.TERMINATING,
    (_R.PAUSED, _B.CHANGE): _R.CHANGING,
    (_R.PAUSED, _B.TERMINATE): _R.TERMINATING,
    (_R.TERMINATING, _B.DISAPPEAR): _R.TERMINATED,
    (_R.TERMINATING, _B.FAIL): _R.FAILED,
    (_R.FAILED, _B.CREATE): _R.CREATING,
    (_R.FAILED, _B.CHANGE): _R.CHANGING,
    (_R.FAILED, _B.TERMINATE): _R.TERMINATING,
}

# States in which a resource may use something and is looked after.
LIVE_RESOURCE_STATES: Final = (_R.OK, _R.CHANGING, _R.PAUSED)


class AccountState(StrEnum):
    WANTED = "wanted"  # somebody asked for it; whoever makes accounts there has not answered yet
    ACTIVE = "active"  # it may be used
    BLOCKED = "blocked"  # the provider lets it not be used; what belongs to it stays
    ENDED = "ended"  # given up; its name and number stay its own, for when the person comes back

    @property
    def label(self) -> str:
        return str(ACCOUNT_STATE_TITLES[self])


ACCOUNT_STATE_TITLES: Final = {
    AccountState.WANTED: _("asked for"),
    AccountState.ACTIVE: _("active"),
    AccountState.BLOCKED: _("blocked"),
    AccountState.ENDED: _("disconnected"),
}


class AccountAction(StrEnum):
    CONNECT = "connect"  # ask for it (again)
    ACTIVATE = "activate"  # it is there: said by the plugin or by the provider
    BLOCK = "block"
    UNBLOCK = "unblock"
    END = "end"  # by the person, or by the provider


_S, _C = AccountState, AccountAction
# A blocked account cannot be ended: whoever is blocked would end it, connect anew and be in again.
ACCOUNT_TRANSITIONS: Final[Mapping[tuple[AccountState, AccountAction], AccountState]] = {
    (_S.WANTED, _C.ACTIVATE): _S.ACTIVE,
    (_S.WANTED, _C.END): _S.ENDED,
    (_S.ACTIVE, _C.BLOCK): _S.BLOCKED,
    (_S.ACTIVE, _C.END): _S.ENDED,
    (_S.BLOCKED, _C.UNBLOCK): _S.ACTIVE,
    (_S.ENDED, _C.CONNECT): _S.WANTED,
}


def order_after(state: OrderState, action: OrderAction) -> OrderState | None:
    """The order's state that follows, or None where the action is not open."""
    return ORDER_TRANSITIONS.get((state, action))


def resource_after(state: ResourceState, action: ResourceAction) -> ResourceState | None:
    """The resource's state that follows, or None where the action is not open."""
    return RESOURCE_TRANSITIONS.get((state, action))


def account_after(state: AccountState, action: AccountAction) -> AccountState | None:
    """The local account's state that follows, or None where the action is not open."""
    return ACCOUNT_TRANSITIONS.get((state, action))
