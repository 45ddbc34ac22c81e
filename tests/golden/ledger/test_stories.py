"""The stories hold through the engine, to the last figure, and a story that is not well told is not played."""

import pytest

from bursar.engine.ledger import broken_laws
from bursar.engine.ledger.reading import available
from bursar.engine.ledger.scenario import Player
from tests.golden.ledger.stories import NotAStory, Story, Table, Wallet, read, stories

STORIES = list(stories())


def test_stories__all_are_there() -> None:
    assert {story.name.split()[0] for story in STORIES if story.name.startswith("T")} == {f"T{n}" for n in range(1, 17)}
    assert [story.name for story in STORIES if not story.name.startswith("T")] == [
        "taken back in spring and in autumn",
        "cut when less than 40% is spent in six months",
        "a monthly budget in a window of three months",
        "unused blocks expire, never below the linear line",
        "half is released after a report",
    ]
    assert len(STORIES) == 38


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_story__through_the_engine__every_figure_is_the_expected_one(story: Story) -> None:
    player = Player(story.scenario)
    for step in story.steps:
        refusal = player.attempt(step.done)
        assert (refusal.code if refusal else None) == step.refused, f"line {step.line}"
        assert broken_laws(player.book) == [], f"line {step.line}"
        if step.then is not None:
            found = _table(player)
            assert found == step.then, f"line {step.line}: found{found}"


def _table(player: Player) -> Table:
    book = player.book
    return Table(
        wallets={
            name: Wallet(
                used=int(book.used[row]),
                uncovered=int(book.uncovered[row]),
                available=available(book, row),
                locked=bool(book.locked[row]),
                written_off=int(book.written_off[row]),
            )
            for name, row in player.wallets.items()
        },
        allocations={name: (int(book.drawn[row]), int(book.quota[row])) for name, row in player.allocations.items()},
    )


GOOD = """== a story
charged: level
wallets: one

day 0     provider gives one 5 as root, days 0-9
day 1     one uses 7
          wallet            used  uncovered  available
          one                  7          2          0  locked
          allocation       drawn      quota
          root                 5          5
"""


def test_read__a_story__says_what_is_done_and_what_stands_then() -> None:
    (story,) = read(GOOD)
    day = 24 * 3600
    assert story.scenario["steps"] == [
        {
            "op": "allocate",
            "at": 0,
            "source": None,
            "wallet": "one",
            "quota": 5,
            "id": "root",
            "start": 0,
            "end": 9 * day,
        },
        {"op": "charge", "at": day, "wallet": "one", "amount": 7},
    ]
    assert [step.then for step in story.steps] == [
        None,
        Table({"one": Wallet(used=7, uncovered=2, available=0, locked=True)}, {"root": (5, 5)}),
    ]


@pytest.mark.parametrize(
    ("told", "instead", "why"),
    [
        ("one uses 7", "one took 7", "6: no step reads like this"),
        ("one uses 7", "two uses 7", "6: no wallet is called two"),
        ("one uses 7", "base is revoked", "6: no allocation is called base"),
        ("day 1 ", "day -1", "6: time does not go back"),
        ("          root                 5          5\n", "", "7: a table names every wallet"),
        ("5          5", "5          x", "10: no row of a table"),
        ("uncovered  available", "available  uncovered", "7: no row of a table"),
        ("charged: level", "charged: level, grace 3", "1: charged is"),
        ("wallets: one\n", "", "1: a story has"),
        ("day 0 ", "Day 0 ", "5: neither a fact"),
    ],
)
def test_read__a_story_that_is_not_well_told__names_the_line(told: str, instead: str, why: str) -> None:
    assert GOOD.count(told) == 1
    with pytest.raises(NotAStory, match=f"text:{why}"):
        list(read(GOOD.replace(told, instead)))
