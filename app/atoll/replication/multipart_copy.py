"""Copy a large blob in parts: several are read, one is hashed and several are written concurrently.

A part is read into a buffer, hashed in order and written from the same buffer. A part that an
earlier attempt wrote is not written again if its content is the same.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Generator
from concurrent.futures import Executor, Future
from contextlib import closing, suppress
from dataclasses import dataclass

from atoll.replication.buffer_pool import BufferPool
from atoll.replication.source import CopyControl, Source, WrongContent
from atoll.storage.base import ObjectStore, StoredPart
from atoll.storage.errors import ObjectMissing, OutcomeUnknown, StoreError
from atoll.storage.multipart import PART_MINIMUM, part_size

log = logging.getLogger(__name__)

# Parts of one blob that are read or written concurrently.
READ_AHEAD = 3
IN_FLIGHT = 4


@dataclass(frozen=True)
class Part:
    """A part that was read; numbers start at 1, and `data` is a view of `buffer`."""

    number: int
    buffer: bytearray
    data: memoryview


class PartsReader:
    """Reads a blob in parts and hashes them. The jobs of the executor never wait for each other."""

    def __init__(
        self,
        source: Source,
        buffers: BufferPool,
        executor: Executor,
        control: CopyControl,
        step: int = PART_MINIMUM,
    ) -> None:
        self._source = source
        self._buffers = buffers
        self._executor = executor
        self._control = control
        self._step = step
        self._starts = deque(enumerate(range(0, source.size, step), start=1))
        self._reading: deque[tuple[int, bytearray, Future[memoryview]]] = deque()
        self._hasher = source.digest.hasher()

    def parts(self) -> Generator[Part]:
        """Yield the parts in order; the caller returns each buffer to the pool.

        Raises:
            WrongContent: the object is shorter than the blob.
            StoreError: no source could be read.
        """
        try:
            while self._starts or self._reading:
                self._read_ahead()
                number, buffer, reading = self._reading[0]
                data = reading.result()
                self._control.check()
                self._hasher.update(data)
                self._reading.popleft()
                yield Part(number, buffer, data)
        finally:
            self._clean_up()

    def verify(self) -> None:
        """Read the remaining parts, and raise WrongContent unless the hash is the blob's digest."""
        for part in self.parts():
            self._buffers.release(part.buffer)
        self._source.verify(self._hasher.hexdigest())

    def _read_ahead(self) -> None:
        """Start to read the next parts while there are buffers; wait for one buffer at most."""
        while self._starts and len(self._reading) < READ_AHEAD:
            buffer = self._buffers.acquire(self._step, wait=not self._reading)
            if buffer is None:
                return
            number, start = self._starts.popleft()
            end = min(start + self._step, self._source.size)
            reading = self._executor.submit(self._source.read, start, end, buffer)
            self._reading.append((number, buffer, reading))

    def _clean_up(self) -> None:
        """Wait for reads in progress and return their buffers."""
        while self._reading:
            _, buffer, reading = self._reading.popleft()
            if not reading.cancel():
                reading.exception()
            self._buffers.release(buffer)


class PartsCopy:
    """One copy in parts. The jobs of the executor never wait for each other."""

    def __init__(
        self,
        source: Source,
        target: ObjectStore,
        buffers: BufferPool,
        executor: Executor,
        control: CopyControl,
    ) -> None:
        self._source = source
        self._key = source.key
        self._target = target
        self._buffers = buffers
        self._executor = executor
        self._control = control
        step = part_size(source.size, target.parts_maximum)
        self._reader = PartsReader(source, buffers, executor, control, step)
        self._writing: deque[tuple[int, Future[str]]] = deque()
        self._tags: dict[int, str] = {}

    def run(self, upload_id: str | None) -> None:
        """Copy the blob.

        After an exception the next attempt resumes the upload. The object is visible only after
        success, or possibly after OutcomeUnknown.

        Args:
            upload_id: the multipart upload of an earlier attempt, None if there is none.

        Raises:
            WrongContent: the sources have other bytes.
            StoreError: the blob could not be read or written.
        """
        if upload_id is not None and self._target_has_object():
            return
        upload_id, stored = self._upload(upload_id)
        self._write_all(upload_id, stored)
        try:
            self._reader.verify()
            self._control.check()
            tags = [self._tags[number] for number in sorted(self._tags)]
            self._target.finish_parts(self._key, upload_id, tags, self._source.size)
        except OutcomeUnknown:
            # The object may exist or appear later: the next attempt reads it before it restarts.
            raise
        except (WrongContent, StoreError):
            # The parts are wrong, or the store does not accept them: restart.
            with suppress(StoreError):
                self._target.abort_parts(self._key, upload_id)
            self._control.record_upload(None)
            raise

    def _target_has_object(self) -> bool:
        """Return whether the target has the object, after hashing all its bytes.

        An attempt without a response to its last request may have created it.
        """
        hasher = self._source.digest.hasher()
        try:
            if self._target.size(self._key) != self._source.size:
                return False
            for piece in self._target.read(self._key):
                self._control.check()
                hasher.update(piece)
        except ObjectMissing:
            return False
        return hasher.hexdigest() == self._source.digest.hex

    def _upload(self, upload_id: str | None) -> tuple[str, dict[int, StoredPart]]:
        """Return the upload to resume, or a new one, and its stored parts."""
        if upload_id is not None:
            try:
                if stored := self._target.stored_parts(self._key, upload_id):
                    return upload_id, stored
                self._target.abort_parts(self._key, upload_id)
            except ObjectMissing:
                log.debug("upload expired", extra={"upload": upload_id})
        upload_id = self._target.begin_parts(self._key)
        try:
            self._control.record_upload(upload_id)
        except Exception:
            # Without a record nothing would ever abort it.
            with suppress(StoreError):
                self._target.abort_parts(self._key, upload_id)
            raise
        return upload_id, {}

    def _write_all(self, upload_id: str, stored: dict[int, StoredPart]) -> None:
        """Write the parts that are not stored; no request is in progress after a failure."""
        try:
            with closing(self._reader.parts()) as parts:
                for part in parts:
                    there = stored.get(part.number)
                    if there is not None and _is_same(there, part.data):
                        self._buffers.release(part.buffer)
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
            self._control.throttle(len(part.data))
            if len(self._writing) >= IN_FLIGHT:
                self._wait_for_oldest()
        except BaseException:
            self._buffers.release(part.buffer)
            raise
        writing = self._executor.submit(
            self._target.put_part, self._key, upload_id, part.number, part.data, len(part.data)
        )
        # Called immediately if the write has ended, and also when it is cancelled.
        writing.add_done_callback(lambda _over: self._buffers.release(part.buffer))
        self._writing.append((part.number, writing))

    def _wait_for_oldest(self) -> None:
        number, writing = self._writing.popleft()
        self._tags[number] = writing.result()


def _is_same(stored: StoredPart, data: memoryview) -> bool:
    """Return whether a stored part has these bytes; an earlier attempt may have read wrong ones."""
    if stored.size != len(data):
        return False
    return stored.md5 == hashlib.md5(data, usedforsecurity=False).hexdigest()
