"""Offering a resource its share of what is left, and keeping that its backend was told so.

A backend is asked outside of any transaction, perhaps at the other end of a network. From the offer on the share counts as
told, whether or not the backend ever hears of it: so two resources of one wallet are never promised the same.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection, transaction

from bursar.plugins.contract import ComponentQuota
from bursar.plugins.steps import QuotaOffer
from bursar.provisioning import quota
from bursar.provisioning.locks import Space
from bursar.provisioning.models import Resource
from bursar.provisioning.queue import ask_to_sync
from bursar.provisioning.services._common import RESOURCE_RELATED


def _alone_with(workspace_id: int) -> None:
    """Until the transaction's end nobody else offers or confirms quota of this workspace."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [Space.QUOTA, workspace_id])


def _load(resource_id: int) -> Resource:
    return Resource.objects.select_related(*RESOURCE_RELATED).get(pk=resource_id)


@transaction.atomic
def offer_quota(*, resource_id: int, workspace_id: int, at: datetime) -> QuotaOffer:
    """What the resource may draw from now on, kept for it."""
    _alone_with(workspace_id)
    resource = _load(resource_id)
    shares = quota.quota_of(resource, at=at)
    wanted = quota.stored(shares)
    if resource.quota == wanted and resource.quota_offered is None:
        return QuotaOffer(resource.quota_offer, tuple(shares), is_told=True)
    resource.quota_offer += 1
    resource.quota_offered = quota.highest(resource.quota_offered, wanted)
    resource.save(update_fields=["quota_offer", "quota_offered"])
    return QuotaOffer(resource.quota_offer, tuple(shares), is_told=False)


@transaction.atomic
def confirm_quota(
    *, resource_id: int, workspace_id: int, number: int, shares: Sequence[ComponentQuota], at: datetime
) -> bool:
    """The backend was told this offer: those who share the wallet with it may have the rest.

    returns   False: a later offer was made meanwhile, so this one is not what the backend holds at the end
    """
    _alone_with(workspace_id)
    resource = _load(resource_id)
    if resource.quota_offer != number:
        return False
    resource.quota, resource.quota_offered, resource.quota_at = quota.stored(shares), None, at
    resource.save(update_fields=["quota", "quota_offered", "quota_at"])
    ask_to_sync(*quota.fellows_to_tell(resource, shares, at=at))
    return True
