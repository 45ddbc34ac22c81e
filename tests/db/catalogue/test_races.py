"""Two people at the same time, each in a connection of their own."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from bursar.catalogue import services
from bursar.catalogue.errors import (
    AlreadyProvider,
    BackendInUse,
    BackendNotFound,
    CategorySealed,
    NameTaken,
    OfferingIncomplete,
    OfferingStepNotOpen,
    ShelfCycle,
)
from bursar.catalogue.models import Backend, Offering, OfferingCategory, ProductCategory, ServiceProvider
from bursar.events.models import Event
from tests.factories.catalogue import make_backend, make_category, make_offering, make_plan, make_provider, make_shelf
from tests.factories.structure import make_organization

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What each answered or raised."""
    gate = threading.Barrier(len(actions))
    outcomes: list[Any] = [None] * len(actions)

    def one(number: int, action: Callable[[], Any]) -> None:
        try:
            gate.wait(timeout=20)
            outcomes[number] = action()
        except Exception as refused:
            outcomes[number] = refused
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=pair) for pair in enumerate(actions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return outcomes


def types(outcomes: list[Any]) -> list[str]:
    return sorted(type(outcome).__name__ for outcome in outcomes)


def test_activate__two_at_once__one_does_and_one_is_refused(at):
    offering = make_offering(active=False)
    outcomes = at_once(*[lambda: services.activate_offering(offering=offering, by=None, at=at)] * 2)
    assert types(outcomes) == [Offering.__name__, OfferingStepNotOpen.__name__]
    assert Event.objects.filter(kind="offering.activated").count() == 1


def test_authorize__two_at_once__one_provider(at):
    organization = make_organization()
    outcomes = at_once(*[lambda: services.authorize_provider(organization=organization, by=None, at=at)] * 2)
    assert types(outcomes) == [AlreadyProvider.__name__, ServiceProvider.__name__]


def test_create_category__same_name_at_once__one_and_one_taken(at):
    provider = make_provider()
    outcomes = at_once(*[lambda: make_category(provider, name="cpu")] * 2)
    assert types(outcomes) == [NameTaken.__name__, ProductCategory.__name__]


def test_archive_plan__the_last_two_at_once__one_stays(at):
    offering = make_offering()
    plans = [offering.plans.get(), make_plan(offering)]
    outcomes = at_once(*[lambda plan=plan: services.archive_plan(plan=plan, by=None, at=at) for plan in plans])
    assert types(outcomes) == [OfferingIncomplete.__name__, "Plan"]
    assert offering.plans.filter(archived_at=None).count() == 1


def test_activate__while_its_last_plan_goes__never_active_without_one(at):
    offering = make_offering(active=False)
    plan = offering.plans.get()
    at_once(
        lambda: services.activate_offering(offering=offering, by=None, at=at),
        lambda: services.archive_plan(plan=plan, by=None, at=at),
    )
    offering.refresh_from_db()
    plan.refresh_from_db()
    assert (offering.state, plan.archived_at is None) in {("active", True), ("draft", False)}


def test_edit_shelf__each_below_the_other_at_once__no_circle(at):
    one, other = make_shelf(), make_shelf()
    outcomes = at_once(
        lambda: services.edit_shelf(shelf=one, parent=other, by=None, at=at),
        lambda: services.edit_shelf(shelf=other, parent=one, by=None, at=at),
    )
    assert types(outcomes) == [OfferingCategory.__name__, ShelfCycle.__name__]


def test_edit_category__while_it_is_sealed__one_of_both_orders(at):
    category = make_category()

    outcomes = at_once(
        lambda: services.edit_category(category=category, ticks_per_unit=60, by=None, at=at),
        lambda: services.seal_category(category_id=category.pk, at=at),
    )
    category.refresh_from_db()
    assert category.sealed_at == at
    assert category.ticks_per_unit == (3600 if isinstance(outcomes[0], CategorySealed) else 60)


def test_delete_backend__while_an_offering_takes_it__one_of_both_orders(at):
    backend = make_backend()
    offering = services.create_offering(provider=backend.provider, name="X", by=None, at=at)
    outcomes = at_once(
        lambda: services.delete_backend(backend=backend, by=None, at=at),
        lambda: services.connect_offering(offering=offering, backend=backend, by=None, at=at),
    )
    assert types(outcomes) in ([BackendInUse.__name__, Offering.__name__], [BackendNotFound.__name__, "NoneType"])
    offering.refresh_from_db()
    assert Backend.objects.filter(pk=backend.pk).exists() == (offering.backend_id is not None)
