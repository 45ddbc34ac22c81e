"""What has to be said to reach a simulator."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from bursar.kernel.i18n import N_
from bursar.plugins.contract import BackendSettings

LOOPBACK_HOSTS = ("127.0.0.1", "localhost")


class SimulatorSettings(BackendSettings):
    url: str = Field(
        default="http://127.0.0.1:8790",
        title=N_("Address"),
        description=N_("Where the simulator listens; it only ever does so on the server's own machine."),
        max_length=200,
    )
    token: SecretStr = Field(
        title=N_("Token"),
        description=N_("From the file that the simulator keeps beside its state, or what it was given at its start."),
    )
    sells: Literal["hpc", "vm"] = Field(
        default="hpc",
        title=N_("Sells"),
        description=N_("hpc: shares of the pretend cluster; vm: virtual machines of the pretend cloud."),
    )
    timeout_seconds: int = Field(
        default=10,
        ge=1,
        le=60,
        title=N_("Timeout, seconds"),
        description=N_("How long to wait for an answer."),
    )

    @field_validator("url")
    @classmethod
    def _plain_loopback_address(cls, url: str) -> str:
        # Anything else would make the settings page a way to knock on doors inside the operator's network.
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname not in LOOPBACK_HOSTS:
            raise ValueError(f"must be http:// and one of {', '.join(LOOPBACK_HOSTS)}")
        if parts.username is not None or parts.query or parts.fragment or parts.path not in ("", "/"):
            raise ValueError("must be a host and a port and nothing more")
        _ = parts.port  # raises ValueError for a port that is none
        return url.rstrip("/")

    @field_validator("token")
    @classmethod
    def _one_visible_word(cls, token: SecretStr) -> SecretStr:
        # It travels in a header: a line break in it would be refused there, with the token in the message.
        text = token.get_secret_value()
        if not text or not text.isascii() or not text.isprintable() or " " in text or len(text) > 500:
            raise ValueError("must be one word of visible ASCII characters")
        return token
