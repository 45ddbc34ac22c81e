"""The ledger told plainly: one wallet, one allocation, one step at a time. Slow, and meant to be seen to be right."""

from dataclasses import dataclass, field

from bursar.engine.ledger import Book
from bursar.engine.ledger.book import ROOT


class Refused(Exception):
    pass


@dataclass(eq=False)
class Allocation:
    wallet: int
    source: int | None
    quota: int
    start: int
    end: int
    priority: int
    made: int
    drawn: int = 0
    closed: bool = False

    def holds(self, at: int) -> bool:
        return self.start <= at < self.end

    @property
    def preference(self) -> tuple[int, int, int]:
        return (self.priority, self.end, self.made)


@dataclass
class Reference:
    once: bool
    grace: int
    wallets: int
    now: int = -1
    allocations: list[Allocation] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.used = [0] * self.wallets
        self.uncovered = [0] * self.wallets
        self.written_off = [0] * self.wallets

    # what is there

    def into(self, wallet: int) -> list[Allocation]:
        return sorted((a for a in self.allocations if a.wallet == wallet), key=lambda a: a.preference)

    def candidates(self, wallet: int, at: int) -> list[Allocation]:
        return [a for a in self.into(wallet) if a.holds(at) and not a.closed]

    def below(self, wallet: int, other: int) -> bool:
        """Whether `wallet` is `other` or draws from it."""
        if wallet == other:
            return True
        live = [a for a in self.into(wallet) if not a.closed or a.drawn]
        return any(a.source is not None and self.below(a.source, other) for a in live)

    def available(self, wallet: int, at: int) -> int:
        kept = [a.drawn for a in self.allocations]
        result = self.carry(wallet, None, at)
        for allocation, drawn in zip(self.allocations, kept, strict=True):
            allocation.drawn = drawn
        return result

    def is_locked(self, wallet: int) -> bool:
        return self.available(wallet, self.now) == 0

    # drawing and giving back

    def carry(self, wallet: int, amount: int | None, at: int) -> int:
        """Ford and Fulkerson, a unit-free search for one more way at a time; only this call's flow may be taken back."""
        flow: dict[Allocation, int] = {}
        carried = 0
        while amount is None or carried < amount:
            way = self._way(wallet, at, flow, set())
            if way is None:
                break
            moved = min(flow[a] if back else a.quota - a.drawn for a, back in way)
            if amount is not None:
                moved = min(moved, amount - carried)
            for a, back in way:
                a.drawn += -moved if back else moved
                flow[a] = flow.get(a, 0) + (-moved if back else moved)
            carried += moved
        return carried

    def _way(
        self, wallet: int, at: int, flow: dict[Allocation, int], seen: set[int]
    ) -> list[tuple[Allocation, bool]] | None:
        seen.add(wallet)
        for a in self.candidates(wallet, at):
            if a.drawn < a.quota:
                if a.source is None:
                    return [(a, False)]
                if a.source not in seen and (rest := self._way(a.source, at, flow, seen)) is not None:
                    return [(a, False), *rest]
        for a, moved in list(flow.items()):
            if (
                moved > 0
                and a.source == wallet
                and a.wallet not in seen
                and (rest := self._way(a.wallet, at, flow, seen)) is not None
            ):
                return [(a, True), *rest]
        return None

    def draw(self, wallet: int, amount: int, at: int) -> None:
        self.fill(wallet, amount - self.carry(wallet, amount, at), at)

    def fill(self, wallet: int, amount: int, at: int) -> None:
        for a in self.candidates(wallet, at):
            taken = min(amount, a.quota - a.drawn)
            a.drawn += taken
            amount -= taken
            if a.source is not None and taken:
                self.fill(a.source, taken, at)
        self.uncovered[wallet] += amount

    def give_back(self, wallet: int, amount: int, at: int) -> None:
        for standing in (self.uncovered, self.written_off):
            taken = min(amount, standing[wallet])
            standing[wallet] -= taken
            amount -= taken
        least_preferred = self.into(wallet)
        least_preferred.reverse()
        rows = sorted(
            least_preferred,
            key=lambda a: (not a.holds(at), a.source is None or self.uncovered[a.source] == 0),
        )
        for a in rows:
            taken = min(amount, a.drawn)
            a.drawn -= taken
            amount -= taken
            if a.source is not None and taken:
                self.give_back(a.source, taken, at)
        assert amount == 0

    def settle(self) -> None:
        for wallet in range(self.wallets):
            if self.uncovered[wallet] and any(a.drawn < a.quota for a in self.candidates(wallet, self.now)):
                amount, self.uncovered[wallet] = self.uncovered[wallet], 0
                self.draw(wallet, amount, self.now)

    # operations

    def advance(self, at: int) -> None:
        while True:
            dues = [
                time
                for a in self.allocations
                if not a.closed
                for time in (a.start, a.end, self.closes(a))
                if self.now < time <= at
            ]
            if not dues:
                break
            self.now = min(dues)
            for a in self.allocations:
                if not a.closed and self.closes(a) <= self.now:
                    self.close(a)
            self.settle()
        self.now = at

    def closes(self, a: Allocation) -> int:
        return a.end if self.once else a.end + self.grace

    def close(self, a: Allocation) -> None:
        a.closed = True
        if self.once and a.drawn:
            amount, a.drawn = a.drawn, 0
            if a.source is not None:
                self.give_back(a.source, amount, self.now)
            self.draw(a.wallet, amount, self.now)

    def allocate(self, wallet: int, source: int | None, quota: int, start: int, end: int, priority: int) -> None:
        if end <= start or end <= self.now or quota < 0:
            raise Refused
        if source is not None and self.below(source, wallet):
            raise Refused
        self.allocations.append(Allocation(wallet, source, quota, start, end, priority, len(self.allocations)))
        self.settle()

    def change(self, row: int, quota: int, end: int) -> None:
        a = self.allocations[row]
        if a.closed or end <= a.start or (end != a.end and end <= self.now) or quota < a.drawn:
            raise Refused
        a.quota, a.end = quota, end
        self.settle()

    def revoke(self, row: int) -> None:
        a = self.allocations[row]
        if a.closed:
            raise Refused
        a.end = max(a.start, min(a.end, self.now))
        self.close(a)
        self.settle()

    def transfer(self, giver: int, taker: int, amount: int) -> None:
        a, b = self.allocations[giver], self.allocations[taker]
        if a.closed or b.closed or a is b or a.source != b.source or not 0 < amount <= a.quota - a.drawn:
            raise Refused
        a.quota -= amount
        b.quota += amount
        self.settle()

    def write_off(self, wallet: int, amount: int) -> None:
        if self.once or not 0 < amount <= self.uncovered[wallet]:
            raise Refused
        self.uncovered[wallet] -= amount
        self.written_off[wallet] += amount

    def post(self, reports: list[tuple[int, int, int]]) -> None:
        """Reports are (wallet, amount, used_at)."""
        bounds = sorted({time for a in self.allocations for time in (a.start, a.end)})
        kept = ([a.drawn for a in self.allocations], self.used[:], self.uncovered[:], self.written_off[:])
        by_epoch: dict[int, dict[int, int]] = {}
        instant: dict[int, int] = {}
        for wallet, amount, used_at in reports:
            time = min(used_at, self.now)
            epoch = sum(bound <= time for bound in bounds)
            instant.setdefault(epoch, time)
            sums = by_epoch.setdefault(epoch, {})
            sums[wallet] = sums.get(wallet, 0) + amount
        missing: dict[int, int] = {}
        for epoch in sorted(by_epoch):
            sums = {wallet: amount - missing.pop(wallet, 0) for wallet, amount in by_epoch[epoch].items()}
            for wallet, amount in sums.items():
                if amount < 0:
                    found = min(-amount, self.used[wallet])
                    if found < -amount:
                        missing[wallet] = -amount - found
                    self.used[wallet] -= found
                    self.give_back(wallet, found, instant[epoch])
            for wallet, amount in sums.items():
                if amount > 0:
                    self.used[wallet] += amount
                    self.draw(wallet, amount, instant[epoch])
        if missing:
            drawn, self.used, self.uncovered, self.written_off = kept
            for a, before in zip(self.allocations, drawn, strict=True):
                a.drawn = before
            raise Refused
        self.settle()


