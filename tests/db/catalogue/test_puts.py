"""A provider's own list, put by its own keys: twice is once, history is kept, and a batch is all or nothing."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.accounting import services as accounting
from bursar.catalogue import services
from bursar.catalogue.errors import (
    CategoryArchived,
    CategoryCarriesHistory,
    CategoryUnknown,
    InvalidInput,
    NamedTwice,
    PutsAtFault,
    TooManyPuts,
)
from bursar.catalogue.models import Product, ProductCategory, ServiceProvider
from bursar.catalogue.services import CategoryPut, ProductPut
from bursar.catalogue.services.puts import Change
from bursar.events.models import Event
from bursar.structure.roles import NotAllowed, Role
from tests.factories.catalogue import make_offering, make_provider
from tests.factories.structure import make_membership, make_organization, make_person, make_workspace

pytestmark = pytest.mark.django_db

CPU = {
    "title": "CPU on Thor",
    "product_type": "compute",
    "charging": "hour",
    "unit_name": "core-hours",
    "ticks_per_unit": 3600,
}


@pytest.fixture
def provider() -> ServiceProvider:
    return make_provider()


def put(provider: ServiceProvider, at, name: str = "cpu", **more: Any) -> tuple[ProductCategory, Change]:
    return services.put_category(provider=provider, wish=CategoryPut(name, {**CPU, **more}), by=None, at=at)


def put_product(provider: ServiceProvider, at, name: str = "thor-16", category: str = "cpu", **more: Any) -> Any:
    fields = {"title": "Thor 16", "specs": {"cores": 16}, "ticks_per_charge": 57600, **more}
    return services.put_product(provider=provider, wish=ProductPut(category, name, fields), by=None, at=at)


def kinds() -> list[str]:
    told = ("category.created", "category.edited", "product.created", "product.edited")
    return list(Event.objects.filter(kind__in=told).order_by("pk").values_list("kind", flat=True))


def test_put__twice__changes_and_tells_nothing_the_second_time(provider, at) -> None:
    first, second = put(provider, at), put(provider, at)
    assert (first[1], second[1]) == (Change.CREATED, Change.SAME)
    assert first[0].pk == second[0].pk
    one, again = put_product(provider, at), put_product(provider, at)
    assert (one[1], again[1], one[0].pk == again[0].pk) == (Change.CREATED, Change.SAME, True)
    assert kinds() == ["category.created", "product.created"]


def test_put__blanks_that_are_tidied_away__are_no_change(provider, at) -> None:
    put(provider, at, title="  CPU on Thor ", description="Many\r\ncores. ")
    assert put(provider, at, title="CPU on Thor  ", description="Many\r\ncores. ")[1] is Change.SAME
    assert kinds() == ["category.created"]


def test_put__another_title__is_changed_and_told_by_field(provider, at) -> None:
    put(provider, at)
    put_product(provider, at)
    row, change = put(provider, at, title="Cores of Thor", grace_days=3)
    assert (row.title, row.grace_days, change) == ("Cores of Thor", 3, Change.CHANGED)
    product, change = put_product(provider, at, specs={"cores": 32})
    assert (product.specs, change) == ({"cores": 32}, Change.CHANGED)
    assert kinds() == ["category.created", "product.created", "category.edited", "product.edited"]
    facts = Event.objects.filter(kind__endswith=".edited").order_by("pk").values_list("facts", flat=True)
    assert list(facts) == [{"fields": ["title", "grace_days"]}, {"fields": ["specs"]}]


def test_put__unit_before_anybody_counts_in_it__may_change(provider, at) -> None:
    put(provider, at)
    assert put(provider, at, unit_name="GPU-hours", charging="day")[0].unit_name == "GPU-hours"


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"unit_name": "GPU-hours"}, "unit"),
        ({"ticks_per_unit": 60}, "ticks per unit"),
        ({"charging": "once"}, "charged"),
        ({"product_type": "storage"}, "product type"),
        ({"unit_name": "GB", "charging": "once", "title": "Disk"}, "charged, unit"),
    ],
)
def test_put__unit_that_wallets_count_in__is_refused_with_what_carries_it(provider, at, change, fields) -> None:
    category, _ = put(provider, at)
    accounting.allocate(
        workspace=make_workspace(make_organization()),
        source=None,
        category=category,
        quota_ticks=3600,
        start=at,
        end=at + timedelta(days=30),
        by=None,
        at=at,
    )
    with pytest.raises(CategoryCarriesHistory) as refused:
        put(provider, at, **change)
    assert str(refused.value) == (
        f"“CPU on Thor” has counted since {refused.value.since}: wallets with their allocations and reports hold amounts in "
        f"it, so its {fields} cannot change. Put what is new under another name, move your offerings to it, and archive this "
        "one; what was counted stays as it is."
    )
    category.refresh_from_db()
    assert (category.unit_name, category.ticks_per_unit, category.charging, category.title) == (
        "core-hours",
        3600,
        "hour",
        "CPU on Thor",
    )
    assert put(provider, at, title="Still a title")[1] is Change.CHANGED


def test_put__unit_that_an_offering_was_sold_in__names_the_offering(provider, at) -> None:
    category, _ = put(provider, at)
    make_offering(provider, category=category, name="Thor", at=at)
    with pytest.raises(CategoryCarriesHistory) as refused:
        put(provider, at, unit_name="GPU-hours")
    assert refused.value.carriers == "what was sold of “Thor”"


def test_put__batch__makes_categories_and_products_in_them(provider, at) -> None:
    stood = services.put_catalogue(
        provider=provider,
        categories=[CategoryPut("cpu", CPU), CategoryPut("gpu", {**CPU, "title": "GPU"})],
        products=[ProductPut("cpu", "one", {"title": "One"}), ProductPut("gpu", "one", {"title": "One"})],
        by=None,
        at=at,
    )
    assert [(c.name, change) for c, change in stood.categories] == [("cpu", "created"), ("gpu", "created")]
    assert [(p.category.name, p.name, change) for p, change in stood.products] == [
        ("cpu", "one", "created"),
        ("gpu", "one", "created"),
    ]


def test_put__batch_with_faults__changes_nothing_and_names_each(provider, at) -> None:
    put(provider, at)
    gone, _ = put(provider, at, name="old", title="Old")
    services.archive_category(category=gone, by=None, at=at)
    before = kinds()
    with pytest.raises(PutsAtFault) as refused:
        services.put_catalogue(
            provider=provider,
            categories=[
                CategoryPut("cpu", {**CPU, "title": "Renamed"}),
                CategoryPut("new", CPU),
                CategoryPut("cpu", CPU),
                CategoryPut("no slug!", CPU),
                CategoryPut("bad", {**CPU, "title": "a\u202eb"}),
            ],
            products=[
                ProductPut("new", "one", {"title": "One"}),
                ProductPut("new", "one", {"title": "One"}),
                ProductPut("nowhere", "one", {"title": "One"}),
                ProductPut("old", "one", {"title": "One"}),
                ProductPut("bad", "one", {"title": "One"}),
                ProductPut("cpu", "free", {"title": "Free", "ticks_per_charge": -1}),
            ],
            by=None,
            at=at,
        )
    assert [(each.place, each.index, type(each.refusal)) for each in refused.value.each] == [
        ("categories", 2, NamedTwice),
        ("categories", 3, InvalidInput),
        ("categories", 4, InvalidInput),
        ("products", 1, NamedTwice),
        ("products", 2, CategoryUnknown),
        ("products", 3, CategoryArchived),
        ("products", 5, InvalidInput),
    ]
    assert str(refused.value).startswith("7 of them cannot be put, so nothing was changed. “cpu” is named twice")
    assert sorted(ProductCategory.objects.values_list("name", "title")) == [("cpu", "CPU on Thor"), ("old", "Old")]
    assert Product.objects.count() == 0
    assert kinds() == before


@pytest.mark.parametrize("count", [0, 501])
def test_put__none_or_too_many__is_refused(provider, at, count) -> None:
    with pytest.raises(TooManyPuts):
        services.put_catalogue(
            provider=provider, products=[ProductPut("cpu", f"p{n}", {}) for n in range(count)], by=None, at=at
        )


@pytest.mark.slow
def test_put__five_hundred_that_stand__asks_as_little_as_for_one(provider, at) -> None:
    put(provider, at)
    counts = []
    for count in (1, 499):
        products = [ProductPut("cpu", f"p-{n}", {"title": f"P {n}"}) for n in range(count)]
        services.put_catalogue(provider=provider, products=products, by=None, at=at)
        with CaptureQueriesContext(connection) as asked:
            stood = services.put_catalogue(provider=provider, products=products, by=None, at=at)
        assert {change for _, change in stood.products} == {Change.SAME}
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_put__key_of_another_provider__is_another_category(provider, at) -> None:
    other = make_provider()
    assert put(provider, at)[0].pk != put(other, at)[0].pk
    with pytest.raises(CategoryUnknown):
        put_product(make_provider(), at)


def test_put__somebody_without_the_right__is_refused(provider, at) -> None:
    with pytest.raises(NotAllowed):
        services.put_category(provider=provider, wish=CategoryPut("cpu", CPU), by=make_person(), at=at)
    assert ProductCategory.objects.count() == 0


# ------------------------------------------------------------------------------------------------ by REST
def test_api__put__answers_201_then_200_and_the_batch_tells_places(provider, at) -> None:
    manager = make_person()
    make_membership(person=manager, role=Role.PROVIDER_MANAGER, scope=provider.organization, at=at - timedelta(days=1))
    client = Client()
    client.force_login(manager)
    base = f"/api/v1/providers/{provider.pk}"

    def ask(path: str, body: Any) -> tuple[int, Any]:
        answer = client.put(f"{base}{path}", body, content_type="application/json")
        return answer.status_code, answer.json()

    for status, change in ((201, "created"), (200, "same")):
        code, row = ask("/product-categories/cpu", CPU)
        assert (code, row["change"], row["name"], row["grace_days"]) == (status, change, "cpu", 7)
        code, row = ask("/product-categories/cpu/products/thor-16", {"title": "Thor 16", "specs": {"cores": 16}})
        assert (code, row["change"], row["name"], row["unit_name"], row["ticks_per_unit"]) == (
            status,
            change,
            "thor-16",
            "core-hours",
            3600,
        )
    code, problem = ask("/product-categories/nowhere/products/x", {"title": "X"})
    assert (code, problem["code"]) == (422, "category_unknown")
    code, problem = ask("/product-categories/No%20Slug", CPU)
    assert (code, problem["code"]) == (422, "invalid_input")
    code, stood = ask("/catalogue", {"categories": [{**CPU, "name": "cpu", "title": "Renamed"}],
                                     "products": [{"category": "cpu", "name": "n", "title": "N"}]})  # fmt: skip
    assert code == 200
    assert [(c["name"], c["change"]) for c in stood["categories"]] == [("cpu", "changed")]
    assert [(p["name"], p["change"]) for p in stood["products"]] == [("n", "created")]
    code, problem = ask("/catalogue", {"products": [{"category": "x", "name": "n", "title": "N"}]})
    assert (code, problem["code"]) == (422, "puts_at_fault")
    assert [(e["location"], e["code"]) for e in problem["errors"]] == [("body.products.0.category", "category_unknown")]
