"""What holds of every forecast, whatever was used and whatever is held."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bursar.engine.forecast import DAY, Forecast, Grant, RunOut, Stretch, forecast

NOW = 20_000 * DAY + DAY // 3
NEVER = 2**63

usages = st.lists(st.integers(-50, 500), min_size=14, max_size=80)
offsets = st.integers(-20, 60)


@st.composite
def grants(draw: st.DrawFn) -> list[Grant]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        start, length = draw(offsets), draw(st.integers(1, 60))
        priority, source = draw(st.integers(0, 1)), draw(st.sampled_from([None, 0]))
        left = draw(st.integers(0, 20_000))
        found.append(Grant(left, NOW + start * DAY, NOW + (start + length) * DAY + DAY // 7, priority, source))
    return found


@st.composite
def stretches(draw: st.DrawFn) -> list[Stretch]:
    free = [draw(st.integers(0, 30_000)) for _ in range(4)]
    kept = [draw(st.integers(0, one)) for one in free[2:]]
    if draw(st.booleans()):
        return []
    return [
        Stretch(NOW, tuple(free[:2]), tuple(free[:2])),
        Stretch(NOW + draw(st.integers(1, 50)) * DAY, tuple(free[2:]), tuple(kept)),
    ]


def seen(usage: list[int], held: list[Grant], above: list[Stretch], **more: int) -> Forecast:
    return forecast(usage=usage, now=NOW, grants=held, stretches=above, seed=4, samples=40, **more)


def instants(run_out: RunOut | None) -> list[int]:
    if run_out is None:
        return [NEVER] * 3
    return [NEVER if at is None else at for at in (run_out.early, run_out.likely, run_out.late)]


@given(usages, grants(), stretches(), st.integers(0, 1000))
def test_forecast__anything__is_in_order_and_within_what_is_left(usage, held, above, uncovered):
    found = seen(usage, held, above, uncovered=uncovered)
    order = instants(found.run_out)
    assert order == sorted(order)
    assert all(at >= NOW for at in order)
    for one, forfeit in zip(held, found.forfeited, strict=False):
        assert (forfeit is not None) == (one.end > NOW)
        if forfeit is not None:
            assert 0 <= forfeit.low <= forfeit.middle <= forfeit.high <= one.left
    for (_, before), (_, after) in zip(found.fan[:-1], found.fan[1:], strict=True):
        assert before.low <= before.middle <= before.high
        assert (before.low, before.middle, before.high) <= (after.low, after.middle, after.high)


@given(usages, grants(), stretches(), st.integers(1, 5_000), st.data())
def test_forecast__more_quota__never_runs_out_earlier(usage, held, above, more, data):
    place = data.draw(st.integers(0, len(held) - 1))
    raised = [replace(one, left=one.left + more) if n == place else one for n, one in enumerate(held)]
    before, after = (instants(seen(usage, each, above).run_out) for each in (held, raised))
    assert all(early <= late for early, late in zip(before, after, strict=True))


@given(st.integers(14, 80), grants())
def test_forecast__no_usage__never_runs_out_and_forfeits_all(days, held):
    held = [replace(one, left=one.left + 1) for one in held]
    found = seen([0] * days, held, [])
    assert instants(found.run_out) == [NEVER] * 3
    assert all(forfeit is None or forfeit.low == one.left for one, forfeit in zip(held, found.forfeited, strict=False))
