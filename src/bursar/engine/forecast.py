"""When a wallet is likely to run out and what it is likely to forfeit, by resampling whole past weeks.

Each sample is one possible future: weeks of the past in a row drawn anew (so a Sunday stays a Sunday), played against the
wallet's allocations, first used what expires first. What is answered are order statistics over the samples.

What is assumed, so that it can be judged:

- The future is made of weeks like those of the past. Nobody knows whether the last weeks or the whole year are the better
  guide, nor whether a growth goes on: so each sample has its own memory, its own weights of the weeks and, half of them, its own
  trend. Ranges without that are too narrow (docs/adr/0020 has the figures).
- What finds no room is not used: a locked wallet starts nothing new. What stands uncovered now is covered first.
- Above, each source keeps what it has free now until its own windows end: siblings are not forecast. Where a source is
  promised to many, the answer is the latest run-out, not the likeliest.
- A gap between windows is no run-out, nothing is open then; a window in which nothing is left is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bursar.engine.ledger.book import MAX, Ints
from bursar.engine.ledger.errors import Overflow

DAY: Final = 86_400_000_000  # microseconds
HORIZON_DAYS: Final = 731  # nothing is said about what lies further ahead
HISTORY_WEEKS_MIN: Final = 2
HISTORY_WEEKS_MAX: Final = 52
SAMPLES: Final = 1000
LEVELS: Final = (10, 50, 90)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Method:
    """How the weeks of a sample are drawn.

    memory   weeks after which a week of the past counts half: each sample has its own, between these two, evenly over their
             logarithms; None = all weeks count the same
    spread   whether each sample also weighs the weeks at random (the Bayesian bootstrap)
    trend    in what part of the samples the slope of the past goes on
    """

    memory: tuple[float, float] | None = (1, 52)
    spread: bool = True
    trend: float = 0.5


CHOSEN: Final = Method()
# The mean of the changes of a level is its slope already.
CHOSEN_FOR_LEVELS: Final = Method(trend=0)
TREND_WEEKS_MIN: Final = 4  # of history
TREND_WEEKS_MAX: Final = 26  # ahead: a slope is not drawn out further
LIFT_WEEKS_MAX: Final = 13  # a past week is brought up to today's level by at most so many weeks of slope
FACTOR_MAX: Final = 4
SLOPE_MIN: Final = 1e-9  # less is the rounding of a slope that is none


@dataclass(frozen=True, slots=True)
class Grant:
    """An allocation that the wallet holds, open or planned.

    left     ticks, quota less drawn
    source   its column in `Stretch.free`, None = nothing above bounds it
    """

    left: int
    start: int
    end: int
    priority: int = 0
    source: int | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """What is free above from an instant until the next stretch, were nobody to draw any more.

    free    ticks of each source, and last of the wallet itself: sources may share what is above them
    kept    the part of it that was free in the stretch before already
    """

    start: int
    free: tuple[int, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """Order statistics at 10, 50 and 90%: low <= middle <= high."""

    low: int
    middle: int
    high: int


@dataclass(frozen=True, slots=True)
class RunOut:
    """Instants by which 10, 50 and 90% of the samples have run out; None = fewer have before the last end.

    samples   how many of all have at all
    """

    early: int | None
    likely: int | None
    late: int | None
    samples: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """weeks      whole weeks of history that it rests on; below two nothing is said and the rest is None or empty
    run_out       None where nothing is open or planned, too
    forfeited     by place in the grants; None for one whose end is past or beyond the horizon
    fan           (instant, what is used from now until then), a week apart
    samples       how many futures were drawn
    """

    weeks: int
    samples: int
    run_out: RunOut | None = None
    forfeited: tuple[Range | None, ...] = ()
    fan: tuple[tuple[int, Range], ...] = field(default=(), repr=False)

    @property
    def is_known(self) -> bool:
        return self.weeks >= HISTORY_WEEKS_MIN


def forecast(
    *,
    usage: Sequence[int] | Ints,
    now: int,
    grants: Sequence[Grant],
    stretches: Sequence[Stretch] = (),
    uncovered: int = 0,
    stops: int | None = None,
    seed: int,
    samples: int = SAMPLES,
    method: Method = CHOSEN,
) -> Forecast:
    """The forecast of a wallet whose usage accumulates.

    usage       shape (days,), ticks by day (UTC), the last is the day before that of `now`; a day below zero counts as zero
    now         microseconds since 1970, as all instants
    stretches   what is free above, from `now` on; empty = nothing above bounds it
    uncovered   ticks that stand uncovered now
    stops       from when nothing is used any more: the holder's own end
    raises      Overflow when the samples do not fit 64 bits
    """
    weeks = whole_weeks(usage)
    silent = Forecast(weeks=len(weeks), samples=samples)
    if not silent.is_known:
        return silent
    last = max((grant.end for grant in grants if grant.end > now), default=now)
    last = min(last, now + HORIZON_DAYS * DAY)
    path = _Path(draw(np.maximum(weeks, 0), _days(now, last), seed, samples, method), now, stops)
    if last == now:
        return silent
    run_out, forfeited = _play(path, now, last, grants, stretches, uncovered)
    return Forecast(weeks=len(weeks), samples=samples, run_out=run_out, forfeited=forfeited, fan=_fan(path, now, last))


def forecast_level(
    *,
    changes: Sequence[int] | Ints,
    level: int,
    now: int,
    last: int,
    rooms: Sequence[tuple[int, int | None]],
    stops: int | None = None,
    seed: int,
    samples: int = SAMPLES,
    method: Method = CHOSEN_FOR_LEVELS,
) -> Forecast:
    """The forecast of a wallet whose usage is a level: it runs out when the level has risen by all that is free.

    A level gives back what it leaves, so nothing is forfeited.

    changes   shape (days,), by how much the level rose or fell, the last is the day before that of `now`
    level     ticks now; it never falls below zero
    last      when the last window ends
    rooms     (instant, by how much the level may rise above that of now), from `now` on; below zero: it must fall; None: no
              window is open then, which is no run-out
    raises    Overflow when the samples do not fit 64 bits
    """
    weeks = whole_weeks(changes)
    last = min(last, now + HORIZON_DAYS * DAY)
    silent = Forecast(weeks=len(weeks), samples=samples)
    if not silent.is_known or last <= now:
        return silent
    drawn = draw(weeks, _days(now, last), seed, samples, method)
    path = _Path(_not_below(drawn, level), now, stops)
    run_out: Ints = np.full(samples, MAX, dtype=np.int64)
    for place, (start, room) in enumerate(rooms):
        begin, end = max(start, now), min(rooms[place + 1][0] if place + 1 < len(rooms) else last, last)
        if room is not None and begin < end:
            path.meet(run_out, np.full(samples, room, dtype=np.int64), begin, end)
    return Forecast(weeks=len(weeks), samples=samples, run_out=_run_out(run_out), fan=_fan(path, now, last))


# ------------------------------------------------------------------------------------------------ futures
def whole_weeks(usage: Sequence[int] | Ints) -> Ints:
    """The latest whole weeks, at most a year of them.

    usage     shape (days,)
    returns   shape (weeks, 7), the oldest first
    """
    try:
        days = np.asarray(usage, dtype=np.int64)
    except OverflowError:
        raise Overflow from None
    count = min(len(days) // 7, HISTORY_WEEKS_MAX)
    return days[len(days) - count * 7 :].reshape(count, 7)


def draw(weeks: Ints, days: int, seed: int, samples: int, method: Method) -> Ints:
    """Futures, day by day, of which the first has the weekday of the first in `weeks`.

    weeks     shape (weeks, 7), weeks >= 1
    returns   shape (samples, days)
    raises    Overflow when a sum over the days may not fit 64 bits
    """
    if len(weeks) and max(abs(int(weeks.max())), abs(int(weeks.min()))) > MAX // (2 * FACTOR_MAX * max(days, 1)):
        raise Overflow
    # Only doubles are asked of the generator: their stream stays the same between versions of NumPy, that of other
    # distributions need not.
    rng = np.random.Generator(np.random.PCG64(seed))
    count = len(weeks)
    age = np.arange(count - 1, -1, -1, dtype=np.float64)
    shares: Floats = np.ones((samples, count))
    if method.memory is not None:
        shortest, longest = method.memory
        shares = np.exp2(-age / (shortest * (longest / shortest) ** rng.random((samples, 1))))
    if method.spread:
        shares = shares * _exponential(rng, samples, count)
    bounds = np.cumsum(shares, axis=1)
    bounds /= bounds[:, -1:]
    trended = round(samples * method.trend) if count >= TREND_WEEKS_MIN else 0
    slope = _slopes(weeks, _exponential(rng, trended, count)) if trended else np.zeros(0)
    ahead = -(-days // 7)
    chance = rng.random((ahead, samples))  # last, so that a longer horizon goes on where a shorter one ends
    picked = _places(bounds, chance)
    drawn = weeks.take(picked, axis=0)
    if trended:
        lift = np.minimum(np.arange(count - 1, -1, -1), LIFT_WEEKS_MAX).take(picked[:trended])
        steps = np.minimum(np.arange(1, ahead + 1), TREND_WEEKS_MAX) + lift
        factor = np.clip(1 + slope[:, None] * steps, 0, FACTOR_MAX)
        np.multiply(drawn[:trended], factor[:, :, None], out=drawn[:trended], casting="unsafe")  # whole ticks, cut off
    result: Ints = drawn.reshape(samples, ahead * 7)[:, :days]
    return result


def _places(bounds: Floats, chance: Floats) -> Ints:
    """How many bounds of its sample each chance has passed, by halving, for all at once.

    bounds    shape (samples, count), rising to 1
    chance    shape (ahead, samples), below 1
    returns   shape (samples, ahead), below count
    """
    samples, count = bounds.shape
    width = 1 << count.bit_length()
    padded: Floats = np.full((width, samples), 2.0)
    padded[:count] = bounds.T
    padded[count - 1] = 1.0
    sample = np.arange(samples)
    place: Ints = np.zeros(chance.shape, dtype=np.int64)
    step = width // 2
    while step:
        place += step * (padded[place + (step - 1), sample] <= chance)
        step //= 2
    return np.ascontiguousarray(place.T)


def _exponential(rng: np.random.Generator, samples: int, count: int) -> Floats:
    """Weights that, divided by their sum, are evenly distributed over all ways to weigh."""
    result: Floats = -np.log1p(-rng.random((samples, count)))
    return result


def _slopes(weeks: Ints, weights: Floats) -> Floats:
    """By what share of the mean a week's usage rises each week: a weighted line through the weeks, for each sample."""
    total = weeks.sum(axis=1, dtype=np.float64)
    if not total.any():
        return np.zeros(len(weights))
    weights = weights / weights.sum(axis=1, keepdims=True)
    time = np.arange(len(total), dtype=np.float64)
    mean_time, mean = weights @ time, weights @ total
    result: Floats = (weights @ (time * total) - mean_time * mean) / (weights @ (time * time) - mean_time**2)
    result = result / np.maximum(mean, 1)
    result[np.abs(result) < SLOPE_MIN] = 0
    return result


