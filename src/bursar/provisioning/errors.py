"""What provisioning refuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bursar.kernel.errors import At, DomainError, Kind
from bursar.kernel.i18n import N_


# ------------------------------------------------------------------------------------------------ what is not there
@dataclass(eq=False)
class OrderNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "order_not_found"
    message: ClassVar[str] = N_("There is no such order, or you may not see it.")


@dataclass(eq=False)
class ResourceNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "resource_not_found"
    message: ClassVar[str] = N_("There is no such resource, or you may not see it.")


@dataclass(eq=False)
class WorkspaceNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "workspace_not_found"
    message: ClassVar[str] = N_("There is no such workspace, or you may not order for it.")
    field: str = "workspace"


@dataclass(eq=False)
class OfferingNotVisible(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "offering_not_visible"
    message: ClassVar[str] = N_("“{workspace}” cannot order this: it is not offered to it. Ask the provider.")
    workspace: str
    field: str = "offering"


# ------------------------------------------------------------------------------------------------ orders
@dataclass(eq=False)
class OfferingNotActive(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "offering_not_active"
    message: ClassVar[str] = N_("“{offering}” takes no new orders now. {reason}")
    offering: str
    reason: str
    field: str = "offering"


@dataclass(eq=False)
class PlanNotAvailable(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "plan_not_available"
    message: ClassVar[str] = N_("This plan is not open to “{workspace}”. Choose one of those shown.")
    workspace: str
    field: str = "plan"


@dataclass(eq=False)
class PlanSoldOut(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "plan_sold_out"
    message: ClassVar[str] = N_("All {resources_max} places of the plan “{plan}” are taken. Choose another plan.")
    plan: str
    resources_max: int
    field: str = "plan"


@dataclass(eq=False)
class UnknownComponent(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "unknown_component"
    message: ClassVar[str] = N_("“{component}” is nothing that can be limited here. Possible: {possible}.")
    component: str
    possible: str
    field: str = "limits"


@dataclass(eq=False)
class NotBilledByUse(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "not_billed_by_use"
    message: ClassVar[str] = N_("“{component}” is nothing that is billed by use here. Possible: {possible}.")
    component: str
    possible: str
    field: str = "uses"


@dataclass(eq=False)
class UseNegative(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "use_negative"
    message: ClassVar[str] = N_("{component}: an expected use of {unit} is not negative.")
    component: str
    unit: str
    field: str


@dataclass(eq=False)
class LimitNotWhole(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "limit_not_whole"
    message: ClassVar[str] = N_("{component}: a whole number of {unit} is needed.")
    component: str
    unit: str
    field: str


@dataclass(eq=False)
class LimitNegative(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "limit_negative"
    message: ClassVar[str] = N_("{component}: {limit} {unit} is less than nothing.")
    component: str
    limit: int
    unit: str
    field: str


@dataclass(eq=False)
class LimitTooSmall(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "limit_too_small"
    message: ClassVar[str] = N_("{component}: at least {limit_min} {unit} have to be ordered, not {limit}.")
    component: str
    limit: int
    limit_min: int
    unit: str
    field: str


@dataclass(eq=False)
class LimitTooLarge(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "limit_too_large"
    message: ClassVar[str] = N_("{component}: at most {limit_max} {unit} can be ordered, not {limit}.")
    component: str
    limit: int
    limit_max: int
    unit: str
    field: str


@dataclass(eq=False)
class NameNeeded(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "name_needed"
    message: ClassVar[str] = N_("Give the resource a name of 1 to {length_max} characters, without line breaks.")
    length_max: int = 150
    field: str = "name"


@dataclass(eq=False)
class EndInThePast(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "end_in_the_past"
    message: ClassVar[str] = N_("The end has to be later than now and than the start.")
    field: str = "end"


@dataclass(eq=False)
class EndAfterProject(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "end_after_project"
    message: ClassVar[str] = N_("“{workspace}” itself ends on {project_end}. Choose an earlier end.")
    workspace: str
    project_end: str
    field: str = "end"


@dataclass(eq=False)
class StartInThePast(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "start_in_the_past"
    message: ClassVar[str] = N_("The start cannot lie in the past. Leave it empty to begin at once.")
    field: str = "start"


@dataclass(eq=False)
class WorkspaceEnded(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "workspace_ended"
    message: ClassVar[str] = N_("“{workspace}” has ended. Extend the project first.")
    workspace: str
    field: str = "workspace"


@dataclass(eq=False)
class WorkspaceNotStarted(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "workspace_not_started"
    message: ClassVar[str] = N_("“{workspace}” begins on {start}. Order then, or set the order's start to that day.")
    workspace: str
    start: str
    field: str = "workspace"


@dataclass(eq=False)
class TermsNotAccepted(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "terms_not_accepted"
    message: ClassVar[str] = N_("Read the terms of use and accept them.")
    field: str = "terms"


@dataclass(eq=False)
class NoValidAllocation(DomainError):
    """The gate: what would be drawn on needs an allocation that holds now, and there is none."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "no_valid_allocation"
    message: ClassVar[str] = N_("“{workspace}” has no valid allocation of {category}. {advice}")
    workspace: str
    category: str
    advice: str
    category_id: int


