"""Taking over what is at a backend: real commands list it, and the loop tells them members and quota afterwards."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bursar.events.models import Event
from bursar.kernel.clock import now
from bursar.metering.models import UsageReport
from bursar.plugins.script.plugin import VERBS
from bursar.provisioning import selectors, services
from bursar.provisioning.errors import (
    AbilityMissing,
    ImportableUnknown,
    NotThere,
    NoValidAllocation,
    PlanNotAvailable,
    TakenAlready,
    TakeOversAtFault,
    ThingNamedTwice,
    TooManyAtOnce,
    WorkspaceNotFound,
)
from bursar.provisioning.models import Order, Resource, ResourceFact, Side
from bursar.provisioning.services import TakeOver, usage
from bursar.structure.roles import NotAllowed, Role
from tests.factories.catalogue import make_offering
from tests.factories.provisioning import World, make_world, run_jobs
from tests.factories.structure import make_membership, make_person, make_project, make_workspace

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
WORKBENCH = Path(__file__).resolve().parents[3] / "docs" / "examples" / "script-backend" / "workbench.py"


class Site:
    """A world whose backend is the example's workbenches, and a list of what is there that a test writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listed = folder / "listed.json"
        script = folder / "list.sh"
        script.write_text(f"#!/bin/sh\ncat {self.listed}\n")
        script.chmod(0o755)
        values: dict[str, Any] = {verb: [str(WORKBENCH)] for verb in VERBS}
        values |= {
            "importable": [str(script)],
            "environment": {"WORKBENCH_FOLDER": str(folder)},
            "token": "secret-at-site",
        }
        self.at = now()
        self.world: World = make_world(plugin="script", values=values, at=self.at)

    def there(self, *names: str, **more: Any) -> None:
        self.listed.write_text(
            json.dumps(
                {"resources": [{"backend_id": n, "name": n.title(), "limits": {"storage": 20}, **more} for n in names]}
            )
        )
        for name in names:
            self.keep("benches", name, {"title": name, "bursar": False, "gone": False, "paused": False, "locked": False,
                                        "limit": 0, "members": ["old-user"]})  # fmt: skip

    def keep(self, kind: str, name: str, value: dict[str, Any]) -> None:
        (self.folder / kind).mkdir(exist_ok=True)
        (self.folder / kind / f"{name}.json").write_text(json.dumps(value))

    def bench(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "benches" / f"{name}.json").read_text())
        return found

    def wish(self, backend_id: str, **more: Any) -> TakeOver:
        fields: dict[str, Any] = {"workspace": self.world.workspace, "plan_id": self.world.plan_id}
        return TakeOver(backend_id, **{**fields, **more})

    def take(self, *wishes: TakeOver, **more: Any) -> list[Resource]:
        fields: dict[str, Any] = {"offering": self.world.offering, "by": self.world.manager, "at": self.at}
        return services.take_over(wishes=wishes, **{**fields, **more})

    def faults(self, *wishes: TakeOver) -> list[tuple[int, type, str]]:
        with pytest.raises(TakeOversAtFault) as refused:
            self.take(*wishes)
        assert refused.value.count == len(refused.value.each)
        return [(each.index, type(each.refusal), str(each.refusal)) for each in refused.value.each]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_take_over__thing_with_its_limits__is_a_ready_resource_with_facts_order_and_events(site: Site) -> None:
    site.there("old-bench", state={"used_before": 60})
    (resource,) = site.take(site.wish("old-bench"))
    resource.refresh_from_db()
    assert (resource.state, resource.matches, resource.backend_id, resource.name) == (
        "ok",
        True,
        "old-bench",
        "Old-Bench",
    )
    assert (resource.limits, resource.desired_limits) == ({"storage": 20}, {"storage": 20})
    assert resource.plugin_state == {"used_before": 60}
    assert (resource.taken_over_from, resource.taken_over_at) == (site.world.backend, site.at)
    assert (resource.first_ok_at, resource.workspace, resource.created_by) == (
        site.at,
        site.world.workspace,
        site.world.manager,
    )
    order = Order.objects.get()
    facts = [(f.what, f.state, f.limit, f.order, f.by, f.effective_at) for f in ResourceFact.objects.order_by("id")]
    who = (order, site.world.manager, site.at)
    assert facts == [
        ("state", "creating", None, *who),
        ("plan", "", None, *who),
        ("limit", "", 20, *who),
        ("state", "ok", None, *who),
    ]
    assert (order.kind, order.state, order.resource, order.created_by) == (
        "create",
        "done",
        resource,
        site.world.manager,
    )
    assert (order.closed_at, order.executed_at, order.awaited_roles) == (site.at, site.at, [])
    assert (order.verdicts, selectors.who_must_approve(order)) == ({}, [])
    assert selectors.try_policies(side=Side.CONSUMER, lines=None, orders=[order], at=site.at) == []
    assert order.comment == "Taken over as it was at the backend, where it is called old-bench."
    assert [(d.side, d.decision, d.by, d.reason) for d in order.decisions.all()] == [
        ("consumer", "not_asked", None, "It was there already."),
        ("provider", "approved", site.world.manager, "It was there already."),
    ]
    told = {e.kind: e for e in Event.objects.filter(subject_type="resource")}
    assert sorted(told) == ["resource.ok", "resource.taken_over"]
    assert told["resource.taken_over"].facts["backend_id"] == "old-bench"
    assert told["resource.taken_over"].facts["order"] == order.pk
    # The storage that it has counts as drawn from now on.
    level = UsageReport.objects.get()
    assert (level.amount_ticks, level.resource_id) == (20 * site.world.disk.ticks_per_unit, resource.pk)


