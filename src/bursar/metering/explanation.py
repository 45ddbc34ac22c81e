"""From a report to its ledger rows: the path by which what was said became what is counted."""

from dataclasses import dataclass

from django.db import connection

from bursar.accounting.explanation import OperationTold, explain_operation
from bursar.metering.models import ReportIdentity, UsageReport


@dataclass(frozen=True, slots=True)
class ReportTold:
    """A report, and of the operation that booked it what it changed on the report's wallet and on those above.

    Reports of one request are netted by wallet and hour: a row may hold several of them.
    """

    report: UsageReport
    booked: OperationTold


def explain_report(*, category_id: int, report_id: str) -> ReportTold | None:
    """None where no such report was booked in the category."""
    identity = ReportIdentity.objects.filter(category_id=category_id, report_id=report_id).first()
    if identity is None:
        return None
    # The identity says in which part of the table the report lies, and where in it.
    report = UsageReport.objects.get(category_id=category_id, recorded_at=identity.recorded_at, report_id=report_id)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE up(id) AS (
                SELECT %(wallet)s::bigint
                UNION
                SELECT a.source_id FROM up JOIN allocation a ON a.wallet_id = up.id
                WHERE a.category_id = %(category)s AND a.source_id IS NOT NULL
            ) SELECT id FROM up
            """,
            {"wallet": report.wallet_id, "category": category_id},
        )
        above = [row[0] for row in cursor.fetchall()]
    booked = explain_operation(category_id=category_id, operation_id=report.operation_id, wallet_ids=above)
    assert booked is not None, "a report is booked by an operation"
    return ReportTold(report, booked)
