"""Questions that read, always for a given viewer: who may see an application, the queue, one application whole.

An application is seen by its applicant, by whoever may apply on behalf of its workspace, and by those who read what is
asked of a giver that it concerns now. A giver that has left sees it no longer; a draft is seen by the applicant's side.
"""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.contrib.postgres.search import SearchQuery, SearchVector
from django.db.models import BooleanField, Exists, ExpressionWrapper, F, Min, OuterRef, Prefetch, Q, QuerySet
from django.utils.translation import gettext as _

from bursar.accounting.models import Allocation
from bursar.catalogue.models import ProductCategory
from bursar.grants import capacity
from bursar.grants.admission import Giver, asker_of, askers_of, givers_for, is_allowed, is_forbidden, may_be_asked
from bursar.grants.errors import ApplicationNotFound, AttachmentNotFound, GiftNotFound, GiverNotFound, LogoNotFound
from bursar.grants.lifecycle import CLOSED_STATES, PRESENT_PARTS, ApplicationState, PartState
from bursar.grants.models import (
    Application,
    Attachment,
    AwardedAllocation,
    Comment,
    Decision,
    FormTemplate,
    Gift,
    GiftClaim,
    GiverLogo,
    GiverSettings,
    Notice,
    NoticeChoice,
    Part,
    Recipient,
    RequestedAmount,
    Revision,
)
from bursar.grants.periods import period_of
from bursar.grants.rules import Asked, Rule, objections
from bursar.kernel.errors import DomainError
from bursar.structure.models import Membership, Organization, Person, Workspace
from bursar.structure.roles import (
    Permission,
    may,
    memberships_held,
    on_platform,
    organizations_where,
    require,
    workspaces_by,
    workspaces_where,
)

OWNERS = ("project__organization", "organization", "person")


# ------------------------------------------------------------------------------------------------ who may see
def speaks_for(application: Application, person: Person, at: datetime) -> bool:
    """Whether the person acts on the applicant's side: the applicant, or who may apply on behalf of the workspace."""
    if not person.is_active:
        return False
    if application.recipient == Recipient.PROJECT or (
        application.workspace is not None and application.applicant_id != person.pk
    ):
        return may(person, Permission.APPLY_FOR_GRANTS, application.workspace, at)
    if application.applicant_id != person.pk:
        return False
    limits = person.limits
    return limits is None or (limits.organization_id is None and limits.allow(Permission.APPLY_FOR_GRANTS))


def applications_seen(viewer: Person, at: datetime) -> QuerySet[Application]:
    """Every application that the viewer may see."""
    if not viewer.is_active or viewer.pk is None:
        return Application.objects.none()
    return Application.objects.filter(_seen_by(viewer, memberships_held(viewer, at)))


def _seen_by(viewer: Person, held: Iterable[Membership], prefix: str = "") -> Q:
    """Whether an active viewer, who holds these memberships, may see the application that rows reach by the prefix.

    Each part is asked per application, so that looking at a few costs no more where there are many.
    """
    readable = workspaces_by(held, viewer, Permission.VIEW_GRANTS)
    asked = Part.objects.filter(application=OuterRef(f"{prefix}pk"), state__in=PRESENT_PARTS, giver__in=readable)
    seen = Q(Exists(asked)) & ~Q(**{f"{prefix}state": ApplicationState.DRAFT})
    seen |= Q(**{f"{prefix}workspace__in": workspaces_by(held, viewer, Permission.APPLY_FOR_GRANTS)})
    limits = viewer.limits
    if limits is None or (limits.organization_id is None and limits.allow(Permission.VIEW_PROJECT)):
        seen |= Q(**{f"{prefix}applicant": viewer})
    return seen


def application_seen(pk: int, viewer: Person, at: datetime) -> Application:
    """raises   ApplicationNotFound"""
    rows = applications_seen(viewer, at).select_related("applicant", *(f"workspace__{owner}" for owner in OWNERS))
    row = rows.filter(pk=pk).first()
    if row is None:
        raise ApplicationNotFound
    return row