def test_take_over__afterwards__the_backend_is_told_members_and_quota(site: Site) -> None:
    site.there("old-bench", state={"used_before": 60})
    site.take(site.wish("old-bench"))
    run_jobs(only="sync_resource")
    bench = site.bench("old-bench")
    members = sorted(f"u{person.pk}" for person in (site.world.pi, site.world.member))
    assert (bench["members"], bench["limit"], bench["locked"]) == (sorted(members), 60 + 100 * 3600, False)
    assert not (site.folder / "benches" / f"r{Resource.objects.get().pk}.json").exists()


def test_take_over__limit_not_told__is_asked_for(site: Site) -> None:
    site.there("old-bench", limits={})
    (resource,) = site.take(site.wish("old-bench"))
    resource.refresh_from_db()
    assert (resource.state, resource.matches, resource.desired_limits) == ("changing", False, {"storage": 10})
    run_jobs(only="reconcile_resource")
    resource.refresh_from_db()
    assert (resource.state, resource.matches, resource.backend_id) == ("ok", True, "old-bench")
    assert site.bench("old-bench")["bursar"] is True


def test_take_over__several__are_all_or_none(site: Site) -> None:
    site.there("a", "b", "c")
    other = make_project(organization=site.world.university, pi=site.world.pi, at=site.at - timedelta(days=9))
    taken = site.take(site.wish("c", name="Third"))
    faults = site.faults(
        site.wish("a"),
        site.wish("a"),
        site.wish("nowhere"),
        site.wish("c"),
        site.wish("b", workspace=None),
        site.wish("b2" * 200, workspace=None),
    )
    assert faults == [
        (1, ThingNamedTwice, "“a” is named twice; it can belong to one workspace only."),
        (2, NotThere, "“nowhere” is not at the backend, or not to be taken over. Look again at what is there."),
        (3, TakenAlready, f"“c” is the resource “Third” of {site.world.workspace} already."),
        (4, WorkspaceNotFound, str(WorkspaceNotFound())),
        (5, NotThere, f"“{'b2' * 50}” is not at the backend, or not to be taken over. Look again at what is there."),
    ]
    ((index, kind, _words),) = site.faults(site.wish("a"), site.wish("b", workspace=make_workspace(other)))
    assert (index, kind) == (1, NoValidAllocation)
    ((index, kind, _words),) = site.faults(site.wish("a", plan_id=0))
    assert (index, kind) == (0, PlanNotAvailable)
    assert list(Resource.objects.all()) == taken
    assert Order.objects.count() == 1


def test_take_over__none_or_too_many__is_refused(site: Site) -> None:
    site.there("a")
    for count in (0, 101):
        with pytest.raises(TooManyAtOnce):
            site.take(*[site.wish("a")] * count)


def test_take_over__what_was_ordered_and_has_that_name__is_taken(site: Site) -> None:
    site.there("old-bench")
    (resource,) = site.take(site.wish("old-bench"))
    Resource.objects.filter(pk=resource.pk).update(taken_over_from=None, taken_over_at=None)
    ((index, kind, _words),) = site.faults(site.wish("old-bench"))
    assert (index, kind) == (0, TakenAlready)


