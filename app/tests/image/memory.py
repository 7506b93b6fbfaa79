"""How much memory a container's processes take, measured from outside."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from .running import RunningImage

_INTERVAL = 0.1


def _proportional(process: str) -> int:
    """Return a process's memory in bytes; of what it shares, its share (`Pss` of the kernel)."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        # It has ended meanwhile.
        return 0
    lines = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return int(lines["Pss"].split()[0]) * 1024


class PeakMemory:
    """The most that a container took while the block ran: its processes, and its files in memory.

    What the kernel caches of files on disk is not the container's, and is not counted.
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
        """Return the bytes that are taken now."""
        disk = os.statvfs(self._running.inside("/tmp"))
        files = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        taken = files + sum(_proportional(process) for process in self._processes())
        self.peak = max(self.peak, taken)
        self.samples += 1
        return taken

    def _processes(self) -> list[str]:
        return [
            entry for entry in os.listdir("/proc") if entry.isdecimal() and self._is_ours(entry)
        ]

    def _is_ours(self, process: str) -> bool:
        try:
            return os.readlink(f"/proc/{process}/ns/pid") == self._namespace
        except OSError:
            return False

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self.now()
