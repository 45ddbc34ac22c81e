"""Asking that people be told of prices to come: a job by the name of the task that `delivery` declares."""

from collections.abc import Sequence
from typing import Final

from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.manager import JobManager

TASK: Final = "bursar.delivery.tasks.tell_of_prices"


def tell_of_prices_to_come(*, price_ids: Sequence[int]) -> None:
    """Queue it in the caller's transaction; who has resources at these prices is known above this package."""
    deferrer = app.configure_task(TASK, queue="default", allow_unknown=True)
    JobManager(DjangoConnector()).defer_job(deferrer.make_new_job(price_ids=list(price_ids)))
