"""`bursar agent check | run | status`."""

import json
import logging
import signal
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from bursar.agent.configuration import PLACE, Configuration, Wrong, read
from bursar.kernel.clock import now

app = typer.Typer(help="Runs plugins at a provider's site; only calls out.", no_args_is_help=True)

ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", envvar="BURSAR_AGENT_CONFIG", help="The agent's TOML file.")
]
MARKS = {"ok": ("ok", typer.colors.GREEN), "warning": ("!!", typer.colors.YELLOW), "broken": ("NO", typer.colors.RED)}


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.secho(message, err=True, fg=typer.colors.RED)
    raise typer.Exit(code)


def _read(path: Path) -> Configuration:
    try:
        return read(path)
    except Wrong as error:
        _fail(str(error), 2)


@app.command()
def check(config: ConfigPath = PLACE) -> None:
    """Say what would not work: address, token, clock, rights, folder, commands. Changes nothing."""
    from bursar.agent.checks import findings
    from bursar.plugins.contract import Severity

    worst = Severity.OK
    order = list(Severity)
    for found in findings(_read(config), config):
        mark, colour = MARKS[found.severity.value]
        typer.secho(f"{mark:>3}  {found.subject}: ", fg=colour, nl=False)
        typer.echo(found.message)
        if found.advice and found.severity is not Severity.OK:
            typer.echo(f"     → {found.advice}")
        worst = max(worst, found.severity, key=order.index)
    raise typer.Exit(1 if worst is Severity.BROKEN else 0)


@app.command()
def run(
    config: ConfigPath = PLACE,
    once: Annotated[bool, typer.Option("--once", help="Do what is to be done now, then end.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v")] = False,
) -> None:
    """Look after the backends named in the file until told to stop (SIGTERM, Ctrl-C)."""
    from bursar import __version__
    from bursar.agent.client import Away, Client, Refused
    from bursar.agent.store import InUse, Store
    from bursar.agent.work import TAKE_OVER_SECONDS, Agent, NotInCharge

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    for noisy in ("httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    configuration = _read(config)
    try:
        store = Store(configuration.agent.folder)
        client = Client(configuration.server, configuration.token(), version=__version__)
    except InUse as error:
        _fail(f"{error}: stop it first.")
    except Wrong as error:
        _fail(str(error), 2)
    except OSError as error:
        _fail(f"{configuration.agent.folder}: {error.strerror}")
    agent = Agent(configuration, client, store, _say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stopping.set())
    pause = 1.0
    try:
        while not agent.stopping.is_set():
            try:
                agent.come_forward()
                pause = 1.0
                if once:
                    agent.run_once()
                    return
                agent.run()
                if agent.stopping.is_set():
                    agent.leave()
            except NotInCharge as error:
                if once:
                    _fail(str(error))
                _say(str(error))
            except Refused as refusal:
                if once:
                    _fail(str(refusal))
                _say(refusal.detail)
                _rest(agent, TAKE_OVER_SECONDS)
            except Away as error:
                if once:
                    _fail(f"Bursar does not answer: {error}")
                _say(f"Bursar does not answer: {error}; trying again in {pause:.0f} s.")
                _rest(agent, pause)
                pause = min(pause * 2, 60)
            except Wrong as error:
                _fail(str(error), 2)
            agent = _renewed(agent)
    finally:
        client.close()
        store.close()


def _renewed(agent: Any) -> Any:
    """A fresh one after the place was lost: what it knew lies in the store."""
    from bursar.agent.work import Agent

    fresh = Agent(agent.configuration, agent.client, agent.store, agent.say)
    fresh.stopping = agent.stopping
    return fresh


def _rest(agent: Any, seconds: float) -> None:
    agent.stopping.wait(seconds)


def _say(message: str) -> None:
    logging.getLogger("bursar.agent").info("%s", message)


@app.command()
def status(
    config: ConfigPath = PLACE, as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False
) -> None:
    """What the agent of this file last knew of itself."""
    from bursar.agent.store import Store

    configuration = _read(config)
    try:
        store = Store(configuration.agent.folder, read_only=True)
        told = store.meta("status")
    except sqlite3.OperationalError:
        _fail(f"There is no agent's folder at {configuration.agent.folder}, or it may not be read.")
    known = json.loads(told) if told else None
    if as_json:
        typer.echo(json.dumps(known, ensure_ascii=False))
        return
    if known is None:
        _fail("This agent has not run yet.")
    age = (now() - datetime.fromisoformat(known["at"])).total_seconds()
    typer.echo(f"as of {known['at']} ({age:.0f} s ago)")
    typer.echo(
        f"feed       read to {known['read_number']}, done to {known['done_number']}, {known['outstanding']} outstanding"
    )
    spool = known["spool"]
    since = f", the oldest since {spool['oldest_at']}" if spool["oldest_at"] else ""
    typer.echo(f"usage      {spool['count']} records wait to be told{since}; {len(spool['stuck'])} cannot be")
    for name, at in known["measured_at"].items():
        typer.echo(f"measured   {name} at {at}")
    for one in known["trouble"]:
        typer.secho(
            f"trouble    {one['subject']} since {one['since']} ({one['attempts']} tries): {one['message']}", fg="yellow"
        )
    for one in known["mended"]:
        typer.echo(f"mended     {one['at']} resource {one['resource']}: {one['what']}")
    for one in known["set_aside"]:
        typer.echo(f"set aside  {one['id']}: {one['why']}")
