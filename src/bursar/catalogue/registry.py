"""The plugins that are installed here, and plugin instances for configured backends.

Whatever a plugin's code does wrong while it is loaded or built is told as words: one broken plugin must not take the
registry page, or another provider's backend, with it. Nothing said here holds the value of a secret.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, get_args

from pydantic import SecretStr, ValidationError

from bursar.catalogue import secrets
from bursar.catalogue.errors import (
    AgentNotDeclared,
    InvalidSettings,
    PluginBroken,
    PluginNotFound,
    RunsAtSite,
    SecretsUnreadable,
)
from bursar.catalogue.models import Backend
from bursar.kernel.errors import DomainError
from bursar.plugins import discovery, wire
from bursar.plugins.contract import PROTOCOLS, BackendSettings, OfferingDefaults, Plugin, abilities

logger = logging.getLogger(__name__)

HIDDEN: Final = "•••"


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    key: str
    title: str
    summary: str
    version: str
    abilities: tuple[str, ...]
    plugin: type[Plugin]


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    name: str
    why: str


@cache
def _discovered() -> discovery.Discovered:
    return discovery.load()


def installed() -> list[InstalledPlugin]:
    """The plugins that can be used, in the order of their titles."""
    return sorted((entry(key) for key in _discovered().plugins), key=lambda each: (each.title.casefold(), each.key))


def broken() -> list[BrokenPlugin]:
    """The entry points that could not be loaded, and why."""
    return [BrokenPlugin(name, why) for name, why in sorted(_discovered().broken.items())]


def entry(key: str) -> InstalledPlugin:
    """The registry's entry of one plugin.

    raises   PluginNotFound; PluginBroken
    """
    plugin = plugin_class(key)
    return InstalledPlugin(key, plugin.title, plugin.summary, plugin.version, abilities(plugin), plugin)


def plugin_class(key: str) -> type[Plugin]:
    """raises   PluginNotFound; PluginBroken"""
    found = _discovered()
    if key in found.plugins:
        return found.plugins[key]
    for name, why in found.broken.items():
        if name.split(" ")[0] == key:
            raise PluginBroken(key=key, why=why)
    raise PluginNotFound(key=key)


def is_secret(annotation: Any) -> bool:
    """Whether a field of a settings model is a secret, perhaps an optional one."""
    return annotation is SecretStr or any(is_secret(part) for part in get_args(annotation))


def secret_names(model: type[BackendSettings]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if is_secret(field.annotation))


def settings_from(plugin: type[Plugin], values: Mapping[str, Any]) -> BackendSettings:
    """The plugin's settings of these values, secrets among them as texts.

    raises   InvalidSettings with a message per setting
    """
    try:
        return plugin.Settings.model_validate(dict(values))
    except ValidationError as error:
        hidden = [str(values[name]) for name in secret_names(plugin.Settings) if values.get(name)]
        errors: dict[str, str] = {}
        for fault in error.errors(include_input=False, include_url=False, include_context=False):
            where = ".".join(str(part) for part in fault["loc"]) or "settings"
            errors.setdefault(where, redact(fault["msg"].removeprefix("Value error, "), hidden))
    # Raised outside the handler: the library's error holds what was typed.
    raise InvalidSettings(problems=" ".join(f"{name}: {text}" for name, text in errors.items()), errors=errors)


def split(settings: BackendSettings) -> tuple[dict[str, Any], dict[str, str]]:
    """What may be stored as it is, and the secrets that are set."""
    names = secret_names(type(settings))
    plain = settings.model_dump(mode="json", exclude=set(names))
    hidden = {name: getattr(settings, name) for name in sorted(names)}
    return plain, {name: value.get_secret_value() for name, value in hidden.items() if value is not None}


def secrets_of(backend: Backend) -> dict[str, str]:
    """The decrypted secrets: for the plugin alone.

    raises   SecretsUnreadable
    """
    try:
        return secrets.decrypt(backend.secrets)
    except secrets.InvalidToken:
        raise SecretsUnreadable(backend=backend.name) from None


def make(backend: Backend) -> Plugin:
    """The plugin, ready to work on this backend.

    raises   RunsAtSite; PluginNotFound; PluginBroken; SecretsUnreadable; InvalidSettings
    """
    if backend.at_site:
        raise RunsAtSite(backend=backend.name)
    plugin = plugin_class(backend.plugin)
    hidden = secrets_of(backend)
    settings = settings_from(plugin, {**backend.settings, **hidden})
    try:
        return plugin(settings)
    except Exception as error:
        why = redact(f"{type(error).__name__}: {error}", hidden.values())
        logger.warning("plugin %s cannot be built for backend %s: %s", backend.plugin, backend.pk, why)
    raise PluginBroken(key=backend.plugin, why=why)


def require_working(backend: Backend) -> None:
    """That there is a plugin for this backend which can be asked: here, or as its agent declared it.

    raises   as `make`; AgentNotDeclared
    """
    if not backend.at_site:
        make(backend)
    elif not backend.declared:
        raise AgentNotDeclared(backend=backend.name)


def abilities_of(backend: Backend) -> tuple[str, ...]:
    """What the backend can do as it is set up: less than its plugin's class where an ability follows from the settings.

    Of a plugin that is missing or broken, nothing; of one that cannot be built now, what its class can do; of one at the
    provider's site, what its agent declared.
    """
    if backend.at_site:
        told = set(backend.declared.get("abilities", ()))
        return tuple(name for name in PROTOCOLS if name in told)
    try:
        plugin = plugin_class(backend.plugin)
    except DomainError:
        return ()
    if plugin.abilities is Plugin.abilities:  # no need to open the secrets
        return abilities(plugin)
    try:
        return make(backend).abilities()
    except DomainError:
        return abilities(plugin)


def defaults_of(backend: Backend) -> OfferingDefaults:
    """What a new offering on this backend starts with.

    raises   as `require_working`; InvalidSettings when what its agent declared makes no sense
    """
    require_working(backend)
    if not backend.at_site:
        return make(backend).offering_defaults()
    try:
        return wire.load(OfferingDefaults, {key: backend.declared.get(key) for key in ("components", "order_form")})
    except wire.Unreadable as error:
        raise InvalidSettings(problems=str(error), errors={}) from None


def redact(text: str, hidden: Iterable[str]) -> str:
    """The text without these secrets, whatever a stranger's code has put into it; at most 1000 characters."""
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text[:1000]
