"""Who may do what at every address: one declaration per address, against which the walk holds the real answers.

The declarations name permissions of `structure.roles.Permission` and the place where they are needed. Who holds them is
worked out here from ROLE_TABLE, GIVES and SCOPE_TABLE alone, without the functions that the services ask.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bursar.structure.roles import (
    GIVES,
    ORGANIZATION_ROLES,
    PERSONAL_PERMISSIONS,
    PROJECT_ROLES,
    ROLE_TABLE,
    SCOPE_TABLE,
    Permission,
    Role,
    TokenScope,
)

P = Permission

# place -> the places whose roles count in it; a plain member's role does not come down from a project above.
PARENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "platform": (),
    "university": (),
    "centre": (),
    "elsewhere": (),
    "project": ("university",),
    "sub": ("project", "university"),
    "personal": (),
}


@dataclass(frozen=True)
class Rights:
    """What somebody holds: roles with their places, their own things, and what a token leaves of that.

    key      the person's name in the world; "" = a stranger
    places   a declared place -> the place that is meant in this case of it
    """

    key: str
    held: frozenset[tuple[Role, str]] = frozenset()
    scopes: frozenset[TokenScope] | None = None
    places: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        return bool(self.key)

    def allows(self, permission: P) -> bool:
        return self.scopes is None or any(permission in SCOPE_TABLE[scope] for scope in self.scopes)

    def roles_in(self, place: str) -> set[Role]:
        place = self.places.get(place, place)
        return {
            role
            for role, where in self.held
            if where in {place, "platform"} or (where in PARENTS[place] and role != Role.PROJECT_MEMBER)
        }

    def has(self, permission: P, place: str) -> bool:
        own = self.key == "owner_of_personal" and self.places.get(place, place) == "personal"
        by_role = any(permission in ROLE_TABLE[role] for role in self.roles_in(place))
        return self.allows(permission) and (by_role or (own and permission in PERSONAL_PERMISSIONS))

    def gives(self, role: Role, place: str) -> bool:
        managing = P.MANAGE_PROJECT_MEMBERS if role in PROJECT_ROLES else P.MANAGE_ORGANIZATION_MEMBERS
        managing = managing if role in PROJECT_ROLES | ORGANIZATION_ROLES else P.OPERATE_PLATFORM
        givers = {own for own in self.roles_in(place) if managing in ROLE_TABLE[own]}
        return self.allows(managing) and any(role in GIVES[own] for own in givers)


class Rule:
    def __init__(self, holds: Callable[[Rights], bool]) -> None:
        self.holds = holds

    def __call__(self, rights: Rights) -> bool:
        return self.holds(rights)

    def __or__(self, other: "Rule") -> "Rule":
        return Rule(lambda rights: self(rights) or other(rights))

    def __and__(self, other: "Rule") -> "Rule":
        return Rule(lambda rights: self(rights) and other(rights))


def may(permission: P, place: str = "platform") -> Rule:
    return Rule(lambda rights: rights.has(permission, place))


def gives(role: Role, place: str) -> Rule:
    return Rule(lambda rights: rights.gives(role, place))


def person(key: str) -> Rule:
    return Rule(lambda rights: rights.key == key)


PUBLIC = Rule(lambda _rights: True)
NOWHERE = Rule(lambda _rights: False)  # for nobody, whatever they are
LOGIN = Rule(lambda rights: rights.is_known)
# Not with a token, or only with one of these scopes.
IN_BROWSER = Rule(lambda rights: rights.is_known and rights.scopes is None)
PROFILE = Rule(lambda rights: rights.is_known and (rights.scopes is None or TokenScope.PROFILE in rights.scopes))
ORDERING = Rule(lambda rights: rights.allows(P.PLACE_ORDER) or rights.allows(P.HANDLE_ORDERS))

OPERATE, READ_ALL = may(P.OPERATE_PLATFORM), may(P.READ_PLATFORM)
OWN = person("owner_of_personal")

SEES_ORGANIZATION = may(P.VIEW_ORGANIZATION, "university")
SEES_PROJECT = may(P.VIEW_PROJECT, "project")
SEES_PROVIDER = may(P.VIEW_PROVIDER, "centre")
SEES_BOTH_SIDES = SEES_PROJECT | SEES_PROVIDER
ORDERS = may(P.PLACE_ORDER, "project")
APPROVES = may(P.APPROVE_ORDER, "project")
HANDLES = may(P.HANDLE_ORDERS, "centre")
OFFERS = may(P.MANAGE_OFFERINGS, "centre")
SEES_COSTS = may(P.VIEW_COSTS, "project")
MANAGES_BUDGETS = may(P.MANAGE_BUDGETS, "project")
# The offering of the world is for the university: for whoever holds a role there or in one of its projects.
BELONGS = Rule(lambda rights: any(where in {"university", "project", "sub"} for _role, where in rights.held))
SEES_OFFERING = BELONGS | SEES_PROVIDER | READ_ALL
PLUGINS = READ_ALL | may(P.MANAGE_BACKENDS, "centre") | may(P.MANAGE_BACKENDS, "elsewhere")

# Who is one of those for whom something stands, or is allotted, at the backend of the world: no right, but being there.
USES_BACKEND = OWN | Rule(
    lambda rights: any(
        role in PROJECT_ROLES
        or (where == "university" and role in {Role.ORGANIZATION_OWNER, Role.ORGANIZATION_MANAGER})
        for role, where in rights.held
    )
)

SEES_BILLS, SEES_REVENUE = may(P.VIEW_BILLING, "university"), may(P.VIEW_REVENUE, "centre")
SEES_INVOICE = SEES_BILLS | SEES_REVENUE
INVOICES = may(P.MANAGE_INVOICES, "centre")

APPLIES = may(P.APPLY_FOR_GRANTS, "project")
READS_GRANTS, JUDGES, MANAGES_GRANTS = (
    may(permission, "university") for permission in (P.VIEW_GRANTS, P.JUDGE_GRANTS, P.MANAGE_GRANTS)
)
SEES_APPLICATION = APPLIES | READS_GRANTS

# object of the world -> who may know that it is there: others get 404, these 403
KNOWN_TO: Final[Mapping[str, Rule]] = {
    "university": SEES_ORGANIZATION,
    "project": SEES_PROJECT,
    "membership": SEES_PROJECT,
    "organization_membership": SEES_ORGANIZATION,
    "invitation": may(P.MANAGE_PROJECT_MEMBERS, "project"),
    "own_invitation": OWN,
    "ssh_key": OWN,
    "api_token": OWN,
    "bystander": PUBLIC,  # of people only operators are told, with 403 to others
    "provider": SEES_PROVIDER,
    "centre_slug": SEES_PROVIDER,
    "cpu": SEES_PROVIDER,
    "ledger_operation": SEES_PROVIDER,
    "product": SEES_PROVIDER,
    "offering": SEES_PROVIDER,
    "component": SEES_PROVIDER,
    "plan": SEES_PROVIDER,
    "backend": SEES_PROVIDER,
    "local_account": SEES_PROVIDER,
    "shelf": PUBLIC,
    "wallet": SEES_BOTH_SIDES,
    "university_wallet": may(P.VIEW_PROJECT, "university") | SEES_PROVIDER,
    "allocation": SEES_BOTH_SIDES | may(P.VIEW_PROJECT, "university"),
    "root_allocation": may(P.VIEW_PROJECT, "university") | SEES_PROVIDER,
    "order": SEES_BOTH_SIDES,
    "order_at_provider": SEES_BOTH_SIDES,
    "resource": SEES_BOTH_SIDES,
    "held_order": SEES_BOTH_SIDES,
    "budget": may(P.VIEW_COSTS, "project"),
    "application": SEES_APPLICATION,
    "grant_comment": SEES_APPLICATION,
    "grant_file": SEES_APPLICATION,
    "notice": OWN,
    "invoice": SEES_INVOICE,
    "open_invoice": SEES_INVOICE,
    "invoice_line": SEES_INVOICE | SEES_COSTS,
    "payment": SEES_INVOICE,
    "credit_note": SEES_INVOICE,
    "credit": SEES_INVOICE,
    "compensation": SEES_INVOICE,
    "giver": READS_GRANTS,
    "gift": READS_GRANTS,
}

# The same address asked for another object of the same kind: which stand in for which objects, and where they lie.
VARIANTS: Final[tuple[tuple[str, Mapping[str, str], Mapping[str, str]], ...]] = (
    ("project", {"project": "sub"}, {"project": "sub"}),
    ("wallet", {"wallet": "sub_wallet"}, {"project": "sub"}),
    ("wallet", {"wallet": "personal_wallet"}, {"project": "personal"}),
    ("order", {"order": "personal_order"}, {"project": "personal"}),
    ("resource", {"resource": "personal_resource"}, {"project": "personal"}),
)


@dataclass(frozen=True)
class Case:
    """One way to ask at an address.

    rule      who is let
    see       who else is told that they are not let (403); to all others nothing is there (404)
    objects   parameter of the address -> object of the world
    body      from the world; of a page: fields of a form, of the API: JSON
    twin      of a page that is looked at and sent: who is let the other way
    """

    route: str
    method: str
    rule: Rule
    see: Rule
    objects: Mapping[str, str]
    body: Callable[[Any], Any] | None = None
    query: Callable[[Any], str] | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    twin: Rule | None = None

    @property
    def label(self) -> str:
        what = " ".join(f"{name}={value}" for name, value in self.objects.items())
        return f"{self.method} {self.route} {what}".strip()

    def variants(self) -> list["Case"]:
        found = [self]
        for kind, objects, places in VARIANTS:
            if kind in self.objects.values():
                put = {name: objects.get(value, value) for name, value in self.objects.items()}
                found.append(replace(self, objects=put, places=places))
        return found


def _known_to(objects: Mapping[str, str]) -> Rule:
    return KNOWN_TO[next(iter(objects.values()))] if objects else PUBLIC


# ------------------------------------------------------------------------------------------------ pages
PAGES: dict[str, list[Case]] = {}


def page(
    name: str,
    rule: Rule | None,
    post: Rule | None = None,
    *,
    see: Rule | None = None,
    body: Callable[[Any], Any] | None = None,
    query: Callable[[Any], str] | None = None,
    **objects: str,
) -> None:
    """Declare a page. rule: who may look at it, None = it cannot be looked at; post: who may send its form, None = there
    is none."""
    cases = PAGES.setdefault(name, [])
    known = see or _known_to(objects)
    if rule is not None:
        cases.append(Case(name, "GET", rule, known, objects, query=query, twin=post))
    if post is not None:
        cases.append(Case(name, "POST", post, known, objects, body or (lambda _w: {}), query, twin=rule))


page("healthz", PUBLIC)
page("api:openapi-json", PUBLIC)
page("api:openapi-view", PUBLIC)
page("api:api-root", NOWHERE, see=NOWHERE)

page("demo_login", None, NOWHERE, see=NOWHERE, key="pi_key")  # the demonstration is off

# The login library's own pages, below /account/: roles mean nothing there. These are for strangers as well.
LOGIN_PAGES_FOR_STRANGERS: Final = {
    "oidc_login",
    "account_login",
    "account_inactive",
    "account_signup",
    "account_email_verification_sent",
    "account_confirm_email",
    "account_confirm_login_code",
    "account_reset_password",
    "account_reset_password_done",
    "account_reset_password_from_key",
    "account_reset_password_from_key_done",
    "mfa_authenticate",
    "mfa_login_webauthn",
    "socialaccount_login_cancelled",
    "socialaccount_login_error",
    "socialaccount_signup",
    "openid_connect_login",
    "openid_connect_callback",
}

# structure
page("home", LOGIN)
for name in ("organizations", "projects", "project_new", "memberships"):
    page(name, LOGIN)
page("organization_create", OPERATE, OPERATE)
page("organization", SEES_ORGANIZATION, pk="university")
page("organization_edit", *[may(P.EDIT_ORGANIZATION, "university")] * 2, pk="university")
page("organization_archive", None, OPERATE, pk="university")
page("organization_unarchive", None, OPERATE, pk="university")
for name in ("organization_projects", "organization_members", "organization_history"):
    page(name, SEES_ORGANIZATION, pk="university")
page("project_create", *[may(P.CREATE_PROJECT, "university")] * 2, pk="university")
page("organization_invite", *[may(P.MANAGE_ORGANIZATION_MEMBERS, "university")] * 2, pk="university")
for name in ("project", "project_members", "project_history"):
    page(name, SEES_PROJECT, pk="project")
page("project_edit", *[may(P.EDIT_PROJECT, "project")] * 2, pk="project")
page("project_end", *[may(P.EDIT_PROJECT, "project")] * 2, pk="project")
page("project_archive", None, may(P.EDIT_PROJECT, "project"), pk="project")
page("project_unarchive", None, may(P.EDIT_PROJECT, "project"), pk="project")
page("subproject_create", *[may(P.CREATE_SUBPROJECT, "project")] * 2, pk="project")
page("project_invite", *[may(P.MANAGE_PROJECT_MEMBERS, "project")] * 2, pk="project")
page("project_hand_over", *[gives(Role.PRINCIPAL_INVESTIGATOR, "project")] * 2, pk="project")
# Of a role that the viewer may not take away the page of its change is not there.
page("membership_edit", *[gives(Role.PROJECT_MEMBER, "project")] * 2, see=NOWHERE, pk="membership")
page("membership_edit", *[gives(Role.BILLING_VIEWER, "university")] * 2, see=NOWHERE, pk="organization_membership")
page("membership_end", None, gives(Role.PROJECT_MEMBER, "project"), pk="membership")
page("membership_end", None, gives(Role.BILLING_VIEWER, "university"), pk="organization_membership")
page("invitation_resend", None, gives(Role.PROJECT_MEMBER, "project"), pk="invitation")
page("invitation_revoke", None, gives(Role.PROJECT_MEMBER, "project"), pk="invitation")
page("invitation_answer", None, OWN, pk="own_invitation")
page("invitation_accept", PUBLIC, LOGIN, see=PUBLIC, token="own_invitation_token")
page("operator_events", READ_ALL)

# oneself, and everybody
for name in ("profile", "ssh_key_add", "token_create"):
    page(name, LOGIN, LOGIN)
page("tokens", LOGIN)
page("ssh_key_remove", None, OWN, pk="ssh_key")
page("token_revoke", None, OWN, pk="api_token")
page("token_roll", OWN, OWN, pk="api_token")
page("operator_people", READ_ALL)
page("operator_invite", OPERATE, OPERATE)
page("operator_person", READ_ALL, pk="bystander")
page("person_deactivate", None, OPERATE, pk="bystander")
page("person_reactivate", None, OPERATE, pk="bystander")
page("person_appoint", None, OPERATE, pk="bystander", body=lambda w: {"role": "platform_support"})

# catalogue: lists show what there is to see, and are empty for the others
for name in ("provider_home", "provider_categories", "provider_backends", "provider_offerings", "marketplace"):
    page(name, LOGIN)


page("prices", PUBLIC)


def of_centre(w: Any) -> str:
    return f"provider={w.centre.slug}"


page("provider_category_create", *[may(P.MANAGE_CATEGORIES, "centre")] * 2, see=SEES_PROVIDER, query=of_centre)
page("provider_category", SEES_PROVIDER, pk="cpu")
page("provider_category_edit", *[may(P.MANAGE_CATEGORIES, "centre")] * 2, pk="cpu")
page("provider_category_archive", None, may(P.MANAGE_CATEGORIES, "centre"), pk="cpu")
page("provider_product_create", *[may(P.MANAGE_CATEGORIES, "centre")] * 2, pk="cpu")
page("provider_product_edit", *[may(P.MANAGE_CATEGORIES, "centre")] * 2, pk="cpu", product_pk="product")
page("provider_product_archive", None, may(P.MANAGE_CATEGORIES, "centre"), pk="cpu", product_pk="product")
page("operator_providers", READ_ALL, OPERATE)
page("operator_provider_step", None, OPERATE, see=PUBLIC, pk="provider")
page("operator_shelves", OPERATE)
page("operator_shelf_create", OPERATE, OPERATE)
page("operator_shelf", OPERATE, OPERATE, pk="shelf")
page("operator_shelf_delete", None, OPERATE, pk="shelf")
page("operator_plugins", PLUGINS)
page("offering", SEES_OFFERING, see=NOWHERE, pk="offering")
page("offering", LOGIN, pk="open_offering", see=PUBLIC)
page("provider", SEES_PROVIDER, slug="centre_slug")
page("provider_edit", *[may(P.EDIT_PROVIDER, "centre")] * 2, slug="centre_slug")
page(
    "provider_backend_create",
    *[may(P.MANAGE_BACKENDS, "centre")] * 2,
    see=SEES_PROVIDER,
    query=lambda w: f"{of_centre(w)}&plugin=manual",
)
page(
    "provider_backend_create",
    *[may(P.MANAGE_BACKENDS, "centre")] * 2,
    see=SEES_PROVIDER,
    query=lambda w: f"{of_centre(w)}&runs=site&plugin=manual",
    body=lambda w: {"name": "At the site"},
)
page("provider_backend", SEES_PROVIDER, pk="backend")
page("backend_set_aside", SEES_PROVIDER, pk="backend")
page("backend_send_again", None, may(P.REPORT_USAGE, "centre"), pk="backend", body=lambda w: {"all": "1"})
page("backend_give_up", None, may(P.WRITE_OFF, "centre"), pk="backend", body=lambda w: {"reason": "Never right."})
page("provider_backend_edit", *[may(P.MANAGE_BACKENDS, "centre")] * 2, pk="backend")
for name in ("provider_backend_test", "provider_backend_switch", "provider_backend_delete"):
    page(name, None, may(P.MANAGE_BACKENDS, "centre"), pk="backend")
page("provider_offering_create", OFFERS, OFFERS, see=SEES_PROVIDER, query=of_centre)
for name in ("provider_offering", "provider_offering_components", "provider_offering_plans"):
    page(name, SEES_PROVIDER, pk="offering")
for name in (
    "provider_offering_texts",
    "provider_offering_backend",
    "provider_offering_components_new",
    "provider_offering_plans_new",
    "provider_offering_form",
    "provider_offering_visibility",
    "provider_offering_access",
    "offering_approval",
):
    page(name, SEES_PROVIDER, OFFERS, pk="offering")
page("offering_take_over", HANDLES, HANDLES, see=SEES_PROVIDER, pk="offering")
page("provider_offering_components_edit", SEES_PROVIDER, OFFERS, pk="offering", component_pk="component")
page("provider_component_remove", None, OFFERS, pk="offering", component_pk="component")
page("provider_offering_plans_edit", SEES_PROVIDER, OFFERS, pk="offering", plan_pk="plan")
page("provider_offering_plans_prices", SEES_PROVIDER, OFFERS, pk="offering", plan_pk="plan")
page("provider_plan_step", None, OFFERS, pk="offering", plan_pk="plan", body=lambda w: {"step": "archive"})
page("provider_offering_form_preview", None, OFFERS, pk="offering")
page("provider_offering_step", None, OFFERS, pk="offering", body=lambda w: {"step": "pause"})

# orders
for name in ("orders", "provider_orders", "resources", "provider_resources", "provider_accounts", "allocations"):
    page(name, LOGIN)
page("project_orders", SEES_PROJECT, pk="project")
page("organization_orders", SEES_ORGANIZATION, pk="university")
for name in (
    "order_create",
    "order_draft",
):  # for whom one may order is a choice in the form: see the tests of bad input
    page(
        name,
        SEES_OFFERING if name == "order_create" else None,
        SEES_OFFERING,
        see=NOWHERE,
        query=lambda w: f"offering={w.offering.pk}",
    )
page("order", SEES_BOTH_SIDES, pk="order")
page("order_approve", None, APPROVES, pk="order", body=lambda w: {"side": "consumer"})
page("order_approve", None, HANDLES, pk="order_at_provider", body=lambda w: {"side": "provider"})
page("order_reject", None, APPROVES, pk="order", body=lambda w: {"side": "consumer", "reason": "No."})
page("order_reject", None, HANDLES, pk="order_at_provider", body=lambda w: {"side": "provider", "reason": "No."})
page("order_cancel", None, APPROVES, pk="order")
page("order_retry", None, ORDERS | HANDLES, pk="order")
page("order_comment", None, SEES_PROJECT | HANDLES, pk="order", body=lambda w: {"text": "Please."})
page("order_assign", None, HANDLES, pk="order")
page("order_agree", None, MANAGES_BUDGETS, pk="held_order")
page("order_refuse", None, MANAGES_BUDGETS, pk="held_order")
page("order_say", None, HANDLES, pk="order", body=lambda w: {"text": "Half of it.", "level": "info"})
page("project_policies", SEES_PROJECT, may(P.EDIT_PROJECT, "project"), pk="project")
page("organization_policies", SEES_ORGANIZATION, may(P.EDIT_ORGANIZATION, "university"), pk="university")

# resources
page("project_resources", SEES_PROJECT, pk="project")
page("organization_resources", SEES_ORGANIZATION, pk="university")
page("resource", SEES_BOTH_SIDES, pk="resource")
page("resource_change", ORDERS, ORDERS, pk="resource")
page("resource_draft", None, ORDERS, pk="resource")
page("resource_terminate", ORDERS, ORDERS, pk="resource")
page("resource_end", APPROVES | HANDLES, APPROVES | HANDLES, pk="resource")
page("resource_rename", None, ORDERS, pk="resource")
page("resource_say", None, HANDLES, pk="resource", body=lambda w: {"text": "Half of it.", "level": "info"})
for name in ("resource_pause", "resource_resume", "resource_ask_again"):
    page(name, None, ORDERS | HANDLES, pk="resource")
page("resource_act", ORDERS, ORDERS, pk="resource", action="restart")
page("resource_work", HANDLES, HANDLES, pk="resource")
page("provider_account", *[may(P.MANAGE_ACCOUNTS, "centre")] * 2, see=NOWHERE, backend="backend", person="bystander")
page(
    "provider_account_remove",
    None,
    may(P.MANAGE_ACCOUNTS, "centre"),
    see=NOWHERE,
    backend="backend",
    person="bystander",
)

for name, sent in (("provider_account_block", {"reason": "No."}), ("provider_account_unblock", {})):
    page(
        name,
        None,
        may(P.MANAGE_ACCOUNTS, "centre"),
        see=NOWHERE,
        body=lambda w, sent=sent: sent,  # type: ignore[misc]
        backend="backend",
        person="bystander",
    )
page("provider_backend_accounts", *[may(P.MANAGE_BACKENDS, "centre")] * 2, pk="backend")
page("jwks", PUBLIC)
page("my_accounts", LOGIN)
page("my_account_connect", USES_BACKEND, USES_BACKEND, see=NOWHERE, backend="backend")
page("my_account_disconnect", None, OWN, see=NOWHERE, backend="backend")

# invoices
for name in ("invoices", "provider_invoices", "provider_credits", "provider_revenue"):
    page(name, LOGIN)
page("invoices_export", LOGIN, query=lambda w: "side=customer&from=2026-10&to=2026-10&form=csv")
page("invoice", SEES_INVOICE, pk="invoice")
page("invoice", SEES_INVOICE, pk="open_invoice")
page("invoice_download", SEES_INVOICE, pk="invoice", form="csv_form")
page("invoice_issue", None, INVOICES, pk="open_invoice")
page("payment_note", None, INVOICES, pk="invoice", body=lambda w: {"amount": "1", "paid_on": "2026-11-20"})
page("payment_take_back", None, INVOICES, pk="invoice", payment="payment")
page("credit_note_make", INVOICES, INVOICES, pk="invoice", body=lambda w: {"extent": "whole", "reason": "No."})
page("invoice_line", SEES_INVOICE | SEES_COSTS, pk="invoice_line")
page("credit_note_download", SEES_INVOICE, pk="credit_note", form="csv_form")
page("credit_withdraw", None, INVOICES, pk="credit")
page("compensation_withdraw", None, INVOICES, pk="compensation")
for name in ("provider_seller", "credit_give", "compensation_make"):
    page(name, INVOICES, INVOICES, see=SEES_REVENUE, slug="centre_slug")
page("provider_refresh", None, INVOICES, see=SEES_REVENUE, slug="centre_slug")
page(
    "provider_close_month", None, INVOICES, see=SEES_REVENUE, slug="centre_slug", body=lambda w: {"month": "2026-10-01"}
)
page("organization_billing", SEES_BILLS, pk="university")
page("buyer_edit", *[may(P.EDIT_ORGANIZATION, "university")] * 2, pk="university")
page("project_costs", SEES_COSTS, pk="project")
page("tax_rates", READ_ALL, OPERATE)

# budgets
page("organization_budgets", may(P.VIEW_COSTS, "university"), may(P.MANAGE_BUDGETS, "university"), pk="university")
page("project_budgets", SEES_COSTS, MANAGES_BUDGETS, pk="project")
page("budget", SEES_COSTS, pk="budget")
for name in ("budget_change", "budget_thresholds", "budget_close"):
    page(name, None, MANAGES_BUDGETS, pk="budget")

# wallets and allocations
page("project_wallets", SEES_PROJECT, pk="project")
page("organization_wallets", SEES_ORGANIZATION, pk="university")
page("wallet", SEES_BOTH_SIDES, pk="wallet")
page("wallet_past", SEES_BOTH_SIDES, pk="wallet")
page("wallet_usage", SEES_BOTH_SIDES, pk="wallet")
page("project_usage", SEES_PROJECT, pk="project")
page("organization_usage", SEES_ORGANIZATION, pk="university")
page("allocation_create", *[may(P.ALLOCATE, "project")] * 2, pk="wallet")
page("wallet_write_off", *[may(P.WRITE_OFF, "centre")] * 2, pk="wallet")
page("category_allocations", SEES_PROVIDER, pk="cpu")
page("allocation_create_root", *[may(P.ALLOCATE_ROOT, "centre")] * 2, pk="cpu")
SEES_ALLOCATION, SEES_ROOT = KNOWN_TO["allocation"], KNOWN_TO["root_allocation"]
page("allocation_change", SEES_ALLOCATION, may(P.ALLOCATE, "university"), pk="allocation")
page("allocation_change", SEES_ROOT, may(P.ALLOCATE_ROOT, "centre"), pk="root_allocation")
page("allocation_move", *[may(P.ALLOCATE, "university")] * 2, pk="allocation")
page("allocation_move", *[may(P.ALLOCATE_ROOT, "centre")] * 2, pk="root_allocation")
page("allocation_revoke", None, may(P.ALLOCATE, "university"), pk="allocation")
page("allocation_revoke", None, may(P.ALLOCATE_ROOT, "centre"), pk="root_allocation")


# ------------------------------------------------------------------------------------------------ the API
OPERATIONS: dict[tuple[str, str], list[Case]] = {}

PARAMETERS: Final[Mapping[str, str]] = {
    "key_id": "ssh_key",
    "token_id": "api_token",
    "organization_id": "university",
    "project_id": "project",
    "membership_id": "membership",
    "invitation_id": "invitation",
    "person_id": "bystander",
    "provider_id": "provider",
    "category_id": "cpu",
    "product_id": "product",
    "shelf_id": "shelf",
    "offering_id": "offering",
    "component_id": "component",
    "plan_id": "plan",
    "backend_id": "backend",
    "wallet_id": "wallet",
    "operation_id": "ledger_operation",
    "allocation_id": "allocation",
    "order_id": "order",
    "budget_id": "budget",
    "resource_id": "resource",
    "action": "restart",
    "application_id": "application",
    "comment_id": "grant_comment",
    "file_id": "grant_file",
    "giver_id": "giver",
    "gift_id": "gift",
    "notice_id": "notice",
    "account_id": "local_account",
    "invoice_id": "invoice",
    "line_id": "invoice_line",
    "payment_id": "payment",
    "credit_note_id": "credit_note",
    "credit_id": "credit",
    "compensation_id": "compensation",
    "form": "csv_form",
    "recipient": "kind",
    "category_name": "cpu_name",
    "product_name": "new_name",
}


def op(
    method: str,
    path: str,
    rule: Rule,
    body: Callable[[Any], Any] | None = None,
    *,
    see: Rule | None = None,
    query: Callable[[Any], str] | None = None,
    **objects: str,
) -> None:
    """Declare an operation of the API."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    meant = {name: objects.get(name, PARAMETERS[name]) for name in names}
    case = Case(path, method, rule, see or _known_to(meant), meant, body, query)
    OPERATIONS.setdefault((method, path), []).append(case)


