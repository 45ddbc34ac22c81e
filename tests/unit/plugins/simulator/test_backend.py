"""The backend as a process: who may talk to it, what it shows, and that it survives being killed."""

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.unit.plugins.simulator.running import TOKEN, Backend, wait_until

pytestmark = pytest.mark.slow

ACCOUNT = {"kind": "hpc", "title": "Sea ice"}


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    running = Backend(tmp_path_factory.mktemp("simulator") / "state.db", speed=20).start()
    running.call("PUT", "/v1/accounts/r1", ACCOUNT)
    running.call("PUT", "/v1/accounts/r1/members", {"usernames": ["ada"]})
    running.call("PUT", "/v1/accounts/r1/quota", {"available": None, "locked": False})
    yield running
    assert running.stop() == ""


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": ""}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}]
)
def test_call__token_missing_or_wrong__is_refused(backend: Backend, headers: dict[str, str]) -> None:
    before = backend.call("GET", "/v1/accounts")
    status, content, _ = backend.raw("DELETE", "/v1/accounts/r1", headers=headers)
    assert (status, content) == (401, '{"error":"the token is missing or wrong"}')
    assert backend.call("GET", "/v1/accounts") == before


@pytest.mark.parametrize("path", ["/", "/live", "/v1/info"])
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_any__foreign_host_name__is_refused(backend: Backend, path: str, host: str) -> None:
    status, _, _ = backend.raw("GET", path, headers={"Host": host, "Authorization": f"Bearer {TOKEN}"})
    assert status == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8790", "LOCALHOST"])
def test_page__loopback_host_name__is_shown(backend: Backend, host: str) -> None:
    assert backend.raw("GET", "/", headers={"Host": host})[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/info", 404),
        ("GET", "/v1/accounts/R1", 404),
        ("GET", "/v1/accounts/..%2f..", 404),
        ("GET", "/v1/accounts/r404", 404),
        ("GET", "/v1/jobs/404", 404),
        ("DELETE", "/v1/jobs/404", 404),
        ("GET", "/etc/passwd", 404),
        ("PUT", "/v1/accounts/r1", 422),
    ],
)
def test_call__nothing_there_or_no_body__is_answered(backend: Backend, method: str, path: str, status: int) -> None:
    assert backend.raw(method, path)[0] == status


@pytest.mark.parametrize(
    "body",
    [
        "not json",
        "[]",
        "null",
        '{"kind": "hpc"}',
        '{"kind": "hpc", "title": "x", "surprise": 1}',
        '{"kind": "hpc", "title": "two\\nlines"}',
        '{"kind": "hpc", "title": ""}',
        '{"kind": "hpc", "title": "x", "storage_gb": -1}',
        '{"kind": "hpc", "title": "x", "storage_gb": "1"}',
        '{"kind": "hpc", "title": "x", "storage_gb": 9223372036854775808}',
        '{"kind": "hpc", "title": "x", "parent": "../x"}',
    ],
)
def test_put_account__wrong_body__is_refused_and_nothing_changes(backend: Backend, body: str) -> None:
    before = backend.call("GET", "/v1/accounts")
    assert backend.raw("PUT", "/v1/accounts/r9", body)[0] == 422
    assert backend.call("GET", "/v1/accounts") == before


def test_call__body_too_large_or_without_length__is_refused(backend: Backend) -> None:
    auth = {"Authorization": f"Bearer {TOKEN}"}
    assert backend.raw("PUT", "/v1/accounts/r9", headers=auth | {"Content-Length": "99999999"})[0] == 413
    assert backend.raw("PUT", "/v1/accounts/r9", headers=auth | {"Content-Length": "-1"})[0] == 411
    assert backend.raw("PUT", "/v1/accounts/r9", headers=auth | {"Transfer-Encoding": "chunked"})[0] == 411


# ------------------------------------------------------------------------------------------------------------ trouble


def test_trouble__next_two_calls_fail__then_all_is_well(backend: Backend) -> None:
    backend.call("POST", "/v1/trouble", {"kind": "fail", "calls": 2})
    assert [backend.raw("GET", "/v1/info")[0] for _ in range(3)] == [500, 500, 200]


def test_trouble__refuse_one_path__others_are_served(backend: Backend) -> None:
    backend.call("POST", "/v1/trouble", {"kind": "refuse", "calls": 1, "path": "/v1/jobs"})
    assert backend.raw("GET", "/v1/info")[0] == 200
    status, content, _ = backend.raw("GET", "/v1/jobs/1")
    assert (status, content) == (422, '{"error":"injected trouble: refuse"}')


def test_trouble__drop__does_it_and_hangs_up(backend: Backend) -> None:
    backend.call("POST", "/v1/trouble", {"kind": "drop", "calls": 1})
    with pytest.raises(ConnectionError):
        backend.raw("PUT", "/v1/accounts/r77", '{"kind": "hpc", "title": "Dropped"}')
    assert backend.call("GET", "/v1/accounts/r77")["title"] == "Dropped"


# --------------------------------------------------------------------------------------------------------------- page


def form_token(backend: Backend) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', backend.raw("GET", "/", headers={})[1])
    assert found is not None
    return found[1]


