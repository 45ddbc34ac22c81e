"""The command `bursar`. Django is set up only by the commands that need it, so that `--help` is quick."""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer
from rich.console import Console

from bursar.config import environment
from bursar.config.home import default_home, home

P = ParamSpec("P")

app = typer.Typer(
    name="bursar",
    help="The marketplace and the accounting office of shared research computing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
demo = typer.Typer(
    help="A small nation to try things out with; never part of a real installation.", no_args_is_help=True
)
app.add_typer(demo, name="demo")

# The agent's extra does not bring the server's libraries: there `bursar` knows `agent` alone.
HAS_SERVER = find_spec("django") is not None
# Commands that live beside the code they serve: (name, module, attribute).
EXTENSIONS: tuple[tuple[str, str, str], ...] = (
    ("agent", "bursar.agent.cli", "app"),
    ("keys", "bursar.config.keys_cli", "app"),
    ("ledger", "bursar.config.ledger_cli", "app"),
    ("feed", "bursar.config.feed_cli", "app"),
    ("invoice", "bursar.config.invoice_cli", "app"),
)
for _name, _module, _attribute in EXTENSIONS:
    if HAS_SERVER or _name == "agent":
        app.add_typer(getattr(import_module(_module), _attribute), name=_name)

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def main() -> None:
    if not HAS_SERVER:
        app.registered_commands.clear()
        app.registered_groups = [group for group in app.registered_groups if group.name == "agent"]
    app()


def fail(message: str) -> NoReturn:
    err.print(message, style="red", markup=False, soft_wrap=True)
    raise typer.Exit(1)


def with_django(command: Callable[P, Any]) -> Callable[P, Any]:
    """Have the database running and Django set up before the command begins."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> Any:
        setup()
        return command(*args, **kwargs)

    return wrapped


def setup(*, database: bool = True) -> None:
    from bursar.config import postgres

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bursar.config.settings")
    # A process that SIGTERM ends at once would not leave the embedded database in good order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if database:
            postgres.ensure_running()
        import django

        django.setup()
    except (postgres.EmbeddedServerFailed, PermissionError, ValueError) as error:
        fail(str(error))


# ------------------------------------------------------------------------------------------------ an installation


@app.command()
def init(
    email: Annotated[str, typer.Option(help="The first operator's mail address; asked for when left out.")] = "",
    name: Annotated[str, typer.Option(help="The first operator's full name.")] = "",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from standard input.")
    ] = False,
    base_url: Annotated[str, typer.Option(help="The address people will use, such as https://bursar.example.org")] = "",
    operator: Annotated[bool, typer.Option(help="Make the first operator's account.")] = True,
) -> None:
    """Set up an installation: its folder, keys, configuration, tables and first operator. Safe to repeat."""
    from bursar.config import setting_up

    setting_up.make_home(home(), base_url=base_url)
    environment.reload()
    setup()
    setting_up.upgrade(say=out.print)
    if operator and not setting_up.has_operator():
        if not email and not sys.stdin.isatty():
            fail(
                "Nobody can log in yet. Name the first operator: bursar init --email ADDRESS --name NAME --password-stdin"
            )
        email = email or typer.prompt("First operator's mail address")
        name = name or (typer.prompt("Full name") if sys.stdin.isatty() and not password_stdin else email.split("@")[0])
        password = (
            sys.stdin.readline().rstrip("\n")
            if password_stdin
            else typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        )
        problems = setting_up.make_operator(email=email, full_name=name, password=password)
        if problems:
            fail("\n".join(problems))
        out.print(f"{email} is the platform's operator.")
    out.print(f"Ready in {home()}. Now run: bursar serve, and beside it: bursar worker")


@app.command()
@with_django
def upgrade() -> None:
    """Bring tables and page assets up to this version. Run it after each update, before `serve`."""
    from bursar.config import setting_up

    setting_up.upgrade(say=out.print)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="The address to listen on; behind a proxy the default is right.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", min=1, max=65535)] = 8000,
    processes: Annotated[int, typer.Option(envvar="BURSAR_WEB_PROCESSES", min=1)] = 1,
) -> None:
    """Serve pages and API."""
    os.environ["PORT"] = str(port)
    setup()
    from django.conf import settings

    from bursar.config import installation

    if settings.DEMO and host not in {"127.0.0.1", "::1", "localhost"}:
        fail("The demo lets anybody in as anybody, so it answers on this machine only.")
    if not installation.is_current():
        fail("The database is behind this version: run `bursar upgrade` first.")
    if not installation.assets_built():
        fail("The page assets are not built: run `make assets` in a source tree.")
    installation.publish_assets()
    installation.close_connections()
    import uvicorn

    uvicorn.run(
        "bursar.config.asgi:application", host=host, port=port, workers=processes if processes > 1 else None,
        lifespan="off", ws="none", log_level="warning", access_log=False, server_header=False,
        proxy_headers=environment.flag("BURSAR_BEHIND_PROXY"),
        timeout_graceful_shutdown=5,  # a page that listens for news would otherwise keep us
    )  # fmt: skip


@app.command()
@with_django
def worker(
    concurrency: Annotated[int, typer.Option(envvar="BURSAR_WORKER_CONCURRENCY", min=1)] = 4,
    once: Annotated[bool, typer.Option("--once", help="Do what is waiting, then end.")] = False,
) -> None:
    """Do the jobs: provisioning, usage, mail, what happens at a time of day."""
    import asyncio

    from procrastinate.contrib.django import app as jobs
    from procrastinate.contrib.django.django_connector import DjangoConnector

    from bursar.config import installation

    if not installation.is_current():
        fail("The database is behind this version: run `bursar upgrade` first.")
    installation.close_connections()
    assert isinstance(jobs.connector, DjangoConnector)
    connector = jobs.connector.get_worker_connector()
    installation.settle_memory()

    async def work() -> None:
        with jobs.replace_connector(connector) as connected:
            async with connected.open_async():
                await connected.run_worker_async(
                    concurrency=concurrency, wait=not once, listen_notify=not once,
                    # A job that does not end in time is taken up again by the next worker.
                    shutdown_graceful_timeout=8,
                )  # fmt: skip

    asyncio.run(work())


@app.command()
def doctor() -> None:
    """Look at the installation and say what is wrong with it and what to do about it."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bursar.config.settings")
    setup(database=False)
    from bursar.config.doctor import Verdict, examine

    marks = {
        Verdict.OK: ("ok     ", "green"),
        Verdict.WARNING: ("warning", "yellow"),
        Verdict.ERROR: ("ERROR  ", "bold red"),
    }
    errors = 0
    for finding in examine():
        word, style = marks[finding.verdict]
        errors += finding.verdict == Verdict.ERROR
        out.print(word, style=style, end="  ")
        out.print(f"{finding.subject:<12} {finding.text}", markup=False, soft_wrap=True)
        if finding.remedy:
            out.print(f"{'':<22}-> {finding.remedy}", markup=False, soft_wrap=True)
    if errors:
        raise typer.Exit(1)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def manage(context: typer.Context) -> None:
    """Run one of Django's own commands: bursar manage shell, bursar manage makemigrations ..."""
    setup()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["bursar manage", *context.args])


