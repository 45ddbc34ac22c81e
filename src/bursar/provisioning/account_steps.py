"""Steps of the loop about people: a plugin is asked to make, block and remove accounts, and to keep a project's group.

Each takes the plugin and answers an outcome; what a plugin answered is written by `services.accounts`. What is wanted is
compared with what the backend was last found to hold (`LocalAccount.told`), so a step that is lost is taken again.

A person whose account cannot be had does not hold up the others: what stands in the way is written on the account, and they
wait while the resource goes on without them.
"""

from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import Final

from django.db.models import Q

from bursar.catalogue.models import Backend
from bursar.kernel.clock import now
from bursar.kernel.errors import DomainError
from bursar.plugins.contract import (
    Busy,
    Done,
    EndsAccounts,
    Group,
    ManagesAccounts,
    Member,
    NeedsAction,
    Outcome,
    Plugin,
    can,
    words_of,
)
from bursar.plugins.steps import GroupWork, asked
from bursar.provisioning.abilities import backend_can
from bursar.provisioning.lifecycle import AccountState, ResourceState
from bursar.provisioning.models import AccountPolicy, LocalAccount, ProjectGroup, Resource
from bursar.provisioning.people import users_of
from bursar.provisioning.services import accounts
from bursar.provisioning.services.account_policies import group_at, policy_of
from bursar.structure.models import Person, SshKey

ACCOUNTS_AT_ONCE: Final = 500

_Told = LocalAccount.Told
_USABLE: Final = (_Told.ACTIVE, _Told.OLD)
# One that is wanted again may never have been ended at a backend that ends none.
_UNMADE: Final = Q(person__is_active=True) & (
    Q(state=AccountState.WANTED) | (Q(state=AccountState.ACTIVE) & ~Q(told=_Told.ACTIVE))
)
_UNENDED: Final = (
    Q(state=AccountState.ENDED, told__in=[*_USABLE, _Told.BLOCKED])
    | Q(state=AccountState.BLOCKED, told__in=_USABLE)
    # Whoever is shut out here is not to get in there either.
    | Q(state__in=[AccountState.WANTED, AccountState.ACTIVE], person__is_active=False, told__in=_USABLE)
)


def unsettled() -> list[int]:
    """Ids of the backends in use at which an account is not known to be held as it is to be."""
    unmade, unended = (
        Backend.objects.filter(enabled=True, pk__in=LocalAccount.objects.filter(what).order_by().values("backend"))
        for what in (_UNMADE, _UNENDED)
    )
    return sorted(
        {backend.pk for backend in unmade if backend_can(backend, ManagesAccounts)}
        | {backend.pk for backend in unended if backend_can(backend, EndsAccounts)}
    )


def note_changed_people(people: Iterable[int]) -> None:
    """Have the accounts of these people told anew: their name, mail address or keys are not what they were."""
    changed = LocalAccount.objects.filter(person__in=list(people), state=AccountState.ACTIVE, told=_Told.ACTIVE)
    changed.update(told=_Told.OLD)


def accounts_of(plugin: Plugin, resource: Resource) -> Outcome:
    """Have each user of a resource have their account, as far as the backend's policy lets accounts come by themselves."""
    backend = resource.offering.backend
    if backend is None:
        return Done()
    people = users_of([resource.workspace], now())[resource.workspace_id]
    policy = policy_of(backend)
    if can(plugin, ManagesAccounts) or _is_naming(policy):
        accounts.want_accounts(backend=backend, people=people, at=now())
    return make_accounts(plugin, backend, only=people)


def want_accounts_of(resource: Resource) -> None:
    """Ask for the accounts of a resource's users where they come by themselves; somebody else makes them."""
    backend = resource.offering.backend
    if backend is not None and (backend_can(backend, ManagesAccounts) or _is_naming(policy_of(backend))):
        people = users_of([resource.workspace], now())[resource.workspace_id]
        accounts.want_accounts(backend=backend, people=people, at=now())
        name_wanted(backend, only=people)


def name_wanted(backend: Backend, *, only: Iterable[Person] | None = None) -> None:
    """Give the accounts that are wanted at a backend the names that are ours to give. only: of these people; None = all."""
    rows = LocalAccount.objects.filter(backend=backend, state=AccountState.WANTED, person__is_active=True)
    if only is not None:
        rows = rows.filter(person__in=list(only))
    if policy_of(backend).arrival != AccountPolicy.Arrival.REDIRECT:
        for pk in rows.order_by("pk").values_list("pk", flat=True)[:ACCOUNTS_AT_ONCE]:
            accounts.name_wanted(account_id=pk, at=now())


def make_accounts(plugin: Plugin, backend: Backend, *, only: Iterable[Person] | None = None) -> Outcome:
    """Have the accounts made that are wanted, or let in again, at a backend. only: of these people; None = of all.

    Wanted ones of people who are to come by the provider's own page wait for its answer.
    """
    rows = LocalAccount.objects.filter(_UNMADE, backend=backend).select_related("person").order_by("pk")
    if only is not None:
        rows = rows.filter(person__in=list(only))
    policy = policy_of(backend)
    if policy.arrival == AccountPolicy.Arrival.REDIRECT:
        rows = rows.exclude(state=AccountState.WANTED)
    if not can(plugin, ManagesAccounts):  # then a name is all that can be given
        rows = rows.filter(state=AccountState.WANTED, username="") if _is_naming(policy) else rows.none()
    busy: Busy | None = None
    found = list(rows[:ACCOUNTS_AT_ONCE])
    keys = _keys_of(found)
    for account in found:
        answer = ensure_account(plugin, account, ssh_keys=keys.get(account.person_id, ()))
        busy = answer if isinstance(answer, Busy) else busy
    return busy or Done()


