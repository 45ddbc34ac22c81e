"""How fast the engine posts in memory, from arrays of wallet row and amount, and how that grows."""

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Final

import numpy as np

from bursar.config.bench.shapes import Shape, chain, fanout, layers, many_sources, national, running_out
from bursar.engine.ledger import post

BATCHES: Final = 16  # to a run, so that the layout of the shape is paid for once in so many
SIZE: Final = 10_000


def reports_per_second(
    make: Callable[[], Shape],
    *,
    runs_out: bool = False,
    size: int = SIZE,
    seconds: float = 1.0,
) -> float:
    """Post batches on a fresh book of a shape, again and again; only the posting is timed.

    runs_out   quotas are used up in the midst of each run, so that locks flip and usage stands uncovered
    size       reports to a batch
    seconds    how long to go on, of posting; at least one whole run
    """
    shape = make()
    batches = shape.batches(BATCHES, size)
    if runs_out:
        shape = running_out(shape, batches)
    posted, spent = 0, 0.0
    while True:
        book = shape.book.copy()
        for wallets, amounts in batches:
            begun = perf_counter()
            post(book, wallets, amounts, book.now)
            spent += perf_counter() - begun
            posted += len(wallets)
        if spent >= seconds:
            return posted / spent


def growth(*, few: int = 10, many: int = 10_000, posts: int = 2_000) -> float:
    """How many times dearer one report on a child becomes when its parent has many children instead of few.

    Both are measured in turns, and the middle of each taken, so that what else the machine does falls on both.
    """
    books = [fanout(children, parent_reports=False).book for children in (few, many)]
    spent: tuple[list[float], list[float]] = ([], [])
    for number in range(posts):
        wallet, amount = np.array([1 + number % few]), np.array([number % 1_000 + 1])
        for book, times in zip(books, spent, strict=True):
            begun = perf_counter()
            post(book, wallet, amount, book.now)
            times.append(perf_counter() - begun)
    return float(np.median(spent[1]) / np.median(spent[0]))


def _both(name: str, make: Callable[[], Shape]) -> dict[str, Callable[..., float]]:
    return {
        name: partial(reports_per_second, make),
        f"{name}_running_out": partial(reports_per_second, make, runs_out=True),
    }


# Each case is called with `seconds` and answers reports per second.
CASES: Final[Mapping[str, Callable[..., float]]] = {
    **_both("memory_national_10k", national),
    "memory_national_100k": partial(reports_per_second, national, size=100_000),
    **_both("memory_second_source", partial(national, with_second_source=0.3)),
    **_both("memory_chain_8", partial(chain, 8)),
    **_both("memory_fanout_10k_parent", partial(fanout, 10_000, parent_reports=True)),
    **_both("memory_fanout_10k_child", partial(fanout, 10_000, parent_reports=False)),
    **_both("memory_dag_4x4", partial(layers, 4, 4)),
    **_both("memory_dag_6x6", partial(layers, 6, 6)),
    **_both("memory_sources_1000x4", partial(many_sources, 1_000, 4)),
}