def judged_givers(
    application: Application, viewer: Person, at: datetime, permission: Permission = Permission.JUDGE_GRANTS
) -> list[Workspace]:
    """The givers concerned now for which the viewer judges (or, with VIEW_GRANTS, reads)."""
    if application.state == ApplicationState.DRAFT:
        return []
    asked = Part.objects.filter(application=application, state__in=PRESENT_PARTS).values("giver_id")
    return list(workspaces_where(viewer, permission, at).filter(pk__in=asked).select_related(*OWNERS).order_by("pk"))


def home_of(giver: Workspace) -> Organization | None:
    return giver.organization if giver.project is None else giver.project.organization


def homes_for(applicant: Person, givers: Iterable[Workspace], at: datetime) -> list[Organization]:
    """The organizations in which a new project can be: those that are asked, and those where the applicant may make one."""
    homes = {home.pk: home for giver in givers if (home := home_of(giver)) is not None}
    if not on_platform(applicant, Permission.CREATE_PROJECT, at):
        homes |= {o.pk: o for o in organizations_where(applicant, Permission.CREATE_PROJECT, at)}
    return sorted((o for o in homes.values() if o.archived_at is None), key=lambda o: (o.name, o.pk))


def giver_seen(pk: int, viewer: Person, at: datetime, permission: Permission = Permission.VIEW_GRANTS) -> Workspace:
    """A workspace whose applications the viewer reads, or (by another permission) handles.

    raises   GiverNotFound for whoever reads nothing there; NotAllowed for who reads but may not do this
    """
    rows = Workspace.objects.select_related(*OWNERS).filter(person=None)
    row = rows.filter(pk=pk).first()
    if row is None or not may(viewer, Permission.VIEW_GRANTS, row, at):
        raise GiverNotFound
    require(viewer, permission, row, at)
    return row


def logo_seen(giver_id: int, viewer: Person, at: datetime) -> GiverLogo:
    """A giver's logo, for whoever meets its name: who reads for it, may ask it, draws from it or sees its part somewhere.

    raises   LogoNotFound
    """
    row = (
        GiverLogo.objects.select_related(*(f"giver__workspace__{owner}" for owner in OWNERS))
        .filter(giver__workspace_id=giver_id)
        .first()
    )
    if row is None or not _meets(row.giver.workspace, viewer, at):
        raise LogoNotFound
    return row


def _meets(giver: Workspace, viewer: Person, at: datetime) -> bool:
    if may(viewer, Permission.VIEW_GRANTS, giver, at) or may_be_asked(giver, viewer, None, at):
        return True
    own = workspaces_where(viewer, Permission.VIEW_PROJECT, at)
    from_it = Q(source__workspace=giver)
    if giver.organization_id is not None:
        from_it |= Q(source=None, category__provider__organization=giver.organization)
    if Allocation.objects.filter(from_it, wallet__workspace__in=own, closed_at=None, quota_ticks__gt=0).exists():
        return True
    parts = Part.objects.filter(giver=giver, state__in=PRESENT_PARTS)
    return parts.filter(application__in=applications_seen(viewer, at)).exists()


def giver_known(pk: int) -> Workspace:
    """A workspace that could be a giver, for handing a part over to; what it admits is asked by the service.

    raises   GiverNotFound
    """
    row = Workspace.objects.select_related(*OWNERS).filter(pk=pk, person=None, giver_settings__isnull=False).first()
    if row is None:
        raise GiverNotFound
    return row


def gift_seen(pk: int, viewer: Person, at: datetime) -> Gift:
    """A gift, for those who read for its giver.

    raises   GiftNotFound
    """
    row = Gift.objects.select_related(*(f"workspace__{owner}" for owner in OWNERS)).filter(pk=pk).first()
    if row is None or not may(viewer, Permission.VIEW_GRANTS, row.workspace, at):
        raise GiftNotFound
    return row


def workspaces_seen(viewer: Person, at: datetime) -> QuerySet[Workspace]:
    """Those that the viewer sees; whether they may apply there is asked by the service."""
    return workspaces_where(viewer, Permission.VIEW_PROJECT, at).select_related(*OWNERS)


