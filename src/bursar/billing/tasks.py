"""What billing does by the clock; each may run twice, and may be killed anywhere."""

import logging

from procrastinate.contrib.django import app

from bursar.billing.services import budgets
from bursar.kernel import clock

log = logging.getLogger(__name__)


@app.periodic(cron="*/5 * * * * 25")
@app.task(name="bursar.billing.tasks.evaluate_budgets", queue="billing", queueing_lock="billing.evaluate_budgets")
def evaluate_budgets(timestamp: int) -> int:
    """Compare every budget with what is spent; how many had something to begin or to end."""
    at = clock.now()
    ids, failures = budgets.budgets_to_evaluate(at=at), []
    for budget_id in ids:
        try:
            budgets.evaluate_budget(budget_id=budget_id, at=at)
        except Exception as failure:  # one that cannot be compared must not hold up the others; the job still fails
            log.exception("budget %s could not be compared", budget_id)
            failures.append(failure)
    if failures:
        raise failures[0]
    return len(ids)
