"""The scenarios hold through the engine: exactly in trees; by laws and carried amounts with several sources."""

import json
from pathlib import Path
from typing import Any

import pytest

from bursar.engine.ledger import available, broken_laws
from bursar.engine.ledger.book import ROOT
from bursar.engine.ledger.scenario import Player, replay

FILE = Path(__file__).with_name("scenarios.jsonl")
SCENARIOS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text().splitlines()]
TREES = [scenario for scenario in SCENARIOS if scenario["tree"]]
GRAPHS = [scenario for scenario in SCENARIOS if not scenario["tree"]]


def test_scenarios__all_are_there() -> None:
    assert (len(TREES), len(GRAPHS)) == (54, 18)


@pytest.mark.parametrize("scenario", TREES, ids=lambda s: s["name"])
def test_replay__one_source_each__every_figure_is_the_expected_one(scenario: dict[str, Any]) -> None:
    for step, got, expected in zip(scenario["steps"], replay(scenario), scenario["expect"], strict=True):
        assert got == expected, step


@pytest.mark.parametrize("scenario", GRAPHS, ids=lambda s: s["name"])
def test_replay__several_sources__used_refused_laws_and_what_is_carried_hold(scenario: dict[str, Any]) -> None:
    player = Player(scenario)
    book = player.book
    for step, expected in zip(scenario["steps"], scenario["expect"], strict=True):
        player.play({"op": "advance", "at": step["at"]})
        carried_before = _carried(player)
        room = available(book, player.wallets[step["wallet"]], step.get("used_at")) if "amount" in step else 0
        used_before = book.used.sum()
        got = player.state(refused=player.play(step))
        assert got["refused"] == expected["refused"], step
        assert {name: wallet["used"] for name, wallet in got["wallets"].items()} == {
            name: wallet["used"] for name, wallet in expected["wallets"].items()
        }, step
        assert broken_laws(book) == [], step
        amount = int(book.used.sum() - used_before)
        if "amount" in step and amount >= 0:
            carried = _carried(player) - carried_before
            if "used_at" in step:
                assert carried >= min(amount, room), step
            else:
                assert carried == min(amount, room), step


def _carried(player: Player) -> int:
    return int(player.book.drawn[player.book.source == ROOT].sum())
