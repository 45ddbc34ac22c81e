"""The demo nation, loaded whole: what it was billed, what became of it, and what its budgets say."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import ROUND_FLOOR, Decimal
from functools import partial

import pytest

from bursar.billing.budgets import spending_of
from bursar.billing.models import Budget, Credit, CreditNote, Invoice, InvoiceLine
from bursar.billing.verification import verify
from bursar.catalogue.models import PlanComponent
from bursar.config.demo import load as loading
from bursar.config.demo import world
from bursar.config.demo.invoicing import closed_months
from bursar.config.demo.made import World
from bursar.kernel import clock
from bursar.provisioning.lifecycle import OrderState
from bursar.provisioning.models import Order
from tests.unit.plugins.simulator.running import TOKEN, Backend

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
Kind, State = InvoiceLine.Kind, Invoice.State
SLUGS = {organization.key: organization.slug for organization in world.ORGANIZATIONS}


def slug_of(invoice: Invoice) -> str:
    """Of the seller."""
    return invoice.provider.organization.slug


@pytest.fixture
def load(simulator: Backend, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setenv("BURSAR_SIMULATOR_URL", f"http://127.0.0.1:{simulator.port}")
    monkeypatch.setenv("BURSAR_SIMULATOR_TOKEN", TOKEN)
    return partial(loading.load, say=lambda text: None)


def test_demo_world__loaded__is_billed_for_its_year(load: Callable[[], None]) -> None:
    with clock.stated_time(datetime(2026, 11, 26, 12, 30, tzinfo=UTC)):
        load()
        check_world()

    issued = Invoice.objects.exclude(state=State.OPEN).order_by("number")
    ncc = {"provider__organization__slug": "ncc", "month__gte": date(2026, 9, 1)}
    sums: dict[str, list[tuple[Decimal, Decimal, Decimal]]] = {slug: [] for slug in world.UNIVERSITIES}
    for one in issued.filter(**ncc).select_related("customer"):
        sums[one.customer.slug].append((one.net, one.tax, one.total))
    assert sums == {
        "nordhavn": [
            (Decimal("2527.23"), Decimal("631.81"), Decimal("3159.04")),
            (Decimal("2797.88"), Decimal("699.47"), Decimal("3497.35")),
        ],
        "alder": [
            (Decimal("2671.85"), Decimal("667.96"), Decimal("3339.81")),
            (Decimal("2996.29"), Decimal("749.07"), Decimal("3745.36")),
        ],
        "vestby": [
            (Decimal("1405.18"), Decimal("351.30"), Decimal("1756.48")),
            (Decimal("1008.01"), Decimal("252.00"), Decimal("1260.01")),
        ],
    }
    compensated, adjusted = (InvoiceLine.objects.get(kind=kind) for kind in (Kind.COMPENSATION, Kind.ADJUSTMENT))
    assert (str(compensated.invoice), str(adjusted.invoice)) == ("NCC-00022", "NCC-00030")
    assert (adjusted.month, adjusted.amount) == (date(2026, 8, 1), Decimal("-5.65"))
    credits_of = {one.kind: (one.amount, one.used) for one in Credit.objects.all()}
    assert credits_of == {
        "granted": (Decimal("2500.00"), Decimal("1330.47")), "prepayment": (Decimal("1000.00"), Decimal("489.59")),
    }  # fmt: skip
    assert dict(Budget.objects.values_list("project__slug", "amount")) == {
        "ice-sheet": Decimal("11060.00"), "climate": Decimal("11360.00"),
    }  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize("day", [(2027, 1, 1), (2027, 3, 11), (2028, 2, 29)])
def test_demo_world__loaded_on_any_day__is_billed_for_its_year(
    load: Callable[[], None], day: tuple[int, int, int]
) -> None:
    with clock.stated_time(datetime(*day, 0, 15, tzinfo=UTC)):
        load()
        check_world()


def check_world() -> None:
    """What is so on whatever day it is loaded."""
    invoices = list(Invoice.objects.select_related("provider__organization", "customer", "cut").order_by("pk"))
    issued = [one for one in invoices if one.state != State.OPEN]
    assert [verdict.invoice.number_text for verdict in verify(issued) if not verdict.is_right] == []
    for seller in world.SELLERS:
        theirs = [one for one in invoices if slug_of(one) == SLUGS[seller.provider]]
        numbers = sorted(one.number for one in theirs if one.number is not None)
        assert numbers == list(range(1, len(numbers) + 1))
        # Every month whose days of grace are over was closed, and none that came after.
        made = World(today=clock.now(), providers={seller.provider: theirs[0].provider})
        last_closed, _ = closed_months(made, seller)[-1]
        assert max(one.month for one in theirs if one.number is not None) == last_closed
        assert {one.month > last_closed for one in theirs if one.number is None} == {True}

    lines = InvoiceLine.objects.select_related("invoice__customer", "invoice__provider__organization")
    # Vestby has no number that the tax offices know, so it pays the seller's tax across the border.
    assert {(line.invoice.customer.slug, slug_of(line.invoice), line.tax_percent, line.tax_note) for line in lines} == {
        ("nordhavn", "ncc", Decimal(25), ""),
        ("alder", "ncc", Decimal(25), ""),
        ("vestby", "ncc", Decimal(25), ""),
        ("nordhavn", "skygarden", Decimal(0), "reverse_charge"),
        ("alder", "skygarden", Decimal(0), "reverse_charge"),
        ("vestby", "skygarden", Decimal("25.5"), ""),
    }

    # What became of them: counted back from the last month that was closed.
    ncc = [one for one in issued if slug_of(one) == "ncc"]
    months = sorted({one.month for one in ncc}, reverse=True)
    of = {(one.customer.slug, months.index(one.month) + 1): one for one in ncc}
    half_paid, unpaid = of["alder", 2], of["vestby", 3]
    assert half_paid.state == State.PART_PAID
    assert half_paid.paid == (half_paid.total / 2).quantize(Decimal("0.01"), rounding=ROUND_FLOOR)
    assert (unpaid.state, unpaid.paid) == (State.ISSUED, 0)
    assert unpaid.overdue_told_at is not None
    before = {one.state for key, one in of.items() if key[1] > 1 and one.pk not in (half_paid.pk, unpaid.pk)}
    assert before == {State.PAID}
    [note] = CreditNote.objects.all()
    assert (note.invoice_id, note.net, note.tax, note.total) == (
        of["alder", 5].pk, Decimal("9.00"), Decimal("2.25"), Decimal("11.25"),
    )  # fmt: skip

    def only(kind: InvoiceLine.Kind) -> InvoiceLine:
        return lines.get(kind=kind)

    compensated, adjusted = only(Kind.COMPENSATION), only(Kind.ADJUSTMENT)
    assert (compensated.invoice_id, compensated.amount) == (of["nordhavn", 4].pk, Decimal("-25.00"))
    assert (adjusted.invoice_id, adjusted.month) == (of["vestby", 2].pk, months[2])
    assert adjusted.amount < 0

    credits_of = {one.kind: one for one in Credit.objects.all()}
    assert set(credits_of) == {"granted", "prepayment"}
    assert [kind for kind, one in credits_of.items() if not 0 < one.used < one.amount] == []

    # A price is announced ahead, and one is sold in steps.
    assert PlanComponent.objects.filter(valid_from__gt=clock.now()).count() == 1
    assert PlanComponent.objects.filter(tier_kind="graduated").count() == 1

    by_slug = {one.project.slug: one for one in Budget.objects.select_related("organization", "project") if one.project}
    spent = spending_of(by_slug.values(), at=clock.now())
    percents = {slug: int(spent[one.pk].spent * 100 // one.amount) for slug, one in by_slug.items()}
    assert percents == {"ice-sheet": 92, "climate": 104}
    standing = {
        slug: sorted(one.crossings.filter(ended_at=None).values_list("percent", "action"))
        for slug, one in by_slug.items()
    }
    assert standing == {"ice-sheet": [(75, "tell"), (90, "tell")], "climate": [(90, "tell"), (100, "hold")]}
    assert list(Order.objects.filter(state=OrderState.HELD).values_list("name", flat=True)) == ["climate-ensemble"]
