"""`bursar keys`: a new key for the secrets at rest, bringing what is stored up to it, and a new key to sign with.

The order is: `add`, restart every process, `rotate`, and only then may the old key be taken away: a process reads its keys when
it starts.
"""

import os

import typer
from rich.console import Console

from bursar.config import environment
from bursar.config.home import home
from bursar.config.keys import KEYS_FILE

app = typer.Typer(
    help="The keys that encrypt secrets at rest, and those that sign tokens for providers.", no_args_is_help=True
)
out = Console(highlight=False)


@app.command()
def add() -> None:
    """Make a new key that encrypts from the next start on; the others go on decrypting."""
    from cryptography.fernet import Fernet

    key = Fernet.generate_key().decode()
    if environment.read("BURSAR_KEYS"):
        out.print("The keys come from BURSAR_KEYS. Put this one first there, with a comma after it:", markup=False)
        out.print(key, markup=False, soft_wrap=True)
    else:
        path = home() / KEYS_FILE
        before = path.read_text().split() if path.exists() else []
        beside = path.with_name(f"{KEYS_FILE}.new")
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write("\n".join([key, *before]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        out.print(f"A new key stands first in {path}.", markup=False, soft_wrap=True)
    out.print("Restart every process (web and workers), then run: bursar keys rotate", markup=False)


@app.command()
def rotate() -> None:
    """Encrypt backends' secrets and signing keys anew under the first key. Safe to repeat and to break off."""
    from bursar.config.cli import setup

    setup()
    from bursar.catalogue.services import rotate_secrets
    from bursar.kernel.clock import now
    from bursar.provisioning.services.signing import re_encrypt_signing_keys

    done = rotate_secrets(at=now())
    lost = re_encrypt_signing_keys(at=now())
    out.print(f"{done.count} backends’ secrets lie under the first key.", markup=False)
    if done.unreadable:
        out.print(
            f"No key fits these, enter their secrets again: {', '.join(done.unreadable)}.", style="red", markup=False
        )
    if lost:
        told = f"No key opens the signing keys {', '.join(lost)}: make a new one with bursar keys renew --at-once."
        out.print(told, style="red", markup=False)
    if done.unreadable or lost:
        raise typer.Exit(1)
    out.print("Keys after the first may be taken away.", markup=False)


@app.command()
def renew(
    at_once: bool = typer.Option(
        False, "--at-once", help="End the old signing keys now: for when they are lost, or may be known to others."
    ),
) -> None:
    """Make a new key that signs the tokens with which people go to a provider. The old one stays published meanwhile."""
    from bursar.config.cli import setup

    setup()
    from bursar.kernel.clock import now
    from bursar.provisioning.services.signing import make_signing_key

    made = make_signing_key(at_once=at_once, by=None, at=now())
    out.print(
        f"The signing key {made.kid} is published, and signs from {made.signs_from:%Y-%m-%d %H:%M:%S} UTC.",
        markup=False,
    )
