"""Applications: applying in steps, the application's own page, the queue of those who judge, and givers' settings."""

import csv
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from bursar.grants import files, images, selectors, services
from bursar.grants.admission import Giver, offers_of
from bursar.grants.errors import FileTooLarge
from bursar.grants.lifecycle import APPLICATION_STATE_TITLES, PART_STATE_TITLES, ApplicationState
from bursar.grants.models import Application, Gift, GiverSettings, Recipient
from bursar.grants.notices import KINDS, LINES
from bursar.grants.rules import rule_in_words, rule_of
from bursar.grants.selectors import Details, Filters
from bursar.kernel.errors import DomainError, Kind
from bursar.kernel.refusals import words
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, may, require, workspaces_where
from bursar.structure.selectors import project_seen, workspace_of
from bursar.web.forms import refusals_in
from bursar.web.grants_forms import (
    STEPS,
    ChangeForm,
    GiftForm,
    GiverForm,
    HandOverForm,
    QuestionFormSet,
    RuleForm,
    WishForm,
    question_initial,
    steps_of,
    written_lines,
)
from bursar.web.http import back, page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.panels import Panel, register
from bursar.web.tabs import scope_page
from bursar.web.viewer import Viewer


def viewer_of(request: HttpRequest) -> Person:
    person = request.viewer.person  # type: ignore[attr-defined]
    assert person is not None
    return person  # type: ignore[no-any-return]


def at_of(request: HttpRequest) -> datetime:
    return request.at  # type: ignore[attr-defined,no-any-return]


# ------------------------------------------------------------------------------------------------ lists
_STATES = [
    ("open", gettext_lazy("Open")),
    ("closed", gettext_lazy("Closed")),
    *((s.value, title) for s, title in APPLICATION_STATE_TITLES.items()),
]


def _listing(request: HttpRequest, rows: Any, *, more: Sequence[Filter] = (), label: Any = "") -> Listing:
    return Listing(
        request,
        rows,
        label=label or gettext_lazy("Applications"),
        sort="-application",
        search=lambda found, words: selectors.filtered(found, Filters(text=words)),
        search_label=gettext_lazy("Search people and answers"),
        columns={
            "application": Column(gettext_lazy("Application"), sort="pk"),
            "applicant": Column(gettext_lazy("Applicant"), sort="applicant__full_name"),
            "asks": Column(gettext_lazy("Asks for")),
            "givers": Column(gettext_lazy("Givers")),
            "submitted": Column(gettext_lazy("Submitted"), sort="submitted_at"),
            "state": Column(gettext_lazy("State"), sort="state"),
        },
        filters=(
            *more,
            Filter(
                "state",
                gettext_lazy("Any state"),
                _STATES,
                lambda found, value: selectors.filtered(found, Filters(state=value)),
            ),
            Filter("recipient", gettext_lazy("Anybody"), Recipient.choices, "recipient"),
        ),
    )


def applications(request: HttpRequest) -> HttpResponse:
    rows = selectors.applications(viewer_of(request), at_of(request), Filters())
    gifts = selectors.gifts_for(viewer_of(request), at_of(request))
    return page(request, "bursar/grants/list.html", {"listing": _listing(request, rows), "gifts": gifts})


def project_applications(request: HttpRequest, pk: int) -> HttpResponse:
    row = project_seen(pk, viewer_of(request), at_of(request))
    require(viewer_of(request), Permission.APPLY_FOR_GRANTS, row, at_of(request))
    rows = selectors.applications_seen(viewer_of(request), at_of(request)).filter(workspace__project=row)
    context = {
        **scope_page(request, row, "applications"),
        "listing": _listing(request, selectors.listed(rows)),
        "workspace": workspace_of(row),
    }
    return page(request, "bursar/grants/project.html", context)


def _number(request: HttpRequest, name: str) -> int | None:
    value = request.GET.get(name, "")
    return int(value) if value.isdecimal() and len(value) < 18 else None


