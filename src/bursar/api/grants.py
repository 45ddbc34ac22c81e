"""Grant applications: givers and their forms, applying, judging, comments and files, gifts, export."""

import base64
import csv
import io
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status
from pydantic import AwareDatetime, Field

from bursar.api.auth import at_of, person_of
from bursar.api.paging import Page, Paging, page_of
from bursar.api.problems import PROBLEMS
from bursar.api.strict import Strict
from bursar.grants import files, images, selectors, services
from bursar.grants.admission import Giver
from bursar.grants.errors import FileTypeNotAllowed, FormUnknown
from bursar.grants.lifecycle import ApplicationState, PartState
from bursar.grants.models import (
    Application,
    AutomaticRule,
    Criterion,
    Decision,
    Gift,
    GiverSettings,
    Notice,
    Recipient,
    Revision,
)
from bursar.grants.notices import KINDS, LINES
from bursar.grants.rules import rule_in_words
from bursar.kernel.refusals import words
from bursar.structure.errors import NotFound
from bursar.structure.models import Organization, Workspace
from bursar.structure.roles import Permission
from bursar.structure.selectors import workspace_of

router = Router()
KEY_MAX = 2**63 - 1
Key = Annotated[int, Field(ge=1, le=KEY_MAX)]
Ticks = Annotated[int, Field(ge=0, le=KEY_MAX, description="ticks of the product category")]


# ------------------------------------------------------------------------------------------------ what is said
class AmountIn(Strict):
    giver_id: Key = Field(description="the giver's workspace")
    category_id: Key
    ticks: Ticks


class AnswersIn(Strict):
    giver_id: Key
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = Field(
        None, description="of the form; newest when empty"
    )
    values: dict[str, Any]


class WishIn(Strict):
    project_name: str = Field("", max_length=400)
    organization_id: Key | None = Field(None, description="in which a new project is to be")
    start: AwareDatetime | None = Field(None, description="when it is approved, if empty")
    end: AwareDatetime | None = Field(None, description="half-open; needed to submit")
    amounts: list[AmountIn] = Field([], max_length=100)
    answers: list[AnswersIn] = Field([], max_length=100)
    is_separable: bool = Field(False, description="one giver's rejection ends only that part")
    allows_reductions: bool = Field(False, description="givers may give less without asking you")
    members: list[str] = Field([], max_length=50, description="mail addresses to invite into a new project")
    comment: str = Field("", max_length=2000, description="why; needed for a revision")


class ApplicationIn(WishIn):
    recipient: Recipient
    workspace_id: Key | None = Field(None, description="of an existing project; yours when it is personal")
    follows_id: Key | None = Field(None, description="an earlier application that this one extends")
    submit: bool = Field(False, description="ask the givers at once; a draft otherwise")
    idempotency_key: str = Field("", max_length=80, description="the same key again answers the same application")


class RevisionIn(WishIn):
    revision: int = Field(description="the number of the revision that you read")


class ApplicationReasonIn(Strict):
    reason: str = Field("", max_length=2000)


class PartDecisionIn(ApplicationReasonIn):
    revision: int = Field(description="the number of the revision that you read")


class AgreeIn(Strict):
    revision: int = Field(description="the number of the revision that you read")


class PartChangeIn(Strict):
    revision: int
    amounts: dict[int, Ticks] = Field(
        max_length=100, description="product category id -> ticks; all that you would give"
    )
    comment: str = Field(max_length=2000)


class HandOverIn(Strict):
    revision: int
    to_giver_id: Key
    message: str = Field(max_length=2000)


class CommentIn(Strict):
    text: str = Field(max_length=5000)
    is_internal: bool = Field(False, description="not seen by the applicant")


