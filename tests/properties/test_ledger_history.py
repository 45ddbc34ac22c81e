"""What the journal says of the past is what stood then, on whatever sequence of operations one can think of."""

from datetime import datetime
from typing import Any

import pytest
from django.db import transaction
from django.db.models import Sum
from hypothesis import given, settings
from hypothesis import strategies as st

from bursar.accounting import checkpoints
from bursar.accounting.history import balances_as_of
from bursar.accounting.models import Posting
from bursar.accounting.selectors import verify
from tests.properties.ledger_stories import Told, present
from tests.properties.ledger_strategies import WALLETS, steps

# Each story is told to real tables: a few in CI, hundreds in the soak.
FEW = settings(max_examples=max(6, settings.default.max_examples // 20))

pytestmark = pytest.mark.django_db


def as_of(told: Told, at: datetime, effective_at: datetime | None, known_at: datetime | None, **more: Any) -> list[Any]:
    found = balances_as_of(wallets=told.rows, effective_at=effective_at, known_at=known_at, at=at, **more)
    return [
        [
            one.quota_ticks,
            one.used_ticks,
            one.uncovered_ticks,
            one.written_off_ticks,
            one.available_ticks,
            one.locked,
            one.over,
            sorted((a.allocation.pk, a.quota_ticks, a.drawn_ticks, a.state) for a in one.allocations),
        ]
        for one in (found[wallet.pk] for wallet in told.rows)
    ]


@FEW
@given(once=st.booleans(), tree=st.booleans(), data=st.data())
def test_balance_as_of__now_or_at_any_step_with_checkpoints_or_without__is_what_stood_then(once, tree, data) -> None:
    story = data.draw(steps(tree=tree, size=10))
    with transaction.atomic(), pytest.MonkeyPatch.context() as patch:
        for name, value in {"CHUNK": 3, "MANY": 4, "BASE": 2, "REACH_MAX": 8}.items():
            patch.setattr(checkpoints, name, value)
        told = Told(once=once, tree=tree, wallets=WALLETS)
        told.play(story)
        checkpoints.keep(told.category.pk)
        assert checkpoints.differences(told.category.pk) == []
        end = told.stood[-1][0]
        assert as_of(told, end, None, None) == present(told.rows, end)
        for when, stood in told.stood:
            assert as_of(told, end, None, when) == stood, when
        instants = [when for when, _ in told.stood]
        for _ in range(4):
            known = data.draw(st.sampled_from([*instants, None]))
            effective = data.draw(st.sampled_from([one for one in instants if one <= (known or end)]))
            swift = as_of(told, end, effective, known)
            assert swift == as_of(told, end, effective, known, use_checkpoints=False)
            rows = Posting.objects.filter(category_id=told.category.pk, effective_at__lte=effective)
            rows = rows if known is None else rows.filter(recorded_at__lte=known)
            used = dict(rows.values_list("wallet_id").annotate(Sum("used_ticks")))
            assert [row[1] for row in swift] == [used.get(wallet.pk, 0) for wallet in told.rows]
        assert verify(category_id=told.category.pk) == []
        transaction.set_rollback(True)


def test_prefix__any_number__is_every_chunk_once() -> None:
    for number in range(1, 700):
        covered = [
            chunk for one in checkpoints.prefix(number) for chunk in range(one, one - checkpoints.reach(one), -1)
        ]
        assert covered == list(range(number, 0, -1))
