"""How commands reach SLURM: as argument lists, through ssh as well, and what their failures mean."""

import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bursar.plugins.contract import BackendUnreachable
from bursar.plugins.slurm.client import NothingDone, SlurmBusy, SlurmClient, SlurmRefused
from bursar.plugins.slurm.settings import SlurmSettings

HOSTILE = ['"; rm -rf ~ #', "$(touch /tmp/was-here)", "`id`", "a'b\"c", "*", "~", "a b", "", "\\", "é汉"]


@pytest.fixture
def tool(tmp_path: Path) -> Callable[[str], SlurmClient]:
    """A client whose sacctmgr is the given shell script."""

    def make(script: str) -> SlurmClient:
        path = tmp_path / "sacctmgr"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return SlurmClient(SlurmSettings(bin_path=str(tmp_path), cluster="test", command_timeout_seconds=1))

    return make


def test_read__hostile_words__arrive_as_they_are(tool: Callable[[str], SlurmClient]) -> None:
    client = tool("for word; do printf '%s\\036' \"$word\"; done")
    assert client.read("sacctmgr", *HOSTILE).split("\x1e")[:-1] == HOSTILE


def test_command_line__ssh__words_survive_the_shell_of_the_other_side(tmp_path: Path) -> None:
    echo = tmp_path / "sacctmgr"
    echo.write_text("#!/bin/sh\nfor word; do printf '%s\\036' \"$word\"; done\n")
    echo.chmod(0o755)
    settings = SlurmSettings(
        reach="ssh", ssh_host="login.example.org", ssh_user="bursar", ssh_port=2222, ssh_key_file="/etc/bursar/key",
        ssh_known_hosts_file="/etc/bursar/known", bin_path=str(tmp_path), slurm_conf="/etc/slurm/two words.conf",
    )  # fmt: skip
    line = SlurmClient(settings).command_line(["sacctmgr", *HOSTILE])
    assert line[-3:-1] == ["--", "login.example.org"]
    options = [line[index + 1] for index, word in enumerate(line) if word == "-o"]
    assert {
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        'UserKnownHostsFile="/etc/bursar/known"',
        "IdentitiesOnly=yes",
    } <= set(options)
    assert line[line.index("-p") :][:2] == ["-p", "2222"]
    assert line[line.index("-l") :][:2] == ["-l", "bursar"]
    # sshd gives this one text to the account's shell.
    through_shell = subprocess.run(["sh", "-c", line[-1]], capture_output=True, text=True, check=True).stdout
    assert through_shell.split("\x1e")[:-1] == HOSTILE
    assert "SLURM_CONF=/etc/slurm/two words.conf" in shlex.split(line[-1])


def test_command_line__local__times_are_epoch_and_messages_english() -> None:
    line = SlurmClient(SlurmSettings()).command_line(["sacct"])
    assert line == ["env", "TZ=UTC", "SLURM_TIME_FORMAT=%s", "LC_ALL=C", "/usr/bin/sacct"]


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        ("echo 'sacct: error: Problem talking to the database: Connection refused' >&2; exit 1", BackendUnreachable),
        ("echo ' Nothing modified'; exit 1", NothingDone),
        ("echo ' Error with request: Job(s) active, cancel job(s) before remove' >&2; exit 1", SlurmBusy),
        ("echo ' Problem adding accounts: Access/permission denied' >&2; exit 1", SlurmRefused),
        ("echo odd >&2; exit 1", SlurmRefused),
        ("exec sleep 20", BackendUnreachable),
        ("exit 127", BackendUnreachable),
    ],
)
def test_run__failing_command__says_what_it_means(
    tool: Callable[[str], SlurmClient], script: str, fault: type[Exception]
) -> None:
    began = time.monotonic()
    for verb in (tool(script).read, tool(script).write):
        with pytest.raises(fault):
            verb("sacctmgr", "show")
    assert time.monotonic() - began < 5


def test_read__answers_nought_but_reached_nobody__is_unreachable(tool: Callable[[str], SlurmClient]) -> None:
    with pytest.raises(BackendUnreachable):
        tool("echo 'error: Unable to contact slurm controller' >&2").read("sacctmgr")


def test_run__no_such_program__is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(BackendUnreachable):
        SlurmClient(SlurmSettings(bin_path=str(tmp_path / "nothing"))).read("sacctmgr")


@pytest.mark.parametrize("word", ["a\nb", "a\0b"])
def test_run__line_end_in_an_argument__is_refused_before_it_runs(tool: Callable[[str], SlurmClient], word: str) -> None:
    with pytest.raises(SlurmRefused):
        tool("echo ran").read("sacctmgr", word)


def test_write__dry_run__is_noted_and_not_run(tmp_path: Path) -> None:
    client = SlurmClient(SlurmSettings(bin_path=str(tmp_path / "nothing"), dry_run=True))
    client.write("sacctmgr", "-i", "add")
    assert client.planned == [("sacctmgr", "-i", "add")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"reach": "ssh"},
        {"reach": "ssh", "ssh_host": "-oProxyCommand=evil"},
        {"reach": "ssh", "ssh_host": "a b"},
        {"reach": "ssh", "ssh_host": "h", "ssh_user": "-x"},
        {"ssh_key_file": "relative"},
        {"bin_path": "bin"},
        {"parent_account": "Root"},
        {"parent_account": "a,b"},
        {"qos": "a,b c"},
        {"qos": "a", "default_qos": "b"},
        {"components": {}},
        {"components": {"cpu": "CPU!"}},
        {"components": {"cpu": "cpu", "core": "cpu"}},
        {"allocation_account": "{slug}"},
        {"allocation_account": "{id.__class__}"},
        {"allocation_account": "{id:>5}-{slug}"},
        {"allocation_account": "{id"},
        {"project_account": "{organization}-{id}"},
        {"organization_account": "{slug}-p{id}"},
        {"tag": "a b"},
        {"cluster": "-x"},
        {"unheard_of": 1},
    ],
)
def test_settings__wrong__are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        SlurmSettings(**wrong)  # type: ignore[arg-type]
