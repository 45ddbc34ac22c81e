"""Brings a bare machine to a running Bursar: environment, page assets, demo, tests. Standard library only.

Each step leaves a stamp made of what it depends on, so that a second run skips what has not changed.
"""

import hashlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
LOCKS = ROOT / "requirements"
ASSETS = ROOT / "src" / "bursar" / "web" / "static" / "dist"
NODE_MAJOR = 20
BEGIN = time.monotonic()

# A build of the project, of a package or of Python itself must not be steered by what happens to be set outside.
# The last: each of a hundred processes would compile all it imports, which is most of what starting one takes.
for _name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "DJANGO_SETTINGS_MODULE", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(_name, None)
# Whom this machine trusts is known to its system; these tools otherwise bring a list of their own.
os.environ.setdefault("UV_SYSTEM_CERTS", "1")
os.environ.setdefault("NODE_USE_SYSTEM_CA", "1")


def stop(message: str) -> NoReturn:
    print(f"\n{message}", file=sys.stderr)
    raise SystemExit(1)


@contextmanager
def step(name: str):
    print(f"  {name:<46}", end="", flush=True)
    begin = time.monotonic()
    try:
        yield
    except BaseException:
        print(" failed", flush=True)
        raise
    print(f"{time.monotonic() - begin:6.1f} s", flush=True)


def run(command: Sequence[str | Path], *, what: str, hint: str = "", env: dict[str, str] | None = None) -> None:
    """Run quietly; on failure show the end of what it said, and what to do."""
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            done = subprocess.run(
                [str(c) for c in command],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})}, check=False,
            )  # fmt: skip
        except OSError as error:
            stop(f"{what} failed: {error}. {hint}")
        if done.returncode != 0:
            output.seek(0)
            tail = "\n".join(f"    {line}" for line in output.read().splitlines()[-25:])
            stop(f"{what} failed (exit code {done.returncode}):\n{tail}\n{hint}")


