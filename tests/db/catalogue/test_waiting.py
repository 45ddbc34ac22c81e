"""What is asked while somebody waits: answered or refused in time, and no connection kept meanwhile."""

import threading

import pytest
from django.db import connection

from bursar.catalogue.waiting import NotInTime, within


@pytest.mark.django_db(transaction=True)
def test_within__outside_a_transaction__gives_the_connection_back_before_it_asks() -> None:
    connection.ensure_connection()
    own = connection._connections[connection._alias]  # type: ignore[attr-defined]
    assert own.connection is not None
    assert within(10, lambda: own.connection) is None


def test_within__too_slow__is_left_behind(db: None) -> None:
    go_on = threading.Event()
    with pytest.raises(NotInTime):
        within(0.05, go_on.wait)
    go_on.set()


def test_within__what_the_work_raises__is_raised(db: None) -> None:
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 // 0)
