"""Telling people of a step: a notice for the list in the pages and a mail, in the same transaction as the step."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from bursar.grants.models import Application, Gift, Notice, NoticeChoice
from bursar.structure.mail import ask_for_mail
from bursar.structure.models import Person

# What a person chooses by; each is a mail of its own.
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
    "given": _("a gift was given to you at login"),
}

# The same as a line of the list, about a thing that stands beside it.
LINES: Final[Mapping[str, Promise]] = {
    "submitted": _("awaits your decision"),
    "revised": _("was changed by the applicant; look at it again"),
    "changed": _("has other amounts, which a giver proposes"),
    "agreed": _("stands with the changed amounts: the applicant agreed"),
    "approved": _("was granted"),
    "rejected": _("was rejected"),
    "part_rejected": _("lost one part: a giver rejected it, the others go on"),
    "withdrawn": _("was withdrawn"),
    "handed_over": _("has a part that was handed over to another giver"),
    "commented": _("has a new comment"),
    "commented_internally": _("has a new internal comment"),
    "revoked": _("was granted, and is now taken back"),
    "given": _("is yours: it stands in your personal workspace"),
}


def ask_for_notices(
    kind: str,
    about: Application | Gift,
    people: Iterable[int],
    *,
    by: Person | None,
    at: datetime,
) -> None:
    """Tell people of a step (one of KINDS), each in the ways that they did not choose away."""
    told = sorted(set(people))
    choices = NoticeChoice.objects.filter(person_id__in=told, kind=kind)
    unwanted = set(choices.values_list("person_id", "channel"))
    is_gift = isinstance(about, Gift)
    Notice.objects.bulk_create(
        [
            Notice(
                person_id=person,
                kind=kind,
                application_id=None if is_gift else about.pk,
                gift_id=about.pk if is_gift else None,
                by=by,
                at=at,
            )
            for person in told
            if (person, NoticeChoice.Channel.PAGE) not in unwanted
        ]
    )
    name, facts = (
        (f"gift_{kind}", {"gift": about.pk}) if is_gift else (f"application_{kind}", {"application": about.pk})
    )
    for person in told:
        if (person, NoticeChoice.Channel.MAIL) not in unwanted:
            ask_for_mail(name, to_person_id=person, facts=facts)
