"""One's own profile, keys, tokens and ways to sign in; and for operators, everybody."""

import logging

import requests
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount import app_settings as socialaccount_settings
from allauth.socialaccount.models import SocialAccount
from allauth.socialaccount.providers.openid_connect import views as openid
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from bursar.structure import selectors, services
from bursar.structure.errors import IdentityProviderAway
from bursar.structure.mail import seal, unseal
from bursar.structure.models import ApiToken
from bursar.structure.roles import (
    PLATFORM_ROLES,
    SCOPE_TITLES,
    Permission,
    Role,
    TokenScope,
    on_platform,
    organizations_where,
    require,
    roles_to_give,
)
from bursar.structure.services.people import SSH_KEYS_MAX
from bursar.web.forms import refusals_in
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.structure_forms import InvitationForm, ProfileForm, SshKeyForm, TokenForm, TokenRollForm, after
from bursar.web.views.structure import at_of, viewer_of

logger = logging.getLogger(__name__)

NEW_TOKEN = "new_token"  # noqa: S105 - the key in the session


# ------------------------------------------------------------------------------------------------ profile
def profile(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    form = ProfileForm(
        request.POST or None,
        initial={"full_name": viewer.full_name, "language": viewer.language, "time_zone": viewer.time_zone},
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.edit_person(person=viewer, by=viewer, at=at, **form.cleaned_data)
            messages.success(request, _("Saved."))
            return redirect("profile")
    kinds = list(Authenticator.objects.filter(user=viewer).values_list("type", flat=True))
    context = {
        "keys": selectors.ssh_keys_of(viewer),
        "keys_max": SSH_KEYS_MAX,
        "addresses": EmailAddress.objects.filter(user=viewer).order_by("-primary", "email"),
        "has_password": viewer.has_usable_password(),
        "has_totp": Authenticator.Type.TOTP in kinds,
        "passkeys": kinds.count(Authenticator.Type.WEBAUTHN),
        "connected": SocialAccount.objects.filter(user=viewer).count(),
        "token_count": ApiToken.objects.filter(person=viewer, revoked_at=None, expires_at__gt=at).count(),
    }
    return page(request, "bursar/structure/profile.html", context, form=form)


def ssh_key_add(request: HttpRequest) -> HttpResponse:
    form = SshKeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            key = services.add_ssh_key(
                person=viewer_of(request), by=viewer_of(request), at=at_of(request), **form.cleaned_data
            )
            messages.success(request, _("The key “{name}” is kept.").format(name=key.name))
            return redirect("profile")
    return page(request, "bursar/structure/ssh_key_form.html", {}, form=form)


@require_POST
@refusals_as_messages(to=lambda pk: reverse("profile"))
def ssh_key_remove(request: HttpRequest, pk: int) -> HttpResponse:
    key = selectors.ssh_key_of(pk, viewer_of(request))
    services.remove_ssh_key(key=key, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("The key “{name}” is removed.").format(name=key.name))
    return redirect("profile")


# ------------------------------------------------------------------------------------------------ tokens
@never_cache
def tokens(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    listing = Listing(
        request,
        selectors.tokens_of(viewer),
        label=gettext_lazy("API tokens"),
        search=("name__icontains", "prefix__icontains"),
        columns={
            "name": Column(gettext_lazy("Name"), sort="name"),
            "scopes": Column(gettext_lazy("It may")),
            "expires": Column(gettext_lazy("Works until"), sort="expires_at"),
            "used": Column(gettext_lazy("Last used"), sort="last_used_at"),
            "state": Column(gettext_lazy("State")),
            "actions": Column(gettext_lazy("Actions"), hidden=True),
        },
    )
    for row in listing.rows:
        over = "revoked" if row.revoked_at is not None else "expired"
        row.shown_state = "active" if row.revoked_at is None and row.expires_at > at else over
        if row.shown_state == "active" and row.successor_id is not None:
            row.shown_state = "rolled"
        row.scope_titles = [SCOPE_TITLES[scope] for scope in TokenScope if scope in row.scopes]
    # Shown once: taken out of the session as it is shown, where it lies sealed.
    sealed = request.session.pop(NEW_TOKEN, "")
    context = {"listing": listing, "new_token": unseal(sealed) if sealed else ""}
    return page(request, "bursar/structure/tokens.html", context)


def token_create(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    places = organizations_where(viewer, Permission.VIEW_ORGANIZATION, at).order_by("name")
    form = TokenForm(request.POST or None, organizations=places, initial=_proposed(request))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            made = services.create_token(person=viewer, by=viewer, at=at, **form.cleaned_data)
            request.session[NEW_TOKEN] = seal(made.token)
            return redirect("tokens")
    return page(request, "bursar/structure/token_form.html", {}, form=form)


def _proposed(request: HttpRequest) -> dict[str, object]:
    """What a page that needs a token proposes in the address; nothing is made before the form is sent."""
    proposed: dict[str, object] = {
        key: request.GET[key][:100] for key in ("name", "organization") if request.GET.get(key)
    }
    scopes = [scope.value for scope in TokenScope if scope.value in request.GET.getlist("scope")]
    return {**proposed, **({"scopes": scopes} if scopes else {})}


def token_roll(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.token_of(pk, viewer_of(request))
    form = TokenRollForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            made = services.roll_token(token=row, by=viewer_of(request), at=at_of(request), **form.cleaned_data)
            request.session[NEW_TOKEN] = seal(made.token)
            return redirect("tokens")
    row.scope_titles = [SCOPE_TITLES[scope] for scope in TokenScope if scope in row.scopes]  # type: ignore[attr-defined]
    return page(request, "bursar/structure/token_roll.html", {"token": row}, form=form)


@require_POST
@refusals_as_messages(to=lambda pk: reverse("tokens"))
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    row = selectors.token_of(pk, viewer_of(request))
    services.revoke_token(token=row, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("The token “{name}” no longer works.").format(name=row.name))
    return redirect("tokens")


# ------------------------------------------------------------------------------------------------ everybody
def operator_people(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    listing = Listing(
        request,
        selectors.people_seen(viewer, at),
        label=gettext_lazy("People"),
        sort="name",
        search=("full_name__icontains", "email__icontains"),
        columns={
            "name": Column(gettext_lazy("Name"), sort="full_name"),
            "email": Column(gettext_lazy("Mail address"), sort="email"),
            "roles": Column(gettext_lazy("Roles"), sort="role_count", classes="num"),
            "since": Column(gettext_lazy("Registered"), sort="created_at"),
            "login": Column(gettext_lazy("Last login"), sort="last_login"),
            "state": Column(gettext_lazy("State")),
        },
        filters=(
            Filter(
                "state",
                gettext_lazy("Any state"),
                [("active", gettext_lazy("Active")), ("inactive", gettext_lazy("Shut out"))],
                lambda rows, value: rows.filter(is_active=value == "active"),
            ),
        ),
    )
    context = {
        "listing": listing,
        "operators": selectors.members_of(None, viewer, at),
        "giving": roles_to_give(viewer, None, at),
    }
    return page(request, "bursar/structure/operator_people.html", context)


def operator_person(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    require(viewer, Permission.READ_PLATFORM, None, at)
    person = selectors.person_seen(pk, viewer, at)
    held = list(selectors.memberships_of(person, at))
    context = {
        "person": person,
        "memberships": held,
        "addresses": EmailAddress.objects.filter(user=person).order_by("-primary", "email"),
        "operates": on_platform(viewer, Permission.OPERATE_PLATFORM, at),
        "platform_roles": [role for role in Role if role in PLATFORM_ROLES and role not in {m.role for m in held}],
    }
    return page(request, "bursar/structure/operator_person.html", context)


def _to_person(pk: int) -> str:
    return reverse("operator_person", args=[pk])


@require_POST
@refusals_as_messages(to=_to_person)
def person_deactivate(request: HttpRequest, pk: int) -> HttpResponse:
    require(viewer_of(request), Permission.OPERATE_PLATFORM, None, at_of(request))
    person = selectors.person_seen(pk, viewer_of(request), at_of(request))
    services.deactivate_person(person=person, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("{person} is shut out.").format(person=person))
    return redirect("operator_person", pk)


@require_POST
@refusals_as_messages(to=_to_person)
def person_reactivate(request: HttpRequest, pk: int) -> HttpResponse:
    require(viewer_of(request), Permission.OPERATE_PLATFORM, None, at_of(request))
    person = selectors.person_seen(pk, viewer_of(request), at_of(request))
    services.reactivate_person(person=person, by=viewer_of(request), at=at_of(request))
    messages.success(request, _("{person} may log in again.").format(person=person))
    return redirect("operator_person", pk)


@require_POST
@refusals_as_messages(to=_to_person)
def person_appoint(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a role on the platform."""
    viewer, at = viewer_of(request), at_of(request)
    require(viewer, Permission.OPERATE_PLATFORM, None, at)
    person = selectors.person_seen(pk, viewer, at)
    wanted = request.POST.get("role", "")
    if wanted in {role.value for role in PLATFORM_ROLES}:
        role = Role(wanted)
        services.give_membership(person=person, role=role, scope=None, by=viewer, at=at)
        messages.success(request, _("{person} now is {role}.").format(person=person, role=role.title))
    return redirect("operator_person", pk)


def operator_invite(request: HttpRequest) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    require(viewer, Permission.OPERATE_PLATFORM, None, at)
    form = InvitationForm(request.POST or None, roles=roles_to_give(viewer, None, at))
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        with refusals_in(form):
            services.invite(
                email=values["email"],
                role=Role(values["role"]),
                scope=None,
                member_until=after(values["member_until"]),
                message=values["message"],
                by=viewer,
                at=at,
            )
            messages.success(request, _("An invitation is on its way to {email}.").format(email=values["email"]))
            return redirect("operator_people")
    return page(request, "bursar/structure/operator_invite.html", {}, form=form)


# ------------------------------------------------------------------------------------------------ an identity provider
@never_cache
@login_not_required
def oidc_login(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Send somebody to their identity provider by a page instead of a redirect.

    The content security policy lets forms go to ourselves only, and browsers hold the redirects after a form to that too:
    not only the provider's address, also those it passes people on to, which nobody can list.
    """
    try:
        answer = openid.login(request, provider_id)
    except (requests.RequestException, KeyError) as trouble:  # no answer, or a description without an address
        logger.warning("identity provider %s: %s", provider_id, trouble)
        raise IdentityProviderAway(provider=_provider_name(provider_id)) from trouble
    target = answer.headers.get("Location", "") if answer.status_code in {301, 302, 303} else ""
    if not target.startswith(("https://", "http://")):
        return answer  # type: ignore[no-any-return]
    return page(request, "socialaccount/leaving.html", {"target": target})


def _provider_name(provider_id: str) -> str:
    apps = socialaccount_settings.PROVIDERS["openid_connect"]["APPS"]
    return next((str(app["name"]) for app in apps if app["provider_id"] == provider_id), provider_id)


urlpatterns = [
    path("profile/", profile, name="profile"),
    path("profile/keys/add/", ssh_key_add, name="ssh_key_add"),
    path("profile/keys/<int:pk>/remove/", ssh_key_remove, name="ssh_key_remove"),
    path("profile/tokens/", tokens, name="tokens"),
    path("profile/tokens/new/", token_create, name="token_create"),
    path("profile/tokens/<int:pk>/roll/", token_roll, name="token_roll"),
    path("profile/tokens/<int:pk>/revoke/", token_revoke, name="token_revoke"),
    path("operator/people/", operator_people, name="operator_people"),
    path("operator/people/invite/", operator_invite, name="operator_invite"),
    path("operator/people/<int:pk>/", operator_person, name="operator_person"),
    path("operator/people/<int:pk>/deactivate/", person_deactivate, name="person_deactivate"),
    path("operator/people/<int:pk>/reactivate/", person_reactivate, name="person_reactivate"),
    path("operator/people/<int:pk>/appoint/", person_appoint, name="person_appoint"),
]
