"""What an application says: drafted, submitted, revised by the applicant, changed by a giver, agreed to, withdrawn."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import IntegrityError, transaction

from bursar.catalogue.models import ProductCategory
from bursar.grants import admission, capacity
from bursar.grants.errors import (
    AgreementNotAwaited,
    AmountNotPossible,
    ApplicationKeyReused,
    AskedTwice,
    AsksItself,
    FormUnknown,
    GiverNotFound,
    GrantReasonMissing,
    NotAdmitted,
    NothingAsked,
    NothingRevised,
    NotOffered,
    PartClosed,
    PeriodMissing,
    PeriodNotPossible,
    ProjectHomeNotPossible,
    ProjectNameMissing,
    RecipientMissing,
)
from bursar.grants.forms import clean_answers
from bursar.grants.lifecycle import ApplicationAction, ApplicationState, PartAction, PartState
from bursar.grants.models import (
    Application,
    Attachment,
    Decision,
    FormAnswer,
    FormTemplate,
    Part,
    Recipient,
    RequestedAmount,
    Revision,
)
from bursar.grants.selectors import home_of, homes_for
from bursar.grants.services._common import (
    WORKSPACE_RELATED,
    decide,
    lock_application,
    part_of,
    parts_of,
    present_revision,
    require_applicant,
    require_judge,
    step,
    step_part,
    tell,
    tell_applicant,
    tell_reviewers,
)
from bursar.kernel.quantity import TICKS_MAX
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Permission, TokenTooNarrow, require
from bursar.structure.services.projects import require_open_project
from bursar.structure.text import clean_email, clean_line, clean_text

What = Decision.What
YEARS_MAX: Final = 10
MEMBERS_MAX: Final = 50
AMOUNTS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class Amount:
    giver_id: int
    category_id: int
    ticks: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What was filled in to a giver's form; `version` None = its newest."""

    giver_id: int
    values: Mapping[str, Any]
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a revision is to say. A draft may lack anything.

    start   None = when it is approved; the period is half-open
    """

    end: datetime | None = None
    start: datetime | None = None
    project_name: str = ""
    organization: Organization | None = None
    amounts: tuple[Amount, ...] = ()
    answers: tuple[Answers, ...] = ()
    is_separable: bool = False
    allows_reductions: bool = False
    members: tuple[str, ...] = ()
    comment: str = ""


@dataclass(slots=True)
class Checked:
    """A wish with its rows found and its texts cleaned."""

    wish: Wish
    fields: dict[str, Any]
    amounts: dict[tuple[int, int], int]
    givers: dict[int, Workspace]
    categories: dict[int, ProductCategory]
    answers: list[tuple[FormTemplate, dict[str, Any]]] = field(default_factory=list)


# ------------------------------------------------------------------------------------------------ drafts
@transaction.atomic
def draft_application(
    *,
    recipient: Recipient,
    workspace: Workspace | None = None,
    wish: Wish | None = None,
    follows: Application | None = None,
    idempotency_key: str = "",
    by: Person,
    at: datetime,
) -> Application:
    """Begin an application on behalf of a new project, of a project or of one's own personal workspace.

    follows   an earlier application of the same side, of which this is an extension or a top-up
    raises    RecipientMissing; NotAllowed (APPLY_FOR_GRANTS in the workspace); ProjectClosed; ApplicationKeyReused;
              and of what the wish says already: as `submit_application`
    """
    if (recipient == Recipient.NEW_PROJECT) != (workspace is None):
        raise RecipientMissing
    if workspace is not None:
        fits = workspace.project_id if recipient == Recipient.PROJECT else workspace.person_id
        if fits is None:
            raise RecipientMissing
        require(by, Permission.APPLY_FOR_GRANTS, workspace, at)
        if workspace.project is not None:
            require_open_project(workspace.project, at)
    else:
        _require_token(by)
    key = idempotency_key[:80]
    if key and (known := Application.objects.filter(applicant=by, idempotency_key=key).first()) is not None:
        return _same(known, recipient, workspace)
    try:
        with transaction.atomic():
            row = Application.objects.create(
                recipient=recipient,
                workspace=workspace,
                applicant=by,
                follows=follows,
                idempotency_key=key,
                created_at=at,
                changed_at=at,
            )
    except IntegrityError:  # the same key at the same time, in another process
        known = Application.objects.filter(applicant=by, idempotency_key=key).first()
        if not key or known is None:
            raise
        return _same(known, recipient, workspace)
    Revision.objects.create(application=row, number=1, by=by, at=at)
    _write(row, 1, _checked(row, wish or Wish(), at, complete=False), by=by, at=at)
    tell("drafted", row, by=by, at=at)
    return row


def _same(known: Application, recipient: Recipient, workspace: Workspace | None) -> Application:
    if known.recipient != recipient or known.workspace_id != (None if workspace is None else workspace.pk):
        raise ApplicationKeyReused(application_id=known.pk)
    return known


def _require_token(by: Person) -> None:
    """A new project has no place yet in which a role could be asked for; a token's limits are asked all the same."""
    if by.limits is not None and (
        not by.limits.allow(Permission.APPLY_FOR_GRANTS) or by.limits.organization_id is not None
    ):
        raise TokenTooNarrow(permission=Permission.APPLY_FOR_GRANTS.value, scopes="grants")


