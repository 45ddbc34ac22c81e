"""The verbs that write. Each is one transaction: lock, decide, write, record the event, queue what follows.

`by` is who does it (None = the system), `at` when it takes effect; rights are asked of `roles.require`.
"""

from bursar.provisioning.services.account_policies import set_account_policy
from bursar.provisioning.services.accounts import (
    block_account,
    connect_account,
    disconnect_account,
    remove_local_account,
    set_local_account,
    unblock_account,
)
from bursar.provisioning.services.holds import agree_to_spend, lift_holds, refuse_to_spend, set_hold
from bursar.provisioning.services.imports import TakeOver, importable, take_over
from bursar.provisioning.services.orders import (
    approve_order,
    assign_order,
    cancel_order,
    check_plan,
    comment_order,
    reject_order,
    retry_order,
    start_order,
    submit_change,
    submit_order,
    submit_termination,
)
from bursar.provisioning.services.policies import Line, ProviderApproval, set_policies, set_provider_approval
from bursar.provisioning.services.resources import (
    act,
    ask_again,
    confirm_work,
    pause_resource,
    refuse_work,
    rename_resource,
    require_either_side,
    resume_resource,
    set_end,
)
from bursar.provisioning.services.usage import report_usage

__all__ = [
    "Line",
    "ProviderApproval",
    "TakeOver",
    "act",
    "agree_to_spend",
    "approve_order",
    "ask_again",
    "assign_order",
    "block_account",
    "cancel_order",
    "check_plan",
    "comment_order",
    "confirm_work",
    "connect_account",
    "disconnect_account",
    "importable",
    "lift_holds",
    "pause_resource",
    "refuse_to_spend",
    "refuse_work",
    "reject_order",
    "remove_local_account",
    "rename_resource",
    "report_usage",
    "require_either_side",
    "resume_resource",
    "retry_order",
    "set_account_policy",
    "set_end",
    "set_hold",
    "set_local_account",
    "set_policies",
    "set_provider_approval",
    "start_order",
    "submit_change",
    "submit_order",
    "submit_termination",
    "take_over",
    "unblock_account",
]
