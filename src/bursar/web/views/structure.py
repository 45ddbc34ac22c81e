"""Organizations, projects, members and invitations."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from bursar.kernel.errors import DomainError
from bursar.kernel.refusals import words
from bursar.structure import selectors, services
from bursar.structure.errors import NotFound
from bursar.structure.lifecycle import InvitationState, ProjectState
from bursar.structure.login import INVITATION_IN_SESSION
from bursar.structure.models import Invitation, Membership, Organization, Person, Project
from bursar.structure.roles import PROJECT_ROLES, Permission, Role, organizations_where, require, roles_to_give
from bursar.structure.services.memberships import require_to_give
from bursar.web.forms import refusals_in
from bursar.web.happenings import told
from bursar.web.http import back, page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.panels import Panel, register
from bursar.web.structure_forms import (
    EndProjectForm,
    HandOverForm,
    InvitationForm,
    MembershipForm,
    NewOrganizationForm,
    NewProjectForm,
    OrganizationForm,
    ProjectForm,
    after,
    last_day,
)
from bursar.web.tabs import cards_of, scope_page
from bursar.web.viewer import Viewer


def viewer_of(request: HttpRequest) -> Person:
    person = request.viewer.person  # type: ignore[attr-defined]
    assert person is not None
    return person  # type: ignore[no-any-return]


def at_of(request: HttpRequest) -> Any:
    return request.at  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------ organizations
def organizations(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    listing = Listing(
        request,
        selectors.organizations_seen(viewer, at),
        label=gettext_lazy("Organizations"),
        sort="name",
        search=("name__icontains", "slug__icontains"),
        columns={
            "name": Column(gettext_lazy("Name"), sort="name"),
            "country": Column(gettext_lazy("Country"), sort="country"),
            "projects": Column(gettext_lazy("Projects"), sort="project_count", classes="num"),
            "members": Column(gettext_lazy("Members"), sort="member_count", classes="num"),
        },
        filters=(
            Filter(
                "state",
                gettext_lazy("Any state"),
                [("active", gettext_lazy("Active")), ("archived", gettext_lazy("Archived"))],
                lambda rows, value: rows.filter(archived_at__isnull=value == "active"),
            ),
        ),
    )
    return page(request, "bursar/structure/organizations.html", {"listing": listing})


def organization(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.organization_seen(pk, viewer_of(request), at_of(request))
    context = scope_page(request, row, "overview")
    context["cards"] = cards_of(request.viewer, row)  # type: ignore[attr-defined]
    members = selectors.members_of(row, viewer_of(request), at_of(request))
    context["owners"] = [m for m in members if m.role == Role.ORGANIZATION_OWNER]
    context["provider"] = getattr(row, "provider", None)
    return page(request, "bursar/structure/organization.html", context)


def organization_create(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    require(viewer, Permission.OPERATE_PLATFORM, None, at)
    form = NewOrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form, {"invalid_email": "owner_email"}):
            row = services.create_organization(by=viewer, at=at, **form.cleaned_data)
            messages.success(request, _("{name} stands.").format(name=row))
            return redirect("organization", row.pk)
    return page(request, "bursar/structure/organization_form.html", {}, form=form)


def organization_edit(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.organization_seen(pk, viewer, at)
    require(viewer, Permission.EDIT_ORGANIZATION, row, at)
    form = OrganizationForm(request.POST or None, organization=row)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_organization(organization=row, by=viewer, at=at, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("organization", row.pk)
    return page(request, "bursar/structure/organization_form.html", scope_page(request, row, "overview"), form=form)


def _to_organization(pk: int) -> str:
    return reverse("organization", args=[pk])


@require_POST
@refusals_as_messages(to=_to_organization)
def organization_archive(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.organization_seen(pk, viewer_of(request), at_of(request))
    services.archive_organization(organization=row, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("{name} is archived.").format(name=row))
    return redirect("organization", pk)


@require_POST
@refusals_as_messages(to=_to_organization)
def organization_unarchive(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.organization_seen(pk, viewer_of(request), at_of(request))
    services.unarchive_organization(organization=row, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("{name} is back.").format(name=row))
    return redirect("organization", pk)


def organization_projects(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.organization_seen(pk, viewer, at)
    rows = selectors.projects_seen(viewer, at).filter(organization=row)
    context = scope_page(request, row, "projects")
    context["listing"] = _project_listing(request, rows, with_organization=False)
    return page(request, "bursar/structure/organization_projects.html", context)


# ------------------------------------------------------------------------------------------------ projects
def _project_listing(request: HttpRequest, rows: Any, *, with_organization: bool) -> Listing:
    at = at_of(request)
    columns = {"name": Column(gettext_lazy("Name"), sort="name")}
    if with_organization:
        columns["organization"] = Column(gettext_lazy("Organization"), sort=("organization__name", "name"))
    columns |= {
        "investigator": Column(gettext_lazy("Principal investigator"), sort="investigator"),
        "members": Column(gettext_lazy("Members"), sort="member_count", classes="num"),
        "end": Column(gettext_lazy("Until"), sort="end"),
        "state": Column(gettext_lazy("State")),
    }
    listing = Listing(
        request,
        rows,
        label=gettext_lazy("Projects"),
        sort="name",
        search=("name__icontains", "slug__icontains", "organization__name__icontains", "field_of_science__icontains"),
        columns=columns,
        filters=(
            Filter(
                "state",
                gettext_lazy("Any state"),
                [(state.value, state.title.capitalize()) for state in ProjectState],
                lambda found, value: selectors.with_state(found, value, at),
            ),
        ),
    )
    for row in listing.rows:
        row.shown_state = row.state(at)
    return listing


def projects(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    listing = _project_listing(request, selectors.projects_seen(viewer, at), with_organization=True)
    creatable = organizations_where(viewer, Permission.CREATE_PROJECT, at).filter(archived_at=None)
    return page(request, "bursar/structure/projects.html", {"listing": listing, "may_create": creatable.exists()})


def project(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.project_seen(pk, viewer, at)
    context = scope_page(request, row, "overview")
    context["cards"] = cards_of(request.viewer, row)  # type: ignore[attr-defined]
    members = list(selectors.members_of(row, viewer, at))
    context["investigator"] = next((m.person for m in members if m.role == Role.PRINCIPAL_INVESTIGATOR), None)
    context["members"] = members[:8]
    context["member_count"] = len(members)
    context["mine"] = next((m for m in members if m.person_id == viewer.pk), None)
    below = selectors.projects_seen(viewer, at).filter(parent=row).order_by("name", "pk")
    context["below"] = [(child, child.state(at)) for child in below]
    return page(request, "bursar/structure/project.html", _with_path(context, row, viewer, at))


def _with_path(context: dict[str, Any], row: Project, viewer: Person, at: Any) -> dict[str, Any]:
    """The way down to the project, for the crumbs; only what the viewer may see."""
    context["above"] = selectors.path_above(row, viewer, at)
    context["sees_organization"] = (
        organizations_where(viewer, Permission.VIEW_ORGANIZATION, at).filter(pk=row.organization_id).exists()
    )
    return context


def project_new(request: HttpRequest) -> HttpResponse:
    """Choose the organization first, unless there is only one."""
    found = list(
        organizations_where(viewer_of(request), Permission.CREATE_PROJECT, at_of(request)).filter(archived_at=None)
    )
    if len(found) == 1:
        return redirect("project_create", found[0].pk)
    return page(request, "bursar/structure/project_new.html", {"organizations": found})


def project_create(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.organization_seen(pk, viewer, at)
    require(viewer, Permission.CREATE_PROJECT, row, at)
    return _create(request, row, None, scope_page(request, row, "projects"))


def subproject_create(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.project_seen(pk, viewer, at)
    require(viewer, Permission.CREATE_SUBPROJECT, row, at)
    context = _with_path(scope_page(request, row, "overview"), row, viewer, at)
    return _create(request, row.organization, row, context)


def _create(
    request: HttpRequest, organization: Organization, parent: Project | None, context: dict[str, Any]
) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    initial: dict[str, Any] = {"principal_investigator": viewer.email, "start": at.date()}
    if parent is not None and parent.end is not None:
        initial["end"] = last_day(parent.end)
    form = NewProjectForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        values = form.values()
        email = values.pop("principal_investigator")
        known = Person.objects.filter(email__iexact=email, is_active=True).first()
        if parent is not None and values["start"] < parent.start and at.date() == form.cleaned_data["start"]:
            values["start"] = parent.start  # the same day, begun earlier than the project above
        if parent is not None and values["end"] == after(last_day(parent.end)):
            values["end"] = parent.end
        with refusals_in(form):
            row = services.create_project(
                organization=organization,
                parent=parent,
                principal_investigator=known or viewer,
                by=viewer,
                at=at,
                **values,
            )
            messages.success(request, _("{name} stands.").format(name=row))
            if known is None:
                _invite_investigator(request, row, email)
            return redirect("project", row.pk)
    return page(request, "bursar/structure/project_form.html", {**context, "parent": parent}, form=form)


def _invite_investigator(request: HttpRequest, row: Project, email: str) -> None:
    try:
        services.invite(
            email=email, role=Role.PRINCIPAL_INVESTIGATOR, scope=row, by=viewer_of(request), at=at_of(request)
        )
        messages.info(request, _("{email} is invited to take it over; until then you lead it.").format(email=email))
    except DomainError as refusal:
        messages.warning(request, words(refusal, _))


def project_edit(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.project_seen(pk, viewer, at)
    require(viewer, Permission.EDIT_PROJECT, row, at)
    form = ProjectForm(request.POST or None, project=row)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_project(project=row, by=viewer, at=at, **form.values())
            messages.success(request, _("Saved."))
            return redirect("project", row.pk)
    context = _with_path(scope_page(request, row, "overview"), row, viewer, at)
    return page(request, "bursar/structure/project_form.html", context, form=form)


def project_end(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.project_seen(pk, viewer, at)
    require(viewer, Permission.EDIT_PROJECT, row, at)
    form = EndProjectForm(request.POST or None, initial={"end": at.date()})
    if request.method == "POST":
        now = "now" in request.POST
        if now or form.is_valid():
            with refusals_in(form):
                end = at if now else after(form.cleaned_data["end"])
                assert end is not None
                services.end_project(project=row, end=end, by=viewer, at=at)
                messages.success(request, _("The end of {name} is set.").format(name=row))
                return redirect("project", row.pk)
    context = _with_path(scope_page(request, row, "overview"), row, viewer, at)
    return page(request, "bursar/structure/project_end.html", context, form=form)


def _to_project(pk: int) -> str:
    return reverse("project", args=[pk])


@require_POST
@refusals_as_messages(to=_to_project)
def project_archive(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.project_seen(pk, viewer_of(request), at_of(request))
    services.archive_project(project=row, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("{name} is archived.").format(name=row))
    return redirect("project", pk)


@require_POST
@refusals_as_messages(to=_to_project)
def project_unarchive(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.project_seen(pk, viewer_of(request), at_of(request))
    services.unarchive_project(project=row, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("{name} is back.").format(name=row))
    return redirect("project", pk)


def project_hand_over(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.project_seen(pk, viewer, at)
    require_to_give(viewer, Role.PRINCIPAL_INVESTIGATOR, row, at)
    held = Membership.objects.held_at(at).filter(project=row)
    members = (
        Person.objects.filter(is_active=True, pk__in=held.values("person_id"))
        .exclude(pk__in=held.filter(role=Role.PRINCIPAL_INVESTIGATOR).values("person_id"))
        .order_by("full_name", "pk")
    )
    form = HandOverForm(request.POST or None, members=members)
    if request.method == "POST" and form.is_valid():
        former = form.cleaned_data["former_role"]
        with refusals_in(form):
            services.hand_over_project(
                project=row, to=form.cleaned_data["to"], former_role=Role(former) if former else None, by=viewer, at=at
            )
            messages.success(
                request, _("{person} now leads {project}.").format(person=form.cleaned_data["to"], project=row)
            )
            return redirect("project_members", row.pk)
    context = _with_path(scope_page(request, row, "members"), row, viewer, at)
    return page(request, "bursar/structure/project_hand_over.html", context, form=form)


# ------------------------------------------------------------------------------------------------ members
def project_members(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.project_seen(pk, viewer, at)
    context = _with_path(scope_page(request, row, "members"), row, viewer, at)
    return _members(request, row, context, "bursar/structure/project_members.html")


def organization_members(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.organization_seen(pk, viewer_of(request), at_of(request))
    return _members(request, row, scope_page(request, row, "members"), "bursar/structure/organization_members.html")


def _members(
    request: HttpRequest, scope: Project | Organization, context: dict[str, Any], template: str
) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    giving = roles_to_give(viewer, scope, at)
    roles = [role for role in Role if (role in PROJECT_ROLES) == isinstance(scope, Project)]
    members = Listing(
        request,
        selectors.members_of(scope, viewer, at),
        label=gettext_lazy("Members"),
        sort="name",
        search=("person__full_name__icontains", "person__email__icontains"),
        columns={
            "name": Column(gettext_lazy("Name"), sort="person__full_name"),
            "role": Column(gettext_lazy("Role"), sort="role"),
            "start": Column(gettext_lazy("Since"), sort="start"),
            "until": Column(gettext_lazy("Until"), sort="until"),
            "actions": Column(gettext_lazy("Actions"), hidden=True),
        },
        filters=(
            Filter("role", gettext_lazy("Any role"), [(role.value, role.title) for role in roles if role], "role"),
        ),
        id="members",
    )
    for member in members.rows:
        member.is_investigator = member.role == Role.PRINCIPAL_INVESTIGATOR
        member.may_change = Role(member.role) in giving and not member.is_investigator
        member.may_leave = member.person_id == viewer.pk and not member.is_investigator
    invitations = None
    if giving:
        invitations = Listing(
            request,
            selectors.invitations_of(scope, viewer, at),
            label=gettext_lazy("Invitations"),
            prefix="i-",
            search=("email__icontains",),
            columns={
                "email": Column(gettext_lazy("Sent to"), sort="email"),
                "role": Column(gettext_lazy("Role"), sort="role"),
                "by": Column(gettext_lazy("By")),
                "sent": Column(gettext_lazy("Sent"), sort="sent_at"),
                "state": Column(gettext_lazy("State")),
                "actions": Column(gettext_lazy("Actions"), hidden=True),
            },
            filters=(
                Filter(
                    "state",
                    gettext_lazy("Any state"),
                    [(state.value, state.title.capitalize()) for state in InvitationState],
                    lambda found, value: selectors.with_invitation_state(found, value, at),
                ),
            ),
            id="invitations",
        )
        for row in invitations.rows:
            row.shown_state = row.state(at)
            waiting = row.shown_state in {InvitationState.OPEN, InvitationState.EXPIRED}
            row.may_change = waiting and Role(row.role) in giving
    context |= {
        "listing": members,
        "invitations": invitations,
        "may_invite": bool(giving),
        "may_hand_over": Role.PRINCIPAL_INVESTIGATOR in giving,
    }
    return page(request, template, context)


def project_invite(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.project_seen(pk, viewer, at)
    require(viewer, Permission.MANAGE_PROJECT_MEMBERS, row, at)
    context = _with_path(scope_page(request, row, "members"), row, viewer, at)
    return _invite(request, row, context, "project_members", "bursar/structure/project_invite.html")


def organization_invite(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.organization_seen(pk, viewer, at)
    require(viewer, Permission.MANAGE_ORGANIZATION_MEMBERS, row, at)
    context = scope_page(request, row, "members")
    return _invite(request, row, context, "organization_members", "bursar/structure/organization_invite.html")


def _invite(
    request: HttpRequest, scope: Project | Organization, context: dict[str, Any], done: str, template: str
) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    form = InvitationForm(request.POST or None, roles=roles_to_give(viewer, scope, at))
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        with refusals_in(form):
            services.invite(
                email=values["email"],
                role=Role(values["role"]),
                scope=scope,
                member_until=after(values["member_until"]),
                message=values["message"],
                by=viewer,
                at=at,
            )
            messages.success(request, _("An invitation is on its way to {email}.").format(email=values["email"]))
            return redirect(done, scope.pk)
    return page(request, template, context, form=form)


def membership_edit(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.membership_seen(pk, viewer, at)
    scope = row.project or row.organization
    giving = roles_to_give(viewer, scope, at)
    if Role(row.role) not in giving or row.role == Role.PRINCIPAL_INVESTIGATOR:
        raise NotFound(noun="membership")
    form = MembershipForm(
        request.POST or None,
        roles=giving - {Role.PRINCIPAL_INVESTIGATOR},
        initial={"role": row.role, "until": last_day(row.until)},
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            until = after(form.cleaned_data["until"]) if "until" in form.changed_data else row.until
            services.change_membership(
                membership=row, role=Role(form.cleaned_data["role"]), until=until, by=viewer, at=at
            )
            messages.success(request, _("Saved."))
            return redirect(_members_page(scope))
    return page(
        request,
        "bursar/structure/membership_form.html",
        {"membership": row, "scope": scope, "to": _members_page(scope)},
        form=form,
    )


def _members_page(scope: Project | Organization | None) -> str:
    if isinstance(scope, Project):
        return reverse("project_members", args=[scope.pk])
    if isinstance(scope, Organization):
        return reverse("organization_members", args=[scope.pk])
    return reverse("operator_people")


@require_POST
@refusals_as_messages(to=lambda pk: reverse("memberships"))
def membership_end(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.membership_seen(pk, viewer_of(request), at_of(request))
    services.end_membership(membership=row, by=viewer_of(request), at=at_of(request))
    own = row.person_id == viewer_of(request).pk
    messages.success(request, _("You have left.") if own else _("{person} has left.").format(person=row.person))
    return back(request, reverse("memberships") if own else _members_page(row.project or row.organization))


def memberships(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    listing = Listing(
        request,
        selectors.memberships_of(viewer, at),
        label=gettext_lazy("My memberships"),
        search=("project__name__icontains", "organization__name__icontains"),
        columns={
            "scope": Column(gettext_lazy("Where"), sort=("project__name", "organization__name")),
            "role": Column(gettext_lazy("Role"), sort="role"),
            "start": Column(gettext_lazy("Since"), sort="start"),
            "until": Column(gettext_lazy("Until"), sort="until"),
            "actions": Column(gettext_lazy("Actions"), hidden=True),
        },
    )
    seen = set(organizations_where(viewer, Permission.VIEW_ORGANIZATION, at).values_list("pk", flat=True))
    for row in listing.rows:
        row.may_leave = row.role != Role.PRINCIPAL_INVESTIGATOR
        row.linked = row.project_id is not None or row.organization_id in seen
    context = {"listing": listing, "invitations": selectors.invitations_for(viewer, at)}
    return page(request, "bursar/structure/memberships.html", context)


# ------------------------------------------------------------------------------------------------ invitations
def _to_members_of(pk: int) -> str:
    row = Invitation.objects.select_related("project", "organization").filter(pk=pk).first()
    return reverse("home") if row is None else _members_page(row.project or row.organization)


@require_POST
@refusals_as_messages(to=_to_members_of)
def invitation_resend(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.invitation_seen(pk, viewer_of(request), at_of(request))
    services.resend_invitation(invitation=row, by=viewer_of(request), at=at_of(request))
    messages.success(
        request, _("A new link is on its way to {email}; the old one no longer works.").format(email=row.email)
    )
    return redirect(_to_members_of(pk))


@require_POST
@refusals_as_messages(to=_to_members_of)
def invitation_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.invitation_seen(pk, viewer_of(request), at_of(request))
    services.revoke_invitation(invitation=row, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("The invitation of {email} is revoked.").format(email=row.email))
    return redirect(_to_members_of(pk))


@never_cache
@login_not_required
def invitation_accept(request: HttpRequest, token: str) -> HttpResponse:
    """What the link of an invitation opens: who asks, where to, as what; accept or decline."""
    at = at_of(request)
    row = selectors.invitation_by_token(token)
    scope = row.project or row.organization
    state = row.state(at)
    person = request.viewer.person  # type: ignore[attr-defined]
    context = {"invitation": row, "scope": scope, "state": state, "token": token, "refusal": ""}
    if person is None and state == InvitationState.OPEN:
        # Who is invited may register even where others may not; and is brought back here after logging in.
        request.session[INVITATION_IN_SESSION] = token
    if request.method == "POST":
        try:
            if "decline" in request.POST:
                services.decline_invitation(token=token, by=person, at=at)
                messages.info(request, _("You have declined. Nothing has changed."))
                return redirect("home")
            if person is None:
                return redirect(f"{reverse('account_login')}?next={request.path}")
            services.accept_invitation(token=token, by=person, other_address="other_address" in request.POST, at=at)
            request.session.pop(INVITATION_IN_SESSION, None)
            messages.success(request, _("Welcome to {scope}.").format(scope=scope or "Bursar"))
            return redirect(_welcome(row))
        except DomainError as refusal:
            context["refusal"] = words(refusal, _)
            context["state"] = selectors.invitation_by_token(token).state(at)
    if person is not None:
        context["is_other"] = row.email.lower() != person.email.lower()
    response = page(request, "bursar/structure/invitation.html", context)
    if context["refusal"]:
        response.status_code = 409
    return response


def _welcome(row: Invitation) -> str:
    if row.project is not None:
        return reverse("project", args=[row.project.pk])
    if row.organization is not None:
        return reverse("organization", args=[row.organization.pk])
    return reverse("home")


@require_POST
@refusals_as_messages(to=lambda pk: reverse("memberships"))
def invitation_answer(request: HttpRequest, pk: int) -> HttpResponse:
    """Accept or decline an invitation to one's own verified address, without its link."""
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.invitations_for(viewer, at).filter(pk=pk).first()
    if row is None:
        raise NotFound(noun="invitation")
    if "decline" in request.POST:
        services.decline_invitation(invitation=row, by=viewer, at=at)
        messages.info(request, _("You have declined. Nothing has changed."))
        return redirect("memberships")
    services.accept_invitation(invitation=row, by=viewer, at=at)
    messages.success(request, _("Welcome to {scope}.").format(scope=row.project or row.organization or "Bursar"))
    return redirect(_welcome(row))


