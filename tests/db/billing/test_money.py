"""Taxes, credits, payments, credit notes and compensations; what is refused, and that nothing is written then."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal as D
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from bursar.billing import errors
from bursar.billing import services as billing
from bursar.billing.models import (
    Compensation,
    Credit,
    CreditNote,
    Invoice,
    InvoiceLine,
    InvoiceTax,
    Payment,
    Seller,
    TaxRate,
)
from bursar.billing.verification import verify
from bursar.catalogue import services as catalogue
from bursar.catalogue.errors import InvalidInput, PriceInThePast
from bursar.catalogue.models import ServiceProvider
from bursar.events.models import Event
from bursar.kernel.errors import DomainError
from bursar.kernel.refusals import words as refusal_words
from bursar.provisioning.models import ResourceFact
from bursar.structure import services as structure
from bursar.structure.errors import InvalidValue, SellsInItsCurrency, TextMissing
from bursar.structure.models import Organization
from bursar.structure.roles import NotAllowed
from tests.factories.selling import (
    Shop,
    another_customer,
    close,
    lines,
    make_running,
    make_shop,
    open_invoice,
    set_prices,
    when,
)
from tests.factories.structure import make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)
ISSUE = when(8, 8)
TWO_TAXES = (
    {"key": "base", "title": "Base", "billing": "fixed", "unit_name": "pieces"},
    {"key": "book", "title": "Book", "billing": "fixed", "unit_name": "pieces", "tax_category": "reduced"},
)


@pytest.fixture(scope="module")
def shop(standing: Callable[..., Any]) -> Shop:
    """It sells a base of 100 and a book taxed otherwise, whose price each test sets; one resource runs since 1 July."""

    def make() -> Shop:
        made = make_shop({"base": (100, 1)}, components=TWO_TAXES)
        make_running(made, at=when(1))
        return made

    return standing(make)


def tax(
    percent: str, *, category: str = "standard", valid_from: date = date(2026, 1, 1), country: str = "DE"
) -> TaxRate:
    return billing.set_tax_rate(
        country=country, category=category, percent=D(percent), valid_from=valid_from, by=None, at=when(1)
    )


def give(shop: Shop, kind: str, amount: str, **more: Any) -> Credit:
    more.setdefault("at", when(2))
    return billing.give_credit(
        provider=shop.provider, customer=shop.customer, kind=kind, amount=D(amount), by=None, **more
    )


def july(shop: Shop) -> Invoice:
    (invoice,) = close(shop, JULY, at=ISSUE)
    return invoice


def figures(invoice: Invoice) -> tuple[D, D, D, D, str]:
    invoice.refresh_from_db()
    return invoice.net, invoice.tax, invoice.total, invoice.paid, invoice.state


def is_right(invoice: Invoice) -> bool:
    (verdict,) = verify([Invoice.objects.select_related("cut", "provider__organization").get(pk=invoice.pk)])
    return verdict.is_right


# ------------------------------------------------------------------------------------------------ taxes and credits
def test_issue__granted_credit__lowers_the_net_before_tax(shop: Shop) -> None:
    tax("24")
    credit = give(shop, "granted", "20", reason="Welcome")
    invoice = july(shop)
    assert figures(invoice) == (D("80.00"), D("19.20"), D("99.20"), D(0), "issued")
    assert lines(invoice) == [("charge", "base", D("100.00")), ("credit", "", D("-20.00"))]
    credit.refresh_from_db()
    assert credit.used == D(20)
    assert is_right(invoice)


def test_issue__prepayment__lowers_what_is_due_after_tax(shop: Shop) -> None:
    tax("24")
    credit = give(shop, "prepayment", "20")
    invoice = july(shop)
    assert figures(invoice) == (D("100.00"), D("24.00"), D("124.00"), D("20.00"), "part_paid")
    payment = Payment.objects.get(invoice=invoice)
    assert (payment.amount, payment.prepayment_id) == (D(20), credit.pk)
    assert is_right(invoice)


def test_issue__two_rates_and_a_credit__spread_in_proportion_to_their_net(shop: Shop) -> None:
    set_prices(shop, {"base": (70, 1), "book": (30, 1)}, at=when(1), valid_from=when(1))
    tax("24")
    tax("9", category="reduced")
    give(shop, "granted", "10")
    invoice = july(shop)
    found = {row.category: (row.net, row.tax) for row in InvoiceTax.objects.filter(invoice=invoice)}
    assert found == {"standard": (D("63.00"), D("15.12")), "reduced": (D("27.00"), D("2.43"))}
    assert [amount for kind, _, amount in lines(invoice) if kind == "credit"] == [D("-3.00"), D("-7.00")]
    assert is_right(invoice)


def test_issue__credit_of_150__takes_what_there_is_and_keeps_the_rest_for_the_next(shop: Shop) -> None:
    set_prices(shop, {"base": (300, 1)}, at=when(1), valid_from=when(1))
    first = give(shop, "granted", "150")
    assert figures(july(shop)) == (D("150.00"), D(0), D("150.00"), D(0), "issued")
    first.refresh_from_db()
    assert first.amount - first.used == 0
    second = give(shop, "granted", "600", at=when(9, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert figures(august) == (D(0), D(0), D(0), D(0), "paid")
    second.refresh_from_db()
    assert second.amount - second.used == D(300)


def test_issue__several_credits__soonest_expiry_first_and_none_that_expired(shop: Shop) -> None:
    late = give(shop, "granted", "60")
    soon = give(shop, "granted", "60", expires_on=date(2026, 8, 8))
    over = give(shop, "granted", "60", expires_on=date(2026, 8, 7))
    other = give(shop, "granted", "60", project=shop.world.project, expires_on=date(2026, 8, 9))
    invoice = july(shop)
    assert figures(invoice)[0] == D(0)
    for credit, value in ((soon, 60), (other, 40), (late, 0), (over, 0)):
        credit.refresh_from_db()
        assert credit.used == D(value)
    assert is_right(invoice)


def test_issue__credit_for_another_project__not_used(shop: Shop) -> None:
    elsewhere = structure.create_project(
        organization=shop.customer, parent=None, name="Other", principal_investigator=shop.world.pi, start=when(1), by=None,
        at=when(1),
    )  # fmt: skip
    credit = give(shop, "granted", "60", project=elsewhere)
    assert figures(july(shop))[0] == D("100.00")
    credit.refresh_from_db()
    assert credit.used == D(0)


def test_issue__rate_changed__each_month_by_the_rate_of_its_last_day(shop: Shop) -> None:
    tax("19")
    tax("20", valid_from=date(2026, 8, 1))
    invoice = july(shop)
    assert figures(invoice)[1] == D("19.00")
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert figures(august)[1] == D("20.00")
    tax("7", valid_from=date(2026, 7, 1))  # what was issued stays
    assert is_right(invoice)


@pytest.mark.parametrize(
    ("seller", "buyer", "note", "percent"),
    [
        (("DE", "DE136695976"), ("FI", "FI20774740"), "reverse_charge", D(0)),
        (("DE", "DE136695976"), ("DE", ""), "", D(19)),
        (("DE", "DE136695976"), ("FI", ""), "", D(19)),
        (("DE", ""), ("FI", "FI20774740"), "", D(19)),
        (("DE", "DE136695976"), ("NO", ""), "", D(19)),
        (("SE", "SE123456789701"), ("SE", ""), "no_rate", D(0)),
    ],
)
def test_issue__between_countries__the_tax_that_follows(
    shop: Shop, seller: tuple[str, str], buyer: tuple[str, str], note: str, percent: D
) -> None:
    tax("19")
    for organization, (country, number) in ((shop.provider.organization, seller), (shop.customer, buyer)):
        structure.edit_organization(
            organization=organization, name=organization.name, country=country, vat_number=number, currency="EUR",
            time_zone="UTC", url="", by=None, at=when(2),
        )  # fmt: skip
    invoice = july(shop)
    line = InvoiceLine.objects.get(invoice=invoice)
    assert (line.tax_note, line.tax_percent, invoice.tax) == (note, percent, percent)
    assert is_right(invoice)


def test_issue__within_one_organization__no_tax(shop: Shop) -> None:
    tax("19")
    make_running(shop, at=when(1), workspace=make_workspace(shop.provider.organization))
    found = close(shop, JULY, at=ISSUE)
    notes = {one.customer_id: InvoiceLine.objects.get(invoice=one).tax_note for one in found}
    assert notes == {shop.customer.pk: "", shop.provider.organization_id: "same_organization"}


# ------------------------------------------------------------------------------------------------ payments
def test_note_payment__in_part_then_the_rest_then_taken_back__the_state_follows(shop: Shop) -> None:
    invoice = july(shop)
    manager = shop.world.manager
    billing.note_payment(invoice_id=invoice.pk, amount=D(40), by=manager, at=when(9, 8), reference="bank 1")
    assert figures(invoice)[3:] == (D("40.00"), "part_paid")
    rest = billing.note_payment(invoice_id=invoice.pk, amount=D(60), by=manager, at=when(10, 8))
    assert figures(invoice)[3:] == (D("100.00"), "paid")
    billing.take_back_payment(payment_id=rest.pk, by=manager, at=when(11, 8))
    assert figures(invoice)[3:] == (D("40.00"), "part_paid")
    with pytest.raises(errors.PaymentTakenBack):
        billing.take_back_payment(payment_id=rest.pk, by=manager, at=when(11, 8))
    kinds = (
        Event.objects.filter(subject_type="invoice", subject_id=invoice.pk)
        .order_by("pk")
        .values_list("kind", flat=True)
    )
    assert [kind for kind in kinds if kind != "invoice.sent"] == [
        "invoice.issued", "invoice.payment_noted", "invoice.payment_noted", "invoice.payment_taken_back",
    ]  # fmt: skip


def test_take_back_payment__of_a_prepayment__it_is_there_again(shop: Shop) -> None:
    credit = give(shop, "prepayment", "30")
    invoice = july(shop)
    payment = Payment.objects.get(invoice=invoice)
    billing.take_back_payment(payment_id=payment.pk, by=None, at=when(9, 8))
    credit.refresh_from_db()
    assert (credit.used, figures(invoice)[3:]) == (D(0), (D(0), "issued"))


@pytest.mark.parametrize(
    ("amount", "refusal", "says"),
    [
        ("100.01", errors.PaymentTooLarge, "100.00 EUR are due. Note at most that; give the rest as a prepayment."),
        ("0", errors.AmountNotPositive, ""),
        ("-5", errors.AmountNotPositive, ""),
        ("1.001", errors.AmountNotInCurrency, "EUR has 2 decimals and at most 10 digits before them."),
        ("NaN", errors.AmountNotInCurrency, ""),
        ("1e30", errors.AmountNotInCurrency, ""),
    ],
)
def test_note_payment__not_possible__refused_and_nothing_written(
    shop: Shop, amount: str, refusal: type[DomainError], says: str
) -> None:
    invoice = july(shop)
    with pytest.raises(refusal) as refused:
        billing.note_payment(invoice_id=invoice.pk, amount=D(amount), by=None, at=when(9, 8))
    assert says in refusal_words(refused.value, str)
    assert (Payment.objects.count(), figures(invoice)[3:]) == (0, (D(0), "issued"))


def test_note_payment__by_the_customer_or_of_an_open_invoice_or_tomorrow__refused(shop: Shop) -> None:
    provisional = open_invoice(shop, JULY, at=when(20))
    with pytest.raises(errors.InvoiceStillOpen):
        billing.note_payment(invoice_id=provisional.pk, amount=D(1), by=None, at=when(20))
    invoice = july(shop)
    with pytest.raises(NotAllowed):
        billing.note_payment(invoice_id=invoice.pk, amount=D(1), by=shop.world.owner, at=when(9, 8))
    with pytest.raises(errors.InvoiceNotFound):
        billing.note_payment(invoice_id=invoice.pk, amount=D(1), by=shop.world.member, at=when(9, 8))
    with pytest.raises(errors.PaidInTheFuture):
        billing.note_payment(invoice_id=invoice.pk, amount=D(1), paid_on=date(2026, 8, 10), by=None, at=when(9, 8))
    assert Payment.objects.count() == 0


def test_tell_overdue__after_the_last_day__once(shop: Shop) -> None:
    invoice = july(shop)
    assert invoice.due_on == date(2026, 9, 7)
    assert billing.tell_overdue(at=when(7, 9, hour=23)) == 0
    assert billing.tell_overdue(at=when(8, 9, hour=7)) == 1
    assert billing.tell_overdue(at=when(9, 9)) == 0
    assert Event.objects.filter(kind="invoice.overdue", subject_id=invoice.pk).count() == 1


# ------------------------------------------------------------------------------------------------ credit notes
def test_credit_invoice__whole_and_unpaid__credited(shop: Shop) -> None:
    tax("19")
    invoice = july(shop)
    note = billing.credit_invoice(invoice_id=invoice.pk, reason="Wrong customer", by=shop.world.manager, at=when(9, 8))
    assert (note.number, note.number_text, note.net, note.tax, note.total) == (1, "C00001", D(100), D(19), D(119))
    assert figures(invoice) == (D("100.00"), D("19.00"), D("119.00"), D(0), "credited")
    with pytest.raises(errors.NothingToCredit):
        billing.credit_invoice(invoice_id=invoice.pk, reason="Again", by=None, at=when(9, 8))
    assert is_right(invoice)


def test_credit_invoice__in_part_after_it_was_paid__what_was_paid_beyond_is_a_prepayment(shop: Shop) -> None:
    tax("19")
    invoice = july(shop)
    paid = billing.note_payment(invoice_id=invoice.pk, amount=D(119), by=None, at=when(9, 8))
    line = InvoiceLine.objects.get(invoice=invoice)
    note = billing.credit_invoice(
        invoice_id=invoice.pk, reason="An outage", amounts={line.pk: D("10.10")}, by=None, at=when(10, 8)
    )
    assert (note.net, note.tax, note.total) == (D("10.10"), D("1.92"), D("12.02"))
    credit = Credit.objects.get(of_credit_note=note)
    assert (credit.kind, credit.amount, credit.reason) == ("prepayment", D("12.02"), "C00001")
    assert figures(invoice)[3:] == (D("106.98"), "paid")
    with pytest.raises(errors.PaymentSettled):
        billing.take_back_payment(payment_id=paid.pk, by=None, at=when(11, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert figures(august)[3:] == (D("12.02"), "part_paid")
    # The rest, cut as one likes, never takes back more tax than there was.
    rest = billing.credit_invoice(invoice_id=invoice.pk, reason="All of it", by=None, at=when(9, 9))
    assert (rest.net, rest.tax) == (D("89.90"), D("17.08"))
    assert figures(invoice)[3:] == (D(0), "credited")


def test_credit_invoice__what_it_used_of_a_credit__is_there_again(shop: Shop) -> None:
    credit = give(shop, "granted", "20")
    invoice = july(shop)
    charge = InvoiceLine.objects.get(invoice=invoice, kind="charge")
    with pytest.raises(errors.CreditNoteBeyondInvoice) as refused:
        billing.credit_invoice(invoice_id=invoice.pk, reason="No", amounts={charge.pk: D(100)}, by=None, at=when(9, 8))
    assert refused.value.left == "80.00"
    billing.credit_invoice(invoice_id=invoice.pk, reason="Yes", by=None, at=when(9, 8))
    credit.refresh_from_db()
    assert (credit.used, figures(invoice)[4]) == (D(0), "credited")


@pytest.mark.parametrize(
    ("amount", "refusal"),
    [("100.01", errors.CreditNoteTooLarge), ("-1", errors.CreditNoteTooLarge), ("1.001", errors.CreditNoteTooLarge),
     ("NaN", errors.CreditNoteTooLarge), ("0", errors.NothingToCredit)],
)  # fmt: skip
def test_credit_invoice__not_possible__refused_and_no_number_given(
    shop: Shop, amount: str, refusal: type[DomainError]
) -> None:
    invoice = july(shop)
    line = InvoiceLine.objects.get(invoice=invoice)
    with pytest.raises(refusal) as refused:
        billing.credit_invoice(invoice_id=invoice.pk, reason="No", amounts={line.pk: D(amount)}, by=None, at=when(9, 8))
    assert getattr(refused.value, "left", "100.00") == "100.00"
    with pytest.raises(errors.LineNotOfInvoice):
        billing.credit_invoice(invoice_id=invoice.pk, reason="No", amounts={line.pk + 1: D(1)}, by=None, at=when(9, 8))
    with pytest.raises(TextMissing):
        billing.credit_invoice(invoice_id=invoice.pk, reason=" ", by=None, at=when(9, 8))
    assert (CreditNote.objects.count(), figures(invoice)[4]) == (0, "issued")
    assert billing.credit_invoice(invoice_id=invoice.pk, reason="Yes", by=None, at=when(9, 8)).number == 1


def test_credit_invoice__that_carries_out_a_recomputation__no_adjustment_takes_it_back_again(shop: Shop) -> None:
    invoice = july(shop)
    (line,) = InvoiceLine.objects.filter(invoice=invoice)
    ResourceFact.objects.create(
        resource_id=line.resource_id, what="state", state="terminating", effective_at=when(10, hour=12)
    )
    note = billing.credit_invoice(
        invoice_id=invoice.pk, reason="Gone since the 10th", carries_out=True, by=None, at=when(9, 8)
    )
    assert note.net == D("67.74")  # 100 - 100 x 10/31
    assert close(shop, AUGUST, at=when(8, 9)) == []
    assert is_right(invoice)


def test_credit_invoice__for_another_reason__the_month_computed_again_is_still_what_was_invoiced(shop: Shop) -> None:
    invoice = july(shop)
    billing.credit_invoice(invoice_id=invoice.pk, reason="Goodwill", by=None, at=when(9, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert lines(august) == [("charge", "base", D("100.00"))]
    assert is_right(august)


# ------------------------------------------------------------------------------------------------ credits and compensations
def test_withdraw_credit__what_is_left_goes__what_was_used_stays(shop: Shop) -> None:
    credit = give(shop, "granted", "130")
    invoice = july(shop)
    billing.withdraw_credit(credit_id=credit.pk, by=shop.world.manager, at=when(9, 8))
    with pytest.raises(errors.NothingLeftOfCredit):
        billing.withdraw_credit(credit_id=credit.pk, by=None, at=when(9, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert figures(august)[0] == D("100.00")
    assert is_right(invoice)


def test_give_credit__not_possible__refused_and_nothing_written(shop: Shop) -> None:
    other = another_customer(shop)
    with pytest.raises(errors.CurrencyOfSeller):
        give(shop, "granted", "10", currency="USD")
    with pytest.raises(errors.ExpiredAlready):
        give(shop, "granted", "10", expires_on=date(2026, 7, 1))
    with pytest.raises(errors.NotOfCustomer):
        give(shop, "granted", "10", project=other.project)
    with pytest.raises(errors.AmountNotPositive):
        give(shop, "granted", "0")
    with pytest.raises(InvalidInput):
        give(shop, "gift", "10")
    with pytest.raises(NotAllowed):
        billing.give_credit(
            provider=shop.provider, customer=shop.customer, kind="granted", amount=D(1), by=shop.world.owner, at=when(2)
        )
    assert Credit.objects.count() == 0


def test_compensate__negative_line_with_its_reason__once_and_kept(shop: Shop) -> None:
    tax("10")
    made = billing.compensate(
        provider=shop.provider, customer=shop.customer, amount=D("12.50"), reason="Two days down", by=shop.world.manager,
        at=when(20),
    )  # fmt: skip
    gone = billing.compensate(
        provider=shop.provider, customer=shop.customer, amount=D(5), reason="No", by=None, at=when(20)
    )
    billing.withdraw_compensation(compensation_id=gone.pk, by=None, at=when(21))
    invoice = july(shop)
    assert lines(invoice) == [("charge", "base", D("100.00")), ("compensation", "", D("-12.50"))]
    assert figures(invoice)[:3] == (D("87.50"), D("8.75"), D("96.25"))
    assert InvoiceLine.objects.get(invoice=invoice, kind="compensation").names == {"text": "Two days down"}
    with pytest.raises(errors.CompensationSettled):
        billing.withdraw_compensation(compensation_id=made.pk, by=None, at=when(9, 8))
    (august,) = close(shop, AUGUST, at=when(8, 9))
    assert figures(august)[0] == D("100.00")
    assert is_right(invoice)


def test_compensate__not_possible__refused_and_nothing_written(shop: Shop) -> None:
    common = {"provider": shop.provider, "customer": shop.customer, "amount": D(1), "by": None, "at": when(2)}
    with pytest.raises(TextMissing):
        billing.compensate(**common, reason="")
    with pytest.raises(errors.CurrencyOfSeller):
        billing.compensate(**common, reason="x", currency="CHF")
    with pytest.raises(errors.NotOfCustomer):
        billing.compensate(**common, reason="x", workspace=another_customer(shop))
    assert Compensation.objects.count() == 0


@pytest.mark.parametrize(
    ("currency", "paid", "due", "left"), [("JPY", "91", "9", "9"), ("KWD", "90.629", "9.371", "9.371")]
)
def test_refusals_and_events__of_money__have_the_decimals_of_the_currency(
    currency: str, paid: str, due: str, left: str
) -> None:
    shop = make_shop({"base": (100, 1)}, components=TWO_TAXES, currency=currency)
    make_running(shop, at=when(1))
    invoice = july(shop)
    line = InvoiceLine.objects.get(invoice=invoice)
    noted = billing.note_payment(invoice_id=invoice.pk, amount=D(paid), by=None, at=when(9, 8))
    with pytest.raises(errors.PaymentTooLarge) as refused:
        billing.note_payment(invoice_id=invoice.pk, amount=D(10), by=None, at=when(9, 8))
    assert (refused.value.due, refused.value.currency) == (due, currency)
    billing.credit_invoice(invoice_id=invoice.pk, reason="Some", amounts={line.pk: D(paid)}, by=None, at=when(9, 8))
    with pytest.raises(errors.CreditNoteTooLarge) as beyond:
        billing.credit_invoice(invoice_id=invoice.pk, reason="More", amounts={line.pk: D(10)}, by=None, at=when(9, 8))
    assert (beyond.value.left, beyond.value.currency) == (left, currency)
    facts = dict(Event.objects.filter(subject_type="invoice", subject_id=invoice.pk).values_list("kind", "facts"))
    assert facts["invoice.payment_noted"]["amount"] == paid
    assert facts["invoice.credited"]["total"] == paid
    credit = Credit.objects.get(of_credit_note__isnull=False)
    billing.withdraw_credit(credit_id=credit.pk, by=None, at=when(9, 8))
    withdrawn = Event.objects.get(kind="credit.withdrawn", subject_id=credit.pk)
    assert withdrawn.facts["amount"] == str(noted.amount + D(paid) - D(100))


# ------------------------------------------------------------------------------------------------ settings and what stays
def test_edit_seller__numbers_and_days__stand_on_what_is_issued_next(shop: Shop) -> None:
    billing.edit_seller(
        provider=shop.provider,
        legal_name="Centre GmbH",
        number_prefix="CC-",
        due_days=14,
        by=shop.world.manager,
        at=when(2),
    )
    invoice = july(shop)
    assert (invoice.number_text, invoice.due_on) == ("CC-00001", date(2026, 8, 22))
    assert invoice.parties["seller"]["name"] == "Centre GmbH"
    with pytest.raises(errors.BillsAlready):
        billing.edit_seller(provider=shop.provider, bills_from=date(2026, 9, 1), by=None, at=when(9, 8))
    with pytest.raises(InvalidInput):
        billing.edit_seller(provider=shop.provider, due_days=1000, by=None, at=when(9, 8))
    with pytest.raises(InvalidInput):
        billing.edit_seller(provider=shop.provider, last_invoice=7, by=None, at=when(9, 8))
    with pytest.raises(NotAllowed):
        billing.edit_seller(provider=shop.provider, due_days=1, by=shop.world.owner, at=when(9, 8))


@pytest.mark.parametrize(
    "first", [date(1, 1, 1), date(1926, 7, 1), date(2025, 12, 31), date(2036, 8, 1), date(9999, 12, 31)]
)
def test_edit_seller__first_month_before_anything_was_sold_or_far_ahead__refused_and_nothing_written(
    shop: Shop, first: date
) -> None:
    with pytest.raises(errors.FirstMonthNotPossible) as refused:
        billing.edit_seller(provider=shop.provider, bills_from=first, note="x", by=None, at=when(2))
    assert refusal_words(refused.value, str) == (
        "The first month that is billed can be January 2026 at the earliest, because nothing was sold before, and July"
        " 2036 at the latest."
    )
    seller = Seller.objects.get(provider=shop.provider)
    assert (seller.bills_from, seller.closed_until, seller.note) == (JULY, JULY, "")


def test_edit_seller__first_month__from_the_authorization_on_by_the_sellers_calendar(shop: Shop) -> None:
    for first in (date(2026, 1, 1), date(2036, 7, 31)):
        seller = billing.edit_seller(provider=shop.provider, bills_from=first, by=None, at=when(2))
        assert seller.bills_from == first.replace(day=1)
    # Authorized again in August: what it sold since 1 July is billed all the same, and nothing before.
    ServiceProvider.objects.filter(pk=shop.provider.pk).update(authorized_at=when(1, 8))
    again = ServiceProvider.objects.select_related("organization").get(pk=shop.provider.pk)
    assert billing.edit_seller(provider=again, bills_from=JULY, by=None, at=when(2, 8)).bills_from == JULY
    with pytest.raises(errors.FirstMonthNotPossible) as refused:
        billing.edit_seller(provider=again, bills_from=date(2026, 6, 1), by=None, at=when(2, 8))
    assert refused.value.first == "July 2026"
    # When July begins in UTC, it is still June in Honolulu.
    Organization.objects.filter(pk=again.organization_id).update(time_zone="Pacific/Honolulu")
    again.organization.refresh_from_db()
    assert billing.edit_seller(provider=again, bills_from=date(2026, 6, 1), by=None, at=when(2, 8)).bills_from == date(
        2026, 6, 1
    )


def test_edit_buyer__what_stands_on_invoices__as_it_was_at_issuing(shop: Shop) -> None:
    billing.edit_buyer(organization=shop.customer, legal_name="Uni", reference="PO 7", by=shop.world.owner, at=when(2))
    invoice = july(shop)
    billing.edit_buyer(organization=shop.customer, legal_name="Later", by=shop.world.owner, at=when(9, 8))
    invoice.refresh_from_db()
    assert (invoice.parties["buyer"]["name"], invoice.parties["buyer"]["reference"]) == ("Uni", "PO 7")
    assert is_right(invoice)
    with pytest.raises(NotAllowed):
        billing.edit_buyer(organization=shop.customer, legal_name="x", by=shop.world.member, at=when(9, 8))


@pytest.mark.parametrize(
    ("country", "percent"), [("", "19"), ("DE", "101"), ("DE", "-1"), ("DE", "1.2345"), ("DE", "NaN")]
)
def test_set_tax_rate__not_possible__refused(shop: Shop, country: str, percent: str) -> None:
    with pytest.raises((errors.TaxCountryMissing, errors.TaxRateNotPossible)):
        tax(percent, country=country)
    with pytest.raises(InvalidValue):
        tax("19", country="Germany")
    with pytest.raises(NotAllowed):
        billing.set_tax_rate(country="DE", percent=D(1), valid_from=JULY, by=shop.world.manager, at=when(1))
    assert TaxRate.objects.count() == 0


def test_set_price__in_a_month_that_was_billed__refused(shop: Shop) -> None:
    july(shop)
    with pytest.raises(PriceInThePast):
        catalogue.set_price(
            plan=shop.plan, component=shop.components["base"], price=D(1), amount=1, by=None, at=when(9, 8),
            valid_from=when(1),
        )  # fmt: skip


def test_edit_organization__a_seller_with_invoices__its_currency_and_zone_stay(shop: Shop) -> None:
    open_invoice(shop, JULY, at=when(20))
    organization = shop.provider.organization
    for currency, zone in (("USD", "UTC"), ("EUR", "Europe/Berlin")):
        with pytest.raises(SellsInItsCurrency):
            structure.edit_organization(
                organization=organization, name=organization.name, country="DE", vat_number="", currency=currency,
                time_zone=zone, url="", by=None, at=when(20),
            )  # fmt: skip
    organization.refresh_from_db()
    assert (organization.currency, organization.time_zone) == ("EUR", "UTC")


def test_tables__what_was_issued__cannot_be_changed_by_anybody(shop: Shop) -> None:
    tax("19")
    give(shop, "prepayment", "5")
    invoice = july(shop)
    note = billing.credit_invoice(
        invoice_id=invoice.pk, reason="Some", by=None, at=when(9, 8),
        amounts={InvoiceLine.objects.get(invoice=invoice).pk: D(1)},
    )  # fmt: skip
    line = InvoiceLine.objects.get(invoice=invoice)
    attempts: list[Callable[[], object]] = [
        lambda: InvoiceLine.objects.filter(pk=line.pk).update(amount=D(1)),
        lambda: InvoiceLine.objects.filter(pk=line.pk)._raw_delete("default"),
        lambda: InvoiceLine.objects.create(
            invoice=invoice,
            position=9,
            kind="compensation",
            month=JULY,
            quantity=1,
            unit_price=1,
            amount=1,
            tax_category="standard",
            tax_percent=0,
        ),
        lambda: InvoiceTax.objects.filter(invoice=invoice).update(tax=D(1)),
        lambda: InvoiceTax.objects.filter(invoice=invoice)._raw_delete("default"),
        lambda: Invoice.objects.filter(pk=invoice.pk).update(due_on=AUGUST),
        lambda: Invoice.objects.filter(pk=invoice.pk).update(number=2),
        lambda: Invoice.objects.filter(pk=invoice.pk).update(state="open", number=None, issued_at=None),
        lambda: Invoice.objects.filter(pk=invoice.pk)._raw_delete("default"),
        lambda: Payment.objects.filter(invoice=invoice).update(amount=D(1)),
        lambda: Payment.objects.filter(invoice=invoice)._raw_delete("default"),
        lambda: CreditNote.objects.filter(pk=note.pk).update(reason="x"),
        lambda: Credit.objects.update(amount=D(9)),
        lambda: Credit.objects.all()._raw_delete("default"),
        lambda: TaxRate.objects.update(percent=D(1)),
        lambda: TaxRate.objects.all()._raw_delete("default"),
        lambda: type(invoice.cut).objects.filter(pk=invoice.cut_id).update(fact=0),
    ]
    for attempt in attempts:
        with pytest.raises(IntegrityError), transaction.atomic():
            attempt()
    assert is_right(invoice)