def test_take_over__by_another_offering_of_the_backend__is_taken(site: Site) -> None:
    site.there("old-bench")
    site.take(site.wish("old-bench"))
    second = make_offering(site.world.provider, backend=site.world.backend, at=site.at - timedelta(days=1))
    with pytest.raises(TakeOversAtFault) as refused:
        site.take(site.wish("old-bench", plan_id=second.plans.get().pk), offering=second)
    assert type(refused.value.each[0].refusal) is TakenAlready


def test_take_over__terminated_since__can_be_again(site: Site) -> None:
    site.there("old-bench")
    (first,) = site.take(site.wish("old-bench"))
    Resource.objects.filter(pk=first.pk).update(state="terminated", desired_gone=True, terminated_at=site.at)
    (second,) = site.take(site.wish("old-bench"))
    assert second.pk != first.pk
    with pytest.raises(IntegrityError, match="taken_over_once"), transaction.atomic():
        Resource.objects.filter(pk=first.pk).update(state="ok", terminated_at=None)
    with pytest.raises(IntegrityError, match="resource_taken_over_is_told_whole"), transaction.atomic():
        Resource.objects.filter(pk=second.pk).update(backend_id="")


def test_take_over__used_before_and_since__only_since_is_drawn(site: Site) -> None:
    site.there("old-bench")
    second = int(time.time())
    site.at = datetime.fromtimestamp(second - 100, UTC)
    session = {"bench": "old-bench", "user": "u1", "cores": 2}
    site.keep("sessions", "00000001", {**session, "start": second - 500, "end": second - 101})
    site.keep("sessions", "00000002", {**session, "start": second - 500, "end": second - 100})
    site.keep("sessions", "00000003", {**session, "start": second - 90, "end": second - 60})
    site.take(site.wish("old-bench"))
    assert usage.pull(site.world.offering.pk)
    cpu = UsageReport.objects.filter(category_id=site.world.cpu.pk)
    assert [report.amount_ticks for report in cpu] == [2 * 30]


@pytest.mark.parametrize(
    ("who", "allowed"),
    [("manager", True), ("offering_manager", True), ("pi", False), ("owner", False), ("nobody", False)],
)
def test_take_over__each_person__needs_to_handle_the_providers_orders(site: Site, who: str, allowed: bool) -> None:
    site.there("old-bench")
    if who == "offering_manager":
        by = make_person()
        make_membership(
            person=by,
            role=Role.OFFERING_MANAGER,
            scope=site.world.provider.organization,
            at=site.at - timedelta(days=1),
        )
    else:
        by = make_person() if who == "nobody" else getattr(site.world, who)
    if allowed:
        assert len(site.take(site.wish("old-bench"), by=by)) == 1
        return
    with pytest.raises(NotAllowed):
        site.take(site.wish("old-bench"), by=by)
    with pytest.raises(NotAllowed):
        services.importable(offering=site.world.offering, by=by, at=site.at)
    assert Resource.objects.count() == 0


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("", "importable: the command answered nothing."),
        ('{"resources": 1}', "importable: the answer is not one: resources is a list of at most 5000."),
        (
            '{"resources": [{"backend_id": "secret-at-site"}, {"backend_id": "secret-at-site"}]}',
            "importable: the answer is not one: resources.1: each needs a backend_id of its own.",
        ),
        ('{"resources": [{"backend_id": "a\\u0000b"}]}', "The plugin broke: ValueError. The server's log says where."),
        (
            '{"resources": [{"backend_id": "a", "limits": {"storage": -1}}]}',
            "The plugin broke: ValueError. The server's log says where.",
        ),
        (
            '{"resources": [{"backend_id": "a", "form": {"x": "' + "y" * 20_000 + '"}}]}',
            "The plugin broke: ValueError. The server's log says where.",
        ),
    ],
)
def test_importable__hostile_answer__is_a_refusal(site: Site, told: str, why: str) -> None:
    site.listed.write_text(told)
    with pytest.raises(ImportableUnknown) as refused:
        services.importable(offering=site.world.offering, by=site.world.manager, at=site.at)
    assert refused.value.why == why


def test_importable__backend_without_the_ability__says_so(at: datetime) -> None:
    world = make_world(plugin="manual", at=at)
    with pytest.raises(AbilityMissing):
        services.importable(offering=world.offering, by=world.manager, at=at)


def test_importable__script_without_the_command__says_so(site: Site) -> None:
    backend = site.world.backend
    backend.settings = {**backend.settings, "importable": []}
    backend.save()
    site.world.offering.refresh_from_db()
    with pytest.raises(AbilityMissing):
        services.importable(offering=site.world.offering, by=site.world.manager, at=site.at)


