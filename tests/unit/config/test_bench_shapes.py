"""The shapes that are measured are what they are called, and stay within the laws while their quota runs out."""

from collections.abc import Callable

import numpy as np
import pytest

from bursar.config.bench.memory import CASES, growth
from bursar.config.bench.shapes import Shape, chain, fanout, layers, many_sources, national, running_out
from bursar.engine.ledger import broken_laws, post
from bursar.engine.ledger.book import ROOT
from bursar.engine.ledger.plan import drawing

# wallets, allocations, allocations at the roots, wallets that report, steps from them to a root, whether it is a tree
SHAPES: list[tuple[Callable[[], Shape], tuple[int, int, int, int, int, bool]]] = [
    (national, (5_221, 5_221, 1, 5_000, 3, True)),
    (lambda: national(with_second_source=0.3), (5_221, 6_721, 1, 5_000, 3, False)),
    (lambda: chain(8), (8, 8, 1, 1, 7, True)),
    (lambda: fanout(10_000, parent_reports=True), (10_001, 10_001, 1, 1, 0, True)),
    (lambda: fanout(10_000, parent_reports=False), (10_001, 10_001, 1, 10_000, 1, True)),
    (lambda: layers(4, 4), (16, 52, 4, 4, 3, False)),
    (lambda: layers(6, 6), (36, 186, 6, 6, 5, False)),
    (lambda: many_sources(1_000, 4), (1_020, 4_020, 20, 1_000, 1, False)),
]


@pytest.mark.parametrize(("make", "expected"), SHAPES)
def test_shape__as_it_is_called__has_these_figures(make, expected) -> None:
    shape = make()
    book, plan = shape.book, drawing(shape.book, 0)
    steps = {plan.depth[wallet] for wallet in shape.reporting.tolist()}
    roots = int((book.source == ROOT).sum())
    assert len(np.unique(book.wallet * (len(book.used) + 1) + book.source)) == len(book.wallet)  # no source twice
    assert (
        len(book.used),
        len(book.wallet),
        roots,
        len(shape.reporting),
        *steps,
        plan.tree,
    ) == expected


@pytest.mark.parametrize("make", [make for make, _ in SHAPES])
def test_running_out__after_its_batches__is_locked_and_lost_nothing(make) -> None:
    batches = make().batches(3, 2_000)
    shape = running_out(make(), batches)
    book = shape.book
    assert not book.locked.any()
    for wallets, amounts in batches:
        post(book, wallets, amounts, 0)
    assert broken_laws(book) == []
    total = sum(int(amounts.sum()) for _, amounts in batches)
    carried = int(book.drawn[book.source == ROOT].sum())
    assert int(book.used.sum()) == total == carried + int(book.uncovered.sum())
    assert total * 0.2 < carried < total * 0.75
    assert book.locked[book.used > 2].all()  # a quota is at least one tick


def test_measure__each_case__answers_reports_per_second() -> None:
    assert CASES["memory_chain_8"](seconds=0.0, size=10) > 0
    assert CASES["memory_dag_6x6_running_out"](seconds=0.0, size=10) > 0
    assert growth(few=2, many=4, posts=3) > 0