@dataclass(eq=False)
class QuotaUsedUp(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "quota_used_up"
    message: ClassVar[str] = N_("Nothing of {category} is left for “{workspace}”, so nothing new may start. {advice}")
    workspace: str
    category: str
    advice: str
    category_id: int


@dataclass(eq=False)
class NobodyPays(DomainError):
    """A personal workspace gets no invoice, so it can have only what is free."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "nobody_pays"
    message: ClassVar[str] = N_(
        "The plan “{plan}” costs something, and nobody pays for “{workspace}”: a personal workspace gets no invoice. "
        "Order it for a project, or choose a plan that is free."
    )
    plan: str
    workspace: str
    field: str = "plan"


@dataclass(eq=False)
class OpenOrderExists(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "open_order_exists"
    message: ClassVar[str] = N_("Order #{order_id} on this resource is still open. Wait for it, or cancel it first.")
    order_id: int


@dataclass(eq=False)
class NothingChanges(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "nothing_changes"
    message: ClassVar[str] = N_("Plan and limits are those that the resource has already.")


@dataclass(eq=False)
class KeyReused(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "idempotency_key_reused"
    message: ClassVar[str] = N_("The key of this request belongs to another order, #{order_id}. Use a new key.")
    order_id: int


@dataclass(eq=False)
class OrderStepNotOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "order_step_not_open"
    message: ClassVar[str] = N_("This order is {state}: “{action}” is not possible now. Look at it again.")
    state: str
    action: str


@dataclass(eq=False)
class NotAwaited(DomainError):
    """The person may decide such orders in general, but not this one."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "not_awaited"
    message: ClassVar[str] = N_("This order awaits {roles}, not you.")
    roles: str


@dataclass(eq=False)
class OwnOrder(DomainError):
    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "own_order"
    message: ClassVar[str] = N_("You placed this order yourself; somebody else has to approve it: {roles}.")
    roles: str


@dataclass(eq=False)
class ReasonNeeded(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "reason_needed"
    message: ClassVar[str] = N_("Say why, so that the other side knows what to do next.")
    field: str = "reason"


@dataclass(eq=False)
class CommentNeeded(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "comment_needed"
    message: ClassVar[str] = N_("Write something first.")
    field: str = "text"


# ------------------------------------------------------------------------------------------------ resources
@dataclass(eq=False)
class ResourceStepNotOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "resource_step_not_open"
    message: ClassVar[str] = N_("This resource is {state}: “{action}” is not possible now.")
    state: str
    action: str


@dataclass(eq=False)
class PausedByBudget(DomainError):
    """Whoever answers for the budget may raise it; that resumes what it paused."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "paused_by_budget"
    message: ClassVar[str] = N_("A budget keeps it paused. {why} Ask one of these to raise it: {roles}.")
    why: str
    roles: str


@dataclass(eq=False)
class HeldByBudget(DomainError):
    """A failed order is not carried out again past a budget; a new one waits until somebody agrees to it."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "held_by_budget"
    message: ClassVar[str] = N_(
        "A budget holds it. {why} Ask one of these to raise it, or place a new order, to which they may agree: {roles}."
    )
    why: str
    roles: str


@dataclass(eq=False)
class AbilityMissing(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "ability_missing"
    message: ClassVar[str] = N_("What “{offering}” runs on cannot do this: {ability}.")
    offering: str
    ability: str


@dataclass(eq=False)
class NoWorkAwaited(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "no_work_awaited"
    message: ClassVar[str] = N_("Nothing is to be done by hand for this resource now.")


@dataclass(eq=False)
class ActionUnknown(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "action_unknown"
    message: ClassVar[str] = N_("This resource has no action “{action}”.")
    action: str


@dataclass(eq=False)
class ActionRefused(DomainError):
    """The backend said no, in its own words."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "action_refused"
    message: ClassVar[str] = N_("{why}")
    why: str


@dataclass(eq=False)
class BackendUnreachableNow(DomainError):
    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "backend_unreachable"
    message: ClassVar[str] = N_("“{backend}” does not answer now. Try again in a few minutes.")
    backend: str


@dataclass(eq=False)
class ActionUnanswered(DomainError):
    """Whether it was carried out is not known: it may be still."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "action_unanswered"
    message: ClassVar[str] = N_(
        "“{backend}” did not answer within {seconds} seconds. It may have done it all the same: look before you try again."
    )
    backend: str
    seconds: int


@dataclass(eq=False)
class BackendMissing(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "backend_missing"
    message: ClassVar[str] = N_("“{offering}” has no backend to be made on. The provider has to choose one.")
    offering: str


# ------------------------------------------------------------------------------------------------ taking over
@dataclass(eq=False)
class ImportableUnknown(DomainError):
    """The backend, or its plugin, does not tell what it holds; in words for the provider."""

    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "importable_unknown"
    message: ClassVar[str] = N_("“{backend}” does not tell what is there: {why}")
    backend: str
    why: str


@dataclass(eq=False)
class NotThere(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "not_there"
    message: ClassVar[str] = N_(
        "“{found_id}” is not at the backend, or not to be taken over. Look again at what is there."
    )
    found_id: str
    field: str = "backend_id"


@dataclass(eq=False)
class TakenAlready(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "taken_already"
    message: ClassVar[str] = N_("“{found_id}” is the resource “{resource}” of {workspace} already.")
    found_id: str
    resource: str
    workspace: str
    field: str = "backend_id"


@dataclass(eq=False)
class ThingNamedTwice(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "thing_named_twice"
    message: ClassVar[str] = N_("“{found_id}” is named twice; it can belong to one workspace only.")
    found_id: str
    field: str = "backend_id"


@dataclass(eq=False)
class TakeOversAtFault(DomainError):
    """Each of `each` with its place; `first` are the words of the first."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "take_overs_at_fault"
    message: ClassVar[str] = N_("{count} of them cannot be taken over, so none was. {first}")
    count: int
    first: str
    each: tuple[At, ...]
    place: str = "resources"


@dataclass(eq=False)
class TooManyAtOnce(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "too_many_at_once"
    message: ClassVar[str] = N_("Name between 1 and {limit} at once.")
    limit: int


# ------------------------------------------------------------------------------------------------ policies, accounts
@dataclass(eq=False)
class PolicyInvalid(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "policy_invalid"
    message: ClassVar[str] = N_("This line cannot hold: {problem}")
    problem: str
    field: str


@dataclass(eq=False)
class UsernameInvalid(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "username_invalid"
    message: ClassVar[str] = N_(
        "“{username}” is no local user name: up to 32 small letters, digits, dots, hyphens and underscores, "
        "beginning with a letter or an underscore."
    )
    username: str
    field: str = "username"


@dataclass(eq=False)
class UsernameTaken(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "username_taken"
    message: ClassVar[str] = N_("“{username}” at this backend belongs to somebody else.")
    username: str
    field: str = "username"


@dataclass(eq=False)
class PersonNotThere(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "person_not_there"
    message: ClassVar[str] = N_("This person uses nothing of yours, so no account can be set.")
    field: str = "person"


@dataclass(eq=False)
class ReportOfOther(DomainError):
    """A usage record that names something the resource does not have."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "report_of_other"
    message: ClassVar[str] = N_("Nothing was booked. {problems}")
    problems: str
    errors: Mapping[str, str]


# ------------------------------------------------------------------------------------------------ the provider's side
@dataclass(eq=False)
class TooManySetAside(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "too_many_set_aside"
    message: ClassVar[str] = N_(
        "{count} records of “{backend}” wait to be repaired, and more than {limit} are not kept. "
        "Repair them on the backend's page, or give them up; until then keep the records at the site."
    )
    backend: str
    count: int
    limit: int


@dataclass(eq=False)
class RecordNotSetAside(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "record_not_set_aside"
    message: ClassVar[str] = N_("There is no such record waiting to be repaired, or you may not see it.")


@dataclass(eq=False)
class MessageOutOfBounds(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "message_out_of_bounds"
    message: ClassVar[str] = N_("Progress is a whole number of per cent from 0 to 100.")
    field: str = "progress"


# ------------------------------------------------------------------------------------------------ accounts of people
@dataclass(eq=False)
class AccountNotOffered(DomainError):
    """Also where there is no such backend: of backends people are told that they may use."""

    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "account_not_offered"
    message: ClassVar[str] = N_(
        "There is nothing here that you may connect to. It needs a resource there, or an allocation that holds now, of a "
        "project of yours."
    )


@dataclass(eq=False)
class BackendSwitchedOff(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "backend_switched_off"
    message: ClassVar[str] = N_("“{backend}” is switched off by its provider at present. Try again later.")
    backend: str


@dataclass(eq=False)
class AccountStepNotOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "account_step_not_open"
    message: ClassVar[str] = N_("This account is {state}: “{action}” is not possible now.")
    state: str
    action: str


@dataclass(eq=False)
class AccountBlocked(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "account_blocked"
    message: ClassVar[str] = N_("The provider has blocked this account: {reason} Only the provider can lift that.")
    reason: str


@dataclass(eq=False)
class AccountGivenUp(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "account_given_up"
    message: ClassVar[str] = N_("“{person}” has given this account up, and has to connect again first.")
    person: str


@dataclass(eq=False)
class UsernameNeeded(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "username_needed"
    message: ClassVar[str] = N_("Say which local user this person is: no name has been given yet.")
    field: str = "username"


@dataclass(eq=False)
class UsernameKept(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "username_kept"
    message: ClassVar[str] = N_(
        "This person is “{username}” at this backend, and stays it: files and past usage belong to that name."
    )
    username: str
    field: str = "username"


@dataclass(eq=False)
class UidInvalid(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "uid_invalid"
    message: ClassVar[str] = N_("A user number is a whole number from 1 to {uid_max}.")
    uid_max: int
    field: str = "uid"


@dataclass(eq=False)
class UidTaken(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "uid_taken"
    message: ClassVar[str] = N_("The number {uid} at this backend belongs to somebody else.")
    uid: int
    field: str = "uid"


@dataclass(eq=False)
class UidKept(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "uid_kept"
    message: ClassVar[str] = N_("This account has the number {uid}, and keeps it: files belong to that number.")
    uid: int
    field: str = "uid"


@dataclass(eq=False)
class NumbersUsedUp(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "numbers_used_up"
    message: ClassVar[str] = N_(
        "All numbers from {first} to {last} are given at “{backend}”. Its provider has to widen the range."
    )
    backend: str
    first: int
    last: int


@dataclass(eq=False)
class ClaimMissing(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "claim_missing"
    message: ClassVar[str] = N_(
        "Your name at “{backend}” comes from your login “{login}”, which has told us no “{claim}” of you. Add that login to "
        "your profile, or log in with it once more; if that does not help, ask those who run it to pass “{claim}” on."
    )
    backend: str
    login: str
    claim: str


@dataclass(eq=False)
class ClaimUnusable(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "claim_unusable"
    message: ClassVar[str] = N_(
        "Your login “{login}” says “{value}” of you, which cannot be a user name at “{backend}”: it needs up to 32 small "
        "letters, digits, dots, hyphens and underscores, beginning with a letter or an underscore, and no name that the "
        "system has of its own. Ask the provider to give you a name."
    )
    backend: str
    login: str
    value: str


@dataclass(eq=False)
class ClaimTaken(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "claim_taken"
    message: ClassVar[str] = N_(
        "Your login says that you are “{username}”, but at “{backend}” that name belongs to somebody else. Ask the provider."
    )
    backend: str
    username: str


@dataclass(eq=False)
class AddressInvalid(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "address_invalid"
    message: ClassVar[str] = N_(
        "The address has to be a whole one and begin with https:// (http:// only for localhost)."
    )
    field: str = "connect_url"


@dataclass(eq=False)
class AccountPolicyInvalid(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "account_policy_invalid"
    message: ClassVar[str] = N_("This cannot hold: {problem}")
    problem: str
    field: str


@dataclass(eq=False)
class SigningKeyUnreadable(DomainError):
    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "signing_key_unreadable"
    message: ClassVar[str] = N_(
        "No key of this installation opens its signing key, so nobody can be sent to a provider now. The operator makes a "
        "new one with: bursar keys renew --at-once"
    )
