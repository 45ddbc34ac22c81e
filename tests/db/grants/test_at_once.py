"""Two at the same instant, and a process killed in the middle of an award: once, and all or nothing."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection, connections

from bursar.accounting import selectors as accounting
from bursar.accounting.models import Allocation
from bursar.events.models import Event
from bursar.grants import services
from bursar.grants.models import Application, Award, AwardedAllocation, GiftClaim
from bursar.grants.services import Line
from bursar.kernel.errors import DomainError
from bursar.structure.models import Invitation, Membership, Project
from tests.factories.grants import HOUR, Grants, given_to, make_grants, states_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


@pytest.fixture
def grants(transactional_db: None, at: datetime) -> Iterator[Grants]:
    yield make_grants(at)
    with connection.cursor() as cursor:  # Django leaves the queue's tables as they are
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """What each work answered or refused, begun at the same moment in threads of their own."""
    answers: list[Any] = [None] * len(works)
    gate = threading.Barrier(len(works))

    def run(index: int) -> None:
        try:
            gate.wait(timeout=10)
            answers[index] = works[index]()
        except DomainError as refusal:
            answers[index] = refusal.code
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return answers


def test_approve__two_reviewers_at_once__awards_once(grants: Grants) -> None:
    row = grants.apply(project_name="Once")

    def approve(by: Any) -> Callable[[], str]:
        return lambda: (
            services.approve_part(application_id=row.pk, giver=grants.north, revision=1, by=by, at=grants.at).state
        )

    answers = at_once(approve(grants.reviewer), approve(grants.north_owner))
    assert sorted(answers) == ["application_step_not_open", "approved"]
    assert Project.objects.filter(name="Once").count() == Award.objects.count() == 1
    row.refresh_from_db()
    assert row.workspace is not None
    assert given_to(row.workspace) == {("CPU on Thor", grants.north.pk): 100 * HOUR}


def test_approve__two_givers_at_once__the_last_awards_all(grants: Grants) -> None:
    row = grants.apply((grants.north, grants.cpu, HOUR), (grants.south, grants.disk, 3))
    facts = {"application_id": row.pk, "revision": 1, "at": grants.at}
    answers = at_once(
        lambda: services.approve_part(giver=grants.north, by=grants.reviewer, **facts).state,
        lambda: services.approve_part(giver=grants.south, by=grants.south_owner, **facts).state,
    )
    assert sorted(answers) == ["approved", "submitted"]
    assert given_to(grants.personal) == {
        ("CPU on Thor", grants.north.pk): HOUR,
        ("Storage on Thor", grants.south.pk): 3,
    }


def test_approve__two_applications_at_once_for_what_is_left__only_one_gets_it(grants: Grants) -> None:
    rows = [grants.apply((grants.north, grants.cpu, 600_000 * HOUR)) for _ in range(2)]
    answers = at_once(
        *(
            lambda row=row: (
                services.approve_part(  # type: ignore[misc]
                    application_id=row.pk, giver=grants.north, revision=1, by=grants.reviewer, at=grants.at
                ).state
            )
            for row in rows
        )
    )
    assert sorted(answers) == ["approved", "beyond_what_is_held"]
    assert given_to(grants.personal) == {("CPU on Thor", grants.north.pk): 600_000 * HOUR}


def test_claim__gift_in_two_tabs__is_taken_once(grants: Grants) -> None:
    gift = services.offer_gift(
        workspace=grants.north,
        title="Gift",
        amounts={grants.cpu.pk: HOUR},
        start=grants.at,
        end=grants.end,
        claims_max=9,
        lines=[Line("allow", "anyone")],
        by=None,
        at=grants.at,
    )

    def claim() -> str:
        services.claim_gift(gift_id=gift.pk, by=grants.applicant, at=grants.at)
        return "taken"

    assert sorted(at_once(claim, claim)) == ["gift_taken", "taken"]
    assert GiftClaim.objects.count() == 1
    assert given_to(grants.personal) == {("CPU on Thor", grants.north.pk): HOUR}


def test_give_at_login__two_jobs_and_a_click__is_given_once(grants: Grants) -> None:
    gift = services.offer_gift(
        workspace=grants.north,
        title="Gift",
        amounts={grants.cpu.pk: HOUR},
        start=grants.at,
        end=grants.end,
        claims_max=9,
        lines=[Line("allow", "anyone")],
        at_login=True,
        by=None,
        at=grants.at,
    )

    def at_login() -> str:
        return f"{len(services.give_gifts_at_login(person=grants.applicant, at=grants.at))} given"

    def click() -> str:
        services.claim_gift(gift_id=gift.pk, by=grants.applicant, at=grants.at)
        return "1 given"

    answers = at_once(at_login, at_login, click)
    assert answers.count("1 given") == 1
    assert set(answers) <= {"1 given", "0 given", "gift_taken"}
    assert given_to(grants.personal) == {("CPU on Thor", grants.north.pk): HOUR}
    gift.refresh_from_db()
    assert (gift.claimed, GiftClaim.objects.count()) == (1, 1)


_KILLED = """
import os, signal, sys, time
os.environ["DJANGO_SETTINGS_MODULE"] = "bursar.config.settings"
import django
django.setup()
from datetime import datetime
from bursar.grants.services import approve_part
from bursar.structure.models import Person, Workspace
for line in sys.stdin:
    application, giver, person, at, delay = line.split()
    child = os.fork()
    if not child:
        row = Workspace.objects.select_related("organization").get(pk=giver)
        approve_part(application_id=int(application), giver=row, revision=1, by=Person.objects.get(pk=person),
                     at=datetime.fromisoformat(at))
        os._exit(0)
    time.sleep(float(delay))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print("over", flush=True)
