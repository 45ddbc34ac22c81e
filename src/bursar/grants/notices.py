"""Asking for a notice about an application: a mail, as a row of the queue in the same transaction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bursar.grants.models import Application, NoticeChoice
from bursar.structure.mail import ask_for_mail

KINDS: Final[Mapping[str, Promise]] = {
    "submitted": _("an application awaits you"),
    "revised": _("an applicant changed an application"),
    "changed": _("a giver changed the amounts that you asked for"),
    "agreed": _("an applicant agreed to changed amounts"),
    "approved": _("an application was granted"),
    "rejected": _("an application was rejected"),
    "part_rejected": _("one giver rejected its part"),
    "withdrawn": _("an application was withdrawn"),
    "handed_over": _("a part was handed over to another giver"),
    "commented": _("somebody commented"),
    "commented_internally": _("another reviewer commented internally"),
    "revoked": _("a grant was taken back"),
}


def ask_for_notice(kind: str, application: Application, *, person_id: int, at: datetime) -> None:
    """Tell a person of a step (one of KINDS), unless they chose not to be told of such."""
    if not NoticeChoice.objects.filter(person_id=person_id, kind=kind).exists():
        ask_for_mail(f"application_{kind}", to_person_id=person_id, facts={"application": application.pk})
