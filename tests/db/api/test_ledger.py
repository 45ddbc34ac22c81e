"""The ledger asked by REST: the past, what would happen, why, and whether it is right."""

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from bursar.accounting.models import Operation, Wallet
from bursar.events.models import Event
from bursar.metering.services import post_reports
from bursar.structure.roles import Role
from tests.db.api.test_accounting import Api
from tests.factories.ledger import make_report
from tests.factories.nation import Nation, make_nation
from tests.factories.structure import make_membership, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def made(standing: Any) -> Nation:
    return standing(make_nation)


@pytest.fixture
def nation(made: Nation) -> Nation:
    return deepcopy(made)


def test_as_of__before_and_after_late_usage__the_past_changes_only_as_it_is_known_later(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    api = Api(nation.member)
    before = api.get(f"/wallets/{wallet.pk}/as-of").json()
    now = timezone.now()
    assert before["used_ticks"] == 600 * 3600
    assert (before["unit_name"], before["locked"], before["available_ticks"]) == ("core-hours", True, 0)
    late = make_report(wallet.workspace, wallet.category, 7, until=now - timedelta(days=2))
    post_reports(reports=[late], by=None, at=timezone.now())
    yesterday = now - timedelta(days=1)
    asked = f"/wallets/{wallet.pk}/as-of"
    then = api.get(asked, effective_at=yesterday.isoformat(), known_at=now.isoformat()).json()
    later = api.get(asked, effective_at=yesterday.isoformat()).json()
    assert later["used_ticks"] - then["used_ticks"] == 7
    told = api.get(f"/wallets/{wallet.pk}/difference", from_known_at=now.isoformat()).json()
    assert (told["used_ticks"], told["uncovered_ticks"], told["allocations"]) == (7, 7, [])


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"known_at": "2126-01-01T00:00:00Z"}, "known_in_the_future"),
        ({"effective_at": "2126-01-01T00:00:00Z"}, "effective_after_known"),
        ({"effective_at": "2026-01-02T00:00:00Z", "known_at": "2026-01-01T00:00:00Z"}, "effective_after_known"),
        ({"known_at": "2026-01-01T00:00:00"}, "invalid_request"),
    ],
)
def test_as_of__times_that_cannot_be__are_refused(nation: Nation, query, code) -> None:
    wallet = nation.wallet(nation.physics)
    answer = Api(nation.member).get(f"/wallets/{wallet.pk}/as-of", **query)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_what_if__more_and_a_steady_rate__says_when_it_locks_and_writes_nothing(nation: Nation) -> None:
    wallet, allocation = nation.wallet(nation.physics), nation.to_physics
    before = (Event.objects.count(), Operation.objects.count())
    now = timezone.now()
    steps = [
        {"do": "change", "allocation_id": allocation.pk, "quota_ticks": 624 * 3600},
        {"do": "rate", "amount_ticks": 12 * 3600},
    ]
    body = {"until": (now + timedelta(days=5)).isoformat(), "steps": steps}
    told = Api(nation.member).send(f"/wallets/{wallet.pk}/what-if", body).json()
    # 24 core-hours at 12 a day last two days.
    locked_at = timezone.datetime.fromisoformat(told["locked_at"])
    assert timedelta(0) <= locked_at - now - timedelta(days=2) < timedelta(minutes=1)
    assert [(one["locked"], one["workspace"]) for one in told["locks"]] == [
        (False, "Lattice physics"),
        (True, "Lattice physics"),
    ]
    assert told["wallets"][0]["uncovered_ticks"] > 0
    assert (Event.objects.count(), Operation.objects.count()) == before
    assert Wallet.objects.get(pk=wallet.pk).used_ticks == 600 * 3600
    refused = Api(nation.member).send(
        f"/wallets/{wallet.pk}/what-if",
        {**body, "steps": [{"do": "charge", "amount_ticks": -1}, {**steps[0], "quota_ticks": 3600}]},
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "step_refused")
    assert refused.json()["facts"]["number"] == 2
    assert "599.999722222222 core-hours is drawn" in refused.json()["detail"]
    incomplete = Api(nation.member).send(f"/wallets/{wallet.pk}/what-if", {**body, "steps": [{"do": "transfer"}]})
    assert (incomplete.status_code, incomplete.json()["code"]) == (422, "step_incomplete")
    other = Api(nation.stranger).send(f"/wallets/{wallet.pk}/what-if", body)
    assert other.status_code == 404


def test_explain__locked_wallet_and_a_report__names_what_binds_and_the_rows(nation: Nation) -> None:
    wallet, allocation = nation.wallet(nation.physics), nation.to_physics
    told = Api(nation.member).get(f"/wallets/{wallet.pk}/explain").json()
    assert next((one["allocation_id"], one["ticks"]) for one in told["remedies"]) == (allocation.pk, 1)
    assert told["words"][0] == f"Allocation {allocation.pk} of 600 core-hours to Lattice physics is used up."
    operator = make_person()
    make_membership(person=operator, role=Role.PLATFORM_OPERATOR, scope=None)
    now = timezone.now()
    report = make_report(wallet.workspace, wallet.category, 9, until=now)
    post_reports(reports=[report], by=None, at=now)
    path = f"/categories/{wallet.category_id}/usage-report"
    booked = Api(operator).get(path, report_id=report.report_id).json()
    rows = booked["operation"]["postings"]
    assert (booked["posted_ticks"], sum(row["used_ticks"] for row in rows)) == (9, 9)
    assert {row["wallet_id"] for row in rows} == {wallet.pk}
    assert Api(nation.member).get(path, report_id=report.report_id).status_code == 404
    assert Api(operator).get(path, report_id="another").status_code == 404


def test_verify__a_balance_was_edited__is_told_and_kept_until_it_agrees(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    operator = make_person()
    make_membership(person=operator, role=Role.PLATFORM_OPERATOR, scope=None)
    api = Api(operator)
    path = f"/categories/{wallet.category_id}/verify"
    assert api.send(path).json() == {"category_id": wallet.category_id, "discrepancies": []}
    Wallet.objects.filter(pk=wallet.pk).update(written_off_ticks=5)
    assert next(one["figure"] for one in api.send(path).json()["discrepancies"]) == "written off"
    assert [one["category_id"] for one in api.get("/ledgers/differing").json()] == [wallet.category_id]
    Wallet.objects.filter(pk=wallet.pk).update(written_off_ticks=0)
    assert api.send("/ledgers/verify").json() == []
    assert Api(nation.member).send(path).status_code == 404
    assert Api(nation.member).send("/ledgers/verify").status_code == 403
