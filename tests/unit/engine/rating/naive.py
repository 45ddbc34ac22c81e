"""What a resource costs in a month, counted by a slow and simple reader of the definition; it shares nothing with the engine.

Facts are looked up by going through all of them each time; days are walked one by one, hours one by one.
"""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from functools import cache


def utc(at: datetime) -> datetime:
    return at.astimezone(UTC)


def latest(facts, at, *, strictly=False):
    """The last fact not after an instant, or before it."""
    best = None
    for fact in facts:
        counts = fact.at < at or (fact.at == at and not strictly)
        if counts and (best is None or (fact.at, fact.number) > (best.at, best.number)):
            best = fact
    return best


def midnight(day: date, zone) -> datetime:
    return utc(datetime(day.year, day.month, day.day, tzinfo=zone))


def month_after(year: int, month: int) -> tuple[int, int]:
    return (year + 1, 1) if month == 12 else (year, month + 1)


def days_of(year: int, month: int) -> list[date]:
    day, days = date(year, month, 1), []
    while day.month == month:
        days.append(day)
        day += timedelta(days=1)
    return days


def rounded(money: Fraction, digits: int) -> int:
    with localcontext() as context:
        context.prec = 200
        scaled = money * 10**digits
        # An exact half is exact in decimals; what is not is never one.
        return int((Decimal(scaled.numerator) / Decimal(scaled.denominator)).quantize(Decimal(1), ROUND_HALF_UP))


def in_utc(history):
    fields = {
        name: tuple(replace(fact, at=utc(fact.at)) for fact in getattr(history, name))
        for name in ("states", "plans", "limits", "used")
    }
    return replace(history, **fields)


