"""Where an installation keeps its files: keys, configuration, the embedded database, sent mail of a demo."""

import os
from pathlib import Path


def default_home() -> Path:
    """The folder used when BURSAR_HOME is not set.

    Never below root's home: the embedded PostgreSQL runs as another user there, and would need root's home opened.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/bursar")
    return (Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")) / "bursar"


def home() -> Path:
    """The installation's folder, absolute; it need not exist yet."""
    stated = os.environ.get("BURSAR_HOME")
    return Path(stated).expanduser().absolute() if stated else default_home()
