"""`bursar ledger`: what it prints for people and for programs, and how it ends."""

import json
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from typer.testing import CliRunner, Result

from bursar.accounting.models import Operation, Wallet
from bursar.config import ledger_cli
from bursar.metering.services import post_reports
from tests.factories.ledger import make_report
from tests.factories.nation import Nation, make_nation

pytestmark = pytest.mark.slow
SCENARIOS = Path(__file__).parents[2] / "golden" / "ledger" / "scenarios.jsonl"


@pytest.fixture(autouse=True)
def already_running(monkeypatch) -> None:
    """The tests' own database runs already."""
    monkeypatch.setattr(ledger_cli, "_setup", lambda **_: None)
    monkeypatch.setattr(ledger_cli.out, "_width", 200)  # COLUMNS is read when the console is made


@pytest.fixture(scope="module")
def made(standing: Any) -> Nation:
    return standing(make_nation)


@pytest.fixture
def nation(made: Nation, db: None) -> Nation:
    return deepcopy(made)


def run(*words: object, given: str | None = None) -> Result:
    return CliRunner().invoke(ledger_cli.app, [str(word) for word in words], input=given)


def test_as_of__a_wallet__in_units_with_zone_and_as_json(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    told = run("as-of", wallet.pk)
    assert told.exit_code == 0
    assert "Lattice physics · CPU on Thor (core-hours)" in told.output
    assert "600" in told.output
    assert "UTC" in told.output
    read = json.loads(run("as-of", wallet.pk, "--json").output)
    assert (read["used_ticks"], read["available_ticks"], read["locked"]) == (600 * 3600, 0, True)
    assert read["allocations"][0]["allocation_id"] == nation.to_physics.pk
    before = (timezone.now() - timedelta(days=95)).date()
    change = json.loads(run("as-of", wallet.pk, "--at", before, "--to", timezone.now().isoformat(), "--json").output)
    assert change["difference"]["used_ticks"] == 600 * 3600
    assert change["from"]["allocations"] == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--at", "yesterday"), "neither a day"),
        (("--known-at", "2126-01-01"), "not known yet"),
    ],
)
def test_as_of__wrong_times__ends_with_a_reason(nation: Nation, words, said) -> None:
    told = run("as-of", nation.wallet(nation.physics).pk, *words)
    assert told.exit_code != 0
    assert said in " ".join(told.output.replace("│", " ").split())


@pytest.mark.django_db
def test_as_of__no_such_wallet__ends_with_2() -> None:
    told = run("as-of", 999_999_999)
    assert (told.exit_code, told.output) == (2, "There is no wallet 999999999.\n")


