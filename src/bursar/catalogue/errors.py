"""What the catalogue refuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from bursar.kernel.errors import At, DomainError, Kind
from bursar.kernel.i18n import N_


@dataclass(eq=False)
class ProviderNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "provider_not_found"
    message: ClassVar[str] = N_("There is no such provider, or you may not see it.")


@dataclass(eq=False)
class CategoryNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "category_not_found"
    message: ClassVar[str] = N_("There is no such product category, or you may not see it.")


@dataclass(eq=False)
class ProductNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "product_not_found"
    message: ClassVar[str] = N_("There is no such product, or you may not see it.")


@dataclass(eq=False)
class ShelfNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "shelf_not_found"
    message: ClassVar[str] = N_("There is no such shelf.")


@dataclass(eq=False)
class OfferingNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "offering_not_found"
    message: ClassVar[str] = N_("There is no such offering, or it is not offered to you.")


@dataclass(eq=False)
class ComponentNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "component_not_found"
    message: ClassVar[str] = N_("This offering has no such component.")


@dataclass(eq=False)
class PlanNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "plan_not_found"
    message: ClassVar[str] = N_("This offering has no such plan, or it is not open to you.")


@dataclass(eq=False)
class BackendNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "backend_not_found"
    message: ClassVar[str] = N_("There is no such backend, or you may not see it.")


@dataclass(eq=False)
class InvalidInput(DomainError):
    """`errors`: field -> what is wrong with it, already in the reader's language."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_input"
    message: ClassVar[str] = N_("This cannot be saved: {problems}")
    problems: str
    errors: Mapping[str, str]

    @classmethod
    def of(cls, errors: Mapping[str, str]) -> "InvalidInput":
        return cls(problems=" ".join(f"{field}: {text}" for field, text in errors.items()), errors=dict(errors))


