"""What every service of the catalogue does the same way."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext

from bursar.catalogue.errors import InvalidInput, NameTaken, ProviderNotAuthorized
from bursar.catalogue.models import Offering, ServiceProvider
from bursar.events.services import Happening, record
from bursar.kernel.errors import DomainError
from bursar.kernel.refusals import words
from bursar.structure.models import Person
from bursar.structure.roles import Permission, require
from bursar.structure.text import clean_line, clean_text


def require_for_provider(by: Person | None, permission: Permission, provider: ServiceProvider, at: datetime) -> None:
    """The right to change something of a provider, and that it is one still.

    raises   NotAllowed; ProviderNotAuthorized
    """
    require(by, permission, provider.organization, at)
    if provider.revoked_at is not None:
        raise ProviderNotAuthorized(organization=provider.organization.name)


def lock_offering(offering: Offering) -> Offering:
    """The offering as it stands now, locked until the end of the transaction."""
    return (
        Offering.objects.select_for_update(of=("self",))
        .select_related("provider__organization", "backend", "shelf")
        .get(pk=offering.pk)
    )


def set_fields(instance: models.Model, changes: Mapping[str, Any]) -> list[str]:
    """Put the changes on the instance and say which really change something."""
    changed = []
    for name, value in changes.items():
        if getattr(instance, name) != value:
            setattr(instance, name, value)
            changed.append(name)
    return changed


def check(instance: models.Model) -> None:
    """Tidy the texts and check the fields by themselves: lengths, choices, forms of names, no hidden characters. What
    needs the table is left to its constraints.

    raises   InvalidInput with a message per field
    """
    errors: dict[str, str] = {}
    for field in instance._meta.concrete_fields:
        value = getattr(instance, field.attname)
        if not isinstance(value, str) or not isinstance(field, models.CharField | models.TextField):
            continue
        limit = field.max_length or 20_000
        try:
            if isinstance(field, models.TextField):
                setattr(instance, field.attname, clean_text(value, field=field.name, limit=limit))
            else:
                setattr(instance, field.attname, clean_line(value, field=field.name, limit=limit, required=False))
        except DomainError as refusal:
            errors[field.name] = words(refusal, gettext)
    try:
        instance.clean_fields(exclude={*errors, *(f.name for f in instance._meta.concrete_fields if f.is_relation)})
    except ValidationError as error:
        errors |= {field: " ".join(texts) for field, texts in error.message_dict.items()}
    if errors:
        raise InvalidInput.of(errors)


@contextmanager
def names_once(taken: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """Say a broken unique constraint as a refusal. taken: constraint -> (field, value)."""
    try:
        with transaction.atomic():
            yield
    except IntegrityError as error:
        name = str(getattr(getattr(error.__cause__, "diag", None), "constraint_name", ""))
        if name in taken:
            field, value = taken[name]
            raise NameTaken(field=field, value=value) from None
        raise


def field_titles(model: type[models.Model], names: Iterable[str]) -> str:
    """What people call these fields."""
    return ", ".join(str(getattr(model._meta.get_field(name), "verbose_name", name)) for name in names)


def tell(
    kind: str, subject: models.Model, provider: ServiceProvider | None, *, by: Person | None, at: datetime, **facts: Any
) -> None:
    record(
        Happening(
            kind=kind,
            subject_type=str(subject._meta.model_name),
            subject_id=subject.pk,
            facts=facts,
            organization_id=provider.organization_id if provider is not None else None,
        ),
        by_id=by.pk if by is not None else None,
        at=at,
    )
