"""The backend's HTTP face: a small token-protected API for the plugin, and one page for people.

It listens on the loopback interface only and answers only to loopback host names, so that no page from elsewhere can
reach it under a name of its own (DNS rebinding).
"""

import hashlib
import hmac
import json
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ValidationError

from bursar.plugins.simulator import wire
from bursar.plugins.simulator.backend import page
from bursar.plugins.simulator.backend.world import Forbidden, Unknown, World

BODY_BYTES_MAX: Final = wire.MESSAGE_BYTES_MAX
SOCKET_SECONDS: Final = 15
TICK_SECONDS: Final = 0.5
LOOPBACK_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Trouble:
    """What the next calls suffer, for training and tests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: wire.TroubleWanted | None = None
        self._left = 0

    def set(self, wanted: wire.TroubleWanted) -> None:
        with self._lock:
            self._wanted, self._left = wanted, wanted.calls

    def take(self, path: str) -> wire.TroubleWanted | None:
        with self._lock:
            wanted = self._wanted
            if wanted is None or self._left == 0 or not path.startswith(wanted.path):
                return None
            self._left -= 1
            return wanted


class Server(ThreadingHTTPServer):
    """One world behind one port. `token` opens the API."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, port: int, world: World, token: str) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.world = world
        self.token = token
        self.trouble = Trouble()
        self._stopping = threading.Event()

    def keep_time(self) -> None:
        """Let things happen although nobody asks; ends with `stop`."""
        while not self._stopping.wait(TICK_SECONDS):
            self.world.tick()

    def stop(self) -> None:
        self._stopping.set()
        self.shutdown()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A caller that hangs up is its own affair; anything else is a bug and is shown.
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "BursarSimulator"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = SOCKET_SECONDS

    def do_GET(self) -> None:
        self._answer()

    do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815  the names http.server looks for

    def log_message(self, *_: Any) -> None:
        pass

    # ------------------------------------------------------------------------------------------------------- the roads

    def _answer(self) -> None:
        host = self.headers.get("Host", "")
        if host.rsplit(":", 1)[0].lower() not in LOOPBACK_HOSTS and host.lower() not in LOOPBACK_HOSTS:
            said = b"This simulator answers on this machine only.\n"
            self._send(HTTPStatus.MISDIRECTED_REQUEST, "text/plain", said, close=True)
            return
        body = self._body()
        if body is None:
            return
        path = urlsplit(self.path).path
        if path.startswith("/v1/"):
            self._answer_api(path, body)
        else:
            self._answer_page(path, body)

    def _answer_api(self, path: str, body: bytes) -> None:
        given = self.headers.get("Authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self.server.token}".encode()):
            self._problem(HTTPStatus.UNAUTHORIZED, "the token is missing or wrong")
            return
        trouble = None if path == "/v1/trouble" else self.server.trouble.take(path)
        if trouble is not None:
            if trouble.kind == "slow":
                time.sleep(trouble.seconds)
            elif trouble.kind == "fail":
                self._problem(HTTPStatus.INTERNAL_SERVER_ERROR, "injected trouble: fail")
                return
            elif trouble.kind == "refuse":
                self._problem(HTTPStatus.UNPROCESSABLE_ENTITY, "injected trouble: refuse")
                return
        try:
            answer = _call(self.server, self.command, path, body)
        except Unknown as error:
            self._problem(HTTPStatus.NOT_FOUND, str(error))
        except Forbidden as error:
            self._problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except ValidationError as error:
            where = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
            self._problem(HTTPStatus.UNPROCESSABLE_ENTITY, where[:1000])
        else:
            if trouble is not None and trouble.kind == "drop":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            elif trouble is not None and trouble.kind == "garbage":
                self._send(HTTPStatus.OK, "application/json", b'{"certainly": not json')
            elif answer is None:
                self._problem(HTTPStatus.NOT_FOUND, "there is no such call")
            else:
                self._send(HTTPStatus.OK, "application/json", answer.encode())

    def _answer_page(self, path: str, body: bytes) -> None:
        world = self.server.world
        if self.command == "GET" and path == "/":
            job = _whole(parse_qs(urlsplit(self.path).query).get("job", [""])[0])
            self._show(f"Job {job} is submitted." if job else "")
        elif self.command == "GET" and path == "/live":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", page.live(world).encode())
        elif self.command == "POST" and path == "/submit":
            self._submit(body)
        else:
            self._send(HTTPStatus.NOT_FOUND, "text/plain", b"There is nothing here.\n")

    def _submit(self, body: bytes) -> None:
        """A job from the page. Only the page itself can send it: it alone can read the form token."""
        world = self.server.world
        form = {key: values[0] for key, values in parse_qs(body.decode("utf-8", "replace"), max_num_fields=20).items()}
        origin = self.headers.get("Origin")
        own = origin is None or urlsplit(origin).netloc == self.headers.get("Host")
        if not own or not hmac.compare_digest(form.get("token", "").encode(), _form_token(world).encode()):
            self._send(HTTPStatus.FORBIDDEN, "text/plain", b"Open the page again and submit the job from there.\n")
            return
        try:
            account, _, username = form.get("who", "").partition("/")
            job = world.submit_job(
                wire.JobWanted(
                    account=account,
                    username=username,
                    name=form.get("name", "").strip() or "job",
                    cores=_whole(form.get("cores", "")),
                    seconds=_whole(form.get("seconds", "")),
                )
            )
        except (Unknown, Forbidden) as error:
            self._show(f"Not submitted: {error}.")
        except ValidationError:
            self._show("Not submitted: choose an account, and give whole cores and seconds of at least 1.")
        else:
            self.send_response(HTTPStatus.SEE_OTHER)
            self.send_header("Location", f"/?job={job.id}")
            self.send_header("Content-Length", "0")
            self.end_headers()

    def _show(self, said: str) -> None:
        nonce = secrets.token_urlsafe(12)
        html = page.whole(self.server.world, form_token=_form_token(self.server.world), nonce=nonce, said=said)
        self._send(HTTPStatus.OK, "text/html; charset=utf-8", html.encode(), nonce=nonce)

    # --------------------------------------------------------------------------------------------------------- the wire

    def _body(self) -> bytes | None:
        """The request's body; None when it was refused and answered."""
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdigit():
            self._send(HTTPStatus.LENGTH_REQUIRED, "text/plain", b"A plain Content-Length is needed.\n", close=True)
            return None
        if int(length) > BODY_BYTES_MAX:
            self._send(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "text/plain", b"Too large.\n", close=True)
            return None
        return self.rfile.read(int(length))

    def _problem(self, status: HTTPStatus, error: str) -> None:
        self._send(status, "application/json", wire.Problem(error=error).model_dump_json().encode())

    def _send(self, status: HTTPStatus, kind: str, body: bytes, *, nonce: str = "", close: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "same-origin")
        source = f"'nonce-{nonce}'" if nonce else "'none'"
        self.send_header(
            "Content-Security-Policy",
            f"default-src 'none'; style-src {source}; script-src {source}; connect-src 'self'; form-action 'self'; "
            "frame-ancestors 'none'; base-uri 'none'",
        )
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)


