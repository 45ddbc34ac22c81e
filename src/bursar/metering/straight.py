"""The common case of a request: many differences of whole wallets in one category, all of them sound and new.

It is taken for that: the database writes one thing while the next is still being looked at.
Whatever turns out not to hold ends the attempt, and with its transaction all that it wrote.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np

from bursar.accounting import services as accounting
from bursar.accounting.books import all_micros, instant, lock, micros
from bursar.accounting.errors import MoreTakenBackThanUsed
from bursar.accounting.selectors import balances_in
from bursar.accounting.usage import begin_posting
from bursar.catalogue import selectors as catalogue
from bursar.catalogue.models import ProductCategory
from bursar.engine.ledger.book import Ints
from bursar.engine.ledger.errors import Overflow
from bursar.kernel.quantity import TICKS_MAX
from bursar.metering.answers import Answer
from bursar.metering.reports import Columns, Report, looked_at, people_named
from bursar.metering.writing import begin_writing
from bursar.structure.models import Person
from bursar.structure.roles import Permission, may
from bursar.structure.selectors import unknown_people

_PART: Final = 10_000


class NotStraight(Exception):
    """The request is not of the common kind, or something is wrong with it: each report has to be looked at."""


def post_straight(batch: Sequence[Report], by: Person | None, at: datetime) -> Answer:
    """Book a request of the common kind, in the caller's transaction and inside `copying.settled`.

    batch    plain reports
    raises   NotStraight; IntegrityError where a name is taken
    """
    category = _only_category(batch, by, at)
    if unknown_people(people_named(batch)):
        raise NotStraight
    held = lock(category.pk)
    now = max(at, held.until)
    ids, amounts, ends = _figures(batch)
    workspace_ids, first, places = np.unique(ids, return_index=True, return_inverse=True)
    known = accounting.wallet_ids_for(category_id=category.pk, workspace_ids=workspace_ids, at=now, held=held)
    if not known.all():
        raise NotStraight
    touched = known[np.argsort(first)].tolist()  # in the order in which the request names them
    wallet_ids, charged_at = known[places], np.minimum(ends - 1, micros(now))

    # The balances first: while the database writes them, the reports are looked at and laid out.
    since = instant(int(charged_at.min()))
    posting = begin_posting(category=category, wallet_ids=touched, since=since, by=by, at=now, held=held)
    try:
        loaded = posting.post(wallet_ids, amounts, charged_at)
    except (MoreTakenBackThanUsed, Overflow):
        raise NotStraight from None
    for begin in range(0, len(batch), _PART):
        part = slice(begin, begin + _PART)
        reports = batch[part]
        columns = _sound_columns(reports, ends[part], at)
        begin_writing(
            category_id=category.pk, operation_id=posting.operation_id, at=now, first=begin,
            reports=reports, whose=reports, hashes=columns.content_hashes, wallet_ids=wallet_ids[part],
            amounts=amounts[part], posted=amounts[part], starts=columns.starts, ends=columns.ends,
            charged_at=charged_at[part],
        )  # fmt: skip
    return Answer(posted=len(batch), duplicates=(), balances=tuple(balances_in(loaded, touched)))


def _figures(batch: Sequence[Report]) -> tuple[Ints, Ints, Ints]:
    """Workspaces, amounts and ends of periods, as far as the ledger can reckon with them."""
    try:
        ids = np.array([report.workspace_id for report in batch], dtype=np.int64)
        amounts = np.array([report.amount_ticks for report in batch], dtype=np.int64)
        ends = all_micros([report.period_end for report in batch])
    except (OverflowError, TypeError):  # no such number; an instant without time zone
        raise NotStraight from None
    if (amounts < -TICKS_MAX).any():
        raise NotStraight
    return ids, amounts, ends


def _only_category(batch: Sequence[Report], by: Person | None, at: datetime) -> ProductCategory:
    ids = {report.category_id for report in batch}
    if len(ids) != 1 or abs(min(ids)) > TICKS_MAX:
        raise NotStraight
    for category in catalogue.categories_with_provider(ids):
        if may(by, Permission.REPORT_USAGE, category.provider.organization, at):
            return category
    raise NotStraight


def _sound_columns(reports: Sequence[Report], ends: Ints, at: datetime) -> Columns:
    columns, _ = looked_at(reports, at, ends)
    if columns is None:
        raise NotStraight
    return columns
