import threading
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def at_once(transactional_db: None) -> Callable[..., list[Any]]:
    """`at_once(first, second)`: run both in threads that begin together; what each returned or raised."""

    def run(*actions: Callable[[], Any]) -> list[Any]:
        from django.db import connections

        gate = threading.Barrier(len(actions))
        outcomes: list[Any] = [None] * len(actions)

        def one(number: int, action: Callable[[], Any]) -> None:
            try:
                gate.wait(timeout=10)
                outcomes[number] = action()
            except Exception as refused:
                outcomes[number] = refused
            finally:
                connections.close_all()

        threads = [threading.Thread(target=one, args=pair) for pair in enumerate(actions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
        return outcomes

    return run


class InThread:
    """Something that runs beside the test."""

    def __init__(self, action: Callable[[], Any]) -> None:
        self._action = action
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        from django.db import connections

        try:
            self._outcome = self._action()
        except Exception as refused:
            self._outcome = refused
        finally:
            connections.close_all()

    def waits(self) -> bool:
        """Whether it is still held up after a second."""
        self._thread.join(timeout=1)
        return self._thread.is_alive()

    def outcome(self) -> Any:
        self._thread.join(timeout=30)
        return self._outcome


@pytest.fixture
def in_thread(transactional_db: None) -> type[InThread]:
    """`in_thread(action)`: start it in a thread with a connection of its own."""
    return InThread
