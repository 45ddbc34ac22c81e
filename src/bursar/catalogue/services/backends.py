"""Connecting backends, testing them, and keeping their secrets."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from bursar.catalogue import registry, secrets
from bursar.catalogue.errors import (
    AgentNotDeclared,
    BackendInUse,
    BackendNotFound,
    InvalidInput,
    InvalidSettings,
    OperatorSettings,
    PluginBroken,
    PluginNotFound,
    SecretsUnreadable,
    SettingsAtSite,
)
from bursar.catalogue.models import Backend, ServiceProvider
from bursar.catalogue.services._common import check, names_once, require_for_provider, set_fields, tell
from bursar.catalogue.waiting import NotInTime, within
from bursar.kernel.clock import now
from bursar.plugins.contract import BackendUnreachable, Finding, Health, Plugin, Severity, operator_only
from bursar.structure.models import Person
from bursar.structure.roles import Permission, may, require

logger = logging.getLogger(__name__)

CHECK_SECONDS: Final = 20
_PLUGIN_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
FINDINGS_MAX: Final = 50


@transaction.atomic
def create_backend(
    *,
    provider: ServiceProvider,
    name: str,
    plugin: str,
    values: Mapping[str, Any],
    runs_at: str = Backend.RunsAt.SERVER,
    by: Person | None,
    at: datetime,
) -> Backend:
    """A configured instance of a plugin; one at the provider's site is configured there, and its plugin need not be here.

    values   the plugin's settings, secrets among them as texts; they are encrypted and never told again
    raises   NotAllowed; ProviderNotAuthorized; PluginNotFound; PluginBroken; InvalidSettings; OperatorSettings;
             InvalidInput; NameTaken
    """
    require_for_provider(by, Permission.MANAGE_BACKENDS, provider, at)
    backend = Backend(provider=provider, name=name, plugin=plugin, runs_at=runs_at)
    if backend.at_site:
        if values:
            raise SettingsAtSite(names=", ".join(sorted(values))[:300])
        if not _PLUGIN_KEY.fullmatch(plugin):
            raise InvalidInput.of({"plugin": _("A plugin's key: small letters, digits, “-” and “_”, at most 40.")})
    else:
        plain, hidden = registry.split(registry.settings_from(registry.plugin_class(plugin), values))
        _leave_the_machine_alone(registry.plugin_class(plugin), {}, plain, by, at)
        backend.settings, backend.secrets = plain, secrets.encrypt(hidden)
    _save(backend)
    tell("backend.created", backend, provider, by=by, at=at, name=backend.name, plugin=plugin)
    return backend


@transaction.atomic
def edit_backend(
    *,
    backend: Backend,
    by: Person | None,
    at: datetime,
    name: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> Backend:
    """Change the name, or the settings as a whole. A secret that is absent or blank keeps its value; None takes it
    away.

    The last test says nothing about new settings, so the health becomes unknown.
    raises   NotAllowed; ProviderNotAuthorized; PluginNotFound; PluginBroken; InvalidSettings; InvalidInput; NameTaken;
             SecretsUnreadable when a secret would have to be kept that cannot be read
    """
    require_for_provider(by, Permission.MANAGE_BACKENDS, backend.provider, at)
    backend = _lock(backend)
    changed = [] if name is None else set_fields(backend, {"name": name})
    if values and backend.at_site:
        raise SettingsAtSite(names=", ".join(sorted(values))[:300])
    if values is not None and not backend.at_site:
        changed += _set_values(backend, values, by, at)
    _save(backend)
    if changed:
        tell("backend.edited", backend, backend.provider, by=by, at=at, fields=changed)
    return backend


def _set_values(backend: Backend, values: Mapping[str, Any], by: Person | None, at: datetime) -> list[str]:
    plugin = registry.plugin_class(backend.plugin)
    names = registry.secret_names(plugin.Settings)
    given = {key: value for key, value in values.items() if key not in names}
    typed = {key: value for key, value in values.items() if key in names and value != ""}
    try:
        stored = registry.secrets_of(backend)
    except SecretsUnreadable:
        if set(names) - set(typed):
            raise
        stored = {}
    hidden = {key: value for key, value in {**stored, **typed}.items() if value is not None and key in names}
    plain, hidden = registry.split(registry.settings_from(plugin, {**given, **hidden}))
    _leave_the_machine_alone(plugin, backend.settings, plain, by, at)
    changed = [key for key in plain if plain[key] != backend.settings.get(key)]
    changed += [key for key in sorted(names) if hidden.get(key) != stored.get(key)]
    if changed:
        backend.settings, backend.secrets = plain, secrets.encrypt(hidden)
        backend.health, backend.findings, backend.checked_at = "unknown", [], None
    return changed


def _leave_the_machine_alone(
    plugin: type[Plugin], before: Mapping[str, Any], wanted: Mapping[str, Any], by: Person | None, at: datetime
) -> None:
    """raises   OperatorSettings when somebody else than the operator changes what concerns this machine"""
    defaults = {name: field.default for name, field in plugin.Settings.model_fields.items()}
    changed = [
        name
        for name in sorted(operator_only(plugin.Settings))
        if wanted.get(name) != before.get(name, defaults.get(name))
    ]
    if not changed or may(by, Permission.OPERATE_PLATFORM, None, at):
        return
    titles = [_(plugin.Settings.model_fields[name].title or name) for name in changed]
    told = _("Only the platform's operator may change this: it concerns the machine that Bursar runs on.")
    raise OperatorSettings(fields=", ".join(titles), errors=dict.fromkeys(changed, told))


@transaction.atomic
def set_backend_enabled(*, backend: Backend, enabled: bool, by: Person | None, at: datetime) -> Backend:
    """Switch it on, or off: nothing is asked of it while it is off, and its offerings take no orders. Twice is once.

    raises   NotAllowed; ProviderNotAuthorized
    """
    require_for_provider(by, Permission.MANAGE_BACKENDS, backend.provider, at)
    backend = _lock(backend)
    if backend.enabled != enabled:
        backend.enabled = enabled
        backend.save(update_fields=["enabled"])
        tell("backend.enabled" if enabled else "backend.disabled", backend, backend.provider, by=by, at=at)
    return backend


@transaction.atomic
def delete_backend(*, backend: Backend, by: Person | None, at: datetime) -> None:
    """Remove a backend that nothing uses.

    raises   NotAllowed; ProviderNotAuthorized; BackendInUse
    """
    require_for_provider(by, Permission.MANAGE_BACKENDS, backend.provider, at)
    backend = _lock(backend)
    offerings = list(backend.offerings.order_by("name").values_list("name", flat=True))
    if offerings:
        raise BackendInUse(backend=backend.name, users=", ".join(offerings))
    pk, name = backend.pk, backend.name
    tell("backend.deleted", backend, backend.provider, by=by, at=at, name=name)
    try:
        with transaction.atomic():
            Backend.objects.filter(pk=pk).delete()
    except ProtectedError as error:
        users = sorted({str(used._meta.verbose_name) for used in error.protected_objects})
        raise BackendInUse(backend=name, users=", ".join(users)) from None


def check_backend(*, backend: Backend, by: Person | None, at: datetime, seconds: float = CHECK_SECONDS) -> Backend:
    """Let the plugin look at the backend, and keep what it finds: health, findings, version, last contact.

    The plugin works outside any transaction: it may take `seconds`, and no row waits for it. A result for settings
    that were changed meanwhile is thrown away.
    raises   NotAllowed; BackendNotFound
    """
    require(by, Permission.MANAGE_BACKENDS, backend.provider.organization, at)
    asked = Backend.objects.filter(pk=backend.pk).first()
    if asked is None:
        raise BackendNotFound
    health = _look(asked, seconds)
    with transaction.atomic():
        found = Backend.objects.select_for_update(of=("self",)).select_related("provider").filter(pk=backend.pk).first()
        if found is None:
            raise BackendNotFound
        if (found.settings, bytes(found.secrets)) != (asked.settings, bytes(asked.secrets)):
            return found
        keep_health(found, health, by=by, at=at)
    return found


def keep_health(backend: Backend, health: Health, *, by: Person | None, at: datetime) -> None:
    """What was found when somebody looked at a backend, and an event when it stands otherwise than before."""
    before = backend.health
    backend.health = health.severity.value
    backend.findings = [
        {"severity": f.severity.value, "subject": f.subject, "message": f.message, "advice": f.advice}
        for f in health.findings
    ]
    backend.checked_at = at
    if health.severity != Severity.BROKEN:
        backend.last_contact_at = at
        backend.backend_version = health.version[:80]
    backend.save(update_fields=["health", "findings", "checked_at", "last_contact_at", "backend_version"])
    if before != backend.health:
        tell("backend.health_changed", backend, backend.provider, by=by, at=at, before=before, health=backend.health)


def _look(backend: Backend, seconds: float) -> Health:
    if backend.at_site:
        return _heard_of(backend)
    try:
        plugin = registry.make(backend)
        hidden = list(registry.secrets_of(backend).values())
    except (PluginNotFound, PluginBroken, InvalidSettings, SecretsUnreadable) as refusal:
        return _broken(_("Settings"), str(refusal))
    try:
        health = within(seconds, lambda: _ask(plugin))
    except NotInTime:
        return _broken(_("Backend"), _("It did not answer within %(seconds)s seconds.") % {"seconds": f"{seconds:g}"})
    return _redacted(health, hidden)


def _heard_of(backend: Backend) -> Health:
    """What its agent last found; an agent that is not heard of is a backend that is not there."""
    agent, title = backend.agent, _("Agent")
    if agent is None:
        return _broken(title, str(AgentNotDeclared(backend=backend.name)))
    seen = agent.seen_at.isoformat(sep=" ", timespec="seconds")
    if agent.stopped_at is not None:
        return _broken(title, _("The agent on %(host)s was stopped at %(at)s.") % {"host": agent.host, "at": seen})
    if agent.is_silent(now()):
        return _broken(
            title, _("The agent on %(host)s was last heard of at %(at)s.") % {"host": agent.host, "at": seen}
        )
    findings = tuple(
        Finding(Severity(f["severity"]), f["subject"], f["message"], f.get("advice", ""))
        for f in backend.findings
        if f["subject"] != title  # what was said here of a silent agent
    )
    return Health(findings, backend.backend_version)


def _ask(plugin: Plugin) -> Health:
    try:
        health = plugin.check_health()
        if not isinstance(health, Health):
            return _broken(_("Plugin"), _("Its health check gave no answer."))
        return health
    except BackendUnreachable as error:
        return _broken(_("Backend"), str(error) or _("It did not answer."))
    except Exception as error:  # a stranger's code: told on the page rather than lost in a log
        return _broken(_("Plugin"), f"{type(error).__name__}: {error}")


def _broken(subject: str, message: str) -> Health:
    return Health((Finding(Severity.BROKEN, subject, message),))


def _redacted(health: Health, hidden: list[str]) -> Health:
    findings = tuple(
        Finding(
            Severity(f.severity),
            registry.redact(f.subject, hidden)[:120],
            registry.redact(f.message, hidden),
            registry.redact(f.advice, hidden),
        )
        for f in health.findings[:FINDINGS_MAX]
    )
    return Health(findings, registry.redact(health.version, hidden))


@dataclass(frozen=True, slots=True)
class Rotated:
    """How many backends' secrets now lie under the first key, and which could not be read."""

    count: int
    unreadable: tuple[str, ...]


def rotate_secrets(*, at: datetime) -> Rotated:
    """Bring every backend's secrets under the first of BURSAR_KEYS, one transaction each; safe to run again.

    An old key may be taken out of BURSAR_KEYS once this answers with nothing unreadable.
    """
    count, unreadable = 0, []
    for pk in Backend.objects.exclude(secrets=b"").order_by("pk").values_list("pk", flat=True):
        with transaction.atomic():
            backend = Backend.objects.select_for_update(of=("self",)).select_related("provider").filter(pk=pk).first()
            if backend is None:
                continue
            try:
                backend.secrets = secrets.re_encrypt(backend.secrets)
            except secrets.InvalidToken:
                unreadable.append(backend.name)
                continue
            backend.save(update_fields=["secrets"])
            tell("backend.secrets_rotated", backend, backend.provider, by=None, at=at)
            count += 1
    return Rotated(count, tuple(unreadable))


def _lock(backend: Backend) -> Backend:
    return Backend.objects.select_for_update(of=("self",)).select_related("provider__organization").get(pk=backend.pk)


def _save(backend: Backend) -> None:
    check(backend)
    with names_once({"backend_name_once_per_provider": ("name", backend.name)}):
        backend.save()
