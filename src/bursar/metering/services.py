"""Taking in usage reports: one request is one transaction, exactly once, all or nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np
from django.db import connection, transaction

from bursar.accounting import services as accounting
from bursar.accounting.books import EPOCH, lock, micros, read
from bursar.accounting.errors import MoreTakenBackThanUsed
from bursar.accounting.models import Wallet
from bursar.accounting.selectors import Balance, balances_in
from bursar.catalogue.models import ProductCategory
from bursar.engine.ledger.errors import Overflow
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.errors import Fault, ReportConflict, ReportsAtFault, TooManyReports, fault
from bursar.metering.reports import Report, content_hash, faults_of
from bursar.structure.models import Person, Workspace
from bursar.structure.roles import Permission, may, require

REPORTS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request. `duplicates` are the ids of reports that were booked before and change nothing.

    balances   one for each wallet touched, duplicates included, as it stands now
    """

    posted: int
    duplicates: tuple[str, ...]
    balances: tuple[Balance, ...]


@transaction.atomic
def post_reports(*, reports: Sequence[Report], by: Person | None, at: datetime) -> Answer:
    """Book usage reports: all of them, each once for ever, or none.

    raises   TooManyReports; NotAllowed; ReportsAtFault, naming each report that is at fault; ReportConflict, naming each
             id that was taken with other content
    """
    if len(reports) > REPORTS_MAX:
        raise TooManyReports(limit=REPORTS_MAX, count=len(reports))
    batch = list(reports)
    faults = faults_of(batch, at)
    categories = _categories(batch)
    faults += _unknown(batch, categories, by, at)
    bad = {one.index for one in faults}

    by_category: dict[int, list[int]] = {}
    for index, report in enumerate(batch):
        if index not in bad:
            by_category.setdefault(report.category_id, []).append(index)
    plans: list[_Plan] = []
    for category_id in sorted(by_category):
        lock(category_id)
        plan = _Plan(categories[category_id], batch, by_category[category_id], at)
        plan.sort_out()
        faults += plan.faults
        plans.append(plan)
    _refuse(faults)

    balances: list[Balance] = []
    for plan in plans:
        balances += plan.book(by)
    return Answer(
        posted=sum(len(plan.new) for plan in plans),
        duplicates=tuple(batch[index].report_id for plan in plans for index in plan.duplicates),
        balances=tuple(balances),
    )


def _refuse(faults: Iterable[Fault]) -> None:
    found = tuple(sorted(faults, key=lambda one: one.index))
    conflicts = tuple(dict.fromkeys(one.report_id for one in found if one.code == "report_conflict"))
    if conflicts:
        raise ReportConflict(ids=", ".join(conflicts[:20]), report_ids=conflicts, faults=found)
    if found:
        raise ReportsAtFault(count=len(found), faults=found)


def _categories(batch: list[Report]) -> dict[int, ProductCategory]:
    ids = {report.category_id for report in batch}
    found = ProductCategory.objects.select_related("provider__organization").filter(pk__in=_countable(ids))
    return {category.pk: category for category in found}


def _countable(ids: Iterable[int]) -> list[int]:
    return [key for key in ids if abs(key) <= TICKS_MAX]


def _unknown(
    batch: list[Report], categories: dict[int, ProductCategory], by: Person | None, at: datetime
) -> list[Fault]:
    """Reports for categories and workspaces that are not there, or in which the person may not report."""
    providers = {category.provider.organization for category in categories.values()}
    allowed = {one.pk: may(by, Permission.REPORT_USAGE, one, at) for one in providers}
    if providers and not any(allowed.values()):
        for provider in providers:
            require(by, Permission.REPORT_USAGE, provider, at)
    wanted = {report.workspace_id for report in batch}
    workspaces = set(Workspace.objects.filter(pk__in=_countable(wanted)).values_list("pk", flat=True))
    found = []
    for index, report in enumerate(batch):
        category = categories.get(report.category_id)
        if category is None:
            found.append(fault(index, report.report_id, "unknown_category"))
        elif not allowed[category.provider.organization_id]:
            found.append(fault(index, report.report_id, "not_your_category"))
        elif report.workspace_id not in workspaces:
            found.append(fault(index, report.report_id, "unknown_workspace"))
    return found


