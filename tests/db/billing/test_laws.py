"""Facts told late and in any order, months closed and invoices issued in between: what was invoiced for a month, adjustments
included, is that month computed with all facts; and every issued invoice comes to the same bytes again."""

import os
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.billing import services as billing
from bursar.billing.canonical import minor
from bursar.billing.models import Invoice, InvoiceLine, Seller
from bursar.billing.reckoning import next_month, rate
from bursar.billing.services._common import terms_of
from bursar.billing.verification import verify
from bursar.catalogue.models import Plan
from bursar.kernel.errors import DomainError
from bursar.provisioning.models import Resource, ResourceFact
from tests.factories.selling import (
    Shop,
    another_customer,
    another_plan,
    close,
    corrected,
    make_running,
    make_shop,
    used,
    when,
)

SOAK = os.environ.get("BURSAR_SOAK") == "1"
pytestmark = [pytest.mark.django_db, pytest.mark.slow, *([pytest.mark.soak] if SOAK else [])]

JULY = date(2026, 7, 1)
LAST = date(2026, 11, 1)
STEPS = st.tuples(
    st.sampled_from(["use", "use", "correct", "plan", "limit", "state", "issue", "close"]),
    st.integers(0, 1),  # which resource
    st.integers(0, 9999),  # when, in parts of all the time until now
    st.integers(0, 40),  # how much
)


class Story:
    """One shop whose facts come late."""

    def __init__(self, shop: Shop, other_plan: Plan, resources: list[Resource]) -> None:
        self.shop, self.plans, self.resources = shop, [shop.plan, other_plan], resources
        self.now = when(1, 8)
        self.reports: list[tuple[str, datetime]] = []

    def step(self, verb: str, which: int, part: int, amount: int) -> None:
        hours = int((self.now - when(1)) / timedelta(hours=1))
        on = when(1) + timedelta(hours=1 + part * (hours - 1) // 10_000)
        resource = self.resources[which]
        self.now += timedelta(minutes=1)
        if verb == "use":
            name = used(self.shop, resource, amount, on=on, at=self.now)
            if which == 0:
                self.reports.append((name, on))
        elif verb == "correct" and self.reports:
            name, of = self.reports[amount % len(self.reports)]
            corrected(self.shop, resource if which == 0 else self.resources[0], name, amount, on=of, at=self.now)
        elif verb == "plan":
            self.fact(resource, on, what="plan", plan=self.plans[amount % 2])
        elif verb == "limit":
            self.fact(resource, on, what="limit", component=self.shop.components["storage"], limit=amount)
        elif verb == "state":
            state = ("ok", "paused", "terminating", "ok", "terminated")[amount % 5]
            self.fact(resource, on, what="state", state=state)
        elif verb == "issue":
            self.issue(which)
        elif verb == "close":
            self.close_next()

    def fact(self, resource: Resource, at: datetime, **more: Any) -> None:
        ResourceFact.objects.create(resource=resource, effective_at=at, **more)

    def issue(self, which: int) -> None:
        """One customer's invoice before the others."""
        billing.refresh(provider=self.shop.provider, by=None, at=self.now)
        rows = list(Invoice.objects.filter(state="open").order_by("month", "pk")[:2])
        if not rows:
            return
        try:
            with transaction.atomic():
                billing.issue_invoice(invoice_id=rows[which % len(rows)].pk, by=None, at=self.now)
        except DomainError:
            pass  # its month is not over, or an older one is open

    def close_next(self) -> None:
        month = Seller.objects.get(provider=self.shop.provider).closed_until
        over = next_month(month)
        self.now = max(self.now, when(8, over.month, year=over.year))
        close(self.shop, month, at=self.now)


def make_story() -> Story:
    shop = make_shop({"cpu": 4, "base": (31, 1), "storage": "0.1"})
    other = another_plan(shop, {"cpu": "2.35", "base": (17, 2), "storage": "0.03"}, name="Other")
    limits = {"storage": 10}
    resources = [
        make_running(shop, at=when(1), limits=limits),
        make_running(shop, at=when(3), limits=limits, workspace=another_customer(shop)),
    ]
    return Story(shop, other, resources)


@pytest.fixture(scope="module")
def start(standing: Callable[..., Any]) -> Story:
    return standing(make_story)


def test_months__any_facts_in_any_order__what_was_invoiced_is_the_month_computed_with_all(start: Story) -> None:
    @settings(
        max_examples=300 if SOAK else 5, deadline=None, suppress_health_check=list(HealthCheck), derandomize=not SOAK
    )
    @given(steps=st.lists(STEPS, min_size=4, max_size=24 if SOAK else 12))
    def play(steps: list[tuple[str, int, int, int]]) -> None:
        with transaction.atomic():
            story = Story(start.shop, start.plans[1], start.resources)
            for step in steps:
                story.step(*step)
            while Seller.objects.get(provider=story.shop.provider).closed_until < LAST:
                story.close_next()
            story.close_next()  # what came after the last of them
            _laws(story)
            transaction.set_rollback(True)

    play()


def _laws(story: Story) -> None:
    terms = terms_of(story.shop.provider)
    month, compared = JULY, 0
    while month < next_month(LAST):
        rows = (
            InvoiceLine.objects.filter(month=month, kind__in=("charge", "adjustment"))
            .order_by()
            .values_list("resource", "component", "plan", "price")
            .annotate(Sum("amount"))
        )
        invoiced = {tuple(key): minor(amount, terms.digits) for *key, amount in rows if amount}
        computed = {
            (item.resource, item.component, item.plan, item.price): item.minor
            for items in rate(terms, month, None).by_customer.values()
            for item in items
            if item.minor
        }
        assert invoiced == computed, month
        compared += len(computed)
        month = next_month(month)
    assert compared > 0
    issued = Invoice.objects.exclude(state="open").select_related("cut", "provider__organization").order_by("number")
    assert [(one.invoice.number, one.kept, one.recomputed) for one in verify(issued)] == [
        (number, True, True) for number in range(1, len(issued) + 1)
    ]
