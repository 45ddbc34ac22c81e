"""Organizations: made by the operator, edited by their owners, archived and taken back."""

from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q

from bursar.structure.errors import OrganizationArchived, OrganizationInUse, SellsInItsCurrency, SlugTaken
from bursar.structure.models import Organization, Person, Project, Workspace
from bursar.structure.roles import Permission, Role, require
from bursar.structure.services._common import tell, write_changes
from bursar.structure.services.invitations import invite
from bursar.structure.services.memberships import give_membership
from bursar.structure.text import clean_line, slug_of
from bursar.structure.values import clean_country, clean_currency, clean_time_zone, clean_url, clean_vat_number


def lock_organization(organization: Organization | int) -> Organization:
    pk = organization if isinstance(organization, int) else organization.pk
    return Organization.objects.select_for_update().get(pk=pk)


@transaction.atomic
def create_organization(
    *,
    name: str,
    slug: str = "",
    country: str = "",
    vat_number: str = "",
    currency: str = "EUR",
    time_zone: str = "UTC",
    url: str = "",
    owner: Person | None = None,
    owner_email: str = "",
    by: Person | None,
    at: datetime,
) -> Organization:
    """Make an organization with its workspace and, where one is named, its first owner.

    slug          made from the name when empty
    owner_email   instead of `owner`: whoever is registered with it becomes owner, anybody else is invited by `by`
    raises   NotAllowed; TextMissing, TextTooLong, TextNotAllowed, InvalidValue; SlugTaken;
             InvalidEmail
    """
    require(by, Permission.OPERATE_PLATFORM, None, at)
    country = clean_country(country)
    values = {
        "name": clean_line(name, field="name", limit=200),
        "country": country,
        "vat_number": clean_vat_number(vat_number, country),
        "currency": clean_currency(currency),
        "time_zone": clean_time_zone(time_zone),
        "url": clean_url(url),
    }
    wanted = slug_of(slug or values["name"], otherwise="organization")
    taken = set(Organization.objects.filter(slug__startswith=wanted[:36]).values_list("slug", flat=True))
    if slug and wanted in taken:
        raise SlugTaken(slug=wanted)
    # Two at once with one name: the second waits on the unique index and is told so.
    organization = _insert(values, free_slug(wanted, taken))
    Workspace.objects.create(kind=Workspace.Kind.ORGANIZATION, organization=organization)
    tell("organization.created", organization, scope=organization, by=by, at=at, facts={"name": organization.name})
    if owner is None and owner_email:
        owner = Person.objects.filter(email__iexact=owner_email.strip(), is_active=True).first()
        if owner is None and by is not None:
            invite(email=owner_email, role=Role.ORGANIZATION_OWNER, scope=organization, by=by, at=at)
    if owner is not None:
        give_membership(person=owner, role=Role.ORGANIZATION_OWNER, scope=organization, by=by, at=at)
    return organization


def _insert(values: dict[str, str], slug: str) -> Organization:
    organization, created = Organization.objects.get_or_create(slug=slug, defaults=values)
    if not created:
        raise SlugTaken(slug=slug)
    return organization


def free_slug(wanted: str, taken: set[str], limit: int = 40) -> str:
    """The wanted short name, or the first of wanted-2, wanted-3… that is not taken."""
    slug, number = wanted, 2
    while slug in taken:
        suffix = f"-{number}"
        slug = wanted[: limit - len(suffix)] + suffix
        number += 1
    return slug


@transaction.atomic
def edit_organization(
    *,
    organization: Organization,
    name: str,
    country: str,
    vat_number: str,
    currency: str,
    time_zone: str,
    url: str,
    by: Person | None,
    at: datetime,
) -> Organization:
    """raises   NotAllowed; OrganizationArchived; TextMissing, TextTooLong, TextNotAllowed, InvalidValue; SellsInItsCurrency"""
    row = lock_organization(organization)
    require(by, Permission.EDIT_ORGANIZATION, row, at)
    require_open_organization(row)
    country = clean_country(country)
    values = {
        "name": clean_line(name, field="name", limit=200),
        "country": country,
        "vat_number": clean_vat_number(vat_number, country),
        "currency": clean_currency(currency),
        "time_zone": clean_time_zone(time_zone),
        "url": clean_url(url),
    }
    try:
        with transaction.atomic():
            changes = write_changes(row, values)
    except IntegrityError as error:
        # The table refuses it where there are invoices, of which this package knows nothing.
        if getattr(getattr(error.__cause__, "diag", None), "constraint_name", "") == "organization_has_invoices":
            raise SellsInItsCurrency from None
        raise
    if changes:
        tell("organization.edited", row, scope=row, by=by, at=at, facts={"changes": changes})
    return row


def require_open_organization(organization: Organization) -> None:
    """raises   OrganizationArchived"""
    if organization.archived_at is not None:
        raise OrganizationArchived(organization=organization.name)


@transaction.atomic
def archive_organization(*, organization: Organization, by: Person | None, at: datetime) -> Organization:
    """Nothing new happens in it from now on; what it was stays readable. Archiving twice is once.

    raises   NotAllowed; OrganizationInUse while projects of it go on
    """
    row = lock_organization(organization)
    require(by, Permission.OPERATE_PLATFORM, None, at)
    if row.archived_at is not None:
        return row
    going_on = Project.objects.filter(Q(end=None) | Q(end__gt=at), organization=row, archived_at=None).count()
    if going_on:
        raise OrganizationInUse(projects=going_on)
    write_changes(row, {"archived_at": at})
    tell("organization.archived", row, scope=row, by=by, at=at)
    return row


@transaction.atomic
def unarchive_organization(*, organization: Organization, by: Person | None, at: datetime) -> Organization:
    """raises   NotAllowed"""
    row = lock_organization(organization)
    require(by, Permission.OPERATE_PLATFORM, None, at)
    if row.archived_at is not None:
        write_changes(row, {"archived_at": None})
        tell("organization.unarchived", row, scope=row, by=by, at=at)
    return row