@transaction.atomic
def save_draft(*, application_id: int, wish: Wish, by: Person, at: datetime) -> Application:
    """Set what a draft says; anything may still be missing.

    raises   ApplicationNotFound; NotAllowed; ApplicationStepNotOpen; of what is said: as `submit_application`
    """
    row = lock_application(application_id, by, at)
    require_applicant(row, by, at)
    step(row, ApplicationAction.SAVE, at=at)
    _write(row, 1, _checked(row, wish, at, complete=False), by=by, at=at)
    return row


@transaction.atomic
def choose_givers(*, application_id: int, givers: Collection[int], by: Person, at: datetime) -> Application:
    """Say whom a draft is going to ask, before it says how much. What was asked of others is no longer asked.

    givers   ids of workspaces
    raises   ApplicationNotFound; NotAllowed; ApplicationStepNotOpen; GiverNotFound for one that cannot be asked
    """
    row = lock_application(application_id, by, at)
    require_applicant(row, by, at)
    step(row, ApplicationAction.SAVE, at=at)
    wish = wish_of(present_revision(row))
    known = set(row.chosen_givers) | {amount.giver_id for amount in wish.amounts}
    if not set(givers) <= known:
        possible = {one.workspace.pk for one in admission.givers_for(row.applicant, row.workspace, at, only=givers)}
        if not set(givers) <= known | possible:
            raise GiverNotFound
    row.chosen_givers = sorted(set(givers))
    wish = replace(
        wish,
        amounts=tuple(amount for amount in wish.amounts if amount.giver_id in givers),
        answers=tuple(one for one in wish.answers if one.giver_id in givers),
    )
    _write(row, 1, _checked(row, wish, at, complete=False), by=by, at=at)
    return row


@transaction.atomic
def submit_application(*, application_id: int, by: Person, at: datetime) -> Application:
    """Ask the givers. From now on what was said is kept, and each giver decides its part.

    raises   ApplicationNotFound; NotAllowed; ApplicationStepNotOpen; ProjectClosed; ProjectNameMissing;
             ProjectHomeNotPossible; NothingAsked; AsksItself; GiverNotFound; NotAdmitted; NotOffered; NotYetOffered;
             NotOfferedThatLong; PeriodMissing; PeriodNotPossible; InvalidAnswers; FormUnknown
    """
    from bursar.grants.services.automatic import apply_rules

    row = lock_application(application_id, by, at)
    require_applicant(row, by, at)
    if row.workspace is not None and row.workspace.project is not None:
        require_open_project(row.workspace.project, at)
    step(row, ApplicationAction.SUBMIT, at=at)
    checked = _checked(row, wish_of(present_revision(row)), at, complete=True)
    _require_offered(row, checked, set(checked.amounts), at)
    _write(row, 1, checked, by=by, at=at)
    row.submitted_at = at
    row.save()
    Part.objects.bulk_create([Part(application=row, giver=giver) for giver in checked.givers.values()])
    decide(row, What.SUBMITTED, by=by, at=at)
    tell("submitted", row, by=by, at=at, facts={"recipient": row.recipient})
    for giver in checked.givers.values():
        tell("asked", row, giver=giver, by=by, at=at)
    tell_reviewers("submitted", row, checked.givers.values(), but=by, at=at)
    apply_rules(row, checked.givers, at=at)
    row.refresh_from_db()
    return row


