"""`bursar feed bench`: how soon a change reaches the providers that listen."""

import json
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="The feed to providers.", no_args_is_help=True)
out, err = Console(highlight=False), Console(stderr=True, highlight=False)


@app.callback()
def feed() -> None:
    """The feed to providers."""


@app.command()
def bench(
    providers: Annotated[int, typer.Option(min=1, help="How many listen, each by a stream.")] = 200,
    rate: Annotated[int, typer.Option(min=1, help="Changes a second.")] = 50,
    seconds: Annotated[float, typer.Option(min=1, help="For so long.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Measure on a database of its own that is thrown away; server, changes and listeners share this machine."""
    from bursar.config.bench import run

    with run.scratch():
        from bursar.config import environment, postgres
        from bursar.config.cli import setup

        environment.reload()
        setup()
        from bursar.config import installation

        try:
            installation.upgrade_database()
            from bursar.config.bench import feed as bench_of_feed
            from bursar.config.bench.durable import percentile

            listeners = bench_of_feed.make_listeners(providers)
            heard = bench_of_feed.measure(listeners, per_second=rate, seconds=seconds, say=err.print)
        finally:
            installation.close_connections()
            postgres.release()
    figures = {f"p{share}_ms": percentile(heard.seconds, share) * 1000 for share in (50, 90, 99, 100)}
    told = {"providers": providers, "changes_per_second": heard.changes_per_second, "lost": heard.lost, **figures}
    if as_json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        out.print(f"{name:<20}{value:>12,.1f}", markup=False)
