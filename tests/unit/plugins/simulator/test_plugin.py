"""The simulator's plugin beyond the contract: what it sells, what it asks of a stranger's answers, lost answers."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from bursar.plugins.contract import (
    BackendUnreachable,
    Busy,
    ComponentQuota,
    DesiredResource,
    Done,
    Member,
    Presence,
    Ref,
    Refused,
    Severity,
)
from bursar.plugins.simulator import wire
from bursar.plugins.simulator.plugin import HPC_COMPONENTS, VM_COMPONENTS, VM_FORM, SimulatorPlugin
from bursar.plugins.simulator.settings import SimulatorSettings
from tests.unit.plugins.simulator.running import TOKEN, Backend, wait_until

pytestmark = pytest.mark.slow

INFO = {
    "product": "", "purpose": "", "version": "", "instance": "0" * 8, "speed": 1.0, "cores": 1,
    "jobs_running": 0, "jobs_pending": 0,
}  # fmt: skip
ADA = Member(1, "ada@example.org", "Ada", "ada")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    running = Backend(tmp_path_factory.mktemp("simulator") / "state.db", speed=20).start()
    yield running
    assert running.stop() == ""


@pytest.fixture
def plugin(backend: Backend) -> SimulatorPlugin:
    return backend.plugin()


@pytest.fixture
def cloud(backend: Backend) -> SimulatorPlugin:
    return backend.plugin(sells="vm")


@pytest.fixture
def make(request: pytest.FixtureRequest) -> Callable[..., DesiredResource]:
    number = abs(hash(request.node.nodeid)) % 10**9

    def new(**changes: Any) -> DesiredResource:
        fields: dict[str, Any] = {
            "id": number, "slug": "ice", "name": "Ice", "offering_slug": "thor", "organization": Ref(1, "north", "North"),
            "projects": (Ref(2, "climate", "Climate"), Ref(3, "sea-ice", "Sea ice")), "owner": ADA, "plan": "free",
            "limits": {"storage": 50}, "form": {"name": "analysis", "flavor": "sim.medium"}, "members": (ADA,),
        }  # fmt: skip
        return DesiredResource(**(fields | changes))

    return new


def vm_ready(cloud: SimulatorPlugin, resource: DesiredResource, available: int | None = 10**6) -> None:
    wait_until(lambda: isinstance(cloud.ensure(resource), Done))
    cloud.enforce_quota(resource, [ComponentQuota("vm", available, locked=available == 0)])


# ------------------------------------------------------------------------------------------------------ what it sells


def test_offering_defaults__hpc_or_vm__follow_the_settings(plugin: SimulatorPlugin, cloud: SimulatorPlugin) -> None:
    assert plugin.offering_defaults().components == HPC_COMPONENTS
    assert [(c.key, c.unit, c.measured_unit, c.measured_per_unit) for c in HPC_COMPONENTS] == [
        ("cpu", "core-hours", "core-seconds", 3600),
        ("storage", "GB", "GB", 1),
    ]
    assert cloud.offering_defaults().components == VM_COMPONENTS
    assert cloud.offering_defaults().order_form == VM_FORM


@pytest.mark.parametrize(
    "name", ["a", "web-1", "a" * 63, "", "A", "-a", "a-", "1a", "a_b", "a" * 64, "a\n", "ä", "a b"]
)
def test_order_form__machine_name__accepts_what_the_backend_accepts(name: str) -> None:
    form = {"name": name, "flavor": "sim.small"}
    by_schema = jsonschema.Draft202012Validator(VM_FORM).is_valid(form)
    try:
        wire.MachineWanted.model_validate(form)
        by_backend = True
    except ValidationError:
        by_backend = False
    # JSON Schema's "$" follows ECMA 262; Python's also matches before a last newline, which the backend refuses.
    assert by_backend == (by_schema and not name.endswith("\n"))


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        ("", True),
        ("two\nlines", False),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK ada@example.org", True),
        ("ecdsa-sha2-nistp256 AAAAE2==", True),
        ("sk-ssh-ed25519@openssh.com AAAA laptop", True),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", False),
        ("ssh-dss AAAA", False),
        ('command="rm -rf /" ssh-rsa AAAA', False),
    ],
)
def test_ensure__ssh_key__only_public_keys_are_taken(
    cloud: SimulatorPlugin, make: Callable[..., DesiredResource], key: str, *, valid: bool
) -> None:
    outcome = cloud.ensure(make(form={"name": "a", "flavor": "sim.small", "ssh_key": key}))
    assert isinstance(outcome, Busy if valid else Refused)


def test_order_form__schema__is_valid_and_small() -> None:
    jsonschema.Draft202012Validator.check_schema(VM_FORM)
    known = {"type", "title", "description", "default", "enum", "pattern", "maxLength", "format"}
    assert {key for field in VM_FORM["properties"].values() for key in field} <= known  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------------------------ cluster


def test_ensure__project_below_project__is_the_tree_at_the_backend(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    outcome = plugin.ensure(make())
    assert isinstance(outcome, Done)
    chain, name = [], outcome.backend_id
    while name is not None:
        account = backend.call("GET", f"/v1/accounts/{name}")
        chain.append((account["kind"], account["title"]))
        name = account["parent"]
    assert chain == [("hpc", "Ice"), ("group", "Sea ice"), ("group", "Climate"), ("group", "North")]


def test_ensure__changed_limits_and_name__are_set(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    resource = make()
    plugin.ensure(resource)
    plugin.ensure(replace(resource, name="Sea", limits={"storage": 70, "cpu": 2}, generation=2))
    account = backend.call("GET", f"/v1/accounts/r{resource.id}")
    assert (account["title"], account["storage_gb"]) == ("Sea", 70)
    plugin.enforce_quota(resource, [ComponentQuota("cpu", None, locked=False)])
    assert backend.call("GET", f"/v1/accounts/r{resource.id}")["limit_core_seconds"] == 7200


@pytest.mark.parametrize("limits", [{"storage": -1}, {"storage": 2**63}, {"cpu": 2**63}, {"storage": "many"}])
def test_ensure__impossible_limits__are_refused_and_nothing_changes(
    plugin: SimulatorPlugin, make: Callable[..., DesiredResource], limits: dict[str, Any]
) -> None:
    resource = make(limits=limits)
    assert isinstance(plugin.ensure(resource), Refused)
    assert plugin.observe(resource).presence is Presence.ABSENT


def test_enforce_quota__used_up_then_more__next_job_waits_then_runs(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    resource = make()
    plugin.ensure(resource)
    plugin.set_members(resource)
    plugin.enforce_quota(resource, [ComponentQuota("cpu", 40, locked=False), ComponentQuota("storage", 0, locked=True)])
    first = backend.submit(f"r{resource.id}", "ada", cores=4, seconds=10)
    wait_until(lambda: backend.job(first)["state"] == "completed")
    plugin.enforce_quota(resource, [ComponentQuota("cpu", 0, locked=True, reported=40)])
    second = backend.submit(f"r{resource.id}", "ada", cores=4, seconds=10)
    assert backend.job(second)["state"] == "pending"
    plugin.enforce_quota(resource, [ComponentQuota("cpu", 40, locked=False, reported=40)])
    assert backend.job(second)["state"] == "running"


def test_measure__finished_job__is_told_with_all_its_facts(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    resource = make()
    plugin.ensure(resource)
    plugin.set_members(resource)
    plugin.enforce_quota(resource, [ComponentQuota("cpu", None, locked=False)])
    job = backend.submit(f"r{resource.id}", "ada", cores=3, seconds=7)
    wait_until(lambda: backend.job(job)["state"] == "completed")
    [record] = plugin.measure([resource], "").records
    instance = backend.call("GET", "/v1/info")["instance"]
    assert re.fullmatch(rf"{instance}-\d+-7", record.id)
    assert (record.amount, record.absolute, record.scope) == (21, True, record.id.removesuffix("-7"))
    assert (record.username, record.job, record.labels) == ("ada", f"job-{job}", {"cores": "3"})
    assert (record.period_end - record.period_start).total_seconds() == 7 / 20


def test_act__submit_job__runs_as_a_member(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    resource = make()
    plugin.ensure(resource)
    plugin.set_members(resource)
    plugin.enforce_quota(resource, [ComponentQuota("cpu", None, locked=False)])
    [spec] = [spec for spec in plugin.actions(resource) if spec.key == "submit_job"]
    assert spec.form["properties"]["username"]["enum"] == ["ada"]
    outcome = plugin.act(resource, "submit_job", {"username": "ada", "cores": 2, "seconds": 5})
    assert isinstance(outcome, Done)
    assert backend.job(int(outcome.access["Job"]))["cores"] == 2


@pytest.mark.parametrize(
    "form", [{}, {"username": "eve"}, {"username": "ada", "cores": 0}, {"username": "ada", "account": "r1", "x": 1}]
)
def test_act__submit_job_wrongly__is_refused(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource], form: dict[str, Any]
) -> None:
    resource = make()
    plugin.ensure(resource)
    plugin.set_members(resource)
    assert isinstance(plugin.act(resource, "submit_job", form), Refused)
    assert backend.call("GET", f"/v1/accounts/r{resource.id}/jobs") == []


def test_act__submit_job_naming_another_account__stays_in_its_own(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    resource, other = make(), make(id=987_654_321)
    for one in (resource, other):
        plugin.ensure(one)
        plugin.set_members(one)
    plugin.act(resource, "submit_job", {"username": "ada", "account": "r987654321"})
    assert backend.call("GET", "/v1/accounts/r987654321/jobs") == []


def test_act__pretend_users__are_switched(plugin: SimulatorPlugin, make: Callable[..., DesiredResource]) -> None:
    resource = make()
    plugin.ensure(resource)
    for action, on in (("start_pretend_users", True), ("stop_pretend_users", False)):
        assert isinstance(plugin.act(resource, action, {}), Done)
        assert plugin.observe(resource).facts["pretend_users"] is on


# -------------------------------------------------------------------------------------------------------------- cloud


def test_ensure__machine__is_busy_then_done_with_its_address(
    cloud: SimulatorPlugin, make: Callable[..., DesiredResource]
) -> None:
    resource = make()
    seen = []
    wait_until(lambda: isinstance(seen.append(cloud.ensure(resource)) or seen[-1], Done))  # type: ignore[func-returns-value]
    assert [type(outcome).__name__ for outcome in (seen[0], seen[-1])] == ["Busy", "Done"]
    assert seen[-1].access["Machine"] == "analysis"
    assert seen[-1].access["Address (pretend)"].startswith("192.0.2.")


@pytest.mark.parametrize(
    "form",
    [{}, {"name": "a"}, {"name": "a", "flavor": "huge"}, {"name": "A b", "flavor": "sim.small"},
     {"name": 7, "flavor": "sim.small"}, {"name": "a", "flavor": "sim.small", "ssh_key": "two\nlines"}],
)  # fmt: skip
def test_ensure__machine_form_is_wrong__is_refused_and_nothing_is_made(
    cloud: SimulatorPlugin, make: Callable[..., DesiredResource], form: dict[str, Any]
) -> None:
    resource = make(form=form)
    assert isinstance(cloud.ensure(resource), Refused)
    assert cloud.observe(resource).presence is Presence.ABSENT


def test_observe__quota_used_up__machine_is_ok_and_says_why_it_stands(
    cloud: SimulatorPlugin, make: Callable[..., DesiredResource]
) -> None:
    resource = make()
    vm_ready(cloud, resource, available=0)
    observation = cloud.observe(resource)
    assert (observation.presence, observation.facts["state"]) == (Presence.OK, "held")
    assert observation.message.startswith("The machine stands still: its quota is used up")
    assert isinstance(cloud.ensure(resource), Done)


def test_act__restart__builds_again(cloud: SimulatorPlugin, make: Callable[..., DesiredResource]) -> None:
    resource = make()
    vm_ready(cloud, resource)
    assert [(spec.key, spec.dangerous) for spec in cloud.actions(resource)] == [("restart", True)]
    assert isinstance(cloud.act(resource, "restart", {}), Done)
    wait_until(lambda: cloud.observe(resource).presence is Presence.OK)
    cloud.pause(resource)
    assert isinstance(cloud.act(resource, "restart", {}), Refused)


# ------------------------------------------------------------------------------------------------------- lost answers


@pytest.mark.parametrize("verb", ["ensure", "pause", "resume", "set_members", "remove"])
@pytest.mark.parametrize("kind", ["drop", "garbage", "fail"])
def test_verb__answer_is_lost__asking_again_ends_the_same(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource], verb: str, kind: str
) -> None:
    resource = make()
    plugin.ensure(resource)
    before = plugin.observe(resource)
    backend.call("POST", "/v1/trouble", {"kind": kind, "calls": 1, "path": f"/v1/accounts/r{resource.id}"})
    with pytest.raises(BackendUnreachable):
        getattr(plugin, verb)(resource)
    assert isinstance(getattr(plugin, verb)(resource), Done)
    expected = {"pause": Presence.PAUSED, "remove": Presence.ABSENT}.get(verb, before.presence)
    assert plugin.observe(resource).presence is expected


def test_measure__answer_is_lost__asking_again_tells_the_same(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    resource = make()
    plugin.ensure(resource)
    plugin.set_members(resource)
    plugin.enforce_quota(resource, [ComponentQuota("cpu", None, locked=False)])
    job = backend.submit(f"r{resource.id}", "ada", cores=1, seconds=5)
    wait_until(lambda: backend.job(job)["state"] == "completed")
    backend.call("POST", "/v1/trouble", {"kind": "drop", "calls": 1, "path": "/v1/usage"})
    with pytest.raises(BackendUnreachable):
        plugin.measure([resource], "")
    assert [record.amount for record in plugin.measure([resource], "").records] == [5]


def test_ensure__refused_by_the_backend__says_why(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    backend.call("POST", "/v1/trouble", {"kind": "refuse", "calls": 1})
    assert plugin.ensure(make()) == Refused("The simulator refuses: injected trouble: refuse.")


def test_measure__mark_of_a_wiped_simulator__begins_anew(
    plugin: SimulatorPlugin, backend: Backend, make: Callable[..., DesiredResource]
) -> None:
    resource = make()
    plugin.ensure(resource)
    plugin.set_members(resource)
    plugin.enforce_quota(resource, [ComponentQuota("cpu", None, locked=False)])
    job = backend.submit(f"r{resource.id}", "ada", cores=1, seconds=5)
    wait_until(lambda: backend.job(job)["state"] == "completed")
    future = f"{'0' * 8}:{2**60}"
    assert [record.amount for record in plugin.measure([resource], future).records] == [5]


# ------------------------------------------------------------------------------------------------- a stranger's words


@contextmanager
def stranger(answer: bytes, *, drip_seconds: float = 0) -> Iterator[SimulatorSettings]:
    """Something that listens where a simulator should, and answers everybody with the same bytes."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(65_536)
                    if not drip_seconds:
                        connection.sendall(answer)
                    for index in range(len(answer) if drip_seconds else 0):
                        connection.sendall(answer[index : index + 1])
                        if stop.wait(drip_seconds):
                            break
                except OSError:
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        port = listener.getsockname()[1]
        yield SimulatorSettings.model_validate(
            {"url": f"http://127.0.0.1:{port}", "token": TOKEN, "timeout_seconds": 1}
        )
    finally:
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def http_answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        http_answer(b""),
        http_answer(b"<html>"),
        http_answer(b'{"name": 7}'),
        http_answer(b"[" * 100_000),
        http_answer(b" " * (wire.MESSAGE_BYTES_MAX + 1)),
        http_answer(b"", "302 Found", "Location: http://169.254.169.254/\r\n"),
        http_answer(b'{"error": "x"}', "503 Service Unavailable"),
        http_answer(b"not json", "422 Unprocessable Entity"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    ],
    ids=range(12),
)
def test_observe__stranger_answers__is_unreachable_without_secrets(
    answer: bytes, make: Callable[..., DesiredResource]
) -> None:
    with stranger(answer) as settings:
        plugin = SimulatorPlugin(settings)
        with pytest.raises(BackendUnreachable) as raised:
            plugin.observe(make())
        assert TOKEN not in str(raised.value)
        assert plugin.check_health().severity is Severity.BROKEN


