"""The jobs of delivery; each may run twice."""

from typing import Any

from django.db import transaction
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app

from bursar.catalogue.services.announced import TASK as TELL_OF_PRICES
from bursar.delivery import account_mails as _account_mails  # noqa: F401  fills the table of mails
from bursar.delivery import budget_mails as _budget_mails  # noqa: F401  fills the table of mails
from bursar.delivery import feed, price_mails, services
from bursar.delivery import grant_mails as _grant_mails  # noqa: F401  fills the table of mails
from bursar.delivery import invoice_mails as _invoice_mails  # noqa: F401  fills the table of mails
from bursar.delivery import ledger_mails as _ledger_mails  # noqa: F401  fills the table of mails
from bursar.delivery import order_mails as _order_mails  # noqa: F401  fills the table of mails
from bursar.kernel import clock
from bursar.structure.mail import MAIL_TASK


# Again after 3, 9, 27… seconds: a mail server may be away for about nine hours.
@app.task(name=MAIL_TASK, queue="mail", retry=RetryStrategy(max_attempts=10, exponential_wait=3))
def send_mail(key: str, kind: str, to_person_id: int | None, to_email: str, facts: dict[str, Any]) -> None:
    services.send_mail(key=key, kind=kind, to_person_id=to_person_id, to_email=to_email, facts=facts, at=clock.now())


@app.task(name=TELL_OF_PRICES, queue="default")
def tell_of_prices(price_ids: list[int]) -> int:
    with transaction.atomic():
        return price_mails.tell_of_prices(price_ids=price_ids, at=clock.now())


@app.periodic(cron="* * * * *")
@app.task(name="bursar.delivery.tasks.number_feed", queue="default", queueing_lock="delivery.number_feed")
def number_feed(timestamp: int) -> None:
    """Number what happened also while no provider asks, so that what is waiting never grows long."""
    feed.number(at=clock.now())


@app.periodic(cron="23 2 * * *")
@app.task(name="bursar.delivery.tasks.compact_feed", queue="default", queueing_lock="delivery.compact_feed")
def compact_feed(timestamp: int) -> int:
    """Keep of what is older than two weeks the latest of each subject; may run twice."""
    return feed.compact(at=clock.now())
