"""Local accounts: who has one at a backend, as which user, and whether it may be used.

A person connects and disconnects; the provider's side names, blocks and ends; the loop notes what a plugin answered. The
life of an account is one table (`lifecycle`); what a backend holds (`told`) follows by `account_steps`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode, urlsplit, urlunsplit

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from bursar.accounting.models import Allocation
from bursar.catalogue.lifecycle import OfferingState
from bursar.catalogue.models import Backend
from bursar.events.services import Happening, record
from bursar.kernel.errors import DomainError
from bursar.kernel.i18n import N_
from bursar.plugins.contract import ManagesAccounts
from bursar.provisioning.abilities import backend_can
from bursar.provisioning.errors import (
    AccountBlocked,
    AccountGivenUp,
    AccountNotOffered,
    AccountStepNotOpen,
    BackendSwitchedOff,
    PersonNotThere,
    ReasonNeeded,
    UidInvalid,
    UidKept,
    UidTaken,
    UsernameInvalid,
    UsernameKept,
    UsernameNeeded,
    UsernameTaken,
)
from bursar.provisioning.lifecycle import AccountAction, AccountState, ResourceState, account_after
from bursar.provisioning.models import AccountPolicy, LocalAccount, Resource
from bursar.provisioning.people import users_of, workspaces_used_by
from bursar.provisioning.queue import ask_to_keep_accounts, ask_to_sync
from bursar.provisioning.services.account_policies import give_name, policy_of
from bursar.provisioning.services.signing import token_for
from bursar.provisioning.usernames import UID_MAX, USERNAME
from bursar.structure.mail import ask_for_mail
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, require
from bursar.structure.services.people import require_self
from bursar.structure.text import clean_line

KINDS = {
    AccountAction.CONNECT: "account.wanted",
    AccountAction.ACTIVATE: "account.set",
    AccountAction.BLOCK: "account.blocked",
    AccountAction.UNBLOCK: "account.unblocked",
    AccountAction.END: "account.ended",
}
"""What is told of each step."""


# ------------------------------------------------------------------------------------------------ what they share
def _locked(backend: Backend, person: Person) -> LocalAccount | None:
    return (
        LocalAccount.objects.select_for_update(of=("self",), no_key=True)
        .select_related("person", "backend__provider__organization")
        .filter(backend=backend, person=person)
        .first()
    )


def _one_by_one(backend: Backend) -> None:
    """Two names at once: one after the other."""
    Backend.objects.select_for_update(no_key=True).get(pk=backend.pk)


def _step(account: LocalAccount, action: AccountAction, *, by: Person | None, at: datetime, reason: str = "") -> None:
    """Take one step of its life, save it, and tell of it.

    raises   AccountStepNotOpen
    """
    before = AccountState(account.state)
    state = account_after(before, action)
    if state is None:
        raise AccountStepNotOpen(state=before.label, action=action.value)
    account.state, account.state_by, account.state_at = state.value, by, at
    account.reason = reason
    account.message = ""
    account.save()
    _tell(account, KINDS[action], by=by, at=at)


def _tell(account: LocalAccount, kind: str, *, by: Person | None, at: datetime) -> None:
    record(
        Happening(
            kind=kind,
            subject_type="person",
            subject_id=account.person_id,
            facts={
                "backend": account.backend_id,
                "person": account.person_id,
                "state": account.state,
                "username": account.username,
                "uid": account.uid,
                "reason": account.reason,
            },
            provider_id=account.backend.provider.organization_id,
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )


def _let_it_follow(account: LocalAccount, *, at: datetime) -> None:
    """Have the backend told of the account, and the resources of the person let them in or out."""
    ask_to_keep_accounts(account.backend_id)
    _sync_resources_of(account.backend, account.person, at=at)


def _write(account: LocalAccount, kind: str) -> None:
    """Have the person told by mail what the provider did with their account."""
    ask_for_mail(kind, to_person_id=account.person_id, facts={"account": account.pk})


def _sync_resources_of(backend: Backend, person: Person, *, at: datetime) -> None:
    theirs = Resource.objects.filter(offering__backend=backend, workspace__in=workspaces_used_by(person, at))
    ask_to_sync(*theirs.exclude(state=ResourceState.TERMINATED).values_list("pk", flat=True))


def _number(account: LocalAccount, uid: int | None) -> None:
    """Put a number that was told on the account.

    raises   UidInvalid; UidKept; UidTaken
    """
    if uid is None or uid == account.uid:
        return
    if not 1 <= uid <= UID_MAX:
        raise UidInvalid(uid_max=UID_MAX)
    if account.uid is not None:
        raise UidKept(uid=account.uid)
    if LocalAccount.objects.filter(backend=account.backend, uid=uid).exists():
        raise UidTaken(uid=uid)
    account.uid = uid


# ------------------------------------------------------------------------------------------------ the person's side
@dataclass(frozen=True, slots=True)
class Connection:
    """What came of connecting. `address` is where the person is to be sent, "" when nowhere; it holds a token of minutes."""

    account: LocalAccount
    address: str = ""


@transaction.atomic
def connect_account(*, backend: Backend, person: Person, by: Person, at: datetime) -> Connection:
    """Ask for an account of one's own, or come back to the one that was given up, with its name and number.

    One that is active stays as it is. Where the provider wants to see people on its own page, each call gives a new token.
    raises   NotAllowed, NotWithToken; AccountNotOffered; BackendSwitchedOff; AccountBlocked; ClaimMissing, ClaimUnusable,
             ClaimTaken; NumbersUsedUp; SigningKeyUnreadable
    """
    require_self(by, person, at)
    if not backends_for(person, at=at).filter(pk=backend.pk).exists():
        raise AccountNotOffered
    if not backend.enabled:
        raise BackendSwitchedOff(backend=backend.name)
    _one_by_one(backend)
    account = _locked(backend, person)
    if account is not None and account.state == AccountState.BLOCKED:
        raise AccountBlocked(reason=account.reason)
    if account is not None and account.state == AccountState.ACTIVE:
        return Connection(account)
    account = _want(account, backend, person, by=by, at=at)
    policy = policy_of(backend)
    if policy.arrival == AccountPolicy.Arrival.REDIRECT:
        return Connection(account, _with_token(policy.connect_url, token_for(person=person, backend=backend, at=at)))
    return Connection(account)


def _want(
    account: LocalAccount | None, backend: Backend, person: Person, *, by: Person | None, at: datetime
) -> LocalAccount:
    """A wanted account with whatever name and number the policy gives; one that is wanted already is named anew."""
    fresh = account is None or account.state == AccountState.ENDED
    if account is None:
        account = LocalAccount(backend=backend, person=person, state=AccountState.ENDED)
    give_name(account, with_uid=_numbers_at_once(backend))
    if fresh:
        _step(account, AccountAction.CONNECT, by=by, at=at)
        _let_it_follow(account, at=at)
    else:
        account.message = ""
        account.save()
        ask_to_keep_accounts(backend.pk)
    return account


def _numbers_at_once(backend: Backend) -> bool:
    """Whether an account is numbered as soon as it is asked for: not where the provider's page may tell a number first."""
    is_told = policy_of(backend).arrival == AccountPolicy.Arrival.REDIRECT
    return backend_can(backend, ManagesAccounts) and not is_told


