"""What levels, scopes and corrections come down to: differences at a wallet, worked out from what was reported before."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.db import connection

from bursar.accounting.books import EPOCH, micros
from bursar.accounting.models import Wallet
from bursar.catalogue.models import ProductCategory
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.reports import Report

_BEFORE_ALL: Final = datetime.min.replace(tzinfo=EPOCH.tzinfo)
# The request that is worked out comes after every operation that was booked.
_NOW: Final = 1 << 63


@dataclass(slots=True)
class Level:
    """A scope's level while a request is worked out. The scope "" is the whole wallet, whose level is its usage.

    set_in   the operation that set it last
    """

    ticks: int = 0
    set_until: datetime | None = None
    set_by: str = ""
    set_in: int = _NOW
    changed: bool = False

    @property
    def order(self) -> tuple[datetime, str]:
        return (self.set_until or _BEFORE_ALL, self.set_by)


@dataclass(slots=True)
class Original:
    """What a correction corrects: the report, and the amount that counts for it now.

    booked_in   the operation that it was booked in
    """

    booked_in: int
    wallet_id: int
    is_absolute: bool
    scope: str
    order: tuple[datetime, str]
    charged_at: int
    counted_ticks: int
    corrects: str
    resource_id: int | None
    person_id: int | None
    user: str
    job: str


@dataclass(slots=True)
class Levels:
    """Works out a request's reports of one category; the category's lock is held.

    reports     the request's, of which those at `new` count
    wallet_ids  by place, the wallet that a report is of
    posted      by place, the difference in ticks that a report comes down to: written here
    charged_at  by place, microseconds since 1970: for a correction its original's instant is written here
    faults      (place, code)
    """

    category: ProductCategory
    reports: Sequence[Report]
    new: Sequence[int]
    wallet_ids: Sequence[int]
    posted: list[int]
    charged_at: list[int]
    levels: dict[tuple[int, str], Level] = field(default_factory=dict)
    originals: dict[int, Original] = field(default_factory=dict)
    faults: list[tuple[int, str]] = field(default_factory=list)

    def work_out(self) -> None:
        levelled: dict[tuple[int, str], list[int]] = {}
        corrections: list[int] = []
        plain: list[int] = []
        for index in self.new:
            report = self.reports[index]
            if report.corrects:
                corrections.append(index)
            elif report.is_absolute or report.scope:
                levelled.setdefault((self.wallet_ids[index], report.scope), []).append(index)
            else:
                plain.append(index)
        whole = {wallet_id for wallet_id, scope in levelled if not scope}
        for index in plain if whole else ():  # differences of the whole wallet take their place between its levels
            if self.wallet_ids[index] in whole:
                levelled[self.wallet_ids[index], ""].append(index)
        self._find_originals(corrections)
        self._load(levelled)
        self._refuse_mixed(levelled)
        for key, indexes in levelled.items():
            for index in sorted(indexes, key=lambda place: self.reports[place].order):
                self._move(index, self.levels[key])
        for index in corrections:
            if index in self.originals:
                self._correct(index, self.originals[index])

    def write(self) -> None:
        """Keep the levels that changed."""
        changed = [(key, level) for key, level in self.levels.items() if level.changed]
        if not changed:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO scope_level (category_id, wallet_id, scope, level_ticks, set_until, set_by)
                SELECT %s, * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::timestamptz[], %s::text[])
                ON CONFLICT (category_id, wallet_id, scope) DO UPDATE
                SET level_ticks = excluded.level_ticks, set_until = excluded.set_until, set_by = excluded.set_by
                """,
                [
                    self.category.pk,
                    [wallet_id for (wallet_id, _), _ in changed],
                    [scope for (_, scope), _ in changed],
                    # The level of the whole is the wallet's own usage: it is not kept twice.
                    [level.ticks if scope else 0 for (_, scope), level in changed],
                    [level.set_until for _, level in changed],
                    [level.set_by for _, level in changed],
                ],
            )

    def _move(self, index: int, level: Level) -> None:
        report = self.reports[index]
        if not report.is_absolute:
            self.posted[index] = report.amount_ticks
            self._change(index, level, report.amount_ticks, scope=report.scope)
        elif report.order > level.order:
            self.posted[index] = report.amount_ticks - level.ticks
            level.ticks = report.amount_ticks
            (level.set_until, level.set_by), level.set_in = report.order, _NOW
        else:
            self.posted[index] = 0
            return
        level.changed = True

    def _correct(self, index: int, original: Original) -> None:
        report = self.reports[index]
        level = self.levels.get((original.wallet_id, original.scope))
        counts = True
        if level is not None and level.set_by:
            # A level that was set after it was booked has made the corrected report of no account. Differences count when they
            # come, also late ones, and those of one request in the order of their periods.
            booked, was_set = (original.booked_in, original.order), (level.set_in, level.order)
            counts = original.order == level.order if original.is_absolute else booked > was_set
        self.charged_at[index] = original.charged_at
        self.posted[index] = report.amount_ticks - original.counted_ticks if counts else 0
        original.counted_ticks = report.amount_ticks
        if level is not None and counts:
            self._change(index, level, self.posted[index], scope=original.scope)
            level.changed = True

    def _change(self, index: int, level: Level, ticks: int, *, scope: str) -> None:
        """What a wallet as a whole can hold is seen to where it is booked; one of its scopes may have more, or less."""
        if scope and abs(level.ticks + ticks) > TICKS_MAX:
            self.faults.append((index, "overflow"))
        else:
            level.ticks += ticks

    def _find_originals(self, corrections: list[int]) -> None:
        if not corrections:
            return
        places = {self.reports[index].report_id: index for index in self.new}
        named = {self.reports[index].corrects for index in corrections}
        known = self._stored_originals(named - places.keys())
        for name in named & places.keys():
            index = places[name]
            one = self.reports[index]
            known[name] = Original(
                booked_in=_NOW,
                wallet_id=self.wallet_ids[index],
                is_absolute=one.is_absolute,
                scope=one.scope,
                order=one.order,
                charged_at=self.charged_at[index],
                counted_ticks=one.amount_ticks,
                corrects=one.corrects,
                resource_id=one.resource_id,
                person_id=one.person_id,
                user=one.user,
                job=one.job,
            )
        for index in corrections:
            report = self.reports[index]
            original = known.get(report.corrects)
            code = ""
            if original is None:
                code = "unknown_original"
            elif original.corrects:
                code = "corrects_a_correction"
            elif original.wallet_id != self.wallet_ids[index]:
                code = "original_of_another_workspace"
            elif original.is_absolute and report.amount_ticks < 0:
                code = "negative_level"
            if code or original is None:
                self.faults.append((index, code))
            else:
                self.originals[index] = original

    def _stored_originals(self, names: set[str]) -> dict[str, Original]:
        """The reports of these names, each with the amount that its last correction gave it."""
        if not names:
            return {}
        with connection.cursor() as cursor:
            # A name leads to the instant, and the instant to the request that the report came in. That a correction names
            # something is said for the index, which has nothing else.
            cursor.execute(
                """
                WITH named AS MATERIALIZED (
                    SELECT report_id, recorded_at FROM report_identity
                    WHERE category_id = %(category)s AND report_id = ANY(%(names)s)
                )
                SELECT r.report_id, r.operation_id, r.wallet_id, r.is_absolute, r.scope, r.period_end, r.used_at,
                       coalesce(c.amount_ticks, r.amount_ticks), r.corrects, r.resource_id, r.person_id, r.user_name, r.job
                FROM (SELECT DISTINCT recorded_at FROM named) AS request
                CROSS JOIN LATERAL (
                    SELECT * FROM usage_report
                    WHERE category_id = %(category)s AND recorded_at = request.recorded_at
                    OFFSET 0
                ) r
                JOIN named ON named.report_id = r.report_id AND named.recorded_at = r.recorded_at
                LEFT JOIN LATERAL (
                    SELECT amount_ticks FROM usage_report
                    WHERE category_id = %(category)s AND corrects = r.report_id AND corrects <> '' ORDER BY id DESC LIMIT 1
                ) c ON true
                """,
                {"category": self.category.pk, "names": sorted(names)},
            )
            return {
                row[0]: Original(row[1], row[2], row[3], row[4], (row[5], row[0]), micros(row[6]), *row[7:])
                for row in cursor.fetchall()
            }

    def _load(self, levelled: dict[tuple[int, str], list[int]]) -> None:
        keys = {*levelled, *((one.wallet_id, one.scope) for one in self.originals.values())}
        if not keys:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT s.wallet_id, s.scope, s.level_ticks, s.set_until, s.set_by FROM scope_level s
                JOIN unnest(%s::bigint[], %s::text[]) AS k(wallet_id, scope)
                  ON k.wallet_id = s.wallet_id AND k.scope = s.scope
                WHERE s.category_id = %s
                """,
                [[key[0] for key in keys], [key[1] for key in keys], self.category.pk],
            )
            for wallet_id, scope, ticks, set_until, set_by in cursor.fetchall():
                self.levels[wallet_id, scope] = Level(ticks, set_until, set_by)
        if self.originals:
            setters = self._stored_originals({level.set_by for level in self.levels.values() if level.set_by})
            for level in self.levels.values():
                if level.set_by in setters:
                    level.set_in = setters[level.set_by].booked_in
        whole = [wallet_id for wallet_id, scope in keys if not scope]
        used = dict(Wallet.objects.filter(category=self.category, pk__in=whole).values_list("pk", "used_ticks"))
        for wallet_id, scope in keys:
            if not scope and ((wallet_id, "") in levelled or (wallet_id, "") in self.levels):
                self.levels.setdefault((wallet_id, ""), Level()).ticks = used[wallet_id]
            elif scope:
                self.levels.setdefault((wallet_id, scope), Level())

    def _refuse_mixed(self, levelled: dict[tuple[int, str], list[int]]) -> None:
        """One wallet takes levels of scopes or of the whole, never both."""
        if not levelled:
            return
        with connection.cursor() as cursor:
            # Never both, so that any one row of a wallet tells, however many scopes it has.
            cursor.execute(
                """
                SELECT k.id, (SELECT s.scope <> '' FROM scope_level s
                              WHERE s.category_id = %s AND s.wallet_id = k.id LIMIT 1)
                FROM unnest(%s::bigint[]) AS k(id)
                """,
                [self.category.pk, sorted({wallet_id for wallet_id, _ in levelled})],
            )
            kinds: dict[int, bool] = {row[0]: row[1] for row in cursor.fetchall() if row[1] is not None}
        for (wallet_id, scope), indexes in levelled.items():
            scoped = kinds.setdefault(wallet_id, bool(scope))
            if scoped != bool(scope):
                self.faults += [
                    (index, "mixed_levels") for index in indexes if scope or self.reports[index].is_absolute
                ]
