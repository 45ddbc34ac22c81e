"""The mails of grants: each step of an application, to those whom it concerns."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from bursar.delivery.mails import Facts, address, mail
from bursar.grants.models import Comment, Decision, Gift
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


@mail("gift_given")
def _given(facts: Facts, person: Person | None, at: datetime) -> dict[str, Any] | None:
    rows = Gift.objects.select_related("workspace__project", "workspace__organization")
    gift = rows.prefetch_related("amounts__category").filter(pk=facts["gift"]).first()
    if gift is None:
        return None
    units = [(amount.category, amount.category.unit, amount.ticks) for amount in gift.amounts.all()]
    amounts = [f"{category.title}: {unit.text(ticks)} {unit.name}" for category, unit, ticks in units]
    return {"gift": gift, "amounts": amounts, "link": address("applications")}


for _kind in KINDS:
    if _kind != "given":
        mail(f"application_{_kind}")(_load(_kind))
