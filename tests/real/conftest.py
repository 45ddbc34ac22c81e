"""The real parts, started once a session where this machine has them; tests that need an absent one say so and are skipped."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.slurm.cluster import Cluster, People, missing

PEOPLE = ("alice", "bob", "carol")


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    """A real SLURM of two nodes that pretend to have 1024 cores and 4 GPUs each, with the local users of `PEOPLE`."""
    if why := missing():
        pytest.skip(f"not run here: {why}")
    # Not pytest's own temporary folder: that one is closed to the users SLURM's parts run as.
    folder = Path(tempfile.mkdtemp(prefix="bursar-slurm-", dir="/tmp"))
    cluster, people = Cluster(folder), People()
    try:
        try:
            cluster.start()
        except PermissionError as fault:
            pytest.skip(f"not run here: SLURM's nodes cannot be made ({fault})")
        people.add(*PEOPLE)
        yield cluster
    finally:
        cluster.stop()
        people.leave()
        if folder.exists():
            folder.rmdir()
