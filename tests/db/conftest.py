"""Every test that writes to a ledger ends by verifying it; what many tests begin with is made once for all of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import datetime
from typing import Any, TypeVar

import pytest
from django.db import transaction

from bursar.catalogue.models import ProductCategory
from bursar.kernel.clock import stated_time

Made = TypeVar("Made")

# On a server of another version, and in `make test-fast`: cases of one test differ in figures, and mostly ask the database in
# the same words.
FIRST_CASES = os.environ.get("BURSAR_FIRST_CASES") == "1"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if FIRST_CASES:
        first = set({(item.path, getattr(item, "originalname", item.name)): item for item in reversed(items)}.values())
        config.hook.pytest_deselected(items=[item for item in items if item not in first])
        items[:] = [item for item in items if item in first]


@pytest.fixture(scope="module")
def standing(django_db_setup: None, django_db_blocker: Any) -> Iterator[Callable[..., Any]]:
    """`standing(make, at=...)`: made once for the tests of a module, which each begin with a copy of it.

    What a test does to its rows is undone after it; nothing is left of them after the module.
    """

    def keep(make: Callable[[], Made], *, at: datetime | None = None) -> Made:
        with django_db_blocker.unblock(), stated_time(at) if at else nullcontext():
            return make()

    with django_db_blocker.unblock(), transaction.atomic():
        with django_db_blocker.block():
            yield keep
        transaction.set_rollback(True)


@pytest.fixture
def verified(db: None) -> Iterator[Callable[[ProductCategory], ProductCategory]]:
    """Name a category; when the test is over, its balances equal its journal and its reports, to the tick."""
    from bursar.accounting import selectors as accounting
    from bursar.metering import rollups
    from bursar.metering import selectors as metering

    named: list[ProductCategory] = []

    def name(category: ProductCategory) -> ProductCategory:
        named.append(category)
        return category

    yield name
    for category in named:
        assert accounting.verify(category_id=category.pk) == []
        rollups.roll_up(
            category_id=category.pk, limit=2
        )  # a part of it, so that both the gathered and the rest are compared
        assert metering.verify(category_id=category.pk) == []
