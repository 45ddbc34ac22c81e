"""A database made by any earlier commit of this history migrates: each is made, upgraded with today's code, and compared.

For every commit that changed a migration a database is made with the code of that commit; with --rows also one with the last
commit that still had the same tables, which loads its demo world, if it has one, so that there are rows to carry over. Each is
then brought up to today's tables, which have to be those of a new database. `make soak` runs it; it needs git and the history.
"""

import argparse
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from psycopg import sql

from bursar.config import postgres

ROOT = Path(__file__).resolve().parent.parent
MIGRATIONS = ":(glob)src/bursar/*/migrations/*.py"

# What the tables are, a line each, without the order of their columns.
SCHEMA = {
    "relation": """
        SELECT c.relname, c.relkind, c.relpersistence, c.reloptions::text, pg_get_partkeydef(c.oid),
               CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')""",
    "column": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
               a.attstorage, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm')
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraint": """
        SELECT conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "index": "SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "trigger": "SELECT pg_get_triggerdef(t.oid), t.tgenabled FROM pg_trigger t WHERE NOT t.tgisinternal",
    "function": """
        SELECT pg_get_functiondef(p.oid) FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.prokind IN ('f', 'p')""",
    "type": """
        SELECT t.typname, array_agg(e.enumlabel ORDER BY e.enumsortorder)::text
        FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
        WHERE t.typnamespace = 'public'::regnamespace GROUP BY t.typname""",
    "applied": "SELECT app, name FROM django_migrations",
}


class Failed(Exception):
    """A step ended badly; the message is what it said."""


def git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def commits() -> list[tuple[str, str]]:
    """Oldest first: (commit that changed a migration, last commit of the main line before the next that did)."""
    line = git("rev-list", "--first-parent", "--reverse", "HEAD").split()
    changed = set(git("rev-list", "--first-parent", "HEAD", "--", MIGRATIONS).split())
    places = [place for place, commit in enumerate(line) if commit in changed]
    ends = [*(place - 1 for place in places[1:]), len(line) - 1]
    return [(line[place], line[end]) for place, end in zip(places, ends, strict=True)]


def check_out(commit: str, folder: Path) -> Path:
    """The sources of a commit; nothing else of it is needed, as today's libraries serve all of them."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder / "src"


def load_world(source: Path, home: Path, url: str) -> None:
    """The demo world of one version, whose own pretend cluster runs beside it as long as that takes."""
    home.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    token = secrets.token_urlsafe()
    simulator = subprocess.Popen(
        [sys.executable, "-m", "bursar.plugins.simulator.backend", "--port", port, "--state", str(home / "world.json")],
        cwd=source.parent, env={**os.environ, "PYTHONPATH": str(source), "BURSAR_SIMULATOR_TOKEN": token},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        world = {"BURSAR_SIMULATOR_URL": f"http://127.0.0.1:{port}", "BURSAR_SIMULATOR_TOKEN": token}
        run(source, home / "bursar", url, "-m", "bursar.config", "demo", "load", **world)
    finally:
        simulator.terminate()
        simulator.wait()


def run(source: Path, home: Path, url: str, *words: str, **more: str) -> None:
    """Run Python with the code of one version, on a database."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("BURSAR_", "DJANGO_", "PYTHON"))}
    environment = {
        **kept, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", "DJANGO_SETTINGS_MODULE": "bursar.config.settings",
        "BURSAR_HOME": str(home), "DATABASE_URL": url, **more,
    }  # fmt: skip
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, *words], cwd=source.parent, env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Failed((done.stdout + done.stderr)[-2000:])


# Django's own commands, since the first versions had none of ours.
_TABLES = """
import django
from django.core.management import call_command
django.setup()
call_command("migrate", interactive=False, verbosity=0)
call_command("createcachetable", verbosity=0)
"""


def make_tables(source: Path, home: Path, url: str) -> None:
    run(source, home, url, "-c", _TABLES)


def schema(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {f"{kind} {row}" for kind, query in SCHEMA.items() for row in connection.execute(query)}


def new_database(server: postgres.Embedded, name: str) -> str:
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return server.url(name)


def differences(found: set[str], wanted: set[str]) -> list[str]:
    return [f"    only after the upgrade   {line}" for line in sorted(found - wanted)] + [
        f"    only in a new database   {line}" for line in sorted(wanted - found)
    ]


def try_commit(commit: str, folder: Path, url: str, wanted: set[str], *, world: bool) -> tuple[list[str], str]:
    """What is wrong after an upgrade from this commit ([] = nothing), and what was carried over."""
    source = check_out(commit, folder)
    try:
        make_tables(source, folder / "home", url)
    except Failed as failed:
        return [], f"makes no database: {str(failed).strip().splitlines()[-1]};"
    note = ""
    if world:
        try:
            load_world(source, folder / "demo", url)
            note = "with its demo world"
        except Failed as failed:  # of that time; what it wrote before is carried over all the same
            note = f"loads no whole demo world: {str(failed).strip().splitlines()[-1]};"
    try:
        make_tables(ROOT / "src", folder / "home", url)
    except Failed as failed:
        return [f"    {line}" for line in str(failed).splitlines()], note
    return differences(schema(url), wanted), note


def has_world(commit: str) -> bool:
    return bool(git("ls-tree", "--name-only", commit, "src/bursar/config/demo/load.py").strip())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", action="store_true", help="with the demo world of those commits that have one")
    parser.add_argument("only", nargs="*", metavar="COMMIT", help="only these, instead of all that changed a migration")
    stated = parser.parse_args()
    shutil.which("git") or sys.exit("This needs git and the history of the project.")
    folder = Path(tempfile.mkdtemp(prefix="bursar-upgrades-", dir="/tmp"))
    folder.chmod(0o755)
    os.environ["BURSAR_TEST_HOME"] = str(folder)
    postgres.ensure_running(testing=True)
    server = postgres.embedded(testing=True)
    failed = 0
    try:
        new = new_database(server, "new")
        make_tables(ROOT / "src", folder / "new", new)
        wanted = schema(new)
        todo = {commit: stated.rows and has_world(commit) for commit in stated.only}
        if not stated.only:
            todo = {begin: False for begin, _end in commits()}
        if stated.rows and not stated.only:
            todo |= {end: True for _begin, end in commits() if has_world(end)}
        for commit, world in todo.items():
            begin = time.monotonic()
            url = new_database(server, f"c{commit[:10]}")
            wrong, note = try_commit(commit, folder / commit[:10], url, wanted, world=world)
            failed += bool(wrong)
            title = git("log", "-1", "--format=%s", commit).strip()
            verdict = "FAILED" if wrong else "ok"
            print(f"  {commit[:10]}  {verdict:<7}{time.monotonic() - begin:6.1f} s  {note} {title}", flush=True)
            print("\n".join(wrong), end="\n" if wrong else "", flush=True)
    finally:
        postgres.release()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(todo)} databases made by earlier commits, {failed} of them do not become what a new one is.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