def none(_w: Any) -> dict[str, Any]:
    return {}


# oneself
op("GET", "/me", LOGIN)
op("PATCH", "/me", PROFILE, lambda w: {"time_zone": "Europe/Oslo"})
op("GET", "/me/ssh-keys", LOGIN)
op("POST", "/me/ssh-keys", PROFILE, lambda w: {"public_key": w.another_key})
op("DELETE", "/me/ssh-keys/{key_id}", OWN & PROFILE)
op("GET", "/me/tokens", PROFILE)
op("POST", "/me/tokens", IN_BROWSER, lambda w: {"name": "more", "scopes": ["read"]})
op("DELETE", "/me/tokens/{token_id}", OWN & PROFILE)
op("POST", "/me/tokens/{token_id}/roll", OWN & IN_BROWSER, lambda w: {"overlap_days": 1})  # with a token: only itself
op("GET", "/me/invitations", LOGIN)
op("POST", "/me/invitations/{invitation_id}/accept", OWN & IN_BROWSER, invitation_id="own_invitation")
op("POST", "/me/invitations/{invitation_id}/decline", OWN & PROFILE, invitation_id="own_invitation")

# organizations
op("GET", "/organizations", LOGIN)
op("POST", "/organizations", OPERATE, lambda w: {"name": "New University"})
op("GET", "/organizations/{organization_id}", SEES_ORGANIZATION)
op(
    "PATCH",
    "/organizations/{organization_id}",
    may(P.EDIT_ORGANIZATION, "university"),
    lambda w: {"url": "https://example.org"},
)
op("POST", "/organizations/{organization_id}/archive", OPERATE)
op("POST", "/organizations/{organization_id}/unarchive", OPERATE)
op("GET", "/organizations/{organization_id}/permissions", SEES_ORGANIZATION)
op("GET", "/organizations/{organization_id}/members", SEES_ORGANIZATION)
op(
    "POST",
    "/organizations/{organization_id}/members",
    gives(Role.ORGANIZATION_MANAGER, "university"),
    lambda w: {"person_id": w.bystander.pk, "role": "organization_manager"},
)
op("GET", "/organizations/{organization_id}/invitations", may(P.MANAGE_ORGANIZATION_MEMBERS, "university"))
op(
    "POST",
    "/organizations/{organization_id}/invitations",
    gives(Role.BILLING_VIEWER, "university"),
    lambda w: {"email": "new@example.org", "role": "billing_viewer"},
)
op("GET", "/organizations/{organization_id}/events", SEES_ORGANIZATION)

