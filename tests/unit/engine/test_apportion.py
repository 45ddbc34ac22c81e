import pytest
from hypothesis import given
from hypothesis import strategies as st

from bursar.engine.apportion import EmptyWeights, allot


@pytest.mark.parametrize(
    "total, weights, parts",
    [
        (10, [1], [10]),
        (10, [1, 1], [5, 5]),
        (10, [1, 1, 1], [4, 3, 3]),  # ties go to the lower index
        (100, [1, 2, 3], [17, 33, 50]),
        (1, [1, 5], [0, 1]),
        (7, [0, 3, 0], [0, 7, 0]),
        (0, [2, 3], [0, 0]),
        (2**63 - 1, [1, 1], [2**62, 2**62 - 1]),
    ],
)
def test_allot__a_whole_amount__is_split_by_largest_remainder(total: int, weights: list[int], parts: list[int]) -> None:
    assert allot(total, weights) == parts


def test_allot__nothing_to_split_by__is_refused() -> None:
    with pytest.raises(EmptyWeights):
        allot(5, [0, 0])


@pytest.mark.parametrize("total, weights", [(-1, [1]), (1, [1, -1])])
def test_allot__negative__is_refused(total: int, weights: list[int]) -> None:
    with pytest.raises(ValueError, match="not negative"):
        allot(total, weights)


@given(
    st.integers(0, 2**63 - 1),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=50).filter(any),
)
def test_allot__whatever_is_split__adds_up_and_lies_within_one_of_the_exact_share(
    total: int, weights: list[int]
) -> None:
    parts = allot(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part * whole - total * weight) < whole
