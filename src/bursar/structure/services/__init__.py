"""The verbs that write. Each is one transaction: lock, decide, write, record the event, ask for the mail.

`by` is who does it (None = the system), `at` when it takes effect; rights are asked of `roles.require`.
"""

from bursar.structure.services.invitations import (
    SentInvitation,
    accept_invitation,
    decline_invitation,
    invite,
    resend_invitation,
    revoke_invitation,
)
from bursar.structure.services.memberships import (
    change_membership,
    change_role,
    change_until,
    end_membership,
    give_membership,
    hand_over_project,
    note_expired_memberships,
)
from bursar.structure.services.organizations import (
    archive_organization,
    create_organization,
    edit_organization,
    unarchive_organization,
)
from bursar.structure.services.people import (
    add_ssh_key,
    deactivate_person,
    edit_person,
    reactivate_person,
    register_person,
    remove_ssh_key,
    settle_in,
)
from bursar.structure.services.projects import (
    archive_project,
    create_project,
    edit_project,
    end_project,
    unarchive_project,
)
from bursar.structure.services.tokens import (
    NewToken,
    authenticate_token,
    create_token,
    revoke_token,
    roll_token,
)

__all__ = [
    "NewToken",
    "SentInvitation",
    "accept_invitation",
    "add_ssh_key",
    "archive_organization",
    "archive_project",
    "authenticate_token",
    "change_membership",
    "change_role",
    "change_until",
    "create_organization",
    "create_project",
    "create_token",
    "deactivate_person",
    "decline_invitation",
    "edit_organization",
    "edit_person",
    "edit_project",
    "end_membership",
    "end_project",
    "give_membership",
    "hand_over_project",
    "invite",
    "note_expired_memberships",
    "reactivate_person",
    "register_person",
    "remove_ssh_key",
    "resend_invitation",
    "revoke_invitation",
    "revoke_token",
    "roll_token",
    "settle_in",
    "unarchive_organization",
    "unarchive_project",
]
