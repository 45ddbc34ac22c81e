"""Whatever anybody does in whatever order, each step perhaps twice: what was awarded is what was approved, once."""

import os
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.grants import selectors, services
from bursar.grants.models import Application, Award, Decision
from bursar.kernel.errors import DomainError
from bursar.structure.models import Person
from tests.factories.grants import HOUR, Grants, given_to, make_grants

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

SOAK = os.environ.get("BURSAR_SOAK") == "1"
PEOPLE = ("applicant", "reviewer", "north_owner", "south_owner", "stranger")
SIDES = {
    "applicant": {"applicant"},
    "north": {"reviewer", "north_owner"},
    "south": {"south_owner"},
}
STEPS = st.tuples(
    st.sampled_from(["revise", "change", "approve", "reject", "agree", "withdraw", "hand_over", "comment", "revoke"]),
    st.sampled_from(PEOPLE),
    st.sampled_from(["north", "south"]),
    st.integers(0, 3),
    st.booleans(),
)


@pytest.fixture
def grants(at: datetime) -> Grants:
    return make_grants(at)


def test_application__any_sequence_of_steps__awards_what_was_approved_once(grants: Grants) -> None:
    @settings(
        max_examples=200 if SOAK else 6, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not SOAK
    )
    @given(separable=st.booleans(), reductions=st.booleans(), story=st.lists(STEPS, min_size=4, max_size=12))
    def play(separable: bool, reductions: bool, story: list[Any]) -> None:
        with transaction.atomic():
            row = grants.apply(
                (grants.north, grants.cpu, 10 * HOUR),
                (grants.south, grants.cpu, 20 * HOUR),
                is_separable=separable,
                allows_reductions=reductions,
            )
            for step in story:
                for _ in range(1 + step[4]):
                    _one(grants, row.pk, *step[:4])
            transaction.set_rollback(True)

    play()


def _one(grants: Grants, pk: int, verb: str, who: str, giver: str, amount: int) -> None:
    before = _figures(grants, pk)
    person: Person = getattr(grants, who)
    try:
        with transaction.atomic():
            _verbs(grants, pk, person, giver, amount)[verb]()
    except DomainError:
        assert _figures(grants, pk) == before  # a refusal changes nothing
    else:
        if verb in {"revise", "agree", "withdraw"}:
            assert who in SIDES["applicant"]
        elif verb != "comment":
            assert who in SIDES[giver]
        else:
            assert who != "stranger"
    _laws(grants, pk)


def _verbs(grants: Grants, pk: int, by: Person, giver: str, amount: int) -> dict[str, Callable[[], Any]]:
    row = Application.objects.get(pk=pk)
    place, other = (grants.north, grants.south) if giver == "north" else (grants.south, grants.north)
    facts = {"application_id": pk, "by": by, "at": grants.at}
    part = {**facts, "giver": place, "revision": row.revision}
    said = services.wish_of(row.revisions.get(number=row.revision))
    lines = [(g, grants.cpu, t * HOUR) for g, t in ((place, amount), (other, 5)) if t]
    wish = grants.wish(*lines, comment="So.", is_separable=said.is_separable, allows_reductions=said.allows_reductions)
    return {
        "revise": lambda: services.revise_application(revision=row.revision, wish=wish, **facts),
        "change": lambda: services.change_amounts(amounts={grants.cpu.pk: amount * HOUR}, comment="So.", **part),
        "approve": lambda: services.approve_part(**part),
        "reject": lambda: services.reject_part(reason="No.", **part),
        "agree": lambda: services.agree(revision=row.revision, **facts),
        "withdraw": lambda: services.withdraw_application(**facts),
        "hand_over": lambda: services.hand_over(to=other, message="Yours.", **part),
        "comment": lambda: services.comment_application(text="Well.", **facts),
        "revoke": lambda: services.revoke_grant(giver=place, reason="Over.", **facts),
    }


def _figures(grants: Grants, pk: int) -> Any:
    row = Application.objects.get(pk=pk)
    parts = sorted(row.parts.values_list("giver_id", "state"))
    counts = (row.decisions.count(), row.comments.count(), row.revisions.count())
    return row.state, row.revision, row.agreement_awaited, row.why, parts, counts, given_to(grants.personal)


def _laws(grants: Grants, pk: int) -> None:
    row = Application.objects.get(pk=pk)
    states = dict(row.parts.exclude(state="left").values_list("giver_id", "state"))
    asked = {a.giver_id: a.ticks for a in row.revisions.get(number=row.revision).amounts.all()}
    revoked = set(Decision.objects.filter(application=row, what="revoked").values_list("giver_id", flat=True))
    due = {
        ("CPU on Thor", key): asked[key]
        for key, state in states.items()
        if row.state == "approved" and state == "approved" and key not in revoked
    }
    assert given_to(grants.personal) == due
    assert Award.objects.filter(application=row).count() == int(row.state == "approved")
    assert not (row.state == "approved" and ("pending" in states.values() or row.agreement_awaited))
    for key, people in ((grants.north.pk, SIDES["north"]), (grants.south.pk, SIDES["south"])):
        for name in people:  # who is no longer asked sees nothing
            seen = selectors.applications_seen(getattr(grants, name), grants.at).filter(pk=pk).exists()
            assert seen is (key in states)
    assert not selectors.applications_seen(grants.stranger, grants.at).filter(pk=pk).exists()
