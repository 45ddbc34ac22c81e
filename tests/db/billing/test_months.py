"""Months closed through the real services: what stands on invoices, what comes late, and the same bytes again."""

from datetime import date
from decimal import Decimal as D

import pytest

from bursar.billing.verification import verify
from tests.factories.selling import close, corrected, lines, make_running, make_shop, used, when

pytestmark = pytest.mark.django_db

JULY, AUGUST = date(2026, 7, 1), date(2026, 8, 1)


def test_close_month__fixed_and_usage_corrected_in_the_month__one_usage_line() -> None:
    shop = make_shop()
    run = make_running(shop, at=when(1))
    name = used(shop, run, 10, on=when(10))
    corrected(shop, run, name, 15, on=when(10), at=when(12))
    (invoice,) = close(shop, JULY, at=when(8, 8))
    assert lines(invoice) == [("charge", "cpu", D("60.00")), ("charge", "base", D("6.00"))]
    assert (invoice.number, invoice.number_text, invoice.state) == (1, "00001", "issued")
    assert (invoice.net, invoice.tax, invoice.total) == (D("66.00"), D(0), D("66.00"))
    assert [verdict.is_right for verdict in verify([invoice])] == [True]