def wish_of(revision: Revision) -> Wish:
    """What a revision says, as it could be said again: for prefilling, and for comparing."""
    return Wish(
        end=revision.end,
        start=revision.start,
        project_name=revision.project_name,
        organization=revision.organization,
        amounts=tuple(Amount(a.giver_id, a.category_id, a.ticks) for a in revision.amounts.all()),
        answers=tuple(
            Answers(a.template.giver_id, a.values, a.template.version)
            for a in revision.answers.select_related("template")
        ),
        is_separable=revision.is_separable,
        allows_reductions=revision.allows_reductions,
        members=tuple(revision.members),
        comment=revision.comment,
    )


# ------------------------------------------------------------------------------------------------ revisions
@transaction.atomic
def revise_application(*, application_id: int, revision: int, wish: Wish, by: Person, at: datetime) -> Application:
    """Say something else, as the applicant. Givers whose part it changes have to decide again; the others need not.

    revision   the number of the revision that was read
    raises     ApplicationNotFound; NotAllowed; ApplicationStepNotOpen; RevisionOutdated; GrantReasonMissing;
               NothingRevised; PartClosed; otherwise as `submit_application`
    """
    from bursar.grants.services.automatic import apply_rules

    row = lock_application(application_id, by, at)
    require_applicant(row, by, at)
    step(row, ApplicationAction.REVISE, at=at)
    before = present_revision(row, revision)
    if not wish.comment.strip():
        raise GrantReasonMissing(field="comment")
    stood = {(a.giver_id, a.category_id): a.ticks for a in before.amounts.all()}
    parts = parts_of(row)
    closed = {key for key, part in parts.items() if part.state == PartState.REJECTED}
    for amount in wish.amounts:
        if amount.giver_id in closed:
            raise PartClosed(giver=str(parts[amount.giver_id].giver))
    checked = _checked(row, wish, at, complete=True, answered=_answered(before))
    said = wish_of(before)
    period = (before.start, before.end) != (wish.start, wish.end)
    changed = {key for key in stood.keys() | checked.amounts.keys() if stood.get(key) != checked.amounts.get(key)}
    changed = {key for key in changed if key[0] not in closed}
    if not changed and not _differs(said, wish):
        raise NothingRevised
    # What is asked for the first time, or for other days, is asked of the giver as in the beginning.
    _require_offered(row, checked, set(checked.amounts) if period else changed & checked.amounts.keys(), at)
    concerned = {giver for giver, _category in changed}
    if wish.organization != said.organization and wish.organization is not None:
        # Its organization becomes the home of the project: that has to be agreed to anew.
        concerned |= {key for key, giver in checked.givers.items() if home_of(giver) == wish.organization}
    concerned |= {key for key in parts if key not in closed and (period or _answers(said, key) != _answers(wish, key))}
    row.revision += 1
    row.agreement_awaited = False
    Revision.objects.create(application=row, number=row.revision, by=by, at=at)
    _write(row, row.revision, checked, by=by, at=at)
    row.save()
    decide(row, What.REVISED, by=by, at=at, reason=wish.comment)
    tell("revised", row, by=by, at=at, facts={"givers": sorted(concerned)})
    _follow(row, parts, checked.givers, concerned, by=by, at=at)
    apply_rules(row, {key: giver for key, giver in checked.givers.items() if key in concerned}, at=at)
    tell_reviewers("revised", row, (g for key, g in checked.givers.items() if key in concerned), but=by, at=at)
    _settle(row, at=at)
    return row