def test_observe__stranger_sends_without_end__stops_reading(make: Callable[..., DesiredResource]) -> None:
    endless = http_answer(b" " * (3 * wire.MESSAGE_BYTES_MAX))
    with stranger(endless) as settings, pytest.raises(BackendUnreachable, match="answered more than can be right"):
        SimulatorPlugin(settings).observe(make())


def test_observe__stranger_drips_for_ever__gives_up_in_time(make: Callable[..., DesiredResource]) -> None:
    with stranger(http_answer(b" " * 10_000), drip_seconds=0.02) as settings:
        began = time.monotonic()
        with pytest.raises(BackendUnreachable):
            SimulatorPlugin(settings).observe(make())
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "sample",
    [
        {"account": "r999"},
        {"end": 1},
        {"cores": 2**40, "seconds": 2**40},
        {"seconds": -1},
        {"username": "x" * 33},
        {"label": "a\nb"},
    ],
)
def test_measure__stranger_tells_nonsense__nothing_of_it_is_taken(
    sample: dict[str, Any], make: Callable[..., DesiredResource], monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = make()
    good = {"run": 1, "account": f"r{resource.id}", "username": "ada", "label": "job-1", "cores": 1, "seconds": 1,
            "start": 1, "end": 2}  # fmt: skip
    answers = {
        "/v1/info": INFO,
        "/v1/usage": {"instance": "0" * 8, "as_of": 3, "samples": [good, good | sample], "next_run": None},
    }  # fmt: skip
    plugin = SimulatorPlugin(SimulatorSettings.model_validate({"token": TOKEN}))
    monkeypatch.setattr(plugin._client, "_exchange", lambda m, path, b: (200, json.dumps(answers[path]).encode()))
    with pytest.raises(BackendUnreachable):
        plugin.measure([resource], "")


def test_measure__pages_that_do_not_go_on__end(
    make: Callable[..., DesiredResource], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"/v1/info": INFO, "/v1/usage": {"instance": "0" * 8, "as_of": 3, "samples": [], "next_run": 0}}
    plugin = SimulatorPlugin(SimulatorSettings.model_validate({"token": TOKEN}))
    monkeypatch.setattr(plugin._client, "_exchange", lambda m, path, b: (200, json.dumps(answers[path]).encode()))
    with pytest.raises(BackendUnreachable):
        plugin.measure([make()], "")


# ----------------------------------------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:1",
        "http://169.254.169.254",
        "http://example.org:8790",
        "http://127.0.0.1@example.org",
        "http://user:pw@127.0.0.1",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:8790/path",
        "http://127.0.0.1:8790?x=1",
        "file:///etc/passwd",
        "",
        "http://[",
    ],
)
def test_settings__address_elsewhere__is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        SimulatorSettings.model_validate({"url": url, "token": TOKEN})


@pytest.mark.parametrize("token", ["", "two words", "line\r\nX-Header: 1", "ünicode", "x" * 501, "ta\tb"])
def test_settings__token_that_is_no_word__is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(ValidationError) as refused:
        SimulatorSettings.model_validate({"token": token})
    assert not token or token not in str(refused.value)


def test_check_health__wrong_token__says_what_to_do(backend: Backend) -> None:
    health = backend.plugin(token="another").check_health()
    assert health.severity is Severity.BROKEN
    assert health.findings[0].message == "The simulator does not accept the token. Check the backend's settings."


def test_check_health__pretend_time_runs_fast__warns(plugin: SimulatorPlugin) -> None:
    health = plugin.check_health()
    assert health.severity is Severity.WARNING
    assert "One real second is 20 seconds there" in health.findings[1].message
