"""The words of the event log, as people read them."""

from typing import Any, Final

from django import template
from django.utils.translation import gettext_lazy as _

register = template.Library()

WORDS: Final = {
    "person.registered": _("registered"),
    "person.edited": _("changed their profile"),
    "person.logged_in": _("logged in"),
    "person.deactivated": _("was shut out"),
    "person.reactivated": _("was let in again"),
    "ssh_key.added": _("SSH key added"),
    "ssh_key.removed": _("SSH key removed"),
    "api_token.created": _("API token created"),
    "api_token.revoked": _("API token revoked"),
    "organization.created": _("organization created"),
    "organization.edited": _("organization edited"),
    "organization.archived": _("organization archived"),
    "organization.unarchived": _("organization taken back"),
    "project.created": _("project created"),
    "project.edited": _("project edited"),
    "project.ended": _("end of the project set"),
    "project.archived": _("project archived"),
    "project.unarchived": _("project taken back"),
    "project.handed_over": _("project handed over"),
    "membership.given": _("role given"),
    "membership.ended": _("role ended"),
    "membership.until_changed": _("end of a role moved"),
    "invitation.sent": _("invitation sent"),
    "invitation.resent": _("invitation sent again"),
    "invitation.revoked": _("invitation revoked"),
    "invitation.accepted": _("invitation accepted"),
    "invitation.declined": _("invitation declined"),
    "ledger.discrepancy": _("a ledger differs from its journal"),
    "ledger.agrees": _("a ledger agrees with its journal again"),
}


@register.filter
def event_words(kind: str) -> Any:
    """`{{ event.kind|event_words }}`; a kind without words of its own is shown as it is: "order placed"."""
    return WORDS.get(kind) or kind.replace(".", " ").replace("_", " ")


@register.filter
def fact(value: Any) -> str:
    """One fact of an event, short: `[before, after]` with an arrow, nothing as a dash."""
    if value is None or value == "":
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {fact(each)}" for key, each in value.items())
    if isinstance(value, list):
        return " → ".join(fact(each) for each in value) if len(value) == 2 else ", ".join(fact(each) for each in value)
    return str(value)
