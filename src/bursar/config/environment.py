"""Reads the settings of an installation: environment variables first, then the file named by BURSAR_CONFIG (TOML)."""

import os
import tomllib
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


def _file() -> dict[str, Any]:
    path = os.environ.get("BURSAR_CONFIG")
    if not path:
        return {}
    with open(path, "rb") as handle:
        return tomllib.load(handle)


_FROM_FILE = _file()


def read(name: str, default: str = "") -> str:
    """A setting by its environment name, or its lower-case name without `BURSAR_` in the file."""
    if name in os.environ:
        return os.environ[name]
    key = name.removeprefix("BURSAR_").lower()
    return str(_FROM_FILE.get(key, default))


def flag(name: str, default: bool = False) -> bool:
    return read(name, str(default)).strip().lower() in {"1", "true", "yes", "on"}


def database(url: str) -> dict[str, Any]:
    """Django's description of a PostgreSQL given as a URL; the socket folder may stand in `?host=`.

    raises   ValueError when it is not a postgresql:// URL
    """
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ValueError("DATABASE_URL must begin with postgresql://")
    options = dict(parse_qsl(parts.query))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "bursar",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": options.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": str(options.pop("port", None) or parts.port or ""),
        "OPTIONS": options,
    }
