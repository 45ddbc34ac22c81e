"""How a giver lets itself be asked: open or not, who may, its forms, and when no reviewer is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction

from bursar.catalogue.models import ProductCategory
from bursar.events.services import Happening, record
from bursar.grants.admission import offers_of
from bursar.grants.errors import InvalidCriterion, PromiseNotPossible, RuleNotPossible
from bursar.grants.forms import clean_fields
from bursar.grants.images import check_picture
from bursar.grants.models import (
    AutomaticLimit,
    AutomaticRule,
    Criterion,
    FormTemplate,
    GiverLogo,
    GiverLogoContent,
    GiverSettings,
    Recipient,
)
from bursar.grants.rules import Rule
from bursar.kernel.quantity import TICKS_MAX
from bursar.structure.models import Organization, Person, Workspace
from bursar.structure.roles import Permission, require
from bursar.structure.text import clean_text

CRITERIA_MAX: Final = 200
_DOMAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the lists of who may ask, and who never may."""

    side: str
    kind: str
    value: str = ""
    organization: Organization | None = None


def _tell(kind: str, workspace: Workspace, by: Person | None, at: datetime, facts: Mapping[str, Any]) -> None:
    project = workspace.project
    record(
        Happening(
            kind=f"grant_giver.{kind}",
            subject_type="workspace",
            subject_id=workspace.pk,
            facts=facts,
            organization_id=workspace.organization_id if project is None else project.organization_id,
            project_id=None if project is None else project.pk,
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )


def lock_giver(workspace: Workspace, at: datetime) -> GiverSettings:
    """The settings, locked; made closed on first need."""
    GiverSettings.objects.get_or_create(workspace=workspace, defaults={"changed_at": at})
    return GiverSettings.objects.select_for_update().get(workspace=workspace)


@transaction.atomic
def set_giver(
    *,
    workspace: Workspace,
    is_open: bool,
    description: str = "",
    promise_percent: int = 100,
    lines: Sequence[Line] = (),
    by: Person | None,
    at: datetime,
) -> GiverSettings:
    """Say whether a workspace takes applications, from whom, and how much of what it holds it may promise.

    raises   NotAllowed (MANAGE_GRANTS); InvalidCriterion; PromiseNotPossible; TextTooLong, TextNotAllowed
    """
    require(by, Permission.MANAGE_GRANTS, workspace, at)
    if workspace.person_id is not None:
        raise InvalidCriterion(value=str(workspace), expected="an organization or a project", field="workspace")
    if not 1 <= promise_percent <= 1000:
        raise PromiseNotPossible
    checked = check_lines(lines)
    row = lock_giver(workspace, at)
    row.is_open, row.promise_percent, row.changed_at = is_open, promise_percent, at
    row.description = clean_text(description, field="description", limit=10_000)
    row.save()
    row.criteria.all().delete()
    for line in checked:
        line.giver = row
    Criterion.objects.bulk_create(checked)
    facts = {"is_open": is_open, "promise_percent": promise_percent, "lines": len(checked)}
    _tell("set", workspace, by, at, facts)
    return row


@transaction.atomic
def set_logo(*, workspace: Workspace, data: bytes, by: Person | None, at: datetime) -> GiverLogo:
    """Show this picture beside the giver's name, instead of the one before.

    raises   NotAllowed (MANAGE_GRANTS); TextMissing; FileTooLarge; PictureNotPossible
    """
    require(by, Permission.MANAGE_GRANTS, workspace, at)
    if workspace.person_id is not None:
        raise InvalidCriterion(value=str(workspace), expected="an organization or a project", field="workspace")
    picture = check_picture(data)
    giver = lock_giver(workspace, at)
    facts = {
        "content_type": picture.content_type,
        "width": picture.width,
        "height": picture.height,
        "size_bytes": len(picture.data),
        "sha256": picture.sha256,
    }
    logo, _made = GiverLogo.objects.update_or_create(giver=giver, defaults={**facts, "by": by, "at": at})
    GiverLogoContent.objects.update_or_create(logo=logo, defaults={"data": picture.data})
    _tell("logo_set", workspace, by, at, facts)
    return logo


@transaction.atomic
def remove_logo(*, workspace: Workspace, by: Person | None, at: datetime) -> None:
    """Show initials again. Removing what is not there is no step.

    raises   NotAllowed (MANAGE_GRANTS)
    """
    require(by, Permission.MANAGE_GRANTS, workspace, at)
    count, _rows = GiverLogo.objects.filter(giver__workspace=workspace).delete()
    if count:
        _tell("logo_removed", workspace, by, at, {})


def check_lines(lines: Sequence[Line]) -> list[Criterion]:
    """raises   InvalidCriterion"""
    if len(lines) > CRITERIA_MAX:
        raise InvalidCriterion(value=str(len(lines)), expected=f"at most {CRITERIA_MAX} lines")
    found = []
    for line in lines:
        value = line.value.strip()
        if line.side not in Criterion.Side.values or line.kind not in Criterion.Kind.values:
            raise InvalidCriterion(value=f"{line.side} {line.kind}"[:60], expected="a side and a kind that exist")
        if line.kind == Criterion.Kind.MAIL_DOMAIN:
            value = value.lower().removeprefix("@")
            if "." not in value or not set(value) <= _DOMAIN or len(value) > 200:
                raise InvalidCriterion(value=value[:60], expected="a mail domain such as uni-a.example")
        elif line.kind == Criterion.Kind.IDENTITY_PROVIDER:
            if not value or len(value) > 200 or not value.isprintable():
                raise InvalidCriterion(value=value[:60], expected="the name of a login")
        elif value:
            raise InvalidCriterion(value=value[:60], expected="nothing beside the kind")
        if (line.kind == Criterion.Kind.ORGANIZATION) != (line.organization is not None):
            raise InvalidCriterion(value=line.kind, expected="an organization, for this kind alone")
        found.append(Criterion(side=line.side, kind=line.kind, value=value, organization=line.organization))
    return found


@transaction.atomic
def set_form(
    *, workspace: Workspace, recipient: Recipient, fields: Any, by: Person | None, at: datetime
) -> FormTemplate:
    """Publish a form for one kind of recipient: a new version. What was filled in keeps the version that it answered.

    raises   NotAllowed (MANAGE_GRANTS); InvalidFormTemplate
    """
    require(by, Permission.MANAGE_GRANTS, workspace, at)
    cleaned = clean_fields(fields)
    lock_giver(workspace, at)
    newest = FormTemplate.objects.filter(giver=workspace, recipient=recipient).order_by("-version").first()
    if newest is not None and newest.fields == cleaned:
        return newest
    version = 1 if newest is None else newest.version + 1
    row = FormTemplate.objects.create(
        giver=workspace, recipient=recipient, version=version, fields=cleaned, made_by=by, made_at=at
    )
    _tell("form_set", workspace, by, at, {"recipient": recipient, "version": version})
    return row


@transaction.atomic
def set_rules(*, workspace: Workspace, rules: Sequence[Rule], by: Person | None, at: datetime) -> list[AutomaticRule]:
    """Say when a part is approved without a reviewer; these lines replace those before.

    raises   NotAllowed (MANAGE_GRANTS); RuleNotPossible
    """
    require(by, Permission.MANAGE_GRANTS, workspace, at)
    for rule in rules:
        check_rule(workspace, rule, at)
    row = lock_giver(workspace, at)
    row.automatic_rules.all().delete()
    made = []
    for position, rule in enumerate(rules):
        one = AutomaticRule.objects.create(
            giver=row,
            position=position,
            recipients=list(rule.recipients),
            keeps_percent=rule.keeps_percent,
            enabled=rule.enabled,
        )
        AutomaticLimit.objects.bulk_create(
            [AutomaticLimit(rule=one, category_id=key, ticks_max=ticks) for key, ticks in rule.limits.items()]
        )
        made.append(one)
    _tell("rules_set", workspace, by, at, {"rules": len(made), "in_force": sum(rule.enabled for rule in rules)})
    return made


def check_rule(workspace: Workspace, rule: Rule, at: datetime) -> None:
    """raises   RuleNotPossible"""
    offered = {offer.category.pk for offer in offers_of([workspace], at).get(workspace.pk, ())}
    known = set(ProductCategory.objects.filter(pk__in=rule.limits).values_list("pk", flat=True))
    if (
        not rule.recipients
        or not set(rule.recipients) <= set(Recipient.values)
        or not rule.limits
        or not set(rule.limits) <= (offered & known)
        or not all(0 < ticks <= TICKS_MAX for ticks in rule.limits.values())
        or not 0 <= rule.keeps_percent <= 100
    ):
        raise RuleNotPossible(giver=str(workspace))
