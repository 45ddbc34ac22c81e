"""What runs at a provider's site, what could not be posted and what the provider says, in a real browser."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from playwright.sync_api import expect

from bursar.catalogue.models import Agent, Backend
from bursar.events.models import Event
from bursar.plugins.contract import UsageRecord
from bursar.provisioning.models import ProviderMessage, SetAside
from bursar.provisioning.services import set_aside
from bursar.provisioning.services.messages import post_message
from tests.factories.provisioning import World, make_resource, make_world, run_jobs

HOUR = 3600
LOG = "\n".join(
    f"{n:02}  set quota of p{n} on /scratch/very/long/path/of/a/project/that/goes/on/{'x' * 60}" for n in range(9)
)


@pytest.fixture
def world(transactional_db: None) -> Any:
    yield make_world(at=datetime.now(UTC), name="Thor batch computing")
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


@pytest.fixture
def looked_after(world: World) -> SimpleNamespace:
    """A backend at the site with an agent that has much to tell, one that is silent, one that none came forward for."""
    at, provider = world.at, world.provider
    resource = make_resource(world, name="Protein folding")
    run_jobs(only="provisioning")
    common = {"provider": provider, "session": uuid4(), "version": "1.0.0", "started_at": at - timedelta(hours=30)}
    status = {
        "read_number": 48_213, "done_number": 48_209, "outstanding": 3,
        "spool": {
            "count": 1250, "oldest_at": (at - timedelta(hours=2)).isoformat(),
            "stuck": [{"id": "job-771", "why": "amount: a whole number is needed, not “three”"}],
        },
        "measured_at": {"Thor": (at - timedelta(seconds=40)).isoformat()},
        "trouble": [
            {
                "subject": f"resource {resource.pk}", "since": (at - timedelta(hours=3)).isoformat(), "attempts": 41,
                "message": "sacctmgr: error: slurm_persist_conn_open_without_init: failed to open persistent connection "
                "to host:thor-adm.example.org:6819: Connection refused",
            },
            {"subject": "measuring Thor", "since": at.isoformat(), "attempts": 1, "message": "It took more than 60 s."},
        ],
        "set_aside": [{"id": "thor.48127.batch", "why": "There is no component “gres/gpu:a100”."}],
        "mended": [
            {"at": (at - timedelta(minutes=50)).isoformat(), "resource": str(resource.pk), "what": "Its limits were others."}
        ],
        "outputs": [
            {
                "verb": "enforce_quota", "command": ["/opt/site/quota", "--set"], "exit_code": 0, "seconds": 1.52, "text": LOG,
                "at": (at - timedelta(minutes=4)).isoformat(),
            },
            {
                "verb": "ensure", "command": ["/opt/site/make", "--project"], "exit_code": 3, "seconds": 0.2,
                "text": "mkdir: cannot create directory ‘/scratch/p7’: No space left on device\n",
                "at": (at - timedelta(minutes=1)).isoformat(),
            },
        ],
    }  # fmt: skip
    rival = {"at": (at - timedelta(minutes=9)).isoformat(), "host": "thor-login2.example.org", "address": "2001:db8::7"}
    agent = Agent.objects.create(
        instance=uuid4(), host="thor-adm.example.org", address="192.0.2.14", seen_at=at, status=status, rival=rival,
        clock_ahead_ms=-12_400, **common,
    )  # fmt: skip
    silent = Agent.objects.create(
        instance=uuid4(),
        host="loki-adm.example.org",
        address="192.0.2.15",
        seen_at=at - timedelta(minutes=17),
        **common,
    )
    at_site = {"provider": provider, "runs_at": "site", "health": "warning", "checked_at": at}
    declared = {
        "title": "SLURM", "version": "23.02", "abilities": ["provisions", "measures_usage", "enforces_quota"],
        "components": [], "order_form": {},
    }  # fmt: skip
    findings = [
        {
            "severity": "warning",
            "subject": "slurmdbd",
            "message": "It answers slowly: 4.1 s.",
            "advice": "Look at its load.",
        }
    ]
    thor = Backend.objects.create(
        name="Thor",
        plugin="slurm",
        agent=agent,
        declared=declared,
        findings=findings,
        backend_version="23.02.7",
        **at_site,
    )
    Backend.objects.create(
        name="Loki", plugin="own-plugin", agent=silent, declared={**declared, "title": "Loki’s own"}, **at_site
    )
    new = Backend.objects.create(name="Freya", plugin="slurm", **{**at_site, "health": "unknown", "checked_at": None})
    times = {"period_start": at - timedelta(hours=2), "period_end": at - timedelta(hours=1)}
    trouble = [
        (
            UsageRecord(f"thor.{48_100 + n}.batch", resource.pk if n % 3 else 10**6, "gres/gpu:a100", HOUR, **times),
            "unknown_component",
            "There is no component “gres/gpu:a100” in this offering: add it, or give the record up.",
        )
        for n in range(7)
    ]
    set_aside.keep(backend=thor, trouble=trouble, at=at - timedelta(hours=5))
    return SimpleNamespace(world=world, thor=thor, new=new, resource=resource)


def test_pages__about_agents__stand_in_three_looks(visit: Callable[..., Any], looked_after: SimpleNamespace) -> None:
    manager = visit(looked_after.world.manager)
    create = f"/provider/backends/new/?provider={looked_after.world.provider.organization.slug}&runs=site"
    for name, path in {
        "agent-connect": create,
        "agent-connect-form": f"{create}&plugin=slurm",
        "agent-connect-another": f"{create}&another=1",
        "agent-setup": f"/provider/backends/{looked_after.new.pk}/",
        "agent-backend": f"/provider/backends/{looked_after.thor.pk}/",
        "agent-backends": "/provider/backends/",
        "agent-overview": f"/providers/{looked_after.world.provider.organization.slug}/",
        "set-aside": f"/provider/backends/{looked_after.thor.pk}/set-aside/",
        "set-aside-empty": f"/provider/backends/{looked_after.new.pk}/set-aside/",
    }.items():
        manager.look_at(path, name)


def test_connect__at_the_site__ends_with_a_file_to_copy(visit: Callable[..., Any], world: World) -> None:
    visitor = visit(world.manager)
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.go("/provider/backends/new/")
    page = visitor.page
    page.get_by_role("link", name="At the provider’s site, in an agent").click()
    page.get_by_role("link", name="Another plugin").click()
    page.get_by_label("Name").fill("Thor")
    page.get_by_label("Plugin").fill("Own Plugin")
    visitor.allow(422)
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("small letters, digits, “-” and “_”, at most 40")).to_be_visible()
    page.get_by_label("Plugin").fill("own-plugin")
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_role("heading", name="What to do next")).to_be_visible()
    copy = page.locator("[data-copy-from='#agent-file']")
    copy.click()
    expect(copy).to_have_text("Copied")
    expect(copy).to_have_text("Copy")
    assert 'name = "Thor"\nplugin = "own-plugin"' in page.evaluate("navigator.clipboard.readText()")
    page.get_by_role("link", name="Make a token").click()
    expect(page.get_by_label("Report usage of a provider")).to_be_checked()
    expect(page.get_by_label("Only in this organization")).to_have_value(str(world.provider.organization_id))


def test_set_aside__chosen__are_given_up_after_a_question(
    visit: Callable[..., Any], looked_after: SimpleNamespace
) -> None:
    visitor = visit(looked_after.world.manager)
    visitor.go(f"/provider/backends/{looked_after.thor.pk}/set-aside/")
    page = visitor.page
    page.get_by_label("Choose thor.48100.batch").check()
    page.get_by_label("Choose thor.48103.batch").check()
    page.get_by_role("button", name="Send again", exact=True).click()
    expect(page.get_by_text("2 records still cannot be posted.")).to_be_visible()
    page.get_by_label("Choose thor.48100.batch").check()
    page.get_by_label("Why they are given up").fill("Runs of ours, to try the scheduler.")
    page.get_by_role("button", name="Give up").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Give up the chosen records for good?")).to_be_visible()
    dialog.get_by_role("button", name="No, go back").click()
    assert SetAside.objects.count() == 7
    page.get_by_role("button", name="Give up").click()
    dialog.get_by_role("button", name="Give up").click()
    expect(page.get_by_text("1 record was given up.")).to_be_visible()
    assert SetAside.objects.count() == 6
    assert Event.objects.get(kind="usage.given_up").facts["reason"] == "Runs of ours, to try the scheduler."


def test_set_aside__searched_and_chosen__are_still_sent(
    visit: Callable[..., Any], looked_after: SimpleNamespace
) -> None:
    visitor = visit(looked_after.world.manager)
    visitor.go(f"/provider/backends/{looked_after.thor.pk}/set-aside/")
    page = visitor.page
    page.get_by_role("searchbox", name="Search").fill("48104")
    expect(page.get_by_text("thor.48103.batch")).to_be_hidden()
    page.get_by_label("Choose thor.48104.batch").check()
    page.get_by_role("button", name="Send again", exact=True).click()
    expect(page.get_by_text("1 record still cannot be posted.")).to_be_visible()
    assert list(SetAside.objects.filter(tries=2).values_list("record_id", flat=True)) == ["thor.48104.batch"]


def test_messages__said_by_the_provider__reach_the_customer_with_a_bar(visit: Callable[..., Any], world: World) -> None:
    resource = make_resource(world, name="Protein folding")
    run_jobs(only="provisioning")
    order = resource.orders.get()
    assert order.state == "executing"
    manager = visit(world.manager)
    manager.go(f"/orders/{order.pk}/")
    manager.shoot("messages-none")
    page = manager.page
    page.get_by_label("A message, seen by both sides").fill("The vendor delivers on Monday.")
    page.get_by_label("It is a").select_option("warning")
    page.get_by_role("button", name="Say it").click()
    expect(page.get_by_text("Said. Both sides see it.")).to_be_visible()
    says: dict[str, Any] = {"by": world.manager, "at": datetime.now(UTC)}
    says: dict[str, Any] = {"by": world.manager, "at": datetime.now(UTC)}
    post_message(order_id=order.pk, text="Disks are in, cables follow.", progress=60, **says)
    post_message(resource_id=resource.pk, text="A disk failed.", level=ProviderMessage.Level.ERROR, **says)
    post_message(resource_id=resource.pk, text="It is replaced.", progress=75, **says)
    customer = visit(world.pi)
    customer.look_at(f"/orders/{order.pk}/", "messages-order")
    expect(customer.page.locator("#said").get_by_text("Disks are in, cables follow.")).to_be_visible()
    assert (
        customer.page.locator("progress[aria-label='Done so far, as the provider says']").get_attribute("value") == "60"
    )
    customer.look_at(f"/resources/{resource.pk}/", "messages-resource")
    manager.look_at(f"/resources/{resource.pk}/", "messages-resource-provider")
    expect(manager.page.locator("progress[aria-label='Done so far, as the provider says']")).to_have_attribute(
        "value", "75"
    )