# projects
op("GET", "/projects", LOGIN)
op(
    "POST",
    "/projects",
    may(P.CREATE_PROJECT, "university"),
    lambda w: {"organization_id": w.university.pk, "name": "New"},
    see=SEES_ORGANIZATION,
)
op(
    "POST",
    "/projects",
    may(P.CREATE_SUBPROJECT, "project"),
    lambda w: {"parent_id": w.project.pk, "name": "New"},
    see=SEES_PROJECT,
)
op("GET", "/projects/{project_id}", SEES_PROJECT)
op("PATCH", "/projects/{project_id}", may(P.EDIT_PROJECT, "project"), lambda w: {"description": "Better."})
op("POST", "/projects/{project_id}/end", may(P.EDIT_PROJECT, "project"), none)
op("POST", "/projects/{project_id}/archive", may(P.EDIT_PROJECT, "project"))
op("POST", "/projects/{project_id}/unarchive", may(P.EDIT_PROJECT, "project"))
op("GET", "/projects/{project_id}/permissions", SEES_PROJECT)
op("GET", "/projects/{project_id}/members", SEES_PROJECT)
op(
    "POST",
    "/projects/{project_id}/members",
    gives(Role.PROJECT_MANAGER, "project"),
    lambda w: {"person_id": w.stranger.pk, "role": "project_manager"},
)
op(
    "POST",
    "/projects/{project_id}/hand-over",
    gives(Role.PRINCIPAL_INVESTIGATOR, "project"),
    lambda w: {"to_person_id": w.bystander.pk},
)
op("GET", "/projects/{project_id}/invitations", may(P.MANAGE_PROJECT_MEMBERS, "project"))
op(
    "POST",
    "/projects/{project_id}/invitations",
    gives(Role.PROJECT_MEMBER, "project"),
    lambda w: {"email": "new@example.org", "role": "project_member"},
)
op("GET", "/projects/{project_id}/events", SEES_PROJECT)
op(
    "PATCH",
    "/memberships/{membership_id}",
    gives(Role.PROJECT_MEMBER, "project") & gives(Role.PROJECT_MANAGER, "project"),
    lambda w: {"role": "project_manager"},
)
op(
    "PATCH",
    "/memberships/{membership_id}",
    gives(Role.BILLING_VIEWER, "university") & gives(Role.OFFERING_MANAGER, "university"),
    lambda w: {"role": "offering_manager"},
    membership_id="organization_membership",
)
op("DELETE", "/memberships/{membership_id}", gives(Role.PROJECT_MEMBER, "project"))
op(
    "DELETE",
    "/memberships/{membership_id}",
    gives(Role.BILLING_VIEWER, "university"),
    membership_id="organization_membership",
)
op("POST", "/invitations/{invitation_id}/resend", gives(Role.PROJECT_MEMBER, "project"))
op("DELETE", "/invitations/{invitation_id}", gives(Role.PROJECT_MEMBER, "project"))