def order_statistic(values: Ints, percent: int) -> int:
    """The smallest value that at least so many per cent of the sorted values do not exceed: one of them, never between."""
    return int(values[max(0, -(-percent * len(values) // 100) - 1)])


def range_of(values: Ints) -> Range:
    ordered = np.sort(values)
    return Range(*(order_statistic(ordered, percent) for percent in LEVELS))


def _days(now: int, last: int) -> int:
    """How many days (UTC) the stretch from now on touches."""
    return int(-(-last // DAY) - now // DAY)


def _not_below(changes: Ints, level: int) -> Ints:
    """The changes of a level that stays at zero where they would take it below."""
    free = level + np.cumsum(changes, axis=1)
    lacking = np.maximum(0, -np.minimum.accumulate(free, axis=1))
    held = free + lacking
    result: Ints = np.diff(held, axis=1, prepend=np.int64(level))
    return result


class _Path:
    """What all samples have used from now until an instant; within a day evenly."""

    def __init__(self, days: Ints, now: int, stops: int | None) -> None:
        self.first = now // DAY
        self.stops = MAX if stops is None else max(stops, now)
        self.sums: Ints = np.zeros((days.shape[0], days.shape[1] + 1), dtype=np.int64)
        np.cumsum(days, axis=1, out=self.sums[:, 1:])
        self.sums -= self._raw(now)[:, None]

    def _raw(self, at: int) -> Ints:
        day, rest = divmod(at - self.first * DAY, DAY)
        day = min(day, self.sums.shape[1] - 1)
        result = self.sums[:, day]
        if rest and day + 1 < self.sums.shape[1]:
            result = result + np.floor((self.sums[:, day + 1] - result) * (rest / DAY)).astype(np.int64)
        return result.copy()

    def until(self, at: int) -> Ints:
        """shape (samples,)"""
        return self._raw(min(at, self.stops))

    def meet(self, met: Ints, target: Ints, begin: int, end: int) -> None:
        """Note in `met`, where nothing is noted yet, when in `[begin, end)` each sample first has used its target."""
        at_once = (met == MAX) & (self.until(begin) >= target)
        met[at_once] = begin
        end = min(end, self.stops)
        if begin >= end:
            return
        first, last = (begin // DAY) - self.first, -(-end // DAY) - self.first
        rows = np.flatnonzero(met == MAX)
        reached = self.sums[rows, first + 1 : last + 1] >= target[rows, None]
        rows, place = rows[reached.any(axis=1)], reached.argmax(axis=1)[reached.any(axis=1)] + first
        before = self.sums[rows, place]
        share = (target[rows] - before) / (self.sums[rows, place + 1] - before)
        moment = (self.first + place) * DAY + np.ceil(share * DAY).astype(np.int64)
        moment = np.maximum(moment, begin)
        inside = moment < end
        met[rows[inside]] = moment[inside]


def _fan(path: _Path, now: int, last: int) -> tuple[tuple[int, Range], ...]:
    instants = [*range(now, last, 7 * DAY), last]
    used = np.sort(np.stack([path.until(at) for at in instants]), axis=1)
    return tuple(
        (at, Range(*(order_statistic(row, percent) for percent in LEVELS)))
        for at, row in zip(instants, used, strict=True)
    )


def _run_out(met: Ints) -> RunOut:
    ordered = np.sort(met)
    found = [order_statistic(ordered, percent) for percent in LEVELS]
    early, likely, late = (None if at == MAX else at for at in found)
    return RunOut(early, likely, late, int(np.count_nonzero(met != MAX)))


# ------------------------------------------------------------------------------------------------ against the allocations
def _play(
    path: _Path, now: int, last: int, grants: Sequence[Grant], stretches: Sequence[Stretch], uncovered: int
) -> tuple[RunOut, tuple[Range | None, ...]]:
    samples = len(path.sums)
    order = sorted(range(len(grants)), key=lambda place: (grants[place].priority, grants[place].end, place))
    left = {place: np.full(samples, max(0, grants[place].left), dtype=np.int64) for place in order}
    pools = _Pools(samples, stretches)
    debt = np.full(samples, uncovered, dtype=np.int64)
    met = np.full(samples, MAX, dtype=np.int64)
    forfeited: list[Range | None] = [None] * len(grants)

    bounds = {now, last, path.stops} | {one.start for one in stretches}
    bounds |= {instant for grant in grants for instant in (grant.start, grant.end)}
    instants = sorted(instant for instant in bounds if now <= instant <= last)
    for begin, end in pairwise(instants):
        pools.enter(begin)
        open_now = [place for place in order if grants[place].start <= begin < grants[place].end]

        def take(wanted: Ints, open_now: list[int] = open_now) -> Ints:
            """Draw what is wanted in the order of use; what was found."""
            rest = wanted.copy()
            for place in open_now:
                part = pools.take(grants[place].source, np.minimum(rest, left[place]))
                left[place] -= part
                rest -= part
            return wanted - rest

        if open_now:
            debt -= take(debt)
            room = pools.room([(grants[place].source, left[place]) for place in open_now])
            already = path.until(begin)
            path.meet(met, already + np.minimum(room, MAX // 2), begin, end)  # sums stay below half of 64 bits
            take(path.until(end) - already)
        for place in order:
            if grants[place].end == end:
                forfeited[place] = range_of(left[place])
    return _run_out(met), tuple(forfeited)


class _Pools:
    """What is still free above: by source, and for the wallet as a whole."""

    def __init__(self, samples: int, stretches: Sequence[Stretch]) -> None:
        self.samples = samples
        self.coming = {one.start: one for one in stretches}
        width = len(stretches[0].free) if stretches else 1
        self.free = [np.full(samples, MAX, dtype=np.int64) for _ in range(width)]
        self.entered = False

    def enter(self, at: int) -> None:
        """What was free and goes on is what is left of it; what begins now is all there."""
        stretch = self.coming.get(at)
        if stretch is None:
            return
        for place, (free, kept) in enumerate(zip(stretch.free, stretch.kept, strict=True)):
            going_on = np.minimum(self.free[place], kept) if self.entered else np.full(self.samples, kept)
            self.free[place] = going_on + (free - kept)
        self.entered = True

    def take(self, source: int | None, wanted: Ints, free: list[Ints] | None = None) -> Ints:
        free = self.free if free is None else free
        part: Ints = np.minimum(wanted, free[-1])
        if source is not None:
            part = np.minimum(part, free[source])
            free[source] = free[source] - part
        free[-1] = free[-1] - part
        return part

    def room(self, open_now: Sequence[tuple[int | None, Ints]]) -> Ints:
        """All that could be drawn from these now."""
        free = list(self.free)
        total: Ints = np.zeros(self.samples, dtype=np.int64)
        for source, left in open_now:
            total = total + self.take(source, left, free)
        return total
