"""All cases in their order, each with what it is compared with."""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `baseline` is in the same unit and of the same run; `ratio` is value by baseline."""

    case: str
    value: float
    unit: str
    baseline: float | None
    target: str = ""

    @property
    def ratio(self) -> float | None:
        return None if not self.baseline else self.value / self.baseline


RATE = "reports/s"


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything: in full, or for a look of a few seconds."""

    seconds: float
    identities: int
    batches: int
    batches_100k: int
    postings: int
    asks: int
    posts: int
    rate_seconds: float
    locks: int
    million: int


FULL = Size(2.0, 10_000_000, 20, 4, 10_000_000, 500, 300, 20.0, 5_000, 1_000_000)
QUICK = Size(0.3, 100_000, 3, 1, 100_000, 60, 30, 2.0, 5_000, 20_000)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for an installation that lasts as long as the measurement: with a database of its own, as durable as any."""
    folder = Path(tempfile.mkdtemp(prefix="bursar-bench-"))
    folder.chmod(0o755)  # the embedded database runs as a user of its own
    for name in [name for name in os.environ if name.startswith("BURSAR_")] + ["DATABASE_URL"]:
        os.environ.pop(name, None)
    os.environ["BURSAR_HOME"] = str(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(*, quick: bool, only: frozenset[str] = frozenset(), say: Callable[[str], None]) -> Iterator[Figure]:
    """Measure what is asked for; in a scratch installation whose Django is set up.

    only   names of cases; empty = all
    """
    from bursar.config.bench import memory

    size = QUICK if quick else FULL
    gc.collect()
    gc.freeze()

    def wanted(*cases: str) -> bool:
        return not only or any(case in only for case in cases)

    for case, rate in memory.CASES.items():
        if wanted(case):
            say(case)
            yield Figure(case, rate(seconds=size.seconds), RATE, _adding_up(), _memory_target(case))
    yield from (figure for figure in _on_a_database(size, wanted, say) if wanted(figure.case))


def _memory_target(case: str) -> str:
    return ">= 5,000,000" if case == "memory_national_10k" else ">= 20,000"


def _adding_up() -> float:
    """Reports per second when their amounts are only added up by wallet: as fast as the arrays allow."""
    random = np.random.default_rng(1)
    wallets, amounts = random.integers(0, 5_000, 10_000), random.integers(1, 1_000, 10_000)
    sums = np.zeros(5_000, dtype=np.int64)
    begun = perf_counter()
    for _ in range(50):
        np.add.at(sums, wallets, amounts)
    return 50 * 10_000 / (perf_counter() - begun)


def _on_a_database(size: Size, wanted: Callable[..., bool], say: Callable[[str], None]) -> Iterator[Figure]:
    from bursar.config.bench import durable
    from bursar.config.bench.http import batches_per_client, server, singles
    from bursar.config.bench.nation import make_nation

    if wanted(
        "durable_10k", "durable_100k", "http_10k", "http_single_p50_ms", "http_single_p99_ms", "wallet_read_p99_ms"
    ):
        nation = make_nation("nation")
        durable.vacuum("wallet", "allocation", "posting", "workspace", "organization")
        if wanted("durable_10k", "durable_100k"):
            say(f"{size.identities:,} identities that were there before")
            durable.add_identities(nation, size.identities)
        if wanted("durable_10k"):
            say("durable_10k")
            rate, bare = durable.posting(nation, "d10k", 10_000, size.batches)
            yield Figure("durable_10k", rate, RATE, bare, ">= 60,000 and >= 0.3 of a bare COPY")
        if wanted("durable_100k"):
            say("durable_100k")
            rate, bare = durable.posting(nation, "d100k", 100_000, size.batches_100k)
            yield Figure("durable_100k", rate, RATE, bare, ">= 120,000 and >= 0.4 of a bare COPY")
        if wanted("wallet_read_p99_ms"):
            say("wallet_read_p99_ms")
            times = durable.wallet_read(nation, size.asks * 4)
            one = durable.percentile(durable.timed(durable.select_one, size.asks * 4), 99)
            yield Figure("wallet_read_p99_ms", durable.percentile(times, 99), "ms", one, "<= 2")
        if wanted("http_10k", "http_single_p50_ms", "http_single_p99_ms"):
            say("the front door")
            with server(nation) as made:
                if wanted("http_10k"):
                    _, bare = durable.posting(nation, "beside-http", 10_000, 3)
                    rate = batches_per_client(made, nation, 10_000, max(3, size.batches // 2))
                    yield Figure("http_10k", rate, RATE, bare, ">= 30,000")
                if wanted("http_single_p50_ms", "http_single_p99_ms"):
                    found, alive = singles(made, nation, clients=8, per_second=100, seconds=size.rate_seconds)
                    for share, target in ((50, "<= 10"), (99, "<= 50")):
                        value, beside = durable.percentile(found, share), durable.percentile(alive, share)
                        yield Figure(f"http_single_p{share}_ms", value, "ms", beside, target)
    if wanted("as_of_p99_ms"):
        say(f"as_of_p99_ms, over {size.postings:,} postings")
        nation = make_nation("past", (1, 20, 200, 5_000))
        durable.add_postings(nation, size.postings)
        times = durable.as_of(nation, size.asks)
        one = durable.percentile(durable.timed(durable.select_one, size.asks), 99)
        yield Figure("as_of_p99_ms", durable.percentile(times, 99), "ms", one, "<= 50")
    if wanted("fanout_growth"):
        say("fanout_growth")
        yield Figure("fanout_growth", durable.fanout_growth(10, 10_000, size.posts), "times", 1.0, "<= 1.5")
    if wanted("depth_growth"):
        say("depth_growth")
        yield Figure("depth_growth", durable.depth_growth(size.posts), "times", 1.0)
    if wanted("lock_5000_s", "free_5000_s"):
        say("lock_5000_s")
        locking, freeing, bare_s = durable.lock_and_free(size.locks)
        yield Figure("lock_5000_s", locking, "s", bare_s, "<= 2")
        yield Figure("free_5000_s", freeing, "s", bare_s, "<= 2")
    if wanted("million_wallets_loaded", "million_load_ms"):
        say(f"a tree of {size.million:,} wallets")
        loaded, milliseconds = durable.part_of_a_million(size.million)
        yield Figure("million_wallets_loaded", loaded, "wallets", float(size.million))
        yield Figure("million_load_ms", milliseconds, "ms", None)
    if wanted("memory_100k_mib"):
        say("memory_100k_mib")
        yield Figure("memory_100k_mib", _memory_of_100k(), "MiB over idle", None, "<= 400")


def _memory_of_100k() -> float:
    """By how much a process grows that books 100,000 reports at once, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "bursar.config.bench.run"],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ),
    )
    return float(done.stdout.split()[-1])


def _book_100k() -> None:
    from bursar.config.cli import setup

    setup()
    from bursar.config.bench.durable import reports
    from bursar.config.bench.nation import AT, make_nation
    from bursar.config.bench.peak import peak_mib
    from bursar.metering.services import post_reports

    nation = make_nation("memory")
    post_reports(reports=reports(nation, "first", 10), by=None, at=AT)
    idle = peak_mib()
    post_reports(reports=reports(nation, "many", 100_000), by=None, at=AT, at_most=100_000)
    print(peak_mib() - idle)


if __name__ == "__main__":
    _book_100k()
