"""Authorizing organizations to sell, and their profile."""

from datetime import datetime

from django.db import transaction

from bursar.catalogue.errors import AlreadyProvider
from bursar.catalogue.lifecycle import OfferingState
from bursar.catalogue.models import ServiceProvider
from bursar.catalogue.services._common import check, require_for_provider, set_fields, tell
from bursar.structure.models import Organization, Person
from bursar.structure.roles import Permission, require


@transaction.atomic
def authorize_provider(*, organization: Organization, by: Person | None, at: datetime) -> ServiceProvider:
    """The organization may publish offerings from now on; one whose authorization was taken back gets it again.

    raises   NotAllowed; AlreadyProvider
    """
    require(by, Permission.OPERATE_PLATFORM, None, at)
    Organization.objects.select_for_update().get(pk=organization.pk)
    provider = ServiceProvider.objects.filter(organization=organization).first()
    if provider is not None and provider.revoked_at is None:
        raise AlreadyProvider(organization=organization.name)
    if provider is None:
        provider = ServiceProvider(organization=organization)
    provider.authorized_at, provider.authorized_by, provider.revoked_at = at, by, None
    provider.save()
    tell("provider.authorized", provider, provider, by=by, at=at)
    return provider


@transaction.atomic
def revoke_provider(*, provider: ServiceProvider, reason: str, by: Person | None, at: datetime) -> ServiceProvider:
    """The organization publishes nothing more: its offerings leave the shelf, what was sold goes on. Twice is once.

    raises   NotAllowed
    """
    require(by, Permission.OPERATE_PLATFORM, None, at)
    provider = ServiceProvider.objects.select_for_update().get(pk=provider.pk)
    if provider.revoked_at is not None:
        return provider
    provider.revoked_at = at
    provider.save(update_fields=["revoked_at"])
    for offering in provider.offerings.select_for_update().filter(state=OfferingState.ACTIVE).order_by("pk"):
        offering.state = OfferingState.PAUSED
        offering.paused_reason = reason[:300]
        offering.save(update_fields=["state", "paused_reason"])
        tell("offering.paused", offering, provider, by=by, at=at, reason=offering.paused_reason)
    tell("provider.revoked", provider, provider, by=by, at=at, reason=reason)
    return provider


@transaction.atomic
def edit_provider(
    *, provider: ServiceProvider, description: str, contact_email: str, by: Person | None, at: datetime
) -> ServiceProvider:
    """raises   NotAllowed; ProviderNotAuthorized; InvalidInput"""
    require_for_provider(by, Permission.EDIT_PROVIDER, provider, at)
    provider = ServiceProvider.objects.select_for_update().get(pk=provider.pk)
    changed = set_fields(provider, {"description": description, "contact_email": contact_email})
    check(provider)
    if changed:
        provider.save(update_fields=changed)
        tell("provider.edited", provider, provider, by=by, at=at, fields=changed)
    return provider
