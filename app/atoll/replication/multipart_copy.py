"""Copy a large blob in parts: some are being read, one is hashed, some are being written.

A part is read into a buffer, hashed in its turn and written from the same buffer. What a
predecessor wrote of it is not written again, once its content is known to be the same.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Generator
from concurrent.futures import Executor, Future
from contextlib import closing, suppress
from dataclasses import dataclass

from atoll.replication.buffer_pool import Memory
from atoll.replication.source import Hold, Source, WrongContent
from atoll.storage.base import ObjectStore, StoredPart
from atoll.storage.errors import ObjectMissing, OutcomeUnknown, StoreError
from atoll.storage.multipart import PART_MINIMUM, part_size

log = logging.getLogger(__name__)

# Of one blob.
READ_AHEAD = 3
IN_FLIGHT = 4


@dataclass(frozen=True)
class Part:
    """Part NUMBER, from 1, was read: its DATA stand in BUFFER."""

    number: int
    buffer: bytearray
    data: memoryview


class PartsReader:
    """Reads SOURCE in parts of STEP bytes and hashes them. EXECUTOR's tasks never wait."""

    def __init__(
        self,
        source: Source,
        memory: Memory,
        executor: Executor,
        hold: Hold,
        step: int = PART_MINIMUM,
    ) -> None:
        self._source = source
        self._memory = memory
        self._executor = executor
        self._hold = hold
        self._step = step
        self._starts = deque(enumerate(range(0, source.size, step), start=1))
        self._reading: deque[tuple[int, bytearray, Future[memoryview]]] = deque()
        self._hasher = source.digest.hasher()

    def parts(self) -> Generator[Part]:
        """Yield the parts in order; whoever gets one gives its buffer back to the memory.

        Raises WrongContent, StoreError, or what the hold raises.
        """
        try:
            while self._starts or self._reading:
                self._read_ahead()
                number, buffer, reading = self._reading[0]
                data = reading.result()
                self._hold.check()
                self._hasher.update(data)
                self._reading.popleft()
                yield Part(number, buffer, data)
        finally:
            self._clean_up()

    def verify(self) -> None:
        """Read what was not read yet, and raise WrongContent unless all has the blob's digest."""
        for part in self.parts():
            self._memory.give(part.buffer)
        self._source.verify(self._hasher.hexdigest())

    def _read_ahead(self) -> None:
        """Begin to read the next parts, as far as memory goes; one is waited for."""
        while self._starts and len(self._reading) < READ_AHEAD:
            buffer = self._memory.take(self._step, wait=not self._reading)
            if buffer is None:
                return
            number, start = self._starts.popleft()
            end = min(start + self._step, self._source.size)
            reading = self._executor.submit(self._source.read, start, end, buffer)
            self._reading.append((number, buffer, reading))

    def _clean_up(self) -> None:
        """Wait for what is being read in vain, and give its buffers back."""
        while self._reading:
            _, buffer, reading = self._reading.popleft()
            if not reading.cancel():
                reading.exception()
            self._memory.give(buffer)


class PartsCopy:
    """One copy in parts, from SOURCE to TARGET. EXECUTOR's tasks never wait for each other."""

    def __init__(
        self, source: Source, target: ObjectStore, memory: Memory, executor: Executor, hold: Hold
    ) -> None:
        self._source = source
        self._key = source.key
        self._target = target
        self._memory = memory
        self._executor = executor
        self._hold = hold
        step = part_size(source.size, target.parts_maximum)
        self._reader = PartsReader(source, memory, executor, hold, step)
        self._writing: deque[tuple[int, Future[str]]] = deque()
        self._tags: dict[int, str] = {}

    def run(self, upload_id: str | None) -> None:
        """Copy, and resume the upload UPLOAD_ID of an earlier attempt if there is one.

        Raises WrongContent, StoreError, or what the hold raises; the next attempt resumes the
        upload then. The object is not visible, unless OutcomeUnknown is raised.
        """
        if upload_id is not None and self._is_there():
            return
        upload_id, stored = self._upload(upload_id)
        self._write_all(upload_id, stored)
        try:
            self._reader.verify()
            self._hold.check()
            tags = [self._tags[number] for number in sorted(self._tags)]
            self._target.finish_parts(self._key, upload_id, tags, self._source.size)
        except OutcomeUnknown:
            # The object may be there, or appear later: the next attempt reads it before it starts
            # over.
            raise
        except (WrongContent, StoreError):
            # Its parts are wrong, or the store does not accept them: start over.
            with suppress(StoreError):
                self._target.abort_parts(self._key, upload_id)
            self._hold.remember(None)
            raise

    def _is_there(self) -> bool:
        """Tell whether the target has the object, all of whose bytes are read and hashed.

        An attempt that had no answer to its last request may have made it.
        """
        hasher = self._source.digest.hasher()
        try:
            if self._target.size(self._key) != self._source.size:
                return False
            for piece in self._target.read(self._key):
                self._hold.check()
                hasher.update(piece)
        except ObjectMissing:
            return False
        return hasher.hexdigest() == self._source.digest.hex

    def _upload(self, upload_id: str | None) -> tuple[str, dict[int, StoredPart]]:
        """Return the upload to go on with and what is there of it."""
        if upload_id is not None:
            try:
                if stored := self._target.stored_parts(self._key, upload_id):
                    return upload_id, stored
                self._target.abort_parts(self._key, upload_id)
            except ObjectMissing:
                log.debug("the upload is gone", extra={"upload": upload_id})
        upload_id = self._target.begin_parts(self._key)
        try:
            self._hold.remember(upload_id)
        except Exception:
            # No record would lead to it.
            with suppress(StoreError):
                self._target.abort_parts(self._key, upload_id)
            raise
        return upload_id, {}

    def _write_all(self, upload_id: str, stored: dict[int, StoredPart]) -> None:
        """Write what is not STORED; what cannot be written leaves no request under way."""
        try:
            with closing(self._reader.parts()) as parts:
                for part in parts:
                    there = stored.get(part.number)
                    if there is not None and _is_same(there, part.data):
                        self._memory.give(part.buffer)
                        self._tags[part.number] = there.tag
                    else:
                        self._write(upload_id, part)
            while self._writing:
                self._wait_for_oldest()
        finally:
            for _, writing in self._writing:
                if not writing.cancel():
                    writing.exception()

    def _write(self, upload_id: str, part: Part) -> None:
        try:
            self._hold.pace(len(part.data))
            if len(self._writing) >= IN_FLIGHT:
                self._wait_for_oldest()
        except BaseException:
            self._memory.give(part.buffer)
            raise
        writing = self._executor.submit(
            self._target.put_part, self._key, upload_id, part.number, part.data, len(part.data)
        )
        # Called at once where it is over already, and when it is cancelled, too.
        writing.add_done_callback(lambda _over: self._memory.give(part.buffer))
        self._writing.append((part.number, writing))

    def _wait_for_oldest(self) -> None:
        number, writing = self._writing.popleft()
        self._tags[number] = writing.result()


def _is_same(stored: StoredPart, data: memoryview) -> bool:
    """Tell whether a part that is there holds DATA: a predecessor may have read a bad source."""
    if stored.size != len(data):
        return False
    return stored.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
