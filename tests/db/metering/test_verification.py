"""Verification finds what differs, tells it, and never cries wolf while reports come in."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.db import connections
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.accounting import checkpoints
from bursar.accounting.models import Allocation, CheckpointSum, Wallet
from bursar.delivery import services as delivery
from bursar.delivery import tasks  # noqa: F401  its table of mails is filled
from bursar.events.models import Event
from bursar.metering.services import post_reports
from bursar.metering.verification import Discrepancy, categories_that_differ, verify, verify_everything
from bursar.structure.roles import Role
from tests.factories.catalogue import make_category
from tests.factories.ledger import AT, make_allocation, make_report
from tests.factories.structure import make_membership, make_organization, make_person, make_workspace


def make_ledger() -> tuple[Any, Any]:
    category, place = make_category(title="CPU on Thor"), make_workspace(make_organization())
    make_allocation(place, category, 1_000)
    post_reports(reports=[make_report(place, category, 7)], by=None, at=AT)
    return category, place


@pytest.mark.django_db
def test_verify_everything__a_balance_was_edited__event_and_one_mail_until_it_agrees_again() -> None:
    category, _place = make_ledger()
    operator = make_person()
    make_membership(person=operator, role=Role.PLATFORM_OPERATOR, scope=None)
    assert verify_everything(at=AT) == 0
    assert not Event.objects.filter(kind__startswith="ledger.").exists()
    wallet = Wallet.objects.get(category=category)
    Wallet.objects.filter(pk=wallet.pk).update(used_ticks=9)
    found = verify(category_id=category.pk)
    assert found == [
        Discrepancy("journal", "wallet", wallet.pk, "used", "9", "7"),
        Discrepancy("journal", "category", category.pk, f"L2: wallet {wallet.pk} does not balance", "", ""),
        Discrepancy("journal", "category", category.pk, "L3: usage was lost or made", "", ""),
        Discrepancy("reports", "wallet", wallet.pk, "used", "9", "7"),
    ]
    assert [verify_everything(at=AT + timedelta(days=day)) for day in (1, 2)] == [1, 1]
    alarm = Event.objects.filter(kind="ledger.discrepancy").first()
    assert (alarm.subject_id, alarm.provider_id) == (category.pk, category.provider.organization_id)
    assert alarm.facts["count"] == 4
    assert alarm.facts["discrepancies"][0]["figure"] == "used"
    assert categories_that_differ() == {category.pk: AT + timedelta(days=2)}
    jobs = ProcrastinateJob.objects.filter(task_name="bursar.delivery.tasks.send_mail")
    assert [job.args["to_person_id"] for job in jobs] == [operator.pk]
    delivery.send_mail(**jobs[0].args, at=AT)
    assert mail.outbox[0].subject == "The ledger of CPU on Thor differs from its journal"
    assert f"bursar ledger verify --category {category.pk}" in mail.outbox[0].body
    Wallet.objects.filter(pk=wallet.pk).update(used_ticks=7)
    assert verify_everything(at=AT + timedelta(days=3)) == 0
    assert verify_everything(at=AT + timedelta(days=4)) == 0
    assert Event.objects.filter(kind="ledger.agrees").count() == 1
    assert categories_that_differ() == {}


@pytest.mark.django_db
def test_verify__a_checkpoint_was_edited__is_named(monkeypatch) -> None:
    monkeypatch.setattr(checkpoints, "CHUNK", 2)
    monkeypatch.setattr(checkpoints, "MANY", 2)
    category, place = make_ledger()
    for minute in range(1, 7):
        later = AT + timedelta(minutes=minute)
        post_reports(reports=[make_report(place, category, 5, until=later)], by=None, at=later)
    assert checkpoints.keep(category.pk) == 3
    assert verify(category_id=category.pk) == []
    allocation = Allocation.objects.get(category=category)
    CheckpointSum.objects.filter(allocation_id=allocation.pk, number=2).update(drawn_ticks=1)
    assert verify(category_id=category.pk) == [
        Discrepancy("journal", "checkpoint", 2, f"wallet {allocation.wallet_id} allocation {allocation.pk}", "", "")
    ]


@pytest.mark.django_db(transaction=True)
def test_verify__while_reports_come_in__finds_nothing() -> None:
    category, place = make_ledger()
    stop = threading.Event()
    posted: list[int] = []

    def report() -> None:
        try:
            number = 0
            while not stop.is_set():
                number += 1
                until = AT + timedelta(seconds=number)
                post_reports(reports=[make_report(place, category, 3, until=until)], by=None, at=until)
                posted.append(number)
        finally:
            connections.close_all()

    thread = threading.Thread(target=report)
    thread.start()
    try:
        found = [verify(category_id=category.pk) for _ in range(15)]
    finally:
        stop.set()
        thread.join(timeout=60)
    assert found == [[]] * 15
    assert len(posted) > 3
    assert Wallet.objects.get(category=category).used_ticks == 7 + 3 * len(posted)
