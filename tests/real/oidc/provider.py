"""Starts the OpenID Connect provider beside this file, and walks its pages as a browser does."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

HERE = Path(__file__).parent


def _path() -> str:
    """Where node and npm are: on the machine, or in the wheel beside our Python."""
    return os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])


def missing() -> str:
    """Why the provider cannot run here; empty when it can. Its packages are installed when they are not there yet."""
    for program in ("node", "npm"):
        if shutil.which(program, path=_path()) is None:
            return f"{program} is not on this machine"
    if not (HERE / "node_modules" / "oidc-provider").exists():
        npm = shutil.which("npm", path=_path())
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            check=False,
            cwd=HERE,
            env={**os.environ, "PATH": _path()},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if done.returncode:
            return f"its packages could not be installed: {done.stderr[-300:]}"
    return ""


@contextmanager
def running(users: Mapping[str, Mapping[str, object]], redirect_uri: str) -> Iterator[str]:
    """A provider with these people and the client "bursar"; the address of its issuer."""
    client = {
        "client_id": "bursar",
        "client_secret": "a secret between the two of us",
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
    }
    process = subprocess.Popen(
        [shutil.which("node", path=_path()), "server.mjs"],
        cwd=HERE,
        env={**os.environ, "PORT": "0", "USERS": json.dumps(users), "CLIENTS": json.dumps([client])},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        issuer = process.stdout.readline().strip()
        assert issuer.startswith("http://127.0.0.1:"), "the provider did not start"
        yield issuer
    finally:
        process.terminate()
        process.communicate(timeout=10)


class Browser:
    """Follows links, forms and redirects between us and the provider, with the cookies of both."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.client = httpx.Client(follow_redirects=True, timeout=20, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        return self.client.get(urljoin(self.base, path))

    def submit(self, page: httpx.Response, action: str, **fields: str) -> httpx.Response:
        """Send the form of the page whose address contains `action`, with its hidden fields."""
        for form in re.finditer(r"<form[^>]*action=\"([^\"]*)\"[^>]*>(.*?)</form>", page.text, re.DOTALL):
            if action in unescape(form[1]):
                hidden = {}
                for tag in re.findall(r"<input[^>]*>", form[2]):
                    given = dict(re.findall(r"(type|name|value)=\"([^\"]*)\"", tag))
                    if given.get("type") == "hidden":
                        hidden[given["name"]] = unescape(given.get("value", ""))
                address = urljoin(str(page.url), unescape(form[1]))
                return self.client.post(
                    address,
                    data={**hidden, **fields},
                    headers={"Referer": str(page.url), "Origin": self._origin(address)},
                )
        raise AssertionError(f"no form to {action} on {page.url}: {page.text[:2000]}")

    @staticmethod
    def _origin(address: str) -> str:
        parts = urlsplit(address)
        return f"{parts.scheme}://{parts.netloc}"

    def leave(self, page: httpx.Response) -> httpx.Response:
        """Go where the page refreshes to, as a browser does by itself."""
        found = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', page.text)
        assert found, f"{page.url} leads nowhere: {page.text[:2000]}"
        return self.client.get(unescape(found[1]))

    def log_in_at_provider(self, page: httpx.Response, login: str) -> httpx.Response:
        """Answer the provider's login and consent pages until it sends us back."""
        for _ in range(4):
            if str(page.url).startswith(self.base):
                return page
            prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
            assert prompt, f"the provider says: {page.text[:2000]}"
            fields = {"login": login, "password": "any"} if prompt[1] == "login" else {}
            page = self.submit(page, "/interaction/", **fields)
        raise AssertionError("the provider asks without end")

    def log_in(self, login: str, *, next_page: str = "") -> httpx.Response:
        """From our login page by the provider and back."""
        page = self.get("/account/login/" + (f"?next={next_page}" if next_page else ""))
        return self.log_in_at_provider(self.leave(self.submit(page, "/account/oidc/campus/login/")), login)
