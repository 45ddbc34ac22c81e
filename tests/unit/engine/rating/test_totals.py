"""Tax, credits, what was paid ahead, and months computed again: the worked examples and laws. Amounts in cents."""

from datetime import date
from fractions import Fraction as F
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.engine.rating.facts import Charge
from bursar.engine.rating.totals import (
    Adjustment,
    Balance,
    Drawn,
    Invoiced,
    Item,
    Rate,
    Taxed,
    adjustments,
    tax_of,
    totals,
)

FULL, LOW, NONE = Rate("standard", F(24)), Rate("reduced", F(9)), Rate("standard", F(0), "reverse_charge")


def test_totals__granted_credit_and_tax__tax_on_what_is_left() -> None:
    found = totals([Item(100_00, FULL)], granted=[Balance(1, 20_00)])
    assert (found.net, found.tax, found.total, found.due) == (80_00, 19_20, 99_20, 99_20)


def test_totals__prepaid_and_tax__tax_on_the_whole() -> None:
    found = totals([Item(100_00, FULL)], prepaid=[Balance(1, 20_00)])
    assert (found.net, found.tax, found.total, found.prepaid, found.due) == (
        100_00,
        24_00,
        124_00,
        ((1, 20_00),),
        104_00,
    )


def test_totals__two_rates__the_credit_is_spread() -> None:
    found = totals([Item(70_00, FULL), Item(30_00, LOW)], granted=[Balance(1, 10_00)])
    assert found.granted == (Drawn(1, LOW, 3_00), Drawn(1, FULL, 7_00))
    assert found.taxes == (Taxed(LOW, 27_00, 2_43), Taxed(FULL, 63_00, 15_12))


@pytest.mark.parametrize("credit, due, used", [(150_00, 150_00, 150_00), (600_00, 0, 300_00)])
def test_totals__a_granted_credit__is_used_up_to_the_net(credit: int, due: int, used: int) -> None:
    found = totals([Item(300_00, NONE)], granted=[Balance(1, credit)])
    assert (found.due, sum(drawn.amount for drawn in found.granted)) == (due, used)


def test_totals__tax__on_the_sum_of_lines_and_not_on_each() -> None:
    assert totals([Item(1, FULL)] * 10).taxes == (Taxed(FULL, 10, 2),)


@pytest.mark.parametrize(
    "net, percent, tax", [(50, "1", 1), (-50, "1", -1), (49, "1", 0), (100, "7.5", 8), (10_00, "0", 0)]
)
def test_tax_of__half__away_from_zero(net: int, percent: str, tax: int) -> None:
    assert tax_of(net, F(percent)) == tax


def test_totals__several_credits__soonest_expiry_first_and_those_without_last() -> None:
    several = [
        Balance(1, 50),
        Balance(2, 60, date(2026, 9, 30)),
        Balance(3, 30, date(2026, 8, 31)),
        Balance(4, 9, date(2026, 9, 30)),
    ]
    found = totals([Item(120, NONE)], granted=several)
    assert found.granted == (Drawn(3, NONE, 30), Drawn(2, NONE, 60), Drawn(4, NONE, 9), Drawn(1, NONE, 21))


def test_totals__restricted_credits__pay_their_lines_only() -> None:
    items = [
        Item(100, FULL, workspace=5, offering=7),
        Item(200, FULL, workspace=6, offering=7),
        Item(50, LOW, 5, 8),
        Item(9, LOW),
    ]
    own = Balance(1, 1000, workspaces=frozenset({5}))
    both = Balance(2, 1000, workspaces=frozenset({6}), offerings=frozenset({8}))
    assert totals(items, granted=[own, both]).granted == (Drawn(1, LOW, 50), Drawn(1, FULL, 100))
    named = Balance(3, 120, offerings=frozenset({7}))
    first = Balance(2, 60, date(2026, 1, 1), workspaces=frozenset({5}))
    found = totals(items, granted=[named, first])
    # 60 of 150 are taken off 100 and 50 of workspace 5; the named one pays 120 of what is left of offering 7.
    assert found.granted == (Drawn(2, LOW, 20), Drawn(2, FULL, 40), Drawn(3, FULL, 120))
    assert found.net == 359 - 180


def test_totals__lines_given_back__no_credit_lets_the_invoice_fall_below_nothing() -> None:
    items = [Item(100, FULL, workspace=5), Item(-70, LOW, workspace=6)]
    found = totals(items, granted=[Balance(1, 500, workspaces=frozenset({5}))])
    assert (found.granted, found.net) == ((Drawn(1, FULL, 30),), 0)
    assert found.taxes == (Taxed(LOW, -70, -6), Taxed(FULL, 70, 17))
    assert totals([Item(-70, LOW)], [Balance(1, 500)], [Balance(2, 500)]).due == -76


def test_totals__restricted_prepayment__pays_the_gross_of_its_lines() -> None:
    items = [Item(100_00, FULL, workspace=5), Item(200_00, FULL, workspace=6)]
    found = totals(items, prepaid=[Balance(1, 500_00, workspaces=frozenset({5})), Balance(2, 50_00)])
    assert found.prepaid == ((1, 124_00), (2, 50_00))
    assert found.due == 372_00 - 174_00


def test_totals__nothing__is_nothing() -> None:
    found = totals([], [Balance(1, 5)], [Balance(2, 5)])
    assert (found.net, found.tax, found.due, found.granted, found.taxes, found.prepaid) == (0, 0, 0, (), (), ())


@given(seed=st.integers(0, 2**40))
@settings(deadline=None, max_examples=300)
def test_totals__any_lines_and_credits__add_up(seed: int) -> None:
    chance = Random(seed)
    rates = [FULL, LOW, NONE]
    items = [
        Item(chance.randint(-200, 900), chance.choice(rates), chance.choice([1, 2, None]), chance.choice([1, 2, None]))
        for _ in range(chance.randint(0, 7))
    ]

    def balances(first: int) -> list[Balance]:
        some = [None, frozenset({1}), frozenset({1, 2})]
        return [
            Balance(
                first + i,
                chance.randint(0, 900),
                chance.choice([None, date(2026, chance.randint(1, 9), 1)]),
                chance.choice(some),
                chance.choice(some),
            )
            for i in range(chance.randint(0, 3))
        ]

    granted, prepaid = balances(0), balances(10)
    found = totals(items, granted, prepaid)
    before = sum(item.amount for item in items)
    assert found.net == before - sum(drawn.amount for drawn in found.granted)
    assert found.total == sum(taxed.net + taxed.tax for taxed in found.taxes)
    assert [taxed.tax for taxed in found.taxes] == [tax_of(taxed.net, taxed.rate.percent) for taxed in found.taxes]
    assert found.net >= min(before, 0)
    assert found.due >= min(found.total, 0)
    for balance in granted:
        used = sum(drawn.amount for drawn in found.granted if drawn.credit == balance.credit)
        payable = sum(item.amount for item in items if balance.pays(item))
        assert 0 <= used <= min(balance.left, max(payable, 0))
        if len(granted) == 1:
            assert used == max(0, min(balance.left, payable, before))
    for credit, amount in found.prepaid:
        assert 0 < amount <= next(b.left for b in prepaid if b.credit == credit)
    assert totals(items, granted[::-1], prepaid[::-1]) == found


def charge(quantity: int, rounded: int) -> Charge:
    return Charge(1, 2, 3, F(quantity), F(1), F(rounded, 100), rounded, {})


def test_adjustments__corrected_gone_new_and_the_same__the_differences() -> None:
    now = {"more": charge(15, 6000), "same": charge(1, 600), "new": charge(2, 200)}
    invoiced = {"more": Invoiced(F(10), 4000), "same": Invoiced(F(1), 600), "gone": Invoiced(F(3), 300)}
    assert adjustments(now, invoiced) == [
        Adjustment("more", F(5), 2000, now["more"], invoiced["more"]),
        Adjustment("new", F(2), 200, now["new"], Invoiced(F(0), 0)),
        Adjustment("gone", F(-3), -300, None, invoiced["gone"]),
    ]


def test_adjustments__carried_out__none_are_left() -> None:
    now = {"more": charge(15, 6000)}
    assert adjustments(now, {"more": Invoiced(F(15), 6000), "taken back": Invoiced(F(0), 0)}) == []


def test_adjustments__as_much_for_other_money__and_more_for_the_same() -> None:
    """What a line says of steps or quarters may change its money alone; where only the quantity does, nothing is owed."""
    now = {"dearer": charge(1, 700), "rounded": charge(2, 0)}
    found = adjustments(now, {"dearer": Invoiced(F(1), 600), "rounded": Invoiced(F(1), 0)})
    assert found == [Adjustment("dearer", F(0), 100, now["dearer"], Invoiced(F(1), 600))]
