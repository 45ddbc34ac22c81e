"""The engine and a slow reader of the definition say the same of any life of a resource."""

import pytest
from hypothesis import given, settings

from bursar.engine.rating import charges
from tests.unit.engine.rating.lives import Case, lives
from tests.unit.engine.rating.naive import Naive


def check(case: Case) -> None:
    month = case.month
    expected = Naive(case.history, case.tariff, case.zone, case.digits).bill(month.year, month.month)
    found = charges(case.history, case.tariff, month, case.zone, case.digits)
    assert {(c.component, c.plan, c.price_version): (c.quantity, c.rounded) for c in found} == expected
    assert len(found) == len(expected)


@given(case=lives)
@settings(deadline=None, max_examples=250)
def test_charges__any_life__as_counted_by_hand(case: Case) -> None:
    check(case)


@pytest.mark.soak
@given(case=lives)
@settings(deadline=None, max_examples=20_000)
def test_charges__thousands_of_lives__as_counted_by_hand(case: Case) -> None:
    check(case)