def _settle(row: Application, *, at: datetime) -> None:
    """What a revision may have completed: a giver taken out was perhaps the last that was awaited."""
    from bursar.grants.services.award import go_on

    row.refresh_from_db()
    if row.closed_at is None:
        go_on(row, at=at)


def _follow(
    row: Application,
    parts: Mapping[int, Part],
    givers: Mapping[int, Workspace],
    concerned: Iterable[int],
    *,
    by: Person | None,
    at: datetime,
) -> None:
    """Bring the parts to what the new revision asks: reset, ask, take out. Only those that are concerned."""
    for key in sorted(concerned):
        part = parts.get(key)
        if key not in givers:
            if part is not None:
                step_part(part, PartAction.LEAVE, by=by, at=at)
                decide(row, What.LEFT, giver=part.giver, by=by, at=at)
                tell("left", row, giver=part.giver, by=by, at=at)
        elif part is not None:
            was = part.state
            step_part(part, PartAction.RESET, by=by, at=at)
            if was == PartState.APPROVED:
                decide(row, What.RESET, giver=part.giver, by=by, at=at)
                tell("reset", row, giver=part.giver, by=by, at=at)
        else:
            ask_giver(row, givers[key], by=by, at=at)


def ask_giver(row: Application, giver: Workspace, *, by: Person | None, at: datetime) -> None:
    """Let a giver have a part that it did not have, or had left."""
    part, is_new = Part.objects.get_or_create(application=row, giver=giver)
    if not is_new:
        part.giver = giver
        step_part(part, PartAction.ASK, by=by, at=at)
    decide(row, What.ASKED, giver=giver, by=by, at=at)
    tell("asked", row, giver=giver, by=by, at=at)


@transaction.atomic
def change_amounts(
    *,
    application_id: int,
    giver: Workspace,
    revision: int,
    amounts: Mapping[int, int],
    comment: str,
    by: Person,
    at: datetime,
) -> Application:
    """Change what is asked of a giver, as the giver. It waits for the applicant's agreement, unless it only gives less
    and the applicant allowed that.

    amounts   product category id -> ticks; 0 or left out = nothing of it
    raises    ApplicationNotFound; NotAllowed; NotAskedHere; ApplicationStepNotOpen; RevisionOutdated; PartClosed;
              GrantReasonMissing; NothingAsked; NothingRevised; AmountNotPossible; NotOffered and its kin
    """
    row = lock_application(application_id, by, at)
    require_judge(giver, by, at)
    part = part_of(row, giver)
    step(row, ApplicationAction.REVISE, at=at)
    before = present_revision(row, revision)
    if part.state == PartState.REJECTED:
        raise PartClosed(giver=str(giver))
    if not comment.strip():
        raise GrantReasonMissing(field="comment")
    stood = {(a.giver_id, a.category_id): a.ticks for a in before.amounts.all()}
    kept = {key: ticks for key, ticks in stood.items() if key[0] != giver.pk}
    own = {(giver.pk, category): ticks for category, ticks in amounts.items() if ticks != 0}
    if not own:
        raise NothingAsked
    if kept | own == stood:
        raise NothingRevised
    said = wish_of(before)
    wish = replace(said, amounts=_with({**kept, **own}), comment=comment)
    checked = _checked(row, wish, at, complete=False)
    _require_offered(row, checked, {key for key in own if stood.get(key) != own[key]}, at, admitted=False)
    only_less = all(ticks <= stood.get(key, 0) for key, ticks in own.items())
    row.revision += 1
    row.agreement_awaited = row.agreement_awaited or not (only_less and before.allows_reductions)
    Revision.objects.create(application=row, number=row.revision, by=by, giver=giver, at=at)
    _write(row, row.revision, checked, by=by, at=at)
    row.save()
    decide(row, What.CHANGED, giver=giver, by=by, at=at, reason=comment)
    tell("changed", row, giver=giver, by=by, at=at, facts={"agreement_awaited": row.agreement_awaited})
    _follow(row, {giver.pk: part}, {giver.pk: giver}, [giver.pk], by=by, at=at)
    tell_applicant("changed", row, but=by, at=at)
    return row


