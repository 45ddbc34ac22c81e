"""Splitting whole amounts."""

from collections.abc import Sequence


class EmptyWeights(ValueError):
    """There is nothing to split by: every weight is zero."""


def allot(total: int, weights: Sequence[int]) -> list[int]:
    """Split a whole amount by weight so that the parts add up to it exactly.

    total    ticks of the category, >= 0
    weights  shape (n,), n >= 1, each >= 0, dimensionless
    returns  shape (n,), same unit as total; sum(result) == total
    raises   EmptyWeights when every weight is zero
    source   largest-remainder (Hamilton) apportionment; ties go to the lower index
    """
    if total < 0 or any(weight < 0 for weight in weights):
        raise ValueError("amounts and weights are not negative")
    whole = sum(weights)
    if whole == 0:
        raise EmptyWeights
    shares = [divmod(total * weight, whole) for weight in weights]
    parts = [share for share, _ in shares]
    by_remainder = sorted(range(len(parts)), key=lambda i: (-shares[i][1], i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts
