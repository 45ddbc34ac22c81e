"""Reports and their identities on their way into the tables."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import msgspec

from bursar.accounting import copying
from bursar.accounting.books import micros, row_ids
from bursar.engine.ledger.book import Ints
from bursar.metering.levels import Original
from bursar.metering.reports import Report

Whose = Report | Original
_JSONB: Final = b"\1"  # the version of the type's binary form


def begin_writing(
    *,
    category_id: int,
    operation_id: int,
    at: datetime,
    first: int = 0,
    reports: Sequence[Report],
    whose: Sequence[Whose],
    hashes: Sequence[bytes],
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
    hashes  of their contents, 16 bytes each
    """
    of_category, recorded_at = copying.whole(category_id), copying.instants(micros(at))
    report_ids = copying.texts([report.report_id for report in reports])
    labels = [msgspec.json.encode(report.labels).decode() if report.labels else "{}" for report in reports]
    columns = {
        "id": copying.whole(row_ids(operation_id, first, len(reports))),
        "category_id": of_category,
        "report_id": report_ids,
        "operation_id": copying.whole(operation_id),
        "wallet_id": copying.whole(wallet_ids),
        "resource_id": copying.whole_or_null([one.resource_id for one in whose]),
        "person_id": copying.whole_or_null([one.person_id for one in whose]),
        "is_absolute": copying.flags([one.is_absolute for one in whose]),
        "scope": copying.texts([one.scope for one in whose]),
        "corrects": copying.texts([report.corrects for report in reports]),
        "amount_ticks": copying.whole(amounts),
        "posted_ticks": copying.whole(posted),
        "period_start": copying.instants(starts),
        "period_end": copying.instants(ends),
        "used_at": copying.instants(charged_at),
        "user_name": copying.texts([one.user for one in whose]),
        "job": copying.texts([one.job for one in whose]),
        "labels": copying.texts(labels, before=_JSONB),
        "recorded_at": recorded_at,
    }
    identities = {
        "category_id": of_category,
        "report_id": report_ids,
        "content_hash": copying.octets(hashes, 16),
        "recorded_at": recorded_at,
    }
    copying.begin("usage_report", (len(reports), columns))
    copying.begin("report_identity", (len(reports), identities))
