"""Whatever is sent, in whatever pieces and however often: the tables come to the same books, and those to the journal."""

import os
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bursar.accounting import selectors as accounting
from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import ProductCategory
from bursar.metering import selectors as metering
from bursar.metering.services import post_reports
from bursar.structure.models import Workspace
from tests.factories.catalogue import make_category, make_level_category
from tests.factories.ledger import AT, YEAR_END, YEAR_START, make_allocation, make_report
from tests.factories.structure import make_organization, make_workspace

SOAK = os.environ.get("BURSAR_SOAK") == "1"
pytestmark = [pytest.mark.django_db, *([pytest.mark.soak] if SOAK else [])]

PLACES = 4  # place p draws from place (p - 1) // 2, the first one from the provider
places = st.integers(0, PLACES - 1)
KINDS = {
    "over time": make_category,
    "level": make_level_category,
    "free to use": lambda: make_category(requires_allocation=False),
}


@pytest.mark.slow
@settings(
    max_examples=300 if SOAK else 8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    quotas=st.lists(st.integers(0, 120), min_size=PLACES * 2, max_size=PLACES * 2),
    usage=st.lists(st.tuples(places, st.integers(1, 60), st.integers(0, 300)), min_size=2, max_size=14),
    data=st.data(),
)
def test_post__in_pieces_in_another_order_and_again__comes_to_the_same_books(kind, quotas, usage, data, db) -> None:
    order = data.draw(st.permutations(range(len(usage))))
    again = data.draw(st.lists(st.sampled_from(order), max_size=4))
    sent = [*order, *again]
    pieces = []
    while sent:
        size = data.draw(st.integers(1, len(sent)))
        pieces.append(sent[:size])
        sent = sent[size:]
    with transaction.atomic():
        at_once, in_pieces = (_category(kind, quotas) for _ in range(2))
        _post(*at_once, usage, range(len(usage)))
        booked = sum(_post(*in_pieces, usage, piece) for piece in pieces)
        assert booked == len(usage)
        category, _ = in_pieces
        used = sum(Wallet.objects.filter(category=category).values_list("used_ticks", flat=True))
        assert used == sum(amount for _, amount, _ in usage)
        assert _books(at_once[0]) == _books(category)
        for one in (at_once[0], category):
            assert accounting.verify(category_id=one.pk) == []
            assert metering.verify(category_id=one.pk) == []
        transaction.set_rollback(True)


def _category(kind: str, quotas: list[int]) -> tuple[ProductCategory, list[Workspace]]:
    """A category with two allocations for each place, where it needs any: one for the year, and one that ends a month earlier."""
    category = KINDS[kind]()
    workspaces = [make_workspace(make_organization()) for _ in range(PLACES)]
    if not category.requires_allocation:
        return category, workspaces
    wallets: list[Wallet] = []
    for place, workspace in enumerate(workspaces):
        source = wallets[(place - 1) // 2] if place else None
        for quota, end in zip(
            quotas[2 * place : 2 * place + 2], (YEAR_END, YEAR_END - timedelta(days=30)), strict=True
        ):
            made = make_allocation(workspace, category, quota, source=source, start=YEAR_START, end=end)
        wallets.append(made.wallet)
    return category, workspaces


def _post(category: ProductCategory, workspaces: list[Workspace], usage: list[Any], chosen: Any) -> int:
    reports = [
        make_report(
            workspaces[usage[index][0]],
            category,
            usage[index][1],
            report_id=f"usage-{index}",
            until=AT - timedelta(minutes=usage[index][2]),
            period_start=AT - timedelta(days=1),
        )
        for index in chosen
    ]
    return post_reports(reports=reports, by=None, at=AT).posted


def _books(category: ProductCategory) -> list[Any]:
    wallets = Wallet.objects.filter(category=category).order_by("workspace_id")
    allocations = Allocation.objects.filter(category=category).order_by("pk")
    return [
        *wallets.values_list("used_ticks", "uncovered_ticks", "written_off_ticks", "locked"),
        *allocations.values_list("quota_ticks", "drawn_ticks"),
    ]