# operators
op("GET", "/people", READ_ALL)
op("POST", "/people/{person_id}/deactivate", OPERATE)
op("POST", "/people/{person_id}/reactivate", OPERATE)
op("GET", "/platform/members", READ_ALL)
op("POST", "/platform/members", OPERATE, lambda w: {"person_id": w.bystander.pk, "role": "platform_support"})
op("GET", "/events", READ_ALL)

# catalogue
op("GET", "/providers", LOGIN)
op("POST", "/providers", OPERATE, lambda w: {"organization_id": w.university.pk})
op("GET", "/providers/{provider_id}", LOGIN)  # it sells something to everybody
op("PATCH", "/providers/{provider_id}", may(P.EDIT_PROVIDER, "centre"), lambda w: {"description": "We compute."})
op("POST", "/providers/{provider_id}/revoke", OPERATE, none)
MANAGES_CATEGORIES = may(P.MANAGE_CATEGORIES, "centre")
op("GET", "/product-categories", LOGIN)
op(
    "POST",
    "/product-categories",
    MANAGES_CATEGORIES,
    lambda w: {
        "provider_id": w.provider.pk,
        "name": "gpu",
        "title": "GPU",
        "product_type": "compute",
        "charging": "hour",
        "unit_name": "GPU-hours",
    },
    see=SEES_PROVIDER,
)
op("GET", "/product-categories/{category_id}", SEES_OFFERING, see=NOWHERE)
op("PATCH", "/product-categories/{category_id}", MANAGES_CATEGORIES, lambda w: {"title": "Cores"})
op("POST", "/product-categories/{category_id}/archive", MANAGES_CATEGORIES)
op("POST", "/product-categories/{category_id}/unarchive", MANAGES_CATEGORIES)
op(
    "PUT",
    "/providers/{provider_id}/product-categories/{category_name}",
    may(P.MANAGE_CATEGORIES, "centre"),
    lambda w: {"title": "New", "product_type": "compute", "charging": "hour", "unit_name": "core-hours"},
    see=SEES_PROVIDER,
    category_name="new_name",
)
op(
    "PUT",
    "/providers/{provider_id}/product-categories/{category_name}/products/{product_name}",
    may(P.MANAGE_CATEGORIES, "centre"),
    lambda w: {"title": "New"},
    see=SEES_PROVIDER,
)
op(
    "PUT",
    "/providers/{provider_id}/catalogue",
    may(P.MANAGE_CATEGORIES, "centre"),
    lambda w: {"products": [{"category": "nothing", "name": "new", "title": "New"}]},
    see=SEES_PROVIDER,
)
op("GET", "/products", LOGIN)
op(
    "POST",
    "/products",
    MANAGES_CATEGORIES,
    lambda w: {"category_id": w.cpu.pk, "name": "thor-16", "title": "16 cores", "ticks_per_charge": 57600},
    see=SEES_PROVIDER,
)
op("PATCH", "/products/{product_id}", MANAGES_CATEGORIES, lambda w: {"title": "Other"})
op("POST", "/products/{product_id}/archive", MANAGES_CATEGORIES)
op("POST", "/products/{product_id}/unarchive", MANAGES_CATEGORIES)
op("GET", "/shelves", LOGIN)
op("POST", "/shelves", OPERATE, lambda w: {"title": "New", "slug": "new"})
op("PATCH", "/shelves/{shelf_id}", OPERATE, lambda w: {"title": "Newer"})
op("DELETE", "/shelves/{shelf_id}", OPERATE)
op("GET", "/offerings", LOGIN)
op("POST", "/offerings", OFFERS, lambda w: {"provider_id": w.provider.pk, "name": "New"}, see=SEES_PROVIDER)
op("GET", "/offerings/{offering_id}", SEES_OFFERING, see=NOWHERE)
op("PATCH", "/offerings/{offering_id}", OFFERS, lambda w: {"summary": "Better."})
op("DELETE", "/offerings/{offering_id}", OFFERS)
op("GET", "/offerings/{offering_id}/checklist", SEES_PROVIDER)
op("POST", "/offerings/{offering_id}/activate", OFFERS)
op("POST", "/offerings/{offering_id}/pause", OFFERS, none)
op("POST", "/offerings/{offering_id}/archive", OFFERS)
op("POST", "/offerings/{offering_id}/reopen", OFFERS)
op("POST", "/offerings/{offering_id}/copy", OFFERS, lambda w: {"name": "A copy"})
op("PUT", "/offerings/{offering_id}/backend", OFFERS, lambda w: {"backend_id": w.backend.pk})
op("PUT", "/offerings/{offering_id}/order-form", OFFERS, lambda w: {"type": "object", "properties": {}})
op("PUT", "/offerings/{offering_id}/visibility", OFFERS, lambda w: {"visibility": "everyone"})
op(
    "POST",
    "/offerings/{offering_id}/components",
    OFFERS,
    lambda w: {"key": "setup", "title": "Setting up", "unit_name": "times", "billing": "one_time"},
)
op("PATCH", "/offerings/{offering_id}/components/{component_id}", OFFERS, lambda w: {"title": "Cores"})
op("DELETE", "/offerings/{offering_id}/components/{component_id}", OFFERS)
op("POST", "/offerings/{offering_id}/plans", OFFERS, lambda w: {"name": "Large"})
op("PATCH", "/offerings/{offering_id}/plans/{plan_id}", OFFERS, lambda w: {"name": "Small"})
op("DELETE", "/offerings/{offering_id}/plans/{plan_id}", OFFERS)
op("POST", "/offerings/{offering_id}/plans/{plan_id}/archive", OFFERS)
op("POST", "/offerings/{offering_id}/plans/{plan_id}/unarchive", OFFERS)
op(
    "POST",
    "/offerings/{offering_id}/plans/{plan_id}/prices",
    OFFERS,
    lambda w: {"prices": [{"component": "cpu", "price": "0.10"}]},
)
op("GET", "/offerings/{offering_id}/plans/{plan_id}/prices", SEES_PROVIDER)
CONNECTS = may(P.MANAGE_BACKENDS, "centre")
op("GET", "/backends", LOGIN)
op(
    "POST",
    "/backends",
    CONNECTS,
    lambda w: {"provider_id": w.provider.pk, "name": "New", "plugin": "manual", "settings": {"contact": "us"}},
    see=SEES_PROVIDER,
)
op("GET", "/backends/{backend_id}", SEES_PROVIDER)
op("PATCH", "/backends/{backend_id}", CONNECTS, lambda w: {"name": "Newer"})
op("DELETE", "/backends/{backend_id}", CONNECTS)
op("POST", "/backends/{backend_id}/test", CONNECTS)
op("POST", "/backends/{backend_id}/enable", CONNECTS)
op("POST", "/backends/{backend_id}/disable", CONNECTS)
op("GET", "/plugins", PLUGINS)

