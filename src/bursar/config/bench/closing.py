"""Closing the month of one seller, in a process of its own: it says how long that took and how much memory it needed."""

import sys
from datetime import UTC, date, datetime
from time import perf_counter
from typing import Final

from bursar.config.bench.peak import peak_mib

MONTH: Final = date(2026, 10, 1)
CLOSED_AT: Final = datetime(2026, 11, 8, tzinfo=UTC)


def close(provider_id: int) -> None:
    from bursar.config.cli import setup

    setup()
    from bursar.billing import services as billing
    from bursar.catalogue.models import ServiceProvider

    provider = ServiceProvider.objects.select_related("organization").get(pk=provider_id)
    begun = perf_counter()
    closed = billing.close_month(provider=provider, month=MONTH, by=None, at=CLOSED_AT)
    seconds = perf_counter() - begun
    print(seconds, peak_mib(), closed.issued, closed.lines)


if __name__ == "__main__":
    close(int(sys.argv[1]))