# ------------------------------------------------------------------------------------------------ lists
FEW: Final = 200


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to; empty = everything."""

    text: str = ""
    state: str = ""
    part_state: str = ""
    giver_id: int | None = None
    recipient: str = ""
    category_id: int | None = None


def applications(viewer: Person, at: datetime, filters: Filters) -> QuerySet[Application]:
    """Those on the viewer's own side, newest first, ready to be listed."""
    own = Q(workspace__in=workspaces_where(viewer, Permission.APPLY_FOR_GRANTS, at)) | Q(applicant=viewer)
    if on_platform(viewer, Permission.APPLY_FOR_GRANTS, at):
        own = Q(applicant=viewer)
    return listed(filtered(applications_seen(viewer, at).filter(own), filters))


def queue(viewer: Person, at: datetime, filters: Filters) -> QuerySet[Application]:
    """What is asked of the givers for whom the viewer reads, newest first, ready to be listed."""
    parts = Part.objects.filter(giver__in=_few_asked(viewer, at), state__in=PRESENT_PARTS)
    if filters.giver_id is not None:
        parts = parts.filter(giver_id=filters.giver_id)
    if filters.part_state:
        parts = parts.filter(state=filters.part_state)
    rows = Application.objects.filter(pk__in=parts.values("application_id")).exclude(state=ApplicationState.DRAFT)
    return listed(filtered(rows, filters))


def _few_asked(viewer: Person, at: datetime) -> Collection[int] | QuerySet[Workspace]:
    """The givers that were ever asked and for which the viewer reads: as numbers where they are few, as nearly always.

    Of a number the planner knows how many parts it has; of a subquery it guesses, and then reads thousands one by one.
    """
    readable = workspaces_where(viewer, Permission.VIEW_GRANTS, at).filter(person=None)
    asked = readable.filter(Exists(Part.objects.filter(giver=OuterRef("pk"))))
    few = list(asked.values_list("pk", flat=True)[: FEW + 1])
    return few if len(few) <= FEW else readable


def filtered(rows: QuerySet[Application], filters: Filters) -> QuerySet[Application]:
    if filters.state == "open":
        rows = rows.filter(state__in=(ApplicationState.DRAFT, ApplicationState.SUBMITTED))
    elif filters.state == "closed":
        rows = rows.filter(state__in=CLOSED_STATES)
    elif filters.state:
        rows = rows.filter(state=filters.state)
    if filters.recipient:
        rows = rows.filter(recipient=filters.recipient)
    if filters.category_id is not None:
        asked = RequestedAmount.objects.filter(
            revision__application=OuterRef("pk"),
            revision__number=OuterRef("revision"),
            category_id=filters.category_id,
        )
        rows = rows.filter(Exists(asked))
    words = "".join(c if c.isalnum() else " " for c in filters.text[:200]).split()
    if not words:
        return rows.none() if filters.text.strip() else rows
    # Asked of the rows themselves: by way of their ids the planner guesses wrong how many there are, and reads them all.
    query = SearchQuery(" & ".join(f"{word}:*" for word in words), search_type="raw", config="simple")
    rows = rows.alias(vector=SearchVector("words", config="simple"))
    if filters.text.strip().removeprefix("#").isdecimal() and len(words) == 1 and len(words[0]) < 18:
        return rows.filter(Q(pk=int(words[0])) | Q(vector=query))
    return rows.filter(vector=query)


def listed(rows: QuerySet[Application]) -> QuerySet[Application]:
    """With everything that a row of a list says; the same number of queries however many there are."""
    present = (
        Revision.objects.filter(number=F("application__revision"))
        .select_related("organization")
        .prefetch_related(Prefetch("amounts", RequestedAmount.objects.select_related("category")))
    )
    parts = Part.objects.filter(state__in=PRESENT_PARTS).select_related(*(f"giver__{owner}" for owner in OWNERS))
    return (
        rows.defer("words")
        .select_related("applicant", *(f"workspace__{owner}" for owner in OWNERS))
        .prefetch_related(
            Prefetch("revisions", present, to_attr="present"), Prefetch("parts", parts, to_attr="present_parts")
        )
        .order_by("-id")
    )