@dataclass(slots=True)
class _Level:
    """A scope's level while a request is worked out."""

    ticks: int = 0
    set_until: datetime | None = None
    set_by: str = ""
    changed: bool = False

    @property
    def order(self) -> tuple[datetime, str]:
        return (self.set_until or datetime.min.replace(tzinfo=EPOCH.tzinfo), self.set_by)


@dataclass(slots=True)
class _Original:
    """What a correction corrects: the report, and the amount that counts for it now."""

    wallet_id: int
    is_absolute: bool
    scope: str
    order: tuple[datetime, str]
    used_at: datetime
    counted_ticks: int
    corrects: str
    resource_id: int | None
    person_id: int | None
    user: str
    job: str


@dataclass(slots=True)
class _Plan:
    """The reports of a request in one category: which are new, and by how much each changes its wallet's usage.

    new      places in the batch, in the order of the request
    posted   by place, ticks
    """

    category: ProductCategory
    batch: list[Report]
    indexes: list[int]
    at: datetime
    faults: list[Fault] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    hashes: dict[int, bytes] = field(default_factory=dict)
    wallets: dict[int, int] = field(default_factory=dict)
    posted: dict[int, int] = field(default_factory=dict)
    charged_at: dict[int, datetime] = field(default_factory=dict)
    levels: dict[tuple[int, str], _Level] = field(default_factory=dict)
    originals: dict[int, _Original] = field(default_factory=dict)

    def sort_out(self) -> None:
        """Find duplicates and conflicts, then what each new report changes; the category's lock is held."""
        self._tell_new_from_known()
        workspace_ids = {self.batch[index].workspace_id for index in self.indexes}
        self.wallets = accounting.wallet_ids_for(category_id=self.category.pk, workspace_ids=workspace_ids, at=self.at)
        self._work_out()

    def _tell_new_from_known(self) -> None:
        ids = [self.batch[index].report_id for index in self.indexes]
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT report_id, content_hash FROM report_identity WHERE category_id = %s AND report_id = ANY(%s)",
                [self.category.pk, ids],
            )
            known = {report_id: bytes(digest) for report_id, digest in cursor.fetchall()}
        for index in self.indexes:
            report = self.batch[index]
            digest = content_hash(report)
            before = known.setdefault(report.report_id, digest)  # the very same object only for a name not seen yet
            if before != digest:
                self.faults.append(fault(index, report.report_id, "report_conflict"))
            elif before is not digest:
                self.duplicates.append(index)
            else:
                self.new.append(index)
                self.hashes[index] = digest

    def _work_out(self) -> None:
        levelled: dict[tuple[int, str], list[int]] = {}
        corrections: list[int] = []
        for index in self.new:
            report = self.batch[index]
            self.charged_at[index] = min(report.used_at, self.at)
            if report.corrects:
                corrections.append(index)
            elif report.is_absolute or report.scope:
                levelled.setdefault((self.wallets[report.workspace_id], report.scope), []).append(index)
            else:
                self.posted[index] = report.amount_ticks
        whole = {wallet_id for wallet_id, scope in levelled if not scope}
        if whole:  # differences of the whole wallet take their place between its levels
            for index in self.new:
                report = self.batch[index]
                wallet_id = self.wallets[report.workspace_id]
                if index in self.posted and wallet_id in whole:
                    levelled[wallet_id, ""].append(index)
        self._find_originals(corrections)
        self._load_levels(levelled)
        self._refuse_mixed(levelled)
        for key, indexes in levelled.items():
            for index in sorted(indexes, key=lambda place: self.batch[place].order):
                self._level(index, self.levels[key])
        for index in corrections:
            if index in self.originals:
                self._correct(index, self.originals[index])
        for index, ticks in self.posted.items():
            if abs(ticks) > TICKS_MAX:
                self.faults.append(fault(index, self.batch[index].report_id, "overflow"))

    def _level(self, index: int, level: _Level) -> None:
        report = self.batch[index]
        if not report.is_absolute:
            self.posted[index] = report.amount_ticks
            level.ticks += report.amount_ticks
        elif report.order > level.order:
            self.posted[index] = report.amount_ticks - level.ticks
            level.ticks = report.amount_ticks
            level.set_until, level.set_by = report.order
        else:
            self.posted[index] = 0
            return
        level.changed = True

    def _correct(self, index: int, original: _Original) -> None:
        report = self.batch[index]
        level = self.levels.get((original.wallet_id, original.scope))
        counts = True
        if level is not None and level.set_by:
            # A level that came after it has made the corrected report of no account.
            counts = original.order == level.order if original.is_absolute else original.order > level.order
        self.charged_at[index] = original.used_at
        self.posted[index] = report.amount_ticks - original.counted_ticks if counts else 0
        original.counted_ticks = report.amount_ticks
        if level is not None and counts:
            level.ticks += self.posted[index]
            level.changed = True

    def _find_originals(self, corrections: list[int]) -> None:
        if not corrections:
            return
        places = {self.batch[index].report_id: index for index in self.new}
        named = {self.batch[index].corrects for index in corrections}
        known = self._stored_originals(named - places.keys())
        for name in named & places.keys():
            index = places[name]
            one = self.batch[index]
            known[name] = _Original(
                wallet_id=self.wallets[one.workspace_id],
                is_absolute=one.is_absolute,
                scope=one.scope,
                order=one.order,
                used_at=self.charged_at[index],
                counted_ticks=one.amount_ticks,
                corrects=one.corrects,
                resource_id=one.resource_id,
                person_id=one.person_id,
                user=one.user,
                job=one.job,
            )
        for index in corrections:
            report = self.batch[index]
            original = known.get(report.corrects)
            code = ""
            if original is None:
                code = "unknown_original"
            elif original.corrects:
                code = "corrects_a_correction"
            elif original.wallet_id != self.wallets[report.workspace_id]:
                code = "original_of_another_workspace"
            elif original.is_absolute and report.amount_ticks < 0:
                code = "negative_level"
            if code or original is None:
                self.faults.append(fault(index, report.report_id, code))
            else:
                self.originals[index] = original

    def _stored_originals(self, names: set[str]) -> dict[str, _Original]:
        if not names:
            return {}
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT r.report_id, r.wallet_id, r.is_absolute, r.scope, r.period_end, r.used_at,
                       coalesce(c.amount_ticks, r.amount_ticks), r.corrects, r.resource_id, r.person_id, r.user_name, r.job
                FROM usage_report r
                LEFT JOIN LATERAL (
                    SELECT amount_ticks FROM usage_report
                    WHERE category_id = %(category)s AND corrects = r.report_id ORDER BY id DESC LIMIT 1
                ) c ON true
                WHERE r.category_id = %(category)s AND r.report_id = ANY(%(names)s)
                """,
                {"category": self.category.pk, "names": sorted(names)},
            )
            return {row[0]: _Original(row[1], row[2], row[3], (row[4], row[0]), *row[5:]) for row in cursor.fetchall()}

    def _load_levels(self, levelled: Mapping[tuple[int, str], list[int]]) -> None:
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
                self.levels[wallet_id, scope] = _Level(ticks, set_until, set_by)
        whole = [wallet_id for wallet_id, scope in keys if not scope]
        used = dict(Wallet.objects.filter(category=self.category, pk__in=whole).values_list("pk", "used_ticks"))
        for wallet_id, scope in keys:
            if not scope and ((wallet_id, "") in levelled or (wallet_id, "") in self.levels):
                self.levels.setdefault((wallet_id, ""), _Level()).ticks = used[wallet_id]
            elif scope:
                self.levels.setdefault((wallet_id, scope), _Level())

    def _refuse_mixed(self, levelled: Mapping[tuple[int, str], list[int]]) -> None:
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
            if scoped == bool(scope):
                continue
            for index in indexes:
                if scope or self.batch[index].is_absolute:
                    self.faults.append(fault(index, self.batch[index].report_id, "mixed_levels"))

    def book(self, by: Person | None) -> list[Balance]:
        """Post what is new and write it down; the balances of all wallets touched."""
        touched = [*dict.fromkeys(self.wallets[self.batch[index].workspace_id] for index in self.indexes)]
        if not self.new:
            return balances_in(read(self.category, touched, self.at), touched)
        wallet_ids = [self.wallets[self.batch[index].workspace_id] for index in self.new]
        amounts = [self.posted[index] for index in self.new]
        instants = [micros(self.charged_at[index]) for index in self.new]
        try:
            posted = accounting.post_usage(
                category=self.category,
                wallet_ids=np.array(wallet_ids, dtype=np.int64),
                amounts=np.array(amounts, dtype=np.int64),
                used_at=np.array(instants, dtype=np.int64),
                by=by,
                at=self.at,
            )
        except MoreTakenBackThanUsed as refusal:
            below = set(refusal.wallet_ids)
            _refuse(
                fault(index, self.batch[index].report_id, "negative_usage")
                for index, wallet_id in zip(self.new, wallet_ids, strict=True)
                if wallet_id in below and self.posted[index] < 0
            )
            raise
        except Overflow:
            _refuse(
                fault(index, self.batch[index].report_id, "overflow") for index in self.new if self.posted[index] > 0
            )
            raise
        self._write(posted.operation_id, posted.now)
        return balances_in(posted.loaded, touched)

    def _write(self, operation_id: int, now: datetime) -> None:
        category_id = self.category.pk
        with connection.cursor() as cursor:
            with cursor.copy(  # type: ignore[attr-defined]  # psycopg's own, through Django's wrapper
                "COPY report_identity (category_id, report_id, content_hash, recorded_at) FROM STDIN"
            ) as copy:
                for index in self.new:
                    copy.write_row((category_id, self.batch[index].report_id, self.hashes[index], now))
            with cursor.copy(  # type: ignore[attr-defined]
                """
                COPY usage_report (category_id, report_id, operation_id, wallet_id, resource_id, person_id, is_absolute,
                                   scope, corrects, amount_ticks, posted_ticks, period_start, period_end, used_at,
                                   user_name, job, labels, recorded_at) FROM STDIN
                """
            ) as copy:
                for index in self.new:
                    copy.write_row(self._row(index, operation_id, now))
            changed = [(key, level) for key, level in self.levels.items() if level.changed]
            if not changed:
                return
            cursor.execute(
                """
                INSERT INTO scope_level (category_id, wallet_id, scope, level_ticks, set_until, set_by)
                SELECT %s, * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::timestamptz[], %s::text[])
                ON CONFLICT (category_id, wallet_id, scope) DO UPDATE
                SET level_ticks = excluded.level_ticks, set_until = excluded.set_until, set_by = excluded.set_by
                """,
                [
                    category_id,
                    [wallet_id for (wallet_id, _), _ in changed],
                    [scope for (_, scope), _ in changed],
                    # The level of the whole is the wallet's own usage: it is not kept twice.
                    [level.ticks if scope else 0 for (_, scope), level in changed],
                    [level.set_until for _, level in changed],
                    [level.set_by for _, level in changed],
                ],
            )

    def _row(self, index: int, operation_id: int, now: datetime) -> tuple[Any, ...]:
        report = self.batch[index]
        whose = self.originals.get(index, report)
        return (
            self.category.pk,
            report.report_id,
            operation_id,
            self.wallets[report.workspace_id],
            whose.resource_id,
            whose.person_id,
            whose.is_absolute,
            whose.scope,
            report.corrects,
            report.amount_ticks,
            self.posted[index],
            report.period_start,
            report.period_end,
            self.charged_at[index],
            whose.user,
            whose.job,
            msgspec.json.encode(dict(report.labels)).decode(),
            now,
        )