@transaction.atomic
def agree(*, application_id: int, revision: int, by: Person, at: datetime) -> Application:
    """Agree to what givers changed, as the applicant. If nobody else is awaited, it is awarded at once.

    raises   ApplicationNotFound; NotAllowed; RevisionOutdated; AgreementNotAwaited; ApplicationStepNotOpen; and what
             an award may be refused for: as `approve_part`
    """
    from bursar.grants.services.award import go_on

    row = lock_application(application_id, by, at)
    require_applicant(row, by, at)
    step(row, ApplicationAction.AGREE, at=at)
    present_revision(row, revision)
    if not row.agreement_awaited:
        raise AgreementNotAwaited
    row.agreement_awaited = False
    row.save()
    decide(row, What.AGREED, by=by, at=at)
    tell("agreed", row, by=by, at=at)
    tell_reviewers("agreed", row, (part.giver for part in parts_of(row).values()), but=by, at=at)
    go_on(row, at=at)
    return row


@transaction.atomic
def withdraw_application(*, application_id: int, reason: str = "", by: Person, at: datetime) -> Application:
    """Take an application back, or throw a draft away. It stays readable to the applicant's side.

    raises   ApplicationNotFound; NotAllowed; ApplicationStepNotOpen
    """
    row = lock_application(application_id, by, at)
    require_applicant(row, by, at)
    asked = list(parts_of(row).values())
    step(row, ApplicationAction.WITHDRAW, at=at)
    row.why = clean_text(reason, field="reason", limit=2000)
    row.save()
    decide(row, What.WITHDRAWN, by=by, at=at, reason=row.why)
    tell("withdrawn", row, by=by, at=at)
    tell_reviewers("withdrawn", row, (part.giver for part in asked), but=by, at=at)
    return row


# ------------------------------------------------------------------------------------------------ checking and writing
def _with(amounts: Mapping[tuple[int, int], int]) -> tuple[Amount, ...]:
    return tuple(Amount(giver, category, ticks) for (giver, category), ticks in amounts.items())


def handed_over(
    row: Application,
    before: Revision,
    amounts: Mapping[tuple[int, int], int],
    comment: str,
    *,
    giver: Workspace,
    to: Workspace,
    at: datetime,
) -> Checked:
    """The revision as it stands when a giver's part is another's, checked.

    A new project that was to be in the giver's organization moves to the other's: where nobody is asked, nobody agreed.
    """
    wish = replace(wish_of(before), amounts=_with(amounts), comment=comment)
    asked = Workspace.objects.select_related(*WORKSPACE_RELATED).filter(pk__in={key for key, _category in amounts})
    home = wish.organization
    if home is not None and home == home_of(giver) and home not in homes_for(row.applicant, asked, at):
        wish = replace(wish, organization=home_of(to))
    return _checked(row, wish, at, complete=False)


def write_revision(
    row: Application, checked: Checked, *, by: Person | None, giver: Workspace | None, at: datetime
) -> None:
    """Add the next revision to an application; the caller has stepped it."""
    row.revision += 1
    Revision.objects.create(application=row, number=row.revision, by=by, giver=giver, at=at)
    _write(row, row.revision, checked, by=by, at=at)
    row.save()


def _differs(said: Wish, wish: Wish) -> bool:
    names = ("start", "end", "project_name", "is_separable", "allows_reductions")
    if any(getattr(said, name) != getattr(wish, name) for name in names) or set(said.members) != set(wish.members):
        return True
    if said.organization != wish.organization:
        return True
    return any(_answers(said, one.giver_id) != one.values for one in wish.answers)


