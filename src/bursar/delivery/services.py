"""Sending what was asked for."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import transaction
from django.utils import timezone, translation

from bursar.delivery.mails import compose
from bursar.delivery.models import Mail
from bursar.structure.models import Person


@transaction.atomic
def send_mail(
    *, key: str, kind: str, to_person_id: int | None, to_email: str, facts: Mapping[str, Any], at: datetime
) -> Mail:
    """Send the mail, once per key; a mail that has become pointless, or whose person is shut out, is dropped.

    A failure to send leaves nothing written, so that the job tries again. Should the machine stop between sending and
    writing, the second mail bears the same Message-ID.
    raises   LookupError for an unknown kind; OSError, SMTPException from the mail server
    """
    person = Person.objects.filter(pk=to_person_id).first() if to_person_id is not None else None
    Mail.objects.get_or_create(
        key=key, defaults={"kind": kind, "to_email": person.email if person else to_email, "person_id": to_person_id}
    )
    row = Mail.objects.select_for_update().get(key=key)
    if row.sent_at is not None or row.dropped_at is not None:
        return row
    words = None
    if person.is_active if person is not None else bool(to_email):
        language = person.language if person is not None else settings.LANGUAGE_CODE
        zone = person.time_zone if person is not None else "UTC"
        with translation.override(language), timezone.override(ZoneInfo(zone)):
            words = compose(kind, facts, person, at)
    if words is None:
        row.dropped_at = at
        row.save(update_fields=["dropped_at"])
        return row
    host = urlsplit(settings.BASE_URL).hostname or "localhost"
    message = EmailMultiAlternatives(
        subject=words.subject,
        body=words.text,
        to=[row.to_email],
        headers={"Message-ID": f"<{key}@{host}>", "Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(words.html, "text/html")
    for one in words.attachments:
        message.attach(one.name, one.content, one.type)
    message.send()
    row.subject, row.sent_at = words.subject, at
    row.save(update_fields=["subject", "sent_at"])
    return row
