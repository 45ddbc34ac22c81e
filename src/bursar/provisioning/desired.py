"""What a plugin is told of resources: rows become the contract's values. Reads only."""

from collections.abc import Iterable
from datetime import datetime

from bursar.plugins.contract import DesiredResource, Member, Ref
from bursar.plugins.steps import Wish
from bursar.provisioning.lifecycle import AccountState
from bursar.provisioning.models import LocalAccount, Resource
from bursar.provisioning.people import users_of
from bursar.provisioning.policies import organization_of
from bursar.structure.models import Person, Project, SshKey


def desired_of(resources: Iterable[Resource], *, at: datetime) -> list[DesiredResource]:
    """The whole wish of each resource, in the order given; a constant number of queries."""
    resources = list(resources)
    workspaces = {resource.workspace_id: resource.workspace for resource in resources}
    users = users_of(workspaces.values(), at)
    people = {person.pk for members in users.values() for person in members}
    people |= {w.person_id for w in workspaces.values() if w.person_id is not None}
    backends = {r.offering.backend_id for r in resources if r.offering.backend_id is not None}
    accounts = {
        (account.backend_id, account.person_id): account
        for account in LocalAccount.objects.filter(
            backend_id__in=backends, person_id__in=people, state__in=[AccountState.ACTIVE, AccountState.BLOCKED]
        )
    }
    keys: dict[int, list[str]] = {}
    for person, key in (
        SshKey.objects.filter(person_id__in=people).order_by("pk").values_list("person_id", "public_key")
    ):
        keys.setdefault(person, []).append(key)
    above = {pk for w in workspaces.values() if w.project is not None for pk in w.project.path}
    projects = {
        pk: Ref(pk, slug, name)
        for pk, slug, name in Project.objects.filter(pk__in=above).values_list("pk", "slug", "name")
    }

    def member(person: Person, backend_id: int | None) -> Member:
        account = accounts.get((backend_id, person.pk)) if backend_id is not None else None
        is_blocked = account is not None and account.state == AccountState.BLOCKED
        return Member(
            person_id=person.pk,
            email=person.email,
            full_name=person.full_name,
            username=account.username if account is not None and not is_blocked else "",
            ssh_keys=tuple(keys.get(person.pk, ())),
            uid=account.uid if account is not None else None,
            blocked=is_blocked,
        )

    told = []
    for resource in resources:
        workspace, backend_id = resource.workspace, resource.offering.backend_id
        organization = organization_of(workspace)
        told.append(
            DesiredResource(
                id=resource.pk,
                slug=resource.slug or "",
                name=resource.name,
                offering_slug=resource.offering.slug,
                organization=None
                if organization is None
                else Ref(organization.pk, organization.slug, organization.name),
                projects=tuple(projects[pk] for pk in workspace.project.path) if workspace.project else (),
                owner=member(workspace.person, backend_id) if workspace.person else None,
                plan=resource.desired_plan.name,
                limits=resource.desired_limits,
                form=resource.form,
                members=tuple(member(person, backend_id) for person in users[workspace.pk]),
                paused=resource.desired_paused,
                generation=resource.generation,
                backend_id=resource.backend_id,
                state=resource.plugin_state,
            )
        )
    return told


def wishes_of(resources: Iterable[Resource], *, at: datetime) -> list[Wish]:
    """Each resource's wish and what of it is known to be so, in the order given; a constant number of queries."""
    resources = list(resources)
    return [
        Wish(
            desired=desired,
            gone=resource.desired_gone,
            matches=resource.matches,
            observed_paused=resource.observed_paused,
            removed=resource.removed_at is not None,
            members=None if resource.members is None else tuple(resource.members),
        )
        for resource, desired in zip(resources, desired_of(resources, at=at), strict=True)
    ]