def _answers(wish: Wish, giver_id: int) -> Mapping[str, Any]:
    return next((one.values for one in wish.answers if one.giver_id == giver_id), {})


def _answered(revision: Revision) -> set[int]:
    """Givers whose form need not be answered: the part came to them from another giver."""
    asked = set(revision.amounts.values_list("giver_id", flat=True))
    return asked - set(revision.answers.values_list("template__giver_id", flat=True))


def _checked(row: Application, wish: Wish, at: datetime, *, complete: bool, answered: Iterable[int] = ()) -> Checked:
    """raises   as `submit_application`, as far as it is said; with `complete` also for what is missing"""
    is_new = row.recipient == Recipient.NEW_PROJECT
    name = clean_line(wish.project_name, field="project_name", limit=200, required=False) if is_new else ""
    if complete and is_new and not name:
        raise ProjectNameMissing
    if len(wish.amounts) > AMOUNTS_MAX:
        raise AmountNotPossible(category=f"{len(wish.amounts)} > {AMOUNTS_MAX}")
    givers = {
        w.pk: w
        for w in Workspace.objects.select_related(*WORKSPACE_RELATED).filter(
            pk__in={a.giver_id for a in wish.amounts}, person=None
        )
    }
    categories = {
        c.pk: c
        for c in ProductCategory.objects.select_related("provider__organization").filter(
            pk__in={a.category_id for a in wish.amounts}
        )
    }
    amounts: dict[tuple[int, int], int] = {}
    for amount in wish.amounts:
        giver, category = givers.get(amount.giver_id), categories.get(amount.category_id)
        if giver is None:
            raise GiverNotFound
        if category is None:
            raise NotOffered(giver=str(giver), category=f"#{amount.category_id}")
        if not 0 < amount.ticks <= TICKS_MAX:
            raise AmountNotPossible(category=category.title)
        if (giver.pk, category.pk) in amounts:
            raise AskedTwice(giver=str(giver), category=category.title)
        if giver.pk == row.workspace_id:
            raise AsksItself(giver=str(giver))
        amounts[giver.pk, category.pk] = amount.ticks
    if complete and not amounts:
        raise NothingAsked
    _check_period(wish, at, complete=complete)
    organization = wish.organization if is_new else None
    if is_new and (complete or organization is not None):
        possible = homes_for(row.applicant, givers.values(), at)
        if row.state == ApplicationState.DRAFT and organization not in possible:
            # Said before it says whom it asks: one of those that could be asked. What is submitted is looked at anew.
            could = admission.givers_for(row.applicant, row.workspace, at)
            possible = homes_for(row.applicant, [one.workspace for one in could], at)
        if organization is None and len(possible) == 1:
            organization = possible[0]
        if organization not in possible:
            raise ProjectHomeNotPossible(possible=", ".join(map(str, possible)) or "–")
    members = [clean_email(email) for email in wish.members] if is_new else []
    if len(members) > MEMBERS_MAX:
        raise AmountNotPossible(category=f"{len(members)} > {MEMBERS_MAX}")
    checked = Checked(
        wish=wish,
        fields={
            "project_name": name,
            "organization": organization,
            "start": wish.start,
            "end": wish.end,
            "is_separable": wish.is_separable,
            "allows_reductions": wish.allows_reductions,
            "members": sorted(set(members)),
            "comment": clean_text(wish.comment, field="comment", limit=2000),
        },
        amounts=amounts,
        givers=givers,
        categories=categories,
    )
    checked.answers = _checked_answers(row, checked, complete=complete, answered=set(answered))
    return checked


def _check_period(wish: Wish, at: datetime, *, complete: bool) -> None:
    """raises   PeriodMissing, PeriodNotPossible"""
    if wish.end is None:
        if complete:
            raise PeriodMissing
        return
    start = wish.start or at
    longest = timedelta(days=366 * YEARS_MAX)
    if wish.end <= start or wish.end - start > longest or (complete and wish.end <= at):
        raise PeriodNotPossible(years=YEARS_MAX)