# wallets and allocations
op("GET", "/workspaces", LOGIN)
op("GET", "/wallets", LOGIN)
op("GET", "/wallets/{wallet_id}", SEES_BOTH_SIDES)
op("GET", "/wallets/{wallet_id}/tree", SEES_BOTH_SIDES)
op("GET", "/wallets/{wallet_id}/allocations", SEES_BOTH_SIDES)
op("GET", "/categories/{category_id}/root-allocations", SEES_PROVIDER)
op("GET", "/wallets/{wallet_id}/usage", SEES_BOTH_SIDES)
op("GET", "/wallets/{wallet_id}/forecast", SEES_BOTH_SIDES)
for told in ("usage/series", "usage/breakdown", "health"):
    op("GET", f"/wallets/{{wallet_id}}/{told}", SEES_BOTH_SIDES)
    op("GET", f"/wallets/{{wallet_id}}/{told}.csv", SEES_BOTH_SIDES)
op(
    "POST",
    "/allocations",
    may(P.ALLOCATE, "university"),
    lambda w: {
        "category_id": w.cpu.pk,
        "source_wallet_id": w.university_wallet.pk,
        "project_id": w.project.pk,
        "quota_ticks": 3600,
        "end": "2026-12-31T00:00:00Z",
    },
    see=KNOWN_TO["university_wallet"],
)
op(
    "POST",
    "/allocations",
    may(P.ALLOCATE_ROOT, "centre"),
    lambda w: {
        "category_id": w.cpu.pk,
        "organization_id": w.university.pk,
        "quota_ticks": 3600,
        "end": "2026-12-31T00:00:00Z",
    },
)
op("GET", "/allocations/{allocation_id}", SEES_ALLOCATION)
op("PATCH", "/allocations/{allocation_id}", may(P.ALLOCATE, "university"), lambda w: {"quota_ticks": 7200})
op(
    "PATCH",
    "/allocations/{allocation_id}",
    may(P.ALLOCATE_ROOT, "centre"),
    lambda w: {"quota_ticks": 7_200_000},
    allocation_id="root_allocation",
)
op("POST", "/allocations/{allocation_id}/revoke", may(P.ALLOCATE, "university"))
op("POST", "/allocations/{allocation_id}/revoke", may(P.ALLOCATE_ROOT, "centre"), allocation_id="root_allocation")
op(
    "POST",
    "/allocations/{allocation_id}/transfer",
    may(P.ALLOCATE, "university"),
    lambda w: {"to_allocation_id": w.other_allocation.pk, "amount_ticks": 60},
    see=may(P.VIEW_PROJECT, "university") | SEES_PROVIDER,  # both of them
)
op(
    "POST",
    "/wallets/{wallet_id}/write-off",
    may(P.WRITE_OFF, "centre"),
    lambda w: {"amount_ticks": 60, "reason": "A fault of ours."},
)
op("GET", "/wallets/{wallet_id}/as-of", SEES_BOTH_SIDES)
op("GET", "/wallets/{wallet_id}/difference", SEES_BOTH_SIDES)
op("GET", "/wallets/{wallet_id}/explain", SEES_BOTH_SIDES)
op(
    "POST",
    "/wallets/{wallet_id}/what-if",
    SEES_BOTH_SIDES,
    lambda w: {"until": "2027-01-01T00:00:00Z", "steps": [{"do": "rate", "amount_ticks": 3600}]},
)
op("GET", "/categories/{category_id}/operations/{operation_id}", SEES_PROVIDER)
op("GET", "/categories/{category_id}/usage-report", SEES_PROVIDER, query=lambda w: f"report_id={w.usage_report}")
op("POST", "/categories/{category_id}/verify", may(P.MANAGE_CATEGORIES, "centre"))
op("POST", "/ledgers/verify", OPERATE)
op("GET", "/ledgers/differing", READ_ALL)
op(
    "POST",
    "/usage/reports",
    may(P.REPORT_USAGE, "centre"),
    lambda w: {
        "reports": [
            {
                "report_id": "walk-1",
                "category_id": w.cpu.pk,
                "workspace_id": w.wallet.workspace_id,
                "amount_ticks": 60,
                "period_start": "2026-11-21T10:00:00Z",
                "period_end": "2026-11-21T11:00:00Z",
            }
        ]
    },
)