def _with_token(address: str, token: str) -> str:
    parts = urlsplit(address)
    query = "&".join(filter(None, (parts.query, urlencode({"token": token}))))
    return urlunsplit(parts._replace(query=query))


@transaction.atomic
def disconnect_account(*, backend: Backend, person: Person, by: Person, at: datetime) -> LocalAccount:
    """Give one's account up: nothing there lets the person in any more. Name and number stay theirs. Twice is once.

    raises   NotAllowed, NotWithToken; AccountNotOffered when there is none; AccountBlocked
    """
    require_self(by, person, at)
    account = _locked(backend, person)
    if account is None:
        raise AccountNotOffered
    if account.state == AccountState.BLOCKED:
        raise AccountBlocked(reason=account.reason)
    if account.state != AccountState.ENDED:
        _step(account, AccountAction.END, by=by, at=at)
        _let_it_follow(account, at=at)
    return account


# ------------------------------------------------------------------------------------------------ the provider's side
@transaction.atomic
def set_local_account(
    *, backend: Backend, person: Person, username: str = "", uid: int | None = None, by: Person | None, at: datetime
) -> LocalAccount:
    """Say which local user a person is at a backend: the account is there, and the resources they may use learn of it.

    username   "" confirms the name it has already
    uid        None = the provider's side tells none
    raises     NotAllowed; UsernameInvalid, UsernameNeeded, UsernameKept, UsernameTaken; UidInvalid, UidKept, UidTaken;
               AccountBlocked; AccountGivenUp; NumbersUsedUp; PersonNotThere when they use nothing of this provider
    """
    require(by, Permission.MANAGE_ACCOUNTS, backend.provider.organization, at)
    username = username.strip()
    if username and not USERNAME.fullmatch(username):
        raise UsernameInvalid(username=username[:40])
    if not people_there(backend, at=at).filter(pk=person.pk).exists():
        raise PersonNotThere
    _one_by_one(backend)
    account = _locked(backend, person)
    fresh = account is None
    if account is None:
        account = LocalAccount(backend=backend, person=person, state=AccountState.WANTED)
    if account.state == AccountState.BLOCKED:
        raise AccountBlocked(reason=account.reason)
    if account.state == AccountState.ENDED and account.state_by_id == person.pk:
        raise AccountGivenUp(person=person.full_name)
    if not (username or account.username):
        raise UsernameNeeded
    if username and account.username and username != account.username:
        raise UsernameKept(username=account.username)
    if username and LocalAccount.objects.filter(backend=backend, username=username).exclude(person=person).exists():
        raise UsernameTaken(username=username)
    before = (account.username, account.uid)
    account.username = username or account.username
    _number(account, uid)
    give_name(account, with_uid=backend_can(backend, ManagesAccounts))
    account.set_by, account.set_at = by, at
    if account.state == AccountState.ENDED:  # by the provider, who takes that back
        _step(account, AccountAction.CONNECT, by=by, at=at)
    if account.state == AccountState.WANTED:
        _step(account, AccountAction.ACTIVATE, by=by, at=at)
    elif fresh or before != (account.username, account.uid):
        account.save()
        _tell(account, "account.set", by=by, at=at)
    else:
        return account
    _let_it_follow(account, at=at)
    return account


