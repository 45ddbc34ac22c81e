"""What structure refuses, each with its code and what to do next."""

from dataclasses import dataclass
from typing import ClassVar

from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.i18n import N_


# ------------------------------------------------------------------------------------------------ what was written
@dataclass(eq=False)
class TextMissing(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "text_missing"
    message: ClassVar[str] = N_("This may not be empty.")
    field: str


@dataclass(eq=False)
class TextTooLong(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "text_too_long"
    message: ClassVar[str] = N_("This is too long: at most {limit} characters.")
    field: str
    limit: int


@dataclass(eq=False)
class TextNotAllowed(DomainError):
    """Control characters and marks that turn the direction of text can hide what is written."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "text_not_allowed"
    message: ClassVar[str] = N_("This holds characters that cannot be seen. Type it again instead of pasting it.")
    field: str


@dataclass(eq=False)
class InvalidValue(DomainError):
    """One of the fields with a list of possible values: country, currency, time zone, language, web site."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_value"
    message: ClassVar[str] = N_("“{value}” is not possible here: {expected}.")
    field: str
    value: str
    expected: str


@dataclass(eq=False)
class InvalidEmail(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_email"
    message: ClassVar[str] = N_("“{email}” is not a mail address.")
    email: str
    field: str = "email"


@dataclass(eq=False)
class EmailTaken(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "email_taken"
    message: ClassVar[str] = N_("Somebody with the address {email} is already registered.")
    email: str
    field: str = "email"


@dataclass(eq=False)
class SlugTaken(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "slug_taken"
    message: ClassVar[str] = N_("The short name “{slug}” is taken. Choose another.")
    slug: str
    field: str = "slug"


# ------------------------------------------------------------------------------------------------ what is not there
@dataclass(eq=False)
class NotFound(DomainError):
    """Also said of what the viewer may not see."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "not_found"
    message: ClassVar[str] = N_("There is no such {noun}, or you may not see it.")
    noun: str


# ------------------------------------------------------------------------------------------------ places
@dataclass(eq=False)
class OrganizationArchived(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "organization_archived"
    message: ClassVar[str] = N_("The organization {organization} is archived. The platform operator can take it back.")
    organization: str


@dataclass(eq=False)
class OrganizationInUse(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "organization_in_use"
    message: ClassVar[str] = N_("The organization still has {projects} open projects. End and archive them first.")
    projects: int


@dataclass(eq=False)
class SellsInItsCurrency(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "sells_in_its_currency"
    message: ClassVar[str] = N_(
        "The organization has invoices as a seller, in its currency and by the days of its time zone: both stay as they are."
    )


@dataclass(eq=False)
class ProjectClosed(DomainError):
    """The project has ended or is archived."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "project_closed"
    message: ClassVar[str] = N_("The project {project} has ended. Move its end before anything new can happen.")
    project: str


@dataclass(eq=False)
class ProjectStillOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "project_still_open"
    message: ClassVar[str] = N_("End the project before you archive it.")


@dataclass(eq=False)
class SubprojectsStillOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "subprojects_still_open"
    message: ClassVar[str] = N_("{count} sub-projects go on after that. End them first.")
    count: int


@dataclass(eq=False)
class ProjectPeriod(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "project_period"
    message: ClassVar[str] = N_("A project ends after it starts.")
    field: str = "end"


@dataclass(eq=False)
class OutsideParent(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "outside_parent"
    message: ClassVar[str] = N_("A sub-project lies within the project above it: from {start} to {end}.")
    start: str
    end: str
    field: str = "end"


@dataclass(eq=False)
class ProjectTreeTooDeep(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "project_tree_too_deep"
    message: ClassVar[str] = N_("Sub-projects may be at most {limit} levels deep.")
    limit: int


# ------------------------------------------------------------------------------------------------ memberships
@dataclass(eq=False)
class RoleNotForScope(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "role_not_for_scope"
    message: ClassVar[str] = N_("The role {role} does not exist here.")
    role: str
    field: str = "role"


@dataclass(eq=False)
class RoleTooHigh(DomainError):
    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "role_too_high"
    message: ClassVar[str] = N_("You may not give or take the role {role} here. Roles that you may give: {possible}.")
    role: str
    possible: str
    field: str = "role"


@dataclass(eq=False)
class AlreadyMember(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "already_member"
    message: ClassVar[str] = N_("{person} already is {role} here.")
    person: str
    role: str


@dataclass(eq=False)
class PersonInactive(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "person_inactive"
    message: ClassVar[str] = N_("{person} can no longer log in and can hold no role.")
    person: str


@dataclass(eq=False)
class UntilNotAfterStart(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "until_not_after_start"
    message: ClassVar[str] = N_("The end of a membership lies in the future.")
    field: str = "until"


@dataclass(eq=False)
class InvestigatorHasNoEnd(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "investigator_has_no_end"
    message: ClassVar[str] = N_("The principal investigator stays until somebody else takes over.")
    field: str = "until"


@dataclass(eq=False)
class InvestigatorMustHandOver(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "investigator_must_hand_over"
    message: ClassVar[str] = N_("A project always has a principal investigator. Hand it over to somebody first.")


@dataclass(eq=False)
class LastOwner(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "last_owner"
    message: ClassVar[str] = N_("This is the last owner of {organization}. Make somebody else an owner first.")
    organization: str


@dataclass(eq=False)
class LastOperator(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "last_operator"
    message: ClassVar[str] = N_("This is the last platform operator. Appoint another one first.")


@dataclass(eq=False)
class MembershipEnded(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "membership_ended"
    message: ClassVar[str] = N_("This membership has already ended.")


# ------------------------------------------------------------------------------------------------ invitations
@dataclass(eq=False)
class AlreadyInvited(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "already_invited"
    message: ClassVar[str] = N_("{email} has an open invitation to this role. Send it again instead.")
    email: str
    field: str = "email"


@dataclass(eq=False)
class InvitationUnknown(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "invitation_unknown"
    message: ClassVar[str] = N_("This invitation does not exist. Use the link of the latest mail that you were sent.")


@dataclass(eq=False)
class InvitationClosed(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "invitation_closed"
    message: ClassVar[str] = N_("This invitation is {state}. Ask {inviter} for a new one.")
    state: str
    inviter: str


@dataclass(eq=False)
class InvitationForOther(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "invitation_for_other"
    message: ClassVar[str] = N_("The invitation was sent to {email}. Confirm that you accept it with {own} instead.")
    email: str
    own: str


@dataclass(eq=False)
class EmailNotVerified(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "email_not_verified"
    message: ClassVar[str] = N_("Confirm your mail address {email} first.")
    email: str


@dataclass(eq=False)
class InviterMayNot(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "inviter_may_not"
    message: ClassVar[str] = N_("{inviter} may no longer give this role. Ask somebody else there for an invitation.")
    inviter: str


@dataclass(eq=False)
class SentJustNow(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "sent_just_now"
    message: ClassVar[str] = N_("It was sent less than {seconds} seconds ago. Wait a little.")
    seconds: int


@dataclass(eq=False)
class TooManyInvitations(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "too_many_invitations"
    message: ClassVar[str] = N_("There are {limit} open invitations here. Revoke some first.")
    limit: int


@dataclass(eq=False)
class ExpiryOutOfRange(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "expiry_out_of_range"
    message: ClassVar[str] = N_("It has to end between 1 and {limit} days from now.")
    limit: int
    field: str = "days"


# ------------------------------------------------------------------------------------------------ keys and tokens
@dataclass(eq=False)
class InvalidSshKey(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_ssh_key"
    message: ClassVar[str] = N_("This is not a public key that can be used: {reason}.")
    reason: str
    field: str = "public_key"


@dataclass(eq=False)
class SshKeyKnown(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "ssh_key_known"
    message: ClassVar[str] = N_("You already have this key, as “{name}”.")
    name: str
    field: str = "public_key"


@dataclass(eq=False)
class TooManySshKeys(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "too_many_ssh_keys"
    message: ClassVar[str] = N_("You have {limit} keys. Remove one first.")
    limit: int


@dataclass(eq=False)
class TooManyTokens(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "too_many_tokens"
    message: ClassVar[str] = N_("You have {limit} valid tokens. Revoke one first.")
    limit: int


@dataclass(eq=False)
class UnknownScope(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "unknown_scope"
    message: ClassVar[str] = N_("Choose at least one of these: {possible}.")
    possible: str
    field: str = "scopes"


@dataclass(eq=False)
class NotWithToken(DomainError):
    """What a person does for themselves in the browser only."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "not_with_token"
    message: ClassVar[str] = N_("A token may not do this. It needs the scope “{scope}”, or a login in the browser.")
    scope: str


@dataclass(eq=False)
class TokenRollsItself(DomainError):
    """With a token, only that token: whoever holds one learns nothing about the others."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "token_rolls_itself"
    message: ClassVar[str] = N_("A token may replace only itself. Roll the others in the browser.")


@dataclass(eq=False)
class TokenRolled(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "token_rolled"
    message: ClassVar[str] = N_(
        "This token was replaced already: its successor begins with {successor}. Roll that one."
    )
    successor: str


@dataclass(eq=False)
class TokenOver(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "token_over"
    message: ClassVar[str] = N_("This token has expired or was revoked. Make a new one instead.")


@dataclass(eq=False)
class OverlapOutOfRange(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "overlap_out_of_range"
    message: ClassVar[str] = N_("The replaced token may go on for 0 to {limit} days.")
    limit: int
    field: str = "overlap_days"


@dataclass(eq=False)
class TokenRefused(DomainError):
    """Unknown, expired or revoked: the answer is the same, so that nothing is learnt from it."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "token_refused"
    message: ClassVar[str] = N_("This token is not valid.")


@dataclass(eq=False)
class IdentityProviderAway(DomainError):
    """It does not answer, or not as it should; the log says what."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "identity_provider_away"
    message: ClassVar[str] = N_("{provider} does not answer. Try again in a few minutes, or log in another way.")
    provider: str
