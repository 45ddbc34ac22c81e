"""Reads the settings of an installation: environment variables first, then one file (TOML).

The file is the one that BURSAR_CONFIG names, else bursar.toml in the installation's folder.
"""

import os
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


def _file() -> dict[str, Any]:
    stated = os.environ.get("BURSAR_CONFIG")
    if stated:
        with Path(stated).open("rb") as handle:
            return tomllib.load(handle)
    if "pytest" in sys.modules:  # tests state what they need; an installation of this machine is none of it
        return {}
    from bursar.config.home import home

    try:
        with (home() / "bursar.toml").open("rb") as handle:
            return tomllib.load(handle)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return {}


_FROM_FILE: dict[str, Any] = {}


def reload() -> None:
    """Read the file again: when the folder in which it lies became known, or `bursar init` wrote it."""
    _FROM_FILE.clear()
    _FROM_FILE.update(_file())


def read(name: str, default: str = "") -> str:
    """A setting by its environment name, or its lower-case name without `BURSAR_` in the file."""
    if name in os.environ:
        return os.environ[name]
    key = name.removeprefix("BURSAR_").lower()
    return str(_FROM_FILE.get(key, default))


def table(key: str) -> list[dict[str, Any]]:
    """The tables [[key]] of the file; none when there are none. The environment has no form for them."""
    found = _FROM_FILE.get(key, [])
    return found if isinstance(found, list) else []


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


def mail(url: str) -> dict[str, Any]:
    """Django's mail settings of a URL: smtp://, smtp+starttls:// or smtps://user:password@host:port, file:///folder, console:

    raises   ValueError when it is none of them
    """
    parts = urlsplit(url)
    if parts.scheme in {"", "console"}:
        return {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"}
    if parts.scheme == "file":
        return {
            "EMAIL_BACKEND": "django.core.mail.backends.filebased.EmailBackend",
            "EMAIL_FILE_PATH": unquote(parts.path),
        }
    ports = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
    if parts.scheme not in ports or not parts.hostname:
        raise ValueError("BURSAR_MAIL_URL must begin with smtp://, smtp+starttls://, smtps://, file:// or console:")
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": parts.hostname,
        "EMAIL_PORT": parts.port or ports[parts.scheme],
        "EMAIL_HOST_USER": unquote(parts.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(parts.password or ""),
        "EMAIL_USE_TLS": parts.scheme == "smtp+starttls",
        "EMAIL_USE_SSL": parts.scheme == "smtps",
        "EMAIL_TIMEOUT": 30,
    }


reload()