# ------------------------------------------------------------------------------------------------ the demo


def _demo_environment() -> Path:
    """The demo lives apart from a real installation of the same user."""
    if not environment.read("BURSAR_HOME"):
        os.environ["BURSAR_HOME"] = str(default_home().with_name("bursar-demo"))
    os.environ["BURSAR_DEMO"] = "1"
    os.environ.setdefault("BURSAR_MAIL_URL", (home() / "mail").as_uri())
    environment.reload()
    return home()


@demo.command("run")
def demo_run() -> None:
    """Start the demo and keep it running until Ctrl-C."""
    from bursar.config.demo import running

    folder = _demo_environment()
    try:
        running.run(folder, say=lambda text: out.print(text, markup=False, soft_wrap=True))
    except running.CannotRun as error:
        fail(str(error))


@demo.command("load")
def demo_load() -> None:
    """Fill the demo's database with the demo world, unless it is there already."""
    from bursar.config.demo import running

    running.claim_home(_demo_environment())
    setup()
    running.load_world(say=lambda text: out.print(text, markup=False, soft_wrap=True))


@demo.command("reset")
def demo_reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Throw the demo's data away."""
    from bursar.config.demo import running

    folder = _demo_environment()
    if not yes:
        typer.confirm(f"Throw away the demo's data in {folder}?", abort=True)
    try:
        running.reset(folder)
    except running.CannotRun as error:
        fail(str(error))
    out.print("The demo's data are gone.")
