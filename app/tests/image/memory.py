"""The memory of a container's processes, measured from outside."""

from __future__ import annotations

import os
import threading

from ..container_processes import processes_of, proportional_bytes
from .running import RunningImage

_INTERVAL = 0.1


class PeakMemory:
    """The peak memory of a container within a `with` block: processes, and files in memory.

    The kernel's cache of files on disk does not belong to the container and is not counted.
    """

    def __init__(self, running: RunningImage) -> None:
        self._running = running
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
        taken = files + sum(map(proportional_bytes, processes_of(self._running.process)))
        self.peak = max(self.peak, taken)
        self.samples += 1
        return taken

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self.now()
