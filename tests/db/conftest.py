"""Every test that writes to a ledger ends by verifying it."""

from collections.abc import Callable, Iterator

import pytest

from bursar.catalogue.models import ProductCategory


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
