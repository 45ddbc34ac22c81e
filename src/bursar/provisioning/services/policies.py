"""Writing the lines that say who has to agree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from bursar.catalogue.models import Offering
from bursar.events.services import Happening, record
from bursar.provisioning.errors import PolicyInvalid
from bursar.provisioning.models import ApprovalPolicy, Order, Side
from bursar.provisioning.policies import words_of_line
from bursar.structure.models import Organization, Person, Project
from bursar.structure.roles import ORGANIZATION_ROLES, PLATFORM_ROLES, PROJECT_ROLES, Permission, Role, require

Condition, Outcome = ApprovalPolicy.Condition, ApprovalPolicy.Outcome


@dataclass(frozen=True, slots=True)
class Line:
    """A policy line before it is written; the same words as the table."""

    condition: str
    outcome: str
    kinds: Sequence[str] = ()
    roles: Sequence[str] = ()
    amount: Decimal | None = None
    currency: str = ""
    organizations: Sequence[Organization] = ()
    approvers: Sequence[str] = ()


class ProviderApproval(StrEnum):
    """The three usual ways of a provider, as a choice on the offering's page."""

    ALL = "all"  # the provider's people approve every order
    NONE = "none"  # nobody at the provider is asked
    ORGANIZATIONS = "organizations"  # nobody is asked for named organizations, for all others somebody is


Scope = Organization | Project | Offering | None


def _require(by: Person | None, side: Side, scope: Scope, at: datetime) -> None:
    """raises   NotAllowed; PolicyInvalid when such a scope has no lines for this side"""
    if isinstance(scope, Offering) and side == Side.PROVIDER:
        require(by, Permission.MANAGE_OFFERINGS, scope.provider.organization, at)
    elif isinstance(scope, Project) and side == Side.CONSUMER:
        # A project's lines come before its organization's: who leads the project must not free themselves from those.
        require(by, Permission.EDIT_ORGANIZATION, scope.organization, at)
    elif isinstance(scope, Organization):
        permission = Permission.EDIT_ORGANIZATION if side == Side.CONSUMER else Permission.EDIT_PROVIDER
        require(by, permission, scope, at)
    elif scope is None:
        require(by, Permission.OPERATE_PLATFORM, None, at)
    else:
        raise PolicyInvalid(problem=_("these lines belong to the other side."), field="side")


def _columns(scope: Scope) -> dict[str, Any]:
    return {
        "organization": scope if isinstance(scope, Organization) else None,
        "project": scope if isinstance(scope, Project) else None,
        "offering": scope if isinstance(scope, Offering) else None,
    }


def _check(line: Line, scope: Scope) -> None:
    known = {role.value for role in Role}
    if line.condition not in Condition.values or line.outcome not in Outcome.values:
        raise PolicyInvalid(problem=_("choose when it fits and what follows."), field="condition")
    if set(line.kinds) - set(Order.Kind.values):
        raise PolicyInvalid(problem=_("there is no such kind of order."), field="kinds")
    if (set(line.roles) | set(line.approvers)) - known:
        raise PolicyInvalid(problem=_("there is no such role."), field="roles")
    if line.condition == Condition.ROLE and not line.roles:
        raise PolicyInvalid(problem=_("name at least one role."), field="roles")
    if line.condition == Condition.COST and (line.amount is None or line.amount < 0 or not line.currency):
        raise PolicyInvalid(problem=_("state an amount and a currency."), field="amount")
    if line.condition == Condition.ORGANIZATIONS and not line.organizations:
        raise PolicyInvalid(problem=_("name at least one organization."), field="organizations")
    consumer_roles = PROJECT_ROLES | ORGANIZATION_ROLES | PLATFORM_ROLES
    if set(line.approvers) - {role.value for role in consumer_roles}:
        raise PolicyInvalid(problem=_("such people cannot be asked here."), field="approvers")


