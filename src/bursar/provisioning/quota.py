"""How what is left of a wallet is shared out among the resources that draw on it. Reads only."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, Sum

from bursar.accounting import selectors as accounting
from bursar.catalogue.models import Component, ProductCategory
from bursar.engine.apportion import allot
from bursar.metering.models import ScopeLevel
from bursar.plugins.contract import ComponentQuota
from bursar.provisioning.lifecycle import LIVE_RESOURCE_STATES, ResourceState
from bursar.provisioning.models import Resource

# Those that may draw: what is being made is told its share before it is ready.
DRAWING_STATES = (*LIVE_RESOURCE_STATES, ResourceState.CREATING)
# What a wish reserves, and not only what is counted as it is used.
RESERVING = (Component.Billing.LIMIT, Component.Billing.FIXED)


def is_metered(component: Component) -> bool:
    """Whether the backend measures it and so has to keep it within a quota.

    A level that follows from the limit or the plan (storage that is reserved) is held by the limit itself.
    """
    if component.category is None:
        return False
    held_by_limit = component.billing in RESERVING
    return component.category.is_over_time or not held_by_limit


def shared_categories(components: Iterable[Component]) -> frozenset[int]:
    """Of an offering's components: the categories on which more than one of them is measured."""
    measured = [one.category_id for one in components if one.category_id is not None and is_metered(one)]
    return frozenset(category for category in measured if measured.count(category) > 1)


@dataclass(frozen=True, slots=True)
class Fellow:
    """A component of a resource that may draw on a wallet, and the most that its backend may have been told, in ticks."""

    resource_id: int
    component_id: int
    told_ticks: int


def quota_of(resource: Resource, *, at: datetime) -> list[ComponentQuota]:
    """What each metered component of the resource may still draw, in its measured units.

    What a wallet has available is split evenly among the resources (and components) that draw on it. A share is never
    more than what the others were not told yet: one that joins gets its share when theirs were lowered, so that together
    they never exceed the wallet. Standing still (paused, or to be removed) it gets nothing.
    """
    rows: list[ComponentQuota] = []
    for component in resource.offering.components.select_related("category"):
        category = component.category
        if category is None or not is_metered(component):
            continue
        if not category.requires_allocation:
            rows.append(ComponentQuota(component.key, None, locked=False))
            continue
        state = accounting.wallet_state(workspace_id=resource.workspace_id, category_id=category.pk, at=at)
        left = 0 if state is None else state.available_ticks
        if left is None:
            rows.append(ComponentQuota(component.key, None, locked=False))
            continue
        fellows = _fellows(resource.workspace_id, category.pk)
        mine = [(f.resource_id, f.component_id) for f in fellows]
        if (resource.pk, component.pk) not in mine:
            rows.append(ComponentQuota(component.key, 0, locked=True))
            continue
        share = allot(left, [1] * len(fellows))[mine.index((resource.pk, component.pk))]
        told = sum(f.told_ticks for f in fellows if (f.resource_id, f.component_id) != (resource.pk, component.pk))
        measured = max(0, min(share, left - told)) // component.ticks_per_measured
        reported = reported_ticks(resource, component) // component.ticks_per_measured
        rows.append(ComponentQuota(component.key, measured, locked=left == 0, reported=reported))
    return rows


def reported_ticks(resource: Resource, component: Component) -> int:
    """What was posted of this component of the resource so far, corrections included."""
    scope = scope_of_usage(resource.pk, component.key)
    # The kept levels, of which a job has one, and not its reports, of which it has one for each time it was looked at.
    levels = ScopeLevel.objects.filter(
        Q(scope=scope) | Q(scope__startswith=f"{scope} "),
        category_id=component.category_id,
        wallet__category_id=component.category_id,
        wallet__workspace_id=resource.workspace_id,
    )
    return int(levels.aggregate(ticks=Sum("level_ticks"))["ticks"] or 0)


def beyond_what_stands(resource: Resource, ticks: Mapping[int, int]) -> dict[int, int]:
    """What a wish for these ticks by category would draw beyond what the resource has drawn already, never below zero."""
    held: dict[int, int] = {}
    for component in resource.offering.components.filter(category_id__in=ticks, billing__in=RESERVING):
        assert component.category_id is not None
        held[component.category_id] = held.get(component.category_id, 0) + reported_ticks(resource, component)
    return {category_id: max(0, wanted - held.get(category_id, 0)) for category_id, wanted in ticks.items()}


def scope_of_usage(resource_id: int, key: str, scope: str = "") -> str:
    """The name under which a component's usage is counted in its wallet: unlike that of every other resource."""
    return f"resource {resource_id} {key} {scope}".rstrip()


