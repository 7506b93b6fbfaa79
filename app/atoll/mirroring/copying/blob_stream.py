"""Receive a large blob in parts, hash it, and write the parts to a store.

The received bytes, the state of their hash and the multipart upload are stored from time to time,
so after a crash another process continues with the next byte. Memory is bounded by a pool of
buffers, which copies share.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, replace

from atoll.db.pool import DatabaseUnavailable
from atoll.mirroring.copying.blob_records import BlobRecords, Checkpoint, Claim
from atoll.mirroring.copying.blob_source import BlobSource, ByteStream
from atoll.mirroring.copying.copy_control import CopyControl
from atoll.mirroring.copying.copy_errors import LeaseLost
from atoll.mirroring.copying.resumable_hash import ResumableHash, is_usable
from atoll.mirroring.copying.shared_buffers import SharedBuffers
from atoll.names import Digest
from atoll.storage.abandonment import Attempt
from atoll.storage.base import ObjectStore, blob_key
from atoll.storage.errors import ObjectMissing, StoreError, StoreTimeout
from atoll.storage.multipart import PART_MINIMUM, part_size
from atoll.upstream.errors import InvalidContent, WrongDigest

log = logging.getLogger(__name__)

# Parts of one blob that are written concurrently.
IN_FLIGHT = 2
# Seconds between two checkpoints, and between two renewals of the lease.
CHECKPOINT_SECONDS, _RENEW_SECONDS = 1.0, 15.0
_TICK = 0.5


class Progress:
    """The checkpoint and the lease of one blob. Thread-safe.

    Attributes:
        checkpoint: What was received and written so far.
        fetched: The number of bytes that this process received.
    """

    def __init__(
        self,
        records: BlobRecords,
        claim: Claim,
        control: CopyControl,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._claim = claim
        self._control = control
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._saved_at = self._renewed_at = monotonic()
        self.checkpoint = claim.checkpoint
        self.fetched = 0

    def received(self, size: int) -> None:
        """Count received bytes; raises if the copy is stopped, or the lease was lost."""
        self.fetched += size
        self._control.progress(size)
        self.keep()

    def keep(self) -> None:
        """Renew the lease if it is time; raises if the copy is stopped, or the lease was lost."""
        self._control.check()
        if self._monotonic() - self._renewed_at >= _RENEW_SECONDS:
            self.renew()

    def waiting(self) -> None:
        """Record a wait for others, and do what `keep` does."""
        self._control.waiting()
        self.keep()

    def renew(self) -> None:
        """Renew the lease.

        Raises:
            LeaseLost: Another worker has it.
        """
        self._records.renew(self._claim)
        self._renewed_at = self._monotonic()

    def advance(self, old: Checkpoint, new: Checkpoint, *, now: bool = False) -> None:
        """Replace a checkpoint, and store the new one if it is time.

        Args:
            old: The checkpoint that the caller continued; if it is outdated, nothing happens,
                because the caller was abandoned.
            new: The new one.
            now: Whether to store it in any case.
        """
        with self._lock:
            if self.checkpoint is not old:
                return
            self.checkpoint = new
        if now or self._monotonic() - self._saved_at >= CHECKPOINT_SECONDS:
            self._save(new)

    def restart(self) -> None:
        """Forget what was received. Abandoned parts are deleted later."""
        with self._lock:
            self.checkpoint = Checkpoint()
        self._save(self.checkpoint)

    def _save(self, checkpoint: Checkpoint) -> None:
        self._records.save(self._claim, checkpoint)
        self._saved_at = self._renewed_at = self._monotonic()


@dataclass(frozen=True)
class Transfer:
    """A large blob of an upstream, and the state of its copy; `source` holds a slot."""

    source: BlobSource
    digest: Digest
    size: int
    control: CopyControl
    progress: Progress


@dataclass(frozen=True)
class _Sent:
    """A part that is being written, and the checkpoint after it."""

    writing: Future[str]
    after: Checkpoint


class BlobStream:
    """One attempt to receive a blob.

    Args:
        transfer: The blob.
        store: The store to write to; None to hash the bytes only.
        buffers: The buffers of all copies.
        writers: Runs the requests to stores.
    """

    def __init__(
        self,
        transfer: Transfer,
        store: ObjectStore | None,
        buffers: SharedBuffers,
        writers: Executor,
    ) -> None:
        self._transfer = transfer
        self._store = store
        self._host = transfer.source.host
        self._key = blob_key(transfer.digest)
        self._buffers = buffers
        self._writers = writers
        self._attempt: Attempt | None = None
        self._step = PART_MINIMUM
        if store is not None:
            self._step = part_size(transfer.size, store.parts_maximum)
        # What was received and confirmed; `_end` also has the parts that are being written.
        self._confirmed = self._end = transfer.progress.checkpoint
        self._tags: list[str] = []
        self._sent: deque[_Sent] = deque()

    def run(self, attempt: Attempt | None, confirm: Callable[[], None]) -> None:
        """Receive the blob, and write it. The object is visible only after success.

        After an error that a later attempt may survive, what was received is kept.

        Args:
            attempt: The write that may be abandoned; None if nothing is written.
            confirm: Called before the object becomes visible; raises to prevent it.

        Raises:
            UpstreamError: The upstream failed, or has other bytes.
            StoreError: The store failed.
            LeaseLost: Another worker copies the blob.
        """
        self._attempt = attempt
        if self._begin():
            return
        hasher = ResumableHash(self._transfer.digest, self._end.hash_state)
        try:
            self._receive(hasher)
            while self._sent:
                self._wait_for_oldest()
        except InvalidContent as error:
            self._settle()
            if not error.is_temporary:
                self._discard()
            raise
        except BaseException:
            self._settle()
            raise
        if hasher.hexdigest() != self._transfer.digest.hex:
            self._discard()
            raise WrongDigest(
                f"blob {self._transfer.digest} has other bytes than its digest promises"
            )
        if self._store is not None and self._end.upload_id is not None:
            self._raise_if_abandoned()
            self._transfer.progress.advance(self._confirmed, self._end, now=True)
            confirm()
            self._store.finish_parts(
                self._key, self._end.upload_id, self._tags, self._transfer.size
            )

    def discard_parts(self, stores: Mapping[str, ObjectStore]) -> None:
        """Delete the parts of an earlier attempt; without its store they are deleted later."""
        before = self._transfer.progress.checkpoint
        store = stores.get(before.location or "")
        if store is not None and before.upload_id is not None:
            with suppress(StoreError):
                store.abort_parts(self._key, before.upload_id)

    def _begin(self) -> bool:
        """Continue an earlier attempt or restart; return whether the object exists already."""
        if self._end.received and not is_usable(self._end.hash_state, self._transfer.digest):
            self._discard()
        if self._store is None:
            return False
        if self._end.upload_id is not None:
            # An upload without confirmed parts is not continued: a late request of its former
            # worker could replace a part, which some stores identify by its number only.
            try:
                if self._end.part_md5s and self._restore_parts(self._store, self._end.upload_id):
                    return False
            except ObjectMissing:
                if self._end.received == self._transfer.size and self._has_object(self._store):
                    return True
            self._discard()
        elif self._end.received:
            # The bytes were only hashed, because a store had the blob.
            self._discard()
        upload_id = self._store.begin_parts(self._key)
        begun = Checkpoint(self._store.location, upload_id)
        self._transfer.progress.advance(self._end, begun, now=True)
        self._confirmed = self._end = begun
        return False

    def _restore_parts(self, store: ObjectStore, upload_id: str) -> bool:
        """Return whether the store has the parts of the checkpoint, with the same bytes."""
        stored = store.stored_parts(self._key, upload_id)
        tags = []
        for number, md5 in enumerate(self._end.part_md5s, start=1):
            size = min(self._step, self._transfer.size - (number - 1) * self._step)
            part = stored.get(number)
            if part is None or part.md5 != md5 or part.size != size:
                return False
            tags.append(part.tag)
        if min(len(tags) * self._step, self._transfer.size) != self._end.received:
            return False
        self._tags = tags
        return True

    def _has_object(self, store: ObjectStore) -> bool:
        """Return whether an attempt whose last request was not answered created the object."""
        hasher = self._transfer.digest.hasher()
        try:
            if store.size(self._key) != self._transfer.size:
                return False
            for piece in store.read(self._key):
                self._moved()
                hasher.update(piece)
        except ObjectMissing:
            return False
        return hasher.hexdigest() == self._transfer.digest.hex

    def _discard(self) -> None:
        """Delete the parts, and begin with the first byte."""
        if self._store is not None and self._end.upload_id is not None:
            with suppress(StoreError):
                self._store.abort_parts(self._key, self._end.upload_id)
        empty = Checkpoint()
        self._transfer.progress.advance(self._confirmed, empty, now=True)
        self._confirmed = self._end = empty
        self._tags = []

    def _receive(self, hasher: ResumableHash) -> None:
        size = self._transfer.size
        if self._end.received == size:
            return
        download = self._transfer.source.blob_part(
            self._transfer.digest, size, self._end.received, size
        )
        with self._transfer.control.transfer(download):
            pieces = _Pieces(download, self._transfer.progress)
            while self._end.received < size:
                length = min(self._step, size - self._end.received)
                buffer = self._buffers.acquire(self._host, self._step, self._transfer.control)
                kept = False
                try:
                    pieces.fill(buffer, length)
                    with memoryview(buffer)[:length] as view:
                        hasher.update(view)
                    kept = self._send(buffer, length, hasher)
                finally:
                    if not kept:
                        self._buffers.release(self._host, buffer)
            pieces.end()

    def _send(self, buffer: bytearray, length: int, hasher: ResumableHash) -> bool:
        """Write a part; return whether the buffer is in use and will be released."""
        self._raise_if_abandoned()
        received = self._end.received + length
        after = replace(self._end, received=received, hash_state=hasher.state())
        if self._store is None:
            self._transfer.progress.advance(self._confirmed, after)
            self._confirmed = self._end = after
            return False
        while len(self._sent) >= IN_FLIGHT:
            self._wait_for_oldest()
        data = memoryview(buffer)[:length]
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        after = replace(after, part_md5s=(*self._end.part_md5s, md5))
        writing = self._writers.submit(
            self._store.put_part,
            self._key,
            self._end.upload_id or "",
            len(after.part_md5s),
            data,
            length,
        )
        # Called immediately if the write has ended, and also when it is cancelled.
        writing.add_done_callback(lambda _over: self._buffers.release(self._host, buffer))
        self._sent.append(_Sent(writing, after))
        self._end = after
        return True

    def _wait_for_oldest(self) -> None:
        """Wait until the oldest part was written, and advance the checkpoint."""
        oldest = self._sent[0]
        while True:
            with suppress(TimeoutError):
                oldest.writing.exception(_TICK)
                break
            self._raise_if_abandoned()
            self._transfer.progress.keep()
        self._sent.popleft()
        self._confirm(oldest)
        self._moved()

    def _confirm(self, part: _Sent) -> None:
        self._tags.append(part.writing.result())
        self._transfer.progress.advance(self._confirmed, part.after)
        self._confirmed = part.after

    def _settle(self) -> None:
        """After an error, wait for the parts in progress and store the last checkpoint."""
        while self._sent:
            part = self._sent.popleft()
            if part.writing.cancel() or part.writing.exception() is not None:
                break
            with suppress(DatabaseUnavailable, LeaseLost):
                self._confirm(part)
        while self._sent:
            writing = self._sent.popleft().writing
            if not writing.cancel():
                writing.exception()
        with suppress(DatabaseUnavailable, LeaseLost):
            last = replace(self._confirmed)
            self._transfer.progress.advance(self._confirmed, last, now=True)
            self._confirmed = last

    def _moved(self) -> None:
        if self._attempt is not None:
            self._attempt.progress()
        self._transfer.progress.keep()

    def _raise_if_abandoned(self) -> None:
        if self._attempt is not None and self._attempt.abandoned and self._store is not None:
            raise StoreTimeout(self._store.location, "the write was abandoned")


class _Pieces:
    """The bytes of a download in portions of any size."""

    def __init__(self, download: ByteStream, progress: Progress) -> None:
        self._pieces: Iterator[bytes] = download.pieces()
        self._progress = progress
        self._rest = memoryview(b"")

    def fill(self, buffer: bytearray, length: int) -> None:
        """Fill the beginning of a buffer; the download raises if it has too few bytes."""
        position = 0
        while position < length:
            if not self._rest:
                piece = next(self._pieces)
                self._progress.received(len(piece))
                self._rest = memoryview(piece)
            taken = self._rest[: length - position]
            buffer[position : position + len(taken)] = taken
            position += len(taken)
            self._rest = self._rest[len(taken) :]

    def end(self) -> None:
        """Read the end of the last response; the download raises if it has too many bytes."""
        for _ in self._pieces:
            continue
