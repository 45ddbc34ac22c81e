"""Which hour a netted posting belongs to, told plainly: the reference that the arrays are compared with."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from bursar.engine.ledger.book import ROOT, Book
from bursar.engine.ledger.change import Change, Kind
from bursar.engine.ledger.plan import releasing

Hours = Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Moved:
    """What a posting moved within one hour; `allocation` None: at the wallet itself. All in ticks, signed."""

    hour: int
    wallet: int
    allocation: int | None
    drawn: int = 0
    uncovered: int = 0
    written_off: int = 0


def by_hour(book: Book, change: Change, usage: Mapping[int, Hours]) -> Iterator[Moved]:
    """Split a draw or a release into hours, at the wallets that used and then at every source above.

    change   a draw or a release; the book as it is after it
    usage    by wallet what its reports add up to in each hour of the change's epoch: (hour, signed ticks)
    """
    sign = -1 if change.kind is Kind.RELEASE else 1
    depth = releasing(book, change.at).depth
    below: dict[int, list[tuple[int, int]]] = {}
    for row, moved in zip(change.allocations.tolist(), change.drawn.tolist(), strict=True):
        below.setdefault(int(book.wallet[row]), []).append((row, sign * moved))
    standing = {
        wallet: (sign * uncovered, sign * written_off)
        for wallet, uncovered, written_off in zip(
            change.wallets.tolist(), change.uncovered.tolist(), change.written_off.tolist(), strict=True
        )
    }
    flows: dict[int, dict[int, int]] = {}
    for wallet, used in zip(change.wallets.tolist(), change.used.tolist(), strict=True):
        if used:
            flows[wallet] = _own_hours(usage.get(wallet, ()), sign, sign * used, change.at)
    queue = [(-depth[wallet], wallet) for wallet in flows]
    queue.sort()
    while queue:
        _, wallet = heappop(queue)
        hours = _Oldest(flows[wallet])
        uncovered, written_off = standing.get(wallet, (0, 0))
        if sign < 0:
            for hour, ticks in hours.take(uncovered):
                yield Moved(hour, wallet, None, uncovered=-ticks)
            for hour, ticks in hours.take(written_off):
                yield Moved(hour, wallet, None, written_off=-ticks)
        for row, amount in below.get(wallet, ()):
            source = int(book.source[row])
            for hour, ticks in hours.take(amount):
                yield Moved(hour, wallet, row, drawn=sign * ticks)
                if source == ROOT:
                    continue
                if source not in flows:
                    flows[source] = {}
                    heappush(queue, (-depth[source], source))
                flows[source][hour] = flows[source].get(hour, 0) + ticks
        if sign > 0:
            for hour, ticks in hours.take(uncovered):
                yield Moved(hour, wallet, None, uncovered=ticks)


def _own_hours(hours: Hours, sign: int, amount: int, at: int) -> dict[int, int]:
    """The hours that have the sign of the net, oldest first, as far as the amount goes; the last bears what is over."""
    result: dict[int, int] = {}
    last = at
    for hour, ticks in sorted(hours):
        if ticks * sign <= 0:
            continue
        last = hour
        taken = min(amount, ticks * sign)
        if taken:
            result[hour] = result.get(hour, 0) + taken
            amount -= taken
    if amount:  # carried here from an earlier epoch, or found only together with it
        result[last] = result.get(last, 0) + amount
    return result


class _Oldest:
    def __init__(self, flow: dict[int, int]) -> None:
        self._left = sorted(flow.items(), reverse=True)

    def take(self, amount: int) -> Iterator[tuple[int, int]]:
        while amount:
            hour, ticks = self._left.pop()
            taken = min(amount, ticks)
            if taken < ticks:
                self._left.append((hour, ticks - taken))
            amount -= taken
            yield hour, taken
