"""How much memory this process needed at most."""

from pathlib import Path


def peak_mib() -> float:
    """Its greatest size so far, in MiB.

    Not what `getrusage` says: for a process that was started by another, that begins with the size of the other.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
