"""Ten thousand applications: the queue and its search answer quickly, with as many queries as for one."""

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.grants.models import Application, Part, RequestedAmount, Revision
from bursar.kernel.clock import stated_time
from tests.factories.grants import HOUR, Grants, make_grants
from tests.factories.structure import make_person

pytestmark = [pytest.mark.django_db, pytest.mark.soak]

MANY = 10_000
LIMIT_SECONDS = 0.2


def fill(grants: Grants, many: int) -> None:
    """Submitted applications of a hundred people, written as the services would leave them."""
    people = [make_person(full_name=f"Person Nr{n:03}") for n in range(100)]
    recipients = [person.workspace.pk for person in people]
    rows = Application.objects.bulk_create(
        [
            Application(
                recipient="personal",
                workspace_id=recipients[n % 100],
                applicant=people[n % 100],
                words=f"Person Nr{n % 100:03} subject{n % 977} CPU on Thor",
                created_at=grants.at,
                submitted_at=grants.at + timedelta(seconds=n),
                changed_at=grants.at,
            )
            for n in range(many)
        ],
        batch_size=2000,
    )
    revisions = Revision.objects.bulk_create(
        [Revision(application=row, number=1, at=grants.at, end=grants.end) for row in rows], batch_size=2000
    )
    RequestedAmount.objects.bulk_create(
        [RequestedAmount(revision=r, giver=grants.north, category=grants.cpu, ticks=HOUR) for r in revisions],
        batch_size=2000,
    )
    Part.objects.bulk_create([Part(application=row, giver=grants.north) for row in rows], batch_size=2000)
    Application.objects.filter(pk__in=[row.pk for row in rows]).update(state="submitted")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE grant_application, grant_part, grant_revision, grant_amount")


def ask(client: Client, query: str) -> tuple[int, float, Any]:
    """How many queries a page took, and the least of three times in seconds."""
    found = []
    for _ in range(3):
        with CaptureQueriesContext(connection) as caught:
            begin = time.perf_counter()
            answer = client.get(f"/grants/queue/{query}")
            found.append(time.perf_counter() - begin)
    assert answer.status_code == 200
    return len(caught), min(found), answer


@pytest.mark.parametrize("query", ["", "?q=subject42", "?q=nr007&state=open", "?part=pending&page=200", "?q=%23{}"])
def test_queue__ten_thousand__is_quick_and_asks_no_more(at: datetime, query: str) -> None:
    grants = make_grants(at)
    client = Client()
    client.force_login(grants.reviewer)
    with stated_time(at):
        grants.apply(at=at)
        few, _seconds, _answer = ask(client, "")
        fill(grants, MANY)
        query = query.format(Application.objects.latest("pk").pk)
        queries, seconds, answer = ask(client, query)
    assert "Person Nr" in answer.content.decode()
    assert queries <= few + 1
    assert seconds < LIMIT_SECONDS, f"{seconds * 1000:.0f} ms"