def _account_of(backend: Backend, person: Person, by: Person | None, at: datetime) -> LocalAccount:
    """raises   NotAllowed; PersonNotThere when there is none"""
    require(by, Permission.MANAGE_ACCOUNTS, backend.provider.organization, at)
    account = _locked(backend, person)
    if account is None:
        raise PersonNotThere
    return account


@transaction.atomic
def block_account(*, backend: Backend, person: Person, reason: str, by: Person | None, at: datetime) -> LocalAccount:
    """Let an account not be used any more, for a reason that the person reads. Blocked again, it has the new reason.

    raises   NotAllowed; PersonNotThere; ReasonNeeded; TextTooLong, TextNotAllowed; AccountStepNotOpen
    """
    account = _account_of(backend, person, by, at)
    reason = clean_line(reason, field="reason", limit=1000, required=False)
    if not reason:
        raise ReasonNeeded
    if account.state == AccountState.BLOCKED:
        if account.reason != reason:
            account.reason = reason
            account.save(update_fields=["reason"])
            _tell(account, "account.blocked", by=by, at=at)
            _write(account, "account_blocked")
        return account
    _step(account, AccountAction.BLOCK, by=by, at=at, reason=reason)
    _let_it_follow(account, at=at)
    _write(account, "account_blocked")
    return account


@transaction.atomic
def unblock_account(*, backend: Backend, person: Person, by: Person | None, at: datetime) -> LocalAccount:
    """Let a blocked account be used again. Twice is once.

    raises   NotAllowed; PersonNotThere; AccountStepNotOpen
    """
    account = _account_of(backend, person, by, at)
    if account.state != AccountState.ACTIVE:
        _step(account, AccountAction.UNBLOCK, by=by, at=at)
        _let_it_follow(account, at=at)
        _write(account, "account_unblocked")
    return account


@transaction.atomic
def remove_local_account(
    *, backend: Backend, person: Person, reason: str = "", by: Person | None, at: datetime
) -> LocalAccount:
    """End an account, for a reason that the person reads: the resources no longer let the local user in. Twice is once.

    raises   NotAllowed; PersonNotThere when there is none; TextTooLong, TextNotAllowed; AccountStepNotOpen
    """
    account = _account_of(backend, person, by, at)
    reason = clean_line(reason, field="reason", limit=1000, required=False)
    if account.state != AccountState.ENDED:
        _step(account, AccountAction.END, by=by, at=at, reason=reason)
        _let_it_follow(account, at=at)
        _write(account, "account_ended")
    return account


# ------------------------------------------------------------------------------------------------ the loop's side
@transaction.atomic
def want_accounts(*, backend: Backend, people: Iterable[Person], at: datetime) -> None:
    """Ask for an account for each of these who never had one; only where accounts come by themselves.

    What stands in the way of one (a login that says nothing) is written on it, for its person to read.
    """
    by_id = {person.pk: person for person in people}
    known = LocalAccount.objects.filter(backend=backend, person__in=by_id).values_list("person_id", flat=True)
    missing = sorted(by_id.keys() - set(known))
    if not missing or policy_of(backend).arrival != AccountPolicy.Arrival.AUTOMATIC:
        return
    _one_by_one(backend)
    for person_id in missing:
        if _locked(backend, by_id[person_id]) is None:
            account = LocalAccount(backend=backend, person=by_id[person_id], state=AccountState.ENDED)
            _step(account, AccountAction.CONNECT, by=None, at=at)