def test_verify__a_balance_was_edited__names_it_and_ends_with_1(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    assert run("verify").exit_code == 0
    Wallet.objects.filter(pk=wallet.pk).update(used_ticks=5)
    told = run("verify", "--category", wallet.category_id)
    assert told.exit_code == 1
    assert "1 ledgers were compared; 1 differ." in told.output
    read = run("verify", "--json")
    assert read.exit_code == 1
    assert json.loads(read.output)[0]["discrepancies"][0] == {
        "against": "journal", "subject": "wallet", "subject_id": wallet.pk, "figure": "used", "kept": "5",
        "recomputed": str(600 * 3600),
    }  # fmt: skip
    assert run("verify", "--category", 0).exit_code == 2


def test_what_if__a_rate_and_a_change__says_when_it_locks(nation: Nation) -> None:
    wallet, until = nation.wallet(nation.physics), (timezone.now() + timedelta(days=9)).isoformat()
    words = ("what-if", wallet.pk, "--until", until, "--try", f"change allocation={nation.to_physics.pk} quota=624")
    told = run(*words, "--try", "rate amount=12", "--json")
    locked_at = timezone.datetime.fromisoformat(json.loads(told.output)["locked_at"])
    assert abs(locked_at - timezone.now() - timedelta(days=2)) < timedelta(minutes=2)
    shown = run(*words, "--try", "rate amount=12")
    assert f"allocation {nation.to_physics.pk} of 624 to Lattice physics" in shown.output
    assert Operation.objects.filter(kind="change").count() == 0
    wrong = run(*words, "--try", "conjure amount=1")
    assert wrong.exit_code == 2


def test_explain__wallet_report_and_operation__in_words_and_rows(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    told = run("explain", wallet.pk)
    assert f"Allocation {nation.to_physics.pk} of 600 core-hours to Lattice physics is used up." in told.output
    assert "It would be free with at least" in told.output
    now = timezone.now()
    report = make_report(wallet.workspace, wallet.category, 3600, until=now)
    post_reports(reports=[report], by=None, at=now)
    booked = run("explain", "--report", report.report_id, "--category", wallet.category_id)
    assert f"Report {report.report_id} said 1 core-hours" in booked.output
    operation = Operation.objects.order_by("-pk").first()
    rows = json.loads(run("explain", "--operation", operation.pk, "--json").output)
    assert (rows["kind"], sum(row["used_ticks"] for row in rows["postings"])) == ("usage", 3600)
    assert run("explain").exit_code == 2
    assert run("explain", "--report", "x").exit_code == 2


def test_write_off_and_transfer__from_the_shell__are_done_or_refused_in_words(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    now = timezone.now()
    post_reports(reports=[make_report(wallet.workspace, wallet.category, 7200, until=now)], by=None, at=now)
    done = run("write-off", wallet.pk, "1.5", "--reason", "The node was broken.")
    assert done.output == "Written off. 0.5 core-hours stands uncovered, 1.5 core-hours is written off.\n"
    refused = run("write-off", wallet.pk, "1", "--reason", "Again.")
    assert (refused.exit_code, refused.output) == (
        1, "Only 0.5 core-hours stands uncovered here; no more can be written off.\n",
    )  # fmt: skip
    moved = run("transfer", nation.to_chemistry.pk, nation.to_physics.pk, "100")
    assert moved.output == (
        f"Moved. Allocation {nation.to_chemistry.pk} has 400 core-hours, "
        f"allocation {nation.to_physics.pk} has 700 core-hours.\n"
    )


def test_write_off__a_remainder_that_the_unit_cannot_write__goes_by_ticks_or_as_all(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    now = timezone.now()
    words = ("write-off", wallet.pk, "--reason", "The node was broken.")
    assert run(*words, "--all").output == "Only 0 core-hours stands uncovered here; no more can be written off.\n"
    post_reports(reports=[make_report(wallet.workspace, wallet.category, 18, until=now)], by=None, at=now)
    done = run(*words, "11", "--ticks")
    assert (
        done.output
        == "Written off. 0.001944444444 core-hours stands uncovered, 0.003055555556 core-hours is written off.\n"
    )
    done = run(*words, "--all")
    assert done.output == "Written off. 0 core-hours stands uncovered, 0.005 core-hours is written off.\n"
    assert (run(*words).exit_code, run(*words, "1", "--all").exit_code) == (2, 2)
    assert "1.5 ticks cannot be counted exactly" in " ".join(run(*words, "1.5", "--ticks").output.split())
    moved = run("transfer", nation.to_chemistry.pk, nation.to_physics.pk, "36", "--ticks")
    assert f"allocation {nation.to_physics.pk} has 600.01 core-hours" in moved.output


def test_explain__what_would_free_it__can_be_entered(nation: Nation) -> None:
    wallet = nation.wallet(nation.physics)
    now = timezone.now()
    post_reports(reports=[make_report(wallet.workspace, wallet.category, 10, until=now)], by=None, at=now)
    told = run("explain", wallet.pk)
    more = "at least 0.005 core-hours more through allocation"  # 11 ticks would do, which no decimal writes
    assert f"It would be free with {more} {nation.to_physics.pk} to Lattice physics." in told.output
    tried = f"change allocation={nation.to_physics.pk} quota_ticks={600 * 3600 + 18}"
    until = now + timedelta(days=1)
    state = json.loads(run("what-if", wallet.pk, "--until", until.isoformat(), "--try", tried, "--json").output)
    assert state["wallets"][0]["available_ticks"] == 8


def past(path: Path, wallet: Wallet, count: int) -> Path:
    """A file of usage of the past: an hour's tick in each line."""
    day = "2026-01-01T{:02}:00:00Z"
    lines = [f"past-{n},{wallet.workspace_id},1,{day.format(n)},{day.format(n + 1)}" for n in range(count)]
    path.write_text("\n".join(["report_id,workspace_id,amount_ticks,period_start,period_end", *lines, ""]))
    return path


def test_backfill__a_file_that_was_finished_before__says_so(nation: Nation, tmp_path) -> None:
    wallet = nation.wallet(nation.physics)
    words = ("backfill", past(tmp_path / "usage.csv", wallet, 3), "--category", wallet.category_id)
    assert run(*words).output == "3 booked, 0 known before, 0 set aside.\n"
    assert run(*words).output == (
        "This file was finished before, and nothing of it was booked now. Then: 3 booked, 0 known before, 0 set aside.\n"
    )
    past(tmp_path / "usage.csv", wallet, 5)
    assert run(*words).output == ("5 booked, 0 known before, 0 set aside; the first 3 lines by an earlier run.\n")


def test_backfill__nowhere_to_set_aside__ends_with_2_and_books_nothing(nation: Nation, tmp_path) -> None:
    wallet = nation.wallet(nation.physics)
    used, nowhere = wallet.used_ticks, tmp_path / "nope" / "aside.csv"
    file = past(tmp_path / "usage.csv", wallet, 3)
    told = run("backfill", file, "--category", wallet.category_id, "--set-aside", nowhere)
    assert (told.exit_code, told.output) == (2, f"[Errno 2] No such file or directory: '{nowhere}'\n")
    wallet.refresh_from_db()
    assert wallet.used_ticks == used


def test_replay__the_scenarios__all_are_equal_and_json_is_the_expect_list() -> None:
    told = run("replay", SCENARIOS)
    assert told.exit_code == 0
    assert [line.split()[-1] for line in told.output.splitlines()] == ["equal"] * 72
    lines = SCENARIOS.read_text().splitlines()
    got = [json.loads(line) for line in run("replay", SCENARIOS, "--json").output.splitlines()]
    assert len(got) == 72
    for scenario, states in zip(map(json.loads, lines), got, strict=True):
        assert not scenario["tree"] or states == scenario["expect"]


ODD = {
    "charged": "once",
    "wallets": ["a"],
    "steps": [
        {"op": "change", "at": 0, "id": "nothing", "quota": 5},
        {"op": "charge", "at": 0, "wallet": "nobody", "amount": 1},
        {"op": "allocate", "at": 0, "id": "x", "wallet": "a", "source": None, "quota": 5, "start": 0, "end": 9},
        {"op": "allocate", "at": 0, "id": "x", "wallet": "a", "source": None, "quota": 5, "start": 0, "end": 9},
        {"op": "level", "at": 1, "wallet": "a", "amount": -1},
        {"op": "charge", "at": 1, "wallet": "a", "amount": 2**63},
        {"op": "charge", "at": 1, "wallet": "a", "amount": 1, "used_at": 1000},
        {"op": "charge", "at": 1, "wallet": "a", "amount": 7, "used_at": 200, "scope": None},
        {"op": "charge", "at": 1, "wallet": "a", "amount": -8},
        {"op": "advance", "at": 9},
    ],
}


@pytest.mark.django_db
@pytest.mark.parametrize("through", [(), ("--database",)])
def test_replay__steps_that_nothing_can_do__are_refused_and_change_nothing(tmp_path, through) -> None:
    file = tmp_path / "odd.jsonl"
    file.write_text(json.dumps(ODD))
    got = json.loads(run("replay", file, "--json", *through).output)
    assert [state["refused"] for state in got] == [True, True, False, True, True, True, True, False, True, False]
    assert got[-2]["wallets"] == {"a": {"used": 7, "uncovered": 2, "available": 0}}
    assert got[-1] == {
        "refused": False, "wallets": {"a": {"used": 7, "uncovered": 7, "available": 0}}, "allocations": {"x": 0},
    }  # fmt: skip


def step(op: str, at: int, amount: int, **more: Any) -> dict[str, Any]:
    return {"op": op, "at": at, "wallet": "a", "amount": amount, **more}


# A refused step settles nothing, a level that is as it was settles the kind, and a charge of the whole is always taken.
MIXED = [
    (
        [step("level", 0, -1), step("charge", 1, 5, scope="s"), step("level", 2, 9), step("charge", 3, 1)],
        [1, 0, 1, 0],
        6,
    ),
    ([step("charge", 0, -5, scope="s"), step("level", 1, 3), step("level", 2, 3, scope="s")], [1, 0, 1], 3),
    (
        [step("charge", 0, 2), step("level", 1, 2), step("charge", 2, 1, scope="s"), step("level", 3, 4)],
        [0, 0, 1, 0],
        4,
    ),
    ([step("level", 0, 0, scope="s"), step("level", 1, 4), step("level", 2, 4, scope="")], [0, 1, 1], 0),
    ([step("charge", 0, 0, scope="s"), step("level", 1, 4)], [0, 1], 0),
]


@pytest.mark.django_db
@pytest.mark.parametrize("through", [(), ("--database",)])
@pytest.mark.parametrize(("steps", "refused", "used"), MIXED)
def test_replay__levels_of_scopes_and_of_the_whole__are_never_mixed(tmp_path, through, steps, refused, used) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text(json.dumps({"charged": "once", "wallets": ["a"], "steps": steps}))
    got = json.loads(run("replay", file, "--json", *through).output)
    assert [state["refused"] for state in got] == [bool(one) for one in refused]
    assert got[-1]["wallets"]["a"]["used"] == used


@pytest.mark.django_db
def test_replay__grace_of_half_a_day__is_left_out_of_the_database_alone(tmp_path) -> None:
    file = tmp_path / "grace.jsonl"
    short = {"charged": "over_time", "grace": 43200, "wallets": ["a"], "steps": [step("charge", 0, 1)]}
    level = {**short, "charged": "once", "name": "level"}  # which knows no grace
    file.write_text("".join(json.dumps(one) + "\n" for one in (short, level)))
    said = "line 1: not played: in the database `grace` is whole days, at most 366 - at `$.grace`\n"
    told = run("replay", file, "--database")
    assert (told.exit_code, told.stderr) == (2, said)
    assert told.stdout.split() == ["level", "1", "steps", "0", "refused", "nothing", "to", "hold", "it", "against"]
    got = run("replay", file, "--database", "--json").stdout.splitlines()
    assert (len(got), got[0], json.loads(got[1])[0]["wallets"]["a"]["used"]) == (2, "null", 1)
    assert run("replay", file).exit_code == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"name": ' + "[" * 50_000, "line 2: it is nested too deeply"),
        (
            json.dumps({**ODD, "wallets": ["a", "b" * 201]}),
            "line 2: a name has at most 200 characters - at `$.wallets[1]`",
        ),
        (json.dumps({**ODD, "wallets": ["a\0"]}), "line 2: a name holds no NUL - at `$.wallets[0]`"),
        (
            json.dumps({**ODD, "steps": [step("charge", 0, 1, scope="\0")]}),
            "line 2: a name holds no NUL - at `$.steps[0].scope`",
        ),
        (
            json.dumps({**ODD, "steps": [step("level", 5, 1, used_at=0)]}),
            "line 2: a level counts at its own step's time: only a charge has `used_at` - at `$.steps[0]`",
        ),
        ("{", "line 2: Input data was truncated"),
        ("[]", "line 2: Expected `object`, got `array`"),
        ('{"charged":"often","wallets":[],"steps":[]}', "line 2: Invalid enum value 'often' - at `$.charged`"),
        (
            '{"charged":"once","wallets":["a"],"steps":[{"op":"charge","at":1,"wallet":"a","amount":"3"}]}',
            "line 2: Expected `int`, got `str` - at `$.steps[0].amount`",
        ),
        (
            '{"charged":"once","wallets":["a"],"steps":[{"op":"advance","at":1},{"op":"advance","at":0}]}',
            "line 2: time goes back from 1 to 0 - at `$.steps[1].at`",
        ),
    ],
)
def test_replay__a_line_that_is_no_scenario__is_named_and_ends_with_2(tmp_path, line, said) -> None:
    file = tmp_path / "broken.jsonl"
    file.write_text(f"{json.dumps({**ODD, 'expect': []})}\n{line}\n")
    told = run("replay", file)
    assert told.exit_code == 2
    assert said in told.output.splitlines()


@pytest.mark.django_db
@pytest.mark.parametrize("through", [(), ("--database",)])
def test_replay__time_alone_brings_too_much_together__is_said_and_the_others_are_played(tmp_path, through) -> None:
    much = 2**62
    steps = [
        {
            "op": "allocate",
            "at": 0,
            "id": "r",
            "wallet": "a",
            "source": None,
            "quota": 2 * much - 1,
            "start": 0,
            "end": 100,
        },
        {"op": "allocate", "at": 0, "id": "x", "wallet": "b", "source": "a", "quota": much, "start": 0, "end": 1000},
        {"op": "allocate", "at": 0, "id": "y", "wallet": "c", "source": "a", "quota": much, "start": 0, "end": 1000},
        {"op": "charge", "at": 1, "wallet": "b", "amount": much},
        {"op": "charge", "at": 1, "wallet": "c", "amount": much - 1},
        {"op": "charge", "at": 1, "wallet": "a", "amount": 5},
        {"op": "advance", "at": 200},
    ]
    base = {"charged": "once", "wallets": ["a", "b", "c"], "expect": []}
    file = tmp_path / "scenarios.jsonl"
    file.write_text("".join(json.dumps({**base, "steps": part}) + "\n" for part in (steps, steps[:1])))
    result = CliRunner().invoke(ledger_cli.app, ["replay", str(file), "--json", *through])
    told, played = result.stdout.splitlines()
    assert (result.exit_code, told, len(json.loads(played))) == (2, "null", 1), result.output
    assert "line 1: not played" in result.stderr
