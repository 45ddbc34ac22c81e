"""Find the plugins that are installed, from this distribution and others; a broken one does not break the rest."""

import re
from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Final, NamedTuple

from bursar.plugins.contract import BackendSettings, Plugin, abilities

GROUP: Final = "bursar.plugins"


class Discovered(NamedTuple):
    """plugins   key -> class; broken   name of the entry point (with its distribution) -> what is wrong with it"""

    plugins: Mapping[str, type[Plugin]]
    broken: Mapping[str, str]


def load(points: Iterable[EntryPoint] | None = None) -> Discovered:
    """All plugins of the entry point group `bursar.plugins`, Bursar's own first, then by name.

    points   which entry points to look at; None = those installed
    """
    plugins: dict[str, type[Plugin]] = {}
    broken: dict[str, str] = {}
    found = entry_points(group=GROUP) if points is None else points
    for point in sorted(found, key=lambda p: (not p.value.startswith("bursar."), p.name, p.value)):
        trouble = _load_one(point, plugins)
        if trouble:
            origin = f" ({point.dist.name})" if point.dist is not None else ""
            broken[f"{point.name}{origin}"] = trouble
    return Discovered(plugins, broken)


def _load_one(point: EntryPoint, plugins: dict[str, type[Plugin]]) -> str:
    """Put the plugin among the others; what is wrong with it, or ""."""
    try:
        plugin = point.load()
        faults = declaration_faults(plugin)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a stranger's module may do anything, SystemExit included
        return f"{type(error).__name__}: {error}"[:1000]
    if faults:
        return "; ".join(faults)
    if plugin.key != point.name:
        return f"its key is {plugin.key!r}, its entry point is called {point.name!r}: they must be the same"
    if plugins.get(plugin.key, plugin) is not plugin:
        return f"the key {plugin.key!r} belongs to {plugins[plugin.key].__module__} already"
    plugins[plugin.key] = plugin
    return ""


def declaration_faults(plugin: object) -> list[str]:
    """What a class lacks to be a plugin; empty when it declares all it must."""
    if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
        return [f"{plugin!r:.100} is not a subclass of bursar.plugins.contract.Plugin"]
    faults = []
    for name in ("key", "title", "summary", "version"):
        value = getattr(plugin, name, None)
        if not isinstance(value, str) or not value:
            faults.append(f"{name} is missing")
    key = getattr(plugin, "key", "")
    if isinstance(key, str) and key and not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", key):
        faults.append(f"the key {key!r} is not of the form a-z, 0-9 and _")
    settings = getattr(plugin, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, BackendSettings)):
        faults.append("Settings is not a subclass of BackendSettings")
    keys = [component.key for component in plugin.default_components]
    if len(keys) != len(set(keys)):
        faults.append("two default components have the same key")
    if plugin.check_health is Plugin.check_health:
        faults.append("check_health is missing")
    if "provisions" not in abilities(plugin):
        faults.append("ensure, remove and observe are missing: nothing could be provisioned")
    return faults
