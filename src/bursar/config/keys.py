"""The installation's keys: Fernet keys that encrypt secrets at rest, and Django's signing key derived from them."""

import hashlib
import os
from pathlib import Path

from cryptography.fernet import Fernet

KEYS_FILE = "keys"


def load_keys(stated: str, home: Path, *, testing: bool = False) -> list[str]:
    """Keys from `BURSAR_KEYS` (comma separated), else from the file in the home, made once with mode 0600.

    The first key encrypts, all decrypt.
    """
    if stated:
        return [key.strip() for key in stated.split(",") if key.strip()]
    if testing:
        return [Fernet.generate_key().decode()]
    path = home / KEYS_FILE
    home.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().split()
    with os.fdopen(handle, "w") as file:
        file.write(Fernet.generate_key().decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return path.read_text().split()


def secret_key(keys: list[str]) -> str:
    """Django's signing key: derived from the oldest key, so that adding a new first key logs nobody out."""
    return hashlib.sha256(b"bursar django signing" + keys[-1].encode()).hexdigest()
