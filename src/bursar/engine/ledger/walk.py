"""The ledger where wallets may have several sources: one flow at a time, on whole numbers of any size."""

from collections import deque
from heapq import heappop, heappush

import numpy as np

from bursar.engine.ledger.book import MAX, ROOT, Book
from bursar.engine.ledger.errors import Overflow
from bursar.engine.ledger.plan import Plan


class Walk:
    """A working copy of the figures of a book; `commit` writes them back.

    A wallet that cannot reach a root stays so while amounts only go up; that is remembered from one flow to the
    next (`_dead`, and `_next`, the place of the first allocation of a wallet that may still carry), so that a
    thousand wallets below an exhausted source do not each search it anew.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._source: list[int] = book.source.tolist()
        self.quota: list[int] = book.quota.tolist()
        self.drawn: list[int] = book.drawn.tolist()
        self.uncovered: list[int] = book.uncovered.tolist()
        self.written_off: list[int] = book.written_off.tolist()
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
        if plan is not self._plan:
            self._plan = plan
            self._forget()
        self._operation += 1
        flow: dict[int, int] = {}
        left = self._along_preference(plan, wallet, amount, flow)
        if flow and left != 0:
            left = self._by_rerouting(plan, wallet, left, flow)
        return sum(moved for row, moved in flow.items() if self._source[row] == ROOT)

    def measure(self, plan: Plan, wallet: int) -> int:
        """How much could be carried from a wallet to the roots, without carrying it."""
        kept = self.drawn
        self.drawn = kept.copy()
        result = self.carry(plan, wallet, None)
        self.drawn = kept
        if result:
            self._forget()
        return result

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
        wallets = len(self.uncovered)
        self._operation = 0
        self._dead = [-1] * wallets  # the operation in which it was found that no root can be reached
        self._next = [0] * wallets

    def _along_preference(self, plan: Plan, wallet: int, amount: int | None, flow: dict[int, int]) -> int | None:
        """Push along first choices until nothing more passes; what is left of the amount."""
        quota, drawn, source, dead, following = self.quota, self.drawn, self._source, self._dead, self._next
        left = amount
        while left != 0 and dead[wallet] < 0:
            path: list[int] = []
            at = wallet
            while at != ROOT:
                rows = plan.into[at]
                place = following[at]
                while place < len(rows):
                    row = rows[place]
                    if drawn[row] < quota[row] and (source[row] == ROOT or dead[source[row]] < 0):
                        break
                    place += 1
                following[at] = place
                if place < len(rows):
                    path.append(rows[place])
                    at = source[rows[place]]
                    continue
                dead[at] = self._operation
                if not path:
                    return left
                path.pop()
                at = source[path[-1]] if path else wallet
            moved = min(quota[row] - drawn[row] for row in path)
            if left is not None:
                moved = min(moved, left)
                left -= moved
            for row in path:
                drawn[row] += moved
                flow[row] = flow.get(row, 0) + moved
        return left

    def _by_rerouting(self, plan: Plan, wallet: int, left: int | None, flow: dict[int, int]) -> int | None:
        """Push along shortest ways that may take back what this operation routed; what is left of the amount."""
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
        return left

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
                if above not in came and (self._dead[above] < 0 or self._dead[above] == self._operation):
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