"""


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.soak)])
def test_award__process_killed_at_any_moment__is_whole_or_is_not(grants: Grants, kills: int) -> None:
    """Killed by SIGKILL at random moments; what was killed before the commit is then approved again."""
    database = connection.settings_dict
    url = f"postgresql://{database['USER']}@/{quote(database['NAME'])}?host={quote(database['HOST'], safe='/')}"
    keys = ",".join(settings.BURSAR_KEYS)
    rows = [
        grants.apply((grants.north, grants.cpu, HOUR), (grants.north, grants.disk, 2), project_name=f"Killed {n}")
        for n in range(kills)
    ]
    runner = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _KILLED],
        env={**os.environ, "DATABASE_URL": url, "BURSAR_KEYS": keys},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert runner.stdin is not None
    assert runner.stdout is not None
    chance = random.Random(4)
    try:
        for number, row in enumerate(rows):
            delay = 30 * number / kills / 100 + chance.random() * 0.1
            line = f"{row.pk} {grants.north.pk} {grants.reviewer.pk} {grants.at.isoformat()} {delay}\n"
            runner.stdin.write(line)
            runner.stdin.flush()
            assert runner.stdout.readline() == "over\n"
            _whole_or_nothing(row)
    finally:
        runner.kill()
        runner.communicate()
    for row in rows:
        if states_of(row)[0] == "submitted":
            grants.approve(row, grants.north, grants.reviewer)
        _whole_or_nothing(row)
        assert states_of(row)[0] == "approved"
    assert Allocation.objects.filter(source=grants.wallet(grants.north)).count() == kills
    assert accounting.verify(category_id=grants.cpu.pk) == accounting.verify(category_id=grants.disk.pk) == []


def _whole_or_nothing(row: Application) -> None:
    row.refresh_from_db()
    name = row.revisions.get(number=1).project_name
    awarded = int(row.state == "approved")
    counted = (
        Award.objects.filter(application=row).count(),
        Project.objects.filter(name=name).count(),
        Membership.objects.filter(project__name=name).count(),
        AwardedAllocation.objects.filter(award__application=row).count() / 2,
        Allocation.objects.filter(wallet__workspace__project__name=name).count() / 2,
        row.decisions.filter(what="approved").count(),
        Event.objects.filter(kind="application.awarded", subject_id=row.pk).count(),
        Invitation.objects.filter(project__name=name).count() + awarded,
    )
    assert counted == (awarded,) * len(counted)
