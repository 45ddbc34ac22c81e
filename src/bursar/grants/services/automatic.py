"""Approving a part by a rule, without a reviewer."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from django.db import transaction

from bursar.grants import capacity
from bursar.grants.lifecycle import ApplicationAction, PartAction, PartState
from bursar.grants.models import Application, AutomaticRule, Decision, RequestedAmount
from bursar.grants.rules import Asked, objections, rule_in_words, rule_of
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
        asked = list(_asked(givers[key], amounts, start, end))
        fitting = next((r for r in rules[key] if not objections(rule_of(r), application.recipient, asked)), None)
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


def _asked(giver: Workspace, amounts: Iterable[RequestedAmount], start: datetime, end: datetime) -> Iterator[Asked]:
    for amount in amounts:
        room: capacity.Room | DomainError
        try:
            room = capacity.room(giver, amount.category, start=start, end=end)
        except DomainError as refusal:
            room = refusal
        yield Asked(amount.category, amount.ticks, room)