def _form_token(world: World) -> str:
    return hmac.new(world.form_secret.encode(), b"submit a job", hashlib.sha256).hexdigest()


def _whole(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0


# ------------------------------------------------------------------------------------------------------------- the API

_ACCOUNT: Final = r"/v1/accounts/(?P<name>[a-z][a-z0-9_-]{0,62})"


def _call(server: Server, method: str, path: str, body: bytes) -> str | None:
    """Answer one API call with JSON; None when there is no such call."""
    for wanted_method, pattern, call in _CALLS:
        found = re.fullmatch(pattern, path)
        if found is not None and method == wanted_method:
            answer = call(server, body, **found.groupdict())
            if isinstance(answer, BaseModel):
                return answer.model_dump_json()
            return json.dumps([item.model_dump() for item in answer])
    return None


def _set_trouble(server: Server, body: bytes) -> wire.TroubleWanted:
    wanted = wire.TroubleWanted.model_validate_json(body)
    server.trouble.set(wanted)
    return wanted


def _set_quota(server: Server, body: bytes, name: str) -> wire.AccountShown:
    return server.world.set_quota(name, wire.QuotaWanted.model_validate_json(body))


_CALLS: Final[tuple[tuple[str, str, Callable[..., Any]], ...]] = (
    ("GET", r"/v1/info", lambda s, b: s.world.info()),
    (
        "PUT",
        r"/v1/people/(?P<person>\d{1,18})",
        lambda s, b, person: s.world.ensure_person(int(person), wire.PersonWanted.model_validate_json(b)),
    ),
    ("GET", r"/v1/accounts", lambda s, b: s.world.accounts()),
    ("GET", _ACCOUNT, lambda s, b, name: s.world.account(name)),
    ("PUT", _ACCOUNT, lambda s, b, name: s.world.ensure_account(name, wire.AccountWanted.model_validate_json(b))),
    ("DELETE", _ACCOUNT, lambda s, b, name: s.world.close_account(name)),
    (
        "PUT",
        _ACCOUNT + "/members",
        lambda s, b, name: s.world.set_members(name, wire.MembersWanted.model_validate_json(b).usernames),
    ),
    ("PUT", _ACCOUNT + "/quota", _set_quota),
    (
        "PUT",
        _ACCOUNT + "/paused",
        lambda s, b, name: s.world.set_paused(name, paused=wire.Switch.model_validate_json(b).on),
    ),
    (
        "PUT",
        _ACCOUNT + "/pretend-users",
        lambda s, b, name: s.world.set_pretend_users(name, on=wire.Switch.model_validate_json(b).on),
    ),
    (
        "PUT",
        _ACCOUNT + "/machine",
        lambda s, b, name: s.world.ensure_machine(name, wire.MachineWanted.model_validate_json(b)),
    ),
    ("POST", _ACCOUNT + "/machine/restart", lambda s, b, name: s.world.restart_machine(name)),
    ("GET", _ACCOUNT + "/jobs", lambda s, b, name: s.world.jobs(name, newest=1000)),
    ("POST", r"/v1/jobs", lambda s, b: s.world.submit_job(wire.JobWanted.model_validate_json(b))),
    ("GET", r"/v1/jobs/(?P<job>\d{1,18})", lambda s, b, job: s.world.job(int(job))),
    ("DELETE", r"/v1/jobs/(?P<job>\d{1,18})", lambda s, b, job: s.world.cancel_job(int(job))),
    ("POST", r"/v1/usage", lambda s, b: s.world.usage(wire.UsageAsked.model_validate_json(b))),
    ("POST", r"/v1/trouble", _set_trouble),
)
