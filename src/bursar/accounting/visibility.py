"""What a viewer may see of wallets and allocations, and to whom they may give: asked by pages and API alike.

A wallet is seen by whoever sees its workspace and by the provider of its category. An allocation is seen from both of
its ends. Whoever sees a wallet sees the tree below it: what was handed on is theirs to account for.
"""

from datetime import datetime

from django.db.models import Q, QuerySet

from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import ProductCategory
from bursar.structure.errors import NotFound
from bursar.structure.models import Organization, Person, Workspace
from bursar.structure.roles import Permission, may, organizations_where, projects_where, require, workspaces_where

_OWNERS = ("project__organization", "organization", "person")


def _seen(viewer: Person, at: datetime, prefix: str = "") -> Q:
    return Q(**{f"{prefix}workspace__in": workspaces_where(viewer, Permission.VIEW_PROJECT, at)}) | Q(
        **{f"{prefix}category__provider__organization__in": organizations_where(viewer, Permission.VIEW_PROVIDER, at)}
    )


def wallets_seen(viewer: Person, at: datetime) -> QuerySet[Wallet]:
    """The wallets the viewer may see, with their category and their workspace's owner."""
    return Wallet.objects.filter(_seen(viewer, at)).select_related(
        "category__provider__organization", *(f"workspace__{owner}" for owner in _OWNERS)
    )


def wallet_seen(pk: int, viewer: Person, at: datetime) -> Wallet:
    """raises   NotFound"""
    wallet = wallets_seen(viewer, at).filter(pk=pk).first()
    if wallet is None:
        raise NotFound(noun="wallet")
    return wallet


def allocation_seen(pk: int, viewer: Person, at: datetime) -> Allocation:
    """An allocation into or out of a wallet that the viewer sees.

    raises   NotFound
    """
    allocation = (
        Allocation.objects.filter(_seen(viewer, at, "wallet__") | _seen(viewer, at, "source__"))
        .select_related(
            "category__provider__organization",
            *(f"wallet__workspace__{owner}" for owner in _OWNERS),
            *(f"source__workspace__{owner}" for owner in _OWNERS),
        )
        .filter(pk=pk)
        .first()
    )
    if allocation is None:
        raise NotFound(noun="allocation")
    return allocation


def may_give(viewer: Person, wallet: Wallet, at: datetime) -> bool:
    """Whether the viewer may hand on quota of the wallet, and the category lets them."""
    category = wallet.category
    passes_on = category.requires_allocation and category.allows_suballocation
    return passes_on and may(viewer, Permission.ALLOCATE, wallet.workspace, at)


def may_change(viewer: Person, allocation: Allocation, at: datetime) -> bool:
    """Whether the viewer speaks for the allocation's source."""
    return may(viewer, *_voice_of(allocation.category, allocation.source), at)


def require_change(viewer: Person, allocation: Allocation, at: datetime) -> None:
    """raises   NotAllowed when the viewer does not speak for the allocation's source"""
    require_source(viewer, allocation.category, allocation.source, at)


def require_source(by: Person | None, category: ProductCategory, source: Wallet | None, at: datetime) -> None:
    """raises   NotAllowed when they do not speak for the source, or for the category where there is none"""
    require(by, *_voice_of(category, source), at)


def _voice_of(category: ProductCategory, source: Wallet | None) -> tuple[Permission, Organization | Workspace]:
    """What one has to hold, and where, to speak for a source: its workspace, or the provider for what has none."""
    if source is None:
        return Permission.ALLOCATE_ROOT, category.provider.organization
    return Permission.ALLOCATE, source.workspace


def recipients_below(wallet: Wallet) -> QuerySet[Workspace]:
    """To whom a wallet's quota may be handed on: an organization gives to its projects and to other organizations, a
    project to its sub-projects."""
    rows = _workspaces().exclude(pk=wallet.workspace_id)
    owner = wallet.workspace
    if owner.organization_id is not None:
        return rows.filter(
            Q(project__organization_id=owner.organization_id, project__archived_at=None)
            | Q(organization__isnull=False, organization__archived_at=None)
        )
    if owner.project_id is not None:
        return rows.filter(project__path__contains=[owner.project_id], project__archived_at=None)
    return rows.none()


def recipients_of_roots(viewer: Person, category: ProductCategory, at: datetime) -> QuerySet[Workspace]:
    """To whom the provider may give directly: every organization, and the projects that the viewer sees or that have a
    wallet in the category already."""
    return _workspaces().filter(
        Q(organization__isnull=False, organization__archived_at=None)
        | Q(project__in=projects_where(viewer, Permission.VIEW_PROJECT, at), project__archived_at=None)
        | Q(pk__in=Wallet.objects.filter(category=category).values("workspace_id"))
    )


def _workspaces() -> QuerySet[Workspace]:
    return Workspace.objects.select_related(*_OWNERS).order_by("organization__name", "project__name", "pk")