def ensure_account(plugin: Plugin, account: LocalAccount, *, ssh_keys: tuple[str, ...] = ()) -> Outcome:
    """Have one account named, made and let be used. A refusal is written on the account, and is the answer too."""
    if account.state == AccountState.WANTED:
        given = accounts.name_wanted(account_id=account.pk, at=now())
        if given is None:
            return Done()  # it waits: why is written on it
        account = given
    if not can(plugin, ManagesAccounts):
        return Done()  # it waits for somebody to make it
    member = replace(member_of(account), ssh_keys=ssh_keys)
    answer = asked(lambda: plugin.ensure_account(member))
    note_answer(account, Work.MAKE, answer)
    return answer


def end_what_must_end(plugin: Plugin, backend: Backend) -> Outcome:
    """Block and remove at the backend what is blocked and ended here, and block whoever is shut out of the platform."""
    if not can(plugin, EndsAccounts):
        return Done()
    busy: Busy | None = None
    rows = LocalAccount.objects.filter(_UNENDED, backend=backend).select_related("person").order_by("pk")
    for account in rows[:ACCOUNTS_AT_ONCE]:
        member = member_of(account)
        if account.state == AccountState.ENDED:
            answer = asked(lambda member=member: plugin.remove_account(member))  # type: ignore[misc]
            note_answer(account, Work.REMOVE, answer)
        else:
            answer = asked(lambda member=member: plugin.block_account(replace(member, blocked=True)))  # type: ignore[misc]
            note_answer(account, Work.BLOCK, answer)
        busy = answer if isinstance(answer, Busy) else busy
    return busy or Done()


class Work(StrEnum):
    """What a backend has to be asked of an account."""

    MAKE = "make"
    BLOCK = "block"
    REMOVE = "remove"


def work_on(ids: Iterable[int]) -> dict[int, Work]:
    """Account id -> what its backend is still to be asked; those that are held as they are to be are left out."""
    rows = LocalAccount.objects.filter(pk__in=list(ids))
    waiting = Q(state=AccountState.WANTED, backend__account_policy__arrival=AccountPolicy.Arrival.REDIRECT)
    work = dict.fromkeys(rows.filter(_UNMADE).exclude(waiting).values_list("pk", flat=True), Work.MAKE)
    for pk, state in rows.filter(_UNENDED).values_list("pk", "state"):
        work[pk] = Work.REMOVE if state == AccountState.ENDED else Work.BLOCK
    return work


def note_answer(account: LocalAccount, work: Work, answer: Outcome) -> None:
    """Keep what a backend answered; whatever stands in the way is written on the account."""
    if not isinstance(answer, Done):
        accounts.note_trouble(account_id=account.pk, message=words_of(answer))
    elif work is Work.MAKE:
        uid = answer.state.get("uid")
        told_uid = uid if isinstance(uid, int) and not isinstance(uid, bool) else None
        accounts.note_account(
            backend=account.backend, person_id=account.person_id, username=answer.backend_id, uid=told_uid, at=now()
        )
    else:
        accounts.note_told(account_id=account.pk, told=_Told.GONE if work is Work.REMOVE else _Told.BLOCKED)


def group_work(resource: Resource) -> GroupWork | NeedsAction | None:
    """What is to be done about the UNIX group of a resource's project: exactly the usable accounts of its people are in it,
    and it goes with its last resource at the backend. None where nothing changed.
    """
    backend, project = resource.offering.backend, resource.workspace.project
    if backend is None or project is None:
        return None
    stays = (
        Resource.objects.filter(workspace=resource.workspace_id, offering__backend=backend, desired_gone=False)
        .exclude(state=ResourceState.TERMINATED)
        .exists()
    )
    if not stays:
        left = ProjectGroup.objects.filter(backend=backend, project=project, is_there=True).first()
        return None if left is None else GroupWork(_group(left, ()), is_to_go=True)
    try:
        group = group_at(backend, project, at=now())
    except DomainError as refusal:
        return NeedsAction(str(refusal))
    people = users_of([resource.workspace], now())[resource.workspace_id]
    usable = LocalAccount.objects.filter(backend=backend, person__in=people, state=AccountState.ACTIVE)
    names = sorted(usable.values_list("username", flat=True))
    if group.is_there and group.members == names:
        return None
    return GroupWork(_group(group, names))


def note_group(resource: Resource, work: GroupWork) -> None:
    """Keep what the backend was told of a group."""
    ProjectGroup.objects.filter(backend=resource.offering.backend, project_id=work.group.project_id).update(
        is_there=not work.is_to_go, members=list(work.group.usernames), told_at=now()
    )


def _is_naming(policy: AccountPolicy) -> bool:
    return policy.naming != AccountPolicy.Naming.GIVEN


def _group(group: ProjectGroup, names: Iterable[str]) -> Group:
    return Group(group.project_id, group.project.slug, group.name, group.gid, tuple(names))


def member_of(account: LocalAccount) -> Member:
    return Member(
        person_id=account.person_id,
        email=account.person.email,
        full_name=account.person.full_name,
        username=account.username,
        uid=account.uid,
        blocked=account.state == AccountState.BLOCKED,
    )


def _keys_of(rows: Iterable[LocalAccount]) -> dict[int, tuple[str, ...]]:
    keys: dict[int, tuple[str, ...]] = {}
    people = [account.person_id for account in rows]
    for person, key in SshKey.objects.filter(person__in=people).order_by("pk").values_list("person_id", "public_key"):
        keys[person] = (*keys.get(person, ()), key)
    return keys
