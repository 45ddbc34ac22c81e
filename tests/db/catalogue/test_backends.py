"""Backends: their secrets, their health, and plugins that misbehave."""

import logging
import threading
from datetime import timedelta
from importlib.metadata import EntryPoint
from typing import ClassVar, Literal

import pytest
from cryptography.fernet import Fernet
from django.core import serializers
from django.db import connection
from pydantic import Field, SecretStr, field_validator

from bursar.catalogue import registry, secrets, selectors, services
from bursar.catalogue.errors import (
    BackendInUse,
    InvalidInput,
    InvalidSettings,
    NameTaken,
    PluginBroken,
    PluginNotFound,
    SecretsUnreadable,
)
from bursar.catalogue.models import Backend
from bursar.catalogue.tasks import check_backends, check_one_backend
from bursar.events.models import Event
from bursar.kernel.clock import stated_time
from bursar.plugins import discovery
from bursar.plugins.contract import BackendSettings, BackendUnreachable, Finding, Health, Plugin, Severity
from bursar.structure.roles import NotAllowed, Role
from bursar.web.backend_form import BackendForm
from tests.factories.catalogue import make_backend, make_offering, make_provider
from tests.factories.structure import make_membership

pytestmark = pytest.mark.django_db

SECRET = "s3cret-of-the-lab"


class LabSettings(BackendSettings):
    url: str = Field(default="http://lab.example", title="Address", max_length=100)
    token: SecretStr = Field(title="Token")
    spare: SecretStr | None = Field(default=None, title="Spare token")
    mode: Literal["fast", "safe"] = "safe"
    hosts: list[str] = []
    components: dict[str, str] = {"cpu": "cpu"}
    retries: int = Field(default=3, ge=0, le=9)
    factor: float = 1.5
    dry_run: bool = False
    note: str | None = None

    @field_validator("token")
    @classmethod
    def _long_enough(cls, token: SecretStr) -> SecretStr:
        if len(token.get_secret_value()) < 8:
            raise ValueError(f"too short: {token.get_secret_value()}")  # a careless plugin
        return token


class LabPlugin(Plugin):
    key: ClassVar[str] = "lab"
    title: ClassVar[str] = "Laboratory"
    summary: ClassVar[str] = "For these tests."
    version: ClassVar[str] = "7.1"
    Settings: ClassVar[type[BackendSettings]] = LabSettings
    settings: LabSettings
    answer: ClassVar[object] = None

    def check_health(self) -> Health:
        answer = type(self).answer
        return answer(self) if callable(answer) else answer  # type: ignore[return-value]

    def ensure(self, resource): ...

    def remove(self, resource): ...

    def observe(self, resource): ...


@pytest.fixture
def lab(monkeypatch):
    found = discovery.load([])
    monkeypatch.setattr(
        registry,
        "_discovered",
        lambda: discovery.Discovered({**found.plugins, "lab": LabPlugin}, {"bad (dist)": "ImportError: x"}),
    )
    monkeypatch.setattr(LabPlugin, "answer", Health((Finding(Severity.OK, "Lab", "All well."),), version="9"))
    return LabPlugin


@pytest.fixture
def backend(lab):
    return make_backend(plugin="lab", values={"token": SECRET})


# ------------------------------------------------------------------------------------------------ the registry
def test_installed__plugins_of_this_distribution__with_version_and_abilities():
    registry._discovered.cache_clear()
    entries = {entry.key: entry for entry in registry.installed()}
    assert {"manual", "simulator"} <= set(entries)
    assert "measures_usage" in entries["simulator"].abilities
    assert "measures_usage" not in entries["manual"].abilities
    assert entries["manual"].version


def test_plugin_class__broken_or_unknown__said_apart(lab):
    assert registry.broken() == [registry.BrokenPlugin("bad (dist)", "ImportError: x")]
    with pytest.raises(PluginBroken) as broken:
        registry.plugin_class("bad")
    assert broken.value.why == "ImportError: x"
    with pytest.raises(PluginNotFound):
        registry.plugin_class("never")