def title_of(application: Application, revision: Revision | None) -> str:
    """What an application is for, in a word: the name of the new project, or of the workspace."""
    if application.workspace is not None:
        return str(application.workspace)
    return revision.project_name if revision is not None else ""


# ------------------------------------------------------------------------------------------------ one application
@dataclass(frozen=True, slots=True)
class Line:
    """An amount of the present revision, with what the giver has left after it. None: no bound, or (refusal) not at all."""

    amount: RequestedAmount
    before_ticks: int | None
    left_after_ticks: int | None
    refusal: DomainError | None


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs between two revisions. `what` is a field, or "amount" or "answer" with its names."""

    what: str
    giver: str
    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Earlier:
    """An application of the same applicant or workspace, with what came of it."""

    application: Application
    revision: Revision | None
    granted: tuple[AwardedAllocation, ...]


@dataclass(frozen=True, slots=True)
class Details:
    application: Application
    title: str
    revisions: tuple[Revision, ...]
    changes: Mapping[int, tuple[Change, ...]]
    parts: tuple[Part, ...]
    lines: tuple[Line, ...]
    decisions: tuple[Decision, ...]
    comments: tuple[Comment, ...]
    attachments: tuple[Attachment, ...]
    granted: tuple[AwardedAllocation, ...]
    earlier: tuple[Earlier, ...]
    speaks: bool
    reads_for: tuple[int, ...]
    judges: tuple[int, ...]

    @property
    def revision(self) -> Revision:
        return self.revisions[-1]

    @property
    def awaited(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.state == PartState.PENDING)


def details(pk: int, viewer: Person, at: datetime) -> Details:
    """An application whole, as far as the viewer may see it.

    raises   ApplicationNotFound
    """
    row = application_seen(pk, viewer, at)
    revisions = tuple(
        Revision.objects.filter(application=row)
        .select_related("by", "organization", *(f"giver__{owner}" for owner in OWNERS))
        .prefetch_related(
            Prefetch(
                "amounts",
                RequestedAmount.objects.select_related(
                    "category__provider__organization", *(f"giver__{owner}" for owner in OWNERS)
                ),
            ),
            "answers__template__giver__project",
            "answers__template__giver__organization",
        )
        .order_by("number")
    )
    speaks = speaks_for(row, viewer, at)
    reads = tuple(w.pk for w in judged_givers(row, viewer, at, Permission.VIEW_GRANTS))
    judges = tuple(w.pk for w in judged_givers(row, viewer, at)) if reads else ()
    comments = Comment.objects.filter(application=row).select_related("by", "withdrawn_by")
    if not reads:
        comments = comments.filter(is_internal=False)
    related = ("allocation__category", *(f"amount__giver__{owner}" for owner in OWNERS))
    granted = AwardedAllocation.objects.filter(award__application=row).select_related("amount", *related)
    return Details(
        application=row,
        title=title_of(row, revisions[-1]),
        revisions=revisions,
        changes={b.number: tuple(differences(a, b)) for a, b in itertools.pairwise(revisions)},
        parts=tuple(
            Part.objects.filter(application=row, state__in=PRESENT_PARTS).select_related(
                "decided_by", "giver__giver_settings__logo", *(f"giver__{owner}" for owner in OWNERS)
            )
        ),
        lines=tuple(_lines(row, revisions[-1], reads, at)),
        decisions=tuple(
            Decision.objects.filter(application=row).select_related("by", *(f"giver__{owner}" for owner in OWNERS))
        ),
        comments=tuple(comments),
        attachments=tuple(Attachment.objects.filter(application=row).select_related("by", "removed_by")),
        granted=tuple(granted),
        earlier=tuple(_earlier(row, viewer, at)),
        speaks=speaks,
        reads_for=reads,
        judges=judges,
    )


def _lines(row: Application, revision: Revision, reads: Sequence[int], at: datetime) -> Iterator[Line]:
    """What a giver has left is shown to those who read for it."""
    start = max(at, revision.start or at)
    for amount in revision.amounts.all():
        left: int | None = None
        refusal: DomainError | None = None
        if row.state == ApplicationState.SUBMITTED and amount.giver_id in reads and revision.end is not None:
            try:
                if revision.end > start:
                    left = capacity.room(amount.giver, amount.category, start=start, end=revision.end).left_ticks
            except DomainError as error:
                refusal = error
        yield Line(amount, left, None if left is None else left - amount.ticks, refusal)


def _earlier(row: Application, viewer: Person, at: datetime) -> list[Earlier]:
    same = Q(applicant=row.applicant)
    if row.workspace_id is not None:
        same |= Q(workspace_id=row.workspace_id)
    rows = list(listed(applications_seen(viewer, at).filter(same).exclude(pk=row.pk))[:20])
    granted: dict[int, list[AwardedAllocation]] = {}
    for one in AwardedAllocation.objects.filter(award__application__in=[r.pk for r in rows]).select_related(
        "allocation__category", "award"
    ):
        granted.setdefault(one.award.application_id, []).append(one)
    return [
        Earlier(one, next(iter(one.present), None), tuple(granted.get(one.pk, ())))  # type: ignore[attr-defined]
        for one in rows
    ]


_FIELDS = (
    "project_name",
    "organization",
    "start",
    "end",
    "is_separable",
    "allows_reductions",
    "members",
)


def differences(before: Revision, after: Revision) -> Iterator[Change]:
    """What the later revision says otherwise."""
    for name in _FIELDS:
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            yield Change(name, "", name, old, new)
    amounts: dict[tuple[int, int], list[RequestedAmount | None]] = {}
    for place, revision in enumerate((before, after)):
        for amount in revision.amounts.all():
            amounts.setdefault((amount.giver_id, amount.category_id), [None, None])[place] = amount
    for pair in amounts.values():
        ticks = [None if one is None else one.ticks for one in pair]
        if ticks[0] != ticks[1]:
            named = next(one for one in pair if one is not None)
            yield Change("amount", str(named.giver), named.category.title, *(_written(one) for one in pair))
    answers: dict[tuple[int, str], list[Any]] = {}
    titles: dict[tuple[int, str], tuple[str, str]] = {}
    for place, revision in enumerate((before, after)):
        for answer in revision.answers.all():
            names = {field["key"]: field["title"] for field in answer.template.fields}
            for key, value in answer.values.items():
                answers.setdefault((answer.template.giver_id, key), [None, None])[place] = value
                titles[answer.template.giver_id, key] = (str(answer.template.giver), names.get(key, key))
    for where, (old, new) in answers.items():
        if old != new:
            yield Change("answer", *titles[where], old, new)


def _written(amount: RequestedAmount | None) -> str | None:
    if amount is None:
        return None
    unit = amount.category.unit
    return f"{unit.text(amount.ticks)} {unit.name}"


def attachment_seen(pk: int, viewer: Person, at: datetime) -> Attachment:
    """raises   AttachmentNotFound"""
    row = Attachment.objects.select_related("application").filter(pk=pk, removed_at=None).first()
    if row is None or not applications_seen(viewer, at).filter(pk=row.application_id).exists():
        raise AttachmentNotFound
    return row


def attachments_seen(application_id: int, viewer: Person, at: datetime) -> QuerySet[Attachment]:
    """The files of an application, with the marks of those that were removed.

    raises   ApplicationNotFound
    """
    return Attachment.objects.filter(application=application_seen(application_id, viewer, at)).order_by("id")


# ------------------------------------------------------------------------------------------------ to be asked, to apply
def givers_to_ask(person: Person, recipient: Workspace | None, at: datetime) -> list[Giver]:
    """Those whom the person may ask on behalf of the recipient (None = a new project), with what they have to give.

    raises   NotAllowed, TokenTooNarrow
    """
    if recipient is not None:
        require(person, Permission.APPLY_FOR_GRANTS, recipient, at)
    return givers_for(person, recipient, at)


def recipients_for(person: Person, at: datetime) -> list[Workspace]:
    """The workspaces on behalf of which the person may apply, their own first; of operators, those of their own roles."""
    rows = workspaces_where(person, Permission.APPLY_FOR_GRANTS, at).filter(organization=None)
    if on_platform(person, Permission.APPLY_FOR_GRANTS, at):
        rows = rows.filter(Q(person=person) | Q(project__memberships__person=person)).distinct()
    rows = rows.filter(Q(project=None) | Q(project__archived_at=None))
    rows = rows.filter(Q(project=None) | Q(project__end=None) | Q(project__end__gt=at))
    return list(rows.select_related(*OWNERS).order_by("project__name", "pk"))


def forms_of(givers: Iterable[int], recipient: str) -> dict[int, FormTemplate]:
    """The newest form of each giver for a kind of recipient."""
    rows = FormTemplate.objects.filter(giver_id__in=list(givers), recipient=recipient)
    return {row.giver_id: row for row in rows.order_by("giver_id", "-version").distinct("giver_id")}


def settings_of(workspace: Workspace) -> GiverSettings | None:
    rows = GiverSettings.objects.filter(workspace=workspace).select_related("logo")
    return rows.prefetch_related("criteria__organization", "automatic_rules__limits__category").first()


# ------------------------------------------------------------------------------------------------ rules, gifts, export
@dataclass(frozen=True, slots=True)
class Tried:
    """A past part that was decided, and what a rule would have done with it.

    revision   the number of the revision that the rule would have let through, or else of the last that it looked at
    why        what stood against it, a sentence each; none = it would have gone through
    """

    application: Application
    state: str
    is_by_rule: bool
    revision: int
    why: tuple[str, ...]

    @property
    def fits(self) -> bool:
        return not self.why


def try_rule(rule: Rule, giver: Workspace, at: datetime, *, last: int = 200) -> list[Tried]:
    """What a rule would have done with the giver's last applications; it looks at all that the rule looks at.

    Each is tried as the applicant submitted and revised it, when that was: what a giver changed came after the rule.
    Who may ask is taken from the lists of today, since it is today's applicants for whom the rule will be in force.
    As many queries for many as for one.
    """
    parts = list(
        Part.objects.filter(giver=giver, state__in=(PartState.APPROVED, PartState.REJECTED))
        .select_related("application__applicant", *(f"application__workspace__{owner}" for owner in OWNERS))
        .order_by("-id")[:last]
    )
    amounts = Prefetch(
        "amounts", RequestedAmount.objects.filter(giver=giver).select_related("category__provider"), to_attr="asked"
    )
    revisions: dict[int, list[Revision]] = {}
    for revision in (
        Revision.objects.filter(application__in=[part.application_id for part in parts], giver=None)
        .prefetch_related(amounts)
        .order_by("number")
    ):
        if revision.asked:  # type: ignore[attr-defined]
            revisions.setdefault(revision.application_id, []).append(revision)
    categories = {a.category_id: a.category for rows in revisions.values() for r in rows for a in r.asked}  # type: ignore[attr-defined]
    past = capacity.Past(giver, categories.values())
    refused = _not_admitted(giver, parts, at)
    return [_tried(rule, part, revisions.get(part.application_id, []), past, refused) for part in parts]


def _tried(
    rule: Rule, part: Part, revisions: Sequence[Revision], past: capacity.Past, refused: Collection[int]
) -> Tried:
    row, number = part.application, 1
    why = [_("Another giver handed it over; rules look at what applicants send.")]
    for revision in revisions:
        number = revision.number
        why = objections(rule, row.recipient, _asked_then(revision, past))
        if row.pk in refused:
            why.append(_("Today %(who)s could not ask this giver at all.") % {"who": row.applicant})
        if not why:
            break
    return Tried(row, part.state, part.decided_by_id is None, number, tuple(why))


def _asked_then(revision: Revision, past: capacity.Past) -> Iterator[Asked]:
    at = revision.at
    start, end = max(at, revision.start or at), revision.end
    assert end is not None  # nothing is submitted without
    for amount in revision.asked:  # type: ignore[attr-defined]
        room: capacity.Room | DomainError
        try:
            room = past.room(amount.category_id, at=at, start=start, end=end, application_id=revision.application_id)
        except DomainError as refusal:
            room = refusal
        yield Asked(amount.category, amount.ticks, room)


def _not_admitted(giver: Workspace, parts: Sequence[Part], at: datetime) -> set[int]:
    """The applications whose applicants the giver's lists do not admit, and that did not draw from it before."""
    row = GiverSettings.objects.filter(workspace=giver).prefetch_related("criteria").first()
    lines = [] if row is None else list(row.criteria.all())
    askers = askers_of({part.application.applicant for part in parts}, at)
    from_it = Q(source__workspace=giver)
    if giver.organization_id is not None:
        from_it |= Q(source=None, category__provider__organization=giver.organization)
    workspaces = [part.application.workspace_id for part in parts if part.application.workspace_id is not None]
    drawing = Allocation.objects.filter(from_it, wallet__workspace__in=workspaces, quota_ticks__gt=0)
    since = dict(
        drawing.values("wallet__workspace_id")
        .annotate(first=Min("made_at"))
        .values_list("wallet__workspace_id", "first")
    )
    found = set()
    for part in parts:
        application = part.application
        asker, submitted = askers[application.applicant_id], application.submitted_at
        first = since.get(application.workspace_id or 0)
        is_source = first is not None and submitted is not None and first < submitted
        if is_forbidden(asker, lines) or not (is_source or is_allowed(asker, lines)):
            found.add(application.pk)
    return found