# orders
op("GET", "/orders", LOGIN)
op(
    "POST",
    "/orders",
    ORDERS,
    lambda w: {
        "workspace_id": w.wallet.workspace_id,
        "offering_id": w.offering.pk,
        "plan_id": w.plan.pk,
        "name": "New",
        "limits": {"cpu": 10},
    },
    see=NOWHERE,
)
op("GET", "/orders/awaiting", LOGIN)
op("GET", "/provider/orders", LOGIN)
op(
    "POST",
    "/orders/estimate",
    ORDERS,
    lambda w: {"workspace_id": w.wallet.workspace_id, "offering_id": w.offering.pk, "plan_id": w.plan.pk},
    see=NOWHERE,
)
op("GET", "/orders/{order_id}", SEES_BOTH_SIDES)
op("POST", "/orders/{order_id}/approve", APPROVES, lambda w: {"side": "consumer"})
op("POST", "/orders/{order_id}/approve", HANDLES, lambda w: {"side": "provider"}, order_id="order_at_provider")
op("POST", "/orders/{order_id}/reject", APPROVES, lambda w: {"side": "consumer", "reason": "No."})
op(
    "POST",
    "/orders/{order_id}/reject",
    HANDLES,
    lambda w: {"side": "provider", "reason": "No."},
    order_id="order_at_provider",
)
op("POST", "/orders/{order_id}/agree", MANAGES_BUDGETS, none, order_id="held_order")
op("POST", "/orders/{order_id}/refuse", MANAGES_BUDGETS, lambda w: {"reason": "No."}, order_id="held_order")
op("POST", "/orders/{order_id}/cancel", APPROVES, none)
op("POST", "/orders/{order_id}/retry", ORDERS | HANDLES)
op("POST", "/orders/{order_id}/comments", (SEES_PROJECT | HANDLES) & ORDERING, lambda w: {"text": "Please."})

# budgets
NEW_BUDGET: Final = {"amount": "10.00", "span": "year"}
op("GET", "/organizations/{organization_id}/budgets", may(P.VIEW_COSTS, "university"))
op(
    "POST",
    "/organizations/{organization_id}/budgets",
    may(P.MANAGE_BUDGETS, "university"),
    lambda w: NEW_BUDGET,
)
op("GET", "/projects/{project_id}/budgets", SEES_COSTS)
op("POST", "/projects/{project_id}/budgets", MANAGES_BUDGETS, lambda w: NEW_BUDGET)
op("GET", "/budgets/{budget_id}", SEES_COSTS)
op("POST", "/budgets/{budget_id}/change", MANAGES_BUDGETS, lambda w: {"amount": "7.00", "reason": "Less."})
op("PUT", "/budgets/{budget_id}/thresholds", MANAGES_BUDGETS, lambda w: {"thresholds": []})
op("POST", "/budgets/{budget_id}/close", MANAGES_BUDGETS, lambda w: {"reason": "Over."})