def test_discovery__a_module_that_fails__is_told_and_the_rest_works():
    points = [
        EntryPoint("manual", "bursar.plugins.manual.plugin:ManualPlugin", discovery.GROUP),
        EntryPoint("gone", "no_such_module:Plugin", discovery.GROUP),
    ]
    found = discovery.load(points)
    assert set(found.plugins) == {"manual"}
    assert list(found.broken) == ["gone"]


def test_make__plugin_that_fails_to_start__is_a_refusal_without_the_secret(backend, lab, monkeypatch):
    def explode(self, settings):
        raise RuntimeError(f"cannot use {settings.token.get_secret_value()}")

    monkeypatch.setattr(lab, "__init__", explode)
    with pytest.raises(PluginBroken) as refusal:
        registry.make(backend)
    assert refusal.value.why == "RuntimeError: cannot use •••"
    assert refusal.value.__context__ is None


# ------------------------------------------------------------------------------------------------ secrets
def test_create_backend__secret__encrypted_and_nowhere_else(backend, caplog):
    caplog.set_level(logging.DEBUG)
    assert backend.settings == {
        "url": "http://lab.example", "mode": "safe", "hosts": [], "components": {"cpu": "cpu"}, "retries": 3,
        "factor": 1.5, "dry_run": False, "note": None,
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(backend)::text FROM backend")
        stored = cursor.fetchone()[0]
        cursor.execute("SELECT string_agg(facts::text, ' ') FROM event")
        told = cursor.fetchone()[0]
    plugin = registry.make(backend)
    assert plugin.settings.token.get_secret_value() == SECRET
    for text in (stored, told, repr(backend), str(backend), repr(plugin), repr(plugin.settings), repr(vars(plugin)), caplog.text,
                 serializers.serialize("json", [backend])):  # fmt: skip
        assert SECRET not in text
    assert registry.secrets_of(backend) == {"token": SECRET}
    assert selectors.secrets_set(backend) == {"token"}


def test_create_backend__wrong_settings__named_without_their_secret(lab):
    provider = make_provider()
    with pytest.raises(InvalidSettings) as refusal:
        services.create_backend(
            provider=provider,
            name="Lab",
            plugin="lab",
            values={"token": "tiny", "retries": 99, "colour": 1},
            by=None,
            at=provider.authorized_at,
        )
    assert refusal.value.errors == {
        "token": "too short: •••",
        "retries": "Input should be less than or equal to 9",
        "colour": "Extra inputs are not permitted",
    }
    assert "tiny" not in repr(refusal.value.__context__) + repr(refusal.value.__cause__) + str(refusal.value)
    assert not Backend.objects.exists()


def test_edit_backend__secret_left_out_blank_or_null__kept_kept_taken_away(backend, at):
    def edit(**values):
        services.edit_backend(backend=backend, values=values, by=None, at=at)
        return registry.secrets_of(Backend.objects.get())

    assert edit(token="") == {"token": SECRET}
    assert edit(retries=5) == {"token": SECRET}
    assert edit(spare="another-secret") == {"token": SECRET, "spare": "another-secret"}
    assert edit(token="changed-secret", spare=None) == {"token": "changed-secret"}
    with pytest.raises(InvalidSettings) as refusal:
        edit(token=None)
    assert refusal.value.errors == {"token": "Field required"}
    assert registry.secrets_of(Backend.objects.get()) == {"token": "changed-secret"}
    assert Event.objects.filter(kind="backend.edited").last().facts == {"fields": ["spare", "token"]}


def test_edit_backend__new_settings__health_is_unknown_again(backend, at):
    edited = services.edit_backend(backend=backend, values={"retries": 4}, by=None, at=at)
    assert (edited.health, edited.checked_at, edited.findings) == ("unknown", None, [])
    Backend.objects.update(health="ok")
    assert services.edit_backend(backend=backend, name="Other", by=None, at=at).health == "ok"
    assert services.edit_backend(backend=backend, values={"retries": 4}, by=None, at=at).health == "ok"


def test_rotate_secrets__new_first_key__old_one_can_go(backend, at, settings):
    old = settings.BURSAR_KEYS
    new = Fernet.generate_key().decode()
    settings.BURSAR_KEYS = [new, *old]
    assert services.rotate_secrets(at=at) == services.Rotated(1, ())
    settings.BURSAR_KEYS = [new]
    backend.refresh_from_db()
    assert registry.secrets_of(backend) == {"token": SECRET}
    settings.BURSAR_KEYS = [Fernet.generate_key().decode()]
    assert services.rotate_secrets(at=at) == services.Rotated(0, (backend.name,))
    with pytest.raises(SecretsUnreadable):
        registry.make(backend)
    assert selectors.secrets_set(backend) == frozenset()
    with pytest.raises(SecretsUnreadable):
        services.edit_backend(backend=backend, values={"token": "entered-again"}, by=None, at=at)
    edited = services.edit_backend(backend=backend, values={"token": "entered-again", "spare": None}, by=None, at=at)
    assert registry.secrets_of(edited) == {"token": "entered-again"}


def test_encrypt__nothing__is_empty():
    assert secrets.encrypt({}) == b""
    assert secrets.decrypt(b"") == {}
    assert secrets.re_encrypt(b"") == b""


# ------------------------------------------------------------------------------------------------ health
@pytest.mark.parametrize(
    ("answer", "health", "message"),
    [
        (Health(()), "ok", None),
        (Health((Finding(Severity.WARNING, "Speed", "Slow."),), "9"), "warning", "Slow."),
        (Health((Finding(Severity.OK, "a", "fine"), Finding(Severity.BROKEN, "b", f"token {SECRET} refused"))), "broken", "fine"),
        (None, "broken", "Its health check gave no answer."),
    ],
)  # fmt: skip
def test_check_backend__what_the_plugin_says__is_kept(backend, lab, monkeypatch, at, answer, health, message):
    monkeypatch.setattr(lab, "answer", answer)
    found = services.check_backend(backend=backend, by=None, at=at)
    assert (found.health, found.checked_at) == (health, at)
    assert [f["message"] for f in found.findings[:1]] == ([message] if message else [])
    assert SECRET not in str(found.findings)
    assert found.last_contact_at == (None if health == "broken" else at)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BackendUnreachable("No route to the lab."), "No route to the lab."),
        (ValueError(f"bad token {SECRET}"), "ValueError: bad token •••"),
    ],
)
def test_check_backend__plugin_raises__is_a_finding_without_the_secret(backend, lab, monkeypatch, at, error, message):
    def fail(self):
        raise error

    monkeypatch.setattr(lab, "answer", fail)
    found = services.check_backend(backend=backend, by=None, at=at)
    assert (found.health, found.findings[0]["message"]) == ("broken", message)


