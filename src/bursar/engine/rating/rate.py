"""What a resource costs in a month: one line for each component, plan and price version.

Day by day for what is sold by time and limits, hour by hour for plans per hour, and at their instants for what happens
once. A day counts whole, under the plan and the price in force at its end or, on its last, when the resource ended.
Everything is exact until a line is rounded, once. Which readings of the definition were chosen is in docs/adr/0029.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from fractions import Fraction
from typing import Final, NamedTuple

from bursar.engine.rating.calendar import FIRST_HALF, Month, day_starts, days_of, months_of
from bursar.engine.rating.exact import text
from bursar.engine.rating.facts import Charge, History, Part, PriceVersion, Tariff
from bursar.engine.rating.life import Life, Run, Span
from bursar.engine.rating.tiers import Sold, sell
from bursar.kernel.money import minor_units

HOUR: Final = timedelta(hours=1)
INSTANT: Final = timedelta(microseconds=1)
ZERO: Final = Fraction(0)


def charges(history: History, tariff: Tariff, month: Month, zone: tzinfo, digits: int) -> list[Charge]:
    """The lines of a resource in a month, by component and then in the order in which they first came about.

    zone      the seller's, in which months and days are counted
    digits    decimals of the currency's minor unit
    returns   none for what is free or was not there; none at all where the resource did not exist in the month
    """
    rating = _Rating(history, tariff, zone)
    start, end = month.start(zone), month.end(zone)
    if not rating.life.exists_in(start, end):
        return []
    found: list[Charge] = []
    for component in sorted(tariff.parts):
        part = tariff.parts[component]
        lines = rating.lines(part, month)
        if part.billing == "limit" and part.limit_period in {"quarter", "year"}:
            rating.close_period(part, month, lines, digits)
        found.extend(line.charge(component, digits) for line in lines.values() if line.counts)
    return found


def boundaries(history: History, tariff: Tariff, month: Month, zone: tzinfo) -> list[datetime]:
    """The instants inside a month at which what a used unit costs turns: another plan, or another price version.

    Usage between two of them may be summed and stand anywhere between them. In order, in UTC.
    """
    life = Life(history)
    start, end = month.start(zone), month.end(zone)
    used = [part.component for part in tariff.parts.values() if part.billing == "usage"]
    turns = {at for at in (*life.plans.ats, *tariff.turns) if start < at < end}

    def price(plan: int | None, component: int, at: datetime, *, before: bool) -> int | None:
        versions = tariff.versions.get((plan, component)) if plan is not None else None
        version = versions and (versions.before(at) if before else versions.at(at))
        return version.number if version else None

    return sorted(
        at
        for at in turns
        if used
        and (
            life.plans.before(at) != life.plans.at(at)
            or any(
                price(life.plans.at(at), component, at, before=True)
                != price(life.plans.at(at), component, at, before=False)
                for component in used
            )
        )
    )


class Stretch(NamedTuple):
    """A part of a month in which a component's use costs the same: by this plan and price version; None = by none."""

    start: datetime
    end: datetime
    plan: int | None
    version: int | None


def stretches(history: History, tariff: Tariff, month: Month, zone: tzinfo, component: int) -> list[Stretch]:
    """A whole month, cut at its boundaries, with what a component's use costs by in each part."""
    ats = [month.start(zone), *boundaries(history, tariff, month, zone)]
    life = Life(history)
    found = []
    for start, end in zip(ats, [*ats[1:], month.end(zone)], strict=True):
        plan = life.plans.at(start)
        versions = tariff.versions.get((plan, component)) if plan is not None else None
        version = versions.at(start) if versions else None
        found.append(Stretch(start, end, plan, version.number if version else None))
    return found


@dataclass(slots=True)
class _Line:
    """A line as it grows.

    money   exact; None = quantity x unit price
    less    whole minor units of earlier months that are taken off (limits per quarter or year)
    """

    plan: int
    version: PriceVersion
    basis: dict[str, object]
    quantity: Fraction = ZERO
    unit_price: Fraction = ZERO
    money: Fraction | None = None
    less: int = 0
    stretches: list[dict[str, object]] = field(default_factory=list)

    @property
    def counts(self) -> bool:
        """Whether it says anything: not what is free, nor what came to nothing."""
        free = self.version.price == 0 and not any(price for _, price in self.version.tiers)
        return not free and bool(self.quantity or self.money)

    @property
    def exact(self) -> Fraction:
        return self.quantity * self.unit_price if self.money is None else self.money

    def charge(self, component: int, digits: int) -> Charge:
        exact = self.exact
        if self.stretches:
            self.basis["stretches"] = self.stretches
        self.basis["quantity"] = text(self.quantity)
        return Charge(
            component=component,
            plan=self.plan,
            price_version=self.version.number,
            quantity=self.quantity,
            unit_price=self.unit_price,
            amount=exact - Fraction(self.less, 10**digits) if self.less else exact,
            rounded=minor_units(exact, digits) - self.less,
            basis=self.basis,
        )


