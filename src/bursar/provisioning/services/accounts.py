"""Local accounts: which name a person bears at a backend. The provider decides; Bursar keeps the mapping."""

import re
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from bursar.catalogue.models import Backend
from bursar.events.services import Happening, record
from bursar.provisioning.errors import PersonNotThere, UsernameInvalid, UsernameTaken
from bursar.provisioning.lifecycle import ResourceState
from bursar.provisioning.models import LocalAccount, Resource
from bursar.provisioning.people import users_of
from bursar.provisioning.queue import ask_to_sync
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, require

# What useradd and SLURM both take.
USERNAME: Final = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


def _tell(backend: Backend, person_id: int, username: str, *, by: Person | None, at: datetime, kind: str) -> None:
    record(
        Happening(
            kind=kind,
            subject_type="person",
            subject_id=person_id,
            facts={"backend": backend.pk, "username": username},
            provider_id=backend.provider.organization_id,
        ),
        by_id=None if by is None else by.pk,
        at=at,
    )


def _sync_resources_of(backend: Backend, person_id: int, *, at: datetime) -> None:
    resources = (
        Resource.objects.filter(offering__backend=backend)
        .exclude(state=ResourceState.TERMINATED)
        .select_related("workspace")
    )
    users = users_of({r.workspace_id: r.workspace for r in resources}.values(), at)
    for resource in resources:
        if any(person.pk == person_id for person in users[resource.workspace_id]):
            ask_to_sync(resource.pk)


@transaction.atomic
def set_local_account(
    *, backend: Backend, person: Person, username: str, by: Person | None, at: datetime
) -> LocalAccount:
    """Say which local user a person is at a backend; the resources they may use learn of it.

    username   "" is refused here; see `remove_local_account`
    raises     NotAllowed; UsernameInvalid; UsernameTaken; PersonNotThere when they use nothing of this provider
    """
    require(by, Permission.MANAGE_ACCOUNTS, backend.provider.organization, at)
    username = username.strip()
    if not USERNAME.fullmatch(username):
        raise UsernameInvalid(username=username[:40])
    if not people_there(backend, at=at).filter(pk=person.pk).exists():
        raise PersonNotThere
    Backend.objects.select_for_update(no_key=True).get(pk=backend.pk)  # two names at once: one after the other
    if LocalAccount.objects.filter(backend=backend, username=username).exclude(person=person).exists():
        raise UsernameTaken(username=username)
    account, _ = LocalAccount.objects.update_or_create(
        backend=backend, person=person, defaults={"username": username, "set_by": by, "set_at": at}
    )
    _tell(backend, person.pk, username, by=by, at=at, kind="account.set")
    _sync_resources_of(backend, person.pk, at=at)
    return account


@transaction.atomic
def remove_local_account(*, backend: Backend, person: Person, by: Person | None, at: datetime) -> None:
    """Take the mapping back; the resources no longer let the local user in.

    raises   NotAllowed; PersonNotThere when there is none
    """
    require(by, Permission.MANAGE_ACCOUNTS, backend.provider.organization, at)
    account = LocalAccount.objects.select_for_update().filter(backend=backend, person=person).first()
    if account is None:
        raise PersonNotThere
    username = account.username
    account.delete()
    _tell(backend, person.pk, username, by=by, at=at, kind="account.removed")
    _sync_resources_of(backend, person.pk, at=at)


@transaction.atomic
def note_account(*, backend: Backend, person_id: int, username: str, at: datetime) -> bool:
    """Keep the name that a backend itself gave; a name that somebody else bears already is not believed."""
    Backend.objects.select_for_update(no_key=True).get(pk=backend.pk)
    if LocalAccount.objects.filter(backend=backend, username=username).exclude(person_id=person_id).exists():
        return False
    _, made = LocalAccount.objects.get_or_create(
        backend=backend, person_id=person_id, defaults={"username": username, "set_at": at}
    )
    if made:
        _tell(backend, person_id, username, by=None, at=at, kind="account.set")
    return True


def workspaces_there(backend: Backend) -> list[Workspace]:
    """The workspaces that have anything at this backend."""
    return list(
        Workspace.objects.filter(resources__offering__backend=backend)
        .exclude(resources__state=ResourceState.TERMINATED)
        .select_related("project", "organization", "person")
        .distinct()
    )


def people_there(backend: Backend, *, at: datetime) -> QuerySet[Person]:
    """The people who may use something at this backend, or have an account there."""
    users = users_of(workspaces_there(backend), at)
    ids = {person.pk for people in users.values() for person in people}
    ids |= set(LocalAccount.objects.filter(backend=backend).values_list("person_id", flat=True))
    return Person.objects.filter(pk__in=ids)
