"""The agent's file: where Bursar is, who we are to it, and the backends that are looked after here."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from bursar.plugins import discovery, wire
from bursar.plugins.contract import Plugin

PLACE: Final = Path("/etc/bursar-agent/agent.toml")


class Wrong(Exception):
    """The configuration cannot be used; the message says what to change, and repeats no secret."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, hide_input_in_errors=True)


class Server(_Part):
    """url        of Bursar, such as https://bursar.example.org
    token_file    holds nothing but the token; nobody else may read it
    provider_id   needed only where the token sees several providers
    ca_file       certificates to trust instead of the system's
    """

    url: str
    token_file: Path
    provider_id: int | None = None
    ca_file: Path | None = None

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
        if parts.scheme != "https" and not (parts.scheme == "http" and local):
            raise ValueError("an address that begins with https:// (http:// only for this machine itself)")
        if not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError("an address such as https://bursar.example.org, without user, query or fragment")
        return value.rstrip("/")


class Pace(_Part):
    """folder   the agent's own: its number, its mark, and what was not accepted yet
    host        the name by which it is shown; empty = the machine's
    workers     how many resources are worked at together
    """

    folder: Path = Path("/var/lib/bursar-agent")
    host: str = ""
    workers: int = Field(4, ge=1, le=64)
    usage_every_seconds: int = Field(30, ge=1, le=3600)
    reconcile_every_minutes: float = Field(60, gt=0, le=24 * 60)
    health_every_seconds: int = Field(300, ge=5, le=3600)


class BackendPart(_Part):
    """name     of the backend, as on its page in Bursar
    settings    of its plugin; `{ file = "/path" }` in place of a value takes it from a file
    """

    name: Annotated[str, Field(min_length=1, max_length=120)]
    plugin: str
    settings: dict[str, Any] = {}


class Configuration(_Part):
    server: Server
    agent: Pace = Pace()
    backend: Annotated[list[BackendPart], Field(min_length=1)]

    def token(self) -> SecretStr:
        """raises   Wrong"""
        return SecretStr(_content(self.server.token_file, "server.token_file"))

    def plugin(self, part: BackendPart) -> Plugin:
        """A plugin instance for one piece of work.

        raises   Wrong
        """
        found = discovery.load()
        kind = found.plugins.get(part.plugin)
        if kind is None:
            why = next(
                (w for n, w in found.broken.items() if n.split(" ")[0] == part.plugin), "it is not installed here"
            )
            raise Wrong(f"backend “{part.name}”: the plugin {part.plugin} cannot be used: {why}")
        values = {key: _value(value, f"{part.name}: {key}") for key, value in part.settings.items()}
        try:
            settings = kind.Settings.model_validate(values)
        except ValidationError as error:
            raise Wrong(f"backend “{part.name}”: settings: {wire.where_and_why(error)}") from None
        return kind(settings)


def _value(value: Any, where: str) -> Any:
    if isinstance(value, dict) and set(value) == {"file"}:
        return _content(Path(str(value["file"])), where)
    return value


def _content(path: Path, where: str) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise Wrong(f"{where}: there is no file {path}") from None
    except (PermissionError, IsADirectoryError, UnicodeDecodeError) as error:
        raise Wrong(f"{where}: {path} cannot be read ({type(error).__name__})") from None
    if not text:
        raise Wrong(f"{where}: {path} is empty")
    return text


def read(path: Path) -> Configuration:
    """raises   Wrong"""
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Wrong(f"there is no file {path}; name it with --config") from None
    except (PermissionError, IsADirectoryError) as error:
        raise Wrong(f"{path} cannot be read ({type(error).__name__})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Wrong(f"{path} is not TOML: {error}") from None
    try:
        configuration = Configuration.model_validate(told)
    except ValidationError as error:
        raise Wrong(f"{path}: {wire.where_and_why(error)}") from None
    names = [part.name for part in configuration.backend]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Wrong(f"{path}: backend “{twice[0]}” stands there twice")
    return configuration
