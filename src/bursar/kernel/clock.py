"""The one place that asks what time it is; everything below the edges is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

_stated: ContextVar[datetime | None] = ContextVar("stated_time", default=None)


def now() -> datetime:
    """The present instant, aware, in UTC; inside `stated_time` the instant that was stated."""
    return _stated.get() or datetime.now(UTC)


@contextmanager
def stated_time(at: datetime) -> Iterator[None]:
    """Let the clock stand at a given instant: for stories told under a stated time.

    raises   ValueError when the instant has no time zone
    """
    if at.tzinfo is None:
        raise ValueError("a stated time needs a time zone")
    token = _stated.set(at.astimezone(UTC))
    try:
        yield
    finally:
        _stated.reset(token)
