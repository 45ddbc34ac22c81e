"""Play scenarios through the posting service, in a transaction that is taken back; what stands after each step.

The format is that of the engine's own player (`bursar.engine.ledger.scenario`).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import transaction

from bursar.accounting import services as accounting
from bursar.accounting.books import Loaded, read
from bursar.accounting.models import Allocation, Wallet
from bursar.catalogue.models import Charging, ProductCategory, ProductType, ServiceProvider
from bursar.engine.ledger import available_everywhere
from bursar.engine.ledger.scenario import GRACE_DEFAULT, NotPlayable, NotPlayed, named
from bursar.engine.ledger.scenario import replay as play
from bursar.engine.ledger.scenario_file import read_scenario
from bursar.kernel.errors import DomainError
from bursar.metering.reports import Report
from bursar.metering.services import post_reports
from bursar.structure.models import Organization, Workspace

ZERO: Final = datetime(2000, 1, 1, tzinfo=UTC)
DAY_SECONDS: Final = 24 * 3600
GRACE_DAYS_MAX: Final = 366


def replay(lines: Iterable[str | bytes], *, database: bool) -> Iterator[list[dict[str, Any]]]:
    """For each scenario, a line of JSON, the state after each of its steps.

    database   through the posting service instead of the engine alone; nothing of it remains
    raises     ValueError where a line is no scenario; NotPlayable
    """
    for line in lines:
        if line.strip():
            scenario = read_scenario(line)
            yield list(play_in_database(scenario) if database else play(scenario))


def play_in_database(scenario: Mapping[str, Any]) -> list[dict[str, Any]]:
    """raises   NotPlayable"""
    with transaction.atomic():
        try:
            player = Player(scenario)
            return [player.state(refused=player.play(step), at=step["at"]) for step in scenario["steps"]]
        finally:
            transaction.set_rollback(True)


class Player:
    """A category with wallets of its own, made for a scenario."""

    def __init__(self, scenario: Mapping[str, Any]) -> None:
        once = scenario["charged"] == "once"
        grace = 0 if once else scenario.get("grace", GRACE_DEFAULT)
        if grace % DAY_SECONDS or grace > GRACE_DAYS_MAX * DAY_SECONDS:
            raise NotPlayable(f"in the database `grace` is whole days, at most {GRACE_DAYS_MAX} - at `$.grace`")
        provider = ServiceProvider.objects.create(
            organization=Organization.objects.create(name="scenario", slug="scenario-provider"), authorized_at=ZERO
        )
        self.category = ProductCategory.objects.create(
            provider=provider,
            name="scenario",
            title="scenario",
            product_type=ProductType.COMPUTE,
            charging=Charging.ONCE if once else Charging.PER_HOUR,
            unit_name="ticks",
            grace_days=grace // DAY_SECONDS,
        )
        first = _time(scenario["steps"][0]["at"]) if scenario["steps"] else ZERO
        self.wallets: dict[str, Wallet] = {}
        for number, name in enumerate(scenario["wallets"]):
            owner = Organization.objects.create(name=name, slug=f"scenario-{number}")
            workspace = Workspace.objects.create(kind=Workspace.Kind.ORGANIZATION, organization=owner)
            self.wallets[name] = accounting.wallet_for(
                workspace_id=workspace.pk, category_id=self.category.pk, at=first
            )
        self.allocations: dict[str, Allocation] = {}
        self._number = 0

    def play(self, step: Mapping[str, Any]) -> bool:
        """Do one step; whether it was refused."""
        return self.attempt(step) is not None

    def attempt(self, step: Mapping[str, Any]) -> DomainError | NotPlayed | None:
        """Do one step; the refusal, if it was one."""
        try:
            self._do(step, _time(step["at"]))
        except (DomainError, NotPlayed) as refusal:
            return refusal
        return None

    def read(self, at: int) -> Loaded:
        """What the tables hold, with what is due by then applied."""
        return read(self.category, [wallet.pk for wallet in self.wallets.values()], _time(at))

    def state(self, *, refused: bool, at: int) -> dict[str, Any]:
        loaded = self.read(at)
        book = loaded.book
        rows = [loaded.row_of_wallet[wallet.pk] for wallet in self.wallets.values()]
        available = available_everywhere(book, rows)
        drawn = {
            name: int(book.drawn[row]) if (row := loaded.row_of_allocation.get(one.pk)) is not None else 0
            for name, one in self.allocations.items()
        }
        return {
            "refused": refused,
            "wallets": {
                name: {"used": int(book.used[row]), "uncovered": int(book.uncovered[row]), "available": amount}
                for name, row, amount in zip(self.wallets, rows, available, strict=True)
            },
            "allocations": drawn,
        }

    def _do(self, step: Mapping[str, Any], at: datetime) -> None:
        match step["op"]:
            case "advance":
                pass
            case "allocate":
                source = step.get("source")
                if step["id"] in self.allocations:
                    raise NotPlayed(step["id"])  # it is the name of another one already
                self.allocations[step["id"]] = accounting.allocate(
                    workspace=named(self.wallets, step["wallet"]).workspace,
                    category=self.category,
                    source=None if source is None else named(self.wallets, source),
                    quota_ticks=step["quota"],
                    start=_time(step["start"]),
                    end=_time(step["end"]),
                    priority=step.get("priority") or 0,
                    by=None,
                    at=at,
                )
            case "change":
                accounting.change_allocation(
                    allocation=named(self.allocations, step["id"]),
                    quota_ticks=step.get("quota"),
                    start=_time(step["start"]) if "start" in step else None,
                    end=_time(step["end"]) if "end" in step else None,
                    by=None,
                    at=at,
                )
            case "revoke":
                accounting.revoke_allocation(allocation=named(self.allocations, step["id"]), by=None, at=at)
            case "transfer":
                giver, taker = named(self.allocations, step["id"]), named(self.allocations, step["to"])
                accounting.transfer_quota(giver=giver, taker=taker, amount_ticks=step["amount"], by=None, at=at)
            case "write_off":
                wallet, reason = named(self.wallets, step["wallet"]), "scenario"
                accounting.write_off(wallet=wallet, amount_ticks=step["amount"], reason=reason, by=None, at=at)
            case "charge" | "level":
                self._report(step, at)
            case other:
                raise ValueError(f"unknown step {other!r}")

    def _report(self, step: Mapping[str, Any], at: datetime) -> None:
        self._number += 1
        # A report counts at the last instant of its period.
        end = _time(step.get("used_at", step["at"])) + timedelta(microseconds=1)
        report = Report(
            report_id=f"{self._number:08}",
            category_id=self.category.pk,
            workspace_id=named(self.wallets, step["wallet"]).workspace_id,
            amount_ticks=step["amount"],
            period_start=end - timedelta(seconds=1),
            period_end=end,
            is_absolute=step["op"] == "level",
            scope=step.get("scope") or "",
        )
        post_reports(reports=[report], by=None, at=at)


def _time(seconds: int) -> datetime:
    return ZERO + timedelta(seconds=seconds)