# resources
op("GET", "/resources", LOGIN)
op("GET", "/provider/resources", LOGIN)
op("GET", "/provider/work", LOGIN)
op("GET", "/resources/{resource_id}", SEES_BOTH_SIDES)
op("GET", "/resources/{resource_id}/history", SEES_BOTH_SIDES)
op("POST", "/resources/{resource_id}/change", ORDERS, lambda w: {"limits": {"cpu": 20}})
op("POST", "/resources/{resource_id}/terminate", ORDERS, none)
op("POST", "/resources/{resource_id}/pause", ORDERS | HANDLES)
op("POST", "/resources/{resource_id}/resume", ORDERS | HANDLES)
op("PUT", "/resources/{resource_id}/end", APPROVES | HANDLES, lambda w: {"end": "2026-12-31T00:00:00Z"})
op("PUT", "/resources/{resource_id}/name", ORDERS, lambda w: {"name": "Newer"})
op("POST", "/resources/{resource_id}/ask-again", ORDERS | HANDLES)
op("POST", "/resources/{resource_id}/actions/{action}", ORDERS, none)
op("POST", "/resources/{resource_id}/work/done", HANDLES, none)
op("POST", "/resources/{resource_id}/work/refuse", HANDLES, lambda w: {"reason": "No."})
op(
    "POST",
    "/resources/{resource_id}/usage",
    may(P.REPORT_USAGE, "centre"),
    lambda w: {
        "records": [
            {
                "id": "walk-1",
                "component": "cpu",
                "amount": 60,
                "period_start": "2026-11-21T10:00:00Z",
                "period_end": "2026-11-21T11:00:00Z",
            }
        ]
    },
    see=SEES_PROVIDER,
)

# local accounts, approval
ACCOUNTS = may(P.MANAGE_ACCOUNTS, "centre")
op("GET", "/provider/accounts", LOGIN)
op("PUT", "/provider/accounts/{backend_id}/{person_id}", ACCOUNTS, lambda w: {"username": "someone"})
op("DELETE", "/provider/accounts/{backend_id}/{person_id}", ACCOUNTS)
op("POST", "/provider/accounts/{backend_id}/{person_id}/block", ACCOUNTS, lambda w: {"reason": "No."})
op("POST", "/provider/accounts/{backend_id}/{person_id}/unblock", ACCOUNTS)
op("GET", "/me/accounts", LOGIN)
op("POST", "/me/accounts/{backend_id}/connect", USES_BACKEND & PROFILE, see=USES_BACKEND)
op("POST", "/me/accounts/{backend_id}/disconnect", OWN & PROFILE, see=OWN)
op("GET", "/backends/{backend_id}/account-policy", SEES_PROVIDER)
op("PATCH", "/backends/{backend_id}/account-policy", CONNECTS, lambda w: {"naming": "anonymous"})
op("GET", "/provider/offerings/{offering_id}/approval", SEES_PROVIDER)
op("GET", "/provider/offerings/{offering_id}/importable", HANDLES, see=SEES_PROVIDER)
op(
    "POST",
    "/provider/offerings/{offering_id}/take-over",
    HANDLES,
    lambda w: {"resources": [{"backend_id": "a", "workspace_id": 1, "plan_id": 1}]},
    see=SEES_PROVIDER,
)
op("PUT", "/provider/offerings/{offering_id}/approval", OFFERS, lambda w: {"choice": "all"})


# The provider's side: who runs several providers says which. An agent that did not come forward is told so (409) and no more.
def of_provider(w: Any) -> str:
    return f"provider_id={w.provider.pk}"


for path in ("/provider/events", "/provider/snapshot", "/provider/agents", "/provider/agent/rights"):
    op("GET", path, SEES_PROVIDER, query=of_provider, see=NOWHERE)
AN_AGENT: Final = {
    "instance": "6f1c1b1e-3f5a-4c0e-9c86-0a5f6a1f9f01",
    "session": "6f1c1b1e-3f5a-4c0e-9c86-0a5f6a1f9f02",
    "host": "login1",
    "version": "1",
    "clock": "2026-11-21T12:00:00Z",
    "backends": [{"name": "Nowhere", "plugin": "manual"}],
}
op("POST", "/provider/agent/hello", CONNECTS, lambda w: AN_AGENT, query=of_provider, see=SEES_PROVIDER)
op(
    "POST",
    "/provider/agent/beat",
    CONNECTS,
    lambda w: {"clock": AN_AGENT["clock"]},
    query=of_provider,
    see=SEES_PROVIDER,
)
op("POST", "/provider/agent/bye", CONNECTS, query=of_provider, see=SEES_PROVIDER)
op("GET", "/provider/resources/{resource_id}", SEES_PROVIDER, query=of_provider, see=NOWHERE)
for last, sent in (
    ("quota-offer", none),
    ("group-work", none),
    ("want-accounts", none),
    ("steps", lambda w: {"generation": 1, "step": {"step": "removed"}}),
):
    op("POST", f"/provider/resources/{{resource_id}}/{last}", CONNECTS, sent, query=of_provider, see=SEES_PROVIDER)
op(
    "POST",
    "/provider/local-accounts/{account_id}/answers",
    CONNECTS,
    lambda w: {"work": "make", "answer": {"answer": "done"}},
    query=of_provider,
)
op("POST", "/provider/backends/{backend_id}/usage", CONNECTS, lambda w: {"records": []}, query=of_provider)
op("PUT", "/provider/backends/{backend_id}/importable", CONNECTS, lambda w: {"found": []}, query=of_provider)
op("GET", "/backends/{backend_id}/set-aside", SEES_PROVIDER)
op("POST", "/backends/{backend_id}/set-aside/send-again", may(P.REPORT_USAGE, "centre"), none)
op(
    "POST",
    "/backends/{backend_id}/set-aside/give-up",
    may(P.WRITE_OFF, "centre"),
    lambda w: {"ids": [w.record.pk], "reason": "It is of a test."},
)
op("POST", "/provider/orders/{order_id}/messages", HANDLES, lambda w: {"text": "Soon."}, see=SEES_PROVIDER)
op("POST", "/provider/resources/{resource_id}/messages", HANDLES, lambda w: {"text": "Soon."}, see=SEES_PROVIDER)

# grants
op("GET", "/grants/givers", LOGIN)
op("GET", "/grants/applications", LOGIN)
op("GET", "/grants/queue", LOGIN)
op("GET", "/grants/queue/export", LOGIN)
op("GET", "/grants/gifts", LOGIN)
op(
    "POST",
    "/grants/applications",
    APPLIES,
    lambda w: {"recipient": "project", "workspace_id": w.application.workspace_id, "amounts": w.amounts},
    see=SEES_PROJECT,
)
op("GET", "/grants/applications/{application_id}", SEES_APPLICATION)
op("PUT", "/grants/applications/{application_id}/draft", APPLIES, lambda w: {"amounts": w.amounts})
op("POST", "/grants/applications/{application_id}/submit", APPLIES)
op(
    "POST",
    "/grants/applications/{application_id}/revise",
    APPLIES,
    lambda w: {"revision": 1, "amounts": w.amounts, "end": "2026-12-31T00:00:00Z", "comment": "Shorter."},
)
op("POST", "/grants/applications/{application_id}/agree", APPLIES, lambda w: {"revision": 1})
op("POST", "/grants/applications/{application_id}/withdraw", APPLIES, none)
for step, sent in (
    ("approve", {"revision": 1}),
    ("reject", {"revision": 1, "reason": "No."}),
    ("revoke", {"reason": "Ended."}),
):
    path = f"/grants/applications/{{application_id}}/parts/{{giver_id}}/{step}"
    op("POST", path, JUDGES, lambda w, sent=sent: sent)  # type: ignore[misc]
