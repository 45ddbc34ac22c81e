"""`python -m bursar.plugins.simulator.backend --port N --state FILE [--speed X]`"""

import argparse
import os
import secrets
import signal
import sys
import threading
from pathlib import Path

from bursar.plugins.simulator.backend.server import Server
from bursar.plugins.simulator.backend.world import StateInUse, World


def _token(path: Path) -> str:
    """The API token kept beside the state, made at the first start, readable by its owner only."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        token = secrets.token_urlsafe(32)
        file.write(token + "\n")
    return token


def _refuse(why: str) -> int:
    sys.stderr.write(f"simulator: {why}\n")
    return 2


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bursar.plugins.simulator.backend",
        description="A pretend cluster and cloud, for trials and training. It listens on this machine only.",
        epilog="The API token is read from the environment variable BURSAR_SIMULATOR_TOKEN; "
        "without it, one is made and kept in the file FILE.token.",
    )
    parser.add_argument("--port", type=int, default=8790, help="TCP port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--state", type=Path, required=True, metavar="FILE", help="where the pretend world is kept")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="pretend seconds per real second")
    options = parser.parse_args()
    if not 0.001 <= options.speed <= 100_000:
        parser.error("--speed is between 0.001 and 100000")
    os.umask(0o077)
    options.state.parent.mkdir(parents=True, exist_ok=True)
    try:
        world = World(options.state, speed=options.speed)
    except StateInUse as error:
        return _refuse(f"{error}. Stop that process first.")
    token = os.environ.get("BURSAR_SIMULATOR_TOKEN") or _token(options.state.with_name(options.state.name + ".token"))
    try:
        server = Server(options.port, world, token)
    except OSError as error:
        world.close()
        return _refuse(f"port {options.port} cannot be used: {error.strerror}.")
    for number in (signal.SIGTERM, signal.SIGINT):
        # shutdown() waits for serve_forever() and must not run in the thread that serves.
        signal.signal(number, lambda *_: threading.Thread(target=server.stop).start())
    ticker = threading.Thread(target=server.keep_time)
    ticker.start()
    # Whoever started us with --port 0 reads the address from here.
    sys.stdout.write(f"simulator (for trials and training): http://127.0.0.1:{server.server_port}/\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.1)
    ticker.join()
    server.server_close()
    world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