# ------------------------------------------------------------------------------------------------ history
def _history(request: HttpRequest, scope: Project | Organization | None) -> Listing:
    rows = selectors.events_of(scope, viewer_of(request), at_of(request))
    return Listing(
        request,
        rows,
        label=gettext_lazy("History"),
        search=("kind__icontains",),
        search_label=gettext_lazy("Search by kind, such as membership"),
        columns={
            "at": Column(gettext_lazy("When")),
            "kind": Column(gettext_lazy("What")),
            "actor": Column(gettext_lazy("By whom")),
        },
        per_page=50,
        id="history",
    )


def project_history(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.project_seen(pk, viewer, at)
    context = _with_path(scope_page(request, row, "history"), row, viewer, at)
    context["listing"] = _history(request, row)
    context["told"] = told(context["listing"].rows, viewer, at, within=row)
    return page(request, "bursar/structure/project_history.html", context)


def organization_history(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.organization_seen(pk, viewer, at)
    context = scope_page(request, row, "history")
    context["listing"] = _history(request, row)
    context["told"] = told(context["listing"].rows, viewer, at, within=row)
    return page(request, "bursar/structure/organization_history.html", context)


def operator_events(request: HttpRequest) -> HttpResponse:
    listing = _history(request, None)
    context = {"listing": listing, "told": told(listing.rows, viewer_of(request), at_of(request))}
    return page(request, "bursar/structure/operator_events.html", context)


# ------------------------------------------------------------------------------------------------ the first page
@register("invitations", order=10)
def invitations_panel(viewer: Viewer) -> Panel | None:
    assert viewer.person is not None
    rows = list(selectors.invitations_for(viewer.person, viewer.at)[:10])
    if not rows:
        return None
    return Panel(
        gettext_lazy("You are invited"),
        "bursar/structure/_invitations_panel.html",
        icon="mail",
        data=rows,
        url=reverse("memberships"),
        count=len(rows),
    )


@register("projects", order=40)
def projects_panel(viewer: Viewer) -> Panel | None:
    assert viewer.person is not None
    rows = list(selectors.projects_of_mine(viewer.person, viewer.at)[:8])
    if not rows:
        return None
    return Panel(
        gettext_lazy("My projects"),
        "bursar/structure/_projects_panel.html",
        icon="folders",
        data=rows,
        url=reverse("projects"),
    )


urlpatterns = [
    path("organizations/", organizations, name="organizations"),
    path("organizations/new/", organization_create, name="organization_create"),
    path("organizations/<int:pk>/", organization, name="organization"),
    path("organizations/<int:pk>/edit/", organization_edit, name="organization_edit"),
    path("organizations/<int:pk>/archive/", organization_archive, name="organization_archive"),
    path("organizations/<int:pk>/unarchive/", organization_unarchive, name="organization_unarchive"),
    path("organizations/<int:pk>/projects/", organization_projects, name="organization_projects"),
    path("organizations/<int:pk>/projects/new/", project_create, name="project_create"),
    path("organizations/<int:pk>/members/", organization_members, name="organization_members"),
    path("organizations/<int:pk>/members/invite/", organization_invite, name="organization_invite"),
    path("organizations/<int:pk>/history/", organization_history, name="organization_history"),
    path("projects/", projects, name="projects"),
    path("projects/new/", project_new, name="project_new"),
    path("projects/<int:pk>/", project, name="project"),
    path("projects/<int:pk>/edit/", project_edit, name="project_edit"),
    path("projects/<int:pk>/end/", project_end, name="project_end"),
    path("projects/<int:pk>/archive/", project_archive, name="project_archive"),
    path("projects/<int:pk>/unarchive/", project_unarchive, name="project_unarchive"),
    path("projects/<int:pk>/subprojects/new/", subproject_create, name="subproject_create"),
    path("projects/<int:pk>/members/", project_members, name="project_members"),
    path("projects/<int:pk>/members/invite/", project_invite, name="project_invite"),
    path("projects/<int:pk>/members/hand-over/", project_hand_over, name="project_hand_over"),
    path("projects/<int:pk>/history/", project_history, name="project_history"),
    path("memberships/", memberships, name="memberships"),
    path("memberships/<int:pk>/", membership_edit, name="membership_edit"),
    path("memberships/<int:pk>/end/", membership_end, name="membership_end"),
    path("invitations/<int:pk>/resend/", invitation_resend, name="invitation_resend"),
    path("invitations/<int:pk>/revoke/", invitation_revoke, name="invitation_revoke"),
    path("invitations/<int:pk>/answer/", invitation_answer, name="invitation_answer"),
    path("invitations/<str:token>/", invitation_accept, name="invitation_accept"),
    path("operator/events/", operator_events, name="operator_events"),
]
