"""The verbs that write. Each is one transaction: lock, decide, write, record the event, ask for the mail.

`by` is who does it (None = the system), `at` when it takes effect. Whoever may not see an application is told that
there is none; what is then not theirs to do is refused by the role table.
"""

from django.db.transaction import atomic as together

from bursar.grants.rules import Rule
from bursar.grants.services.applications import (
    Amount,
    Answers,
    Wish,
    agree,
    change_amounts,
    choose_givers,
    draft_application,
    revise_application,
    save_draft,
    submit_application,
    wish_of,
    withdraw_application,
)
from bursar.grants.services.award import revoke_grant
from bursar.grants.services.comments import attach_file, comment_application, remove_file, withdraw_comment
from bursar.grants.services.decisions import approve_part, hand_over, reject_part
from bursar.grants.services.gifts import (
    ask_for_gifts_at_login,
    claim_gift,
    close_gift,
    give_gifts_at_login,
    offer_gift,
    set_gift_at_login,
)
from bursar.grants.services.givers import Line, remove_logo, set_form, set_giver, set_logo, set_rules
from bursar.grants.services.notices import read_notice, read_notices, set_notices

__all__ = [
    "Amount",
    "Answers",
    "Line",
    "Rule",
    "Wish",
    "agree",
    "approve_part",
    "ask_for_gifts_at_login",
    "attach_file",
    "change_amounts",
    "choose_givers",
    "claim_gift",
    "close_gift",
    "comment_application",
    "draft_application",
    "give_gifts_at_login",
    "hand_over",
    "offer_gift",
    "read_notice",
    "read_notices",
    "reject_part",
    "remove_file",
    "remove_logo",
    "revise_application",
    "revoke_grant",
    "save_draft",
    "set_form",
    "set_gift_at_login",
    "set_giver",
    "set_logo",
    "set_notices",
    "set_rules",
    "submit_application",
    "together",
    "wish_of",
    "withdraw_application",
    "withdraw_comment",
]
