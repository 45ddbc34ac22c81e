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
