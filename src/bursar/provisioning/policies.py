"""Who has to agree to an order: reads the policy lines, decides, and says so in words. Writes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Q
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from bursar.catalogue.models import Offering
from bursar.provisioning.models import ApprovalPolicy, Order, Side
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Permission, Role, roles_of, roles_with

Condition, Outcome = ApprovalPolicy.Condition, ApprovalPolicy.Outcome

PERMISSION: Final = {Side.CONSUMER: Permission.APPROVE_ORDER, Side.PROVIDER: Permission.HANDLE_ORDERS}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the policies look at: an order before or after it is stored.

    month, once     the estimate, in `currency`
    is_free         nothing is ever paid for it, by use neither
    ticks           product category -> ticks it may draw
    available       product category -> ticks the wallet can still use; None = nothing limits it
    """

    kind: str
    workspace: Workspace
    offering: Offering
    by: Person | None
    month: Decimal
    currency: str
    is_free: bool
    ticks: Mapping[int, int] = field(default_factory=dict)
    available: Mapping[int, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policies of one side said. Kept with the order, so it holds names and no words of a language.

    approvers       the roles that are asked; empty when nobody is
    """

    asked: bool
    approvers: tuple[str, ...]
    policy_id: int | None
    condition: str
    roles: tuple[str, ...] = ()
    amount: str = ""
    currency: str = ""

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> "Verdict":
        return cls(**{**stored, "approvers": tuple(stored["approvers"]), "roles": tuple(stored["roles"])})


def scope_of(workspace: Workspace) -> Organization | Project | None:
    """Where the roles of the workspace's side are held; None for a personal workspace."""
    return workspace.project or workspace.organization


def organization_of(workspace: Workspace) -> Organization | None:
    """The customer organization behind a workspace; None for a personal workspace."""
    return workspace.project.organization if workspace.project else workspace.organization


def lines_for(side: Side, workspace: Workspace, offering: Offering) -> list[ApprovalPolicy]:
    """The lines in force for orders of this offering by this workspace, in the order in which they are read."""
    organization = organization_of(workspace) if side == Side.CONSUMER else offering.provider.organization
    path = workspace.project.path if workspace.project and side == Side.CONSUMER else []
    where = Q(organization=None, project=None, offering=None)
    if organization is not None:
        where |= Q(organization=organization)
    if path:
        where |= Q(project_id__in=path)
    if side == Side.PROVIDER:
        where |= Q(offering=offering)
    lines = ApprovalPolicy.objects.filter(where, side=side, enabled=True).prefetch_related("organizations")

    def nearness(line: ApprovalPolicy) -> tuple[int, int, int]:
        if line.offering_id is not None:
            near = 0
        elif line.project_id is not None:
            near = 1 + path[::-1].index(line.project_id)
        else:
            near = 1000 if line.organization_id is not None else 2000
        return near, line.position, line.pk

    return sorted(lines, key=nearness)


def judge(side: Side, candidate: Candidate, *, at: datetime, lines: Sequence[ApprovalPolicy] | None = None) -> Verdict:
    """What this side's policies say about an order; without any fitting line somebody is asked.

    lines   tried instead of those in force, in this order
    """
    everyone = tuple(sorted(role.value for role in roles_with(PERMISSION[side])))
    if candidate.by is None:
        return Verdict(asked=False, approvers=(), policy_id=None, condition="system")
    place = scope_of(candidate.workspace) if side == Side.CONSUMER else candidate.offering.provider.organization
    held = frozenset(role.value for role in roles_of(candidate.by, place, at))
    for line in lines_for(side, candidate.workspace, candidate.offering) if lines is None else lines:
        if (not line.kinds or candidate.kind in line.kinds) and _fits(line, candidate, held):
            asked = line.outcome == Outcome.ASK
            return Verdict(
                asked=asked,
                approvers=tuple(line.approvers or everyone) if asked else (),
                policy_id=line.pk,
                condition=line.condition,
                roles=tuple(role for role in line.roles if role in held),
                amount="" if line.amount is None else f"{line.amount.normalize():f}",
                currency=line.currency,
            )
    return Verdict(asked=True, approvers=everyone, policy_id=None, condition="none")


def _fits(line: ApprovalPolicy, candidate: Candidate, held: frozenset[str]) -> bool:
    if line.condition == Condition.ALWAYS:
        return True
    if line.condition == Condition.ROLE:
        return not held.isdisjoint(line.roles)
    if line.condition == Condition.PERSONAL:
        return candidate.workspace.person_id is not None and candidate.workspace.person == candidate.by
    if line.condition == Condition.FREE:
        return candidate.is_free
    if line.condition == Condition.COST:
        assert line.amount is not None
        return candidate.currency == line.currency and candidate.month <= line.amount
    if line.condition == Condition.WALLET:
        return bool(candidate.ticks) and all(
            (left := candidate.available.get(category, 0)) is None or left >= ticks
            for category, ticks in candidate.ticks.items()
        )
    organization = organization_of(candidate.workspace)
    return organization is not None and organization in line.organizations.all()


# ------------------------------------------------------------------------------------------------ in words
def role_names(roles: Iterable[str]) -> str:
    """Roles as people read them: "organization owner or project manager"."""
    titles = [str(Role(role).title) for role in roles]
    if len(titles) < 2:
        return "".join(titles)
    return _("{roles} or {role}").format(roles=", ".join(titles[:-1]), role=titles[-1])


def words_of_verdict(side: Side, verdict: Verdict) -> str:
    """Why somebody is asked, or nobody."""
    reasons = {
        Condition.ALWAYS: _("all such orders need approval") if verdict.asked else _("such orders need no approval"),
        Condition.ROLE: _("it was placed by: {roles}").format(roles=role_names(verdict.roles)),
        Condition.PERSONAL: _("it is for the orderer's own workspace"),
        Condition.FREE: _("the plan is free"),
        Condition.COST: _("it costs at most {amount} {currency} per month").format(
            amount=verdict.amount, currency=verdict.currency
        ),
        Condition.WALLET: _("the wallet covers the estimate"),
        Condition.ORGANIZATIONS: _("the provider decided so for this organization"),
        "none": _("no policy lets it pass without asking"),
        "system": _("the system placed it"),
    }
    return str(reasons[verdict.condition])


def words_of_line(line: ApprovalPolicy) -> str:
    """A policy line as a sentence."""
    kinds = [str(Order.Kind(kind).label) for kind in line.kinds]
    named = [organization.name for organization in line.organizations.all()]
    when = {
        Condition.ALWAYS: _("always"),
        Condition.ROLE: _("when the orderer is {roles}").format(roles=role_names(line.roles)),
        Condition.PERSONAL: _("when it is for the orderer's own workspace"),
        Condition.FREE: _("when the plan is free"),
        Condition.COST: _("when it costs at most {amount} {currency} per month").format(
            amount=f"{line.amount.normalize():f}" if line.amount is not None else "", currency=line.currency
        ),
        Condition.WALLET: _("when the wallet covers the estimate"),
        Condition.ORGANIZATIONS: ngettext(
            "when it is for {names}", "when it is for one of: {names}", len(named)
        ).format(names=", ".join(named)),
    }[Condition(line.condition)]
    then = (
        _("nobody is asked")
        if line.outcome == Outcome.ALLOW
        else _("ask {roles}").format(
            roles=role_names(line.approvers or sorted(roles_with(PERMISSION[Side(line.side)])))
        )
    )
    orders = _("Orders ({kinds}):").format(kinds=", ".join(kinds)) if kinds else _("All orders:")
    return f"{orders} {when}, {then}."


@dataclass(frozen=True, slots=True)
class AwaitedLine:
    """One line of "who is awaited and why"."""

    side: Side
    asked: bool
    text: str


def explain(verdicts: Mapping[str, Verdict]) -> list[AwaitedLine]:
    """Both sides in words, the consumer's first."""
    lines = []
    for side in (Side.CONSUMER, Side.PROVIDER):
        verdict = verdicts.get(side)
        if verdict is None:
            continue
        why = words_of_verdict(side, verdict)
        if verdict.asked:
            text = _("To be approved by {roles}, because {why}.").format(roles=role_names(verdict.approvers), why=why)
        else:
            text = _("Passes without asking, because {why}.").format(why=why)
        lines.append(AwaitedLine(side, verdict.asked, text))
    return lines