def violations(book: Book) -> list[str]:
    """The laws L1 to L5, read off the columns one wallet and one allocation at a time."""
    found = []
    columns = (book.wallet, book.source, book.quota, book.drawn, book.start, book.end, book.closed)
    allocations = list(zip(*(column.tolist() for column in columns), strict=True))
    wallets = list(zip(book.used.tolist(), book.uncovered.tolist(), book.written_off.tolist(), strict=True))
    for row, (_, source, quota, drawn, *_rest) in enumerate(allocations):
        if not 0 <= drawn <= quota:
            found.append(f"{'L5' if source == ROOT else 'L1'}: allocation {row} draws {drawn} of {quota}")
    for wallet, (used, uncovered, written_off) in enumerate(wallets):
        into = sum(one[3] for one in allocations if one[0] == wallet)
        out = sum(one[3] for one in allocations if one[1] == wallet)
        if min(used, uncovered, written_off) < 0 or into + uncovered + written_off != used + out:
            found.append(f"L2: wallet {wallet} does not balance")
        for row, (holder, _, quota, drawn, start, end, closed) in enumerate(allocations):
            if holder == wallet and uncovered and not closed and start <= book.now < end and drawn < quota:
                found.append(f"L4: wallet {wallet} stands uncovered beside the room of allocation {row}")
    roots = sum(one[3] for one in allocations if one[1] == ROOT)
    if roots + sum(one[1] + one[2] for one in wallets) != sum(one[0] for one in wallets):
        found.append("L3: usage was lost or made")
    return found