Lines = dict[tuple[int, int], _Line]  # (plan, price version) -> line


class _Rating:
    """One resource being rated: its life in order, and the runs of days of each month that is looked at."""

    def __init__(self, history: History, tariff: Tariff, zone: tzinfo) -> None:
        self.history, self.tariff, self.zone = history, tariff, zone
        self.life = Life(history)
        self._runs: dict[Month, tuple[Run, ...]] = {}

    def runs(self, month: Month) -> tuple[Run, ...]:
        if month not in self._runs:
            self._runs[month] = tuple(self.life.runs(day_starts(month, self.zone), self.tariff.turns))
        return self._runs[month]

    def lines(self, part: Part, month: Month) -> Lines:
        """The lines of one component in a month, each by itself: the rest of a quarter is not in them."""
        lines: Lines = {}
        if part.billing == "fixed":
            units = self.tariff.units
            plans = {plan for plan in self.life.plans.values if (plan, part.component) in self.tariff.versions}
            if any(units[plan] in {"month", "half_month", "day"} for plan in plans):
                self._fixed_by_days(part, month, lines)
            if any(units[plan] == "hour" for plan in plans):
                self._fixed_by_hours(part, month, lines)
            if any(units[plan] == "quantity" for plan in plans):
                self._fixed_once(part, month, lines)
        elif part.billing == "limit":
            if part.limit_period == "total":
                self._limit_changes(part, month, lines)
            else:
                self._limit_by_days(part, month, lines)
        elif part.billing == "one_time":
            self._once(part, month, lines)
        elif part.billing == "on_switch":
            self._switches(part, month, lines)
        else:
            self._used(part, month, lines)
        return lines

    def close_period(self, part: Part, month: Month, lines: Lines, digits: int) -> None:
        """Let the last month's lines of a quarter or year bring what was rounded before to the rounded whole."""
        months = months_of(part.limit_period, month)
        if month != months[-1]:
            return
        earlier = [(m, self.lines(part, m)) for m in months[:-1]]
        for key, line in lines.items():
            if not line.counts:
                continue
            taken: list[dict[str, object]] = []
            exact, less = line.exact, 0
            for before, its_lines in earlier:
                its = its_lines.get(key)
                if its is not None and its.counts:
                    rounded = minor_units(its.exact, digits)
                    exact += its.exact
                    less += rounded
                    taken.append({"month": str(before), "amount": text(Fraction(rounded, 10**digits))})
            if taken:
                line.money, line.less = exact, less
                line.basis["whole"] = text(exact)
                line.basis["taken_off"] = taken

    # ------------------------------------------------------------------------------------------ by days

    def _fixed_by_days(self, part: Part, month: Month, lines: Lines) -> None:
        days_in_month = days_of("month", month)
        for run in self.runs(month):
            version = self._version(run.plan, part, before=run.pieces[-1][1])
            if run.plan is None or version is None:
                continue
            unit = self.tariff.units[run.plan]
            if unit not in {"month", "half_month", "day"}:
                continue
            line = _line(lines, run.plan, version, kind="days", unit=unit, amount=version.amount)
            if part.free_while_paused and run.paused:
                _note_pause(line, month, run)
                continue
            whole_month = [(run.first, run.days, days_in_month)]
            for first, days, whole in _halves(run, month) if unit == "half_month" else whole_month:
                line.quantity += Fraction(version.amount * days, 1 if unit == "day" else whole)
                _note_days(line, month, first, days, {} if unit == "day" else {"of": whole})

    def _limit_by_days(self, part: Part, month: Month, lines: Lines) -> None:
        limits = self.life.limits.get(part.component)
        if limits is None:
            return
        period = part.limit_period
        whole = 1 if period == "day" else days_of(period, month)
        for run in self.runs(month):
            version = self._version(run.plan, part, before=run.pieces[-1][1])
            if run.plan is None or version is None:
                continue
            line = _line(lines, run.plan, version, kind="limits", period=period)
            if part.free_while_paused and run.paused:
                _note_pause(line, month, run)
                continue
            highest = 0
            for start, end in run.pieces:
                highest = max(highest, limits.at(start) or 0, *(limits.values[i] for i in limits.between(start, end)))
            line.quantity += Fraction(highest * run.days, whole)
            _note_days(line, month, run.first, run.days, {"limit": highest} | ({} if whole == 1 else {"of": whole}))

    # ----------------------------------------------------------------------------------------- by hours

    def _fixed_by_hours(self, part: Part, month: Month, lines: Lines) -> None:
        """Hours begun, counted from when the resource first existed. One in which it came back begins when it did."""
        start, end = month.start(self.zone), month.end(self.zone)
        for begin, after, comes_back in self._stretches_of_hours(start, end):
            for first, last in self._between_turns(part, begin, after):
                plan = self.life.plans.at(first)
                version = self._version(plan, part, at=first)
                if plan is None or version is None or self.tariff.units[plan] != "hour":
                    continue
                hours = self._hours_from(first, last) + (first == begin and comes_back)
                free = 0
                if part.free_while_paused:
                    # Only hours that are paused from beginning to end: the last begins an hour before the pause ends.
                    free = sum(
                        self._hours_from(max(first, a), min(last, b - HOUR + INSTANT)) for a, b in self.life.pauses
                    )
                if not hours:
                    continue
                line = _line(lines, plan, version, kind="hours", amount=version.amount)
                line.quantity += version.amount * (hours - free)
                line.stretches.append(
                    {"from": first.isoformat(), "to": last.isoformat(), "hours": hours - free}
                    | ({"paused": free} if free else {})
                )

    def _stretches_of_hours(self, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime, bool]]:
        """The parts of a month in which hours of the resource begin: (from, to, whether it came back amid an hour).

        An hour that was begun before the resource ended is not begun again when it comes back within it.
        """
        birth = self.life.spans[0][0]
        begun = 0  # hours since then
        for a, b in self.life.spans:
            first = max(a, birth + begun * HOUR)
            begun = -((birth - b) // HOUR)
            if max(first, start) < min(b, end):
                yield max(first, start), min(b, end), first == a >= start and bool((a - birth) % HOUR)

    def _between_turns(self, part: Part, start: datetime, end: datetime) -> Iterator[Span]:
        """A stretch, cut where the plan or a price of the component turns."""
        turns = {start, end, *(at for at in self.life.plans.ats if start < at < end)}
        for plan in set(self.life.plans.values):
            versions = self.tariff.versions.get((plan, part.component))
            if versions is not None and len(versions.ats) > 1:
                turns.update(at for at in versions.ats if start < at < end)
        edges = sorted(turns)
        for i in range(len(edges) - 1):
            yield edges[i], edges[i + 1]

    def _hours_from(self, start: datetime, end: datetime) -> int:
        """How many full hours since the resource first existed strike in [start, end)."""
        first = self.life.spans[0][0]
        return max(0, -((first - end) // HOUR) + (first - start) // HOUR)

    # --------------------------------------------------------------------------------------- at instants

    def _fixed_once(self, part: Part, month: Month, lines: Lines) -> None:
        """What is sold once: when the resource first existed under a plan."""
        start, end = month.start(self.zone), month.end(self.zone)
        plans = self.life.plans
        seen: set[int] = set()
        for a, b in self.life.spans:
            for at in (a, *(plans.ats[i] for i in plans.between(a, b))):
                plan = plans.at(at)
                if plan is None or plan in seen:
                    continue
                seen.add(plan)
                version = self._version(plan, part, at=at)
                if version is not None and self.tariff.units[plan] == "quantity" and start <= at < end:
                    line = _line(lines, plan, version, kind="once", amount=version.amount)
                    line.quantity += version.amount
                    line.basis["at"] = at.isoformat()

    def _once(self, part: Part, month: Month, lines: Lines) -> None:
        at = self.life.spans[0][0]
        if not month.start(self.zone) <= at < month.end(self.zone):
            return
        plan = self.life.plans.at(at)
        version = self._version(plan, part, at=at)
        if plan is not None and version is not None:
            line = _line(lines, plan, version, kind="once")
            line.quantity += 1
            line.basis["at"] = at.isoformat()

    def _switches(self, part: Part, month: Month, lines: Lines) -> None:
        """Each change to another plan while the resource exists; the plan that it begins with is no change."""
        start, end = month.start(self.zone), month.end(self.zone)
        plans = self.life.plans
        for at in plans.ats:
            if not (start <= at < end and self.life.exists_at(at) and at > self.life.spans[0][0]):
                continue
            plan = plans.at(at)
            if plan is None or plan == plans.before(at):
                continue
            version = self._version(plan, part, at=at)
            if version is not None:
                line = _line(lines, plan, version, kind="switches")
                line.quantity += 1
                line.stretches.append({"at": at.isoformat()})

    def _limit_changes(self, part: Part, month: Month, lines: Lines) -> None:
        """What a limit rose or fell by, each at its instant; while the resource does not exist nothing changes."""
        limits = self.life.limits.get(part.component)
        if limits is None:
            return
        start, end = month.start(self.zone), month.end(self.zone)
        level = 0
        for a, b in self.life.spans:
            for at in (a, *(limits.ats[i] for i in limits.between(a, b))):
                before, level = level, limits.at(at) or 0
                if level == before or not start <= at < end:
                    continue
                plan = self.life.plans.at(at)
                version = self._version(plan, part, at=at)
                if plan is not None and version is not None:
                    line = _line(lines, plan, version, kind="changes")
                    line.quantity += level - before
                    line.stretches.append({"at": at.isoformat(), "before": before, "limit": level})

    def _used(self, part: Part, month: Month, lines: Lines) -> None:
        start, end = month.start(self.zone), month.end(self.zone)
        used: dict[datetime, Fraction] = {}
        for row in self.history.used:
            if row.component == part.component:
                used[row.at] = used.get(row.at, ZERO) + row.quantity
        sold: list[Sold] = []
        for at in sorted(used):
            if start <= at < end:
                plan = self.life.plans.at(at)
                sold.append(Sold(plan, self._version(plan, part, at=at), used[at]))
        for plan, version, found in sell(sold):
            line = _line(lines, plan, version, kind="used")
            line.quantity, line.unit_price = found.quantity, found.unit_price
            if found.money is not None:
                line.money = found.money
            line.basis |= found.basis()

    def _version(
        self, plan: int | None, part: Part, *, at: datetime | None = None, before: datetime | None = None
    ) -> PriceVersion | None:
        versions = self.tariff.versions.get((plan, part.component)) if plan is not None else None
        if versions is None:
            return None
        if before is not None:
            return versions.before(before)
        return versions.at(at) if at is not None else None


def _line(lines: Lines, plan: int, version: PriceVersion, **basis: object) -> _Line:
    line = lines.get((plan, version.number))
    if line is None:
        line = lines[plan, version.number] = _Line(plan, version, basis, unit_price=version.price)
    return line


def _halves(run: Run, month: Month) -> Iterable[tuple[int, int, int]]:
    """A run by halves of the month: (first day, days, days in that half)."""
    last = run.first + run.days - 1
    if run.first <= FIRST_HALF:
        yield run.first, min(last, FIRST_HALF) - run.first + 1, FIRST_HALF
    if last > FIRST_HALF:
        first = max(run.first, FIRST_HALF + 1)
        yield first, last - first + 1, month.days - FIRST_HALF


def _note_days(line: _Line, month: Month, first: int, days: int, more: Mapping[str, object]) -> None:
    """Write days down; such as go on as the days before them did are added to those."""
    prefix = str(month)
    begin, end = f"{prefix}-{first:02d}", f"{prefix}-{first + days - 1:02d}"
    if line.stretches:
        last = line.stretches[-1]
        same = {k: v for k, v in last.items() if k not in {"from", "to", "days"}} == more
        if same and last["to"] == f"{prefix}-{first - 1:02d}":
            last["to"], last["days"] = end, int(str(last["days"])) + days
            return
    line.stretches.append({"from": begin, "to": end, "days": days, **more})


def _note_pause(line: _Line, month: Month, run: Run) -> None:
    paused = line.basis.setdefault("paused", [])
    assert isinstance(paused, list)
    paused.append(
        {"from": f"{month}-{run.first:02d}", "to": f"{month}-{run.first + run.days - 1:02d}", "days": run.days}
    )