def test_check_backend__plugin_hangs__given_up_after_its_time(backend, lab, monkeypatch, at):
    let_go = threading.Event()
    monkeypatch.setattr(lab, "answer", lambda self: let_go.wait(20) and Health(()))
    found = services.check_backend(backend=backend, by=None, at=at, seconds=0.05)
    let_go.set()
    assert (found.health, found.findings[0]["message"]) == ("broken", "It did not answer within 0.05 seconds.")


def test_check_backend__settings_changed_meanwhile__the_result_is_thrown_away(backend, lab, monkeypatch, at):
    def change(self):
        Backend.objects.filter(pk=backend.pk).update(settings={"url": "http://other.example"}, health="unknown")
        return Health(())

    monkeypatch.setattr(services.backends, "within", lambda _seconds, work: work())
    monkeypatch.setattr(lab, "answer", change)
    assert services.check_backend(backend=backend, by=None, at=at).health == "unknown"


def test_check_backend__health_changes__told_once(backend, lab, monkeypatch, at):
    services.check_backend(backend=backend, by=None, at=at)
    assert not Event.objects.filter(kind="backend.health_changed").exists()
    monkeypatch.setattr(lab, "answer", Health((Finding(Severity.BROKEN, "x", "y"),)))
    services.check_backend(backend=backend, by=None, at=at + timedelta(minutes=5))
    services.check_backend(backend=backend, by=None, at=at + timedelta(minutes=10))
    events = Event.objects.filter(kind="backend.health_changed")
    assert [e.facts for e in events] == [{"before": "ok", "health": "broken"}]
    backend.refresh_from_db()
    assert (backend.last_contact_at, backend.checked_at) == (at, at + timedelta(minutes=10))


