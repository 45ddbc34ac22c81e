"""How well the forecast would have done: at many days of the past, what it would have said beside what came.

What is compared is the usage from a cut day until a horizon. A wallet runs out when its usage has reached what is left, so
this is the run-out date as well, whatever quota it had: usage above its 10% line is a run-out before its 90% line.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from bursar.engine.forecast import CHOSEN, CHOSEN_FOR_LEVELS, Method, draw, range_of, whole_weeks
from bursar.engine.ledger.book import Ints

HORIZONS_WEEKS: Final = (4, 8, 13, 26)
HISTORY_WEEKS: Final = 8  # before the first cut
STEP_WEEKS: Final = 2
SAMPLES: Final = 500


@dataclass(frozen=True, slots=True)
class Tally:
    """How often the truth lay where, for one horizon. What is equal to a line counts as within, or as not below it.

    cases      forecasts that were compared
    below_low, below_middle, below_high   how many truths lay below the 10, 50, 90% line; ideally so many per cent
    within     how many lay between the 10 and the 90% line, or on them; ideally 80%
    width      sum of the distances between these lines, ticks: the sharpness
    loss       sum of the quantile losses over the three lines, ticks: of two methods the better one has less
    truth      sum of what was really used (of a level: of the absolute change), ticks; makes widths and losses comparable
    """

    horizon_weeks: int
    cases: int
    below_low: int
    below_middle: int
    below_high: int
    within: int
    width: int
    loss: float
    truth: int


@dataclass(frozen=True, slots=True)
class Backtest:
    """`series` with enough history; of `idle` cases (nothing was used before, nothing after) nothing can be learnt."""

    tallies: tuple[Tally, ...]
    series: int
    idle: int


def backtest(
    histories: Iterable[Sequence[int] | Ints],
    *,
    seed: int,
    is_level: bool = False,
    horizons: Sequence[int] = HORIZONS_WEEKS,
    step: int = STEP_WEEKS,
    samples: int = SAMPLES,
    method: Method | None = None,
) -> Backtest:
    """Forecast at every `step`-th week of each history from the past alone, and compare.

    method      None = the chosen one
    histories   each shape (days,), ticks by day, the oldest first
    """
    chosen = method or (CHOSEN_FOR_LEVELS if is_level else CHOSEN)
    found: dict[int, list[tuple[int, int, int, int]]] = {horizon: [] for horizon in horizons}
    series = idle = 0
    for number, history in enumerate(histories):
        weeks = whole_weeks(history)
        if not is_level:
            weeks = np.maximum(weeks, 0)
        cuts = range(HISTORY_WEEKS, len(weeks) - min(horizons) + 1, step)
        series += bool(cuts)
        for cut in cuts:
            past = weeks[:cut]
            within = [horizon for horizon in horizons if cut + horizon <= len(weeks)]
            if not past.any() and not weeks[cut : cut + max(within)].any():
                idle += len(within)
                continue
            sums = np.cumsum(draw(past, 7 * max(within), seed + 1000 * number + cut, samples, chosen), axis=1)
            for horizon in within:
                said = range_of(sums[:, 7 * horizon - 1])
                truth = int(weeks[cut : cut + horizon].sum())
                found[horizon].append((said.low, said.middle, said.high, truth))
    return Backtest(tuple(_tally(horizon, rows) for horizon, rows in found.items()), series, idle)


def _tally(horizon: int, rows: Sequence[tuple[int, int, int, int]]) -> Tally:
    loss = sum(
        max(percent * (truth - line), (percent - 100) * (truth - line)) / 100
        for *lines, truth in rows
        for percent, line in zip((10, 50, 90), lines, strict=True)
    )
    return Tally(
        horizon_weeks=horizon,
        cases=len(rows),
        below_low=sum(truth < low for low, _, _, truth in rows),
        below_middle=sum(truth < middle for _, middle, _, truth in rows),
        below_high=sum(truth < high for _, _, high, truth in rows),
        within=sum(low <= truth <= high for low, _, high, truth in rows),
        width=sum(high - low for low, _, high, _ in rows),
        loss=loss,
        truth=sum(abs(truth) for *_, truth in rows),
    )