@dataclass(frozen=True, slots=True)
class GiftOffer:
    """A gift that is meant for the viewer, and whether it can be taken now."""

    gift: Gift
    is_taken: bool
    until: datetime


def gifts_for(person: Person, at: datetime) -> list[GiftOffer]:
    """The gifts that are meant for the person now."""
    asker = asker_of(person, at)
    rows = list(
        Gift.objects.filter(closed_at=None, start__lte=at, end__gt=at)
        .select_related(*(f"workspace__{owner}" for owner in OWNERS))
        .prefetch_related("criteria", "amounts__category")
        .order_by("title", "pk")
    )
    taken = set(GiftClaim.objects.filter(person=person, gift__in=rows).values_list("gift_id", "period"))
    found = []
    for gift in rows:
        number, until = period_of(gift, at)
        is_taken = (gift.pk, number) in taken
        if is_allowed(asker, gift.criteria.all()) and (is_taken or gift.claimed < gift.claims_max):
            found.append(GiftOffer(gift, is_taken, until))
    return found


EXPORT_COLUMNS = (
    "application",
    "state",
    "recipient",
    "for",
    "applicant",
    "submitted_at",
    "closed_at",
    "giver",
    "giver_state",
    "category",
    "asked_first",
    "asked_last",
    "granted",
    "unit",
    "start",
    "end",
)


