"""What billing does by the clock; each may run twice, and may be killed anywhere."""

import logging

from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from bursar.billing import notices
from bursar.billing.selectors import selling_providers
from bursar.billing.services import budgets
from bursar.billing.services.closings import carry_out
from bursar.billing.services.invoices import close_due_months, refresh
from bursar.billing.services.overdue import tell_overdue
from bursar.events.jobs import defer
from bursar.kernel import clock

log = logging.getLogger(__name__)


@app.periodic(cron="7 * * * *")
@app.task(name="bursar.billing.tasks.refresh_invoices", queue="billing", queueing_lock="billing.refresh_invoices")
def refresh_invoices(timestamp: int) -> int:
    """Close the months whose days of grace are over, then compute the open invoices again; how many are open."""
    at = clock.now()
    count, failures = 0, []
    for provider in selling_providers():
        try:
            close_due_months(provider=provider, at=at)
            count += refresh(provider=provider, by=None, at=at)
        except Exception as failure:  # one broken seller must not hold up the others; the job still fails
            log.exception("the invoices of seller %s could not be computed", provider.pk)
            failures.append(failure)
    ask_to_evaluate_budgets()
    if failures:
        raise failures[0]
    return count


@app.periodic(cron="37 6 * * *")
@app.task(name="bursar.billing.tasks.tell_of_overdue", queue="billing", queueing_lock="billing.tell_of_overdue")
def tell_of_overdue(timestamp: int) -> int:
    """Tell of what should have been paid by now, once for each invoice; how many invoices that were."""
    return tell_overdue(at=clock.now())


@app.task(
    name="bursar.billing.tasks.send_invoices", queue="billing", retry=RetryStrategy(max_attempts=10, exponential_wait=3)
)
def send_invoices(invoice_ids: list[int]) -> int:
    return notices.send(invoice_ids=invoice_ids, at=clock.now())


@app.task(
    name="bursar.billing.tasks.refresh_seller", queue="billing", retry=RetryStrategy(max_attempts=3, exponential_wait=5)
)
def refresh_seller(provider_id: int) -> int:
    """Compute a seller's open invoices again, because somebody asked for it."""
    provider = next((one for one in selling_providers() if one.pk == provider_id), None)
    if provider is None:
        return 0
    count = refresh(provider=provider, by=None, at=clock.now())
    ask_to_evaluate_budgets()
    return count


@app.task(name="bursar.billing.tasks.close_seller_month", queue="billing")
def close_seller_month(closing_id: int) -> int:
    """Close a month of a seller because somebody asked for it; how many invoices were issued."""
    count = carry_out(closing_id=closing_id, at=clock.now())
    ask_to_evaluate_budgets()
    return count


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


def ask_to_evaluate_budgets() -> None:
    """Have budgets compared with what the invoices now say."""
    defer(evaluate_budgets, queueing_lock="billing.evaluate_budgets", timestamp=0)
