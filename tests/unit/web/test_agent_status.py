"""What an agent says of itself is read whatever it is, and its file is one that it can read."""

import tomllib
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from pydantic import Field, SecretStr

from bursar.agent.configuration import Configuration
from bursar.catalogue.models import Agent, Backend
from bursar.plugins.contract import BackendSettings
from bursar.web.agent_status import (
    BadRecord,
    Measured,
    Mended,
    Output,
    Rival,
    Status,
    Trouble,
    clock_difference,
    configuration_for,
    read_declared,
    read_rival,
    read_status,
)

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOLD: dict[str, Any] = {
    "done_number": 41,
    "read_number": 44,
    "outstanding": 2,
    "trouble": [
        {"subject": "resource 12", "message": "sacctmgr: no", "since": "2026-11-21T12:00:00+00:00", "attempts": 3},
        {"subject": "measuring Thor", "message": "late", "since": "2026-11-21T12:00:00", "attempts": 1},
    ],
    "spool": {"count": 7, "oldest_at": "2026-11-21T13:00:00+01:00", "stuck": [{"id": "job-1", "why": "No number."}]},
    "set_aside": [{"id": "job-2", "why": "first"}, {"id": "job-3", "why": "then"}],
    "mended": [{"at": "2026-11-21T12:00:00+00:00", "resource": "12", "what": "Mended: its limits."}],
    "measured_at": {"Thor": "2026-11-21T12:00:00+00:00"},
    "outputs": [
        {
            "verb": "ensure", "command": ["/opt/make", "a b"], "exit_code": 0, "seconds": 0.25, "text": "made",
            "at": "2026-11-21T12:00Z",
        },
        {"verb": "observe", "command": ["/opt/no"], "exit_code": None, "seconds": 0, "text": ""},
        {"verb": "remove", "command": "/opt/rm", "exit_code": -9, "seconds": 60, "text": "\x1b[31mno\x1b[0m\x00\n", "at": None},
    ],
}  # fmt: skip


def test_read_status__as_the_agent_says_it__holds_all_of_it() -> None:
    assert read_status(TOLD) == Status(
        read_number=44,
        done_number=41,
        outstanding=2,
        waiting=7,
        waiting_since=AT,
        stuck=(BadRecord("job-1", "No number."),),
        set_aside=(BadRecord("job-3", "then"), BadRecord("job-2", "first")),
        trouble=(
            Trouble("resource 12", 12, "sacctmgr: no", AT, 3),
            Trouble("measuring Thor", None, "late", AT, 1),
        ),
        mended=(Mended("resource 12", 12, "Mended: its limits.", AT),),
        measured=(Measured("Thor", AT),),
        outputs=(
            Output("remove", "/opt/rm", -9, 60.0, "no\n", None),
            Output("observe", "/opt/no", None, 0.0, "", None),
            Output("ensure", "/opt/make 'a b'", 0, 0.25, "made", AT),
        ),
    )
    assert read_status(TOLD).resource_ids == {12}
    assert [one.failed for one in read_status(TOLD).outputs] == [True, True, False]


ODD: tuple[Any, ...] = (
    None, True, -1, 2**70, 1e300, "", "x" * 30_000, "9999-12-31T23:59:59", "0001-01-01T00:00:00+14:00", "resource 0",
    "resource 99999999999999999999", [], [None, 7, "x", [[]]], [{}] * 90, {}, {"": {"": []}}, {"id": [], "why": {}},
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:30])
def test_read_status__any_shape__is_read(odd: Any) -> None:
    read_status(odd)
    read_rival(odd)
    read_declared(odd)
    for key, value in TOLD.items():
        read_status({**TOLD, key: odd})
        if isinstance(value, list):
            for name in value[0]:
                read_status({key: [{**value[0], name: odd}]})
    for key in TOLD["spool"]:
        read_status({"spool": {**TOLD["spool"], key: odd}})
    read_status({"measured_at": {"Thor": odd}})


def test_read_status__nothing_of_use__is_empty() -> None:
    told = {
        "trouble": ["x"],
        "spool": [],
        "read_number": "7",
        "done_number": True,
        "outstanding": -1,
        "outputs": {"a": 1},
    }
    assert read_status(told) == read_status([]) == Status()


def test_read_status__too_long__is_cut() -> None:
    status = read_status(
        {
            "trouble": [{"subject": f"s{n}", "message": "m" * 1001} for n in range(60)],
            "outputs": [{"text": "t" * 90_000, "command": ["c" * 150] * 9}],
        }
    )
    assert len(status.trouble) == 50
    assert status.trouble[0].message == "m" * 1000 + "…"
    assert (status.outputs[0].text, status.outputs[0].command) == (
        "t" * 20_000 + "…",
        (" ".join(["c" * 150] * 9))[:1000] + "…",
    )


def test_read_status__time_that_no_zone_can_show__is_left_out() -> None:
    times = ["9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00", "2026-13-01", "now"]
    status = read_status({"mended": [{"at": at} for at in times]})
    assert [one.at for one in status.mended] == [None] * 4


def test_read_rival__refused__is_told() -> None:
    told = {"at": "2026-11-21T12:00:00+00:00", "host": "b\u202eb", "address": "192.0.2.7", "instance": "x"}
    assert read_rival(told) == Rival("bb", "192.0.2.7", AT)
    assert read_rival({}) is None


@pytest.mark.parametrize("ms, told", [(5000, None), (-5000, None), (5001, 5001), (-12_000, -12_000), (2**62, 10**12)])
def test_clock_difference__of_more_than_five_seconds__is_told(ms: int, told: int | None) -> None:
    ahead = clock_difference(Agent(clock_ahead_ms=ms))
    assert ahead == (None if told is None else timedelta(milliseconds=told))


class Needy(BackendSettings):
    cluster: Annotated[str, Field(title="Cluster")]
    token: Annotated[SecretStr, Field(title="Token")]
    port: int = 22
    hosts: list[str] = []
    strict: Annotated[bool, Field(title="Two\nlines")] = True


def test_configuration_for__backend__is_a_file_that_the_agent_reads() -> None:
    backend = Backend(name='Thor "the\\first"\x7f', plugin="slurm", runs_at="site")
    told = tomllib.loads(configuration_for(backend, Needy, "https://bursar.example"))
    assert told == {
        "server": {"url": "https://bursar.example", "token_file": "/etc/bursar-agent/token"},
        "agent": {"folder": "/var/lib/bursar-agent"},
        "backend": [
            {
                "name": 'Thor "the\\first"\x7f',
                "plugin": "slurm",
                "settings": {"cluster": "…", "token": {"file": "/etc/bursar-agent/slurm-token"}},
            }
        ],
    }
    assert Configuration.model_validate(told).backend[0].name == 'Thor "the\\first"\x7f'


def test_configuration_for__settings_with_a_default__stand_behind_a_number_sign() -> None:
    text = configuration_for(Backend(name="Thor", plugin="slurm"), Needy, "https://bursar.example")
    assert text.endswith(
        '[backend.settings]\ncluster = "…"  # Cluster\ntoken = { file = "/etc/bursar-agent/slurm-token" }  # Token\n'
        "# port = 22\n# hosts = …\n# strict = true  # Two lines\n"
    )


def test_configuration_for__plugin_that_is_only_at_the_site__leaves_its_settings_open() -> None:
    text = configuration_for(Backend(name="Thor", plugin="own"), None, "https://bursar.example")
    assert text.endswith('name = "Thor"\nplugin = "own"\n[backend.settings]\n')
