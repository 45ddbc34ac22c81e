"""What the provider's side says of an order or a resource while it works on it."""

from datetime import datetime

from django.db import transaction

from bursar.provisioning.errors import MessageOutOfBounds, OrderNotFound, ResourceNotFound
from bursar.provisioning.models import Order, ProviderMessage, Resource
from bursar.provisioning.services._common import ORDER_RELATED, RESOURCE_RELATED, tell
from bursar.structure.errors import TextMissing
from bursar.structure.models import Person
from bursar.structure.roles import Permission, may, require
from bursar.structure.text import clean_text


@transaction.atomic
def post_message(
    *,
    order_id: int | None = None,
    resource_id: int | None = None,  # where it is on no order
    text: str,
    level: ProviderMessage.Level = ProviderMessage.Level.INFO,
    progress: int | None = None,
    by: Person,
    at: datetime,
) -> ProviderMessage:
    """Say something on an order, or else on a resource; `progress` in per cent. The same words twice in a row are once.

    raises   OrderNotFound, ResourceNotFound: none, or not of a provider that the person sees; NotAllowed;
             MessageOutOfBounds; TextMissing, TextTooLong, TextNotAllowed
    """
    subject: Order | Resource | None
    if order_id is not None:
        subject = Order.objects.select_related(*ORDER_RELATED).filter(pk=order_id).first()
    else:
        subject = Resource.objects.select_related(*RESOURCE_RELATED).filter(pk=resource_id or 0).first()
    if subject is None or not may(by, Permission.VIEW_PROVIDER, subject.offering.provider.organization, at):
        raise OrderNotFound if order_id is not None else ResourceNotFound
    require(by, Permission.HANDLE_ORDERS, subject.offering.provider.organization, at)
    if not text.strip():
        raise TextMissing(field="text")
    if progress is not None and not 0 <= progress <= 100:
        raise MessageOutOfBounds
    message = ProviderMessage(
        order=subject if isinstance(subject, Order) else None,
        resource=subject if isinstance(subject, Resource) else None,
        level=level,
        text=clean_text(text, field="text", limit=2000),
        progress=progress,
        by=by,
        at=at,
    )
    last = subject.messages.first()
    if last is not None and (last.text, last.level, last.progress) == (message.text, message.level, message.progress):
        return last
    message.save()
    tell(
        "order.message" if isinstance(subject, Order) else "resource.message",
        subject,
        by=by,
        at=at,
        facts={"text": message.text, "level": message.level, "progress": progress},
    )
    return message


@transaction.atomic
def note_mended(*, resource: Resource, words: str, at: datetime) -> ProviderMessage:
    """What somebody had changed at the backend by hand and was put back."""
    text = f"Mended: {words}"[:2000]
    message = ProviderMessage.objects.create(
        resource=resource, level=ProviderMessage.Level.WARNING, text=text, by=None, at=at
    )
    tell("resource.mended", resource, by=None, at=at, facts={"text": text})
    return message
