"""What a provider is told of a subject: its whole state now, so that what came before may be skipped. Reads only.

Each function answers for many subjects of one kind with a number of queries that does not grow with them. Instants are
ISO 8601 in UTC; quantities are whole ticks, or, where a plugin is meant, whole measured units.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.db.models import QuerySet

from bursar.accounting import selectors as accounting
from bursar.accounting.models import Wallet
from bursar.catalogue.models import ServiceProvider
from bursar.delivery.models import FeedEntry
from bursar.plugins import wire
from bursar.plugins.steps import Wish
from bursar.provisioning.account_steps import member_of, work_on
from bursar.provisioning.desired import wishes_of
from bursar.provisioning.lifecycle import AccountState, OrderState, ResourceState
from bursar.provisioning.models import LocalAccount, Order, Resource
from bursar.provisioning.services._common import ORDER_RELATED, RESOURCE_RELATED
from bursar.structure.models import Membership, Project, SshKey, Workspace
from bursar.structure.roles import PROJECT_ROLES

State = dict[str, Any]


Wanted = Mapping[int, Collection[int]]
"""Provider id -> ids of subjects."""


def states_of(subjects: Iterable[tuple[int, str, int]], *, at: datetime) -> Mapping[tuple[int, str, int], State]:
    """(provider id, kind, id) -> state; what there is no longer, or is not that provider's, is left out."""
    wanted: dict[str, dict[int, set[int]]] = {}
    for provider_id, kind, pk in subjects:
        wanted.setdefault(kind, {}).setdefault(provider_id, set()).add(pk)
    return {
        (provider_id, kind, pk): state
        for kind, by_provider in wanted.items()
        for (provider_id, pk), state in READERS[kind](by_provider, at).items()
    }


def _all(wanted: Wanted) -> set[int]:
    return {pk for ids in wanted.values() for pk in ids}


def _is_wanted(wanted: Wanted, provider_id: int, pk: int) -> bool:
    return pk in wanted.get(provider_id, ())


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _workspace(workspace: Workspace) -> State:
    return {
        "id": workspace.pk,
        "kind": workspace.kind,
        "project_id": workspace.project_id,
        "organization_id": workspace.organization_id,
        "person_id": workspace.person_id,
        "name": str(workspace),
    }


def resource_states(wanted: Wanted, at: datetime) -> dict[tuple[int, int], State]:
    rows = list(Resource.objects.filter(pk__in=_all(wanted)).select_related(*RESOURCE_RELATED).order_by("pk"))
    rows = [row for row in rows if _is_wanted(wanted, row.offering.provider_id, row.pk)]
    return {
        (resource.offering.provider_id, resource.pk): resource_state(resource, wish)
        for resource, wish in zip(rows, wishes_of(rows, at=at), strict=True)
    }


def resource_state(resource: Resource, wish: Wish) -> State:
    """The wish and what is known of it (as the plugins' steps read it), and what a person would want to see beside it."""
    return {
        "id": resource.pk,
        "backend_id": resource.offering.backend_id,
        "offering_id": resource.offering_id,
        "workspace": _workspace(resource.workspace),
        "state": resource.state,
        "generation": resource.generation,
        "wish": wire.dump(wish),
        "quota": [
            {"component": component, "available": available, "locked": locked}
            for component, available, locked in resource.quota or ()
        ],
        "removed_at": _instant(resource.removed_at),
        "terminated_at": _instant(resource.terminated_at),
        "end": _instant(resource.end),
        "message": resource.message,
    }


def order_states(wanted: Wanted, at: datetime) -> dict[tuple[int, int], State]:
    rows = Order.objects.filter(pk__in=_all(wanted)).select_related(*ORDER_RELATED)
    return {
        (order.offering.provider_id, order.pk): {
            "id": order.pk,
            "kind": order.kind,
            "state": order.state,
            "awaits_provider": order.state == OrderState.PENDING_PROVIDER,
            "offering_id": order.offering_id,
            "backend_id": order.offering.backend_id,
            "resource_id": order.resource_id,
            "workspace": _workspace(order.workspace),
            "name": order.name,
            "plan": order.plan.name,
            "limits": order.limits,
            "form": order.form,
            "comment": order.comment,
            "start": _instant(order.start),
            "end": _instant(order.end),
            "created_at": _instant(order.created_at),
            "error": order.error,
        }
        for order in rows.order_by("pk")
        if _is_wanted(wanted, order.offering.provider_id, order.pk)
    }


def wallet_states(wanted: Wanted, at: datetime) -> dict[tuple[int, int], State]:
    """One statement more for each category among them."""
    rows = list(
        Wallet.objects.filter(pk__in=_all(wanted))
        .select_related("category", "workspace__project", "workspace__organization", "workspace__person")
        .order_by("pk")
    )
    rows = [row for row in rows if _is_wanted(wanted, row.category.provider_id, row.pk)]
    states = accounting.wallet_states(wallets=rows, at=at)
    return {
        (wallet.category.provider_id, wallet.pk): {
            "id": wallet.pk,
            "workspace": _workspace(wallet.workspace),
            "category": {
                "id": wallet.category.pk,
                "name": wallet.category.name,
                "unit_name": wallet.category.unit_name,
                "ticks_per_unit": wallet.category.ticks_per_unit,
            },
            "quota_ticks": state.quota_ticks,
            "used_ticks": state.used_ticks,
            "uncovered_ticks": state.uncovered_ticks,
            "available_ticks": state.available_ticks,
            "locked": state.locked,
            "over": state.over,
            "until": _instant(state.until),
        }
        for wallet in rows
        for state in (states[wallet.pk],)
    }


