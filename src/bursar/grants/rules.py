"""Rules of automatic approval: what one says in words, and what it has against an application."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from bursar.catalogue.models import ProductCategory
from bursar.grants.capacity import Room
from bursar.grants.models import AutomaticRule, Recipient
from bursar.kernel.errors import DomainError
from bursar.kernel.refusals import words


@dataclass(frozen=True, slots=True)
class Rule:
    """When nobody has to be asked: each amount within its limit, and so many per cent of what is held left after it."""

    recipients: tuple[str, ...]
    limits: Mapping[int, int]
    keeps_percent: int = 0
    enabled: bool = False


def rule_of(row: AutomaticRule) -> Rule:
    limits = {limit.category_id: limit.ticks_max for limit in row.limits.all()}
    return Rule(tuple(row.recipients), limits, row.keeps_percent, row.enabled)


@dataclass(frozen=True, slots=True)
class Asked:
    """An amount that is asked of the rule's giver, with what the giver can promise, or why it cannot."""

    category: ProductCategory
    ticks: int
    room: Room | DomainError


def objections(rule: Rule, recipient: str, asked: Iterable[Asked]) -> list[str]:
    """What stands against letting this through without a reviewer, a sentence each; none = it goes through."""
    amounts = list(asked)
    found = []
    if recipient not in rule.recipients:
        found.append(
            _("It is for %(asked)s; the rule is for %(kinds)s.")
            % {"asked": Recipient(recipient).label, "kinds": _kinds(rule.recipients)}
        )
    if not amounts:
        found.append(_("Nothing is asked of this giver."))
    for amount in amounts:
        found += _against(rule, amount)
    return found


def _against(rule: Rule, amount: Asked) -> Iterator[str]:
    category, unit = amount.category, amount.category.unit
    limit = rule.limits.get(category.pk, 0)
    facts = {"category": category.title, "asked": unit.text(amount.ticks), "unit": unit.name}
    if not limit:
        yield _("The rule says nothing of %(category)s.") % facts
    elif amount.ticks > limit:
        yield _("%(category)s: %(asked)s %(unit)s are asked, the rule lets through %(limit)s.") % {
            **facts,
            "limit": unit.text(limit),
        }
    room = amount.room
    if isinstance(room, DomainError):
        yield words(room, _)
    elif room.left_ticks is not None and room.held_ticks is not None:
        left, keeps = room.left_ticks - amount.ticks, room.held_ticks * rule.keeps_percent // 100
        if left < 0:
            yield _("%(category)s: %(asked)s %(unit)s are asked, %(free)s are free.") % {
                **facts,
                "free": unit.text(max(0, room.left_ticks)),
            }
        elif left < keeps:
            yield _("%(category)s: %(left)s %(unit)s would stay free, and %(keeps)s have to.") % {
                **facts,
                "left": unit.text(left),
                "keeps": unit.text(keeps),
            }


def _kinds(recipients: Iterable[str]) -> str:
    return ", ".join(str(Recipient(one).label) for one in recipients)


def rule_in_words(rule: AutomaticRule) -> str:
    """One sentence, in the language that is active."""
    amounts = ", ".join(
        f"{limit.category.unit.text(limit.ticks_max)} {limit.category.unit.name} ({limit.category.title})"
        for limit in rule.limits.all()
    )
    facts = {"kinds": _kinds(rule.recipients), "amounts": amounts, "percent": rule.keeps_percent}
    if rule.keeps_percent:
        return (
            _(
                "For %(kinds)s, up to %(amounts)s is approved at once, as long as %(percent)s%% of what is held stays free."
            )
            % facts
        )
    return _("For %(kinds)s, up to %(amounts)s is approved at once.") % facts