@transaction.atomic
def set_policies(
    *, side: Side, scope: Scope, lines: Sequence[Line], by: Person | None, at: datetime
) -> list[ApprovalPolicy]:
    """Replace the lines of a scope by these, in this order; none = what stands above holds. Open orders keep theirs.

    scope    an offering (provider), a project (consumer), an organization (either side), None = the platform's own
    raises   NotAllowed; PolicyInvalid
    """
    _require(by, side, scope, at)
    for line in lines:
        _check(line, scope)
    columns = _columns(scope)
    ApprovalPolicy.objects.filter(side=side, **columns).delete()
    written = []
    for position, line in enumerate(lines, start=1):
        policy = ApprovalPolicy.objects.create(
            side=side,
            **columns,
            position=10 * position,
            kinds=list(line.kinds),
            condition=line.condition,
            roles=list(line.roles),
            amount=line.amount,
            currency=line.currency,
            outcome=line.outcome,
            approvers=list(line.approvers),
        )
        policy.organizations.set(line.organizations)
        written.append(policy)
    provider = scope.provider.organization_id if isinstance(scope, Offering) else None
    organization = scope.organization_id if isinstance(scope, Project) else None
    record(
        Happening(
            kind="policy.set",
            subject_type="platform" if scope is None else str(scope._meta.model_name),
            subject_id=0 if scope is None else scope.pk,
            facts={"side": str(side), "lines": [words_of_line(policy) for policy in written]},
            organization_id=scope.pk if isinstance(scope, Organization) else organization,
            project_id=scope.pk if isinstance(scope, Project) else None,
            provider_id=provider,
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )
    return written


def set_provider_approval(
    *,
    offering: Offering,
    choice: ProviderApproval,
    organizations: Sequence[Organization] = (),
    by: Person | None,
    at: datetime,
) -> list[ApprovalPolicy]:
    """The provider's usual choice for an offering, as lines.

    raises   NotAllowed; PolicyInvalid
    """
    terminations = Line(condition=Condition.ALWAYS, outcome=Outcome.ALLOW, kinds=[Order.Kind.TERMINATE])
    ask = Line(
        condition=Condition.ALWAYS,
        outcome=Outcome.ASK,
        approvers=[Role.PROVIDER_MANAGER.value, Role.OFFERING_MANAGER.value, Role.ORGANIZATION_OWNER.value],
    )
    lines = {
        ProviderApproval.ALL: [terminations, ask],
        ProviderApproval.NONE: [Line(condition=Condition.ALWAYS, outcome=Outcome.ALLOW)],
        ProviderApproval.ORGANIZATIONS: [
            terminations,
            Line(condition=Condition.ORGANIZATIONS, outcome=Outcome.ALLOW, organizations=organizations),
            ask,
        ],
    }[choice]
    return set_policies(side=Side.PROVIDER, scope=offering, lines=lines, by=by, at=at)


def provider_approval_of(offering: Offering) -> tuple[ProviderApproval | None, list[Organization]]:
    """Which of the usual choices holds for an offering, and for which organizations; None when the lines are others.

    Without lines of its own an offering follows the platform's, which ask about all.
    """
    lines = list(ApprovalPolicy.objects.filter(offering=offering, enabled=True).prefetch_related("organizations"))
    shape = [(line.condition, line.outcome) for line in lines if line.kinds != [Order.Kind.TERMINATE]]
    if not lines or shape == [(Condition.ALWAYS, Outcome.ASK)]:
        return ProviderApproval.ALL, []
    if shape == [(Condition.ALWAYS, Outcome.ALLOW)]:
        return ProviderApproval.NONE, []
    if shape == [(Condition.ORGANIZATIONS, Outcome.ALLOW), (Condition.ALWAYS, Outcome.ASK)]:
        named = next(line for line in lines if line.condition == Condition.ORGANIZATIONS)
        return ProviderApproval.ORGANIZATIONS, list(named.organizations.all())
    return None, []
