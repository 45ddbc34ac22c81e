"""Closing a month from its page: asked for, done by a job in transactions of its own, and what the page says meanwhile."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from procrastinate.contrib.django.models import ProcrastinateJob

from bursar.billing import errors, lookup
from bursar.billing import services as billing
from bursar.billing.models import Closing, Invoice, Seller
from bursar.billing.services import closings
from bursar.billing.services.closings import carry_out
from bursar.kernel.clock import stated_time
from bursar.structure.roles import NotAllowed
from tests.factories.selling import Shop, another_customer, make_running, make_shop, when

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)
JOB = "bursar.billing.tasks.close_seller_month"


@pytest.fixture(scope="module")
def shop(standing: Callable[..., Any]) -> Shop:
    """Two customers with a base of 31 since 1 July."""

    def make() -> Shop:
        made = make_shop({"base": (31, 1)})
        make_running(made, at=when(1))
        make_running(made, at=when(1), workspace=another_customer(made))
        return made

    return standing(make)


def shown(shop: Shop, at: Any) -> lookup.Closable:
    (one,) = lookup.closable([shop.provider], at)
    return one


def page(shop: Shop, at: Any, person: Any = None) -> str:
    client = Client()
    client.force_login(person or shop.world.manager)
    with stated_time(at):
        text: str = client.get(reverse("provider_invoices")).content.decode()
    return " ".join(text.replace("&nbsp;", " ").replace("\u202f", " ").split())


def post(shop: Shop, month: str, at: Any) -> str:
    client = Client()
    client.force_login(shop.world.manager)
    with stated_time(at):
        answer = client.post(
            reverse("provider_close_month", args=[shop.provider.organization.slug]), {"month": month}, follow=True
        )
    return " ".join(answer.content.decode().split())


def test_page__month_under_way_then_over__says_from_when_then_asks_with_the_number_of_invoices(shop: Shop) -> None:
    open_invoice_count = billing.refresh(provider=shop.provider, by=None, at=when(20))
    assert open_invoice_count == 2
    early = page(shop, when(31, hour=23))
    assert "July 2026 is not over: it can be closed from 1 Aug 2026 on." in early
    assert "Close month" not in early
    over = page(shop, when(3, 8))
    assert "July 2026 is over. It would issue 2 invoices." in over
    assert (
        'data-confirm="Close July 2026 and issue its 2 invoices? They get their numbers; this cannot be undone. The days of'
        ' grace last to 7 Aug 2026: what is told of it from now on is an adjustment of the next month."'
    ) in over
    assert "Close month July 2026" in over
    late = page(shop, when(8, 9))
    assert "1 newer month is over too, and can be closed after July 2026." in late
    assert "The days of grace" not in late
    assert "Closing months" not in page(shop, when(3, 8), shop.world.owner)


def test_post__month_that_is_over__closed_by_its_job_and_the_page_says_so(shop: Shop) -> None:
    billing.refresh(provider=shop.provider, by=None, at=when(20))
    waiting = post(shop, "2026-07-01", when(8, 8))
    assert "July 2026 is being closed." in waiting
    assert 'hx-trigger="every 3s"' in waiting
    assert "Close month" not in waiting
    assert Invoice.objects.filter(state="open", month=JULY).count() == 2
    job = ProcrastinateJob.objects.get(task_name=JOB)
    with stated_time(when(8, 8)):
        assert carry_out(**job.args, at=when(8, 8)) == 2
        assert carry_out(**job.args, at=when(8, 8)) == 0  # twice is once
    closing = Closing.objects.get()
    assert (closing.month, closing.by, closing.step, closing.done, closing.count, closing.issued, closing.refusal) == (
        JULY, shop.world.manager, "issued", 2, 2, 2, "",
    )  # fmt: skip
    assert [one.number for one in Invoice.objects.filter(month=JULY).order_by("number")] == [1, 2]
    after = page(shop, when(8, 8))
    assert "July 2026 was closed with 2 invoices." in after
    assert "August 2026 is not over" in after
    assert 'hx-trigger="every 3s"' not in after.split('id="closings"')[1].split("</section>")[0]
    assert "This month is closed already." in post(shop, "2026-07-01", when(8, 8))
    assert Closing.objects.count() == 1


@pytest.mark.parametrize(
    ("month", "at", "said"),
    [
        ("2026-07-01", when(31), "July 2026 is not over for"),
        ("2026-08-01", when(8, 9), "July 2026 is not closed yet. Issue its invoices first."),
        ("2026-06-01", when(8, 8), "bills from July 2026 on."),
        ("9999-12-01", when(8, 8), "Choose a month."),
        ("July", when(8, 8), "Choose a month."),
    ],
)
def test_post__month_that_cannot_be_closed__said_and_no_job(shop: Shop, month: str, at: Any, said: str) -> None:
    assert said in post(shop, month, at)
    assert (Closing.objects.count(), ProcrastinateJob.objects.filter(task_name=JOB).count()) == (0, 0)


def test_ask_to_close__while_one_runs_or_by_a_customer__refused(shop: Shop) -> None:
    with pytest.raises(NotAllowed):
        billing.ask_to_close(provider=shop.provider, month=JULY, by=shop.world.owner, at=when(8, 8))
    first = billing.ask_to_close(provider=shop.provider, month=JULY, by=shop.world.manager, at=when(8, 8))
    with pytest.raises(errors.ClosingUnderWay):
        billing.ask_to_close(provider=shop.provider, month=JULY, by=None, at=when(8, 8) + timedelta(minutes=10))
    assert Closing.objects.get() == first


def test_ask_to_close__after_its_job_died__goes_on_with_the_rest(shop: Shop) -> None:
    billing.ask_to_close(provider=shop.provider, month=JULY, by=None, at=when(8, 8))
    later = when(8, 8) + timedelta(minutes=10, seconds=1)
    assert (shown(shop, later).is_running, shown(shop, later).is_silent) == (False, True)
    assert "Nothing was heard of the closing of July 2026 for long." in page(shop, later)
    again = billing.ask_to_close(provider=shop.provider, month=JULY, by=None, at=later)
    assert again is not None
    with stated_time(later):
        assert carry_out(closing_id=again.pk, at=later) == 2
    assert Closing.objects.exclude(pk=again.pk).get().ended_at == later


def test_carry_out__refused_or_broken__noted_in_words_and_asked_for_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    billing.ask_to_close(provider=shop.provider, month=JULY, by=None, at=when(8, 8))
    first = Closing.objects.get()
    with monkeypatch.context() as patched, stated_time(when(8, 8)):

        def busy(**_: Any) -> None:
            raise errors.BillingBusy

        patched.setattr(closings, "close_month", busy)
        assert carry_out(closing_id=first.pk, at=when(8, 8)) == 0
    assert "A long change is under way" in page(shop, when(8, 8))
    second = billing.ask_to_close(provider=shop.provider, month=JULY, by=None, at=when(8, 8))
    assert second is not None
    with monkeypatch.context() as patched, stated_time(when(8, 8)):

        def broken(**_: Any) -> None:
            raise ZeroDivisionError

        patched.setattr(closings, "close_month", broken)
        with pytest.raises(ZeroDivisionError):
            carry_out(closing_id=second.pk, at=when(8, 8))
    assert "It stopped by a fault of the program" in page(shop, when(8, 8))
    assert Seller.objects.get(provider=shop.provider).closed_until == JULY


def test_closable__number_of_queries__does_not_grow_with_sellers(shop: Shop) -> None:
    open_invoice_of = Invoice.objects.filter(provider=shop.provider)
    billing.refresh(provider=shop.provider, by=None, at=when(20))
    other = make_shop({"base": (31, 1)})
    billing.ask_to_close(provider=shop.provider, month=JULY, by=None, at=when(8, 8))

    def asked(*providers: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            found = lookup.closable(list(providers), when(8, 8))
        assert [one.count for one in found] == [2, 0][: len(providers)]
        return len(queries)

    assert open_invoice_of.count() == 2
    assert asked(shop.provider) == asked(shop.provider, other.provider) == 3
