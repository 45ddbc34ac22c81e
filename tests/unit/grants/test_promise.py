"""What can be promised throughout a period."""

import time

from hypothesis import given
from hypothesis import strategies as st

from bursar.engine.promise import Held, held_from, held_until, left_to_promise


def test_left__own_use_and_promises__each_tick_counts_once() -> None:
    held = [Held(100, 30, 0, 10)]  # 10 by itself, 20 through the promise
    promised = [Held(50, 20, 0, 10)]
    assert left_to_promise(held, promised, start=2, end=9) == 100 - 30 - 30


def test_left__several_windows__is_the_least_within_the_period() -> None:
    held = [Held(100, 0, 0, 10), Held(50, 0, 5, 20)]
    promised = [Held(80, 0, 6, 8)]
    assert [
        left_to_promise(held, promised, start=a, end=b) for a, b in ((0, 5), (0, 7), (8, 10), (8, 12), (0, 30))
    ] == [
        100,
        70,
        150,
        50,
        0,
    ]


def test_left__more_than_all_may_be_promised__counts_per_cent_of_the_quota() -> None:
    assert left_to_promise([Held(100, 10, 0, 9)], [Held(100, 0, 0, 9)], start=0, end=9, percent=150) == 40
    assert left_to_promise([Held(100, 10, 0, 9)], [Held(100, 0, 0, 9)], start=0, end=9) == -10


@given(
    *(
        st.lists(
            st.builds(
                lambda quota, drawn, start, length: Held(quota, min(quota, drawn), start, start + length),
                *(st.integers(0, 50), st.integers(0, 50), st.integers(0, 12), st.integers(1, 12)),
            ),
            max_size=6,
        )
        for _side in ("held", "promised")
    ),
    st.integers(0, 12),
    st.integers(1, 12),
    st.integers(1, 300),
)
def test_left__any__is_the_least_of_each_instant(
    held: list[Held], promised: list[Held], start: int, length: int, percent: int
) -> None:
    def left(at: int) -> int:
        due = sum(one.quota - one.drawn for one in promised if one.is_open(at))
        open_now = [one for one in held if one.is_open(at)]
        return sum(one.quota for one in open_now) * percent // 100 - sum(one.drawn for one in open_now) - due

    end = start + length
    wanted = min(left(at) for at in range(start, end))
    assert left_to_promise(held, promised, start=start, end=end, percent=percent) == wanted


def test_left__ten_thousand_promises__is_one_walk() -> None:
    promised = [Held(1, 0, n, n + 7) for n in range(10_000)]
    begin = time.process_time()
    assert left_to_promise([Held(100, 0, 0, 20_000)], promised, start=0, end=20_000) == 93
    assert time.process_time() - begin < 1  # one by one at each edge it took minutes


def test_held__gaps__are_seen() -> None:
    held = [Held(1, 0, 2, 5), Held(1, 0, 5, 9), Held(1, 0, 11, 12)]
    assert (held_from(held, 0), held_from(held, 3), held_from(held, 12)) == (2, 3, None)
    assert (held_until(held, 2), held_until(held, 1), held_until(held, 11)) == (9, 1, 12)
