from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.plugins.simulator.running import Backend


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Backend]:
    """The simulator's real backend, as a process of its own, in real time."""
    backend = Backend(state=tmp_path / "simulator.json").start()
    yield backend
    backend.stop()