@dataclass(eq=False)
class NameTaken(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "name_taken"
    message: ClassVar[str] = N_("“{value}” is taken. Choose another name.")
    field: str
    value: str


@dataclass(eq=False)
class AlreadyProvider(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "already_provider"
    message: ClassVar[str] = N_("{organization} is a provider already.")
    organization: str


@dataclass(eq=False)
class ProviderNotAuthorized(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "provider_not_authorized"
    message: ClassVar[str] = N_(
        "{organization} is no longer authorized as a provider. Ask the platform's operator to authorize it again."
    )
    organization: str


@dataclass(eq=False)
class CategorySealed(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "category_sealed"
    message: ClassVar[str] = N_(
        "Quota or an offering on the shelf counts in “{category}”, so its {fields} cannot change. Create another "
        "category."
    )
    category: str
    fields: str


@dataclass(eq=False)
class CategoryCarriesHistory(DomainError):
    """As `CategorySealed`, for a program that cannot look at the page: what carries it, and the way out."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "category_carries_history"
    message: ClassVar[str] = N_(
        "“{category}” has counted since {since}: {carriers} hold amounts in it, so its {fields} cannot change. Put what is "
        "new under another name, move your offerings to it, and archive this one; what was counted stays as it is."
    )
    category: str
    since: str
    carriers: str
    fields: str


@dataclass(eq=False)
class CategoryUnknown(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "category_unknown"
    message: ClassVar[str] = N_(
        "The provider has no product category “{category}”. Put it first, or in the same request."
    )
    category: str
    field: str = "category"


@dataclass(eq=False)
class NamedTwice(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "named_twice"
    message: ClassVar[str] = N_("“{name}” is named twice in the request.")
    name: str
    field: str = "name"


@dataclass(eq=False)
class TooManyPuts(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "too_many_puts"
    message: ClassVar[str] = N_("Send between 1 and {limit} categories and products at once.")
    limit: int


@dataclass(eq=False)
class PutsAtFault(DomainError):
    """Each of `each` with its place; `first` are the words of the first."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "puts_at_fault"
    message: ClassVar[str] = N_("{count} of them cannot be put, so nothing was changed. {first}")
    count: int
    first: str
    each: tuple[At, ...]


@dataclass(eq=False)
class CategoryInUse(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "category_in_use"
    message: ClassVar[str] = N_(
        "“{category}” cannot be archived: these offerings on the shelf draw on it: {offerings}. Archive them first."
    )
    category: str
    offerings: str


@dataclass(eq=False)
class CategoryArchived(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "category_archived"
    message: ClassVar[str] = N_("“{category}” is archived. Take it back into use first, or choose another category.")
    category: str


@dataclass(eq=False)
class ShelfNotEmpty(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "shelf_not_empty"
    message: ClassVar[str] = N_(
        "“{shelf}” is not empty: it holds {shelves} shelves and {offerings} offerings. Move them first."
    )
    shelf: str
    shelves: int
    offerings: int


@dataclass(eq=False)
class ShelfCycle(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "shelf_cycle"
    message: ClassVar[str] = N_("“{shelf}” cannot stand below itself. Choose a shelf that is not below it.")
    shelf: str


@dataclass(eq=False)
class OfferingStepNotOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "offering_step_not_open"
    message: ClassVar[str] = N_("This offering is {state}: “{action}” is not possible now.")
    state: str
    action: str


@dataclass(eq=False)
class OfferingIncomplete(DomainError):
    """`missing`: the keys of the requirements that are not met; `requirements`: their titles."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "offering_incomplete"
    message: ClassVar[str] = N_("An offering on the shelf needs all of these; missing: {requirements}.")
    requirements: str
    missing: tuple[str, ...]


@dataclass(eq=False)
class OfferingKept(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "offering_kept"
    message: ClassVar[str] = N_(
        "This offering has been on the shelf, so its {fields} stay as they are. Copy it into a new offering to change "
        "them."
    )
    fields: str


@dataclass(eq=False)
class OfferingNotOpen(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "offering_not_open"
    message: ClassVar[str] = N_("“{offering}” takes no new orders now. {reason}")
    offering: str
    reason: str


@dataclass(eq=False)
class ComponentKept(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "component_kept"
    message: ClassVar[str] = N_(
        "“{component}” belongs to an offering that has been on the shelf, so its {fields} stay as they are. "
        "Copy the offering to change them."
    )
    component: str
    fields: str


@dataclass(eq=False)
class PlanKept(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "plan_kept"
    message: ClassVar[str] = N_(
        "“{plan}” belongs to an offering that has been on the shelf: archive it and add another plan instead."
    )
    plan: str


@dataclass(eq=False)
class PriceInThePast(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "price_in_the_past"
    message: ClassVar[str] = N_(
        "A price of an offering that has been on the shelf can start now or later, not at {valid_from}."
    )
    valid_from: str


@dataclass(eq=False)
class UseNeedsCategory(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "use_needs_category"
    message: ClassVar[str] = N_(
        "{component} is billed by use: only what draws on a product category is counted. Let it draw on one (it may be one"
        " that needs no allocation), then set its price."
    )
    component: str


@dataclass(eq=False)
class InvalidOrderForm(DomainError):
    """The form itself is not one that can be shown; `errors`: where -> what is wrong."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_order_form"
    message: ClassVar[str] = N_("This order form cannot be used: {problems}")
    problems: str
    errors: Mapping[str, str]


@dataclass(eq=False)
class InvalidForm(DomainError):
    """What was filled in does not fit the form; `errors`: property -> what is wrong, in the reader's language."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_form"
    message: ClassVar[str] = N_("The form is not filled in rightly: {problems}")
    problems: str
    errors: Mapping[str, str]


@dataclass(eq=False)
class InvalidSettings(DomainError):
    """The settings do not fit the plugin's model; `errors`: setting -> what is wrong. Never holds a secret's value."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "invalid_settings"
    message: ClassVar[str] = N_("These settings do not fit the plugin: {problems}")
    problems: str
    errors: Mapping[str, str]


@dataclass(eq=False)
class OperatorSettings(DomainError):
    """Settings that name files or programs of Bursar's own machine; `errors`: setting -> what to do."""

    kind: ClassVar[Kind] = Kind.FORBIDDEN
    code: ClassVar[str] = "operator_settings"
    message: ClassVar[str] = N_(
        "Only the platform's operator may change: {fields}. They name files of the machine that Bursar runs on."
    )
    fields: str
    errors: Mapping[str, str]


@dataclass(eq=False)
class PluginNotFound(DomainError):
    kind: ClassVar[Kind] = Kind.NOT_FOUND
    code: ClassVar[str] = "plugin_not_found"
    message: ClassVar[str] = N_("No plugin called “{key}” is installed here.")
    key: str


@dataclass(eq=False)
class PluginBroken(DomainError):
    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "plugin_broken"
    message: ClassVar[str] = N_("The plugin “{key}” cannot be used: {why}")
    key: str
    why: str


@dataclass(eq=False)
class SecretsUnreadable(DomainError):
    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "secrets_unreadable"
    message: ClassVar[str] = N_(
        "The secrets of “{backend}” cannot be decrypted with this installation's keys. Enter them again, "
        "or put back the key they were encrypted with (BURSAR_KEYS)."
    )
    backend: str


@dataclass(eq=False)
class BackendInUse(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "backend_in_use"
    message: ClassVar[str] = N_("“{backend}” is used by {users}. It cannot be removed; switch it off instead.")
    backend: str
    users: str


# ------------------------------------------------------------------------------------------------ agents at a site
@dataclass(eq=False)
class RunsAtSite(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "runs_at_site"
    message: ClassVar[str] = N_("“{backend}” runs at the provider's site: its agent does this, not Bursar.")
    backend: str


@dataclass(eq=False)
class SettingsAtSite(DomainError):
    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "settings_at_site"
    message: ClassVar[str] = N_(
        "A backend at the provider's site is set in its agent's configuration: {names} cannot be set here."
    )
    names: str


@dataclass(eq=False)
class AgentNotDeclared(DomainError):
    kind: ClassVar[Kind] = Kind.UNAVAILABLE
    code: ClassVar[str] = "agent_not_declared"
    message: ClassVar[str] = N_(
        "No agent has come forward for “{backend}” yet: start `bursar agent run` at the site first."
    )
    backend: str


@dataclass(eq=False)
class BackendNotForAgent(DomainError):
    """What an agent's configuration names is not there, is another plugin's, or runs beside the server."""

    kind: ClassVar[Kind] = Kind.INVALID
    code: ClassVar[str] = "backend_not_for_agent"
    message: ClassVar[str] = N_(
        "This provider has no backend “{name}” with the plugin “{plugin}” that runs at its site. It has: {known}."
    )
    name: str
    plugin: str
    known: str


@dataclass(eq=False)
class AgentInCharge(DomainError):
    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "agent_in_charge"
    message: ClassVar[str] = N_(
        "Another agent is in charge of {what}: on {host}, last heard of at {seen_at}. "
        "Stop one of the two; {lease} seconds after the other was last heard of this one may take over."
    )
    what: str
    host: str
    seen_at: str
    lease: int


@dataclass(eq=False)
class AgentNotInCharge(DomainError):
    """What an agent says whose place was taken, or that never said who it is, is not taken."""

    kind: ClassVar[Kind] = Kind.CONFLICT
    code: ClassVar[str] = "agent_not_in_charge"
    message: ClassVar[str] = N_(
        "This agent is not in charge: another took over, or it did not come forward. Say hello first."
    )