def export(viewer: Person, at: datetime, filters: Filters) -> Iterator[dict[str, Any]]:
    """Every application of the queue, a row for each amount that was ever asked of a giver that it concerns now."""
    rows = queue(viewer, at, filters).order_by("id")
    readable = set(workspaces_where(viewer, Permission.VIEW_GRANTS, at).values_list("pk", flat=True))
    for chunk in _chunks(rows, 500):
        keys = [row.pk for row in chunk]
        amounts: dict[tuple[int, int, int], dict[str, int]] = {}
        for amount in RequestedAmount.objects.filter(revision__application__in=keys).select_related(
            "revision__application", "awarded"
        ):
            revision = amount.revision
            entry = amounts.setdefault((revision.application_id, amount.giver_id, amount.category_id), {})
            if revision.number == 1:
                entry["first"] = amount.ticks
            if revision.number == revision.application.revision:
                entry["last"] = amount.ticks
                if hasattr(amount, "awarded"):
                    entry["granted"] = amount.ticks
        categories = {c.pk: c for c in ProductCategory.objects.filter(pk__in={key[2] for key in amounts})}
        for row in chunk:
            yield from _exported(row, amounts, categories, readable)


def _exported(
    row: Application,
    amounts: Mapping[tuple[int, int, int], Mapping[str, int]],
    categories: Mapping[int, ProductCategory],
    readable: set[int],
) -> Iterator[dict[str, Any]]:
    revision = next(iter(row.present))  # type: ignore[attr-defined]
    parts = {part.giver_id: part for part in row.present_parts}  # type: ignore[attr-defined]
    for (application_id, giver_id, category_id), entry in amounts.items():
        part = parts.get(giver_id)
        if application_id != row.pk or part is None or giver_id not in readable:
            continue
        unit = categories[category_id].unit
        yield {
            "application": row.pk,
            "state": row.state,
            "recipient": row.recipient,
            "for": title_of(row, revision),
            "applicant": row.applicant.full_name,
            "submitted_at": None if row.submitted_at is None else row.submitted_at.isoformat(),
            "closed_at": None if row.closed_at is None else row.closed_at.isoformat(),
            "giver": str(part.giver),
            "giver_state": part.state,
            "category": categories[category_id].title,
            "asked_first": unit.text(entry.get("first", 0)),
            "asked_last": unit.text(entry.get("last", 0)),
            "granted": unit.text(entry.get("granted", 0)),
            "unit": unit.name,
            "start": None if revision.start is None else revision.start.isoformat(),
            "end": None if revision.end is None else revision.end.isoformat(),
        }


