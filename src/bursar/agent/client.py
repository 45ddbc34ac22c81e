"""Speaking with Bursar over HTTP. It alone is called, and redirects are not followed."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final
from uuid import UUID

import httpx
from pydantic import SecretStr

from bursar.agent.configuration import Server
from bursar.kernel.clock import now

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_TIMES: Final = httpx.Timeout(30, read=90)


class Away(Exception):
    """Bursar does not answer, or not sensibly: try again later. Nothing is known of whether it heard us."""


class Refused(Exception):
    """Bursar heard us and will not; `code` is stable."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{detail} ({status} {code})")
        self.status, self.code, self.detail = status, code, detail


class Client:
    """One connection pool for all threads of the agent."""

    def __init__(self, server: Server, token: SecretStr, *, version: str) -> None:
        self._base = f"{server.url}/api/v1"
        self._provider = {} if server.provider_id is None else {"provider_id": str(server.provider_id)}
        self._http = httpx.Client(
            timeout=_TIMES,
            follow_redirects=False,
            trust_env=True,  # a proxy is how many sites reach the outside
            verify=True if server.ca_file is None else _context(server),
            headers={"User-Agent": f"bursar-agent/{version}", "Authorization": f"Bearer {token.get_secret_value()}"},
        )
        self.session: UUID | None = None
        self.server_ahead_seconds: float | None = None

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        return self._call("GET", path, query, None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        return self._call("POST", path, {}, {} if body is None else body)

    def put(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call("PUT", path, {}, body)

    def _call(self, method: str, path: str, query: Mapping[str, Any], body: Mapping[str, Any] | None) -> Any:
        headers = {} if self.session is None else {"Bursar-Agent": str(self.session)}
        try:
            answer = self._http.request(
                method, f"{self._base}{path}", params={**self._provider, **query}, json=body, headers=headers
            )
            self._note_clock(answer)
            if len(answer.content) > ANSWER_BYTES_MAX:
                raise Away("the answer is too large")
            if answer.status_code == 204:
                return None
            told = answer.json() if "json" in answer.headers.get("Content-Type", "") else None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Away(f"{type(error).__name__}: {error}"[:300]) from None
        if answer.is_success and told is not None:
            return told
        if 400 <= answer.status_code < 500 and isinstance(told, Mapping) and answer.status_code != 429:
            raise Refused(answer.status_code, str(told.get("code", ""))[:80], str(told.get("detail", ""))[:1000])
        raise Away(f"it answered {answer.status_code}")

    def _note_clock(self, answer: httpx.Response) -> None:
        told = answer.headers.get("Date")
        if told:
            try:
                self.server_ahead_seconds = (parsedate_to_datetime(told) - now()).total_seconds()
            except (TypeError, ValueError):
                self.server_ahead_seconds = None


def _context(server: Server) -> Any:
    import ssl

    return ssl.create_default_context(cafile=str(server.ca_file))
