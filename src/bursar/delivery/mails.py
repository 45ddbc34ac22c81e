"""The table of mails: for each kind, how its facts become words.

A kind `x` has two templates, `bursar_mail/x_subject.txt` and `bursar_mail/x.txt`; the HTML part is made from the latter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.template.loader import render_to_string
from django.urls import NoReverseMatch, reverse
from django.utils.html import urlize

from bursar.structure.lifecycle import InvitationState
from bursar.structure.mail import unseal
from bursar.structure.models import Invitation, Person


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    content: bytes
    type: str


@dataclass(frozen=True, slots=True)
class Words:
    subject: str
    text: str
    html: str
    attachments: tuple[Attachment, ...] = ()


Facts = Mapping[str, Any]
# From the facts of the job to what the templates need; None = there is no longer anything to say. What stands under
# "attachments" goes with the mail.
Load = Callable[[Facts, "Person | None", datetime], dict[str, Any] | None]

KINDS: Final[dict[str, Load]] = {}


def mail(kind: str) -> Callable[[Load], Load]:
    """`@mail("invitation")` above a function (facts, person, at) -> what the templates of this kind need, or None."""

    def add(load: Load) -> Load:
        if kind in KINDS:
            raise ValueError(f"two mails are called {kind}")
        KINDS[kind] = load
        return load

    return add


def compose(kind: str, facts: Facts, person: Person | None, at: datetime) -> Words | None:
    """The words of a mail in the language that is active; None when it has become pointless.

    raises   LookupError when nobody wrote such a mail
    """
    if kind == "login":
        text = unseal(facts["sealed_text"])
        html = unseal(facts["sealed_html"]) if "sealed_html" in facts else _html(text)
        return Words(_one_line(facts["subject"]), text, html)
    if kind not in KINDS:
        raise LookupError(f"there is no mail called {kind}")
    context = KINDS[kind](facts, person, at)
    if context is None:
        return None
    context = {"base_url": settings.BASE_URL, "person": person, "at": at, **context}
    subject = _one_line(render_to_string(f"bursar_mail/{kind}_subject.txt", context))
    text = render_to_string(f"bursar_mail/{kind}.txt", context).strip() + "\n"
    return Words(subject, text, _html(text), tuple(context.get("attachments", ())))


def _html(text: str) -> str:
    # The text was written by people: it is escaped here, and only then are addresses made into links.
    return render_to_string(
        "bursar_mail/frame.html", {"body": urlize(text, autoescape=True), "base_url": settings.BASE_URL}
    )


def _one_line(subject: str) -> str:
    """A header must not be broken into two by a name that somebody chose."""
    return " ".join(subject.split())[:200]


def address(name: str, *args: Any) -> str:
    """The whole address of a page; of the first page where that one does not exist."""
    try:
        return settings.BASE_URL + reverse(name, args=args)
    except NoReverseMatch:
        return f"{settings.BASE_URL}/"


# ------------------------------------------------------------------------------------------------ invitations
def _invitation(facts: Facts) -> Invitation | None:
    rows = Invitation.objects.select_related("created_by", "accepted_by", "organization", "project__organization")
    return rows.filter(pk=facts["invitation_id"]).first()


@mail("invitation")
def _invited(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    row = _invitation(facts)
    if row is None or row.state(at) != InvitationState.OPEN:
        return None
    token = unseal(facts["sealed_token"])
    return {"invitation": row, "scope": row.project or row.organization, "link": address("invitation_accept", token)}


@mail("invitation_accepted")
def _accepted(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    row = _invitation(facts)
    if row is None or row.accepted_by is None:
        return None
    scope = row.project or row.organization
    page = "project_members" if row.project else "organization_members" if row.organization else "operator_people"
    link = address(page, *([scope.pk] if scope is not None else []))
    return {"invitation": row, "scope": scope, "who": row.accepted_by, "link": link}


@mail("invitation_declined")
def _declined(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    row = _invitation(facts)
    return None if row is None else {"invitation": row, "scope": row.project or row.organization}
