"""A really running simulator backend, as a process of its own, for tests."""

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bursar.plugins.simulator.plugin import SimulatorPlugin
from bursar.plugins.simulator.settings import SimulatorSettings

TOKEN = "sim-test-token-7f3a"


@dataclass
class Backend:
    """One backend process on a free port; `kill` and `start` again keep state and port."""

    state: Path
    speed: float = 1.0
    port: int = 0
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> "Backend":
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "bursar.plugins.simulator.backend",
                "--port", str(self.port), "--state", str(self.state), "--speed", str(self.speed),
            ],
            env={**os.environ, "BURSAR_SIMULATOR_TOKEN": TOKEN},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        if found is None:
            _, trouble = self.process.communicate(timeout=10)
            raise RuntimeError(f"the backend did not start: {line}{trouble}")
        self.port = int(found[1])
        return self

    def stop(self) -> str:
        """End it politely; what it wrote to its error stream."""
        return self._end(lambda process: process.terminate())

    def kill(self) -> str:
        return self._end(lambda process: process.kill())

    def _end(self, how: Callable[[subprocess.Popen[str]], None]) -> str:
        process, self.process = self.process, None
        if process is None:
            return ""
        how(process)
        _, trouble = process.communicate(timeout=10)
        return trouble

    def settings(self, **changes: Any) -> SimulatorSettings:
        return SimulatorSettings.model_validate({"url": f"http://127.0.0.1:{self.port}", "token": TOKEN, **changes})

    def plugin(self, **changes: Any) -> SimulatorPlugin:
        return SimulatorPlugin(self.settings(**changes))

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One API call as any client makes it; the decoded answer. Fails unless it is answered with 200."""
        status, content, _ = self.raw(method, path, None if body is None else json.dumps(body))
        assert status == 200, content
        return json.loads(content)

    def raw(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, str, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            given = {"Authorization": f"Bearer {TOKEN}"} if headers is None else headers
            connection.request(method, path, body=body, headers=given)
            response = connection.getresponse()
            return response.status, response.read().decode(), dict(response.getheaders())
        finally:
            connection.close()

    def submit(self, account: str, username: str, cores: int, seconds: int, name: str = "trial") -> int:
        job = {"account": account, "username": username, "cores": cores, "seconds": seconds, "name": name}
        return int(self.call("POST", "/v1/jobs", job)["id"])

    def job(self, job_id: int) -> dict[str, Any]:
        answer = self.call("GET", f"/v1/jobs/{job_id}")
        assert isinstance(answer, dict)
        return answer


def wait_until(holds: Callable[[], bool], *, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError("it did not come true in time")
        time.sleep(0.05)
