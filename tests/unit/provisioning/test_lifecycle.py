"""The whole product of states and actions, written out once more by hand, so that a slip of the table is seen."""

from itertools import product

import pytest

from bursar.provisioning.lifecycle import (
    OPEN_ORDER_STATES,
    ORDER_STATE_TITLES,
    ORDER_TRANSITIONS,
    RESOURCE_STATE_TITLES,
    RESOURCE_TRANSITIONS,
    AccountAction,
    AccountState,
    OrderAction,
    OrderState,
    ResourceAction,
    ResourceState,
    account_after,
    order_after,
    resource_after,
)

ORDER = {
    #                   approve             hold    reject      cancel      start        complete  fail      retry
    "pending_consumer": ["pending_provider", "held", "rejected", "canceled", None, None, None, None],
    "held": ["pending_provider", None, "rejected", "canceled", None, None, None, None],
    "pending_provider": ["pending_start", None, "rejected", "canceled", None, None, None, None],
    "pending_start": [None, None, None, "canceled", "executing", None, "failed", None],
    "executing": [None, None, None, None, None, "done", "failed", None],
    "done": [None, None, None, None, None, None, None, None],
    "failed": [None, None, None, None, None, None, None, "executing"],
    "rejected": [None, None, None, None, None, None, None, None],
    "canceled": [None, None, None, None, None, None, None, None],
}
RESOURCE = {
    #              create      change      complete  rest      fail      terminate      disappear
    "creating": [None, None, "ok", None, "failed", "terminating", None],
    "ok": [None, "changing", None, None, "failed", "terminating", None],
    "changing": [None, "changing", "ok", "paused", "failed", "terminating", None],
    "paused": [None, "changing", None, None, None, "terminating", None],
    "terminating": [None, None, None, None, "failed", None, "terminated"],
    "terminated": [None, None, None, None, None, None, None],
    "failed": ["creating", "changing", None, None, None, "terminating", None],
}
ACCOUNT = {
    #          connect  activate  block    unblock   end
    "wanted": [None, "active", None, None, "ended"],
    "active": [None, None, "blocked", None, "ended"],
    "blocked": [None, None, None, "active", None],
    "ended": ["wanted", None, None, None, None],
}
ACCOUNT_ACTIONS = ["connect", "activate", "block", "unblock", "end"]
ORDER_ACTIONS = ["approve", "hold", "reject", "cancel", "start", "complete", "fail", "retry"]
RESOURCE_ACTIONS = ["create", "change", "complete", "rest", "fail", "terminate", "disappear"]


@pytest.mark.parametrize("state, action", list(product(OrderState, OrderAction)))
def test_order_after__every_state_and_action__is_as_written_here(state: OrderState, action: OrderAction) -> None:
    assert order_after(state, action) == ORDER[state][ORDER_ACTIONS.index(action)]


@pytest.mark.parametrize("state, action", list(product(ResourceState, ResourceAction)))
def test_resource_after__every_state_and_action__is_as_written_here(
    state: ResourceState, action: ResourceAction
) -> None:
    assert resource_after(state, action) == RESOURCE[state][RESOURCE_ACTIONS.index(action)]


@pytest.mark.parametrize("state, action", list(product(AccountState, AccountAction)))
def test_account_after__every_state_and_action__is_as_written_here(state: AccountState, action: AccountAction) -> None:
    assert account_after(state, action) == ACCOUNT[state][ACCOUNT_ACTIONS.index(action)]


def test_order_states__those_nothing_leads_out_of__are_the_ends() -> None:
    ends = set(OrderState) - {state for state, _ in ORDER_TRANSITIONS}
    assert ends == {OrderState.DONE, OrderState.REJECTED, OrderState.CANCELED}
    assert ends.isdisjoint(OPEN_ORDER_STATES)


def test_resource_states__those_nothing_leads_out_of__are_the_ends() -> None:
    assert set(ResourceState) - {state for state, _ in RESOURCE_TRANSITIONS} == {ResourceState.TERMINATED}


def test_states__every_one__has_a_title_and_can_be_reached() -> None:
    assert set(ORDER_STATE_TITLES) == set(OrderState)
    assert set(RESOURCE_STATE_TITLES) == set(ResourceState)
    assert set(ORDER_TRANSITIONS.values()) | {OrderState.PENDING_CONSUMER} == set(OrderState)
    assert set(RESOURCE_TRANSITIONS.values()) == set(ResourceState)
