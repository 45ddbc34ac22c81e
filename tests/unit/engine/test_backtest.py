"""How well the forecast does on histories of a known kind, in exact counts; the decision has those of larger runs."""

import random

import numpy as np
import pytest

from bursar.config.demo.world import usage_of_day
from bursar.engine.backtest import Tally, backtest
from bursar.engine.forecast import CHOSEN, Method

DAYS = 364
PLAIN = Method(memory=None, spread=False, trend=0)


def rhythm(name: str, count: int = 6) -> list[list[int]]:
    """Histories as projects of the demo world have them."""
    found = []
    for number in range(count):
        rng = random.Random(f"{name}/{number}")
        found.append([int(1000 * usage_of_day(name, day, DAYS, rng)) for day in range(DAYS)])
    return found


def wandering(count: int = 6) -> list[list[int]]:
    """A level that wanders from week to week, with weekends and noise."""
    rng = np.random.Generator(np.random.PCG64(5))
    found = []
    for _ in range(count):
        steps = rng.standard_normal(DAYS // 7)
        level = [0.0]
        for step in steps:
            level.append(0.9 * level[-1] + 0.2 * step)
        days = np.exp(np.repeat(level[1:], 7)) * np.tile([1, 1, 1, 1, 1, 0.4, 0.3], DAYS // 7)
        found.append((1000 * days * rng.uniform(0.5, 1.5, DAYS)).astype(int).tolist())
    return found


def coverage(histories: list[list[int]], method: Method = CHOSEN) -> list[int]:
    """In per cent, by horizon."""
    found = backtest(histories, seed=20, samples=200, method=method)
    return [round(100 * one.within / one.cases) for one in found.tallies]


def test_backtest__a_history_without_chance__is_told_exactly() -> None:
    found = backtest([[10, 20, 30, 0, 0, 5, 5] * 14], seed=1, samples=20, horizons=(2, 6))
    assert found.tallies == (
        Tally(2, cases=3, below_low=0, below_middle=0, below_high=0, within=3, width=0, loss=0, truth=3 * 140),
        Tally(6, cases=1, below_low=0, below_middle=0, below_high=0, within=1, width=0, loss=0, truth=420),
    )
    assert (found.series, found.idle) == (1, 0)


def test_backtest__a_change_that_nothing_foretold__lies_outside() -> None:
    doubled = [10] * 7 * 8 + [20] * 7 * 4
    (one,) = backtest([doubled], seed=1, samples=20, horizons=(4,)).tallies
    assert one == Tally(4, cases=1, below_low=0, below_middle=0, below_high=0, within=0, width=0, loss=420, truth=560)
    halved = [20] * 7 * 8 + [10] * 7 * 4
    (one,) = backtest([halved], seed=1, samples=20, horizons=(4,)).tallies
    assert (one.below_low, one.below_middle, one.below_high, one.within) == (1, 1, 1, 0)


def test_backtest__short_or_idle_histories__teach_nothing() -> None:
    found = backtest([[5] * 7 * 11, [0] * 7 * 12, []], seed=1, horizons=(4,))
    assert (found.series, found.idle, found.tallies[0].cases) == (1, 1, 0)


@pytest.mark.parametrize(
    "name, chosen, plain",
    [
        ("steady", [79, 82, 74, 88], [77, 75, 72, 67]),
        ("bursty", [71, 89, 95, 88], [82, 90, 100, 97]),
        ("growing", [87, 89, 93, 92], [0, 0, 0, 0]),
        ("quiet", [71, 70, 76, 85], [75, 68, 77, 68]),
    ],
)
def test_backtest__a_rhythm_of_the_demo__is_covered_so_often(name: str, chosen: list[int], plain: list[int]) -> None:
    assert (coverage(rhythm(name)), coverage(rhythm(name), PLAIN)) == (chosen, plain)


def test_backtest__a_wandering_level__is_covered_so_often() -> None:
    assert (coverage(wandering()), coverage(wandering(), PLAIN)) == ([59, 50, 42, 48], [37, 28, 18, 22])
