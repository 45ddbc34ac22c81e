"""The stories hold through the posting service and its tables as they do through the engine alone."""

import pytest

from bursar.accounting.models import Wallet as Stored
from bursar.engine.ledger import available_everywhere
from bursar.metering.replay import Player
from tests.golden.ledger.stories import Story, Table, Wallet, stories

pytestmark = pytest.mark.slow


@pytest.mark.django_db
@pytest.mark.parametrize("story", list(stories()), ids=lambda story: story.name)
def test_story__through_the_posting_service__every_figure_is_the_expected_one(story: Story, verified) -> None:
    player = Player(story.scenario)
    verified(player.category)
    for step in story.steps:
        refusal = player.attempt(step.done)
        assert (refusal.code if refusal else None) == step.refused, f"line {step.line}"
        if step.then is not None:
            found = _table(player, step.done["at"])
            assert found == step.then, f"line {step.line}: found{found}"
    last = story.steps[-1]
    if last.done["op"] != "advance":  # something was written, so the tables are as late as the story
        locked = dict(Stored.objects.filter(category=player.category).values_list("pk", "locked"))
        assert {name: locked[wallet.pk] for name, wallet in player.wallets.items()} == {
            name: wallet.locked for name, wallet in last.then.wallets.items()
        }


def _table(player: Player, at: int) -> Table:
    loaded = player.read(at)
    book = loaded.book
    rows = {name: loaded.row_of_wallet[wallet.pk] for name, wallet in player.wallets.items()}
    available = dict(zip(rows, available_everywhere(book, rows.values()), strict=True))
    allocations = {}
    for name, one in player.allocations.items():
        row = loaded.row_of_allocation.get(one.pk)
        one.refresh_from_db()  # a closed one that carries nothing is not loaded
        figures = (0, one.quota_ticks) if row is None else (int(book.drawn[row]), int(book.quota[row]))
        allocations[name] = figures
    return Table(
        wallets={
            name: Wallet(
                used=int(book.used[row]),
                uncovered=int(book.uncovered[row]),
                available=available[name],
                locked=bool(book.locked[row]),
                written_off=int(book.written_off[row]),
            )
            for name, row in rows.items()
        },
        allocations=allocations,
    )