def _fellows(workspace_id: int, category_id: int) -> list[Fellow]:
    """Everything that may draw on this wallet now, in a fixed order. Three queries."""
    components: dict[int, list[Component]] = {}
    for component in (
        Component.objects.filter(category_id=category_id, offering__resources__workspace_id=workspace_id)
        .select_related("category")
        .distinct()
    ):
        if is_metered(component):
            components.setdefault(component.offering_id, []).append(component)
    resources = Resource.objects.filter(
        workspace_id=workspace_id,
        offering__in=components,
        state__in=DRAWING_STATES,
        desired_gone=False,
        desired_paused=False,
    ).values_list("pk", "offering_id", "quota", "quota_offered")
    found = []
    for pk, offering_id, quota, offered in resources:
        told = {key: available or 0 for key, available, _ in highest(quota, offered)}
        found += [
            Fellow(pk, component.pk, told.get(component.key, 0) * component.ticks_per_measured)
            for component in components[offering_id]
        ]
    return sorted(found, key=lambda fellow: (fellow.resource_id, fellow.component_id))


def fellows_to_tell(resource: Resource, shares: Sequence[ComponentQuota], *, at: datetime) -> list[int]:
    """Resources drawing on the same wallets whose share is now another than what they were told by more than a little.

    A little: a share drifts with every report; those follow at their own next turn.
    """
    wanted: set[int] = set()
    for component in resource.offering.components.select_related("category"):
        category = component.category
        if category is None or not category.requires_allocation or not is_metered(component):
            continue
        state = accounting.wallet_state(workspace_id=resource.workspace_id, category_id=category.pk, at=at)
        left = None if state is None else state.available_ticks
        fellows = _fellows(resource.workspace_id, category.pk)
        if left is None or not fellows:
            continue
        for fellow, share in zip(fellows, allot(left, [1] * len(fellows)), strict=True):
            if fellow.resource_id != resource.pk and abs(fellow.told_ticks - share) > share // 20:
                wanted.add(fellow.resource_id)
    return sorted(wanted)


def stored(quota: Sequence[ComponentQuota]) -> list[list[object]]:
    """As it is kept to compare with what the backend was told last."""
    return [[q.component, q.available, q.locked] for q in quota]


def highest(one: Sequence[Sequence[Any]] | None, other: Sequence[Sequence[Any]] | None) -> list[list[Any]]:
    """Of two quotas as they are kept, the more generous for each component: what a backend may have been told at most."""
    most: dict[str, list[Any]] = {}
    for component, available, locked in (*(one or ()), *(other or ())):
        known = most.get(component)
        if known is None or (known[1] is not None and (available is None or available > known[1])):
            most[component] = [component, available, locked]
    return [most[component] for component in sorted(most)]


def locked_resources(resources: Iterable[Resource], *, at: datetime) -> Mapping[int, list[ProductCategory]]:
    """Resource id -> the categories of which nothing is left, so that nothing new may start; a few queries for any number."""
    resources = list(resources)
    draws: dict[int, dict[int, ProductCategory]] = {}
    for component in Component.objects.filter(
        offering_id__in={r.offering_id for r in resources}, category__requires_allocation=True
    ).select_related("category"):
        assert component.category is not None
        if is_metered(component):
            draws.setdefault(component.offering_id, {})[component.category.pk] = component.category
    wanted = {(r.workspace_id, category) for r in resources for category in draws.get(r.offering_id, ())}
    states = states_of(wanted, at=at)
    locked: dict[int, list[ProductCategory]] = {}
    for resource in resources:
        for pk, category in draws.get(resource.offering_id, {}).items():
            state = states.get((resource.workspace_id, pk))
            if state is None or state.locked:
                locked.setdefault(resource.pk, []).append(category)
    return locked


def states_of(pairs: Iterable[tuple[int, int]], *, at: datetime) -> Mapping[tuple[int, int], "accounting.WalletState"]:
    """(workspace, category) -> how its wallet stands; pairs without a wallet are left out."""
    pairs = set(pairs)
    if not pairs:
        return {}
    wallets = accounting.Wallet.objects.filter(
        workspace_id__in={workspace for workspace, _ in pairs}, category_id__in={category for _, category in pairs}
    ).select_related("category", "workspace")
    wanted = [wallet for wallet in wallets if (wallet.workspace_id, wallet.category_id) in pairs]
    states = accounting.wallet_states(wallets=wanted, at=at)
    return {(wallet.workspace_id, wallet.category_id): states[wallet.pk] for wallet in wanted}