def _checked_answers(
    row: Application, checked: Checked, *, complete: bool, answered: set[int]
) -> list[tuple[FormTemplate, dict[str, Any]]]:
    """Each giver's form in the version that was filled in, its answers cleaned.

    raises   FormUnknown, InvalidAnswers
    """
    given = {one.giver_id: one for one in checked.wish.answers}
    templates: dict[int, dict[int, FormTemplate]] = {}
    for template in FormTemplate.objects.filter(
        giver_id__in=checked.givers.keys() | given.keys(), recipient=row.recipient
    ).order_by("version"):
        templates.setdefault(template.giver_id, {})[template.version] = template
    files = set(Attachment.objects.filter(application=row, removed_at=None).values_list("pk", flat=True))
    found = []
    for key in sorted(checked.givers.keys() | (given.keys() & templates.keys())):
        versions, answers = templates.get(key, {}), given.get(key)
        if not versions:
            continue
        newest = max(versions)
        version = newest if answers is None or answers.version is None else answers.version
        if version not in versions:
            raise FormUnknown(giver=str(checked.givers.get(key, key)), version=version)
        if answers is None and (key in answered or not complete):
            continue
        template = versions[version]
        asked = key in checked.givers
        values = clean_answers(
            template.fields,
            {} if answers is None else answers.values,
            files=files,
            complete=complete and asked,
        )
        found.append((template, values))
    return found


def _require_offered(
    row: Application, checked: Checked, keys: set[tuple[int, int]], at: datetime, *, admitted: bool = True
) -> None:
    """raises   NotAdmitted; NotOffered, NotYetOffered, NotOfferedThatLong"""
    if admitted:
        wanted = {giver for giver, _category in keys}
        may_ask = {giver.workspace.pk for giver in admission.givers_for(row.applicant, row.workspace, at, only=wanted)}
        for key in sorted(wanted - may_ask):
            giver = checked.givers[key]
            if admission.may_be_asked(giver, row.applicant, row.workspace, at):
                # It takes applications; it has nothing at all to give.
                first = next(category for asked, category in sorted(keys) if asked == key)
                raise NotOffered(giver=str(giver), category=checked.categories[first].title)
            raise NotAdmitted(giver=str(giver))
    assert checked.wish.end is not None
    for giver_id, category_id in sorted(keys):
        start = max(at, checked.wish.start or at)
        capacity.room(checked.givers[giver_id], checked.categories[category_id], start=start, end=checked.wish.end)


def _write(row: Application, number: int, checked: Checked, *, by: Person | None, at: datetime) -> None:
    """Put what was checked into the revision of this number, and what the search reads into the application."""
    revision = Revision.objects.get(application=row, number=number)
    for name, value in checked.fields.items():
        setattr(revision, name, value)
    revision.by, revision.at = by, at
    revision.save()
    RequestedAmount.objects.filter(revision=revision).delete()
    FormAnswer.objects.filter(revision=revision).delete()
    RequestedAmount.objects.bulk_create(
        [
            RequestedAmount(revision=revision, giver_id=giver, category_id=category, ticks=ticks)
            for (giver, category), ticks in checked.amounts.items()
        ]
    )
    FormAnswer.objects.bulk_create(
        [FormAnswer(revision=revision, template=template, values=values) for template, values in checked.answers]
    )
    row.words = _words(row, checked)
    row.save()


def _words(row: Application, checked: Checked) -> str:
    said = [
        row.applicant.full_name,
        row.applicant.email.replace("@", " "),
        checked.fields["project_name"],
        *([str(row.workspace)] if row.workspace is not None else []),
        *map(str, checked.givers.values()),
        *(category.title for category in checked.categories.values()),
        *(str(v) for _template, values in checked.answers for v in values.values() if isinstance(v, str)),
    ]
    return "\n".join(said)[:20_000]


def project_of(row: Application) -> Project | None:
    return None if row.workspace is None else row.workspace.project
