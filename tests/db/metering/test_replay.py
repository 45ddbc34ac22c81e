"""The scenarios hold through the posting service as they do through the engine alone."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bursar.engine.ledger.scenario import replay as play
from bursar.metering.replay import Player, replay

pytestmark = pytest.mark.slow

FILE = Path(__file__).parents[2] / "golden" / "ledger" / "scenarios.jsonl"
SCENARIOS: list[dict[str, Any]] = [json.loads(line) for line in FILE.read_text().splitlines()]
# All of them take a minute; each third one has every family among them, and the soak plays them all.
ALL = bool(os.environ.get("BURSAR_SOAK"))
CHOSEN = [
    pytest.param(one, id=one["name"], marks=[pytest.mark.soak] if ALL else [])
    for one in (SCENARIOS if ALL else SCENARIOS[1::3])
]


def test_replay__the_chosen_scenarios__are_of_every_family() -> None:
    assert {one.values[0]["family"] for one in CHOSEN} == {one["family"] for one in SCENARIOS}


@pytest.mark.django_db
@pytest.mark.parametrize("scenario", CHOSEN)
def test_replay__through_the_database__equals_what_must_be_equal(scenario: dict[str, Any], verified) -> None:
    player = Player(scenario)
    verified(player.category)
    alone = play(scenario)
    for step, expected, engine in zip(scenario["steps"], scenario["expect"], alone, strict=True):
        got = player.state(refused=player.play(step), at=step["at"])
        if scenario["tree"]:
            assert got == expected, step
        assert got == engine, step


@pytest.mark.django_db
def test_replay__of_a_file__prints_the_same_and_leaves_nothing() -> None:
    from bursar.catalogue.models import ProductCategory

    lines = FILE.read_text().splitlines()[:2]
    assert list(replay(lines, database=True)) == list(replay(lines, database=False))
    assert ProductCategory.objects.count() == 0