op(
    "POST",
    "/grants/applications/{application_id}/parts/{giver_id}/change",
    JUDGES,
    lambda w: {"revision": 1, "amounts": {str(w.cpu.pk): 30}, "comment": "Less."},
)
op(
    "POST",
    "/grants/applications/{application_id}/parts/{giver_id}/hand-over",
    JUDGES,
    lambda w: {"revision": 1, "to_giver_id": w.other_giver.pk, "message": "Yours."},
)
op("POST", "/grants/applications/{application_id}/comments", APPLIES | JUDGES, lambda w: {"text": "Please."})
op("POST", "/grants/comments/{comment_id}/withdraw", JUDGES)
op("POST", "/grants/applications/{application_id}/files", APPLIES, lambda w: {"name": "b.txt", "content": "YQ=="})
op("GET", "/grants/files/{file_id}", SEES_APPLICATION)
op("GET", "/grants/applications/{application_id}/files", SEES_APPLICATION)
op("DELETE", "/grants/files/{file_id}", APPLIES)
op("GET", "/grants/givers/{giver_id}/settings", READS_GRANTS)
op("PUT", "/grants/givers/{giver_id}/settings", MANAGES_GRANTS, lambda w: {"is_open": True})
# Anybody may ask this giver, so everybody meets its logo.
op("GET", "/grants/givers/{giver_id}/logo", LOGIN, see=LOGIN)
op("PUT", "/grants/givers/{giver_id}/logo", MANAGES_GRANTS, lambda w: {"content": w.logo})
op("DELETE", "/grants/givers/{giver_id}/logo", MANAGES_GRANTS)
op("GET", "/grants/givers/{giver_id}/forms/{recipient}", READS_GRANTS)
op("PUT", "/grants/givers/{giver_id}/forms/{recipient}", MANAGES_GRANTS, lambda w: {"fields": []})
op("PUT", "/grants/givers/{giver_id}/rules", MANAGES_GRANTS, lambda w: {"rules": []})
op(
    "POST",
    "/grants/givers/{giver_id}/rules/try",
    MANAGES_GRANTS,
    lambda w: {"recipients": ["personal"], "limits": {str(w.cpu.pk): 60}},
)
op(
    "POST",
    "/grants/givers/{giver_id}/gifts",
    MANAGES_GRANTS,
    lambda w: {
        "title": "More",
        "amounts": {str(w.cpu.pk): 60},
        "start": "2026-11-21T12:00:00Z",
        "end": "2026-12-31T00:00:00Z",
        "claims_max": 3,
        "lines": [{"side": "allow", "kind": "anyone"}],
    },
)
op("POST", "/grants/gifts/{gift_id}/close", MANAGES_GRANTS)
op("POST", "/grants/gifts/{gift_id}/at-login", MANAGES_GRANTS, lambda w: {"at_login": True})
op(
    "POST",
    "/grants/gifts/{gift_id}/claim",
    Rule(lambda rights: rights.is_known and rights.allows(P.APPLY_FOR_GRANTS)),
    see=LOGIN,
)

op("GET", "/grants/notices", LOGIN)
op("GET", "/grants/notices/choices", LOGIN)
op("PUT", "/grants/notices/choices", PROFILE, lambda w: {"in_pages": [], "by_mail": []})
op("POST", "/grants/notices/read", PROFILE)
op("POST", "/grants/notices/{notice_id}/read", OWN & PROFILE)

for name in ("applications", "grant_queue", "grant_export", "grant_givers", "notices"):
    page(name, LOGIN)
page("notices_read", None, LOGIN)
page("notice_read", None, OWN, pk="notice")
for name in ("application_new", "grant_notices"):
    page(name, LOGIN, LOGIN)
page("project_applications", APPLIES, pk="project")
page("application", SEES_APPLICATION, pk="application")
page("application_edit", APPLIES, APPLIES, pk="application")
for name in ("application_submit", "application_withdraw", "application_agree", "application_attach"):
    page(name, None, APPLIES, pk="application", body=lambda w: {"revision": "1"})
page("application_comment", None, APPLIES | JUDGES, pk="application", body=lambda w: {"text": "Please."})
for name in ("part_approve", "part_reject", "part_revoke"):
    page(name, None, JUDGES, pk="application", giver="giver", body=lambda w: {"revision": "1", "reason": "So."})
for name in ("part_change", "part_hand_over"):
    page(name, JUDGES, JUDGES, pk="application", giver="giver")
page("grant_comment_withdraw", None, JUDGES, pk="grant_comment")
page("grant_file", SEES_APPLICATION, pk="grant_file")
page("grant_file_remove", None, APPLIES, pk="grant_file")
page("grant_settings", READS_GRANTS, MANAGES_GRANTS, pk="giver")
page("grant_logo", LOGIN, see=LOGIN, pk="giver")
for name in ("grant_logo_set", "grant_logo_remove"):
    page(name, None, MANAGES_GRANTS, pk="giver")
page("grant_form", MANAGES_GRANTS, MANAGES_GRANTS, pk="giver", recipient="kind")
for name in ("grant_rule_add", "grant_gift_offer"):
    page(name, MANAGES_GRANTS, MANAGES_GRANTS, pk="giver")
page("grant_rule_step", None, MANAGES_GRANTS, pk="giver", body=lambda w: {"place": "0", "step": "on"})
for name in ("grant_gift_close", "grant_gift_at_login"):
    page(name, None, MANAGES_GRANTS, pk="gift")
page("grant_gift_claim", None, LOGIN, see=LOGIN, pk="gift")

# invoices
op("GET", "/invoices", LOGIN)
for path in ("", "/lines", "/download/{form}"):
    op("GET", f"/invoices/{{invoice_id}}{path}", SEES_INVOICE)
op("GET", "/invoice-exports/{form}", LOGIN, see=PUBLIC, query=lambda w: "month=2026-10")
op("GET", "/invoice-lines/{line_id}", SEES_INVOICE | SEES_COSTS)
op("GET", "/invoice-lines/{line_id}/usage", SEES_INVOICE | SEES_COSTS)
op("POST", "/invoices/{invoice_id}/issue", INVOICES, none, invoice_id="open_invoice")
op("POST", "/invoices/{invoice_id}/payments", INVOICES, lambda w: {"amount": "1"})
op("POST", "/invoices/{invoice_id}/credit-notes", INVOICES, lambda w: {"reason": "No."})
op("POST", "/payments/{payment_id}/take-back", INVOICES, none)
op("GET", "/credit-notes", LOGIN)
op("GET", "/credit-notes/{credit_note_id}", SEES_INVOICE)
op("GET", "/credit-notes/{credit_note_id}/download/{form}", SEES_INVOICE)
op("GET", "/credits", LOGIN)
op("POST", "/credits/{credit_id}/withdraw", INVOICES, none)
op("GET", "/compensations", LOGIN)
op("POST", "/compensations/{compensation_id}/withdraw", INVOICES, none)
op(
    "POST", "/providers/{provider_id}/credits", INVOICES,
    lambda w: {"customer_id": w.university.pk, "kind": "granted", "amount": "1"}, see=SEES_REVENUE,
)  # fmt: skip
op(
    "POST", "/providers/{provider_id}/compensations", INVOICES,
    lambda w: {"customer_id": w.university.pk, "amount": "1", "reason": "No."}, see=SEES_REVENUE,
)  # fmt: skip
op("POST", "/providers/{provider_id}/invoices/refresh", INVOICES, see=SEES_REVENUE)
op("POST", "/providers/{provider_id}/months/close", INVOICES, lambda w: {"month": "2026-11"}, see=SEES_REVENUE)
op("GET", "/providers/{provider_id}/revenue", SEES_REVENUE, see=NOWHERE)
op("GET", "/providers/{provider_id}/seller", SEES_REVENUE, see=NOWHERE)
op("PATCH", "/providers/{provider_id}/seller", INVOICES, lambda w: {"due_days": 14}, see=SEES_REVENUE)
op("GET", "/organizations/{organization_id}/buyer", SEES_BILLS)
op(
    "PATCH", "/organizations/{organization_id}/buyer", may(P.EDIT_ORGANIZATION, "university"),
    lambda w: {"reference": "PO-1"},
)  # fmt: skip
op("GET", "/organizations/{organization_id}/costs", SEES_BILLS)
op("GET", "/projects/{project_id}/costs", SEES_COSTS)
op("GET", "/projects/{project_id}/invoice-lines", SEES_COSTS)
op("GET", "/resources/{resource_id}/costs", SEES_COSTS)
op("GET", "/tax-rates", READ_ALL)
op("POST", "/tax-rates", OPERATE, lambda w: {"country": "DE", "percent": "19", "valid_from": "2026-01-01"}, see=PUBLIC)