def submit(backend: Backend, headers: dict[str, str] | None = None, **form: str) -> tuple[int, str, dict[str, str]]:
    fields = {"who": "r1/ada", "name": "by hand", "cores": "2", "seconds": "10"} | form
    own = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return backend.raw("POST", "/submit", urlencode(fields), own)


def test_page__hostile_title__is_shown_as_text(backend: Backend) -> None:
    backend.call("PUT", "/v1/accounts/r2", {"kind": "hpc", "title": "<script>alert(1)</script> & more"})
    for path in ("/", "/live"):
        content = backend.raw("GET", path, headers={})[1]
        assert "<script>alert" not in content
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in content


def test_page__anything__says_simulator_and_loads_nothing_from_elsewhere(backend: Backend) -> None:
    status, content, headers = backend.raw("GET", "/", headers={})
    assert status == 200
    assert "simulator, for trials and training" in content
    assert re.findall(r"(?:src|href)=|https?://|@import|url\(", content) == []
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert TOKEN not in content


def test_submit__from_the_page__runs_a_job(backend: Backend) -> None:
    status, _, headers = submit(
        backend, token=form_token(backend), headers={"Origin": f"http://127.0.0.1:{backend.port}"}
    )
    assert status == 303
    job = int(headers["Location"].removeprefix("/?job="))
    assert f"Job {job} is submitted." in backend.raw("GET", headers["Location"], headers={})[1]
    wait_until(lambda: backend.job(job)["state"] == "completed")
    assert backend.job(job)["name"] == "by hand"


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_submit__without_the_form_token__is_refused(backend: Backend, token: str) -> None:
    before = backend.call("GET", "/v1/accounts/r1/jobs")
    assert submit(backend, token=token)[0] == 403
    assert [j["id"] for j in backend.call("GET", "/v1/accounts/r1/jobs")] == [j["id"] for j in before]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1"])
def test_submit__from_another_origin__is_refused(backend: Backend, origin: str) -> None:
    before = backend.call("GET", "/v1/accounts/r1/jobs")
    assert submit(backend, token=form_token(backend), headers={"Origin": origin})[0] == 403
    assert [j["id"] for j in backend.call("GET", "/v1/accounts/r1/jobs")] == [j["id"] for j in before]


@pytest.mark.parametrize(
    "form",
    [{"cores": "0"}, {"cores": "x"}, {"cores": "9999"}, {"seconds": "-1"}, {"seconds": "1e9"}, {"who": "r1/eve"},
     {"who": "<b>"}, {"name": "two\nlines"}, {"cores": "１"}],
)  # fmt: skip
def test_submit__wrong_field__says_so_and_submits_nothing(backend: Backend, form: dict[str, str]) -> None:
    before = backend.call("GET", "/v1/accounts/r1/jobs")
    status, content, _ = submit(backend, token=form_token(backend), **form)
    assert (status, "Not submitted" in content) == (200, True)
    assert [j["id"] for j in backend.call("GET", "/v1/accounts/r1/jobs")] == [j["id"] for j in before]


# ---------------------------------------------------------------------------------------------------------- process


def test_process__killed_while_a_job_runs__nothing_is_lost(tmp_path: Path) -> None:
    backend = Backend(tmp_path / "state.db", speed=10).start()
    backend.call("PUT", "/v1/accounts/r1", ACCOUNT)
    backend.call("PUT", "/v1/accounts/r1/members", {"usernames": ["ada"]})
    backend.call("PUT", "/v1/accounts/r1/quota", {"available": 1000, "locked": False})
    job = backend.submit("r1", "ada", cores=2, seconds=20)
    waiting = backend.submit("r1", "ada", cores=512, seconds=20)
    backend.kill()
    backend.start()
    wait_until(lambda: backend.job(job)["state"] == "completed")
    assert backend.job(waiting)["state"] == "pending"
    [sample] = backend.call("POST", "/v1/usage", {"accounts": ["r1"]})["samples"]
    assert (sample["cores"], sample["seconds"], sample["end"] - sample["start"]) == (2, 20, 2_000_000)
    assert backend.stop() == ""


def test_process__second_on_one_state_file__says_so(backend: Backend) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "bursar.plugins.simulator.backend", "--port", "0", "--state", str(backend.state)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 2
    assert second.stderr == f"simulator: another process works with {backend.state}. Stop that process first.\n"


def test_process__port_taken__says_so(backend: Backend, tmp_path: Path) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "bursar.plugins.simulator.backend",
         "--port", str(backend.port), "--state", str(tmp_path / "x.db")],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert second.returncode == 2
    assert second.stderr == f"simulator: port {backend.port} cannot be used: Address already in use.\n"


def test_process__no_token_given__makes_one_for_its_owner_and_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "new folder" / "state.db"
    monkeypatch.setattr("tests.unit.plugins.simulator.running.TOKEN", "")
    backend = Backend(state).start()
    path = state.with_name("state.db.token")
    first = path.read_text()
    backend.stop()
    backend.start()
    assert path.read_text() == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert backend.raw("GET", "/v1/info", headers={"Authorization": f"Bearer {first.strip()}"})[0] == 200
    assert backend.raw("GET", "/v1/info", headers={"Authorization": "Bearer "})[0] == 401
    backend.stop()