class FileIn(Strict):
    name: str = Field(max_length=300)
    content: str = Field(max_length=files.SIZE_MAX_MIB * 2**20 * 4 // 3 + 8, description="base64")


class LogoIn(Strict):
    content: str = Field(
        max_length=images.SIZE_MAX_KIB * 1024 * 4 // 3 + 8, description=f"base64 of a picture: {images.POSSIBLE}"
    )


class LineIn(Strict):
    side: Criterion.Side
    kind: Criterion.Kind
    value: str = Field("", max_length=200)
    organization_id: Key | None = None


class GiverIn(Strict):
    is_open: bool
    description: str = Field("", max_length=10_000)
    promise_percent: int = Field(100, ge=1, le=1000)
    lines: list[LineIn] = Field([], max_length=200)


class FormIn(Strict):
    fields: list[dict[str, Any]] = Field(max_length=40)


class RuleIn(Strict):
    recipients: list[Recipient] = Field(max_length=3)
    limits: dict[int, Ticks] = Field(max_length=100, description="product category id -> at most so many ticks")
    keeps_percent: int = Field(0, ge=0, le=100)
    enabled: bool = False


class RulesIn(Strict):
    rules: list[RuleIn] = Field(max_length=50)


class GiftIn(Strict):
    title: str = Field(max_length=200)
    description: str = Field("", max_length=2000)
    amounts: dict[int, Ticks] = Field(max_length=50)
    start: AwareDatetime
    end: AwareDatetime
    every_months: int = Field(0, ge=0, le=120, description="0 = once")
    claims_max: int = Field(ge=1, le=1_000_000)
    at_login: bool = Field(False, description="given at the first login in each of its periods")
    lines: list[LineIn] = Field(max_length=200)


# ------------------------------------------------------------------------------------------------ what is answered
class GiverOfferOut(Schema):
    category_id: int
    category: str
    unit: str
    ticks_per_unit: int
    start: datetime = Field(description="from when there is some")
    until: datetime | None = Field(description="empty: the provider itself, without an end")
    free_ticks: int | None = Field(description="not promised yet; empty: nothing bounds it")


class LogoOut(Schema):
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str


class GiverOut(Schema):
    id: int = Field(description="the giver's workspace")
    title: str
    description: str
    logo: LogoOut | None
    is_source: bool = Field(description="you draw from it already")
    offers: list[GiverOfferOut]
    form_version: int | None
    form: list[dict[str, Any]]


class AmountOut(Schema):
    giver_id: int
    giver: str
    category_id: int
    category: str
    ticks: int
    unit: str
    ticks_per_unit: int


class RevisionOut(Schema):
    number: int
    by_id: int | None
    giver_id: int | None = Field(description="the giver on whose behalf it was written; empty: the applicant")
    at: datetime
    project_name: str
    organization_id: int | None
    start: datetime | None
    end: datetime | None
    is_separable: bool
    allows_reductions: bool
    members: list[str]
    comment: str
    amounts: list[AmountOut]
    answers: list[dict[str, Any]]
    changes: list[dict[str, Any]]


class ApplicationPartOut(Schema):
    giver_id: int
    giver: str
    state: PartState
    decided_by_id: int | None
    decided_at: datetime | None


class ApplicationOut(Schema):
    id: int
    state: ApplicationState
    recipient: Recipient
    workspace_id: int | None
    title: str
    applicant_id: int
    applicant: str
    revision: int
    agreement_awaited: bool
    follows_id: int | None
    why: str
    parts: list[ApplicationPartOut]
    amounts: list[AmountOut]
    created_at: datetime
    submitted_at: datetime | None
    closed_at: datetime | None


class LeftOut(Schema):
    giver_id: int
    category_id: int
    left_ticks: int | None = Field(
        description="what the giver can still give; empty: nothing bounds it, or not for you"
    )
    left_after_ticks: int | None
    refusal: str


class GrantedOut(Schema):
    allocation_id: int
    category_id: int
    quota_ticks: int
    drawn_ticks: int
    start: datetime
    end: datetime
    closed_at: datetime | None


class ApplicationCommentOut(Schema):
    id: int
    by_id: int
    at: datetime
    text: str
    is_internal: bool
    withdrawn_at: datetime | None


class FileOut(Schema):
    id: int
    name: str
    content_type: str
    size_bytes: int
    sha256: str
    by_id: int
    at: datetime
    removed_at: datetime | None = Field(description="its bytes are gone since then; a mark stays")


class DecidedOut(Schema):
    what: Decision.What
    giver_id: int | None
    revision: int
    by_id: int | None
    at: datetime
    reason: str


class ApplicationDetailsOut(ApplicationOut):
    revisions: list[RevisionOut]
    left: list[LeftOut]
    decisions: list[DecidedOut]
    comments: list[ApplicationCommentOut]
    files: list[FileOut]
    granted: list[GrantedOut]
    may_change: bool = Field(description="you act on the applicant's side")
    may_judge: list[int] = Field(description="the givers for which you decide")


class SettingsOut(Schema):
    id: int
    title: str
    is_open: bool
    description: str
    logo: LogoOut | None
    promise_percent: int
    lines: list[dict[str, Any]]
    rules: list[dict[str, Any]]


class FormOut(Schema):
    version: int
    recipient: Recipient
    fields: list[dict[str, Any]]


class TriedOut(Schema):
    application_id: int
    state: PartState = Field(description="what was decided")
    is_by_rule: bool = Field(description="by a rule, not by a reviewer")
    revision: int = Field(description="which the rule would have let through, or else the last that it looked at")
    fits: bool = Field(description="the rule would have let it through")
    why: list[str] = Field(description="what stood against it, a sentence each")


class GiftAtLoginIn(Strict):
    at_login: bool


class GiftOut(Schema):
    id: int
    giver: str
    title: str
    description: str
    amounts: list[dict[str, Any]]
    every_months: int
    at_login: bool
    is_taken: bool
    until: datetime


# ------------------------------------------------------------------------------------------------ from rows to shapes
def _amounts(revision: Revision | None) -> list[dict[str, Any]]:
    rows = [] if revision is None else list(revision.amounts.all())
    return [
        {
            "giver_id": row.giver_id,
            "giver": str(row.giver),
            "category_id": row.category_id,
            "category": row.category.title,
            "ticks": row.ticks,
            "unit": row.category.unit_name,
            "ticks_per_unit": row.category.ticks_per_unit,
        }
        for row in rows
    ]


def _application(row: Application, revision: Revision | None, parts: Any) -> dict[str, Any]:
    return {
        "id": row.pk,
        "state": row.state,
        "recipient": row.recipient,
        "workspace_id": row.workspace_id,
        "title": selectors.title_of(row, revision),
        "applicant_id": row.applicant_id,
        "applicant": row.applicant.full_name,
        "revision": row.revision,
        "agreement_awaited": row.agreement_awaited,
        "follows_id": row.follows_id,
        "why": row.why,
        "parts": [
            {
                "giver_id": part.giver_id,
                "giver": str(part.giver),
                "state": part.state,
                "decided_by_id": part.decided_by_id,
                "decided_at": part.decided_at,
            }
            for part in parts
        ],
        "amounts": _amounts(revision),
        "created_at": row.created_at,
        "submitted_at": row.submitted_at,
        "closed_at": row.closed_at,
    }


def _listed(request: HttpRequest, rows: Any, paging: Any) -> dict[str, Any]:
    answer = page_of(request, rows, paging)
    answer["items"] = [_application(row, next(iter(row.present), None), row.present_parts) for row in answer["items"]]
    return answer


def _details(request: HttpRequest, application_id: int) -> dict[str, Any]:
    found = selectors.details(_key(application_id), person_of(request), at_of(request))
    return {
        **_application(found.application, found.revision, found.parts),
        "revisions": [
            {
                **{
                    name: getattr(revision, name)
                    for name in (
                        "number",
                        "by_id",
                        "giver_id",
                        "at",
                        "project_name",
                        "organization_id",
                        "start",
                        "end",
                        "is_separable",
                        "allows_reductions",
                        "members",
                        "comment",
                    )
                },
                "amounts": _amounts(revision),
                "answers": [
                    {"giver_id": a.template.giver_id, "version": a.template.version, "values": a.values}
                    for a in revision.answers.all()
                ],
                "changes": [
                    {
                        "what": c.what,
                        "giver": c.giver,
                        "name": c.name,
                        "before": _plain(c.before),
                        "after": _plain(c.after),
                    }
                    for c in found.changes.get(revision.number, ())
                ],
            }
            for revision in found.revisions
        ],
        "left": [
            {
                "giver_id": line.amount.giver_id,
                "category_id": line.amount.category_id,
                "left_ticks": line.before_ticks,
                "left_after_ticks": line.left_after_ticks,
                "refusal": "" if line.refusal is None else words(line.refusal, _),
            }
            for line in found.lines
        ],
        "decisions": list(found.decisions),
        "comments": list(found.comments),
        "files": list(found.attachments),
        "granted": [
            {
                "allocation_id": one.allocation_id,
                "category_id": one.allocation.category_id,
                "quota_ticks": one.allocation.quota_ticks,
                "drawn_ticks": one.allocation.drawn_ticks,
                "start": one.allocation.start,
                "end": one.allocation.end,
                "closed_at": one.allocation.closed_at,
            }
            for one in found.granted
        ],
        "may_change": found.speaks,
        "may_judge": list(found.judges),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool | list) else str(value)


def _key(number: int) -> int:
    """A number that the database can hold; others are nobody's."""
    return number if 0 < number <= KEY_MAX else 0


def _organization(key: int | None) -> Organization | None:
    """raises   NotFound"""
    if key is None:
        return None
    row = Organization.objects.filter(pk=key).first()
    if row is None:
        raise NotFound(noun="organization")
    return row


def _wish(payload: WishIn) -> services.Wish:
    return services.Wish(
        end=payload.end,
        start=payload.start,
        project_name=payload.project_name,
        organization=_organization(payload.organization_id),
        amounts=tuple(services.Amount(a.giver_id, a.category_id, a.ticks) for a in payload.amounts),
        answers=tuple(services.Answers(a.giver_id, a.values, a.version) for a in payload.answers),
        is_separable=payload.is_separable,
        allows_reductions=payload.allows_reductions,
        members=tuple(payload.members),
        comment=payload.comment,
    )


def _lines(lines: list[LineIn]) -> list[services.Line]:
    known = {
        o.pk: o for o in Organization.objects.filter(pk__in={n.organization_id for n in lines if n.organization_id})
    }
    found = []
    for line in lines:
        if line.organization_id is not None and line.organization_id not in known:
            raise NotFound(noun="organization")
        organization = None if line.organization_id is None else known[line.organization_id]
        found.append(services.Line(line.side, line.kind, line.value, organization))
    return found


def _giver(request: HttpRequest, key: int, permission: Permission = Permission.VIEW_GRANTS) -> Workspace:
    return selectors.giver_seen(_key(key), person_of(request), at_of(request), permission)


def _judged(request: HttpRequest, application_id: int, giver_id: int) -> Workspace:
    """The giver of a part of an application that is seen: whoever sees it may know of its givers."""
    found = selectors.details(_key(application_id), person_of(request), at_of(request))
    known = {part.giver_id: part.giver for part in found.parts}
    if giver_id not in known:
        raise NotFound(noun="part")
    return known[giver_id]


# ------------------------------------------------------------------------------------------------ applying
@router.get("/grants/givers", response=list[GiverOut], tags=["Grants"], summary="Whom you may ask, and what they have")
def list_givers(
    request: HttpRequest,
    recipient: Recipient = Recipient.NEW_PROJECT,
    workspace_id: Annotated[int | None, Query()] = None,
) -> Any:
    """For a new project leave `workspace_id` out; for your personal workspace as well."""
    person, at = person_of(request), at_of(request)
    workspace = _recipient(request, recipient, workspace_id)
    givers = selectors.givers_to_ask(person, workspace, at)
    forms = selectors.forms_of((giver.workspace.pk for giver in givers), recipient)
    return [_giver_out(giver, forms.get(giver.workspace.pk)) for giver in givers]


def _giver_out(giver: Giver, form: Any) -> dict[str, Any]:
    return {
        "id": giver.workspace.pk,
        "title": giver.title,
        "description": "" if giver.settings is None else giver.settings.description,
        "logo": getattr(giver.settings, "logo", None),
        "is_source": giver.is_source,
        "offers": [
            {
                "category_id": offer.category.pk,
                "category": offer.category.title,
                "unit": offer.category.unit_name,
                "ticks_per_unit": offer.category.ticks_per_unit,
                "start": offer.start,
                "until": offer.until,
                "free_ticks": offer.free_ticks,
            }
            for offer in giver.offers
        ],
        "form_version": None if form is None else form.version,
        "form": [] if form is None else form.fields,
    }


def _recipient(request: HttpRequest, recipient: Recipient, workspace_id: int | None) -> Workspace | None:
    """raises   NotFound"""
    if recipient == Recipient.NEW_PROJECT:
        return None
    if recipient == Recipient.PERSONAL:
        return workspace_of(person_of(request))
    rows = selectors.workspaces_seen(person_of(request), at_of(request))
    row = rows.filter(pk=_key(workspace_id or 0)).exclude(project=None).first()
    if row is None:
        raise NotFound(noun="workspace")
    return row


@router.get("/grants/applications", response=Page[ApplicationOut], tags=["Grants"], summary="Applications of your side")
def list_applications(request: HttpRequest, paging: Paging, state: str = "", search: str = "") -> Any:
    filters = selectors.Filters(text=search, state=state)
    return _listed(request, selectors.applications(person_of(request), at_of(request), filters), paging)


@router.get(
    "/grants/queue", response=Page[ApplicationOut], tags=["Grants"], summary="What is asked of the givers you read for"
)
def list_queue(
    request: HttpRequest,
    paging: Paging,
    state: str = "",
    part_state: str = "",
    giver_id: Annotated[int | None, Query()] = None,
    category_id: Annotated[int | None, Query()] = None,
    search: str = "",
) -> Any:
    filters = _filters(state, part_state, giver_id, category_id, search)
    return _listed(request, selectors.queue(person_of(request), at_of(request), filters), paging)


def _filters(
    state: str, part_state: str, giver_id: int | None, category_id: int | None, search: str
) -> selectors.Filters:
    return selectors.Filters(
        text=search,
        state=state,
        part_state=part_state,
        giver_id=None if giver_id is None else _key(giver_id),
        category_id=None if category_id is None else _key(category_id),
    )


@router.get("/grants/queue/export", tags=["Grants"], summary="The queue whole, as JSON or CSV")
def export_queue(
    request: HttpRequest, kind: Literal["json", "csv"] = "json", state: str = "", search: str = ""
) -> HttpResponse:
    rows = selectors.export(person_of(request), at_of(request), _filters(state, "", None, None, search))
    if kind == "json":
        return JsonResponse({"items": list(rows)})
    return csv_of(rows)


def csv_of(rows: Any) -> HttpResponse:
    """A download that no spreadsheet takes for formulas."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(selectors.EXPORT_COLUMNS)
    for row in rows:
        writer.writerow([selectors.harmless(row[name]) for name in selectors.EXPORT_COLUMNS])
    return HttpResponse(
        file.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="applications.csv"', "X-Content-Type-Options": "nosniff"},
    )


@router.post(
    "/grants/applications",
    response={201: ApplicationDetailsOut, **PROBLEMS},
    tags=["Grants"],
    summary="Begin an application, and submit it if you wish",
)
def create_application(request: HttpRequest, payload: ApplicationIn) -> Any:
    person, at = person_of(request), at_of(request)
    follows = None
    if payload.follows_id is not None:
        follows = selectors.application_seen(payload.follows_id, person, at)
    with services.together():
        row = services.draft_application(
            recipient=payload.recipient,
            workspace=_recipient(request, payload.recipient, payload.workspace_id),
            wish=_wish(payload),
            follows=follows,
            idempotency_key=payload.idempotency_key,
            by=person,
            at=at,
        )
        if payload.submit and row.state == ApplicationState.DRAFT:
            services.submit_application(application_id=row.pk, by=person, at=at)
    return Status(201, _details(request, row.pk))


@router.get(
    "/grants/applications/{application_id}",
    response={200: ApplicationDetailsOut, **PROBLEMS},
    tags=["Grants"],
    summary="An application with its revisions, differences, decisions and comments",
)
def get_application(request: HttpRequest, application_id: int) -> Any:
    return _details(request, application_id)


def _writing(path: str, summary: str) -> Any:
    return router.post(
        f"/grants/applications/{{application_id}}{path}",
        response={200: ApplicationDetailsOut, **PROBLEMS},
        tags=["Grants"],
        summary=summary,
    )


@router.put(
    "/grants/applications/{application_id}/draft",
    response={200: ApplicationDetailsOut, **PROBLEMS},
    tags=["Grants"],
    summary="Set what a draft says",
)
def save_draft(request: HttpRequest, application_id: int, payload: WishIn) -> Any:
    services.save_draft(
        application_id=_key(application_id), wish=_wish(payload), by=person_of(request), at=at_of(request)
    )
    return _details(request, application_id)


@_writing("/submit", "Ask the givers")
def submit_application(request: HttpRequest, application_id: int) -> Any:
    services.submit_application(application_id=_key(application_id), by=person_of(request), at=at_of(request))
    return _details(request, application_id)


@_writing("/revise", "Say something else, as the applicant")
def revise_application(request: HttpRequest, application_id: int, payload: RevisionIn) -> Any:
    services.revise_application(
        application_id=_key(application_id),
        revision=payload.revision,
        wish=_wish(payload),
        by=person_of(request),
        at=at_of(request),
    )
    return _details(request, application_id)


@_writing("/agree", "Agree to what givers changed")
def agree(request: HttpRequest, application_id: int, payload: AgreeIn) -> Any:
    services.agree(
        application_id=_key(application_id), revision=payload.revision, by=person_of(request), at=at_of(request)
    )
    return _details(request, application_id)


@_writing("/withdraw", "Take it back")
def withdraw_application(request: HttpRequest, application_id: int, payload: ApplicationReasonIn) -> Any:
    services.withdraw_application(
        application_id=_key(application_id), reason=payload.reason, by=person_of(request), at=at_of(request)
    )
    return _details(request, application_id)


# ------------------------------------------------------------------------------------------------ judging
@_writing("/parts/{giver_id}/approve", "Grant what is asked of a giver")
def approve_part(request: HttpRequest, application_id: int, giver_id: int, payload: PartDecisionIn) -> Any:
    """When nobody else is awaited it is awarded in the same step."""
    services.approve_part(
        application_id=_key(application_id),
        giver=_judged(request, application_id, giver_id),
        revision=payload.revision,
        reason=payload.reason,
        by=person_of(request),
        at=at_of(request),
    )
    return _details(request, application_id)


@_writing("/parts/{giver_id}/reject", "Refuse what is asked of a giver, with the reason")
def reject_part(request: HttpRequest, application_id: int, giver_id: int, payload: PartDecisionIn) -> Any:
    services.reject_part(
        application_id=_key(application_id),
        giver=_judged(request, application_id, giver_id),
        revision=payload.revision,
        reason=payload.reason,
        by=person_of(request),
        at=at_of(request),
    )
    return _details(request, application_id)


@_writing("/parts/{giver_id}/change", "Change the amounts that are asked of a giver")
def change_amounts(request: HttpRequest, application_id: int, giver_id: int, payload: PartChangeIn) -> Any:
    services.change_amounts(
        application_id=_key(application_id),
        giver=_judged(request, application_id, giver_id),
        revision=payload.revision,
        amounts={_key(key): ticks for key, ticks in payload.amounts.items()},
        comment=payload.comment,
        by=person_of(request),
        at=at_of(request),
    )
    return _details(request, application_id)


class HandedOverOut(Schema):
    id: int
    revision: int


@router.post(
    "/grants/applications/{application_id}/parts/{giver_id}/hand-over",
    response={200: HandedOverOut, **PROBLEMS},
    tags=["Grants"],
    summary="Let another giver decide about the whole part",
)
def hand_over(request: HttpRequest, application_id: int, giver_id: int, payload: HandOverIn) -> Any:
    """You may no longer see it afterwards."""
    row = services.hand_over(
        application_id=_key(application_id),
        giver=_judged(request, application_id, giver_id),
        to=selectors.giver_known(payload.to_giver_id),
        revision=payload.revision,
        message=payload.message,
        by=person_of(request),
        at=at_of(request),
    )
    return {"id": row.pk, "revision": row.revision}


@_writing("/parts/{giver_id}/revoke", "Take back what a giver granted, with the reason")
def revoke_grant(request: HttpRequest, application_id: int, giver_id: int, payload: ApplicationReasonIn) -> Any:
    services.revoke_grant(
        application_id=_key(application_id),
        giver=_judged(request, application_id, giver_id),
        reason=payload.reason,
        by=person_of(request),
        at=at_of(request),
    )
    return _details(request, application_id)


# ------------------------------------------------------------------------------------------------ comments and files
@router.post(
    "/grants/applications/{application_id}/comments",
    response={201: ApplicationCommentOut, **PROBLEMS},
    tags=["Grants"],
    summary="Say something",
)
def comment_application(request: HttpRequest, application_id: int, payload: CommentIn) -> Any:
    row = services.comment_application(
        application_id=_key(application_id),
        text=payload.text,
        is_internal=payload.is_internal,
        by=person_of(request),
        at=at_of(request),
    )
    return Status(201, row)


@router.post(
    "/grants/comments/{comment_id}/withdraw",
    response={200: ApplicationCommentOut, **PROBLEMS},
    tags=["Grants"],
    summary="Take a comment back; a mark stays",
)
def withdraw_comment(request: HttpRequest, comment_id: int) -> Any:
    return services.withdraw_comment(comment_id=_key(comment_id), by=person_of(request), at=at_of(request))


@router.post(
    "/grants/applications/{application_id}/files",
    response={201: FileOut, **PROBLEMS},
    tags=["Grants"],
    summary="Add a file",
)
def attach_file(request: HttpRequest, application_id: int, payload: FileIn) -> Any:
    row = services.attach_file(
        application_id=_key(application_id),
        name=payload.name,
        data=_bytes(payload.content, payload.name),
        by=person_of(request),
        at=at_of(request),
    )
    return Status(201, row)


def _bytes(content: str, name: str) -> bytes:
    """raises   FileTypeNotAllowed for what is not base64"""
    try:
        return base64.b64decode(content, validate=True)
    except ValueError:
        raise FileTypeNotAllowed(name=name[:60], possible="base64") from None


@router.get(
    "/grants/applications/{application_id}/files",
    response={200: Page[FileOut], **PROBLEMS},
    tags=["Grants"],
    summary="Files of an application",
)
def list_files(request: HttpRequest, application_id: int, paging: Paging) -> Any:
    rows = selectors.attachments_seen(_key(application_id), person_of(request), at_of(request))
    return page_of(request, rows, paging)


@router.delete("/grants/files/{file_id}", response={204: None, **PROBLEMS}, tags=["Grants"], summary="Remove a file")
def remove_file(request: HttpRequest, file_id: int) -> Any:
    """Of a draft nothing stays; of what was submitted a mark. Not while it answers a question of a giver's form."""
    services.remove_file(attachment_id=_key(file_id), by=person_of(request), at=at_of(request))
    return Status(204, None)


@router.get("/grants/files/{file_id}", tags=["Grants"], summary="Download a file")
def get_file(request: HttpRequest, file_id: int) -> HttpResponse:
    return download(selectors.attachment_seen(_key(file_id), person_of(request), at_of(request)))


def download(row: Any) -> HttpResponse:
    """A file, never shown inline, whatever it holds."""
    answer = HttpResponse(bytes(row.content.data), content_type="application/octet-stream")
    answer["Content-Disposition"] = _disposition(row.name)
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return answer


def _disposition(name: str) -> str:
    return content_disposition_header(as_attachment=True, filename=name) or "attachment"


# ------------------------------------------------------------------------------------------------ givers' settings
@router.get(
    "/grants/givers/{giver_id}/settings",
    response={200: SettingsOut, **PROBLEMS},
    tags=["Grants"],
    summary="How a giver lets itself be asked",
)
def get_settings(request: HttpRequest, giver_id: int) -> Any:
    workspace = _giver(request, giver_id)
    return _settings(workspace, selectors.settings_of(workspace))


def _settings(workspace: Workspace, row: GiverSettings | None) -> dict[str, Any]:
    return {
        "id": workspace.pk,
        "title": str(workspace),
        "is_open": row is not None and row.is_open,
        "description": "" if row is None else row.description,
        "logo": getattr(row, "logo", None),
        "promise_percent": 100 if row is None else row.promise_percent,
        "lines": []
        if row is None
        else [
            {"side": c.side, "kind": c.kind, "value": c.value, "organization_id": c.organization_id}
            for c in row.criteria.all()
        ],
        "rules": [] if row is None else [_rule(rule) for rule in row.automatic_rules.all()],
    }


def _rule(rule: AutomaticRule) -> Mapping[str, Any]:
    return {
        "recipients": rule.recipients,
        "limits": {str(limit.category_id): limit.ticks_max for limit in rule.limits.all()},
        "keeps_percent": rule.keeps_percent,
        "enabled": rule.enabled,
        "words": rule_in_words(rule),
    }


@router.put(
    "/grants/givers/{giver_id}/settings",
    response={200: SettingsOut, **PROBLEMS},
    tags=["Grants"],
    summary="Say whether and by whom a giver may be asked",
)
def set_settings(request: HttpRequest, giver_id: int, payload: GiverIn) -> Any:
    workspace = _giver(request, giver_id, Permission.MANAGE_GRANTS)
    services.set_giver(
        workspace=workspace,
        is_open=payload.is_open,
        description=payload.description,
        promise_percent=payload.promise_percent,
        lines=_lines(payload.lines),
        by=person_of(request),
        at=at_of(request),
    )
    return _settings(workspace, selectors.settings_of(workspace))


@router.get("/grants/givers/{giver_id}/logo", tags=["Grants"], summary="The giver's logo")
def get_logo(request: HttpRequest, giver_id: int) -> HttpResponse:
    row = selectors.logo_seen(_key(giver_id), person_of(request), at_of(request))
    return HttpResponse(bytes(row.content.data), content_type=row.content_type, headers=images.HEADERS)


@router.put(
    "/grants/givers/{giver_id}/logo",
    response={200: LogoOut, **PROBLEMS},
    tags=["Grants"],
    summary="Set the giver's logo",
)
def set_logo(request: HttpRequest, giver_id: int, payload: LogoIn) -> Any:
    """It is kept without what does not draw: no camera, no place, no comments."""
    workspace = _giver(request, giver_id, Permission.MANAGE_GRANTS)
    data = _bytes(payload.content, "")
    return services.set_logo(workspace=workspace, data=data, by=person_of(request), at=at_of(request))


@router.delete(
    "/grants/givers/{giver_id}/logo",
    response={204: None, **PROBLEMS},
    tags=["Grants"],
    summary="Remove the giver's logo",
)
def remove_logo(request: HttpRequest, giver_id: int) -> Any:
    workspace = _giver(request, giver_id, Permission.MANAGE_GRANTS)
    services.remove_logo(workspace=workspace, by=person_of(request), at=at_of(request))
    return Status(204, None)


@router.get(
    "/grants/givers/{giver_id}/forms/{recipient}",
    response={200: FormOut, **PROBLEMS},
    tags=["Grants"],
    summary="The newest form for a kind of recipient",
)
def get_form(request: HttpRequest, giver_id: int, recipient: Recipient) -> Any:
    workspace = _giver(request, giver_id)
    form = selectors.forms_of([workspace.pk], recipient).get(workspace.pk)
    if form is None:
        raise FormUnknown(giver=str(workspace), version=1)
    return form


@router.put(
    "/grants/givers/{giver_id}/forms/{recipient}",
    response={200: FormOut, **PROBLEMS},
    tags=["Grants"],
    summary="Publish a form: a new version",
)
def set_form(request: HttpRequest, giver_id: int, recipient: Recipient, payload: FormIn) -> Any:
    workspace = _giver(request, giver_id, Permission.MANAGE_GRANTS)
    return services.set_form(
        workspace=workspace, recipient=recipient, fields=payload.fields, by=person_of(request), at=at_of(request)
    )


def _rules(payload: list[RuleIn]) -> list[services.Rule]:
    return [
        services.Rule(
            recipients=tuple(r.value for r in rule.recipients),
            limits={_key(key): ticks for key, ticks in rule.limits.items()},
            keeps_percent=rule.keeps_percent,
            enabled=rule.enabled,
        )
        for rule in payload
    ]


@router.put(
    "/grants/givers/{giver_id}/rules",
    response={200: SettingsOut, **PROBLEMS},
    tags=["Grants"],
    summary="Say when a part is approved without a reviewer",
)
def set_rules(request: HttpRequest, giver_id: int, payload: RulesIn) -> Any:
    workspace = _giver(request, giver_id, Permission.MANAGE_GRANTS)
    services.set_rules(workspace=workspace, rules=_rules(payload.rules), by=person_of(request), at=at_of(request))
    return _settings(workspace, selectors.settings_of(workspace))


@router.post(
    "/grants/givers/{giver_id}/rules/try",
    response={200: list[TriedOut], **PROBLEMS},
    tags=["Grants"],
    summary="What a rule would have done with past applications",
)
def try_rule(request: HttpRequest, giver_id: int, payload: RuleIn) -> Any:
    """Writes nothing."""
    workspace = _giver(request, giver_id, Permission.MANAGE_GRANTS)
    (rule,) = _rules([payload])
    return [
        {
            "application_id": one.application.pk,
            "state": one.state,
            "is_by_rule": one.is_by_rule,
            "revision": one.revision,
            "fits": one.fits,
            "why": one.why,
        }
        for one in selectors.try_rule(rule, workspace, at_of(request))
    ]


# ------------------------------------------------------------------------------------------------ gifts
@router.get("/grants/gifts", response=list[GiftOut], tags=["Grants"], summary="Gifts that are meant for you")
def list_gifts(request: HttpRequest) -> Any:
    return [_gift(o.gift, o.is_taken, o.until) for o in selectors.gifts_for(person_of(request), at_of(request))]


def _gift(gift: Gift, is_taken: bool, until: datetime) -> dict[str, Any]:
    return {
        "id": gift.pk,
        "giver": str(gift.workspace),
        "title": gift.title,
        "description": gift.description,
        "amounts": [
            {"category_id": a.category_id, "category": a.category.title, "unit": a.category.unit_name, "ticks": a.ticks}
            for a in gift.amounts.select_related("category")
        ],
        "every_months": gift.every_months,
        "at_login": gift.at_login,
        "is_taken": is_taken,
        "until": until,
    }


@router.post(
    "/grants/gifts/{gift_id}/claim", response={200: GiftOut, **PROBLEMS}, tags=["Grants"], summary="Take a gift"
)
def claim_gift(request: HttpRequest, gift_id: int) -> Any:
    claim = services.claim_gift(gift_id=_key(gift_id), by=person_of(request), at=at_of(request))
    return _gift(claim.gift, True, selectors.period_of(claim.gift, at_of(request))[1])


@router.post(
    "/grants/givers/{giver_id}/gifts", response={201: GiftOut, **PROBLEMS}, tags=["Grants"], summary="Offer a gift"
)
def offer_gift(request: HttpRequest, giver_id: int, payload: GiftIn) -> Any:
    workspace = _giver(request, giver_id, Permission.MANAGE_GRANTS)
    gift = services.offer_gift(
        workspace=workspace,
        title=payload.title,
        description=payload.description,
        amounts={_key(key): ticks for key, ticks in payload.amounts.items()},
        start=payload.start,
        end=payload.end,
        every_months=payload.every_months,
        claims_max=payload.claims_max,
        at_login=payload.at_login,
        lines=_lines(payload.lines),
        by=person_of(request),
        at=at_of(request),
    )
    return Status(201, _gift(gift, False, gift.end))


@router.post(
    "/grants/gifts/{gift_id}/at-login",
    response={200: GiftOut, **PROBLEMS},
    tags=["Grants"],
    summary="Give it at login, or no longer",
)
def set_gift_at_login(request: HttpRequest, gift_id: int, payload: GiftAtLoginIn) -> Any:
    """People who are known already get it at their next login, as newcomers do."""
    person, at = person_of(request), at_of(request)
    selectors.gift_seen(_key(gift_id), person, at)
    gift = services.set_gift_at_login(gift_id=gift_id, at_login=payload.at_login, by=person, at=at)
    return _gift(gift, False, gift.end)


@router.post(
    "/grants/gifts/{gift_id}/close", response={200: GiftOut, **PROBLEMS}, tags=["Grants"], summary="Offer it no longer"
)
def close_gift(request: HttpRequest, gift_id: int) -> Any:
    person, at = person_of(request), at_of(request)
    selectors.gift_seen(_key(gift_id), person, at)
    gift = services.close_gift(gift_id=gift_id, by=person, at=at)
    return _gift(gift, False, gift.end)


# ------------------------------------------------------------------------------------------------ notices
class NoticeOut(Schema):
    id: int
    kind: str
    text: str = Field(description="what happened, in your language")
    subject: str
    application_id: int | None
    gift_id: int | None
    by_id: int | None
    at: datetime
    read_at: datetime | None


class ReadOut(Schema):
    read: int = Field(description="how many were unread")


class ChoicesOut(Schema):
    kinds: list[str] = Field(description="all there are")
    in_pages: list[str] = Field(description="those of which you are told in the list of notices")
    by_mail: list[str]


class ChoicesIn(Strict):
    in_pages: list[str] = Field(max_length=50)
    by_mail: list[str] = Field(max_length=50)


def _notice(row: Notice) -> dict[str, Any]:
    names = ("id", "kind", "application_id", "gift_id", "by_id", "at", "read_at")
    text = str(LINES.get(row.kind, ""))
    return {**{name: getattr(row, name) for name in names}, "text": text, "subject": selectors.subject_of(row)}


@router.get("/grants/notices", response=Page[NoticeOut], tags=["Grants"], summary="What you were told, unread first")
def list_notices(request: HttpRequest, paging: Paging, unread: bool = False) -> Any:
    rows = selectors.notices(person_of(request), at_of(request))
    answer = page_of(request, rows.filter(read_at=None) if unread else rows, paging)
    answer["items"] = [_notice(row) for row in answer["items"]]
    return answer


@router.post("/grants/notices/read", response={200: ReadOut, **PROBLEMS}, tags=["Grants"], summary="Mark all as read")
def read_notices(request: HttpRequest) -> Any:
    return {"read": services.read_notices(by=person_of(request), at=at_of(request))}


@router.get("/grants/notices/choices", response=ChoicesOut, tags=["Grants"], summary="Of what you are told, and how")
def get_choices(request: HttpRequest) -> Any:
    unwanted = selectors.unwanted_notices(person_of(request))
    return {
        "kinds": list(KINDS),
        "in_pages": [kind for kind in KINDS if (kind, "page") not in unwanted],
        "by_mail": [kind for kind in KINDS if (kind, "mail") not in unwanted],
    }


@router.put(
    "/grants/notices/choices",
    response={200: ChoicesOut, **PROBLEMS},
    tags=["Grants"],
    summary="Say of what you want to be told, and how",
)
def set_choices(request: HttpRequest, payload: ChoicesIn) -> Any:
    """Names that there are not are passed over."""
    services.set_notices(by_mail=payload.by_mail, in_pages=payload.in_pages, by=person_of(request), at=at_of(request))
    return get_choices(request)


@router.post(
    "/grants/notices/{notice_id}/read",
    response={200: NoticeOut, **PROBLEMS},
    tags=["Grants"],
    summary="Mark a notice as read",
)
def read_notice(request: HttpRequest, notice_id: int) -> Any:
    services.read_notice(notice_id=_key(notice_id), by=person_of(request), at=at_of(request))
    return _notice(selectors.notices(person_of(request), at_of(request)).get(pk=notice_id))
