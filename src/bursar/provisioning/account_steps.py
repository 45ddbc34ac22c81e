"""Steps of the loop about people: a plugin is asked to make, block and remove accounts, and to keep a project's group.

Each takes the plugin and answers an outcome; what a plugin answered is written by `services.accounts`. What is wanted is
compared with what the backend was last found to hold (`LocalAccount.told`), so a step that is lost is taken again.

A person whose account cannot be had does not hold up the others: what stands in the way is written on the account, and they
wait while the resource goes on without them.
"""

from collections.abc import Iterable
from dataclasses import replace
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
    ManagesGroups,
    Member,
    NeedsAction,
    Outcome,
    Plugin,
    Refused,
)
from bursar.provisioning.abilities import backend_can
from bursar.provisioning.asking import asked
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
    if isinstance(plugin, ManagesAccounts) or _is_naming(policy):
        accounts.want_accounts(backend=backend, people=people, at=now())
    return make_accounts(plugin, backend, only=people)


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
    if not isinstance(plugin, ManagesAccounts):  # then a name is all that can be given
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
    if not isinstance(plugin, ManagesAccounts):
        return Done()  # it waits for somebody to make it
    member = replace(_member(account), ssh_keys=ssh_keys)
    answer = asked(lambda: plugin.ensure_account(member))
    if isinstance(answer, Done):
        uid = answer.state.get("uid")
        told_uid = uid if isinstance(uid, int) and not isinstance(uid, bool) else None
        accounts.note_account(
            backend=account.backend, person_id=account.person_id, username=answer.backend_id, uid=told_uid, at=now()
        )
    else:
        _note(account, answer)
    return answer


def end_what_must_end(plugin: Plugin, backend: Backend) -> Outcome:
    """Block and remove at the backend what is blocked and ended here, and block whoever is shut out of the platform."""
    if not isinstance(plugin, EndsAccounts):
        return Done()
    busy: Busy | None = None
    rows = LocalAccount.objects.filter(_UNENDED, backend=backend).select_related("person").order_by("pk")
    for account in rows[:ACCOUNTS_AT_ONCE]:
        member = _member(account)
        if account.state == AccountState.ENDED:
            answer = asked(lambda member=member: plugin.remove_account(member))  # type: ignore[misc]
            told = _Told.GONE
        else:
            answer = asked(lambda member=member: plugin.block_account(replace(member, blocked=True)))  # type: ignore[misc]
            told = _Told.BLOCKED
        if isinstance(answer, Done):
            accounts.note_told(account_id=account.pk, told=told)
        else:
            _note(account, answer)
            busy = answer if isinstance(answer, Busy) else busy
    return busy or Done()


def group_of(plugin: Plugin, resource: Resource) -> Outcome:
    """Keep the UNIX group of the resource's project: exactly the usable accounts of its people, and gone with its last
    resource at the backend. Told only where something changed.
    """
    backend, project = resource.offering.backend, resource.workspace.project
    if backend is None or project is None or not isinstance(plugin, ManagesGroups):
        return Done()
    stays = (
        Resource.objects.filter(workspace=resource.workspace_id, offering__backend=backend, desired_gone=False)
        .exclude(state=ResourceState.TERMINATED)
        .exists()
    )
    if not stays:
        left = ProjectGroup.objects.filter(backend=backend, project=project, is_there=True).first()
        if left is None:
            return Done()
        gone = _group(left, ())
        answer = asked(lambda: plugin.remove_group(gone))
        if isinstance(answer, Done):
            ProjectGroup.objects.filter(pk=left.pk).update(is_there=False, members=[], told_at=now())
        return answer
    try:
        group = group_at(backend, project, at=now())
    except DomainError as refusal:
        return NeedsAction(str(refusal))
    people = users_of([resource.workspace], now())[resource.workspace_id]
    usable = LocalAccount.objects.filter(backend=backend, person__in=people, state=AccountState.ACTIVE)
    names = sorted(usable.values_list("username", flat=True))
    if group.is_there and group.members == names:
        return Done()
    answer = asked(lambda: plugin.ensure_group(_group(group, names)))
    if isinstance(answer, Done):
        ProjectGroup.objects.filter(pk=group.pk).update(is_there=True, members=names, told_at=now())
    return answer


def _is_naming(policy: AccountPolicy) -> bool:
    return policy.naming != AccountPolicy.Naming.GIVEN


def _group(group: ProjectGroup, names: Iterable[str]) -> Group:
    return Group(group.project_id, group.project.slug, group.name, group.gid, tuple(names))


def _member(account: LocalAccount) -> Member:
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


def _note(account: LocalAccount, answer: Outcome) -> None:
    if isinstance(answer, Refused):
        accounts.note_trouble(account_id=account.pk, message=answer.why)
    elif isinstance(answer, NeedsAction):
        accounts.note_trouble(account_id=account.pk, message=answer.what)
    elif isinstance(answer, Busy):
        accounts.note_trouble(account_id=account.pk, message=answer.message)
