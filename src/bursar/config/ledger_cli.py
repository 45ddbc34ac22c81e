"""`bursar ledger`: questions to the accounting ledger that an operator asks."""

import typer

from bursar.config.ledger_backtest import backtest

app = typer.Typer(help="The accounting ledger: what it was, and how well it is foretold.", no_args_is_help=True)
app.command()(backtest)


@app.callback()
def group() -> None:
    """A group stays one with a single command in it."""
