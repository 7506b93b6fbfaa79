"""Control of the copy of an image by its worker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atoll.mirroring.copying.blob_source import ByteStream
from atoll.upstream.errors import Stopped


def _ignore(_size: int) -> None:
    """Ignore progress."""


class CopyControl:
    """Stops a copy, and reports its progress. Thread-safe.

    Args:
        on_progress: Called with the number of bytes that were received.
        monotonic: A clock in seconds.
        parent: The control of the copy that this one is a part of.
    """

    def __init__(
        self,
        on_progress: Callable[[int], None] = _ignore,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        parent: CopyControl | None = None,
    ) -> None:
        self._on_progress = on_progress
        self._parent = parent
        self._parts: set[CopyControl] = set()
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._error: Exception | None = None
        self._downloads: set[ByteStream] = set()
        self._moved_at = monotonic()

    @property
    def idle_seconds(self) -> float:
        """The seconds since the last progress."""
        return self._monotonic() - self._moved_at

    def stop(self, error: Exception) -> None:
        """Stop the copy, which raises an error at once, even while it waits for the upstream."""
        with self._lock:
            if self._error is None:
                self._error = error
            self._stopped.set()
            downloads, parts = list(self._downloads), list(self._parts)
        for download in downloads:
            download.abort()
        for part in parts:
            part.stop(error)

    @contextmanager
    def part(self) -> Iterator[CopyControl]:
        """Provide the control of a part of the copy, which can be stopped alone."""
        part = CopyControl(self._on_progress, monotonic=self._monotonic, parent=self)
        with self._lock:
            self._parts.add(part)
        try:
            self.check()
            yield part
        finally:
            with self._lock:
                self._parts.discard(part)

    def check(self) -> None:
        """Raise the error of `stop`."""
        if self._error is not None:
            raise self._error

    def wait(self, seconds: float) -> None:
        """Wait, or raise the error of `stop`. Others make progress meanwhile."""
        self._stopped.wait(seconds)
        self.waiting()

    def waiting(self) -> None:
        """Record a wait for others, which make progress meanwhile; raises like `check`."""
        self.check()
        self.moved()

    def moved(self) -> None:
        """Record progress without bytes."""
        self._moved_at = self._monotonic()
        if self._parent is not None:
            self._parent.moved()

    def progress(self, size: int) -> None:
        """Record received bytes; raises like `check`."""
        self.moved()
        self._on_progress(size)
        self.check()

    @contextmanager
    def transfer(self, download: ByteStream) -> Iterator[None]:
        """Let `stop` abort a download while the block runs.

        Raises:
            Exception: The error of `stop`, in place of Stopped.
        """
        with self._lock:
            self._downloads.add(download)
        try:
            self.check()
            yield
        except Stopped:
            self.check()
            raise
        finally:
            with self._lock:
                self._downloads.discard(download)
