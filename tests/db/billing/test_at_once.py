"""Several who close a month at the same time, and such as are killed while they do: no line twice, none missing, no gap."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection, connections

from bursar.billing import services as billing
from bursar.billing.models import Credit, Invoice, InvoiceLine, Payment, Seller
from bursar.billing.reckoning import rate
from bursar.billing.services import invoices
from bursar.billing.verification import verify
from bursar.catalogue.models import ServiceProvider
from bursar.config.bench.closing import CLOSED_AT, MONTH
from bursar.config.bench.months import Market, make_market
from bursar.provisioning.models import Resource

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

CUSTOMERS, RESOURCES = 24, 96


@pytest.fixture
def market() -> Market:
    return make_market("rush", RESOURCES, 4, customers=CUSTOMERS)


def provider_of(market: Market) -> ServiceProvider:
    return ServiceProvider.objects.select_related("organization").get(pk=market.provider_id)


def check(market: Market, *, verified: int) -> None:
    """Every customer has one issued invoice that holds what the facts give, and the numbers have no gap."""
    rows = Invoice.objects.filter(month=MONTH).select_related("cut", "provider__organization")
    issued = list(rows.order_by("number"))
    assert {one.state for one in issued} <= {"issued", "paid"}
    assert [one.number for one in issued] == list(range(1, CUSTOMERS + 1))
    assert len({one.customer_id for one in issued}) == CUSTOMERS
    seller = Seller.objects.get(provider=market.provider_id)
    assert (seller.last_invoice, seller.closed_until.isoformat()) == (CUSTOMERS, "2026-11-01")
    terms = invoices.terms_of(provider_of(market))
    last_cut = max((one.cut for one in issued), key=lambda cut: cut.pk)
    expected = {
        customer: sorted((item.resource, item.component, item.plan, item.minor) for item in items)
        for customer, items in rate(terms, MONTH, last_cut).by_customer.items()
    }
    found: dict[int, list[Any]] = {one.customer_id: [] for one in issued}
    for line in InvoiceLine.objects.filter(invoice__month=MONTH).select_related("invoice"):
        row = (line.resource_id, line.component_id, line.plan_id, int(line.amount * 100))
        found[line.invoice.customer_id].append(row)
    assert {customer: sorted(rows) for customer, rows in found.items()} == expected
    assert sum(map(len, expected.values())) == RESOURCES * 5 + RESOURCES // 10 * 4 + 4  # a switch: four lines more
    assert [verdict.is_right for verdict in verify(issued[:verified])] == [True] * verified


def at_once(actions: list[Callable[[], Any]]) -> list[Any]:
    gate = threading.Barrier(len(actions))
    outcomes: list[Any] = [None] * len(actions)

    def one(number: int, action: Callable[[], Any]) -> None:
        try:
            gate.wait(timeout=20)
            outcomes[number] = action()
        except Exception as refused:
            outcomes[number] = refused
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return outcomes


def test_close_month__by_three_at_once_while_facts_are_written__each_invoice_once(
    market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invoices, "CUSTOMERS_AT_ONCE", 5)
    provider = provider_of(market)

    def close() -> int:
        return billing.close_month(provider=provider, month=MONTH, by=None, at=CLOSED_AT).issued

    def refresh() -> int:
        return billing.refresh(provider=provider, by=None, at=CLOSED_AT)

    outcomes = at_once([close, close, refresh])
    assert not [one for one in outcomes if isinstance(one, Exception)]
    assert outcomes[0] + outcomes[1] == CUSTOMERS
    check(market, verified=3)


def test_credits__used_by_two_issuers_at_once__never_beyond_what_there_is(market: Market) -> None:
    """One customer's month is issued by hand and with all others at the same time: its credit pays once."""
    provider = provider_of(market)
    billing.refresh(provider=provider, by=None, at=CLOSED_AT)
    one = Invoice.objects.filter(month=MONTH).order_by("pk").select_related("customer").first()
    assert one is not None
    credit = billing.give_credit(
        provider=provider, customer=one.customer, kind="prepayment", amount=one.total + 1, by=None, at=CLOSED_AT
    )
    at_once(
        [
            lambda: billing.issue_invoice(invoice_id=one.pk, by=None, at=CLOSED_AT),
            lambda: billing.close_month(provider=provider, month=MONTH, by=None, at=CLOSED_AT),
        ]
    )
    credit = Credit.objects.get(pk=credit.pk)
    assert credit.amount - credit.used == 1
    assert [payment.amount for payment in Payment.objects.all()] == [one.total]
    check(market, verified=1)


_CHILD = """
import sys
from bursar.config.cli import setup
setup(database=False)
from bursar.billing import services as billing
from bursar.billing.services import invoices
from bursar.catalogue.models import ServiceProvider
from bursar.config.bench.closing import CLOSED_AT, MONTH
from django.db import connection
invoices.CUSTOMERS_AT_ONCE = 2
provider = ServiceProvider.objects.select_related("organization").get(pk=int(sys.argv[1]))
with connection.cursor() as cursor:
    cursor.execute("SELECT pg_backend_pid()")
    print(cursor.fetchone()[0], flush=True)
sys.stdin.readline()
billing.close_month(provider=provider, month=MONTH, by=None, at=CLOSED_AT)
"""


def start(market: Market, count: int) -> "list[tuple[subprocess.Popen[str], int]]":
    """Processes of their own that will close the month as soon as they are told to, each with its server process."""
    settings = connection.settings_dict
    place = f"{quote(settings['USER'])}:{quote(settings['PASSWORD'] or '')}@/{settings['NAME']}"
    host, port = quote(str(settings["HOST"]), safe=""), settings["PORT"] or 5432
    env = {**os.environ, "DATABASE_URL": f"postgresql://{place}?host={host}&port={port}"}
    children = [
        subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(market.provider_id)],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(count)
    ]
    found = []
    for child in children:
        assert child.stdout is not None
        backend = child.stdout.readline()
        assert backend, "the child did not start"
        found.append((child, int(backend)))
    return found


def strike(child: "subprocess.Popen[str]", backend: int, *, after: float, process: bool) -> None:
    """Let it begin, and end it, or the server's side of it, so long after."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    time.sleep(after)
    if process:
        child.send_signal(signal.SIGKILL)
    else:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [backend])
    child.wait(60)
    child.stdin.close()
    assert child.stdout is not None
    child.stdout.close()


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.soak)])
def test_close_month__killed_in_the_middle_and_run_again__nothing_twice_and_nothing_missing(
    market: Market, kills: int
) -> None:
    chance = random.Random(kills)
    partial = 0
    waiting: list[tuple[subprocess.Popen[str], int]] = []
    for number in range(kills):
        if not waiting:  # two at once get ready quicker than one after the other
            waiting = start(market, min(2, kills - number))
        child, backend = waiting.pop(0)
        strike(child, backend, after=chance.uniform(0.02, 0.6), process=number % 2 == 0)
        issued = Invoice.objects.exclude(state="open").count()
        partial += 0 < issued < CUSTOMERS
    billing.close_month(provider=provider_of(market), month=MONTH, by=None, at=CLOSED_AT)
    assert Resource.objects.count() == RESOURCES
    check(market, verified=CUSTOMERS if kills > 2 else 3)
    print(f"{kills} kills, {partial} of them found the month half issued")