def _chunks(rows: QuerySet[Application], size: int) -> Iterator[list[Application]]:
    last = 0
    while chunk := list(rows.filter(pk__gt=last)[:size]):
        yield chunk
        last = chunk[-1].pk


def harmless(cell: Any) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = "" if cell is None else str(cell)
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


# ------------------------------------------------------------------------------------------------ notices
UNREAD_SHOWN: Final = 99


def unwanted_notices(person: Person) -> frozenset[tuple[str, str]]:
    """(kind of step, way) of which the person does not want to be told."""
    return frozenset(NoticeChoice.objects.filter(person=person).values_list("kind", "channel"))


def notices_of(viewer: Person, at: datetime, held: Iterable[Membership] | None = None) -> QuerySet[Notice]:
    """What the viewer was told, as far as it is still about something that they may see.

    held   the viewer's memberships, where they were read already
    """
    if not viewer.is_active or viewer.pk is None:
        return Notice.objects.none()
    held = memberships_held(viewer, at) if held is None else held
    seen = Q(application__isnull=False) & _seen_by(viewer, held, "application__")
    if viewer.limits is None or viewer.limits.organization_id is None:
        seen |= Q(gift__isnull=False)
    return Notice.objects.filter(seen, person=viewer)


def notices(viewer: Person, at: datetime) -> QuerySet[Notice]:
    """The same as a list: what is unread first, the newest first."""
    present = Revision.objects.filter(number=F("application__revision"))
    return (
        notices_of(viewer, at)
        .select_related(
            "by", *(f"{thing}__workspace__{owner}" for thing in ("application", "gift") for owner in OWNERS)
        )
        .prefetch_related(Prefetch("application__revisions", present, to_attr="present"))
        .annotate(is_read=ExpressionWrapper(Q(read_at__isnull=False), BooleanField()))
        .order_by("is_read", "-id")
    )


def unread_notices(viewer: Person, at: datetime, held: Iterable[Membership] | None = None) -> int:
    """How many are unread; counted up to one more than is shown, so that the count costs the same for everybody.

    held   the viewer's memberships, where they were read already: then it is one query
    """
    return notices_of(viewer, at, held).filter(read_at=None)[: UNREAD_SHOWN + 1].count()


def subject_of(notice: Notice) -> str:
    """What a notice is about, in a word."""
    if notice.gift is not None:
        return notice.gift.title
    row = notice.application
    assert row is not None  # a constraint
    return f"#{row.pk} {title_of(row, next(iter(row.present), None))}".rstrip()  # type: ignore[attr-defined]
