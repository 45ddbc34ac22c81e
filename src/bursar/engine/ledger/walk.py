"""The ledger where wallets may have several sources, or few are touched: one flow at a time, on numbers of any size."""

from collections import deque
from heapq import heappop, heappush

import numpy as np

from bursar.engine.ledger.book import MAX, ROOT, Book
from bursar.engine.ledger.errors import Overflow
from bursar.engine.ledger.few import Few, Figures
from bursar.engine.ledger.plan import Plan

Column = list[int] | Few


class Walk:
    """A working copy of the figures of a book; `commit` writes them back.

    few   the figures to work on where only a few of a book are read; whoever made them writes them back

    A wallet that cannot reach a root stays so while amounts only go up; that is remembered from one flow to the
    next (`_dead`, and `_next`, the place of the first allocation of a wallet that may still carry), so that a
    thousand wallets below an exhausted source do not each search it anew.
    """

    def __init__(self, book: Book, few: Figures | None = None) -> None:
        self._book = book
        self._source: Column = book.source.tolist() if few is None else few.source
        self.quota: Column = book.quota.tolist() if few is None else few.quota
        self.drawn: Column = book.drawn.tolist() if few is None else few.drawn
        self.uncovered: Column = book.uncovered.tolist() if few is None else few.uncovered
        self.written_off: Column = book.written_off.tolist() if few is None else few.written_off
        self._plan: Plan | None = None
        self._forget()

    def commit(self) -> None:
        """Write the figures back.

        raises   Overflow
        """
        if max(self.uncovered, default=0) > MAX:
            raise Overflow
        self._book.drawn[:] = np.array(self.drawn, dtype=np.int64)
        self._book.uncovered[:] = np.array(self.uncovered, dtype=np.int64)
        self._book.written_off[:] = np.array(self.written_off, dtype=np.int64)

    def draw(self, plan: Plan, wallet: int, amount: int) -> int:
        """Carry what can be carried to the roots, let the rest fill what room is left and stand; what was carried."""
        carried = self.carry(plan, wallet, amount)
        if carried < amount:
            self._fill(plan, wallet, amount - carried)
        return carried

    def carry(self, plan: Plan, wallet: int, amount: int | None) -> int:
        """Route up to an amount (None: all there is room for) from a wallet to the roots as a maximum flow.

        First choices first; a choice that blocks a later one is taken back, but only of what this call routes.
        """
        flow = self._route(plan, wallet, amount)
        return sum([moved for row, moved in flow.items() if self._source[row] == ROOT])

    def measure(self, plan: Plan, wallet: int) -> int:
        """How much could be carried from a wallet to the roots, without carrying it."""
        flow = self._route(plan, wallet, None)
        if not flow:
            return 0
        for row, moved in flow.items():
            self.drawn[row] -= moved
        self._forget()
        return sum(moved for row, moved in flow.items() if self._source[row] == ROOT)

    def release(self, plan: Plan, wallet: int, amount: int) -> None:
        """Give back: what stands uncovered, what was written off, then what is drawn, and so on at each source."""
        self._forget()
        pending = {wallet: amount}
        queue = [(-plan.depth[wallet], wallet)]
        while queue:
            _, owner = heappop(queue)
            left = pending.pop(owner)
            for standing in (self.uncovered, self.written_off):
                taken = min(left, standing[owner])
                standing[owner] -= taken
                left -= taken
            for row in self._release_order(plan, owner) if left else ():
                taken = min(left, self.drawn[row])
                if not taken:
                    continue
                self.drawn[row] -= taken
                left -= taken
                source = self._source[row]
                if source != ROOT:
                    if source not in pending:
                        heappush(queue, (-plan.depth[source], source))
                    pending[source] = pending.get(source, 0) + taken
            assert left == 0, "a wallet gave back more than it had"

    def _release_order(self, plan: Plan, owner: int) -> list[int]:
        rows = plan.into[owner]
        if len({self._source[row] for row in rows}) <= 1:
            return rows
        holds = plan.holds
        # Stable: within a group the plan's order stands (the least preferred first).
        return sorted(
            rows,
            key=lambda row: (
                not holds[row],
                self._source[row] == ROOT or self.uncovered[self._source[row]] == 0,
            ),
        )

    def _forget(self) -> None:
        self._operation = 0
        self._dead: dict[int, int] = {}  # the operation in which it was found that no root can be reached
        self._next: dict[int, int] = {}

    def _route(self, plan: Plan, wallet: int, amount: int | None) -> dict[int, int]:
        """Carry up to an amount (None: all there is room for); how much through which allocation."""
        if plan is not self._plan:
            self._plan = plan
            self._forget()
        self._operation += 1
        flow: dict[int, int] = {}
        left = self._along_preference(plan, wallet, amount, flow)
        if flow and left != 0:
            self._by_rerouting(plan, wallet, left, flow)
        return flow

    def _along_preference(self, plan: Plan, wallet: int, amount: int | None, flow: dict[int, int]) -> int | None:
        """Push along first choices until nothing more passes; what is left of the amount."""
        quota, drawn, source, into = self.quota, self.drawn, self._source, plan.into
        dead, following = self._dead, self._next
        left = amount
        while left != 0 and wallet not in dead:
            path: list[int] = []
            least = left  # None: no bound yet
            bounds: list[int | None] = []  # what `least` was before each step of the path
            at = wallet
            while at != ROOT:
                rows = into[at]
                place = first = following.get(at, 0)
                while place < len(rows):
                    row = rows[place]
                    room = quota[row] - drawn[row]
                    above = source[row]
                    if room > 0 and above not in dead:
                        break
                    place += 1
                if place != first:
                    following[at] = place
                if place < len(rows):
                    path.append(row)
                    bounds.append(least)
                    if least is None or room < least:
                        least = room
                    at = above
                    continue
                dead[at] = self._operation
                if not path:
                    return left
                least = bounds.pop()
                path.pop()
                at = source[path[-1]] if path else wallet
            assert least is not None
            if left is not None:
                left -= least
            for row in path:
                drawn[row] += least
                flow[row] = flow.get(row, 0) + least
        return left

    def _by_rerouting(self, plan: Plan, wallet: int, left: int | None, flow: dict[int, int]) -> None:
        """Push along shortest ways that may take back what this operation routed."""
        rerouted = False
        while left != 0:
            way = self._way_to_a_root(plan, wallet, flow)
            if way is None:
                break
            rerouted = True
            moved = min(flow[row] if back else self.quota[row] - self.drawn[row] for row, back in way)
            if left is not None:
                moved = min(moved, left)
                left -= moved
            for row, back in way:
                step = -moved if back else moved
                self.drawn[row] += step
                flow[row] = flow.get(row, 0) + step
        if rerouted:
            self._forget()

    def _way_to_a_root(self, plan: Plan, wallet: int, flow: dict[int, int]) -> list[tuple[int, bool]] | None:
        routed_into: dict[int, list[int]] = {}
        for row, moved in flow.items():
            if moved and self._source[row] != ROOT:
                routed_into.setdefault(self._source[row], []).append(row)
        came: dict[int, tuple[int, int, bool]] = {wallet: (ROOT, 0, False)}
        queue = deque([wallet])
        while queue:
            at = queue.popleft()
            for row in plan.into[at]:
                if self.drawn[row] >= self.quota[row]:
                    continue
                above = self._source[row]
                if above == ROOT:
                    way = [(row, False)]
                    while at != wallet:
                        at, step, back = came[at]
                        way.append((step, back))
                    return way[::-1]
                # Dead before this operation began: nothing of it runs there, so there is nothing to take back.
                if above not in came and self._dead.get(above, self._operation) == self._operation:
                    came[above] = (at, row, False)
                    queue.append(above)
            for row in routed_into.get(at, ()):
                below = int(self._book.wallet[row])
                if below not in came:
                    came[below] = (at, row, True)
                    queue.append(below)
        return None

    def _fill(self, plan: Plan, wallet: int, amount: int) -> None:
        pending = {wallet: amount}
        queue = [(-plan.depth[wallet], wallet)]
        while queue:
            _, owner = heappop(queue)
            left = pending.pop(owner)
            for row in plan.into[owner]:
                taken = min(left, self.quota[row] - self.drawn[row])
                if not taken:
                    continue
                self.drawn[row] += taken
                left -= taken
                source = self._source[row]
                if source != ROOT:
                    if source not in pending:
                        heappush(queue, (-plan.depth[source], source))
                    pending[source] = pending.get(source, 0) + taken
                if not left:
                    break
            self.uncovered[owner] += left
