"""Whose use is told by name to whom: asked by pages and API alike.

Whoever sees a wallet sees the sums of the tree below it. People are told where the viewer may see usage by person,
resources where they see the workspace, or as the provider, whose resources they are.
"""

from datetime import datetime

from bursar.accounting.models import Wallet
from bursar.metering.history import Breakdown, By, Days, usage_breakdown
from bursar.structure.models import Person
from bursar.structure.roles import Permission, may, require, workspaces_where


def may_break_down(viewer: Person, wallet: Wallet, by: By, at: datetime) -> bool:
    return by is not By.PERSON or may(viewer, Permission.VIEW_USAGE, wallet.workspace, at)


def breakdown_seen(
    viewer: Person, wallet: Wallet, days: Days, by: By, *, below: bool = True, top: int = 10, at: datetime
) -> Breakdown:
    """The breakdown of a wallet that the viewer sees; what may not be told by name is `hidden_ticks`.

    raises   NotAllowed when the viewer may not see the people of this wallet
    """
    seen: list[int] | None = None
    if by is By.PERSON:
        require(viewer, Permission.VIEW_USAGE, wallet.workspace, at)
        seen = _wallets_where(viewer, Permission.VIEW_USAGE, wallet, at)
    elif by is By.RESOURCE:
        provider = wallet.category.provider.organization
        if not may(viewer, Permission.VIEW_PROVIDER, provider, at):
            seen = _wallets_where(viewer, Permission.VIEW_PROJECT, wallet, at)
    return usage_breakdown(wallet=wallet, days=days, by=by, seen=seen, below=below, top=top)


def _wallets_where(viewer: Person, permission: Permission, wallet: Wallet, at: datetime) -> list[int]:
    rows = Wallet.objects.filter(category_id=wallet.category_id, workspace__in=workspaces_where(viewer, permission, at))
    return list(rows.values_list("pk", flat=True))
