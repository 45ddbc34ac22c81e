"""Approving a part by a rule, without a reviewer; and asking what a rule would have done."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction

from bursar.grants import capacity
from bursar.grants.lifecycle import ApplicationAction, PartAction, PartState
from bursar.grants.models import Application, AutomaticRule, Decision, RequestedAmount
from bursar.grants.rules import rule_in_words
from bursar.grants.services._common import decide, parts_of, present_revision, step, step_part, tell
from bursar.grants.services.award import go_on
from bursar.kernel.errors import DomainError
from bursar.structure.models import Workspace

What = Decision.What


def apply_rules(application: Application, givers: Mapping[int, Workspace], *, at: datetime) -> None:
    """Approve the parts of these givers that a rule in force fits, and award if nobody else is awaited.

    Whatever stands against it leaves the part to the reviewers: an application is never refused by a rule.
    """
    rules: dict[int, list[AutomaticRule]] = {}
    for rule in (
        AutomaticRule.objects.filter(giver__workspace__in=givers, enabled=True)
        .prefetch_related("limits__category")
        .select_related("giver")
    ):
        rules.setdefault(rule.giver.workspace_id, []).append(rule)
    if not rules:
        return
    revision = present_revision(application)
    approved = False
    for key, part in parts_of(application).items():
        if part.state != PartState.PENDING or key not in rules:
            continue
        amounts = list(revision.amounts.filter(giver_id=key).select_related("category__provider__organization"))
        start, end = max(at, revision.start or at), revision.end
        assert end is not None
        fitting = next(
            (r for r in rules[key] if fits(r, application.recipient, givers[key], amounts, start, end)), None
        )
        if fitting is None:
            continue
        step_part(part, PartAction.APPROVE, by=None, at=at)
        decide(application, What.AUTOMATIC, giver=part.giver, by=None, at=at, reason=rule_in_words(fitting))
        tell("part_approved", application, giver=part.giver, by=None, at=at, facts={"rule": fitting.pk})
        approved = True
    if approved:
        step(application, ApplicationAction.JUDGE, at=at)
        application.save()
        try:
            with transaction.atomic():
                go_on(application, at=at)
        except DomainError as refusal:
            application.refresh_from_db()
            tell("not_awarded", application, by=None, at=at, facts={"code": refusal.code})


def fits(
    rule: AutomaticRule,
    recipient: str,
    giver: Workspace,
    amounts: Sequence[RequestedAmount],
    start: datetime,
    end: datetime,
) -> bool:
    """Whether a rule lets these amounts through: all of them, and with enough left."""
    limits = {limit.category_id: limit.ticks_max for limit in rule.limits.all()}
    if recipient not in rule.recipients or not amounts:
        return False
    if any(amount.ticks > limits.get(amount.category_id, 0) for amount in amounts):
        return False
    return all(_leaves_enough(rule, giver, amount, start, end) for amount in amounts)


def _leaves_enough(
    rule: AutomaticRule, giver: Workspace, amount: RequestedAmount, start: datetime, end: datetime
) -> bool:
    try:
        room = capacity.room(giver, amount.category, start=start, end=end)
    except DomainError:
        return False
    if room.left_ticks is None or room.held_ticks is None:
        return True
    return room.left_ticks - amount.ticks >= room.held_ticks * rule.keeps_percent // 100