class Naive:
    def __init__(self, history, tariff, zone, digits) -> None:
        self.history, self.tariff, self.zone, self.digits = in_utc(history), tariff, zone, digits
        history = self.history
        self.when = sorted({fact.at for fact in history.states})
        self.exists, self.paused = cache(self._exists), cache(self._paused)
        self.all_instants = sorted({f.at for facts in (history.states, history.plans, history.limits) for f in facts})

    # what is so at an instant

    def _exists(self, at: datetime) -> bool:
        alive = ever = False
        for when in self.when:
            if when > at:
                break
            state = latest(self.history.states, when).state
            if state == "ok" or (ever and state in ("changing", "paused")):
                alive = ever = True
            if state in ("terminating", "terminated"):
                alive = False
        return alive

    def _paused(self, at: datetime) -> bool:
        was = False
        for when in self.when:
            if when > at:
                break
            state = latest(self.history.states, when).state
            was = self.exists(when) and (state == "paused" or (was and state == "changing"))
        return was

    def first_ok(self):
        return next((when for when in self.when if latest(self.history.states, when).state == "ok"), None)

    def plan(self, at, strictly=False):
        fact = latest(self.history.plans, at, strictly=strictly)
        return fact.plan if fact else None

    def price(self, plan, component, at, strictly=False):
        return latest(self.tariff.prices.get((plan, component), ()), at, strictly=strictly)

    def limit(self, component, at):
        fact = latest([f for f in self.history.limits if f.component == component], at)
        return fact.limit if fact else 0

    def instants(self, start, end):
        """All instants of facts in [start, end), with its start."""
        return sorted({start, *(at for at in self.all_instants if start <= at < end)})

    # lines: (component, plan, price number) -> (quantity, rounded)

    def bill(self, year: int, month: int):
        found = {}
        for component, part in self.tariff.parts.items():
            lines = self.component(part, year, month)
            for (plan, version), (quantity, money) in lines.items():
                cents = rounded(money, self.digits)
                if part.billing == "limit" and part.limit_period in ("quarter", "year"):
                    size = 3 if part.limit_period == "quarter" else 12
                    if month % size == 0:
                        earlier = [self.component(part, year, m) for m in range(month - size + 1, month)]
                        monies = [its[plan, version][1] for its in earlier if (plan, version) in its]
                        cents = rounded(money + sum(monies), self.digits) - sum(rounded(m, self.digits) for m in monies)
                found[component, plan, version.number] = (quantity, cents)
        return found

    def component(self, part, year, month):
        start, end = midnight(date(year, month, 1), self.zone), midnight(date(*month_after(year, month), 1), self.zone)
        if not any(self.exists(at) for at in self.instants(start, end)):
            return {}
        # (plan, price version) -> [(quantity, money)]
        heap = {}

        def add(plan, version, quantity, money=None):
            if plan is not None and version is not None:
                heap.setdefault((plan, version), []).append(
                    (Fraction(quantity), quantity * version.price if money is None else money)
                )

        if part.billing == "fixed":
            self.fixed_days(part, year, month, add)
            self.fixed_hours(part, start, end, add)
            self.fixed_once(part, start, end, add)
        elif part.billing == "limit" and part.limit_period != "total":
            self.limits(part, year, month, add)
        elif part.billing == "limit":
            level = 0
            for at in self.instants(midnight(date(1999, 1, 1), self.zone), end):
                if self.exists(at) and self.limit(part.component, at) != level:
                    change, level = self.limit(part.component, at) - level, self.limit(part.component, at)
                    if at >= start:
                        add(self.plan(at), self.price(self.plan(at), part.component, at), change)
        elif part.billing == "one_time":
            at = self.first_ok()
            if at is not None and start <= at < end:
                add(self.plan(at), self.price(self.plan(at), part.component, at), 1)
        elif part.billing == "on_switch":
            for at in self.instants(start, end):
                new, old = self.plan(at), self.plan(at, strictly=True)
                if (
                    self.exists(at)
                    and at > self.first_ok()
                    and new != old
                    and any(f.at == at for f in self.history.plans)
                ):
                    add(new, self.price(new, part.component, at), 1)
        else:
            self.usage(part, start, end, add)
        summed = {key: (sum(q for q, _ in parts), sum(m for _, m in parts)) for key, parts in heap.items()}
        return {
            (plan, version): (quantity, money)
            for (plan, version), (quantity, money) in summed.items()
            if (version.price or any(p for _, p in version.tiers)) and (quantity or money)
        }

    def each_day(self, year, month):
        """(day, start, end of what counts of it, instants at which it existed in it, whether paused throughout)"""
        for day in days_of(year, month):
            start, end = midnight(day, self.zone), midnight(day + timedelta(days=1), self.zone)
            moments = self.instants(start, end)
            there = [at for at in moments if self.exists(at)]
            if there:
                # The end of its last stretch: the first fact after the last instant at which it was there.
                last = next((at for at in moments if at > there[-1]), end)
                yield day, last, there, all(self.paused(at) for at in moments)

    def fixed_days(self, part, year, month, add):
        for day, last, _, paused in self.each_day(year, month):
            plan = self.plan(last, strictly=True)
            version = self.price(plan, part.component, last, strictly=True)
            if version is None or (paused and part.free_while_paused):
                continue
            n = len(days_of(year, month))
            share = {
                "month": Fraction(1, n),
                "half_month": Fraction(1, 15 if day.day <= 15 else n - 15),
                "day": Fraction(1),
            }.get(self.tariff.units[plan])
            if share is not None:
                add(plan, version, version.amount * share)

    def limits(self, part, year, month, add):
        months = {"day": [], "month": [month], "year": range(1, 13)}.get(
            part.limit_period, range(3 * ((month - 1) // 3) + 1, 3 * ((month - 1) // 3) + 4)
        )
        whole = sum(len(days_of(year, m)) for m in months) or 1
        for _, last, there, paused in self.each_day(year, month):
            plan = self.plan(last, strictly=True)
            version = self.price(plan, part.component, last, strictly=True)
            if not (paused and part.free_while_paused):
                add(plan, version, Fraction(max(self.limit(part.component, at) for at in there), whole))

    def fixed_hours(self, part, start, end, add):
        hour = self.first_ok()
        if hour is None:
            return
        while hour + timedelta(days=1) < start:  # what lies long before the month is skipped
            hour += timedelta(days=1)
        while hour < end:
            after = hour + timedelta(hours=1)
            if after > start:
                moments = self.instants(hour, after)
                there = [at for at in moments if self.exists(at)]
                if there and start <= there[0] < end:
                    begun = there[0]
                    plan = self.plan(begun)
                    version = self.price(plan, part.component, begun)
                    free = part.free_while_paused and all(self.paused(at) for at in moments)
                    if version is not None and self.tariff.units[plan] == "hour" and not free:
                        add(plan, version, version.amount)
            hour = after

    def fixed_once(self, part, start, end, add):
        seen = set()
        for at in self.instants(midnight(date(1999, 1, 1), self.zone), end):
            plan = self.plan(at)
            if self.exists(at) and plan is not None and plan not in seen:
                seen.add(plan)
                version = self.price(plan, part.component, at)
                if at >= start and version is not None and self.tariff.units[plan] == "quantity":
                    add(plan, version, version.amount)

    def usage(self, part, start, end, add):
        rows = [row for row in self.history.used if row.component == part.component and start <= row.at < end]
        whole = sum((row.quantity for row in rows), Fraction(0))
        count = Fraction(0)
        for at in sorted({row.at for row in rows}):
            quantity = sum((row.quantity for row in rows if row.at == at), Fraction(0))
            plan = self.plan(at)
            version = self.price(plan, part.component, at)
            before, count = count, count + quantity
            if version is None:
                continue
            if version.tier_kind == "graduated":
                add(plan, version, quantity, cost_up_to(version, count) - cost_up_to(version, before))
            elif version.tier_kind == "volume":
                price = version.price
                for start_of, its in version.tiers:
                    if whole >= start_of:
                        price = its
                add(plan, version, quantity, quantity * price)
            else:
                add(plan, version, quantity)


def cost_up_to(version, count: Fraction) -> Fraction:
    """What the first so many units cost by steps."""
    cost = count * version.price
    below = version.price
    for start, price in version.tiers:
        if count > start:
            cost += (count - start) * (price - below)
        below = price
    return cost
