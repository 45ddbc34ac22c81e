"""The most that a process needed is its own, whatever the size of the one that started it."""

import subprocess
import sys

from bursar.config.bench.peak import peak_mib

PROGRAM = """
from bursar.config.bench.peak import peak_mib
idle = peak_mib()
held = bytearray(b"x") * (50 << 20)
print(idle, peak_mib() - idle)
"""


def test_peak__of_a_process_that_a_larger_one_started__is_its_own() -> None:
    held = bytearray(b"x") * (300 << 20)
    assert peak_mib() > 300
    told = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout.split()
    assert float(told[0]) < 100
    assert 49 < float(told[1]) < 60
    assert len(held) == 300 << 20