@transaction.atomic
def name_wanted(*, account_id: int, at: datetime) -> LocalAccount | None:
    """Give a wanted account the name and number that its backend gives by itself.

    returns   the account; None when it cannot have them now, and why is written on it
    """
    account = LocalAccount.objects.select_related("person", "backend__provider__organization").get(pk=account_id)
    _one_by_one(account.backend)
    account.refresh_from_db(fields=["username", "uid", "state", "message"])
    before = (account.username, account.uid)
    try:
        with transaction.atomic():
            give_name(account, with_uid=_numbers_at_once(account.backend))
    except DomainError as refusal:
        note_trouble(account_id=account.pk, message=str(refusal))
        return None
    if before != (account.username, account.uid):
        account.message = ""
        account.save(update_fields=["username", "uid", "message"])
    return account


@transaction.atomic
def note_account(*, backend: Backend, person_id: int, username: str, uid: int | None = None, at: datetime) -> bool:
    """Keep that the backend holds the account, and the name and number it gave where we gave none.

    One that nobody asked for is taken only where accounts come by themselves.

    A name or a number that cannot be, or that somebody else bears, is not believed: it is written on the account.
    returns   whether the account bears what was told
    """
    _one_by_one(backend)
    account = _locked(backend, Person(pk=person_id))
    if account is None:
        if policy_of(backend).arrival != AccountPolicy.Arrival.AUTOMATIC:
            return False
        _step(
            LocalAccount(backend=backend, person_id=person_id, state=AccountState.ENDED),
            AccountAction.CONNECT,
            by=None,
            at=at,
        )
        account = _locked(backend, Person(pk=person_id))
        assert account is not None
    others = LocalAccount.objects.filter(backend=account.backend).exclude(pk=account.pk)
    fault = ""
    if not (username or account.username) or not USERNAME.fullmatch(username or account.username):
        fault = N_("The backend gave a name that cannot be one. Its provider has to look at it.")
    elif username and account.username and username != account.username:
        fault = N_("The backend made another name than the one that was given here. Its provider has to look at it.")
    elif others.filter(username=username or account.username).exists():
        fault = N_("The backend gave a name that belongs to somebody else. Its provider has to look at it.")
    elif uid is not None and (
        not 1 <= uid <= UID_MAX or account.uid not in {None, uid} or others.filter(uid=uid).exists()
    ):
        fault = N_("The backend gave a number that cannot be this account's. Its provider has to look at it.")
    if fault:
        note_trouble(account_id=account.pk, message=_(fault))
        return False
    account.username, account.uid = username or account.username, account.uid if uid is None else uid
    account.told, account.message = LocalAccount.Told.ACTIVE, ""
    if account.state == AccountState.WANTED:
        account.set_at = at
        _step(account, AccountAction.ACTIVATE, by=None, at=at)
        _sync_resources_of(account.backend, account.person, at=at)
    else:
        account.save(update_fields=["username", "uid", "told", "message"])
    return True


def note_told(*, account_id: int, told: LocalAccount.Told) -> None:
    """Keep what the backend holds now."""
    LocalAccount.objects.filter(pk=account_id).update(told=told, message="")


def note_trouble(*, account_id: int, message: str) -> None:
    """Keep what stands in the way, for the person and the provider to read."""
    LocalAccount.objects.filter(pk=account_id).exclude(message=message[:1000]).update(message=message[:1000])


# ------------------------------------------------------------------------------------------------ who is there
def workspaces_there(backend: Backend) -> list[Workspace]:
    """The workspaces that have anything at this backend."""
    standing = Resource.objects.filter(offering__backend=backend).exclude(state=ResourceState.TERMINATED)
    return list(
        Workspace.objects.filter(pk__in=standing.values("workspace")).select_related(
            "project", "organization", "person"
        )
    )


def people_there(backend: Backend, *, at: datetime) -> QuerySet[Person]:
    """The people who may use something at this backend, or have an account there."""
    users = users_of(workspaces_there(backend), at)
    ids = {person.pk for people in users.values() for person in people}
    ids |= set(LocalAccount.objects.filter(backend=backend).values_list("person_id", flat=True))
    return Person.objects.filter(pk__in=ids)


def backends_for(person: Person, *, at: datetime) -> QuerySet[Backend]:
    """The backends that a person may connect to: where a workspace whose resources they may use has one, or has an
    allocation that holds now of what is sold there; and those where they have an account.
    """
    mine = workspaces_used_by(person, at).values("pk")
    has_resource = Resource.objects.filter(workspace__in=mine).exclude(state=ResourceState.TERMINATED)
    holds = Allocation.objects.filter(wallet__workspace__in=mine, start__lte=at, end__gt=at, closed_at=None)
    sold = Backend.objects.filter(
        offerings__state__in=[OfferingState.ACTIVE, OfferingState.PAUSED],
        offerings__components__category__in=holds.values("category"),
        provider__revoked_at=None,
        enabled=True,
    )
    return Backend.objects.filter(
        Q(pk__in=has_resource.values("offering__backend"))
        | Q(pk__in=sold.values("pk"))
        | Q(pk__in=LocalAccount.objects.filter(person=person).values("backend"))
    ).select_related("provider__organization")
