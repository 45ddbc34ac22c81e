"""Asking for a notice about an application: a mail, as a row of the queue in the same transaction."""

from datetime import datetime

from bursar.grants.models import Application
from bursar.structure.mail import ask_for_mail


def ask_for_notice(kind: str, application: Application, *, person_id: int, at: datetime) -> None:
    """kind   submitted, revised, changed, agreed, approved, rejected, withdrawn, handed_over, commented, revoked"""
    ask_for_mail(f"application_{kind}", to_person_id=person_id, facts={"application": application.pk})
