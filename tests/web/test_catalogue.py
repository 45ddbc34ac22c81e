"""The marketplace and the provider's pages in a real browser: each in light, dark and phone, and the ways through them."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import expect

from bursar.catalogue import services
from bursar.catalogue.models import Offering
from bursar.structure.roles import Role
from tests.factories.catalogue import (
    make_backend,
    make_category,
    make_level_category,
    make_offering,
    make_plan,
    make_product,
    make_provider,
    make_shelf,
)
from tests.factories.structure import LONG_AGO, make_membership, make_operator, make_organization, make_person

TEXT = """Thor has **1,024 cores** and 64 GPUs.

- Fair queues, jobs up to three days
- Scratch on NVMe

| partition | nodes |
|---|---|
| cpu | 16 |
| gpu | 8 |
"""


@pytest.fixture
def shop(transactional_db: None) -> SimpleNamespace:
    provider = make_provider(make_organization("Thor Computing Centre", slug="thor"))
    services.edit_provider(
        provider=provider, description="We run **Thor**.", contact_email="help@thor.example", by=None, at=LONG_AGO
    )
    computing = make_shelf("Computing", icon="cpu")
    cluster = make_shelf("Clusters", parent=computing, icon="server")
    storage = make_shelf("Storage", icon="database")
    cpu = make_category(provider, title="CPU on Thor", name="cpu-thor")
    disk = make_level_category(provider, title="Disk", name="disk")
    make_product(cpu, title="thor-16", specs={"cores": 16, "memory_gib": 64}, ticks_per_charge=57600)
    hpc = make_offering(
        provider,
        plugin="simulator",
        category=cpu,
        shelf=cluster,
        name="Thor CPU hours",
        summary="Batch computing on 16 nodes, for every discipline.",
        description=TEXT,
        terms_of_use="Acknowledge Thor in your papers.",
        access_instructions="`ssh {username}@thor.example`",
    )
    by_key = {component.key: component for component in hpc.components.all()}
    make_plan(hpc, name="Priority", prices={by_key["cpu"]: 1}, description="Starts sooner.", resources_max=3)
    make_offering(
        provider,
        category=disk,
        shelf=storage,
        name="Project disk",
        summary="Backed up every night.",
        order_form={
            "type": "object",
            "properties": {
                "name": {
                    "type": "string",
                    "title": "Name of the share",
                    "description": "Small letters.",
                    "maxLength": 20,
                },
                "public": {"type": "boolean", "title": "Open to the world"},
                "reason": {"type": "string", "title": "Why", "x-when": {"property": "public", "is": [True]}},
            },
            "required": ["name", "reason"],
        },
    )
    paused = make_offering(provider, shelf=storage, name="Tape archive", summary="For decades.", category=disk)
    services.pause_offering(offering=paused, reason="The robot is being serviced.", by=None, at=LONG_AGO)
    draft = services.create_offering(provider=provider, name="GPU hours", backend=hpc.backend, by=None, at=LONG_AGO)
    broken = make_backend(provider, plugin="simulator", name="Old simulator", values={"url": "http://127.0.0.1:9"})
    services.check_backend(backend=broken, by=None, at=LONG_AGO)
    owner = make_membership(role=Role.ORGANIZATION_OWNER, scope=provider.organization).person
    return SimpleNamespace(
        provider=provider,
        owner=owner,
        hpc=hpc,
        draft=draft,
        broken=broken,
        cpu=cpu,
        operator=make_operator(),
        reader=make_person(),
    )


def test_pages__each_of_them__stand_in_three_looks(visit: Callable[..., Any], shop: SimpleNamespace) -> None:
    reader = visit(shop.reader)
    for name, path in {
        "marketplace": "/marketplace/",
        "marketplace-narrowed": "/marketplace/?q=disk&type=storage",
        "marketplace-nothing": "/marketplace/?q=zebra",
        "offering": f"/offerings/{shop.hpc.pk}/",
    }.items():
        reader.look_at(path, f"catalogue-{name}")
    owner = visit(shop.owner)
    draft, hpc = f"/provider/offerings/{shop.draft.pk}/", f"/provider/offerings/{shop.hpc.pk}/"
    for name, path in {
        "provider": "/providers/thor/",
        "offerings": "/provider/offerings/",
        "offering-new": "/provider/offerings/new/",
        "draft": draft,
        "editor": hpc,
        "texts": f"{hpc}texts/",
        "backend-tab": f"{hpc}backend/",
        "components": f"{hpc}components/",
        "component": f"{draft}components/new/",
        "plans": f"{hpc}plans/",
        "plan": f"{hpc}plans/new/",
        "prices": f"{hpc}plans/{shop.hpc.plans.last().pk}/prices/",
        "form": f"{hpc}form/",
        "visibility": f"{hpc}visibility/",
        "access": f"{hpc}access/",
        "backends": "/provider/backends/",
        "backend": f"/provider/backends/{shop.broken.pk}/",
        "backend-settings": f"/provider/backends/{shop.broken.pk}/edit/",
        "backend-new": "/provider/backends/new/",
        "categories": "/provider/categories/",
        "category": f"/provider/categories/{shop.cpu.pk}/",
        "category-new": "/provider/categories/new/",
        "product-new": f"/provider/categories/{shop.cpu.pk}/products/new/",
    }.items():
        owner.look_at(path, f"catalogue-{name}")
    operator = visit(shop.operator)
    for name, path in {
        "operator-providers": "/operator/providers/",
        "operator-shelves": "/operator/shelves/",
        "operator-shelf": "/operator/shelves/new/",
        "plugins": "/operator/plugins/",
    }.items():
        operator.look_at(path, f"catalogue-{name}")


def test_empty_installation__each_page__says_what_comes_next(visit: Callable[..., Any], transactional_db: None) -> None:
    operator = visit(make_operator())
    for name, path in {
        "marketplace": "/marketplace/",
        "shelves": "/operator/shelves/",
        "providers": "/operator/providers/",
    }.items():
        operator.go(path)
        operator.shoot(f"catalogue-empty-{name}")
    provider = make_provider()
    owner = visit(make_membership(role=Role.ORGANIZATION_OWNER, scope=provider.organization).person)
    for name, path in {"provider": "/provider/", "offerings": "/provider/offerings/", "backends": "/provider/backends/",
                       "categories": "/provider/categories/"}.items():  # fmt: skip
        owner.go(path)
        owner.shoot(f"catalogue-empty-{name}")


def test_marketplace__typed_search__narrows_and_stands_in_the_address(
    visit: Callable[..., Any], shop: SimpleNamespace
) -> None:
    visitor = visit(shop.reader)
    visitor.go("/marketplace/")
    page = visitor.page
    expect(page.get_by_role("heading", name="Thor CPU hours")).to_be_visible()
    page.get_by_label("Search offerings").fill("disk")
    expect(page.get_by_role("heading", name="Thor CPU hours")).to_be_hidden()
    expect(page.get_by_role("heading", name="Project disk")).to_be_visible()
    page.wait_for_url("**/marketplace/?*q=disk*")
    page.reload()
    expect(page.get_by_role("heading", name="Project disk")).to_be_visible()


def test_order_form_editor__typing__preview_follows_and_saving_keeps_it(
    visit: Callable[..., Any], shop: SimpleNamespace
) -> None:
    visitor = visit(shop.owner)
    visitor.go(f"/provider/offerings/{shop.draft.pk}/form/")
    page = visitor.page
    page.get_by_role("button", name="Add a field").click()
    page.get_by_label("Title").fill("Number of GPUs")
    page.get_by_label("Kind").select_option("integer")
    page.get_by_label("Needed").check()
    preview = page.locator("#preview")
    expect(preview.get_by_label("Number of GPUs")).to_be_visible()
    visitor.shoot("catalogue-form-preview")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    form = Offering.objects.get(pk=shop.draft.pk).order_form
    assert form["properties"] == {"number_of_gpus": {"type": "integer", "title": "Number of GPUs"}}
    assert form["required"] == ["number_of_gpus"]


def test_activate__from_the_draft__after_the_last_thing_missing(
    visit: Callable[..., Any], shop: SimpleNamespace
) -> None:
    visitor = visit(shop.owner)
    base = f"/provider/offerings/{shop.draft.pk}/"
    visitor.go(f"{base}texts/")
    page = visitor.page
    page.get_by_label("Summary").fill("Accelerators.")
    page.get_by_label("Description").fill("64 of them.")
    page.get_by_label("Shelf").select_option(label="\u2003Clusters")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url(f"**{base}texts/")
    visitor.go(f"{base}plans/new/")
    page.get_by_label("Name").fill("Standard")
    page.get_by_role("button", name="Save").click()
    page.wait_for_url("**/prices/")
    visitor.go(f"{base}visibility/")
    page.get_by_label("everyone").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("complete", exact=True)).to_be_visible()
    visitor.go(base)
    page.get_by_role("button", name="Activate").first.click()
    expect(page.get_by_text("It stands in the marketplace.")).to_be_visible()
    assert Offering.objects.get(pk=shop.draft.pk).state == "active"
    visitor.go("/marketplace/?q=gpu")
    expect(page.get_by_role("heading", name="GPU hours")).to_be_visible()