def project_states(wanted: Wanted, at: datetime) -> dict[tuple[int, int], State]:
    """A project may concern several providers, and each is told the names that its members bear there."""
    return {
        (provider_id, pk): state
        for provider_id, ids in wanted.items()
        for pk, state in _project_states(provider_id, ids, at).items()
    }


def _project_states(provider: int, ids: Collection[int], at: datetime) -> dict[int, State]:
    """A project's dates and members, with the names that they bear at the provider's backends."""
    there = set(
        Resource.objects.filter(workspace__project_id__in=ids, offering__provider=provider).values_list(
            "workspace__project_id", flat=True
        )
    ) | set(
        Wallet.objects.filter(workspace__project_id__in=ids, category__provider=provider).values_list(
            "workspace__project_id", flat=True
        )
    )
    projects = list(Project.objects.filter(pk__in=there).select_related("organization").order_by("pk"))
    memberships = list(
        Membership.objects.held_at(at)
        .filter(project_id__in=there, role__in=PROJECT_ROLES, person__is_active=True)
        .select_related("person")
        .order_by("project_id", "person_id", "pk")
    )
    names: dict[int, dict[str, str]] = {}
    for person_id, backend_id, username in LocalAccount.objects.filter(
        backend__provider=provider, person_id__in={m.person_id for m in memberships}, state=AccountState.ACTIVE
    ).values_list("person_id", "backend_id", "username"):
        names.setdefault(person_id, {})[str(backend_id)] = username
    members: dict[int, list[State]] = {}
    for membership in memberships:
        assert membership.project_id is not None
        members.setdefault(membership.project_id, []).append(
            {
                "person_id": membership.person_id,
                "full_name": membership.person.full_name,
                "email": membership.person.email,
                "role": membership.role,
                "until": _instant(membership.until),
                "usernames": names.get(membership.person_id, {}),
            }
        )
    return {
        project.pk: {
            "id": project.pk,
            "slug": project.slug,
            "name": project.name,
            "organization": {"id": project.organization_id, "name": project.organization.name},
            "parent_id": project.parent_id,
            "start": _instant(project.start),
            "end": _instant(project.end),
            "archived_at": _instant(project.archived_at),
            "members": members.get(project.pk, []),
        }
        for project in projects
    }


def account_states(wanted: Wanted, at: datetime) -> dict[tuple[int, int], State]:
    """An account, the person behind it, and (`work`) what the backend is still to be asked about it."""
    found = LocalAccount.objects.filter(pk__in=_all(wanted)).select_related("person", "backend").order_by("pk")
    rows = [row for row in found if _is_wanted(wanted, row.backend.provider_id, row.pk)]
    work = work_on([row.pk for row in rows])
    keys: dict[int, list[str]] = {}
    for person_id, key in (
        SshKey.objects.filter(person_id__in={row.person_id for row in rows})
        .order_by("pk")
        .values_list("person_id", "public_key")
    ):
        keys.setdefault(person_id, []).append(key)
    return {
        (row.backend.provider_id, row.pk): {
            "id": row.pk,
            "backend_id": row.backend_id,
            "username": row.username,
            "uid": row.uid,
            "state": row.state,
            "reason": row.reason,
            "work": work.get(row.pk),
            "member": wire.dump(replace(member_of(row), ssh_keys=tuple(keys.get(row.person_id, ())))),
            "person": {
                "id": row.person_id,
                "full_name": row.person.full_name,
                "email": row.person.email,
                "active": row.person.is_active,
                "ssh_keys": keys.get(row.person_id, []),
            },
        }
        for row in rows
    }


READERS: Final[Mapping[str, Callable[[Wanted, datetime], dict[tuple[int, int], State]]]] = {
    FeedEntry.Subject.RESOURCE.value: resource_states,
    FeedEntry.Subject.ORDER.value: order_states,
    FeedEntry.Subject.WALLET.value: wallet_states,
    FeedEntry.Subject.PROJECT.value: project_states,
    FeedEntry.Subject.ACCOUNT.value: account_states,
}


# ------------------------------------------------------------------------------------------------ everything there is
def ids_from(provider: ServiceProvider, kind: str, after: int, limit: int) -> list[int]:
    """The next subjects of a kind that concern the provider now, by id."""
    rows: QuerySet[Any]
    match kind:
        case FeedEntry.Subject.RESOURCE:
            rows = Resource.objects.filter(offering__provider=provider).exclude(state=ResourceState.TERMINATED)
        case FeedEntry.Subject.ORDER:
            rows = Order.objects.filter(offering__provider=provider, closed_at=None)
        case FeedEntry.Subject.WALLET:
            rows = Wallet.objects.filter(category__provider=provider)
        case FeedEntry.Subject.PROJECT:
            wallets = Wallet.objects.filter(category__provider=provider, workspace__project__isnull=False)
            rows = Project.objects.filter(pk__in=wallets.values("workspace__project_id"))
        case _:
            rows = LocalAccount.objects.filter(backend__provider=provider)
    return list(rows.filter(pk__gt=after).order_by("pk").values_list("pk", flat=True)[:limit])
