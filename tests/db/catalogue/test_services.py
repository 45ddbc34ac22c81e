"""What the services of the catalogue do and refuse, and what the database holds against everybody."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from bursar.catalogue import selectors, services
from bursar.catalogue.checklist import Requirement, publication_checklist
from bursar.catalogue.errors import (
    AlreadyProvider,
    BackendNotFound,
    CategoryArchived,
    CategoryInUse,
    CategoryNotFound,
    CategorySealed,
    ComponentKept,
    ComponentNotFound,
    InvalidInput,
    NameTaken,
    OfferingIncomplete,
    OfferingKept,
    OfferingStepNotOpen,
    PlanKept,
    PriceInThePast,
    ProviderNotAuthorized,
    ShelfCycle,
    ShelfNotEmpty,
)
from bursar.catalogue.lifecycle import OfferingAction, OfferingState, after
from bursar.catalogue.models import (
    Backend,
    Component,
    Offering,
    OfferingCategory,
    Plan,
    PlanComponent,
    Product,
    ProductCategory,
    ServiceProvider,
)
from bursar.events.models import Event
from bursar.structure.roles import NotAllowed, Role
from tests.factories.catalogue import (
    make_backend,
    make_category,
    make_component,
    make_level_category,
    make_offering,
    make_plan,
    make_product,
    make_provider,
    make_shelf,
)
from tests.factories.structure import make_membership, make_operator, make_organization, make_person, make_project

pytestmark = pytest.mark.django_db


def kinds() -> list[str]:
    return list(Event.objects.order_by("id").values_list("kind", flat=True))


def refused_by_database(statement: str, *values: object) -> str:
    with pytest.raises(DatabaseError) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, values)
    return str(error.value).split("\n", maxsplit=1)[0]


# ------------------------------------------------------------------------------------------------ providers
def test_authorize_provider__by_the_operator__once(at):
    operator, organization = make_operator(), make_organization()
    provider = services.authorize_provider(organization=organization, by=operator, at=at)
    assert (provider.authorized_at, provider.authorized_by, provider.revoked_at) == (at, operator, None)
    assert kinds()[-1] == "provider.authorized"
    count = Event.objects.count()
    with pytest.raises(AlreadyProvider):
        services.authorize_provider(organization=organization, by=operator, at=at)
    assert (ServiceProvider.objects.count(), Event.objects.count()) == (1, count)


def test_authorize_provider__by_an_owner__refused(at):
    organization = make_organization()
    owner = make_membership(role=Role.ORGANIZATION_OWNER, scope=organization).person
    with pytest.raises(NotAllowed):
        services.authorize_provider(organization=organization, by=owner, at=at)
    assert not ServiceProvider.objects.exists()


def test_revoke_provider__with_offerings__they_pause_and_nothing_new_is_published(at):
    offering = make_offering()
    provider = services.revoke_provider(provider=offering.provider, reason="Contract ended.", by=None, at=at)
    offering.refresh_from_db()
    assert (provider.revoked_at, offering.state, offering.paused_reason) == (at, "paused", "Contract ended.")
    assert kinds()[-2:] == ["offering.paused", "provider.revoked"]
    with pytest.raises(ProviderNotAuthorized):
        services.create_offering(provider=provider, name="More", by=None, at=at)
    assert Offering.objects.count() == 1
    again = services.authorize_provider(organization=provider.organization, by=None, at=at + timedelta(days=1))
    assert (again.pk, again.revoked_at, again.authorized_at) == (provider.pk, None, at + timedelta(days=1))


def test_edit_provider__wrong_address__refused(at):
    provider = make_provider()
    with pytest.raises(InvalidInput) as refusal:
        services.edit_provider(provider=provider, description="x", contact_email="nobody", by=None, at=at)
    assert list(refusal.value.errors) == ["contact_email"]
    provider.refresh_from_db()
    assert (provider.description, provider.contact_email) == ("", "")


# ------------------------------------------------------------------------------------------------ categories
def test_create_category__same_name_at_two_providers__each_its_own(at):
    first = make_category(name="cpu")
    make_category(name="cpu")
    with pytest.raises(NameTaken) as refusal:
        make_category(first.provider, name="cpu")
    assert refusal.value.facts == {"field": "name", "value": "cpu"}
    assert ProductCategory.objects.count() == 2


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "with space"), ("name", ""), ("title", ""), ("title", "x" * 121), ("title", "a\x00b"), ("title", "a\u202eb"),
     ("product_type", "gold"), ("charging", "year"), ("ticks_per_unit", 0), ("ticks_per_unit", -5), ("grace_days", 367),
     ("unit_name", "")],
)  # fmt: skip
def test_create_category__wrong_field__refused_by_its_name(field, value):
    provider = make_provider()
    with pytest.raises(InvalidInput) as refusal:
        make_category(provider, **{field: value})
    assert list(refusal.value.errors) == [field]
    assert not ProductCategory.objects.exists()


def test_edit_category__not_sealed__everything_changes(at):
    category = make_category()
    changed = services.edit_category(
        category=category, charging="day", ticks_per_unit=60, unit_name="x", by=None, at=at
    )
    assert (changed.charging, changed.ticks_per_unit, changed.unit_name) == ("day", 60, "x")


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "other"), ("product_type", "storage"), ("charging", "once"), ("unit_name", "GB"), ("ticks_per_unit", 1)],
)
def test_edit_category__sealed__unit_is_kept_by_service_and_database(field, value, at):
    category = make_category()
    services.seal_category(category_id=category.pk, at=at)
    before = ProductCategory.objects.filter(pk=category.pk).values().get()
    with pytest.raises(CategorySealed):
        services.edit_category(category=category, by=None, at=at, **{field: value})
    said = refused_by_database(f'UPDATE product_category SET "{field}" = %s WHERE id = %s', value, category.pk)
    assert said == f"product_category {category.pk} is kept as it is: UPDATE refused"
    assert ProductCategory.objects.filter(pk=category.pk).values().get() == before


def test_seal_category__twice_or_undone__the_first_instant_stays(at):
    category = make_category()
    services.seal_category(category_id=category.pk, at=at)
    services.seal_category(category_id=category.pk, at=at + timedelta(days=1))
    category.refresh_from_db()
    assert category.sealed_at == at
    refused_by_database("UPDATE product_category SET sealed_at = NULL WHERE id = %s", category.pk)
    edited = services.edit_category(category=category, title="New title", grace_days=3, by=None, at=at)
    assert (edited.title, edited.grace_days) == ("New title", 3)


def test_archive_category__drawn_on_from_the_shelf__refused_with_the_names(at):
    category = make_category()
    offering = make_offering(category=category, name="Thor")
    with pytest.raises(CategoryInUse) as refusal:
        services.archive_category(category=category, by=None, at=at)
    assert refusal.value.offerings == "Thor"
    services.pause_offering(offering=offering, by=None, at=at)
    services.archive_offering(offering=offering, by=None, at=at)
    assert services.archive_category(category=category, by=None, at=at).archived_at == at
    with pytest.raises(CategoryArchived):
        make_product(category)
    assert services.unarchive_category(category=category, by=None, at=at).archived_at is None


def test_create_product__in_ticks__and_its_name_stays_once(at):
    category = make_category()
    product = make_product(category, name="thor-16", ticks_per_charge=16 * 3600, specs={"cores": 16})
    assert (product.ticks_per_charge, product.specs) == (57600, {"cores": 16})
    with pytest.raises(NameTaken):
        make_product(category, name="thor-16")
    with pytest.raises(InvalidInput):
        make_product(category, ticks_per_charge=-1)
    assert Product.objects.count() == 1


# ------------------------------------------------------------------------------------------------ shelves
def test_edit_shelf__below_itself__refused(at):
    top = make_shelf()
    middle = make_shelf(parent=top)
    low = make_shelf(parent=middle)
    for parent in (top, middle, low):
        with pytest.raises(ShelfCycle):
            services.edit_shelf(shelf=top, parent=parent, by=None, at=at)
    top.refresh_from_db()
    assert top.parent_id is None
    assert services.edit_shelf(shelf=low, parent=top, by=None, at=at).parent_id == top.pk
    assert services.edit_shelf(shelf=low, parent=None, by=None, at=at).parent_id is None


def test_delete_shelf__not_empty__refused_until_it_is(at):
    top = make_shelf()
    low = make_shelf(parent=top)
    make_offering(shelf=low)
    with pytest.raises(ShelfNotEmpty) as refusal:
        services.delete_shelf(shelf=top, by=None, at=at)
    assert (refusal.value.shelves, refusal.value.offerings) == (1, 0)
    with pytest.raises(ShelfNotEmpty) as refusal:
        services.delete_shelf(shelf=low, by=None, at=at)
    assert (refusal.value.shelves, refusal.value.offerings) == (0, 1)
    empty = make_shelf()
    services.delete_shelf(shelf=empty, by=None, at=at)
    assert set(OfferingCategory.objects.values_list("pk", flat=True)) == {top.pk, low.pk}


def test_create_shelf__not_the_operator__refused(at):
    provider = make_provider()
    manager = make_membership(role=Role.PROVIDER_MANAGER, scope=provider.organization).person
    with pytest.raises(NotAllowed):
        services.create_shelf(title="Mine", slug="mine", by=manager, at=at)
    assert not OfferingCategory.objects.exists()


# ------------------------------------------------------------------------------------------------ the draft
def test_create_offering__on_a_backend__starts_with_what_its_plugin_proposes(at):
    provider = make_provider()
    cpu = make_category(provider, unit_name="Core-Hours")
    make_level_category(provider)
    make_level_category(provider)  # two of the kind: which one is meant cannot be told
    backend = make_backend(provider, plugin="simulator")
    offering = services.create_offering(provider=provider, name="Thor: CPU & more", backend=backend, by=None, at=at)
    rows = offering.components.values_list(
        "key", "unit_name", "billing", "category_id", "ticks_per_unit", "ticks_per_measured", "limit_default"
    )
    assert list(rows) == [
        ("cpu", "core-hours", "usage", cpu.pk, 3600, 1, None),
        ("storage", "GB", "limit", None, 1, 1, 100),
    ]
    assert (offering.slug, offering.state, offering.visibility) == ("thor-cpu-more", "draft", "")


def test_create_offering__backend_that_sells_machines__has_its_form(at):
    backend = make_backend(plugin="simulator", values={"sells": "vm"})
    offering = services.create_offering(provider=backend.provider, name="VM", backend=backend, by=None, at=at)
    assert offering.order_form["x-order"] == ["name", "flavor", "ssh_key"]


def test_create_offering__backend_of_another_provider__not_found(at):
    provider = make_provider()
    with pytest.raises(BackendNotFound):
        services.create_offering(provider=provider, name="X", backend=make_backend(), by=None, at=at)
    assert not Offering.objects.exists()


def test_connect_offering__own_components_stay(at):
    provider = make_provider()
    offering = services.create_offering(provider=provider, name="X", by=None, at=at)
    make_component(offering, key="mine")
    services.connect_offering(offering=offering, backend=make_backend(provider, plugin="simulator"), by=None, at=at)
    assert list(offering.components.values_list("key", flat=True)) == ["mine"]


def test_add_component__category_of_another_provider__not_found(at):
    offering = make_offering(active=False)
    with pytest.raises(CategoryNotFound):
        make_component(offering, category=make_category())
    archived = make_category(offering.provider)
    services.archive_category(category=archived, by=None, at=at)
    with pytest.raises(CategoryArchived):
        make_component(offering, category=archived)
    assert offering.components.count() == 1


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"limit_min": -1}, "limit_min"),
        ({"limit_min": 5, "limit_max": 4}, "limit_max"),
        ({"limit_min": 5, "limit_default": 4}, "limit_default"),
        ({"limit_max": 5, "limit_default": 6}, "limit_default"),
        ({"ticks_per_unit": 0}, "ticks_per_unit"),
        ({"billing": "gift"}, "billing"),
        ({"key": "two words"}, "key"),
    ],
)
def test_add_component__wrong__refused(fields, wrong):
    offering = make_offering(active=False)
    with pytest.raises(InvalidInput) as refusal:
        make_component(offering, **fields)
    assert list(refusal.value.errors) == [wrong]
    assert offering.components.count() == 1


def test_edit__draft__everything_may_change_and_go(at):
    offering = make_offering(active=False)
    component, plan = offering.components.get(), offering.plans.get()
    services.set_price(plan=plan, component=component, price=Decimal(2), by=None, at=at)
    services.edit_component(component=component, key="core", billing="usage", ticks_per_unit=60, by=None, at=at)
    services.edit_plan(plan=plan, unit="day", by=None, at=at)
    services.remove_component(component=component, by=None, at=at)
    services.remove_plan(plan=plan, by=None, at=at)
    services.delete_draft(offering=offering, by=None, at=at)
    assert not Offering.objects.exists()
    assert not PlanComponent.objects.exists()


# ------------------------------------------------------------------------------------------------ the checklist
def test_publication_checklist__bare_draft__all_is_named(at):
    provider = make_provider()
    offering = services.create_offering(provider=provider, name="X", by=None, at=at)
    found = {item.requirement.value: item.ok for item in publication_checklist(offering)}
    assert found == {
        "provider": True,
        "basics": False,
        "shelf": False,
        "backend": False,
        "backend_works": False,
        "components": False,
        "categories": True,
        "use_counted": True,
        "plans": False,
        "prices": True,
        "order_form": True,
        "visibility": False,
    }
    assert all(str(item.title) for item in publication_checklist(offering))
    assert all(str(item.advice) for item in publication_checklist(offering) if not item.ok)


def _no_backend(offering):
    Offering.objects.filter(pk=offering.pk).update(backend=None)


def _archived_category(offering):
    ProductCategory.objects.filter(components__offering=offering).update(archived_at=offering.created_at)


LACKS = {
    "provider": (
        lambda o: ServiceProvider.objects.filter(pk=o.provider_id).update(revoked_at=o.created_at),
        {"provider"},
    ),
    "summary": (lambda o: Offering.objects.filter(pk=o.pk).update(summary=""), {"basics"}),
    "description": (lambda o: Offering.objects.filter(pk=o.pk).update(description="  "), {"basics"}),
    "shelf": (lambda o: Offering.objects.filter(pk=o.pk).update(shelf=None), {"shelf"}),
    "backend": (_no_backend, {"backend", "backend_works"}),
    "backend off": (lambda o: Backend.objects.filter(pk=o.backend_id).update(enabled=False), {"backend"}),
    "backend untested": (lambda o: Backend.objects.filter(pk=o.backend_id).update(health="unknown"), {"backend_works"}),
    "backend broken": (lambda o: Backend.objects.filter(pk=o.backend_id).update(health="broken"), {"backend_works"}),
    "plugin gone": (lambda o: Backend.objects.filter(pk=o.backend_id).update(plugin="gone"), {"backend_works"}),
    "settings wrong": (lambda o: Backend.objects.filter(pk=o.backend_id).update(settings={"x": 1}), {"backend_works"}),
    "secrets lost": (
        lambda o: Backend.objects.filter(pk=o.backend_id).update(secrets=b"gAAAAnonsense"),
        {"backend_works"},
    ),
    "components": (lambda o: o.components.all().delete(), {"components"}),
    "categories": (_archived_category, {"categories"}),
    "plans": (lambda o: o.plans.all().delete(), {"plans"}),
    "plan archived": (lambda o: o.plans.update(archived_at=o.created_at), {"plans"}),
    "order form": (lambda o: Offering.objects.filter(pk=o.pk).update(order_form={"type": "x"}), {"order_form"}),
    "visibility": (lambda o: Offering.objects.filter(pk=o.pk).update(visibility=""), {"visibility"}),
    "no organization": (lambda o: Offering.objects.filter(pk=o.pk).update(visibility="organizations"), {"visibility"}),
    "no project": (lambda o: Offering.objects.filter(pk=o.pk).update(visibility="projects"), {"visibility"}),
}


@pytest.mark.parametrize("lack", LACKS)
def test_activate_offering__one_requirement_missing__refused_and_it_is_named(lack, at):
    offering = make_offering(active=False)
    take_away, missing = LACKS[lack]
    take_away(offering)
    offering = Offering.objects.get(pk=offering.pk)
    assert {i.requirement.value for i in publication_checklist(offering) if not i.ok} == missing
    count = Event.objects.count()
    expected = ProviderNotAuthorized if lack == "provider" else OfferingIncomplete
    with pytest.raises(expected) as refusal:
        services.activate_offering(offering=offering, by=None, at=at)
    if expected is OfferingIncomplete:
        assert refusal.value.code == "offering_incomplete"
        assert set(refusal.value.missing) == missing
    offering.refresh_from_db()
    assert (offering.state, offering.activated_at, Event.objects.count()) == ("draft", None, count)


def test_activate_offering__complete__on_the_shelf_and_its_categories_sealed(at):
    offering = make_offering(active=False)
    active = services.activate_offering(offering=offering, by=None, at=at)
    assert (active.state, active.activated_at) == ("active", at)
    assert offering.components.get().category.sealed_at == at
    assert kinds()[-1] == "offering.activated"
    assert all(item.ok for item in publication_checklist(active))
    assert len({item.requirement for item in publication_checklist(active)}) == len(Requirement)


def test_active_offering__made_incomplete_past_the_service__the_database_refuses():
    offering = make_offering()
    for column, value in (("shelf_id", None), ("visibility", ""), ("summary", ""), ("description", "")):
        with pytest.raises(IntegrityError, match="active_offering_is_complete"), transaction.atomic():
            Offering.objects.filter(pk=offering.pk).update(**{column: value})


@pytest.mark.parametrize(
    "change",
    [
        lambda o, at: services.edit_offering(offering=o, shelf=None, by=None, at=at),
        lambda o, at: services.edit_offering(offering=o, summary="", by=None, at=at),
        lambda o, at: services.archive_plan(plan=o.plans.get(), by=None, at=at),
        lambda o, at: services.set_visibility(offering=o, visibility="projects", by=None, at=at),
    ],
)
def test_edit__active_offering_would_become_incomplete__refused(change, at):
    offering = make_offering()
    before = Offering.objects.filter(pk=offering.pk).values().get()
    with pytest.raises(OfferingIncomplete):
        change(offering, at)
    assert Offering.objects.filter(pk=offering.pk).values().get() == before
    assert offering.plans.get().archived_at is None


def test_edit__active_offering_on_a_broken_backend__texts_still_change(at):
    offering = make_offering()
    Backend.objects.update(health="broken", enabled=False)
    assert (
        services.edit_offering(offering=offering, summary="Closed for now.", by=None, at=at).summary
        == "Closed for now."
    )


# ------------------------------------------------------------------------------------------------ its life
STEPS = {
    OfferingAction.ACTIVATE: services.activate_offering,
    OfferingAction.PAUSE: services.pause_offering,
    OfferingAction.ARCHIVE: services.archive_offering,
    OfferingAction.REOPEN: services.reopen_offering,
}


@pytest.mark.parametrize("action", OfferingAction)
@pytest.mark.parametrize("state", OfferingState)
def test_step__every_state_and_action__as_the_table_says(state, action, at):
    offering = make_offering(active=state != OfferingState.DRAFT)
    Offering.objects.filter(pk=offering.pk).update(state=state)
    count = Event.objects.count()
    expected = after(state, action)
    if expected is None:
        with pytest.raises(OfferingStepNotOpen) as refusal:
            STEPS[action](offering=offering, by=None, at=at)
        assert refusal.value.facts == {"state": state.value, "action": action.value}
        assert Event.objects.count() == count
    else:
        assert STEPS[action](offering=offering, by=None, at=at).state == expected
        assert Event.objects.count() == count + 1
    offering.refresh_from_db()
    assert offering.state == (expected or state)


def test_pause_offering__reason__shown_until_it_is_active_again(at):
    offering = services.pause_offering(offering=make_offering(), reason="Repairs.", by=None, at=at)
    assert selectors.why_closed(offering) == "Repairs."
    assert services.activate_offering(offering=offering, by=None, at=at).paused_reason == ""


# ------------------------------------------------------------------------------------------------ once on the shelf
def test_edit__was_on_the_shelf__what_counts_is_kept(at):
    offering = make_offering()
    component, plan = offering.components.get(), offering.plans.get()
    other = make_backend(offering.provider)
    with pytest.raises(OfferingKept):
        services.connect_offering(offering=offering, backend=other, by=None, at=at)
    with pytest.raises(OfferingKept):
        services.edit_offering(offering=offering, slug="new", by=None, at=at)
    with pytest.raises(OfferingKept):
        services.delete_draft(offering=offering, by=None, at=at)
    for changes in ({"key": "x"}, {"billing": "usage"}, {"category": None}, {"ticks_per_unit": 1}, {"unit_name": "x"}):
        with pytest.raises(ComponentKept):
            services.edit_component(component=component, by=None, at=at, **changes)
    with pytest.raises(ComponentKept):
        services.remove_component(component=component, by=None, at=at)
    with pytest.raises(PlanKept):
        services.edit_plan(plan=plan, unit="day", by=None, at=at)
    with pytest.raises(PlanKept):
        services.remove_plan(plan=plan, by=None, at=at)
    edited = services.edit_component(component=component, title="Cores", limit_max=5000, by=None, at=at)
    assert (edited.title, edited.limit_max) == ("Cores", 5000)
    added = make_component(offering, category=make_category(offering.provider), at=at)
    assert added.category is not None
    added.category.refresh_from_db()
    assert added.category.sealed_at == at


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE offering SET backend_id = NULL WHERE id = %(offering)s",
        "UPDATE offering SET slug = 'x' WHERE id = %(offering)s",
        "UPDATE offering SET activated_at = NULL WHERE id = %(offering)s",
        "UPDATE offering SET state = 'draft' WHERE id = %(offering)s",
        "DELETE FROM offering WHERE id = %(offering)s",
        "UPDATE component SET key = 'x' WHERE id = %(component)s",
        "UPDATE component SET ticks_per_unit = 7 WHERE id = %(component)s",
        "UPDATE component SET category_id = NULL WHERE id = %(component)s",
        "UPDATE component SET billing = 'usage' WHERE id = %(component)s",
        "DELETE FROM component WHERE id = %(component)s",
        "UPDATE plan SET unit = 'day' WHERE id = %(plan)s",
        "DELETE FROM plan WHERE id = %(plan)s",
        "UPDATE plan_component SET price = 0 WHERE id = %(price)s",
        "DELETE FROM plan_component WHERE id = %(price)s",
    ],
)
def test_write__past_the_services_to_what_was_on_the_shelf__the_database_refuses(statement, at):
    offering = make_offering()
    component, plan = offering.components.get(), offering.plans.get()
    price = services.set_price(plan=plan, component=component, price=Decimal(1), by=None, at=at)
    ids = {"offering": offering.pk, "component": component.pk, "plan": plan.pk, "price": price.pk}
    with pytest.raises(IntegrityError) as error, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement, ids)
    assert "refused" in str(error.value)
    counts = [model.objects.count() for model in (Offering, Component, Plan, PlanComponent)]
    assert counts == [1, 1, 1, 1]


def test_copy_offering__everything_comes_along_and_is_free_again(at):
    offering = make_offering(visibility="organizations", organizations=[make_organization()], order_form={
        "type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]})  # fmt: skip
    component, plan = offering.components.get(), offering.plans.get()
    services.edit_plan(plan=plan, organizations=[make_organization()], by=None, at=at)
    services.set_price(plan=plan, component=component, price=Decimal("0.5"), amount=2, by=None, at=at)
    services.archive_plan(plan=make_plan(offering, name="Old"), by=None, at=at)
    copy = services.copy_offering(offering=offering, name="Thor 2", by=None, at=at)
    assert (copy.state, copy.activated_at, copy.slug) == ("draft", None, "thor-2")
    assert (copy.order_form, copy.backend, copy.shelf) == (offering.order_form, offering.backend, offering.shelf)
    assert copy.components.get().key == component.key
    assert copy.plans.get().name == plan.name
    price = copy.plans.get().prices.get()
    assert (price.price, price.amount, price.component) == (Decimal("0.5"), 2, copy.components.get())
    assert list(copy.visible_organizations.all()) == list(offering.visible_organizations.all())
    assert offering.components.count() == 1
    services.edit_component(component=copy.components.get(), ticks_per_unit=60, by=None, at=at)
    assert all(item.ok for item in publication_checklist(copy))
    assert services.copy_offering(offering=offering, name="Thor 2", by=None, at=at).slug == "thor-3"


# ------------------------------------------------------------------------------------------------ prices
def test_set_price__versions__the_latest_start_and_then_the_last_written_counts(at):
    offering = make_offering()
    component, plan = offering.components.get(), offering.plans.get()
    later = at + timedelta(days=10)

    def set_price(price, start=None):
        return services.set_price(
            plan=plan, component=component, price=Decimal(price), valid_from=start, by=None, at=at
        )

    def price_at(moment):
        row = selectors.prices_in_force([plan.pk], moment).get((plan.pk, component.pk))
        return None if row is None else row.price

    set_price("1")
    set_price("3", later)
    set_price("4", later)
    assert price_at(at - timedelta(seconds=1)) is None
    assert price_at(at) == 1
    assert price_at(later - timedelta(microseconds=1)) == 1
    assert price_at(later) == 4
    assert PlanComponent.objects.count() == 3
    assert set_price("1").pk == PlanComponent.objects.order_by("id")[0].pk  # it already is so
    assert PlanComponent.objects.count() == 3
    assert [row.price for row in selectors.prices_to_come([plan.pk], at)] == [4]


def test_set_price__in_the_past__only_while_it_was_never_on_the_shelf(at):
    draft, active = make_offering(active=False), make_offering()
    past = datetime(2026, 1, 1, tzinfo=UTC)
    for offering in (draft, active):
        arguments = {"plan": offering.plans.get(), "component": offering.components.get(), "price": Decimal(1),
                     "valid_from": past, "by": None, "at": at}  # fmt: skip
        if offering is draft:
            assert services.set_price(**arguments).valid_from == past
        else:
            with pytest.raises(PriceInThePast):
                services.set_price(**arguments)
    assert PlanComponent.objects.count() == 1


@pytest.mark.parametrize("price", ["-1", "1E+30", "0.00000000001", "NaN"])
def test_set_price__not_a_price__refused(price, at):
    offering = make_offering()
    with pytest.raises(InvalidInput) as refusal:
        services.set_price(
            plan=offering.plans.get(), component=offering.components.get(), price=Decimal(price), by=None, at=at
        )
    assert list(refusal.value.errors) == ["price"]
    assert not PlanComponent.objects.exists()


def test_set_prices__one_of_another_offering__none_is_set(at):
    offering, other = make_offering(), make_offering()
    rows = [(offering.components.get(), Decimal(1), 0), (other.components.get(), Decimal(1), 0)]
    with pytest.raises(ComponentNotFound):
        services.set_prices(plan=offering.plans.get(), prices=rows, by=None, at=at)
    assert not PlanComponent.objects.exists()


# ------------------------------------------------------------------------------------------------ who may, who sees
def test_services__person_of_another_provider__refused_and_nothing_changes(at):
    offering = make_offering(active=False)
    stranger = make_membership(role=Role.PROVIDER_MANAGER, scope=make_provider().organization).person
    support = make_membership(role=Role.PLATFORM_SUPPORT, scope=None).person
    nobody = make_person()
    count = Event.objects.count()
    for person in (stranger, support, nobody):
        for attempt in (
            lambda by: services.edit_offering(offering=offering, name="Mine", by=by, at=at),
            lambda by: services.activate_offering(offering=offering, by=by, at=at),
            lambda by: services.copy_offering(offering=offering, name="Mine", by=by, at=at),
            lambda by: services.remove_component(component=offering.components.get(), by=by, at=at),
            lambda by: services.archive_plan(plan=offering.plans.get(), by=by, at=at),
            lambda by: services.set_visibility(offering=offering, visibility="everyone", by=by, at=at),
            lambda by: services.set_backend_enabled(backend=offering.backend, enabled=False, by=by, at=at),
            lambda by: services.check_backend(backend=offering.backend, by=by, at=at),
            lambda by: services.edit_provider(
                provider=offering.provider, description="x", contact_email="", by=by, at=at),
        ):  # fmt: skip
            with pytest.raises(NotAllowed):
                attempt(person)
    assert Event.objects.count() == count
    offering.refresh_from_db()
    assert (offering.state, offering.name) != ("active", "Mine")


def test_offerings_visible_to__each_kind_of_visibility__the_right_people(at):
    university = make_organization()
    project = make_project(organization=university)
    below = make_project(parent=project)
    other = make_project()
    owner = make_membership(role=Role.ORGANIZATION_OWNER, scope=university).person
    member = make_membership(role=Role.PROJECT_MEMBER, scope=below).person
    outsider = make_membership(role=Role.PROJECT_MEMBER, scope=other).person
    former = make_membership(role=Role.ORGANIZATION_OWNER, scope=university, until=at - timedelta(days=1)).person
    everyone = make_offering(name="everyone")
    seller = make_membership(role=Role.OFFERING_MANAGER, scope=everyone.provider.organization).person
    make_offering(everyone.provider, name="organizations", visibility="organizations", organizations=[university])
    make_offering(name="project", visibility="projects", projects=[project])
    make_offering(name="draft", active=False)
    services.revoke_provider(provider=make_offering(name="revoked").provider, reason="", by=None, at=at)

    def names(person):
        return sorted(selectors.offerings_visible_to(person, at).values_list("name", flat=True))

    assert names(owner) == ["everyone", "organizations", "project"]
    assert names(member) == ["everyone", "organizations", "project"]
    assert names(outsider) == names(former) == names(make_person()) == ["everyone"]
    assert names(seller) == ["everyone", "organizations"]
    assert names(make_operator()) == ["everyone", "organizations", "project"]

    def open_to(workspace):
        return sorted(selectors.offerings_open_to(workspace).values_list("name", flat=True))

    assert open_to(project.workspace) == open_to(below.workspace) == ["everyone", "organizations", "project"]
    assert open_to(university.workspace) == ["everyone", "organizations"]
    assert open_to(other.workspace) == open_to(member.workspace) == ["everyone"]


def test_plans_open_to__only_for_an_organization__others_do_not_find_it(at):
    project, other = make_project(), make_project()
    offering = make_offering(plan="Everyone's")
    make_plan(offering, name="Members", organizations=[project.organization])
    services.archive_plan(plan=make_plan(offering, name="Old"), by=None, at=at)

    def names(workspace):
        return [plan.name for plan in selectors.plans_open_to(offering, workspace)]

    assert names(project.workspace) == ["Everyone's", "Members"]
    assert names(other.workspace) == names(make_person().workspace) == ["Everyone's"]
