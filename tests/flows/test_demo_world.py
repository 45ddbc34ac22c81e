"""The demo nation, loaded whole: what it was billed, what became of it, and what its budgets say."""

from collections import Counter
from decimal import Decimal

import pytest

from bursar.billing.budgets import spending_of
from bursar.billing.models import Budget, Credit, CreditNote, Invoice, InvoiceLine
from bursar.billing.verification import verify
from bursar.catalogue.models import PlanComponent
from bursar.config.demo import world
from bursar.config.demo.invoicing import BUDGETS, closed_months
from bursar.config.demo.load import load
from bursar.config.demo.made import World
from bursar.kernel import clock
from bursar.provisioning.models import Order
from tests.unit.plugins.simulator.running import TOKEN, Backend

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.soak]
Kind, State = InvoiceLine.Kind, Invoice.State


def test_demo_world__loaded__is_billed_for_its_year(simulator: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURSAR_SIMULATOR_URL", f"http://127.0.0.1:{simulator.port}")
    monkeypatch.setenv("BURSAR_SIMULATOR_TOKEN", TOKEN)
    load(say=lambda text: None)

    invoices = list(Invoice.objects.select_related("provider__organization", "customer", "cut").order_by("pk"))
    issued = [one for one in invoices if one.state != State.OPEN]
    assert [verdict.invoice.number_text for verdict in verify(issued) if not verdict.is_right] == []
    for seller in world.SELLERS:
        numbers = sorted(one.number or 0 for one in issued if one.number_text.startswith(seller.number_prefix))
        assert numbers == list(range(1, len(numbers) + 1))
        made = World(today=clock.now())
        made.providers = {seller.provider: next(i.provider for i in invoices if i.provider.organization.name == name(seller))}
        closed = {month for month, _ in closed_months(made, seller)}
        assert {one.month for one in issued if one.provider.organization.name == name(seller)} <= closed

    # Whoever has no number that the tax offices know pays the seller's tax across the border.
    notes = Counter((line.invoice.customer.slug, line.invoice.provider.organization.slug, str(line.tax_percent.normalize()), line.tax_note)
                    for line in InvoiceLine.objects.select_related("invoice__customer", "invoice__provider__organization"))
    assert set(notes) == {
        ("nordhavn", "ncc", "25", ""), ("alder", "ncc", "25", ""), ("vestby", "ncc", "25", ""),
        ("nordhavn", "skygarden", "0", "reverse_charge"), ("alder", "skygarden", "0", "reverse_charge"),
        ("vestby", "skygarden", "25.5", ""),
    }  # fmt: skip
