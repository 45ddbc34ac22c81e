"""Reports and their identities on their way into the tables."""

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from bursar.accounting import columns, copying
from bursar.accounting.books import micros, row_ids
from bursar.engine.ledger.book import Ints
from bursar.metering.levels import Original
from bursar.metering.reports import Report

Whose = Report | Original


def begin_writing(
    *,
    category_id: int,
    operation_id: int,
    at: datetime,
    first: int = 0,
    reports: Sequence[Report],
    whose: Sequence[Whose],
    hashes: Callable[[], Sequence[bytes]],
    wallet_ids: Ints,
    amounts: Ints,
    posted: Ints,
    starts: Ints,
    ends: Ints,
    charged_at: Ints,
) -> None:
    """Write down reports of an operation and take their names; an IntegrityError comes of it, at once or later, where one is taken.

    first   how many of the operation's were written before
    whose   who and what each is of: the report itself, or what it corrects
    hashes  of their contents, 16 bytes each; asked for when the reports are on their way
    """
    of_category, recorded_at = columns.whole(category_id), columns.instants(micros(at))
    report_ids = columns.texts([report.report_id for report in reports])
    labels = [msgspec.json.encode(report.labels).decode() if report.labels else "{}" for report in reports]
    rows = {
        "id": columns.whole(row_ids(operation_id, first, len(reports))),
        "category_id": of_category,
        "report_id": report_ids,
        "operation_id": columns.whole(operation_id),
        "wallet_id": columns.whole(wallet_ids),
        "resource_id": columns.whole_or_null([one.resource_id for one in whose]),
        "person_id": columns.whole_or_null([one.person_id for one in whose]),
        "is_absolute": columns.flags([one.is_absolute for one in whose]),
        "scope": columns.texts([one.scope for one in whose]),
        "corrects": columns.texts([report.corrects for report in reports]),
        "amount_ticks": columns.whole(amounts),
        "posted_ticks": columns.whole(posted),
        "period_start": columns.instants(starts),
        "period_end": columns.instants(ends),
        "used_at": columns.instants(charged_at),
        "user_name": columns.texts([one.user for one in whose]),
        "job": columns.texts([one.job for one in whose]),
        "labels": columns.documents(labels),
        "recorded_at": recorded_at,
    }
    copying.begin("usage_report", (len(reports), rows))
    identities = {
        "category_id": of_category,
        "report_id": report_ids,
        "content_hash": columns.octets(hashes(), 16),
        "recorded_at": recorded_at,
    }
    copying.begin("report_identity", (len(reports), identities))
