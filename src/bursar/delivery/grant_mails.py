"""The mails of grants: each step of an application, to those whom it concerns."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from bursar.delivery.mails import Facts, address, mail
from bursar.grants.models import Comment, Decision
from bursar.grants.notices import KINDS
from bursar.grants.selectors import applications_seen, listed, title_of
from bursar.structure.models import Person


def _load(kind: str) -> Callable[[Facts, Person | None, datetime], dict[str, Any] | None]:
    def load(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
        if person is None:
            return None
        row = listed(applications_seen(person, at)).filter(pk=facts["application"]).first()
        if row is None:
            return None  # it no longer concerns this person
        revision = next(iter(row.present), None)  # type: ignore[attr-defined]  # prefetched by `listed`
        comment = Comment.objects.filter(
            application=row, is_internal=kind == "commented_internally", withdrawn_at=None
        ).last()
        return {
            "application": row,
            "title": title_of(row, revision),
            "revision": revision,
            "comment": comment.text if comment is not None and kind.startswith("commented") else "",
            "decision": Decision.objects.filter(application=row).exclude(reason="").last(),
            "link": address("application", row.pk),
        }

    return load


for _kind in KINDS:
    mail(f"application_{_kind}")(_load(_kind))