def test_workspaces_to_choose__are_those_with_quota_there(site: Site) -> None:
    make_workspace(make_project(organization=site.world.university, pi=site.world.pi, at=site.at))
    found = set(selectors.workspaces_to_take_over_for(site.world.offering, at=site.at))
    assert found == {site.world.workspace, make_workspace(site.world.university)}
    seats = {"key": "seats", "title": "Seats", "billing": "fixed", "unit_name": "seats", "category": None}
    loose = make_offering(site.world.provider, components=[seats], at=site.at)
    assert {w.kind for w in selectors.workspaces_to_take_over_for(loose, at=site.at)} == {"project"}


# ------------------------------------------------------------------------------------------------ by REST and on pages
def logged_in(site: Site) -> Client:
    client = Client()
    client.force_login(site.world.manager)
    return client


def test_api__list_then_take_over__tells_resources_and_faults_by_place(site: Site) -> None:
    site.there("a", "b")
    client, path = logged_in(site), f"/api/v1/provider/offerings/{site.world.offering.pk}"
    one = {"backend_id": "b", "workspace_id": site.world.workspace.pk, "plan_id": site.world.plan_id, "name": "Mine"}
    answer = client.post(f"{path}/take-over", {"resources": [one]}, content_type="application/json")
    made = answer.json()
    assert answer.status_code == 201
    assert [(r["name"], r["state"], r["backend_id"]) for r in made] == [("Mine", "ok", "b")]
    assert client.get(f"{path}/importable").json() == [
        {"backend_id": "a", "name": "A", "limits": {"storage": 20}, "resource_id": None},
        {"backend_id": "b", "name": "B", "limits": {"storage": 20}, "resource_id": made[0]["id"]},
    ]
    both = [{**one, "backend_id": "a", "workspace_id": 0}, one]
    answer = client.post(f"{path}/take-over", {"resources": both}, content_type="application/json")
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "take_overs_at_fault")
    assert [(e["location"], e["code"]) for e in problem["errors"]] == [
        ("body.resources.0.workspace", "workspace_not_found"),
        ("body.resources.1.backend_id", "taken_already"),
    ]
    assert problem["facts"] == {"count": 2, "first": str(WorkspaceNotFound())}


def test_api__more_things__ask_no_more_questions(site: Site) -> None:
    client, path = logged_in(site), f"/api/v1/provider/offerings/{site.world.offering.pk}/importable"
    counts = []
    for names in (["a", "b"], [f"bench-{n}" for n in range(30)]):
        site.there(*names)
        site.take(*[site.wish(name) for name in names[:-1]])
        with CaptureQueriesContext(connection) as asked:
            assert client.get(path).status_code == 200
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_page__choose_two_of_three__takes_them_over(site: Site) -> None:
    site.there("a", "b", "<i>c</i>".replace("/", ""))
    client, path = logged_in(site), f"/provider/offerings/{site.world.offering.pk}/take-over/"
    shown = client.get(path).content.decode()
    assert shown.count('name="backend_id"') == 3
    assert "&lt;i&gt;c&lt;i&gt;" in shown
    form = {"workspace": site.world.workspace.pk, "plan": site.world.plan_id}
    answer = client.post(path, {**form, "backend_id": ["a", "b"]}, follow=True)
    assert answer.redirect_chain == [(path, 302)]
    said = answer.content.decode()
    assert "2 resources were taken over." in said
    assert (said.count("taken already:"), said.count('name="backend_id"')) == (2, 1)
    answer = client.post(path, {**form, "backend_id": ["a"]})
    assert answer.status_code == 422
    assert f"“a” is the resource “A” of {site.world.workspace} already." in answer.content.decode()
    assert Resource.objects.count() == 2
    assert client.post(path, {**form}).status_code == 422


def test_page__backend_in_trouble__says_why(site: Site) -> None:
    shown = logged_in(site).get(f"/provider/offerings/{site.world.offering.pk}/take-over/")
    assert shown.status_code == 200
    assert "No such file or directory" in shown.content.decode()


def test_page__offering_backend__leads_there_where_it_can(site: Site) -> None:
    client = logged_in(site)
    path = f"/provider/offerings/{site.world.offering.pk}/"
    assert f"{path}take-over/" in client.get(f"{path}backend/").content.decode()
    site.world.backend.settings = {**site.world.backend.settings, "importable": []}
    site.world.backend.save()
    assert f"{path}take-over/" not in client.get(f"{path}backend/").content.decode()
    shown = client.get(f"/provider/backends/{site.world.backend.pk}/").content.decode()
    assert "imports what exists" in shown