def digest(files: Iterable[Path], *more: str) -> str:
    total = hashlib.sha256("\0".join(more).encode())
    for file in sorted(files):
        total.update(f"\0{file.relative_to(ROOT)}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


def fresh(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text() == wanted


# ------------------------------------------------------------------------------------------------ Python


def make_environment(kind: str) -> None:
    """Have .venv hold exactly known packages: `server`, or `dev`, which includes it."""
    here = f"{sys.version_info[:3]} {sys.base_prefix}"
    stamp = VENV / "bursar-python"
    if not (PYTHON.exists() and fresh(stamp, here) and works([PYTHON, "-c", ""])):
        with step("Python environment (.venv)"):
            adopt_or_create(stamp, here)
    project = digest([ROOT / "pyproject.toml"], str(ROOT))
    wanted = {k: digest([LOCKS / f"{k}.txt"], project) for k in ("server", "dev")}
    stamps = {k: VENV / f"bursar-{k}" for k in wanted}
    if fresh(stamps["dev"], wanted["dev"]) or (kind == "server" and fresh(stamps["server"], wanted["server"])):
        return
    with step(f"Python packages ({kind}.txt, checked by hash)"):
        install(LOCKS / f"{kind}.txt")
        install_project()
        for old in stamps.values():
            old.unlink(missing_ok=True)
        stamps[kind].write_text(wanted[kind])


def works(command: Sequence[str | Path]) -> bool:
    try:
        return subprocess.run([str(c) for c in command], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def adopt_or_create(stamp: Path, here: str) -> None:
    hint = "On Debian and Ubuntu: apt install python3-venv. Elsewhere: use a Python that has its venv and ensurepip modules."
    if not works([sys.executable, "-c", "import venv, ensurepip"]):
        stop(f"{sys.executable} cannot make virtual environments.\n{hint}")
    if PYTHON.exists() and works([PYTHON, "-c", "import pip, sys; sys.exit(sys.version_info < (3, 11))"]):
        stamp.write_text(here)  # made by hand
        return
    shutil.rmtree(VENV, ignore_errors=True)
    run([sys.executable, "-m", "venv", VENV], what="Making the virtual environment", hint=hint)
    stamp.write_text(here)


def uv() -> Path | None:
    """The fast installer, or None where it cannot be had; pip then does the same."""
    path = VENV / "bin" / "uv"
    if not path.exists():
        works([PYTHON, "-m", "pip", "install", "-q", "--require-hashes", "-r", LOCKS / "uv.txt"])
    return path if path.exists() and works([path, "--version"]) else None


def install(lock: Path) -> None:
    fast = uv()
    if fast and works([fast, "pip", "install", "-q", "--python", PYTHON, "--require-hashes", "-r", lock]):
        return
    # Where only pip knows the way to the packages (a proxy, an index of one's own in its configuration).
    run(
        [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--require-hashes", "-r", lock],
        what="Installing the Python packages",
        hint="Is there a way to a Python package index from here? The hashes that are asked for stand in requirements/.",
    )


def install_project() -> None:
    run(
        [
            PYTHON,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--no-deps",
            "--no-build-isolation",
            "-e",
            ROOT,
        ],
        what="Installing Bursar itself into .venv",
    )


FOCUS = VENV / "focus"


def make_focus() -> str:
    """What judges FOCUS exports needs older packages than we use, so it has an environment of its own. Why not, or ""."""
    stamp, wanted = FOCUS / "bursar-stamp", digest([LOCKS / "focus.txt"], f"{sys.version_info[:3]}")
    if fresh(stamp, wanted):
        return ""
    with step("FOCUS validator (.venv/focus, by hash)"):
        shutil.rmtree(FOCUS, ignore_errors=True)
        python = FOCUS / "bin" / "python"
        if not works([sys.executable, "-m", "venv", FOCUS]):
            return "its environment cannot be made"
        fast, lock = uv(), LOCKS / "focus.txt"
        by_uv = fast and works([fast, "pip", "install", "-q", "--python", python, "--require-hashes", "-r", lock])
        if not by_uv and not works([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", lock]):
            shutil.rmtree(FOCUS, ignore_errors=True)
            return "its packages (requirements/focus.txt) cannot be had here, or not for this Python"
        stamp.write_text(wanted)
    return ""


# ------------------------------------------------------------------------------------------------ pages


def node_version(path: str | None) -> int:
    try:
        said = subprocess.run([path or "node", "--version"], capture_output=True, text=True, check=True).stdout
        return int(said.lstrip("v").split(".")[0])
    except (OSError, ValueError, subprocess.CalledProcessError):
        return 0


def node_environment() -> dict[str, str]:
    """PATH with node and npm on it: the machine's when new enough, else those of a wheel in .venv."""
    path = os.environ.get("PATH", os.defpath)
    if shutil.which("npm") and node_version(shutil.which("node")) >= NODE_MAJOR:
        return {"PATH": path}
    bundled = VENV / "bin"
    if node_version(str(bundled / "node")) < NODE_MAJOR or not (bundled / "npm").exists():
        with step("Node.js from its wheel (none here)"):
            install(LOCKS / "node.txt")
            if node_version(str(bundled / "node")) < NODE_MAJOR:
                stop(
                    f"There is no Node.js {NODE_MAJOR} or later here, and its wheel does not run on this machine: install Node.js."
                )
    return {"PATH": f"{bundled}{os.pathsep}{path}"}


def make_assets() -> None:
    sources = [
        p for folder, pattern in ((ROOT / "frontend", "*"), (ROOT / "src" / "bursar", "*.html"), (ROOT / "src" / "bursar", "*.py"))
        for p in folder.rglob(pattern) if p.is_file()
    ]  # fmt: skip
    lock = ROOT / "package-lock.json"
    icons = sorted(set(re.findall(r"""\bicon["']?\s*[=:(]?\s*["']([a-z0-9-]+)["']""", "".join(
        p.read_text(errors="replace") for p in sources if p.suffix in {".html", ".py"}
    ))))  # fmt: skip
    wanted = digest([p for p in sources if p.is_relative_to(ROOT / "frontend")] + [lock], *icons)
    stamp = ASSETS / "bursar-stamp"
    if fresh(stamp, wanted):
        return
    env = node_environment()
    modules = ROOT / "node_modules"
    installed = modules / ".bursar-stamp"
    packages = digest([lock, ROOT / "package.json"])
    if not fresh(installed, packages):
        with step("Page libraries (npm ci, checked by hash)"):
            npm = shutil.which("npm", path=env["PATH"])
            assert npm is not None
            run(
                [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
                what="Installing the page libraries", env=env,
                hint="Is there a way to an npm registry from here?",
            )  # fmt: skip
            installed.write_text(packages)
    with step("Page assets (esbuild)"):
        node = shutil.which("node", path=env["PATH"])
        assert node is not None
        run([node, ROOT / "frontend" / "build.mjs"], what="Bundling the page assets", env=env)
        stamp.write_text(wanted)


# ------------------------------------------------------------------------------------------------ what make calls


def become(*arguments: str | Path) -> NoReturn:
    """Turn into a program of the environment, so that signals reach it and not a parent in between."""
    sys.stdout.flush()
    os.chdir(ROOT)
    os.execv(PYTHON, [str(PYTHON), *map(str, arguments)])


def check_port() -> None:
    stated = os.environ.get("PORT") or "8000"
    if not stated.isdigit() or not 1 <= int(stated) <= 65535:
        stop(f"PORT={stated} is not a port number.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(stated)))
        except OSError as error:
            stop(
                f"Port {stated} cannot be used ({error.strerror}). Choose another: make demo PORT={int(stated) % 65535 + 1}"
            )


def demo() -> NoReturn:
    check_port()
    print("Bursar, the demo", flush=True)
    make_environment("server")
    make_assets()
    os.environ["BURSAR_STARTED"] = str(time.time() - (time.monotonic() - BEGIN))
    become("-m", "bursar.config", "demo", "run")


def demo_reset() -> NoReturn:
    check_port()
    make_environment("server")
    done = subprocess.run([str(PYTHON), "-m", "bursar.config", "demo", "reset", "--yes"], cwd=ROOT, check=False)
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    demo()


def environment() -> None:
    make_environment("dev")
    make_assets()


def python() -> NoReturn:
    """Run a module or script with everything in place: `scripts/house python -m pytest tests/unit`."""
    environment()
    become(*sys.argv[2:])


# ------------------------------------------------------------------------------------------------ tests and checks

SCRATCH = Path(tempfile.gettempdir()) / f"bursar-test-{os.getuid()}"
# The longest single tests are begun first: at the end nobody waits for them.
FAST = ["tests/flows", "tests/unit", "tests/db", "tests/architecture", "tests/properties", "tests/golden"]


def chromium() -> str | None:
    """As the browser tests choose it (tests/web/conftest.py): the lightest that is here."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    return os.environ.get("BURSAR_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def debian_postgres() -> Path | None:
    path = Path("/usr/lib/postgresql/15/bin")
    return path if (path / "initdb").exists() else None


def slurm_missing() -> str:
    if os.geteuid() != 0:
        return "SLURM's daemons need root"
    wanted = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "sacctmgr", "sbatch")
    path = f"/usr/sbin:/sbin:{os.environ.get('PATH', os.defpath)}"
    missing = [name for name in wanted if not shutil.which(name, path=path)]
    return f"not installed: {', '.join(missing)}" if missing else ""


class Part:
    """Some of the tests as a process; beside others its output waits until it is asked for."""

    def __init__(self, label: str, *arguments: str, env: dict[str, str] | None = None, beside: bool = False) -> None:
        self.label = label
        self.begin = time.monotonic()
        self.skipped, self.failed = _empty_file("bursar-skipped-"), _empty_file("bursar-failed-")
        self.output = tempfile.TemporaryFile("w+", errors="replace") if beside else None  # noqa: SIM115
        print(f"\n== {label}{' begin beside the others; what they say follows below' if beside else ''}", flush=True)
        self.process = subprocess.Popen(
            [str(PYTHON), "-m", "pytest", *arguments], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self.output,
            stderr=subprocess.STDOUT if beside else None,
            env={
                **os.environ, "BURSAR_NOT_RUN": str(self.skipped), "BURSAR_FAILED": str(self.failed), **(env or {})
            },
        )  # fmt: skip

    def passed(self) -> bool:
        """Wait for the end; whether all passed that ran."""
        code = self.process.wait()
        if self.output is not None:
            print(f"\n== {self.label}", flush=True)
            self.output.seek(0)
            shutil.copyfileobj(self.output, sys.stdout)
            self.output.close()
        return code in {0, 5}  # 5: there are no such tests

    def not_run(self) -> list[str]:
        """Why some of it was skipped."""
        return [f"some of {self.label}: {reason}" for reason in self.skipped.read_text().splitlines()]

    def failures(self) -> list[str]:
        """What failed, a line each."""
        return self.failed.read_text().splitlines()

    def leave(self) -> None:
        """Whatever happened, nothing of it stays."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
        self.skipped.unlink(missing_ok=True)
        self.failed.unlink(missing_ok=True)


def _empty_file(prefix: str) -> Path:
    handle, name = tempfile.mkstemp(prefix=prefix)
    os.close(handle)
    return Path(name)


def pytest(label: str, *arguments: str, env: dict[str, str] | None = None) -> bool:
    """Run some of the tests in sight of everybody; True when they passed."""
    part = Part(label, *arguments, env=env)
    try:
        return part.passed()
    finally:
        part.leave()


def parallel(by: str = "worksteal") -> list[str]:
    """Several processes, each with a database of its own; whoever is done early takes over some of the others' tests."""
    return ["-n", str(min(os.cpu_count() or 1, 8)), "--dist", by]


def present(*folders: str) -> list[str]:
    return [folder for folder in folders if any((ROOT / folder).rglob("test_*.py"))]


def test_fast() -> None:
    environment()
    few = {"BURSAR_FAST": "1", "BURSAR_FIRST_CASES": "1"}
    if not pytest("unit, database, architecture", *parallel(), "-m", "not soak and not slow", *present(*FAST), env=few):
        raise SystemExit(1)


def test() -> None:
    """All that can run here. With --complete, as in CI, what cannot run is a failure."""
    begin = time.monotonic()
    environment()
    complete = "--complete" in sys.argv
    more = [a for a in sys.argv[2:] if a != "--complete"]
    not_run: list[str] = []
    failures: list[str] = []
    results: dict[str, bool] = {}
    if missing_focus := make_focus():
        not_run.append(f"the FOCUS validator on a real export: {missing_focus}")

    def finish(part: Part) -> None:
        try:
            results[part.label] = part.passed()
            not_run.extend(part.not_run())
            failures.extend(part.failures())
        finally:
            part.leave()

    def part(label: str, *arguments: str, env: dict[str, str] | None = None) -> None:
        finish(Part(label, "-m", "not soak", *arguments, *more, env=env))

    real: Part | None = None
    if present("tests/real"):
        missing = slurm_missing()
        if missing:
            not_run.append(f"the tests on real SLURM: {missing}")
        marks = "not soak and not slurm" if missing else "not soak"
        # These wait for a scheduler most of the time, so they run beside the others; each process has a scheduler of its own.
        real = Part(
            "real parts", "-m", marks, "-n", "3", "--dist", "loadfile", *more, "tests/real",
            env={"BURSAR_TEST_DB": "test_bursar_real"}, beside=True,  # the others' workers bear the same numbers
        )  # fmt: skip
    try:
        part("unit, database, architecture, flows", *parallel(), *present(*FAST))
        with ExitStack() as beside:
            binaries, old = debian_postgres(), None
            if binaries is None:
                not_run.append("the database tests on PostgreSQL 15: Debian's package postgresql-15 is not installed")
            elif present("tests/db"):
                # Beside the browser, which waits a good deal. What takes long, walks addresses, draws pages and papers, tells
                # people and backends what to do, does much at once, or starts the server that comes with Bursar says nothing
                # more about this one; what writes and reads, and what it refuses, stay, the first case of each.
                leave = (
                    "--ignore=tests/db/web",
                    "--ignore=tests/db/agent",
                    "--ignore=tests/db/config",
                    "--ignore=tests/db/billing/test_exports.py",
                    "--ignore=tests/db/api/test_fuzz.py",
                    "--ignore=tests/db/grants/test_notices.py",
                    "--ignore=tests/db/grants/test_rules.py",
                    "--ignore=tests/db/api/test_accounts.py",
                    "--ignore=tests/db/provisioning/test_accounts.py",
                    "--ignore=tests/db/provisioning/test_loop.py",
                    "--ignore=tests/db/provisioning/test_take_over.py",
                    "--ignore-glob=*/db/*/test_pages.py",
                    "--ignore-glob=*/db/*/test_laws.py",
                    "--ignore-glob=*/db/*/test_*at_once.py",
                    "--ignore=tests/db/provisioning/test_holds.py",
                    "--ignore=tests/db/api/test_provisioning.py",
                    "--ignore=tests/db/api/test_budgets.py",
                    "--ignore=tests/db/catalogue/test_prices.py",
                    "--ignore=tests/db/catalogue/test_api.py",
                    "--ignore=tests/db/catalogue/test_races.py",
                    "--ignore=tests/db/grants/test_gifts_at_login.py",
                    "--ignore=tests/db/grants/test_scenarios.py",
                    "--ignore=tests/db/metering/test_replay.py",
                    "--ignore=tests/db/metering/test_stories.py",
                )
                old = Part(
                    "database tests on PostgreSQL 15", "-m", "not soak", *parallel(), *leave, *more, "tests/db",
                    env={"DATABASE_URL": beside.enter_context(old_postgres(binaries)), "BURSAR_FIRST_CASES": "1"},
                    beside=True,
                )  # fmt: skip
                beside.callback(old.leave)
            if present("tests/web"):
                if chromium() is None:
                    not_run.append("the browser tests: there is no chromium")
                else:
                    part("browser", *parallel("loadfile"), "--no-loadscope-reorder", "tests/web")
            if old is not None:
                finish(old)
        if real is not None:
            finish(real)
    finally:
        if real is not None:
            real.leave()
    print(f"\n== {time.monotonic() - begin:.0f} s in all", flush=True)
    for label, passed in results.items():
        print(f"  {'passed' if passed else 'FAILED'}   {label}")
    for each in failures:
        print(f"  failed:  {each}")
    for each in not_run:
        print(f"  NOT RUN  {each}")
    if not_run:
        print("  `make system-packages` (root, Debian) installs what is missing.")
    if not all(results.values()) or (complete and not_run):
        raise SystemExit(1)


@contextmanager
def old_postgres(binaries: Path):
    """A throw-away server of Debian's PostgreSQL on a socket of its own; as root it runs as the user postgres."""
    SCRATCH.mkdir(mode=0o755, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="pg15-", dir=tempfile.gettempdir()))
    drop: dict[str, object] = {}
    if os.geteuid() == 0:
        owner = pwd.getpwnam("postgres")
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        drop = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def call(program: str, *arguments: str) -> None:
        with (folder / "output").open("w") as output:
            done = subprocess.run(
                [str(binaries / program), *arguments], cwd="/", stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, check=False, **drop,
            )  # fmt: skip
        if done.returncode != 0:
            stop(f"PostgreSQL 15: {program} failed:\n{(folder / 'output').read_text()}")

    try:
        data = folder / "data"
        call(
            "initdb",
            "-D",
            str(data),
            "-U",
            "postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        )
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off -c synchronous_commit=off"
        call("pg_ctl", "start", "-w", "-D", str(data), "-l", str(folder / "log"), "-o", options)
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            call("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(data))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check() -> None:
    environment()
    tools = VENV / "bin"
    bursar = [str(PYTHON), "-m", "bursar.config"]
    SCRATCH.mkdir(mode=0o755, exist_ok=True)
    wanted: list[tuple[str, list[str]]] = [
        ("types", [str(tools / "mypy")]),  # takes longest, so it begins first
        ("format", [str(tools / "ruff"), "format", "--check", "--quiet", "."]),
        ("lint", [str(tools / "ruff"), "check", "--quiet", "."]),
        ("layers", [str(tools / "lint-imports"), "--no-cache"]),
        ("migrations complete", [*bursar, "manage", "makemigrations", "--check", "--dry-run"]),
        ("Django's own checks", [*bursar, "manage", "check", "--fail-level", "WARNING"]),
        ("API description and translations", [str(PYTHON), str(ROOT / "scripts" / "check_outside.py")]),
    ]

    def carry_out(one: tuple[str, list[str]]) -> tuple[str, float, subprocess.CompletedProcess[str]]:
        name, command = one
        begin = time.monotonic()
        # The checks need settings, not data: each has a throw-away home, and no server unless it asks for one.
        folder = SCRATCH / f"check-{name.split()[0].lower()}"
        env = {**os.environ, "BURSAR_HOME": str(folder), "BURSAR_LOG_LEVEL": "WARNING"}
        done = subprocess.run(
            command, cwd=ROOT, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        return name, time.monotonic() - begin, done

    failed = []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, len(wanted))) as pool:
        for future in as_completed([pool.submit(carry_out, one) for one in wanted]):
            name, seconds, done = future.result()
            print(f"  {name:<40} {'ok' if done.returncode == 0 else 'FAILED':<8}{seconds:6.1f} s", flush=True)
            if done.returncode != 0:
                failed.append(name)
                said = (done.stdout + done.stderr).strip().splitlines()[-60:]
                print("\n".join(f"    {line}" for line in said), flush=True)
    if failed:
        stop(f"make check: failed: {', '.join(failed)}")


def pictures() -> None:
    """The browser tests, which then keep a picture of every page they show."""
    environment()
    passed = pytest("browser", *parallel("loadfile"), "tests/web", *sys.argv[2:], env={"BURSAR_PICTURES": "1"})
    print(f"\nThe pictures lie in {ROOT / 'test-results' / 'shots'}")
    if not passed:
        raise SystemExit(1)


def format_code() -> None:
    make_environment("dev")
    for arguments in (["check", "--fix", "--quiet", "--exit-zero", "."], ["format", "--quiet", "."]):
        subprocess.run([str(VENV / "bin" / "ruff"), *arguments], cwd=ROOT, check=True)


def assets() -> None:
    make_environment("server")
    make_assets()


def bench() -> NoReturn:
    """The closing of a month, then the ledger; what is named goes to the ledger's alone."""
    environment()
    if not sys.argv[2:]:
        subprocess.run([str(PYTHON), "-m", "bursar.config", "invoice", "bench"], cwd=ROOT, check=True)
    become("-m", "bursar.config", "ledger", "bench", *sys.argv[2:])


def soak() -> None:
    environment()
    passed = pytest("the long checks in full", "-m", "soak", "tests", env={"BURSAR_SOAK": "1"})
    print("\n== databases made by earlier commits", flush=True)
    done = subprocess.run([str(PYTHON), str(ROOT / "scripts" / "upgrades.py"), "--rows"], cwd=ROOT, check=False)
    if not passed or done.returncode != 0:
        raise SystemExit(1)


COMMANDS: dict[str, Callable[[], None]] = {
    "demo": demo,
    "demo-reset": demo_reset,
    "environment": environment,
    "assets": assets,
    "python": python,
    "test": test,
    "test-fast": test_fast,
    "check": check,
    "pictures": pictures,
    "format": format_code,
    "bench": bench,
    "soak": soak,
}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        stop(f"usage: scripts/house {' | '.join(COMMANDS)}")
    if sys.platform == "win32":
        stop("Bursar runs on Linux and macOS; on Windows use WSL.")
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM)
    )  # what was started is ended, as after Ctrl-C
    try:
        COMMANDS[sys.argv[1]]()
    except KeyboardInterrupt:
        stop("stopped")
