"""The processes of a container: their processor time and memory, measured from outside."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def processes_of(process: int) -> Iterator[int]:
    """Yield the processes of a container.

    Args:
        process: the process id of the container's first process on this machine.
    """
    namespace = os.readlink(f"/proc/{process}/ns/pid")
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and _pid_namespace(int(entry)) == namespace:
            yield int(entry)


def _pid_namespace(process: int) -> str | None:
    try:
        return os.readlink(f"/proc/{process}/ns/pid")
    except OSError:
        return None


def proportional_bytes(process: int) -> int:
    """Return the proportional set size of a process (the kernel's `Pss`), 0 if it has ended."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return int(lines["Pss"].split()[0]) * 1024


def processor_seconds(process: int) -> float:
    """Return the user and system time of a process and of its reaped children, 0 if it has ended.

    A container's first process reaps the others, so the sum over all processes of a container also
    contains those that have ended.
    """
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # The name of the program may contain spaces and parentheses.
    return sum(int(field) for field in stat.rpartition(")")[2].split()[11:15]) / _TICKS


def seconds_since_start(process: int, clock: float) -> float:
    """Return for how long a process had been running at a time.

    Args:
        process: the process id.
        clock: the time, of the clock CLOCK_BOOTTIME.
    """
    stat = Path(f"/proc/{process}/stat").read_text()
    return clock - int(stat.rpartition(")")[2].split()[19]) / _TICKS


def program(process: int) -> str:
    """Return the name of the program that a process runs, "" if it has ended."""
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""
