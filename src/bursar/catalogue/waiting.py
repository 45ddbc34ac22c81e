"""A stranger's code, asked while somebody waits for the answer."""

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Final, TypeVar

from django.db import connection

T = TypeVar("T")

WAIT_SECONDS: Final = 30
"""How long a page waits for a backend."""


class NotInTime(Exception):
    """What was asked has not answered yet; it may do so still, and nobody listens then."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What the work answers or raises, if it does so in time; if not, it is left behind, and ends with the process at last.

    Not in a transaction: the connection to the database goes back to the pool meanwhile, for there are few of them.
    raises   NotInTime; whatever the work raises
    """
    if not connection.in_atomic_block:
        connection.close()
    answers: list[Callable[[], T]] = []

    def run() -> None:
        try:
            answer = work()
        except BaseException as error:  # given on to whoever waits
            failure = error

            def again() -> T:
                raise failure

            answers.append(again)
        else:
            answers.append(lambda: answer)

    thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True, name="asks-a-backend")
    thread.start()
    thread.join(seconds)
    if not answers:
        raise NotInTime
    return answers[0]()
