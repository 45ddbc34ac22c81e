"""Calls to the simulator's backend. What it answers is a stranger's word: bounded in time and size, and checked."""

import http.client
import time
from typing import Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from bursar.plugins.contract import BackendUnreachable
from bursar.plugins.simulator import wire
from bursar.plugins.simulator.settings import SimulatorSettings

Answer = TypeVar("Answer", bound=BaseModel)

CHUNK_BYTES: Final = 65_536


class NotThere(Exception):
    """The backend knows no such thing."""


class Rejected(Exception):
    """The backend will not do it; the message is its reason, one line."""


class TokenRefused(BackendUnreachable):
    """The backend is there but does not accept our token: nothing can be done until the settings are mended."""


class Client:
    """One call, one connection; no redirects, no retries: the reconcile loop asks again."""

    def __init__(self, settings: SimulatorSettings) -> None:
        parts = urlsplit(settings.url)
        self._host = parts.hostname or ""
        self._port = parts.port or 80
        self._settings = settings

    def call(self, method: str, path: str, answer: type[Answer], body: BaseModel | None = None) -> Answer:
        """The backend's answer, checked.

        raises   NotThere; Rejected; TokenRefused; BackendUnreachable for everything else that is not a good answer
        """
        status, content = self._exchange(method, path, body)
        if status == http.HTTPStatus.OK:
            return self._checked(answer, content)
        if status == http.HTTPStatus.UNAUTHORIZED:
            raise TokenRefused("The simulator does not accept the token. Check the backend's settings.")
        if status == http.HTTPStatus.NOT_FOUND:
            raise NotThere
        if status == http.HTTPStatus.UNPROCESSABLE_ENTITY:
            raise Rejected(one_line(self._checked(wire.Problem, content).error))
        raise BackendUnreachable(f"The simulator at {self._settings.url} answered with status {status}.")

    def _exchange(self, method: str, path: str, body: BaseModel | None) -> tuple[int, bytes]:
        deadline = time.monotonic() + self._settings.timeout_seconds
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._settings.timeout_seconds)
        try:
            connection.request(
                method,
                path,
                body=None if body is None else body.model_dump_json().encode(),
                headers={"Authorization": f"Bearer {self._settings.token.get_secret_value()}"},
            )
            response = connection.getresponse()
            content = bytearray()
            while chunk := response.read1(CHUNK_BYTES):
                content += chunk
                if len(content) > wire.MESSAGE_BYTES_MAX:
                    raise BackendUnreachable(f"The simulator at {self._settings.url} answered more than can be right.")
                if time.monotonic() > deadline:
                    raise TimeoutError
            return response.status, bytes(content)
        except (OSError, http.client.HTTPException) as error:
            why = "did not answer in time" if isinstance(error, TimeoutError) else "did not answer"
            raise BackendUnreachable(f"The simulator at {self._settings.url} {why}. Is it running?") from None
        finally:
            connection.close()

    def _checked(self, answer: type[Answer], content: bytes) -> Answer:
        try:
            return answer.model_validate_json(content)
        except ValidationError:
            raise BackendUnreachable(
                f"The thing at {self._settings.url} does not answer as a simulator of this version does."
            ) from None


def one_line(text: str) -> str:
    """A stranger's text for a log or a page: printable, on one line, not long."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]
