"""`bursar agent check`: what would not work, in words, before anything is changed."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from bursar import __version__
from bursar.agent.client import Away, Client, Refused
from bursar.agent.configuration import Configuration, Wrong
from bursar.agent.store import InUse, Store
from bursar.plugins.contract import Finding, Severity
from bursar.plugins.steps import Unreachable, asked

CLOCK_SECONDS = 60
NEEDED = ("may_read", "may_manage_backends", "may_report_usage")


def findings(configuration: Configuration, path: Path) -> Iterator[Finding]:
    """One after the other, so that a slow one is seen to be under way."""
    yield _private(path, "Configuration")
    yield from _folder(configuration)
    try:
        token = configuration.token()
        yield _private(configuration.server.token_file, "Token file")
    except Wrong as error:
        yield Finding(
            Severity.BROKEN, "Token", str(error), "Make one under “API tokens”, with the scopes provider and usage."
        )
        return
    client = Client(configuration.server, token, version=__version__)
    try:
        yield from _server(client, configuration)
    finally:
        client.close()
    for part in configuration.backend:
        try:
            plugin = configuration.plugin(part)
            health = asked(plugin.check_health)
        except (Wrong, Unreachable) as error:
            yield Finding(Severity.BROKEN, part.name, str(error))
            continue
        for found in health.findings:
            yield Finding(found.severity, f"{part.name}: {found.subject}", found.message, found.advice)
        if not health.findings:
            yield Finding(Severity.OK, part.name, f"{part.plugin} {health.version}: nothing to complain of")


def _private(path: Path, subject: str) -> Finding:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return Finding(Severity.BROKEN, subject, f"{path}: {error.strerror}")
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        return Finding(Severity.WARNING, subject, f"Others may read or change {path}.", f"chmod 640 {path}")
    return Finding(Severity.OK, subject, f"{path} is readable, and private")


def _folder(configuration: Configuration) -> Iterator[Finding]:
    folder = configuration.agent.folder
    if not folder.exists() and os.access(folder.parent, os.W_OK):
        yield Finding(Severity.OK, "Folder", f"{folder} will be made")
        return
    try:
        store = Store(folder)
    except InUse:
        yield Finding(Severity.OK, "Folder", f"{folder} is in use by a running agent")
        return
    except OSError as error:
        yield Finding(Severity.BROKEN, "Folder", f"{folder}: {error.strerror}", "Let the agent's user own it.")
        return
    spool = store.spool()
    store.close()
    yield Finding(Severity.OK, "Folder", f"{folder}: {spool['count']} records wait to be told")


def _server(client: Client, configuration: Configuration) -> Iterator[Finding]:
    try:
        rights = client.get("/provider/agent/rights")
    except Away as error:
        yield Finding(
            Severity.BROKEN, "Bursar", f"{configuration.server.url} does not answer: {error}",
            "Look at the address, the proxy (HTTPS_PROXY) and the firewall; only outgoing calls are needed.",
        )  # fmt: skip
        return
    except Refused as refusal:
        advice = "Make a new token and put it into the token file." if refusal.status == 401 else ""
        yield Finding(Severity.BROKEN, "Token", refusal.detail, advice)
        return
    yield Finding(Severity.OK, "Bursar", f"{configuration.server.url} answers, for {rights['provider']}")
    ahead = client.server_ahead_seconds
    if ahead is not None and abs(ahead) > CLOCK_SECONDS:
        yield Finding(
            Severity.BROKEN, "Clock", f"The clock here is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} Bursar's.",
            "Let chrony or ntpd set it: usage from the future is not taken.",
        )  # fmt: skip
    else:
        yield Finding(Severity.OK, "Clock", "agrees with Bursar's within a minute")
    missing = [name.removeprefix("may_").replace("_", " ") for name in NEEDED if not rights[name]]
    if missing:
        advice = "It needs the scopes provider and usage, of somebody who is provider manager."
        yield Finding(Severity.BROKEN, "Rights", f"The token may not: {', '.join(missing)}.", advice)
    else:
        yield Finding(
            Severity.OK, "Rights", f"the token may do what is needed, until {rights['expires_at'] or 'it is revoked'}"
        )
    known = {one["name"]: one["plugin"] for one in rights["backends"]}
    for part in configuration.backend:
        if known.get(part.name) != part.plugin:
            told = ", ".join(f"{name} ({plugin})" for name, plugin in known.items()) or "none"
            yield Finding(
                Severity.BROKEN,
                part.name,
                f"The provider has no such backend with the plugin {part.plugin} at its site; it has: {told}.",
                "Make it under Provider, Backends, “runs at the provider's site”.",
            )
