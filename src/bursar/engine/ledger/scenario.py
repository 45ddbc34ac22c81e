"""Play a scenario through the engine: steps in, the state after each step out.

A scenario is a mapping with `charged`, `grace`, `wallets` and `steps`; times are whole numbers from an arbitrary zero,
amounts ticks. The format is told in tests/golden/ledger/README.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from bursar.engine.ledger.book import MAX, ROOT, Book, Charged, Rules
from bursar.engine.ledger.due import advance
from bursar.engine.ledger.errors import LedgerRefusal, NegativeUsage, Overflow
from bursar.engine.ledger.operations import allocate, change, revoke, transfer, write_off
from bursar.engine.ledger.posting import post
from bursar.engine.ledger.reading import available

GRACE_DEFAULT: Final = 7 * 24 * 3600  # seconds, where a scenario does not say


AHEAD_MAX: Final = 5 * 60  # seconds; usage that lies further ahead is refused


class NotPlayed(Exception):
    """A step that nothing can do: it names what there is not (such as an allocation whose making was refused), a time that
    lies ahead, or a level of a scope where the wallet takes those of the whole, or the other way round."""


class NotPlayable(ValueError):
    """A scenario that only the engine can play, not the database; the text says why."""


def named(names: Mapping[str, Any], name: str) -> Any:
    """raises   NotPlayed"""
    try:
        return names[name]
    except KeyError:
        raise NotPlayed(name) from None


class Player:
    """A book with names, and the levels of scopes beside it.

    _scoped   by wallet, whether its levels are of scopes (or of the whole), as the first step that was booked settled it
    """

    def __init__(self, scenario: Mapping[str, Any]) -> None:
        charged = Charged(scenario["charged"])
        grace = 0 if charged is Charged.ONCE else scenario.get("grace", GRACE_DEFAULT)
        # Nothing is due before the first step, however early the scenario begins.
        self.book = Book(Rules(charged=charged, grace=grace), now=-(2**62))
        self.wallets: dict[str, int] = {}
        self.allocations: dict[str, int] = {}
        self._levels: dict[tuple[str, str], int] = {}
        self._scoped: dict[str, bool] = {}
        self.book.add_wallets(len(scenario["wallets"]))
        for row, name in enumerate(scenario["wallets"]):
            self.wallets[name] = row

    def play(self, step: Mapping[str, Any]) -> bool:
        """Do one step; whether it was refused."""
        return self.attempt(step) is not None

    def attempt(self, step: Mapping[str, Any]) -> LedgerRefusal | NotPlayed | None:
        """Do one step; the refusal, if it was one."""
        advance(self.book, step["at"])
        try:
            self._do(step)
        except (LedgerRefusal, NotPlayed) as refusal:
            return refusal
        return None

    def state(self, *, refused: bool) -> dict[str, Any]:
        book = self.book
        return {
            "refused": refused,
            "wallets": {
                name: {
                    "used": int(book.used[row]),
                    "uncovered": int(book.uncovered[row]),
                    "available": available(book, row),
                }
                for name, row in self.wallets.items()
            },
            "allocations": {name: int(book.drawn[row]) for name, row in self.allocations.items()},
        }

    def _do(self, step: Mapping[str, Any]) -> None:
        match step["op"]:
            case "advance":
                pass
            case "allocate":
                source = step.get("source")
                if step["id"] in self.allocations:
                    raise NotPlayed(step["id"])  # it is the name of another one already
                row, _ = allocate(
                    self.book,
                    wallet=named(self.wallets, step["wallet"]),
                    source=ROOT if source is None else named(self.wallets, source),
                    quota=step["quota"],
                    start=step["start"],
                    end=step["end"],
                    priority=step.get("priority") or 0,
                )
                self.allocations[step["id"]] = row
            case "change":
                fields = {name: step[name] for name in ("quota", "start", "end") if name in step}
                change(self.book, named(self.allocations, step["id"]), **fields)
            case "revoke":
                revoke(self.book, named(self.allocations, step["id"]))
            case "transfer":
                giver, taker = named(self.allocations, step["id"]), named(self.allocations, step["to"])
                transfer(self.book, giver, taker, step["amount"])
            case "write_off":
                write_off(self.book, named(self.wallets, step["wallet"]), step["amount"])
            case "charge" | "level":
                self._report(step)
            case other:
                raise ValueError(f"unknown step {other!r}")

    def _report(self, step: Mapping[str, Any]) -> None:
        wallet, scope, level = step["wallet"], step.get("scope") or "", step["op"] == "level"
        row, amount = named(self.wallets, wallet), step["amount"]
        if step.get("used_at", step["at"]) > step["at"] + AHEAD_MAX:
            raise NotPlayed("used_at")
        if (scope or level) and self._scoped.get(wallet, bool(scope)) != bool(scope):
            raise NotPlayed("scope")
        if level:
            if amount < 0:
                raise NegativeUsage(wallets=(row,))
            amount -= self._levels.get((wallet, scope), 0) if scope else int(self.book.used[row])
        if amount:
            if abs(amount) > MAX:
                raise Overflow
            rows, amounts = np.array([row]), np.array([amount], dtype=np.int64)
            post(self.book, rows, amounts, step.get("used_at", step["at"]))
        if scope:
            self._levels[wallet, scope] = self._levels.get((wallet, scope), 0) + amount
        if scope or level:
            self._scoped[wallet] = bool(scope)


def replay(scenario: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
    """The state after each step of a scenario."""
    player = Player(scenario)
    return [player.state(refused=player.play(step)) for step in scenario["steps"]]
