"""The gate before orders, changes and actions: what is drawn on needs an allocation that holds now, and somebody who pays."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from django.utils.translation import gettext as _

from bursar.accounting import selectors as accounting
from bursar.catalogue.models import Component, Plan, ProductCategory
from bursar.provisioning import pricing
from bursar.provisioning.errors import NobodyPays, NoValidAllocation, QuotaUsedUp
from bursar.structure.models import Workspace


def categories_of(components: Iterable[Component]) -> list[ProductCategory]:
    """The categories drawn on that require an allocation, each once, by id."""
    found = {c.category.pk: c.category for c in components if c.category is not None}
    return [found[pk] for pk in sorted(found) if found[pk].requires_allocation]


def _advice(workspace: Workspace, category: ProductCategory) -> str:
    if workspace.project is not None:
        return _("Ask {organization} or {provider} for an allocation of it.").format(
            organization=workspace.project.organization.name, provider=category.provider.organization.name
        )
    return _("Ask {provider} for an allocation of it.").format(provider=category.provider.organization.name)


def require_allocations(
    workspace: Workspace, components: Iterable[Component], *, at: datetime, new: bool = False
) -> None:
    """new      something is to start that does not run yet, so something must be left as well
    raises   NoValidAllocation, QuotaUsedUp: for the first such category
    """
    for category in categories_of(components):
        if not accounting.has_valid_allocation(workspace_id=workspace.pk, category_id=category.pk, at=at):
            raise NoValidAllocation(
                workspace=str(workspace),
                category=category.title,
                advice=_advice(workspace, category),
                category_id=category.pk,
            )
        if new and accounting.available_ticks(workspace_id=workspace.pk, category_id=category.pk, at=at) == 0:
            raise QuotaUsedUp(
                workspace=str(workspace),
                category=category.title,
                advice=_advice(workspace, category),
                category_id=category.pk,
            )


def require_payer(workspace: Workspace, plan: Plan, components: Iterable[Component], *, at: datetime) -> None:
    """Personal workspaces are not invoiced (docs/adr/0030).

    raises   NobodyPays
    """
    if workspace.person_id is not None and pricing.costs_something(plan, components, at=at):
        raise NobodyPays(plan=plan.name, workspace=str(workspace))


def available(workspace: Workspace, category_ids: Sequence[int], *, at: datetime) -> Mapping[int, int | None]:
    """Category -> ticks that the workspace's wallet can still use; None = nothing limits it."""
    return {
        category_id: accounting.available_ticks(workspace_id=workspace.pk, category_id=category_id, at=at)
        for category_id in category_ids
    }