def test_check_backends__task__asks_for_those_in_use_and_keeps_what_is_found(backend, lab, at):
    from procrastinate.contrib.django.models import ProcrastinateJob

    off = make_backend(backend.provider, plugin="lab", values={"token": SECRET})
    services.set_backend_enabled(backend=off, enabled=False, by=None, at=at)
    check_backends(timestamp=0)
    check_backends(timestamp=0)  # what still waits is not asked for twice
    jobs = ProcrastinateJob.objects.filter(task_name="catalogue.check_backend")
    assert [job.args for job in jobs] == [{"backend_id": backend.pk}]
    with stated_time(at):
        check_one_backend(backend_id=backend.pk)
        check_one_backend(backend_id=off.pk)
    assert dict(Backend.objects.values_list("pk", "backend_version")) == {backend.pk: "9", off.pk: ""}


# ------------------------------------------------------------------------------------------------ the rest of its life
def test_delete_backend__used__refused_else_gone(backend, at):
    offering = make_offering(backend=backend, active=False, name="Thor")
    with pytest.raises(BackendInUse) as refusal:
        services.delete_backend(backend=backend, by=None, at=at)
    assert refusal.value.users == "Thor"
    services.delete_draft(offering=offering, by=None, at=at)
    services.delete_backend(backend=backend, by=None, at=at)
    assert not Backend.objects.exists()
    assert Event.objects.last().kind == "backend.deleted"


def test_set_backend_enabled__off__offerings_take_no_orders(at):
    offering = make_offering()
    services.set_backend_enabled(backend=offering.backend, enabled=False, by=None, at=at)
    offering.refresh_from_db()
    offering.backend.refresh_from_db()
    assert selectors.why_closed(offering) == "Its backend is switched off."


def test_create_backend__name_or_rights__refused(backend, at):
    with pytest.raises(NameTaken):
        make_backend(backend.provider, plugin="lab", values={"token": SECRET}, name=backend.name)
    with pytest.raises(InvalidInput):
        services.edit_backend(backend=backend, name="", by=None, at=at)
    manager = make_membership(role=Role.OFFERING_MANAGER, scope=backend.provider.organization).person
    with pytest.raises(NotAllowed):
        services.create_backend(
            provider=backend.provider, name="x", plugin="lab", values={"token": SECRET}, by=manager, at=at
        )
    assert Backend.objects.count() == 1


# ------------------------------------------------------------------------------------------------ the form made of the model
def test_backend_form__every_kind_of_field__shown_and_read_back():
    stored = {"url": "http://x.example", "mode": "fast", "hosts": ["a", "b"], "components": {"cpu": "cpu", "gpu": "gres/gpu"},
              "retries": 2, "factor": 2.5, "dry_run": True, "note": None}  # fmt: skip
    form = BackendForm(LabSettings, name="Lab", stored=stored, secrets_set={"token", "spare"})
    html = form.as_p()
    assert "gpu = gres/gpu" in html
    assert "a\nb" in html
    assert not form.fields["token"].required
    assert "spare__clear" in form.fields
    assert "token__clear" not in form.fields
    typed = {"backend_name": "Lab", "url": "http://y.example", "token": "", "spare": "", "spare__clear": "on", "mode": "safe",
             "hosts": "c\r\n\r\nd ", "components": "cpu = cpu\r\n", "retries": "4", "factor": "0.5", "note": ""}  # fmt: skip
    bound = BackendForm(LabSettings, typed, name="Lab", stored=stored, secrets_set={"token", "spare"})
    assert bound.is_valid(), bound.errors
    assert bound.settings_values() == {
        "url": "http://y.example", "spare": None, "mode": "safe", "hosts": ["c", "d"], "components": {"cpu": "cpu"},
        "retries": 4, "factor": 0.5, "dry_run": False, "note": "",
    }  # fmt: skip


def test_backend_form__new__secret_is_needed_and_never_rendered_back():
    form = BackendForm(LabSettings, {"backend_name": "Lab", "token": SECRET, "components": "no pair"})
    assert not form.is_valid()
    assert form.errors["components"] == ["Write one “name = value” per line; this is none: no pair"]
    assert SECRET not in form.as_p()
    assert form.fields["token"].required
