"""What happens by the clock: due instants, and the parts of the journal's tables made ahead."""

import logging
from datetime import timedelta
from typing import Final

from django.db import connection
from procrastinate.contrib.django import app

from bursar.accounting.checkpoints import keep
from bursar.accounting.services import apply_due, categories_with_ledger
from bursar.kernel import clock
from bursar.metering import rollups
from bursar.metering.verification import verify_everything

log = logging.getLogger(__name__)


@app.periodic(cron="* * * * *")
@app.task(name="bursar.metering.tasks.apply_due_everywhere", queueing_lock="metering.apply_due_everywhere")
def apply_due_everywhere(timestamp: int) -> int:
    """Apply what is due in every category, each in a transaction of its own; the number of categories where it was.

    Late or twice makes no difference: every posting and every read applies what is due before anything else.
    """
    at = clock.now()
    applied = 0
    failures: list[Exception] = []
    for category_id in categories_with_ledger():
        try:
            applied += apply_due(category_id=category_id, at=at)
        except Exception as failure:  # one broken category must not hold up the others; the job still fails
            log.exception("what is due in category %s could not be applied", category_id)
            failures.append(failure)
    if failures:
        raise failures[0]
    return applied


# So many times fifty thousand reports of a category to one run: after a backfill the others must not wait for hours.
BATCHES_MAX: Final = 20


@app.periodic(cron="* * * * *")
@app.task(name="bursar.metering.tasks.roll_up_everywhere", queueing_lock="metering.roll_up_everywhere")
def roll_up_everywhere(timestamp: int) -> int:
    """Gather what was recorded since the last run, category by category; how many reports and postings that were.

    Late, killed or twice at once makes no difference: readers add what is not gathered yet.
    """
    gathered = 0
    failures: list[Exception] = []
    for category_id in categories_with_ledger():
        try:
            for _batch in range(BATCHES_MAX):
                found = rollups.roll_up(category_id=category_id)
                gathered += found
                if not found:
                    break
        except Exception as failure:  # one broken category must not hold up the others; the job still fails
            log.exception("the usage of category %s could not be gathered", category_id)
            failures.append(failure)
    if failures:
        raise failures[0]
    return gathered


@app.periodic(cron="23 3 * * *")
@app.task(name="bursar.metering.tasks.add_parts_ahead", queueing_lock="metering.add_parts_ahead")
def add_parts_ahead(timestamp: int) -> int:
    """Make the coming three months' parts of the journal and of the reports; the number of parts made."""
    today = clock.now().date()
    made = 0
    with connection.cursor() as cursor:
        for table in ("posting", "usage_report"):
            cursor.execute("SELECT add_month_parts(%s, %s, %s)", [table, today, today + timedelta(days=92)])
            row = cursor.fetchone()
            made += row[0] if row else 0
    return made


@app.periodic(cron="41 2 * * *")
@app.task(name="bursar.metering.tasks.verify_ledgers", queueing_lock="metering.verify_ledgers")
def verify_ledgers(timestamp: int) -> int:
    """Compare every ledger with its journal and its reports, and raise the alarm; the number that differ."""
    return verify_everything(at=clock.now())


@app.periodic(cron="*/5 * * * *")
@app.task(name="bursar.metering.tasks.keep_checkpoints", queueing_lock="metering.keep_checkpoints")
def keep_checkpoints(timestamp: int) -> int:
    """Sum up what was recorded since; the number of checkpoints made. Late or never, past balances are only slower."""
    return sum(keep(category_id) for category_id in categories_with_ledger())
