"""The memory of a container's processes, measured from outside."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from .running import RunningImage

_INTERVAL = 0.1


def _proportional(process: str) -> int:
    """Return the proportional set size of a process (the kernel's `Pss`) in bytes."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        # The process has ended meanwhile.
        return 0
    lines = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return int(lines["Pss"].split()[0]) * 1024


class PeakMemory:
    """The peak memory of a container within a `with` block: processes, and files in memory.

    The kernel's cache of files on disk does not belong to the container and is not counted.
    """

    def __init__(self, running: RunningImage) -> None:
        self._running = running
        self._namespace = os.readlink(f"/proc/{running.process}/ns/pid")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak = 0
        self.samples = 0

    def __enter__(self) -> PeakMemory:
        self.now()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def now(self) -> int:
        """Return the current memory in bytes."""
        disk = os.statvfs(self._running.inside("/tmp"))
        files = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        taken = files + sum(_proportional(process) for process in self._processes())
        self.peak = max(self.peak, taken)
        self.samples += 1
        return taken

    def _processes(self) -> list[str]:
        return [
            entry
            for entry in os.listdir("/proc")
            if entry.isdecimal() and self._belongs_to_container(entry)
        ]

    def _belongs_to_container(self, process: str) -> bool:
        try:
            return os.readlink(f"/proc/{process}/ns/pid") == self._namespace
        except OSError:
            return False

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self.now()
