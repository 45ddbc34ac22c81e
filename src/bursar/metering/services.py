"""Taking in usage reports: one request is one transaction, exactly once, all or nothing."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar

import msgspec
import numpy as np
from django.db import IntegrityError, transaction

from bursar.accounting import copying
from bursar.accounting import services as accounting
from bursar.accounting.books import Held, instant, lock, micros, read
from bursar.accounting.errors import MoreTakenBackThanUsed
from bursar.accounting.models import Wallet
from bursar.accounting.selectors import Balance, balances_in
from bursar.accounting.usage import begin_posting
from bursar.catalogue import selectors as catalogue
from bursar.catalogue.models import ProductCategory
from bursar.engine.ledger.book import Ints
from bursar.engine.ledger.errors import Overflow
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.answers import Answer
from bursar.metering.errors import Fault, ReportConflict, ReportsAtFault, TooManyReports, fault
from bursar.metering.levels import Levels
from bursar.metering.reports import Columns, Report, are_plain, looked_at, people_named
from bursar.metering.straight import NotStraight, post_straight
from bursar.metering.writing import Whose, begin_writing
from bursar.structure import prepared
from bursar.structure.models import Person
from bursar.structure.roles import Permission, may, require
from bursar.structure.selectors import unknown_people

T = TypeVar("T")

REPORTS_MAX: Final = 10_000
_MANY: Final = 500  # so many are mostly all new; a few may well be asked again


class OrderCounts(Exception):
    """Requests that were to be booked as one have to be booked one after the other."""


def post_reports(
    *,
    reports: Sequence[Report],
    by: Person | None,
    at: datetime,
    at_most: int = REPORTS_MAX,
    faults: Iterable[Fault] = (),
) -> Answer:
    """Book usage reports: all of them, each once for ever, or none.

    at_most  a request from outside is bounded; a backfill takes larger steps
    faults   what is known to be wrong with some of them already: these are looked at no further
    raises   TooManyReports; NotAllowed; ReportsAtFault, naming each report that is at fault; ReportConflict, naming each
             id that was taken with other content
    """
    if len(reports) > at_most:
        raise TooManyReports(limit=at_most, count=len(reports))
    batch, known_faults = list(reports), tuple(faults)
    if len(batch) >= _MANY and not known_faults and are_plain(batch):
        # So many are mostly sound, of one category and all new.
        with suppress(NotStraight, IntegrityError), transaction.atomic(), copying.settled():
            return post_straight(batch, by, at)
    with transaction.atomic(), copying.settled():
        return _post(batch, known_faults, by, at)


def post_as_one(*, requests: Sequence[Sequence[Report]], by: Person | None, at: datetime) -> list[Answer]:
    """Book requests of one person in one category together, each as though it came after the one before it; all or none.

    raises   as `post_reports`; OrderCounts where together they could come to something else than one after the other
    """
    batch = [report for request in requests for report in request]
    with transaction.atomic(), copying.settled():
        (plan,) = _plans(batch, (), by, at)
        balances = {balance.wallet_id: balance for balance in plan.book(by, any_order=True)}
    new, duplicates, answers, begin = set(plan.new), set(plan.duplicates), [], 0
    for request in requests:
        places = range(begin, begin + len(request))
        begin += len(request)
        answers.append(
            Answer(
                posted=len(new.intersection(places)),
                duplicates=tuple(batch[place].report_id for place in places if place in duplicates),
                balances=tuple(balances[key] for key in dict.fromkeys(plan.wallet_ids[list(places)].tolist())),
            )
        )
    return answers


def _post(batch: list[Report], faults: Iterable[Fault], by: Person | None, at: datetime) -> Answer:
    plans = _plans(batch, faults, by, at)
    balances: list[Balance] = []
    for place, plan in enumerate(plans):
        try:
            balances += plan.book(by)
        except (MoreTakenBackThanUsed, Overflow):
            _refuse([found for later in plans[place:] for found in later.beyond_what_counts()])
            _refuse(plan.all_that_add())  # it is what comes together above the wallets that cannot be counted
            raise
    return Answer(
        posted=sum(len(plan.new) for plan in plans),
        duplicates=tuple(plan.columns.report_ids[place] for plan in plans for place in plan.duplicates),
        balances=tuple(balances),
    )


def _plans(batch: list[Report], faults: Iterable[Fault], by: Person | None, at: datetime) -> list["_Plan"]:
    """What is to be booked, by category, whose locks are then held."""
    columns, found = looked_at(batch, at)
    known = {one.index for one in faults}
    found = [*faults, *(one for one in found if one.index not in known)]
    categories = _categories(batch)
    found += _unknown(batch, categories, {one.index for one in found}, by, at)

    plans: list[_Plan] = []
    for category_id, indexes in _by_category(batch, {one.index for one in found}).items():
        held = lock(category_id)
        # Mostly all of a request is sound and of one category, and its columns are those.
        own = columns if len(indexes) == len(batch) else None
        columns_of = own or Columns([batch[index] for index in indexes])
        plan = _Plan(categories[category_id], indexes, columns_of, held, max(at, held.until))
        plan.sort_out()
        found += plan.faults
        plans.append(plan)
    if found:
        _refuse([*found, *(one for plan in plans for one in plan.beyond_what_counts())])
    return plans


def _by_category(batch: Sequence[Report], bad: set[int]) -> dict[int, Sequence[int]]:
    """The places of the sound reports, by category in the order in which locks are taken."""
    ids = {report.category_id for report in batch}
    if len(ids) == 1 and not bad:
        return {ids.pop(): range(len(batch))}
    result: dict[int, list[int]] = {}
    for index, report in enumerate(batch):
        if index not in bad:
            result.setdefault(report.category_id, []).append(index)
    return dict(sorted(result.items()))


def _refuse(faults: Iterable[Fault]) -> None:
    """Name each report once: that its id is taken comes before all else that is wrong with it."""
    named: dict[int, Fault] = {}
    for one in sorted(faults, key=lambda one: (one.index, one.code != "report_conflict")):
        named.setdefault(one.index, one)
    found = tuple(named.values())
    conflicts = tuple(dict.fromkeys(one.report_id for one in found if one.code == "report_conflict"))
    if conflicts:
        raise ReportConflict(ids=", ".join(conflicts[:20]), report_ids=conflicts, faults=found)
    if found:
        raise ReportsAtFault(count=len(found), faults=found)


def _categories(batch: list[Report]) -> dict[int, ProductCategory]:
    ids = {report.category_id for report in batch if abs(report.category_id) <= TICKS_MAX}
    return {category.pk: category for category in catalogue.categories_with_provider(ids)}


def _unknown(
    batch: list[Report], categories: dict[int, ProductCategory], bad: set[int], by: Person | None, at: datetime
) -> list[Fault]:
    """Reports for categories that are not there, or in which the person may not report."""
    providers = {category.provider.organization for category in categories.values()}
    allowed = {one.pk: may(by, Permission.REPORT_USAGE, one, at) for one in providers}
    if providers and not any(allowed.values()):
        for provider in providers:
            require(by, Permission.REPORT_USAGE, provider, at)
    open_to = {key for key, category in categories.items() if allowed[category.provider.organization_id]}
    if open_to.issuperset(report.category_id for report in batch):
        return []
    return [
        fault(index, report.report_id, "not_your_category" if report.category_id in categories else "unknown_category")
        for index, report in enumerate(batch)
        if index not in bad and report.category_id not in open_to
    ]


def _at(values: Sequence[T], places: Sequence[int]) -> Sequence[T]:
    return values if len(places) == len(values) else [values[place] for place in places]


@dataclass(slots=True)
class _Plan:
    """The reports of a request in one category: which are new, and by how much each changes its wallet's usage.

    indexes      places in the request; all else here counts places among the category's reports
    new          places of those that are booked now, in the order of the request
    wallet_ids   by place
    at           now, by the category's clock: when all of this is recorded
    posted       by place, ticks
    charged_at   by place, microseconds since 1970
    """

    category: ProductCategory
    indexes: Sequence[int]
    columns: Columns
    held: Held
    at: datetime
    faults: list[Fault] = field(default_factory=list)
    hashes: list[bytes] = field(init=False)
    new: Sequence[int] = ()
    duplicates: list[int] = field(default_factory=list)
    wallet_ids: Ints = field(init=False)
    posted: Ints = field(init=False)
    charged_at: Ints = field(init=False)
    levels: Levels | None = None

    def sort_out(self) -> None:
        """Find duplicates and conflicts, then what each new report changes; the category's lock is held."""
        self.hashes = self.columns.content_hashes()
        self.wallet_ids = self._wallets()
        self._tell_new_from_known()
        self._look_for_people()
        self.posted = self.columns.amounts
        self.charged_at = np.minimum(self.columns.ends - 1, micros(self.at))
        if not self.columns.plain:
            self._work_out_levels()

    def _tell_new_from_known(self) -> None:
        columns = self.columns
        known = self._known()
        new = []
        for place, (report_id, digest) in enumerate(zip(columns.report_ids, self.hashes, strict=True)):
            before = known.setdefault(report_id, digest)  # the very same object only for a name not seen yet
            if before != digest:
                self._blame(place, "report_conflict")
            elif before is not digest:
                self.duplicates.append(place)
            else:
                new.append(place)
        self.new = new

    def _look_for_people(self) -> None:
        unknown = unknown_people(people_named(_at(self.columns.reports, self.new)))
        if unknown:
            for place in self.new:
                if self.columns.reports[place].person_id in unknown:
                    self._blame(place, "unknown_person")

    def _known(self) -> dict[str, bytes]:
        """The identities among these that are taken. Each is looked up by its key, whatever is known or not of the table's size."""
        with prepared.cursor() as cursor:
            cursor.execute(
                """
                SELECT known.report_id, known.content_hash
                FROM json_array_elements_text(%s::json) AS asked (report_id)
                CROSS JOIN LATERAL (
                    SELECT report_id, content_hash FROM report_identity
                    WHERE category_id = %s AND report_id = asked.report_id LIMIT 1
                ) AS known
                """,
                [msgspec.json.encode(self.columns.report_ids).decode(), self.category.pk],
            )
            return {report_id: bytes(digest) for report_id, digest in cursor.fetchall()}

    def _wallets(self) -> Ints:
        """By place, the wallet of the report's workspace, made where it has none; 0 where there is no such workspace."""
        workspace_ids, places = np.unique(self.columns.workspace_ids, return_inverse=True)
        wallets = accounting.wallet_ids_for(
            category_id=self.category.pk, workspace_ids=workspace_ids, at=self.at, held=self.held
        )
        for place in np.flatnonzero((wallets == 0)[places]).tolist():
            self._blame(place, "unknown_workspace")
        return wallets[places]

    def _work_out_levels(self) -> None:
        levels = Levels(
            category=self.category,
            reports=self.columns.reports,
            new=[place for place in self.new if self.wallet_ids[place]],
            wallet_ids=self.wallet_ids.tolist(),
            posted=self.posted.tolist(),
            charged_at=self.charged_at.tolist(),
        )
        levels.work_out()
        for place, code in levels.faults:
            self._blame(place, code)
        for place, ticks in enumerate(levels.posted):
            if abs(ticks) > TICKS_MAX:
                self._blame(place, "overflow")
                levels.posted[place] = 0
        self.levels = levels
        self.posted = np.array(levels.posted, dtype=np.int64)
        self.charged_at = np.array(levels.charged_at, dtype=np.int64)

    def _blame(self, place: int, code: str) -> None:
        self.faults.append(fault(self.indexes[place], self.columns.report_ids[place], code))

    def beyond_what_counts(self) -> list[Fault]:
        """The reports without which no wallet's usage would fall below nothing or rise above what can be counted.

        Of a wallet's reports those come to fault that no longer fit when each is taken in turn.
        """
        blamed = {one.index for one in self.faults}
        new = [place for place in self.new if self.indexes[place] not in blamed]
        used = Wallet.objects.filter(category=self.category, pk__in={int(self.wallet_ids[place]) for place in new})
        least = dict(used.values_list("pk", "used_ticks"))
        most = {key: TICKS_MAX - ticks for key, ticks in least.items()}
        for place in new:  # what is taken back may have come in the same request
            if self.posted[place] > 0:
                least[int(self.wallet_ids[place])] += int(self.posted[place])
        found = []
        for place in new:
            wallet_id, ticks = int(self.wallet_ids[place]), int(self.posted[place])
            room, code = (most, "overflow") if ticks > 0 else (least, "negative_usage")
            if abs(ticks) > room[wallet_id]:
                found.append(fault(self.indexes[place], self.columns.report_ids[place], code))
            else:
                room[wallet_id] -= abs(ticks)
        return found

    def all_that_add(self) -> list[Fault]:
        return [
            fault(self.indexes[place], self.columns.report_ids[place], "overflow")
            for place in self.new
            if self.posted[place] > 0
        ]

    def book(self, by: Person | None, *, any_order: bool = False) -> list[Balance]:
        """Post what is new and write it down; the balances of all wallets touched.

        any_order   only where the order of what is posted makes no difference; raises OrderCounts
        raises      MoreTakenBackThanUsed; engine.errors.Overflow
        """
        touched = [*dict.fromkeys(self.wallet_ids.tolist())]
        if not self.new:
            return balances_in(read(self.category, touched, self.at), touched)
        new = np.array(self.new, dtype=np.int64)
        posting = begin_posting(
            category=self.category, wallet_ids=self.wallet_ids[new].tolist(), since=instant(int(self.charged_at[new].min())),
            by=by, at=self.at, held=self.held,
        )  # fmt: skip
        if any_order and posting.order_counts(self.posted[new], self.charged_at[new]):
            raise OrderCounts
        loaded = posting.post(self.wallet_ids[new], self.posted[new], self.charged_at[new])
        self._write_down(new, posting.operation_id)
        if self.levels is not None:
            self.levels.write()
        if not loaded.row_of_wallet.keys() >= set(touched):
            # Of some wallets only a duplicate spoke: nothing was posted to them.
            loaded = read(self.category, touched, self.at)
        return balances_in(loaded, touched)

    def _write_down(self, new: Ints, operation_id: int) -> None:
        columns = self.columns
        reports = _at(columns.reports, self.new)
        whose: Sequence[Whose] = reports
        if self.levels is not None and self.levels.originals:  # a correction speaks of what its original spoke of
            originals = self.levels.originals
            whose = [originals.get(place, report) for place, report in zip(self.new, reports, strict=True)]
        begin_writing(
            category_id=self.category.pk, operation_id=operation_id, at=self.at,
            reports=reports, whose=whose, hashes=lambda: _at(self.hashes, self.new), wallet_ids=self.wallet_ids[new],
            amounts=columns.amounts[new], posted=self.posted[new], starts=columns.starts[new], ends=columns.ends[new],
            charged_at=self.charged_at[new],
        )  # fmt: skip
