"""The stories of `ledger_strategies` told to the services, on real tables, with what stood after each step."""

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from bursar.accounting import selectors, services
from bursar.accounting.books import read
from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import Charging, ProductCategory
from bursar.kernel.errors import DomainError
from bursar.metering.reports import Report
from bursar.metering.services import post_reports
from tests.factories.catalogue import make_category
from tests.factories.structure import make_organization, make_workspace

# Longer than an hour, and no multiple of it: usage is known to the hour.
UNIT = timedelta(minutes=100)
ZERO = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass
class Told:
    """A category, its wallets, and (when, figures by wallet) after each step."""

    once: bool
    tree: bool
    wallets: int
    category: ProductCategory = field(init=False)
    rows: list[Wallet] = field(init=False)
    allocations: list[Allocation] = field(default_factory=list)
    stood: list[tuple[datetime, list[Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.category = make_category(charging=Charging.ONCE if self.once else Charging.PER_HOUR, grace_days=1)
        self.rows = [
            services.wallet_for(
                workspace_id=make_workspace(make_organization()).pk, category_id=self.category.pk, at=ZERO
            )
            for _ in range(self.wallets)
        ]
        self._now, self._number = 0, 0

    @property
    def at(self) -> datetime:
        # No two steps at one instant, so that an instant names a state.
        return ZERO + self._now * UNIT + timedelta(seconds=self._number)

    def play(self, story: list[tuple[Any, ...]]) -> None:
        for wait, name, *arguments in story:
            self._now += wait
            self._number += 1
            with suppress(DomainError):
                self._do(name, *arguments)
            self.stood.append((self.at, present(self.rows, self.at)))

    def _do(self, name: str, *args: Any) -> None:
        count = len(self.allocations)
        match name:
            case "allocate":
                wallet, source, quota, (start, length), priority = args
                self._allocate(wallet, source, quota, ZERO + start * UNIT, ZERO + (start + length) * UNIT, priority)
            case "allocate_now":
                wallet, source, quota, length = args
                self._allocate(wallet, source, quota, self.at, self.at + length * UNIT, 0)
            case "post":
                reports = []
                for index, (wallet, amount, ago) in enumerate(args[0]):
                    until = self.at - ago * UNIT
                    reports.append(
                        Report(
                            report_id=f"{self._number:04}-{index:02}",
                            category_id=self.category.pk,
                            workspace_id=self.rows[wallet].workspace_id,
                            amount_ticks=amount,
                            period_start=until - timedelta(minutes=5),
                            period_end=until,
                        )
                    )
                post_reports(reports=reports, by=None, at=self.at)
            case "change" if count:
                one = self.allocations[args[0] % count]
                services.change_allocation(
                    allocation=one, quota_ticks=args[1], end=one.start + args[2] * UNIT, by=None, at=self.at
                )
            case "revoke" if count:
                services.revoke_allocation(allocation=self.allocations[args[0] % count], by=None, at=self.at)
            case "transfer" if count:
                giver, taker = (self.allocations[one % count] for one in args[:2])
                services.transfer_quota(giver=giver, taker=taker, amount_ticks=args[2], by=None, at=self.at)
            case "write_off":
                services.write_off(
                    wallet=self.rows[args[0]], amount_ticks=args[1], reason="the node was broken", by=None, at=self.at
                )

    def _allocate(self, wallet: int, source: int | None, quota: int, start: datetime, end: datetime, priority: int):
        if self.tree:
            source = None if wallet == 0 else (wallet - 1) // 2
        self.allocations.append(
            services.allocate(
                workspace=self.rows[wallet].workspace,
                category=self.category,
                source=None if source is None else self.rows[source],
                quota_ticks=quota,
                start=start,
                end=end,
                priority=priority,
                by=None,
                at=self.at,
            )
        )


def present(wallets: list[Wallet], at: datetime) -> list[Any]:
    """The figures of a category's wallets by the present balances, without the journal."""
    loaded = read(wallets[0].category, [wallet.pk for wallet in wallets], at)
    states = selectors.states_in(loaded, wallets)
    into = defaultdict(list)
    for one in selectors._states_of(loaded, Allocation.objects.filter(category=wallets[0].category)):
        into[one.allocation.wallet_id].append(
            (one.allocation.pk, one.allocation.quota_ticks, one.drawn_ticks, one.state)
        )
    return [
        [
            state.quota_ticks,
            state.used_ticks,
            state.uncovered_ticks,
            state.written_off_ticks,
            state.available_ticks,
            state.locked,
            state.over,
            sorted(into[state.wallet.pk]),
        ]
        for state in (states[wallet.pk] for wallet in wallets)
    ]