def grant_queue(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    part_state = request.GET.get("part", "")
    filters = Filters(
        giver_id=_number(request, "giver"), part_state=part_state if part_state in dict(PART_STATE_TITLES) else ""
    )
    readable = workspaces_where(viewer, Permission.VIEW_GRANTS, at)
    given = GiverSettings.objects.filter(workspace__in=readable).select_related(
        "workspace__project", "workspace__organization"
    )
    givers = [(str(one.workspace_id), str(one.workspace)) for one in given[:200]]
    as_it_is: Callable[[Any, str], Any] = lambda rows, _value: rows  # noqa: E731 - narrowed above, together
    more = (
        Filter("giver", gettext_lazy("Any giver"), givers, as_it_is),
        Filter(
            "part",
            gettext_lazy("Any decision"),
            [(s.value, t) for s, t in PART_STATE_TITLES.items() if s.value != "left"],
            as_it_is,
        ),
    )
    listing = _listing(
        request, selectors.queue(viewer, at, filters), more=more, label=gettext_lazy("Applications to judge")
    )
    may_set = Permission.MANAGE_GRANTS in request.viewer.permissions  # type: ignore[attr-defined]
    return page(request, "bursar/grants/queue.html", {"listing": listing, "may_set": may_set})


def grant_export(request: HttpRequest) -> HttpResponse:
    """The queue whole; no spreadsheet takes a cell for a formula."""
    text = request.GET.get("q", "")[:200]
    state = request.GET.get("state", "")
    filters = Filters(text=text, state=state if state in dict(_STATES) else "", giver_id=_number(request, "giver"))
    rows = selectors.export(viewer_of(request), at_of(request), filters)
    if request.GET.get("kind") == "json":
        answer: HttpResponse = JsonResponse({"items": list(rows)})
        answer["Content-Disposition"] = 'attachment; filename="applications.json"'
        return answer
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(selectors.EXPORT_COLUMNS)
    for row in rows:
        writer.writerow([selectors.harmless(row[name]) for name in selectors.EXPORT_COLUMNS])
    answer = HttpResponse(file.getvalue(), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="applications.csv"'
    return answer


# ------------------------------------------------------------------------------------------------ applying
def application_new(request: HttpRequest) -> HttpResponse:
    """For whom: the first step, which makes the draft."""
    viewer, at = viewer_of(request), at_of(request)
    workspaces = selectors.recipients_for(viewer, at)
    if request.method == "POST":
        chosen = request.POST.get("for", "")
        workspace = next((w for w in workspaces if str(w.pk) == chosen), None)
        if workspace is None and chosen != "new":
            messages.error(request, _("Say for whom this is."))
            return redirect("application_new")
        if workspace is None:
            recipient = Recipient.NEW_PROJECT
        else:
            recipient = Recipient.PERSONAL if workspace.person_id is not None else Recipient.PROJECT
        follows = request.POST.get("follows", "")
        earlier, wish = None, services.Wish()
        if follows.isdecimal() and len(follows) < 18:
            found = selectors.details(int(follows), viewer, at)
            if found.speaks:
                earlier = found.application
                said = services.wish_of(found.revision)
                wish = services.Wish(
                    project_name=said.project_name, amounts=said.amounts, answers=_present(said.answers, recipient)
                )
        row = services.draft_application(
            recipient=recipient,
            workspace=workspace,
            wish=wish,
            follows=earlier,
            idempotency_key=request.POST.get("key", "")[:80],
            by=viewer,
            at=at,
        )
        return redirect("application_edit", row.pk)
    context = {
        "workspaces": workspaces,
        "chosen": request.GET.get("for", ""),
        "earlier": selectors.applications(viewer, at, Filters(state="closed"))[:20],
        "follows": request.GET.get("follows", ""),
        "steps": _steps(None, "project"),
    }
    return page(request, "bursar/grants/new.html", context)


def _present(answers: Sequence[services.Answers], recipient: str) -> tuple[services.Answers, ...]:
    """Earlier answers to forms that are still the same; files belong to the application they were added to."""
    forms = selectors.forms_of((one.giver_id for one in answers), recipient)
    kept = []
    for one in answers:
        form = forms.get(one.giver_id)
        if form is not None:
            plain = {f["key"] for f in form.fields if f["type"] != "file"}
            values = {key: value for key, value in one.values.items() if key in plain}
            kept.append(services.Answers(one.giver_id, values, form.version))
    return tuple(kept)


def _speaking(request: HttpRequest, pk: int) -> Details:
    """raises   NotAllowed for whoever sees it but does not act on the applicant's side"""
    found = selectors.details(pk, viewer_of(request), at_of(request))
    if not found.speaks:
        require(viewer_of(request), Permission.APPLY_FOR_GRANTS, found.application.workspace, at_of(request))
    return found


def _could_ask(request: HttpRequest, row: Application) -> list[Giver]:
    if viewer_of(request).pk == row.applicant_id:
        return selectors.givers_to_ask(row.applicant, row.workspace, at_of(request))
    return selectors.givers_for(row.applicant, row.workspace, at_of(request))


def _wish_form(request: HttpRequest, found: Details, steps: Sequence[str], givers: Sequence[Giver]) -> WishForm:
    row = found.application
    asked = [amount.giver_id for amount in found.revision.amounts.all()]
    could = givers if row.state != ApplicationState.DRAFT or "project" not in steps else _could_ask(request, row)
    return WishForm(
        request.POST if request.method == "POST" and "attach" not in request.POST else None,
        row=row,
        wish=services.wish_of(found.revision),
        givers=givers,
        organizations=selectors.homes_for(row.applicant, [giver.workspace for giver in could], at_of(request)),
        templates=selectors.forms_of(asked, row.recipient),
        files=[file for file in found.attachments if file.removed_at is None],
        steps=steps,
    )


def application_edit(request: HttpRequest, pk: int) -> HttpResponse:
    """A draft in steps, each kept when one goes on; of what was submitted a revision, on one page."""
    found = _speaking(request, pk)
    row = found.application
    if row.state not in {ApplicationState.DRAFT, ApplicationState.SUBMITTED}:
        messages.error(request, _("This application is closed. Make a new one."))
        return redirect("application", pk)
    if row.state == ApplicationState.DRAFT:
        return _draft_step(request, found)
    givers = _could_ask(request, row)
    form = _wish_form(request, found, STEPS, givers)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.revise_application(
                application_id=pk,
                revision=_revision(request),
                wish=form.said(),
                by=viewer_of(request),
                at=at_of(request),
            )
            messages.success(request, _("The revision was sent. Givers whose part changed decide again."))
            return redirect("application", pk)
    return page(request, "bursar/grants/edit.html", _edited(found, form, givers), form=form)


def _draft_step(request: HttpRequest, found: Details) -> HttpResponse:
    row = found.application
    steps = steps_of(row)
    step = request.GET.get("step", "")
    step = step if step in steps else steps[0]
    asked = {amount.giver_id for amount in found.revision.amounts.all()}
    chosen = set(row.chosen_givers) | asked
    if step == "givers":
        return _givers_step(request, found, chosen)
    givers: list[Giver] = []
    if step == "amounts":
        givers = [giver for giver in _could_ask(request, row) if giver.workspace.pk in chosen]
        if not givers:
            messages.info(request, _("Say first whom you ask."))
            return redirect(_step_address(row, "givers"))
    form = _wish_form(request, found, (step,), givers)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.save_draft(application_id=row.pk, wish=form.said(), by=viewer_of(request), at=at_of(request))
            return _go_on(request, row, step)
    context = {**_edited(found, form, givers), "step": step, "steps": _steps(row, step), "is_draft": True}
    return page(request, "bursar/grants/edit.html", context, form=form)


def _givers_step(request: HttpRequest, found: Details, chosen: set[int]) -> HttpResponse:
    """From whom: those whom the applicant may ask, with what they have to give and from when."""
    row = found.application
    givers = _could_ask(request, row)
    possible = {giver.workspace.pk for giver in givers}
    if request.method == "POST":
        known = possible | chosen
        wanted = {int(v) for v in request.POST.getlist("giver") if v.isdecimal() and len(v) < 18} & known
        if wanted or request.POST.get("go") == "later":
            services.choose_givers(application_id=row.pk, givers=wanted, by=viewer_of(request), at=at_of(request))
            return _go_on(request, row, "givers")
        messages.error(request, _("Choose at least one giver."))
    gone = {a.giver_id: a.giver for a in found.revision.amounts.all() if a.giver_id not in possible}
    context = {
        **_edited(found, None, []),
        "step": "givers",
        "steps": _steps(row, "givers"),
        "is_draft": True,
        "givers": [(giver, giver.workspace.pk in chosen) for giver in givers],
        "gone": list(gone.values()),
    }
    return page(request, "bursar/grants/edit.html", context)


def _go_on(request: HttpRequest, row: Application, step: str) -> HttpResponse:
    steps = steps_of(row)
    if request.POST.get("go") == "later":
        return redirect("applications")
    return redirect(_step_address(row, steps[min(steps.index(step) + 1, len(steps) - 1)]))


def _edited(found: Details, form: WishForm | None, givers: Sequence[Giver]) -> dict[str, Any]:
    return {
        "details": found,
        "application": found.application,
        "revision": found.revision,
        "groups": [] if form is None else form.groups(givers),
        "files_max": files.FILES_MAX,
        "size_max": files.SIZE_MAX_MIB,
        "possible": ", ".join(files.POSSIBLE),
        "templates": {} if form is None else form.templates,
    }


_STEP_TITLES = {
    "project": gettext_lazy("For whom"),
    "givers": gettext_lazy("From whom"),
    "amounts": gettext_lazy("How much"),
    "period": gettext_lazy("For how long"),
    "form": gettext_lazy("Questions"),
    "summary": gettext_lazy("Summary"),
}


def _step_address(row: Application, step: str) -> str:
    return f"{reverse('application_edit', args=[row.pk])}?step={step}"


def _steps(row: Application | None, step: str) -> list[dict[str, Any]]:
    """All steps, the same six for everybody: of what is not a new project, the first was answered by the draft itself."""
    has_page = () if row is None else steps_of(row)
    return [
        {
            "title": _STEP_TITLES[one],
            "url": _step_address(row, one) if row is not None and one in has_page else "",
            "current": one == step,
        }
        for one in STEPS
    ]


def _revision(request: HttpRequest) -> int:
    value = request.POST.get("revision", "")
    return int(value) if value.isdecimal() and len(value) < 9 else 0


def _to_application(pk: int, **_others: Any) -> str:
    return reverse("application", args=[pk])


def _to_summary(pk: int) -> str:
    return f"{reverse('application_edit', args=[pk])}?step=summary"


@require_POST
@refusals_as_messages(_to_summary)
def application_submit(request: HttpRequest, pk: int) -> HttpResponse:
    row = services.submit_application(application_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(
        request, _("It was granted at once.") if row.state == "approved" else _("The application was submitted.")
    )
    return redirect("application", pk)


@require_POST
@refusals_as_messages(_to_application)
def application_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    services.withdraw_application(
        application_id=pk, reason=request.POST.get("reason", ""), by=viewer_of(request), at=at_of(request)
    )
    messages.success(request, _("The application was withdrawn."))
    return redirect("application", pk)


@require_POST
@refusals_as_messages(_to_application)
def application_agree(request: HttpRequest, pk: int) -> HttpResponse:
    services.agree(application_id=pk, revision=_revision(request), by=viewer_of(request), at=at_of(request))
    messages.success(request, _("You agreed to the amounts."))
    return redirect("application", pk)


@require_POST
@refusals_as_messages(_to_application)
def application_attach(request: HttpRequest, pk: int) -> HttpResponse:
    sent = request.FILES.get("file")
    _speaking(request, pk)
    if sent is None:
        messages.error(request, _("Choose a file."))
    else:
        if (sent.size or 0) > files.SIZE_MAX_MIB * 2**20:  # before it is read into memory
            raise FileTooLarge(limit=f"{files.SIZE_MAX_MIB} MiB")
        services.attach_file(
            application_id=pk, name=sent.name or "", data=sent.read(), by=viewer_of(request), at=at_of(request)
        )
        messages.success(request, _("The file was added."))
    address = reverse("application_edit", args=[pk]) + "?step=form"
    return redirect(address if request.POST.get("from") == "edit" else reverse("application", args=[pk]))


@require_POST
def grant_file_remove(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.attachment_seen(pk, viewer_of(request), at_of(request))
    otherwise = reverse("application", args=[row.application_id])
    try:
        services.remove_file(attachment_id=pk, by=viewer_of(request), at=at_of(request))
        messages.success(request, _("The file was removed."))
    except DomainError as refusal:
        if refusal.kind != Kind.CONFLICT:
            raise
        messages.error(request, words(refusal, _))
    return back(request, otherwise)


def grant_file(request: HttpRequest, pk: int) -> HttpResponse:
    """A file to keep, never shown inline, whatever it holds."""
    row = selectors.attachment_seen(pk, viewer_of(request), at_of(request))
    answer = HttpResponse(bytes(row.content.data), content_type="application/octet-stream")
    answer["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=row.name) or "attachment"
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "sandbox; default-src 'none'"
    return answer


# ------------------------------------------------------------------------------------------------ the application
def application(request: HttpRequest, pk: int) -> HttpResponse:
    found = selectors.details(pk, viewer_of(request), at_of(request))
    if found.application.state == ApplicationState.DRAFT and found.speaks:
        return redirect("application_edit", pk)
    return page(request, "bursar/grants/application.html", _shown(request, found))


def _shown(request: HttpRequest, found: Details) -> dict[str, Any]:
    row = found.application
    judged = [part for part in found.parts if part.giver_id in found.judges]
    is_open = row.state == ApplicationState.SUBMITTED
    return {
        "details": found,
        "application": row,
        "revision": found.revision,
        "is_open": is_open,
        "judged": [(part, [n for n in found.lines if n.amount.giver_id == part.giver_id]) for part in judged],
        "is_own": row.applicant_id == viewer_of(request).pk,
        "running": [g for g in found.granted if g.allocation.closed_at is None and g.allocation.end > at_of(request)],
        "rows": _side_by_side(found),
        "answers": _answers(found),
    }


def _answers(found: Details) -> list[tuple[str, list[tuple[str, Any]]]]:
    names = {attachment.pk: attachment.name for attachment in found.attachments}
    shown = []
    for answer in found.revision.answers.all():
        values = []
        for field in answer.template.fields:
            value = answer.values.get(field["key"], "")
            if field["type"] == "yes_no" and value != "":
                value = _("Yes") if value else _("No")
            elif field["type"] == "file":
                value = names.get(value, "")
            values.append((field["title"], value))
        shown.append((str(answer.template.giver), values))
    return shown


def _side_by_side(found: Details) -> list[dict[str, Any]]:
    """The amounts of the last revisions beside one another; a cell knows whether it differs from the one before."""
    revisions = found.revisions[-4:]
    keys: dict[tuple[int, int], Any] = {}
    for revision in revisions:
        for amount in revision.amounts.all():
            keys.setdefault((amount.giver_id, amount.category_id), amount)
    table = []
    for key, named in keys.items():
        cells, before, is_first = [], None, True
        for revision in revisions:
            ticks = next((a.ticks for a in revision.amounts.all() if (a.giver_id, a.category_id) == key), None)
            cells.append({"ticks": ticks, "is_new": not is_first and ticks != before})
            before, is_first = ticks, False
        table.append({"giver": named.giver, "category": named.category, "cells": cells})
    return table


def _part(request: HttpRequest, pk: int, giver: int) -> tuple[Details, Workspace]:
    """raises   ApplicationNotFound; 404 for a giver that it does not concern; NotAllowed"""
    found = selectors.details(pk, viewer_of(request), at_of(request))
    part = next((one for one in found.parts if one.giver_id == giver), None)
    if part is None:
        raise Http404
    require(viewer_of(request), Permission.JUDGE_GRANTS, part.giver, at_of(request))
    return found, part.giver


@require_POST
@refusals_as_messages(_to_application)
def part_approve(request: HttpRequest, pk: int, giver: int) -> HttpResponse:
    _found, workspace = _part(request, pk, giver)
    row = services.approve_part(
        application_id=pk,
        giver=workspace,
        revision=_revision(request),
        reason=request.POST.get("reason", ""),
        by=viewer_of(request),
        at=at_of(request),
    )
    awarded = row.state == ApplicationState.APPROVED
    messages.success(request, _("Approved and awarded.") if awarded else _("Approved; others are still awaited."))
    return redirect("application", pk)


@require_POST
@refusals_as_messages(_to_application)
def part_reject(request: HttpRequest, pk: int, giver: int) -> HttpResponse:
    _found, workspace = _part(request, pk, giver)
    services.reject_part(
        application_id=pk,
        giver=workspace,
        revision=_revision(request),
        reason=request.POST.get("reason", ""),
        by=viewer_of(request),
        at=at_of(request),
    )
    messages.success(request, _("Rejected."))
    return redirect("application", pk)


def part_change(request: HttpRequest, pk: int, giver: int) -> HttpResponse:
    found, workspace = _part(request, pk, giver)
    asked = {a.category_id: a for a in found.revision.amounts.all() if a.giver_id == giver}
    offered = offers_of([workspace], at_of(request)).get(giver, [])
    amounts = [(a.category, a.ticks) for a in asked.values()]
    amounts += [(offer.category, 0) for offer in offered if offer.category.pk not in asked]
    form = ChangeForm(request.POST or None, amounts=amounts)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"nothing_asked": "comment"}):
            row = services.change_amounts(
                application_id=pk,
                giver=workspace,
                revision=_revision(request),
                amounts=form.amounts(),
                comment=form.cleaned_data["comment"],
                by=viewer_of(request),
                at=at_of(request),
            )
            waits = _("The amounts were changed. The applicant is asked to agree.")
            messages.success(request, waits if row.agreement_awaited else _("The amounts were changed."))
            return redirect("application", pk)
    context = {"details": found, "application": found.application, "giver": workspace, "what": "change"}
    return page(request, "bursar/grants/part.html", context, form=form)


def part_hand_over(request: HttpRequest, pk: int, giver: int) -> HttpResponse:
    found, workspace = _part(request, pk, giver)
    row = found.application
    possible = selectors.givers_for(row.applicant, row.workspace, at_of(request))
    givers = [one.workspace for one in possible if one.workspace.pk != giver]
    form = HandOverForm(request.POST or None, givers=givers)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.hand_over(
                application_id=pk,
                giver=workspace,
                to=next(one for one in givers if str(one.pk) == form.cleaned_data["to"]),
                revision=_revision(request),
                message=form.cleaned_data["message"],
                by=viewer_of(request),
                at=at_of(request),
            )
            messages.success(request, _("The part was handed over."))
            return redirect("grant_queue")
    context = {"details": found, "application": row, "giver": workspace, "what": "hand_over"}
    return page(request, "bursar/grants/part.html", context, form=form)


@require_POST
@refusals_as_messages(_to_application)
def part_revoke(request: HttpRequest, pk: int, giver: int) -> HttpResponse:
    _found, workspace = _part(request, pk, giver)
    services.revoke_grant(
        application_id=pk,
        giver=workspace,
        reason=request.POST.get("reason", ""),
        by=viewer_of(request),
        at=at_of(request),
    )
    messages.success(request, _("What was granted is taken back."))
    return redirect("application", pk)


@require_POST
@refusals_as_messages(_to_application)
def application_comment(request: HttpRequest, pk: int) -> HttpResponse:
    services.comment_application(
        application_id=pk,
        text=request.POST.get("text", ""),
        is_internal=request.POST.get("is_internal") == "on",
        by=viewer_of(request),
        at=at_of(request),
    )
    return redirect(reverse("application", args=[pk]) + "#comments")


@require_POST
@refusals_as_messages("/applications/")
def grant_comment_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    row = services.withdraw_comment(comment_id=pk, by=viewer_of(request), at=at_of(request))
    return redirect(reverse("application", args=[row.application_id]) + "#comments")


# ------------------------------------------------------------------------------------------------ givers
def grant_givers(request: HttpRequest) -> HttpResponse:
    """The organizations and projects for which the viewer may set how they give."""
    viewer, at = viewer_of(request), at_of(request)
    rows = (
        workspaces_where(viewer, Permission.MANAGE_GRANTS, at)
        .filter(person=None)
        .exclude(project__archived_at__isnull=False)
        .exclude(organization__archived_at__isnull=False)
        .select_related("project__organization", "organization", "giver_settings__logo")
        .order_by("organization__name", "project__name", "pk")
    )
    listing = Listing(
        request,
        rows,
        label=gettext_lazy("Giving grants"),
        search=("organization__name__icontains", "project__name__icontains"),
        columns={
            "giver": Column(gettext_lazy("Giver")),
            "open": Column(gettext_lazy("Takes applications")),
            "changed": Column(gettext_lazy("Changed")),
        },
    )
    return page(request, "bursar/grants/givers.html", {"listing": listing})


def _managed(request: HttpRequest, pk: int, permission: Permission = Permission.MANAGE_GRANTS) -> Workspace:
    return selectors.giver_seen(pk, viewer_of(request), at_of(request), permission)


def grant_settings(request: HttpRequest, pk: int) -> HttpResponse:
    workspace = _managed(request, pk, Permission.VIEW_GRANTS)
    row = selectors.settings_of(workspace)
    may_set = may(viewer_of(request), Permission.MANAGE_GRANTS, workspace, at_of(request))
    initial = {
        "is_open": row is not None and row.is_open,
        "description": "" if row is None else row.description,
        "promise_percent": 100 if row is None else row.promise_percent,
        "allow": written_lines(row, "allow"),
        "never": written_lines(row, "never"),
    }
    form = GiverForm(request.POST or None, initial=initial)
    if request.method == "POST":
        require(viewer_of(request), Permission.MANAGE_GRANTS, workspace, at_of(request))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"invalid_criterion": "allow"}):
            services.set_giver(
                workspace=workspace,
                is_open=form.cleaned_data["is_open"],
                description=form.cleaned_data["description"],
                promise_percent=form.cleaned_data["promise_percent"],
                lines=form.lines(),
                by=viewer_of(request),
                at=at_of(request),
            )
            messages.success(request, _("Saved."))
            return redirect("grant_settings", pk)
    forms_now = {r: selectors.forms_of([workspace.pk], r).get(workspace.pk) for r in Recipient.values}
    context = {
        "giver": workspace,
        "settings_row": row,
        "may_set": may_set,
        "logo_kinds": images.POSSIBLE,
        "logo_kib": images.SIZE_MAX_KIB,
        "kinds": [(value, label, forms_now[value]) for value, label in Recipient.choices],
        "rules": [] if row is None else [(rule, rule_in_words(rule)) for rule in row.automatic_rules.all()],
        "gifts": Gift.objects.filter(workspace=workspace).prefetch_related("amounts__category").order_by("-pk")[:50],
        "offers": offers_of([workspace], at_of(request)).get(workspace.pk, []),
    }
    return page(request, "bursar/grants/settings.html", context, form=form)


def grant_logo(request: HttpRequest, pk: int) -> HttpResponse:
    """A giver's logo, shown inline: it was written anew from the parts that draw."""
    row = selectors.logo_seen(pk, viewer_of(request), at_of(request))
    return HttpResponse(bytes(row.content.data), content_type=row.content_type, headers=images.HEADERS)


def _to_settings(pk: int) -> str:
    return reverse("grant_settings", args=[pk])


@require_POST
@refusals_as_messages(_to_settings)
def grant_logo_set(request: HttpRequest, pk: int) -> HttpResponse:
    workspace = _managed(request, pk)
    sent = request.FILES.get("file")
    if sent is None:
        messages.error(request, _("Choose a file."))
        return redirect("grant_settings", pk)
    if (sent.size or 0) > images.SIZE_MAX_KIB * 1024:  # before it is read into memory
        raise FileTooLarge(limit=f"{images.SIZE_MAX_KIB} KiB")
    services.set_logo(workspace=workspace, data=sent.read(), by=viewer_of(request), at=at_of(request))
    messages.success(request, _("The logo was set."))
    return redirect("grant_settings", pk)


@require_POST
def grant_logo_remove(request: HttpRequest, pk: int) -> HttpResponse:
    services.remove_logo(workspace=_managed(request, pk), by=viewer_of(request), at=at_of(request))
    messages.success(request, _("The logo was removed."))
    return redirect("grant_settings", pk)


def grant_form(request: HttpRequest, pk: int, recipient: str) -> HttpResponse:
    if recipient not in Recipient.values:
        raise Http404
    workspace = _managed(request, pk)
    newest = selectors.forms_of([workspace.pk], recipient).get(workspace.pk)
    initial = [] if newest is None else [question_initial(field) for field in newest.fields]
    formset = QuestionFormSet(request.POST or None, initial=initial, prefix="q")
    refused = False
    if request.method == "POST":
        if formset.is_valid():
            taken: set[str] = set()
            fields = [field for one in formset if (field := one.field(taken)) is not None]
            try:
                row = services.set_form(
                    workspace=workspace,
                    recipient=Recipient(recipient),
                    fields=fields,
                    by=viewer_of(request),
                    at=at_of(request),
                )
                messages.success(request, _("The form is in force as version {n}.").format(n=row.version))
                return redirect("grant_settings", pk)
            except DomainError as refusal:
                if refusal.kind != Kind.INVALID:
                    raise
                messages.error(request, str(refusal))
        refused = True
    context = {"giver": workspace, "formset": formset, "newest": newest, "kind": Recipient(recipient).label}
    answer = page(request, "bursar/grants/form.html", context)
    answer.status_code = 422 if refused else 200
    return answer


def _kept_rules(workspace: Workspace) -> list[services.Rule]:
    row = selectors.settings_of(workspace)
    return [] if row is None else [rule_of(rule) for rule in row.automatic_rules.all()]


def grant_rule_add(request: HttpRequest, pk: int) -> HttpResponse:
    """A rule of automatic approval: tried on past applications first, then kept."""
    workspace = _managed(request, pk)
    categories = [offer.category for offer in offers_of([workspace], at_of(request)).get(workspace.pk, [])]
    form = RuleForm(request.POST or None, categories=categories)
    tried: list[Any] | None = None
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        rule = services.Rule(tuple(data["recipients"]), form.limits(), data["keeps_percent"], data["enabled"])
        if request.POST.get("go") == "try":
            tried = selectors.try_rule(rule, workspace, at_of(request))
        else:
            with refusals_in(form):
                services.set_rules(
                    workspace=workspace,
                    rules=[*_kept_rules(workspace), rule],
                    by=viewer_of(request),
                    at=at_of(request),
                )
                messages.success(request, _("The rule was added."))
                return redirect("grant_settings", pk)
    context = {"giver": workspace, "tried": tried, "fitting": sum(one.fits for one in tried or ())}
    return page(request, "bursar/grants/rule.html", context, form=form)


@require_POST
def grant_rule_step(request: HttpRequest, pk: int) -> HttpResponse:
    """Switch a rule on or off, or take it away; the rule is named by its place."""
    workspace = _managed(request, pk)
    rules = _kept_rules(workspace)
    place, step = request.POST.get("place", ""), request.POST.get("step", "")
    if place.isdecimal() and len(place) < 4 and int(place) < len(rules):
        old = rules.pop(int(place))
        if step in {"on", "off"}:
            changed = services.Rule(old.recipients, old.limits, old.keeps_percent, step == "on")
            rules.insert(int(place), changed)
        services.set_rules(workspace=workspace, rules=rules, by=viewer_of(request), at=at_of(request))
    return redirect("grant_settings", pk)


def grant_gift_offer(request: HttpRequest, pk: int) -> HttpResponse:
    workspace = _managed(request, pk)
    categories = [offer.category for offer in offers_of([workspace], at_of(request)).get(workspace.pk, [])]
    form = GiftForm(request.POST or None, categories=categories)
    if request.method == "POST" and form.is_valid():
        start, end = form.period()
        with refusals_in(form):
            services.offer_gift(
                workspace=workspace,
                title=form.cleaned_data["title"],
                description=form.cleaned_data["description"],
                amounts=form.amounts(),
                start=start,
                end=end,
                every_months=form.cleaned_data["every_months"],
                claims_max=form.cleaned_data["claims_max"],
                at_login=form.cleaned_data["at_login"],
                lines=form.lines(),
                by=viewer_of(request),
                at=at_of(request),
            )
            messages.success(request, _("The gift is offered."))
            return redirect("grant_settings", pk)
    return page(request, "bursar/grants/gift.html", {"giver": workspace}, form=form)


@require_POST
def grant_gift_close(request: HttpRequest, pk: int) -> HttpResponse:
    gift = selectors.gift_seen(pk, viewer_of(request), at_of(request))
    services.close_gift(gift_id=pk, by=viewer_of(request), at=at_of(request))
    return redirect("grant_settings", gift.workspace_id)


@require_POST
def grant_gift_at_login(request: HttpRequest, pk: int) -> HttpResponse:
    gift = selectors.gift_seen(pk, viewer_of(request), at_of(request))
    on = request.POST.get("step") == "on"
    services.set_gift_at_login(gift_id=pk, at_login=on, by=viewer_of(request), at=at_of(request))
    return redirect("grant_settings", gift.workspace_id)


@require_POST
@refusals_as_messages("/applications/")
def grant_gift_claim(request: HttpRequest, pk: int) -> HttpResponse:
    services.claim_gift(gift_id=pk, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("It is yours: it stands in your personal workspace."))
    return redirect("applications")


def grant_notices(request: HttpRequest) -> HttpResponse:
    """Of which steps the viewer is told, and how."""
    if request.method == "POST":
        services.set_notices(
            by_mail=request.POST.getlist("mail"),
            in_pages=request.POST.getlist("page"),
            by=viewer_of(request),
            at=at_of(request),
        )
        messages.success(request, _("Saved."))
        return redirect("grant_notices")
    unwanted = selectors.unwanted_notices(viewer_of(request))
    kinds = [
        (kind, title, (kind, "page") not in unwanted, (kind, "mail") not in unwanted) for kind, title in KINDS.items()
    ]
    return page(request, "bursar/grants/notice_choices.html", {"kinds": kinds})


def notices(request: HttpRequest) -> HttpResponse:
    """What the viewer was told of: unread first."""
    listing = Listing(
        request,
        selectors.notices(viewer_of(request), at_of(request)),
        label=gettext_lazy("Notices"),
        columns={
            "what": Column(gettext_lazy("What happened")),
            "when": Column(gettext_lazy("When")),
            "read": Column(gettext_lazy("Mark as read"), hidden=True),
        },
        filters=(
            Filter(
                "show",
                gettext_lazy("Read and unread"),
                [("unread", gettext_lazy("Unread")), ("read", gettext_lazy("Read"))],
                lambda rows, value: rows.filter(read_at__isnull=value == "unread"),
            ),
        ),
    )
    rows = [
        {
            "notice": row,
            "subject": selectors.subject_of(row),
            "line": LINES.get(row.kind, ""),
            "url": reverse("application", args=[row.application_id]) if row.application_id else reverse("applications"),
        }
        for row in listing.rows
    ]
    return page(request, "bursar/grants/notices.html", {"listing": listing, "told": rows})


@require_POST
def notice_read(request: HttpRequest, pk: int) -> HttpResponse:
    services.read_notice(notice_id=pk, by=viewer_of(request), at=at_of(request))
    return back(request, reverse("notices"))


@require_POST
def notices_read(request: HttpRequest) -> HttpResponse:
    services.read_notices(by=viewer_of(request), at=at_of(request))
    messages.success(request, _("All are marked as read."))
    return back(request, reverse("notices"))


# ------------------------------------------------------------------------------------------------ home
@register("grants_to_judge", order=12)
def judge_panel(viewer: Viewer) -> Panel | None:
    if viewer.person is None or Permission.JUDGE_GRANTS not in viewer.permissions:
        return None
    rows = selectors.queue(viewer.person, viewer.at, Filters(part_state="pending", state="submitted"))
    found = list(rows[:8])
    if not found:
        return None
    address = reverse("grant_queue") + "?part=pending&state=submitted"
    return Panel(
        _("Applications to judge"), "bursar/grants/_panel.html", icon="inbox", data=found, url=address, count=len(found)
    )


@register("grants_to_agree", order=11)
def agree_panel(viewer: Viewer) -> Panel | None:
    if viewer.person is None:
        return None
    rows = selectors.applications(viewer.person, viewer.at, Filters()).filter(agreement_awaited=True)
    found = list(rows[:8])
    if not found:
        return None
    return Panel(
        _("Changed amounts await your agreement"),
        "bursar/grants/_panel.html",
        icon="file-text",
        data=found,
        url=reverse("applications"),
        count=len(found),
    )


urlpatterns = [
    path("notices/", notices, name="notices"),
    path("notices/read/", notices_read, name="notices_read"),
    path("notices/<int:pk>/read/", notice_read, name="notice_read"),
    path("applications/", applications, name="applications"),
    path("applications/new/", application_new, name="application_new"),
    path("applications/notices/", grant_notices, name="grant_notices"),
    path("applications/<int:pk>/", application, name="application"),
    path("applications/<int:pk>/edit/", application_edit, name="application_edit"),
    path("applications/<int:pk>/submit/", application_submit, name="application_submit"),
    path("applications/<int:pk>/withdraw/", application_withdraw, name="application_withdraw"),
    path("applications/<int:pk>/agree/", application_agree, name="application_agree"),
    path("applications/<int:pk>/files/", application_attach, name="application_attach"),
    path("applications/<int:pk>/comments/", application_comment, name="application_comment"),
    path("applications/<int:pk>/parts/<int:giver>/approve/", part_approve, name="part_approve"),
    path("applications/<int:pk>/parts/<int:giver>/reject/", part_reject, name="part_reject"),
    path("applications/<int:pk>/parts/<int:giver>/change/", part_change, name="part_change"),
    path("applications/<int:pk>/parts/<int:giver>/hand-over/", part_hand_over, name="part_hand_over"),
    path("applications/<int:pk>/parts/<int:giver>/revoke/", part_revoke, name="part_revoke"),
    path("application-comments/<int:pk>/withdraw/", grant_comment_withdraw, name="grant_comment_withdraw"),
    path("application-files/<int:pk>/", grant_file, name="grant_file"),
    path("application-files/<int:pk>/remove/", grant_file_remove, name="grant_file_remove"),
    path("grants/queue/", grant_queue, name="grant_queue"),
    path("grants/queue/export/", grant_export, name="grant_export"),
    path("grants/givers/", grant_givers, name="grant_givers"),
    path("grants/givers/<int:pk>/", grant_settings, name="grant_settings"),
    path("grants/givers/<int:pk>/logo/", grant_logo, name="grant_logo"),
    path("grants/givers/<int:pk>/logo/set/", grant_logo_set, name="grant_logo_set"),
    path("grants/givers/<int:pk>/logo/remove/", grant_logo_remove, name="grant_logo_remove"),
    path("grants/givers/<int:pk>/forms/<slug:recipient>/", grant_form, name="grant_form"),
    path("grants/givers/<int:pk>/rules/", grant_rule_add, name="grant_rule_add"),
    path("grants/givers/<int:pk>/rules/step/", grant_rule_step, name="grant_rule_step"),
    path("grants/givers/<int:pk>/gifts/", grant_gift_offer, name="grant_gift_offer"),
    path("grants/gifts/<int:pk>/close/", grant_gift_close, name="grant_gift_close"),
    path("grants/gifts/<int:pk>/at-login/", grant_gift_at_login, name="grant_gift_at_login"),
    path("grants/gifts/<int:pk>/claim/", grant_gift_claim, name="grant_gift_claim"),
    path("projects/<int:pk>/applications/", project_applications, name="project_applications"),
]
