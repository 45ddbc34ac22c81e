"""Asking for mail from below: a job by the name of the task that `delivery` declares, in the same transaction.

Who sends, and in which words, is delivery's; this package and those above it only say what happened and to whom.
"""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from procrastinate.contrib.django import app
from procrastinate.contrib.django.django_connector import DjangoConnector
from procrastinate.manager import JobManager

MAIL_TASK: Final = "bursar.delivery.tasks.send_mail"


def ask_for_mail(
    kind: str,
    *,
    to_person_id: int | None = None,
    to_email: str = "",
    facts: Mapping[str, Any] | None = None,
    key: str = "",
) -> None:
    """Queue one mail to a person or to an address; it goes out when the caller's transaction has committed.

    kind    a name in delivery's table of mails
    facts   JSON values that the words need: ids, amounts; never a secret in clear, see `seal`
    key     however often it is asked for, one mail bears it; "" = a new one
    """
    if (to_person_id is None) == (not to_email):
        raise ValueError("a mail goes to a person or to an address")
    deferrer = app.configure_task(MAIL_TASK, queue="mail", allow_unknown=True)
    job = deferrer.make_new_job(
        key=key or uuid4().hex, kind=kind, to_person_id=to_person_id, to_email=to_email, facts=dict(facts or {})
    )
    JobManager(DjangoConnector()).defer_job(job)


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.BURSAR_KEYS])


def seal(secret: str) -> str:
    """Encrypt a secret that a mail needs, so that the queue's table holds no usable link."""
    return _fernet().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """raises   cryptography.fernet.InvalidToken when no key of this installation fits"""
    return _fernet().decrypt(sealed.encode()).decode()
