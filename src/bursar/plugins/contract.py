"""The contract between Bursar and a backend plugin.

A plugin is a class found by the entry point group `bursar.plugins`. It is asked to *make the backend match the desired
state*, must be safe to ask again at any time, and answers with an outcome. It implements only the protocols it can
serve: there is no flag for an ability. It is given everything it needs; it sees neither the database nor the clock of the server.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Protocol, TypeGuard, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict

# ---------------------------------------------------------------------------------------------------- what it is told


@dataclass(frozen=True, slots=True)
class Ref:
    """An organization or a project as the backend may know it. `name` is a person's text: hostile until mapped."""

    id: int
    slug: str
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A person who may use the resource. `username` is the local account at this backend, "" while there is none.

    username   to `ManagesAccounts`: the name the account is to bear, or bears; "" = the backend gives one
    uid        the number of the account where one is known
    blocked    the account may not be used now. Among the members of a resource such a person's `username` is "", so that a
               plugin that does not look at this leaves them out as it leaves out who has no account
    """

    person_id: int
    email: str
    full_name: str
    username: str = ""
    ssh_keys: tuple[str, ...] = ()
    uid: int | None = None
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """The UNIX group of a project at this backend. Its name and number never change once they are given.

    usernames   exactly who is in it, each with a usable account
    """

    project_id: int
    slug: str
    name: str
    gid: int
    usernames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DesiredResource:
    """The whole state a resource should have at the backend.

    projects     from the organization's project down to the one that owns the resource; empty for a personal workspace
    limits       component key -> whole units of the component
    form         the validated order form
    backend_id   what `ensure` answered before, "" at first
    state        what `ensure` answered as metadata before: the plugin's own notes, never secrets
    """

    id: int
    slug: str
    name: str
    offering_slug: str
    organization: Ref | None
    projects: tuple[Ref, ...]
    owner: Member | None
    plan: str
    limits: Mapping[str, int]
    form: Mapping[str, Any]
    members: tuple[Member, ...] = ()
    paused: bool = False
    generation: int = 1
    backend_id: str = ""
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComponentQuota:
    """What a component of one resource may still draw, already shared out among the resources of one wallet.

    available    measured units of the component (for SLURM's cpu: core-seconds), >= 0; None = nothing limits it
    locked       nothing new may start
    reported     measured units of this resource's component posted to the ledger so far, read together with `available`:
                 what the backend counted beyond it must not be granted a second time. None = not told
    """

    component: str
    available: int | None
    locked: bool
    reported: int | None = None


def found(
    backend_id: str,
    name: str,
    limits: Mapping[str, int] | None = None,
    *,
    form: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
) -> DesiredResource:
    """A thing that is at the backend and that nobody ordered here, as `Imports.importable` tells it.

    Its `id` is 0: it is no resource yet. Once it is taken over, `backend_id`, `form` and `state` come back with every call.
    """
    return DesiredResource(
        id=0,
        slug="",
        name=name,
        offering_slug="",
        organization=None,
        projects=(),
        owner=None,
        plan="",
        limits=limits or {},
        form=form or {},
        backend_id=backend_id,
        state=state or {},
    )


# ---------------------------------------------------------------------------------------------------- what it answers


@dataclass(frozen=True, slots=True)
class Done:
    """The backend matches.

    access   the endpoints and names a person needs, label -> value
    changed  what had to be changed at the backend for that, in words; empty = it matched already. Where nothing was wished
             anew, it is what somebody had changed there by hand
    """

    backend_id: str = ""
    state: Mapping[str, Any] = field(default_factory=dict)
    access: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Busy:
    """On its way, or the backend cannot be reached now: ask again after so many seconds."""

    retry_after_seconds: int
    message: str = ""
    state: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class NeedsAction:
    """A person at the provider has to do something first; `what` says what."""

    what: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The backend will not do this; asking again without a change is useless."""

    why: str


Outcome = Done | Busy | NeedsAction | Refused


def words_of(outcome: Outcome) -> str:
    """What stands in the way, in the plugin's words; "" of one that is done."""
    match outcome:
        case Done():
            return ""
        case Busy(message=words) | NeedsAction(what=words) | Refused(why=words):
            return words


class Presence(StrEnum):
    """What the backend shows of a resource."""

    ABSENT = "absent"
    CREATING = "creating"
    OK = "ok"
    PAUSED = "paused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Observation:
    presence: Presence
    message: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """One stretch of usage, told so that telling it twice counts once.

    id           stable for ever and unique in the backend: the same fact always has the same id
    amount       measured units of the component, a whole number
    absolute     True: `amount` is the level of `scope` so far; False: a difference
    scope        a job, a drive; "" = the whole resource

    `id` and `scope` are kept with a little before them, 200 characters in all; what is longer is set aside.
    """

    id: str
    resource_id: int
    component: str
    amount: int
    period_start: datetime
    period_end: datetime
    absolute: bool = False
    scope: str = ""
    username: str = ""
    job: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """Records since a mark, and the mark to ask from next. A mark is opaque to Bursar and stored only after the records."""

    records: Sequence[UsageRecord]
    mark: str


class Severity(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a health check: what was looked at, how it stands, and what to do about it."""

    severity: Severity
    subject: str
    message: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Health:
    findings: tuple[Finding, ...]
    version: str = ""

    @property
    def severity(self) -> Severity:
        order = (Severity.OK, Severity.WARNING, Severity.BROKEN)
        return max((f.severity for f in self.findings), key=order.index, default=Severity.OK)


@dataclass(frozen=True, slots=True)
class Output:
    """What a command of the provider's own printed for people, for the page of its backend.

    verb        what it was asked: a method of the contract
    exit_code   how it ended, a signal as its negative number; None when it was never started
    text        the last of what it printed, without secrets and control characters, lines kept
    """

    verb: str
    command: tuple[str, ...]
    exit_code: int | None
    seconds: float
    text: str


# ---------------------------------------------------------------------------------------------------- what it declares


class BackendSettings(BaseModel):
    """Base of a plugin's settings model. Secrets are `SecretStr`; `title` and `description` of a field are shown on the page."""

    model_config = ConfigDict(
        extra="forbid", str_strip_whitespace=True, validate_default=True, hide_input_in_errors=True
    )


# `Field(json_schema_extra=OPERATOR_ONLY)`: a setting that names a file or program of the machine Bursar runs on, or where its
# keys are used. Only the platform's operator may set it to anything but its default: a provider's person is no guest of that
# machine.
OPERATOR_ONLY: Mapping[str, Any] = {"operator_only": True}


def operator_only(settings: type[BackendSettings]) -> frozenset[str]:
    """The names of the settings that only the platform's operator may change."""
    return frozenset(
        name
        for name, field in settings.model_fields.items()
        if isinstance(field.json_schema_extra, Mapping) and field.json_schema_extra.get("operator_only")
    )


class Billing(StrEnum):
    """How a component is billed (BILLING: the same words in table, code, API and page)."""

    FIXED = "fixed"
    USAGE = "usage"
    LIMIT = "limit"
    ONE_TIME = "one_time"
    ON_SWITCH = "on_switch"


@dataclass(frozen=True, slots=True)
class ComponentSpec:
    """A component a new offering of this plugin starts with.

    unit             what limits and prices count ("core-hours", "GB")
    measured_unit    what `UsageRecord.amount` and `ComponentQuota.available` count ("core-seconds", "GB")
    measured_per_unit  measured units in one unit (3600)
    product_type     compute | storage | public_link | license | network_ip
    """

    key: str
    title: str
    unit: str
    billing: Billing
    product_type: str
    measured_unit: str
    measured_per_unit: int = 1
    limit_min: int | None = None
    limit_max: int | None = None
    limit_default: int | None = None


@dataclass(frozen=True, slots=True)
class OfferingDefaults:
    """What a new offering on one configured backend starts with: components and order form (JSON Schema subset)."""

    components: Sequence[ComponentSpec]
    order_form: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ActionSpec:
    key: str
    title: str
    form: Mapping[str, Any] = field(default_factory=dict)
    dangerous: bool = False


class Plugin:
    """Base of all plugins: what it is called, its settings, and how it stands.

    `__init__` must not talk to the backend: an instance is made for each piece of work.
    outputs   what its commands printed during this piece of work, where it runs commands that are the provider's own
    """

    outputs: Sequence[Output] = ()
    key: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    version: ClassVar[str]
    Settings: ClassVar[type[BackendSettings]]
    default_components: ClassVar[Sequence[ComponentSpec]] = ()
    default_order_form: ClassVar[Mapping[str, Any]] = {"type": "object", "properties": {}}

    def __init__(self, settings: BackendSettings) -> None:
        if not isinstance(settings, self.Settings):
            raise TypeError(f"{type(self).__name__} needs {self.Settings.__name__}")
        self.settings = settings

    def offering_defaults(self) -> OfferingDefaults:
        """What a new offering on this backend starts with; overridden where it follows from the settings."""
        return OfferingDefaults(self.default_components, self.default_order_form)

    def abilities(self) -> tuple[str, ...]:
        """What it can do as it is set up, as `abilities` of its class says; overridden where it follows from the settings."""
        return abilities(type(self))

    def check_health(self) -> Health:
        """Look at the backend and say all that is wrong, in words its operator can act on; never raises for that."""
        raise NotImplementedError


class BackendUnreachable(Exception):
    """The backend did not answer. Any protocol method may raise it: the loop asks again later and the page says so.

    The message is for a person at the provider and holds no secret.
    """


# ---------------------------------------------------------------------------------------------------- what it can do


@runtime_checkable
class Provisions(Protocol):
    def ensure(self, resource: DesiredResource) -> Outcome:
        """Make the backend hold this resource as desired (plan, limits, form, name)."""
        ...

    def remove(self, resource: DesiredResource) -> Outcome:
        """Make the backend hold it no longer; an absent resource is Done. Its usage up to now must stay measurable."""
        ...

    def observe(self, resource: DesiredResource) -> Observation:
        """What the backend shows of it now."""
        ...


@runtime_checkable
class Pauses(Protocol):
    def pause(self, resource: DesiredResource) -> Outcome: ...

    def resume(self, resource: DesiredResource) -> Outcome: ...


@runtime_checkable
class EnforcesQuota(Protocol):
    def enforce_quota(self, resource: DesiredResource, quota: Sequence[ComponentQuota]) -> Outcome:
        """Set the limits so that the resource cannot draw more than this from now on."""
        ...


@runtime_checkable
class ManagesAccounts(Protocol):
    def ensure_account(self, member: Member) -> Outcome:
        """Make (or find) the person's local account and let it be used; Done.backend_id is the username.

        A member with a username gets an account of this very name, and of this uid, or the answer is Refused. One that
        was blocked or removed before is usable again.
        """
        ...


@runtime_checkable
class EndsAccounts(Protocol):
    """For plugins that manage accounts: what becomes of an account that may not be used. Both are asked with a username."""

    def block_account(self, member: Member) -> Outcome:
        """Let nobody log in by it; what belongs to it stays. An account that is not there is Done."""
        ...

    def remove_account(self, member: Member) -> Outcome:
        """Take it away, its files not; the same name and uid may be asked for again. Not there is Done."""
        ...


@runtime_checkable
class ManagesGroups(Protocol):
    def ensure_group(self, group: Group) -> Outcome:
        """Make the project's group and have exactly `group.usernames` in it; Done.backend_id is its name."""
        ...

    def remove_group(self, group: Group) -> Outcome:
        """Take the group away; the same name and number may be asked for again. Not there is Done."""
        ...


@runtime_checkable
class ManagesMembers(Protocol):
    def set_members(self, resource: DesiredResource) -> Outcome:
        """Let exactly `resource.members` that have a username use the resource."""
        ...


@runtime_checkable
class MeasuresUsage(Protocol):
    def measure(self, resources: Sequence[DesiredResource], mark: str) -> UsageBatch:
        """What these resources used since the mark ("" = from the beginning), running work included."""
        ...


@runtime_checkable
class Imports(Protocol):
    def importable(self) -> Sequence[DesiredResource]:
        """What is there and was not made for Bursar, each as `found` builds it; what was taken over may be among it."""
        ...


@runtime_checkable
class Actions(Protocol):
    def actions(self, resource: DesiredResource) -> Sequence[ActionSpec]: ...

    def act(self, resource: DesiredResource, action: str, form: Mapping[str, Any]) -> Outcome: ...


PROTOCOLS: Mapping[str, type] = {
    "provisions": Provisions,
    "pauses": Pauses,
    "enforces_quota": EnforcesQuota,
    "manages_accounts": ManagesAccounts,
    "ends_accounts": EndsAccounts,
    "manages_groups": ManagesGroups,
    "manages_members": ManagesMembers,
    "measures_usage": MeasuresUsage,
    "imports": Imports,
    "actions": Actions,
}


def abilities(plugin: type[Plugin]) -> tuple[str, ...]:
    """The protocols a plugin class implements, in the order of `PROTOCOLS`."""
    return tuple(name for name, protocol in PROTOCOLS.items() if issubclass(plugin, protocol))


Able = TypeVar("Able")


def can(plugin: Plugin, protocol: Callable[..., Able]) -> TypeGuard[Able]:
    """Whether this plugin, as it is set up, implements the protocol."""
    return any(PROTOCOLS[name] is protocol for name in plugin.abilities())
