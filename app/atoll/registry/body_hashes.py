"""Hashes of a body, computed while it is received.

A thread hashes the pieces in the order of their arrival, so little is left to do after the last
one. It never delays the thread that receives: the backlog is limited, and what does not fit is read
from the body's file in the end. The store compares the MD5 of each part with the bytes that it
gets, so the file is proven to contain the bytes that were received.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable

from atoll.storage.multipart import SINGLE_MAXIMUM, part_size

# Pieces that wait to be hashed; the server receives at most 256 KiB at once.
_BACKLOG = 16

Piece = bytes | memoryview


class BodyHashes:
    """The SHA-256 of a body, and the MD5 of each part in which it is sent to a store.

    Args:
        size: the announced size of the body in bytes; 0 if it is unknown.
        md5: whether to compute MD5s.
    """

    def __init__(self, size: int, *, md5: bool) -> None:
        self._part_size = SINGLE_MAXIMUM if 0 < size <= SINGLE_MAXIMUM else part_size(size)
        self._hashes_parts = md5
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._md5s: list[str] = []
        self._size = 0
        self._lock = threading.Lock()
        self._is_received = False
        self._is_complete = False
        self._is_behind = False

    def feed(self, piece: Piece) -> None:
        """Hash the next piece in the background, unless an earlier one did not fit."""
        if not self._is_behind:
            self._is_behind = not _thread.put(self, piece)

    def hash_piece(self, piece: Piece) -> None:
        """Hash the next piece, unless all have been received."""
        with self._lock:
            if not self._is_received:
                self._update(piece)

    def finish(self, read: Callable[[int], Iterable[Piece]]) -> str:
        """Hash the rest of the body, and return its SHA-256 in hexadecimal.

        Args:
            read: reads the body from a position to its end.
        """
        with self._lock:
            # Pieces that are still waiting are read from the file.
            self._is_received = True
        if not self._is_complete:
            for piece in read(self._size):
                self._update(piece)
            if self._size % self._part_size:
                self._end_part()
            self._is_complete = True
        return self._sha256.hexdigest()

    def md5_of(self, start: int, size: int) -> str | None:
        """Return the MD5 of a part of the finished body, None if it was not computed."""
        number, offset = divmod(start, self._part_size)
        end = min(start + self._part_size, self._size)
        if not self._hashes_parts or offset or start + size != end:
            return None
        return self._md5s[number]

    def _update(self, piece: Piece) -> None:
        self._sha256.update(piece)
        rest = memoryview(piece)
        while rest:
            left = self._part_size - self._size % self._part_size
            if self._hashes_parts:
                self._md5.update(rest[:left])
            self._size += len(rest[:left])
            rest = rest[left:]
            if self._size % self._part_size == 0:
                self._end_part()

    def _end_part(self) -> None:
        self._md5s.append(self._md5.hexdigest())
        self._md5 = hashlib.md5(usedforsecurity=False)


class _HashingThread:
    """A thread that starts with the first piece, so that a process can fork before.

    If it died, its backlog would stay full, and bodies would be hashed after they are received.
    """

    def __init__(self) -> None:
        # Much faster than a queue with a limit.
        self._pieces: queue.SimpleQueue[tuple[BodyHashes, Piece]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_started = False

    def put(self, hashes: BodyHashes, piece: Piece) -> bool:
        """Add a piece, and return False if the backlog is full."""
        if not self._is_started:
            self._start()
        # Servers that receive at the same time may exceed the limit by a piece each.
        if self._pieces.qsize() >= _BACKLOG:
            return False
        self._pieces.put((hashes, piece))
        return True

    def _start(self) -> None:
        with self._lock:
            if not self._is_started:
                threading.Thread(target=self._run, name="body-hashes", daemon=True).start()
                self._is_started = True

    def _run(self) -> None:
        while True:
            hashes, piece = self._pieces.get()
            hashes.hash_piece(piece)
            # Waiting for the next piece must not keep this one in memory.
            del hashes, piece


_thread = _HashingThread()
