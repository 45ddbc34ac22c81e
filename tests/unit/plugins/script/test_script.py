"""The plugin with commands that misbehave in every way we could think of; each is a real process."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bursar.plugins import wire
from bursar.plugins.contract import (
    BackendUnreachable,
    Busy,
    DesiredResource,
    Done,
    Group,
    Member,
    Observation,
    Pauses,
    Presence,
    Provisions,
    Refused,
    Severity,
    can,
    found,
)
from bursar.plugins.script.plugin import VERBS, ScriptPlugin
from bursar.plugins.script.settings import ScriptSettings

SECRET = "a-token-nobody-may-see"
RESOURCE = replace(found("", "Sea ice"), id=7, slug="sea-ice", plan="standard")
DONE = '{"answer": "done", "backend_id": "r7"}'

pytestmark = pytest.mark.slow

Make = Callable[..., ScriptPlugin]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(script: str = "", verb: str = "ensure", *, mode: int = 0o755, **settings: Any) -> ScriptPlugin:
        """A plugin whose command for the verb is this shell script."""
        program = tmp_path / f"{verb}.sh"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(mode)
        commands = {name: [str(tmp_path / "other")] for name in ("ensure", "remove", "observe")}
        return ScriptPlugin(ScriptSettings.model_validate({**commands, verb: [str(program)], **settings}))

    return made


def fault(plugin: ScriptPlugin, resource: DesiredResource = RESOURCE) -> str:
    with pytest.raises(BackendUnreachable) as raised:
        plugin.ensure(resource)
    return str(raised.value)


def is_running(pid_file: Path) -> bool:
    """Whether the process runs; a zombie that nobody fetched does not."""
    stat = Path(f"/proc/{pid_file.read_text().strip()}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until_gone(pid_file: Path) -> None:
    deadline = time.monotonic() + 10
    while is_running(pid_file):
        assert time.monotonic() < deadline, "it still runs"
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------------------ what it is told
@pytest.mark.parametrize("verb", ["block_account", "remove_account", "ensure_group", "remove_group"])
def test_run__accounts_and_groups__are_told_whole(make: Make, tmp_path: Path, verb: str) -> None:
    pair = ("ensure_group", "remove_group") if "group" in verb else ("block_account", "remove_account")
    command = ["/bin/sh", "-c", f"cat > {tmp_path}/told; echo '{DONE}'"]
    plugin = make("", **dict.fromkeys(pair, command))
    assert {"manages_groups" if "group" in verb else "ends_accounts"} <= set(plugin.abilities())
    thing = (
        Group(3, "sea", "sea-ice", 300_001, ("ada",))
        if "group" in verb
        else Member(1, "a@b.example", "Ada", "ada", uid=7)
    )
    assert getattr(plugin, verb)(thing) == Done(backend_id="r7")
    told = json.loads((tmp_path / "told").read_text())
    assert told == {"version": 1, "verb": verb, "group" if "group" in verb else "member": wire.dump(thing)}
    bad = replace(thing, usernames=("a b",)) if isinstance(thing, Group) else replace(thing, username="a;b")
    assert isinstance(getattr(plugin, verb)(bad), Refused)


def test_run__ensure__is_told_one_document_and_answers_one(make: Make, tmp_path: Path) -> None:
    plugin = make(f"cat > {tmp_path}/told; echo '{DONE}'")
    resource = replace(RESOURCE, limits={"cpu": 5}, members=(Member(1, "ada@example.org", "Ada", "ada"),))
    assert plugin.ensure(resource) == Done(backend_id="r7")
    assert json.loads((tmp_path / "told").read_text()) == {
        "version": 1,
        "verb": "ensure",
        "resource": {
            "id": 7,
            "slug": "sea-ice",
            "name": "Sea ice",
            "offering_slug": "",
            "organization": None,
            "projects": [],
            "owner": None,
            "plan": "standard",
            "limits": {"cpu": 5},
            "form": {},
            "members": [
                {
                    "person_id": 1,
                    "email": "ada@example.org",
                    "full_name": "Ada",
                    "username": "ada",
                    "ssh_keys": [],
                    "uid": None,
                    "blocked": False,
                }
            ],
            "paused": False,
            "generation": 1,
            "backend_id": "",
            "state": {},
        },
    }


def test_run__environment__holds_what_was_set_and_path_alone(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://somebody")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    plugin = make(
        f"env > {tmp_path}/found; pwd >> {tmp_path}/found; echo '{DONE}'",
        environment={"SITE": "north"},
        token=SECRET,
        folder=str(tmp_path),
    )
    plugin.ensure(RESOURCE)
    lines = set((tmp_path / "found").read_text().splitlines()) - {"_=/usr/bin/env"}
    assert lines == {
        "SITE=north",
        "PATH=/usr/bin:/bin",
        "BURSAR_VERB=ensure",
        f"BURSAR_TOKEN={SECRET}",
        f"PWD={tmp_path}",
        str(tmp_path),
    }


def test_run__words_of_the_command__reach_no_shell(tmp_path: Path) -> None:
    program = tmp_path / "say.sh"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {tmp_path}/words; echo '{DONE}'\n")
    program.chmod(0o755)
    words = ["$(touch /tmp/x)", "a b", "; true", "*"]
    settings = {"ensure": [str(program), *words], "remove": ["/bin/true"], "observe": ["/bin/true"]}
    ScriptPlugin(ScriptSettings.model_validate(settings)).ensure(RESOURCE)
    assert (tmp_path / "words").read_text().splitlines() == words


def test_ensure__state_and_id_not_said_again__stay(make: Make) -> None:
    plugin = make("""echo '{"answer": "done", "state": {"b": 2}}'""")
    resource = replace(RESOURCE, backend_id="bench-1", state={"a": 1, "b": 1})
    assert plugin.ensure(resource) == Done(backend_id="bench-1", state={"a": 1, "b": 2})


def test_run__input_that_is_not_read__holds_nobody_up(make: Make) -> None:
    plugin = make(f"echo '{DONE}'")
    assert plugin.ensure(replace(RESOURCE, form={"text": "x" * 3_000_000})) == Done(backend_id="r7")


# ------------------------------------------------------------------------------------------------------------- answers
@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ('{"answer": "busy", "retry_after_seconds": 9, "message": "soon"}', Busy(9, "soon")),
        ('{"answer": "refused", "why": "never"}', Refused("never")),
        (f"{DONE}\n\n", Done(backend_id="r7")),
    ],
)
def test_answer__each_kind__is_read(make: Make, answer: str, outcome: object) -> None:
    assert make(f"cat <<'EOF'\n{answer}\nEOF").ensure(RESOURCE) == outcome


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 3", "ensure: the command ended with 3."),
        (
            "echo one >&2; echo two >&2; echo >&2; echo three >&2; echo four >&2; exit 1",
            "ensure: the command ended with 1. It printed: two / three / four",
        ),
        ("kill -9 $$", "ensure: the command was ended by SIGKILL."),
        ("kill -36 $$", "ensure: the command was ended by signal 36."),
        ("true", "ensure: the command answered nothing."),
        ("echo garbage", "ensure: the answer is not one JSON document (line 1, column 1)."),
        (
            """printf '{"answer": "done", "backend'""",
            "ensure: the answer is not one JSON document (line 1, column 20).",
        ),
        (f"echo '{DONE}'; echo '{DONE}'", "ensure: the answer is not one JSON document (line 2, column 1)."),
        ("echo NaN", "ensure: the answer is not one JSON document."),
        (r"printf '\377\376'", "ensure: the answer is not UTF-8."),
        ("head -c 200000 /dev/zero | tr '\\0' '['", "ensure: the answer is nested too deeply."),
        ("echo '[]'", "ensure: the answer is not one: an answer is an object with a field `answer`."),
        (
            """echo '{"answer": "perhaps"}'""",
            "ensure: the answer is not one: answer: one of done, busy, needs_action, refused.",
        ),
        (
            """echo '{"answer": "refused"}'""",
            "ensure: the answer is not one: why: Field required.",
        ),
        ("""echo '{"answer": "done"}'""", "ensure: the answer is not one: backend_id is missing."),
        (
            """echo '{"answer": "done", "backend_id": "a\\u0007b"}'""",
            "ensure: the answer is not one: backend_id is one line of at most 255 characters.",
        ),
        (
            """echo '{"answer": "busy", "retry_after_seconds": -1}'""",
            "ensure: the answer is not one: retry_after_seconds is 0 to 86400.",
        ),
        ("yes", "ensure: the command answered more than 4194304 bytes and was ended."),
        (
            r"printf 'red \033[31m\000\tand on\342\200\256\n' >&2; exit 1",
            "ensure: the command ended with 1. It printed: red [31m and on",
        ),
        (r"printf '\377broken' >&2; exit 1", "ensure: the command ended with 1. It printed: \ufffdbroken"),
    ],
)
def test_answer__that_is_none__is_told_to_the_letter(make: Make, script: str, message: str) -> None:
    assert fault(make(script)) == message


def test_answer__exit_code_of_patience__is_busy(make: Make) -> None:
    assert make("echo the tape robot is away >&2; exit 75").ensure(RESOURCE) == Busy(30, "the tape robot is away")


def test_answer__patience_where_no_answer_says_so__is_unreachable(make: Make) -> None:
    plugin = make("echo later >&2; exit 75", "observe")
    with pytest.raises(BackendUnreachable) as raised:
        plugin.observe(RESOURCE)
    assert str(raised.value) == "observe: the command cannot do it now. It printed: later"


def test_output__without_end__is_kept_to_its_last_part(make: Make) -> None:
    plugin = make("yes noise | head -n 500000 >&2; echo the end >&2; exit 1")
    assert fault(plugin) == "ensure: the command ended with 1. It printed: noise / noise / the end"
    assert 65_000 < len(plugin.outputs[0].text) <= 65_536
    assert plugin.outputs[0].text.endswith("the end")


def test_program__not_executable__says_so(make: Make, tmp_path: Path) -> None:
    assert fault(make(f"echo '{DONE}'", mode=0o644)) == (
        f"ensure: {tmp_path}/ensure.sh cannot be started: Permission denied."
    )


def test_program__missing__says_so(make: Make, tmp_path: Path) -> None:
    plugin = make("")
    (tmp_path / "ensure.sh").unlink()
    assert fault(plugin) == f"ensure: {tmp_path}/ensure.sh cannot be started: No such file or directory."
    assert [(output.exit_code, output.text) for output in plugin.outputs] == [(None, "")]


def test_program__of_no_known_kind__says_so(make: Make, tmp_path: Path) -> None:
    plugin = make("")
    (tmp_path / "ensure.sh").write_text("no first line\n")
    assert fault(plugin) == f"ensure: {tmp_path}/ensure.sh cannot be started: Exec format error."


def test_folder__missing__says_so(make: Make, tmp_path: Path) -> None:
    plugin = make(f"echo '{DONE}'", folder=f"{tmp_path}/nowhere")
    assert fault(plugin) == f"ensure: {tmp_path}/nowhere cannot be started: No such file or directory."


# ------------------------------------------------------------------------------------------------------- time and death
def test_time__hangs_with_children__all_are_ended(make: Make, tmp_path: Path) -> None:
    plugin = make(
        f"sleep 300 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/own; echo waiting >&2; wait", seconds=1
    )
    began = time.monotonic()
    assert fault(plugin) == "ensure: the command did not end within 1 s and was ended. It printed: waiting"
    assert time.monotonic() - began < 6
    wait_until_gone(tmp_path / "own")
    wait_until_gone(tmp_path / "child")


def test_time__deaf_to_a_polite_end__is_killed(make: Make, tmp_path: Path) -> None:
    plugin = make(f"trap '' TERM; echo $$ > {tmp_path}/own; while :; do sleep 0.1; done", seconds=1)
    assert fault(plugin) == "ensure: the command did not end within 1 s and was ended."
    wait_until_gone(tmp_path / "own")


def test_time__polite_end__is_heard_and_what_it_last_says_is_lost_without_harm(make: Make, tmp_path: Path) -> None:
    plugin = make(f"trap 'touch {tmp_path}/tidied; exit 0' TERM; while :; do sleep 0.05; done", seconds=1)
    assert fault(plugin) == "ensure: the command did not end within 1 s and was ended."
    assert (tmp_path / "tidied").exists()


def test_time__answers_but_leaves_a_child_with_the_pipe__is_done_at_once_and_the_child_ended(
    make: Make, tmp_path: Path
) -> None:
    plugin = make(f"sleep 300 & echo $! > {tmp_path}/child; echo '{DONE}'", seconds=30)
    began = time.monotonic()
    assert plugin.ensure(RESOURCE) == Done(backend_id="r7")
    assert time.monotonic() - began < 10
    wait_until_gone(tmp_path / "child")


def test_time__closes_its_pipes_and_sleeps__is_ended(make: Make, tmp_path: Path) -> None:
    plugin = make(f"echo $$ > {tmp_path}/own; exec >&- 2>&-; sleep 300", seconds=1)
    assert fault(plugin) == "ensure: the command did not end within 1 s and was ended."
    wait_until_gone(tmp_path / "own")


def test_run__many_calls__leave_no_process_and_no_open_file(make: Make) -> None:
    plugin = make(f"(sleep 0.01 &) ; echo '{DONE}'")
    plugin.ensure(RESOURCE)
    before = len(list(Path("/proc/self/fd").iterdir()))
    others = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()  # of other tests of this process
    for _ in range(10):
        plugin.ensure(RESOURCE)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert [child for child in children if child not in others] == []


# ---------------------------------------------------------------------------------------------------------------- output
def test_outputs__each_call__is_kept_with_how_it_ended(make: Make, tmp_path: Path) -> None:
    plugin = make(f"printf 'looked\\n\\033[1mmade\\n' >&2; echo '{DONE}'")
    plugin.ensure(RESOURCE)
    (output,) = plugin.outputs
    assert (output.verb, output.command, output.exit_code, output.text) == (
        "ensure",
        (f"{tmp_path}/ensure.sh",),
        0,
        "looked\n [1mmade",
    )
    assert 0 < output.seconds < 30


def test_secret__printed_and_answered__is_struck_out(make: Make) -> None:
    plugin = make('echo "using $BURSAR_TOKEN now" >&2; exit 2', token=SECRET)
    assert fault(plugin) == "ensure: the command ended with 2. It printed: using ••• now"
    assert plugin.outputs[0].text == "using ••• now"
    answering = make(
        """printf '{"answer": "done", "backend_id": "r7", "access": {"%s": "x%sy"}}' $BURSAR_TOKEN $BURSAR_TOKEN""",
        token=SECRET,
    )
    assert answering.ensure(RESOURCE) == Done(backend_id="r7", access={"•••": "x•••y"})


@pytest.mark.parametrize("after", range(65_536 - len(SECRET) - 1, 65_536 + 2, 5))
def test_secret__cut_where_the_output_is_cut__shows_no_part(make: Make, after: int) -> None:
    plugin = make(f'printf "$BURSAR_TOKEN" >&2; head -c {after} /dev/zero | tr "\\0" . >&2; exit 1', token=SECRET)
    fault(plugin)
    assert set(plugin.outputs[0].text.replace("•••", "")) == {"."}


# ------------------------------------------------------------------------------------------------------- what it can do
def test_abilities__only_what_is_configured__is_there(make: Make) -> None:
    plugin = make("")
    assert plugin.abilities() == ("provisions",)
    assert can(plugin, Provisions)
    assert not can(plugin, Pauses)
    everything = ScriptPlugin(ScriptSettings.model_validate({verb: ["/bin/true"] for verb in VERBS}))
    assert everything.abilities() == (
        "provisions",
        "pauses",
        "enforces_quota",
        "manages_accounts",
        "ends_accounts",
        "manages_groups",
        "manages_members",
        "measures_usage",
        "imports",
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ensure": ["true"]}, "Value error, the program is named by its absolute path"),
        ({"ensure": ["/bin/true", "a\0b"]}, "Value error, a word of a command cannot hold a zero character"),
        ({"ensure": ["/bin/true"] * 51}, "Value error, at most 50 words of 4096 characters"),
        ({"ensure": ["/bin/true"]}, "Value error, the commands to make, to remove and to look go together"),
        (
            {"measure": ["/bin/true"], "pause": ["/bin/true"]},
            "Value error, the commands to pause and to resume go together",
        ),
        ({}, "Value error, name the commands to make, to remove and to look, or the one to measure"),
        ({"measure": ["/x"], "folder": "here"}, "Value error, an absolute path is needed"),
        (
            {"measure": ["/x"], "environment": {"a b": "1"}},
            "Value error, a variable is named with letters, digits and _",
        ),
        ({"measure": ["/x"], "environment": {"PATH": "1"}}, "Value error, PATH is set for the commands already"),
        ({"measure": ["/x"], "token": "short"}, "Value error, must have 8 to 4096 characters, none of them zero"),
        ({"measure": ["/x"], "seconds": 3601}, "Input should be less than or equal to 3600"),
    ],
)
def test_settings__that_cannot_be__are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        ScriptSettings.model_validate(given)
    assert [error["msg"] for error in refused.value.errors()] == [message]


# ---------------------------------------------------------------------------------------------------------------- people
@pytest.mark.parametrize("name", ["-rf", "a b", "ä", "", "x" * 65, "../a"])
def test_ensure_account__no_user_name__is_refused(make: Make, name: str) -> None:
    plugin = make(f"cat <<'EOF'\n{json.dumps({'answer': 'done', 'backend_id': name})}\nEOF", "ensure_account")
    with pytest.raises(BackendUnreachable) as raised:
        plugin.ensure_account(Member(1, "a@example.org", "A"))
    assert str(raised.value) == "ensure_account: the answer is not one: backend_id is no user name."


# ----------------------------------------------------------------------------------------------------------------- usage
RECORD = {
    "id": "s1-60",
    "resource_id": 7,
    "component": "cpu",
    "amount": 60,
    "period_start": "2026-05-04T10:00:00Z",
    "period_end": "2026-05-04T10:01:00Z",
}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([RECORD | {"resource_id": 8}], "records.0: its resource was not asked for."),
        ([RECORD, RECORD], "records.1: each needs an id of its own."),
        ([RECORD | {"id": ""}], "records.0: each needs an id of its own."),
        (
            [RECORD | {"period_start": "2026-05-04T10:00:00"}],
            "records.0: its times are to be in UTC, such as 2026-05-04T10:00:00Z.",
        ),
        (
            [RECORD | {"period_end": "2026-05-04T10:01:00+02:00"}],
            "records.0: its times are to be in UTC, such as 2026-05-04T10:00:00Z.",
        ),
        ([RECORD | {"period_end": "2026-05-04T10:00:00Z"}], "records.0: it ends before it begins."),
        ([RECORD | {"amount": -1}], "records.0: its amount is less than nothing."),
        (
            [RECORD | {"amount": 1.5}],
            "records.0.amount: Input should be a valid integer, got a number with a fractional part.",
        ),
    ],
)
def test_measure__records_that_cannot_be__are_told_by_index(
    make: Make, records: list[dict[str, Any]], message: str
) -> None:
    plugin = make(f"cat <<'EOF'\n{json.dumps({'records': records, 'mark': 'm'})}\nEOF", "measure")
    with pytest.raises(BackendUnreachable) as raised:
        plugin.measure([RESOURCE], "")
    assert str(raised.value) == f"measure: the answer is not one: {message}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({}, "resources is a list of at most 5000."),
        ({"resources": [1]}, "resources.0: it is an object."),
        ({"resources": [{"name": "A"}]}, "resources.0: each needs a backend_id of its own."),
        ({"resources": [{"backend_id": "a"}, {"backend_id": "a"}]}, "resources.1: each needs a backend_id of its own."),
        (
            {"resources": [{"backend_id": "a", "limits": {"cpu": "many"}}]},
            "resources.0: limits.cpu: Input should be a valid integer, unable to parse string as an integer.",
        ),
    ],
)
def test_importable__that_cannot_be__is_told_by_index(make: Make, answer: dict[str, Any], message: str) -> None:
    plugin = make(f"cat <<'EOF'\n{json.dumps(answer)}\nEOF", "importable")
    with pytest.raises(BackendUnreachable) as raised:
        plugin.importable()
    where = "importable: the answer is not one: "
    assert str(raised.value) == where + message


def test_observe__each_presence__is_read(make: Make) -> None:
    plugin = make("""echo '{"presence": "paused", "message": "quiet", "facts": {"disks": 2}}'""", "observe")
    assert plugin.observe(RESOURCE) == Observation(Presence.PAUSED, "quiet", {"disks": 2})


# ---------------------------------------------------------------------------------------------------------------- health
def test_check_health__no_command_to_test__looks_at_the_programs(make: Make, tmp_path: Path) -> None:
    plugin = make("", mode=0o644)
    (tmp_path / "other").write_text("#!/bin/sh\n")
    (tmp_path / "other").chmod(0o755)
    health = plugin.check_health()
    assert [(f.severity, f.subject, f.message, f.advice) for f in health.findings] == [
        (
            Severity.BROKEN,
            "ensure",
            f"{tmp_path}/ensure.sh may not be executed.",
            f"chmod +x {tmp_path}/ensure.sh",
        )
    ]
    (tmp_path / "ensure.sh").chmod(0o755)
    assert [f.message for f in plugin.check_health().findings] == ["Each can be started: ensure, remove, observe."]


def test_check_health__command_to_test__is_asked(make: Make, tmp_path: Path) -> None:
    plugin = make("""echo '{"findings": [{"severity": "warning", "subject": "Disk", "message": "full"}]}'""", "health")
    (tmp_path / "other").write_text("#!/bin/sh\n")
    (tmp_path / "other").chmod(0o755)
    health = plugin.check_health()
    assert [(f.severity, f.subject, f.message) for f in health.findings] == [(Severity.WARNING, "Disk", "full")]
    assert health.version == plugin.version
