"""Local accounts: a person's own at providers, those a provider looks after, how they come to be, and the published keys."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from bursar.catalogue import selectors as catalogue
from bursar.kernel import clock
from bursar.provisioning import selectors, services
from bursar.provisioning.lifecycle import ACCOUNT_STATE_TITLES, AccountAction
from bursar.provisioning.models import AccountPolicy
from bursar.provisioning.selectors import AccountRow, MyAccount
from bursar.provisioning.services import signing
from bursar.provisioning.services.account_policies import policy_of
from bursar.structure.roles import Permission, require
from bursar.web.accounts_forms import AccountForm, AccountPolicyForm, BlockForm
from bursar.web.forms import refusals_in
from bursar.web.http import page, refusals_as_messages
from bursar.web.listing import Column, Filter, Listing
from bursar.web.views.structure import at_of, viewer_of


# ------------------------------------------------------------------------------------------------ one's own
def what_next(row: MyAccount) -> str:
    """What the person may expect, or has to do, in one sentence or two."""
    policy, account = row.policy, row.account
    if account is not None and row.state == "blocked":
        return _("Only the provider can lift that. Write to them if you do not know what it is about.")
    if row.state == "active":
        return _("You are let into whatever your projects have there.")
    if not row.backend.enabled:
        return _("The provider has switched this off at present. Nothing is to be done.")
    if account is not None and row.state == "wanted":
        if account.message:
            return _("When that is put right, try again.") if row.may_connect else ""
        if row.address:
            return _("Finish on the provider’s page. If you have closed it, go there again from here.")
        if row.is_made_by_plugin:
            return _("It is being made. That takes about a minute; you need not wait here.")
        if account.username:
            return _("This name is kept for you. The provider has been told and has to set the account up.")
        return _("The provider has been told and has to set it up. You will find your name here then.")
    kept = (
        _("Your name there is kept for you: connect again, and it is yours as before.") + " "
        if account is not None and account.username
        else ""
    )
    if row.address:
        return kept + _("The provider wants to see you on its own page first: you are taken there and come back.")
    if policy.arrival == AccountPolicy.Arrival.AUTOMATIC and account is None:
        return _("It comes by itself as soon as something of your projects is made ready there. You can ask now, too.")
    return kept + _("Connect, and you are let into what your projects have there as soon as the account is made.")


def my_accounts(request: HttpRequest) -> HttpResponse:
    rows = selectors.my_accounts(viewer_of(request), at=at_of(request))
    return page(request, "bursar/accounts/mine.html", {"rows": [(row, what_next(row)) for row in rows]})


def _to_mine(*_args: Any, **_named: Any) -> str:
    return reverse("my_accounts")


@never_cache
@refusals_as_messages(to=_to_mine)
def my_account_connect(request: HttpRequest, backend: int) -> HttpResponse:
    """What is going to happen, and the button that does it. Whoever is to be sent away is told where to, and what is said."""
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.my_account(viewer, backend, at=at)
    if request.method != "POST":
        return page(request, "bursar/accounts/connect.html", {"row": row, "next": what_next(row)})
    made = services.connect_account(backend=row.backend, person=viewer, by=viewer, at=at)
    if made.address:
        # A page instead of a redirect: our policy lets forms lead to ourselves only.
        return page(request, "bursar/accounts/leaving.html", {"target": made.address, "host": row.host, "row": row})
    after = selectors.my_account(viewer, backend, at=at)
    messages.success(request, what_next(after) or _("Asked for."))
    return redirect("my_accounts")


@require_POST
@refusals_as_messages(to=_to_mine)
def my_account_disconnect(request: HttpRequest, backend: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    row = selectors.my_account(viewer, backend, at=at)
    services.disconnect_account(backend=row.backend, person=viewer, by=viewer, at=at)
    messages.success(request, _("Disconnected. Your name there is kept for you."))
    return redirect("my_accounts")


# ------------------------------------------------------------------------------------------------ the provider's
def provider_accounts(request: HttpRequest) -> HttpResponse:
    rows = selectors.local_accounts(viewer_of(request), at=at_of(request))
    backends = {str(row.backend.pk): row.backend.name for row in rows}
    listing = Listing(
        request,
        rows,
        label=gettext_lazy("Local accounts"),
        columns={
            "person": Column(gettext_lazy("Person")),
            "backend": Column(gettext_lazy("Backend")),
            "username": Column(gettext_lazy("Local user name")),
            "state": Column(gettext_lazy("State")),
            "actions": Column(gettext_lazy("Actions"), hidden=True),
        },
        filters=(
            Filter(
                "backend",
                gettext_lazy("Any backend"),
                list(backends.items()),
                lambda found, value: [row for row in found if str(row.backend.pk) == value],
            ),
            Filter(
                "account",
                gettext_lazy("Any state"),
                [
                    ("missing", gettext_lazy("Without an account")),
                    *((state.value, title) for state, title in ACCOUNT_STATE_TITLES.items()),
                ],
                lambda found, value: [
                    row
                    for row in found
                    if (row.state in {"none", "wanted"} if value == "missing" else row.state == value)
                ],
            ),
        ),
    )
    return page(request, "bursar/accounts/provider.html", {"listing": listing})


def _row(request: HttpRequest, backend: int, person: int) -> AccountRow:
    rows = selectors.local_accounts(viewer_of(request), at=at_of(request), backend_id=backend)
    found = next((row for row in rows if row.person.pk == person), None)
    if found is None:
        raise Http404
    return found


def _who(request: HttpRequest, row: AccountRow) -> dict[str, Any]:
    return {"backend": row.backend, "person": row.person, "by": viewer_of(request), "at": at_of(request)}


def provider_account(request: HttpRequest, backend: int, person: int) -> HttpResponse:
    row = _row(request, backend, person)
    account = row.account
    form = AccountForm(
        request.POST or None,
        username=account.username if account is not None else "",
        uid=account.uid if account is not None else None,
    )
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.set_local_account(**_who(request, row), **form.cleaned_data)
            messages.success(request, _("Saved. What this person may use learns of it."))
            return redirect("provider_accounts")
    may = row.open_actions
    context = {
        "row": row,
        "may_set": row.state != "blocked" and not (row.state == "active" and account and account.uid is not None),
        "may_block": AccountAction.BLOCK in may,
        "may_unblock": AccountAction.UNBLOCK in may,
        "may_end": AccountAction.END in may,
        "block_form": BlockForm(),
    }
    return page(request, "bursar/accounts/account.html", context, form=form)


def _to_account(backend: int, person: int) -> str:
    return reverse("provider_account", args=[backend, person])


@require_POST
@refusals_as_messages(to=_to_account)
def provider_account_block(request: HttpRequest, backend: int, person: int) -> HttpResponse:
    row = _row(request, backend, person)
    services.block_account(**_who(request, row), reason=request.POST.get("reason", ""))
    messages.success(request, _("Blocked. {person} reads your reason.").format(person=row.person))
    return redirect("provider_account", backend, person)


@require_POST
@refusals_as_messages(to=_to_account)
def provider_account_unblock(request: HttpRequest, backend: int, person: int) -> HttpResponse:
    row = _row(request, backend, person)
    services.unblock_account(**_who(request, row))
    messages.success(request, _("{person} is let in again.").format(person=row.person))
    return redirect("provider_account", backend, person)


@require_POST
@refusals_as_messages(to=_to_account)
def provider_account_remove(request: HttpRequest, backend: int, person: int) -> HttpResponse:
    services.remove_local_account(**_who(request, _row(request, backend, person)))
    messages.success(request, _("Ended. The name stays this person’s."))
    return redirect("provider_accounts")


# ------------------------------------------------------------------------------------------------ how they come to be
def provider_backend_accounts(request: HttpRequest, pk: int) -> HttpResponse:
    viewer, at = viewer_of(request), at_of(request)
    backend = catalogue.backend_of_provider(viewer, pk, at)
    require(viewer, Permission.MANAGE_BACKENDS, backend.provider.organization, at)
    form = AccountPolicyForm(request.POST or None, instance=policy_of(backend))
    if request.method == "POST" and form.is_valid():
        with refusals_in(form):
            services.set_account_policy(backend=backend, by=viewer, at=at, **form.cleaned_data)
            messages.success(request, _("Saved. Names and numbers that are given stay as they are."))
            return redirect("provider_backend", pk)
    return page(request, "bursar/accounts/policy.html", {"backend": backend}, form=form)


# ------------------------------------------------------------------------------------------------ published keys
@login_not_required
def jwks(request: HttpRequest) -> HttpResponse:
    """The public keys by which providers check our tokens (RFC 7517)."""
    answer = JsonResponse(signing.published_keys(at=clock.now()))
    answer["Content-Type"] = "application/jwk-set+json"
    answer["Cache-Control"] = f"public, max-age={int(signing.COPY_LIFETIME.total_seconds())}"
    answer["Access-Control-Allow-Origin"] = "*"
    return answer


urlpatterns = [
    path("profile/accounts/", my_accounts, name="my_accounts"),
    path("profile/accounts/<int:backend>/connect/", my_account_connect, name="my_account_connect"),
    path("profile/accounts/<int:backend>/disconnect/", my_account_disconnect, name="my_account_disconnect"),
    path("provider/accounts/", provider_accounts, name="provider_accounts"),
    path("provider/accounts/<int:backend>/<int:person>/", provider_account, name="provider_account"),
    path(
        "provider/accounts/<int:backend>/<int:person>/remove", provider_account_remove, name="provider_account_remove"
    ),
    path("provider/accounts/<int:backend>/<int:person>/block", provider_account_block, name="provider_account_block"),
    path(
        "provider/accounts/<int:backend>/<int:person>/unblock",
        provider_account_unblock,
        name="provider_account_unblock",
    ),
    path("provider/backends/<int:pk>/accounts/", provider_backend_accounts, name="provider_backend_accounts"),
    path(".well-known/jwks.json", jwks, name="jwks"),
]
