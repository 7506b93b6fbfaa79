"""Downloads that resume after an interruption, with checks of their length and digest."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from atoll.names import Digest, Hash
from atoll.outbound.response import Response
from atoll.upstream.errors import (
    BlobUnknown,
    InvalidContent,
    ServerFailed,
    Stopped,
    TooLong,
    Truncated,
    Unreachable,
    UpstreamTimedOut,
    WrongDigest,
)
from atoll.upstream.numbers import content_length

# Attempts in a row without progress, after which the download fails, and the bytes that count as
# progress.
_ATTEMPTS = 3
_PROGRESS = 65_536
_INTERRUPTIONS = (Unreachable, UpstreamTimedOut, Truncated, ServerFailed)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)", re.ASCII)

# Sends a request for a part of a blob; takes the headers.
Fetch = Callable[[dict[str, str]], AbstractContextManager[Response]]


class RangesUnsupported(InvalidContent):
    """The upstream sends whole blobs only."""

    code = "ranges_unsupported"


class Download:
    """The bytes of a blob from `start` to `end`, which are read once.

    Attributes:
        requests: The number of requests so far.
        offset: The position in the blob of the next byte.
    """

    def __init__(self, fetch: Fetch, name: str, size: int, start: int, end: int) -> None:
        """Make a download.

        Args:
            fetch: Sends requests.
            name: The blob, for errors.
            size: The size of the blob in bytes.
            start: The position of the first byte.
            end: The position after the last byte.
        """
        self._fetch = fetch
        self._name = name
        self._size = size
        self._first = start
        self._end = end
        self._response: Response | None = None
        self._aborted = threading.Event()
        self.requests = 0
        self.offset = start

    def abort(self) -> None:
        """End the download; a thread that waits for bytes fails at once. Thread-safe.

        The thread gets `Stopped`.
        """
        self._aborted.set()
        response = self._response
        if response is not None:
            response.abort()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most 64 KiB; interruptions are resumed.

        After an error, another call continues with the next byte: for example after the pause that
        `Paused` asks for.

        Raises:
            Stopped: The download was aborted.
            UpstreamError: The download failed, or made no progress several times in a row.
        """
        failures = 0
        while self.offset < self._end or not self.requests:
            before = self.offset
            try:
                yield from self._read_on()
            except _INTERRUPTIONS as error:
                if self._aborted.is_set():
                    raise Stopped(f"the download of {self._name} was aborted") from error
                failures = 0 if self.offset - before >= _PROGRESS else failures + 1
                if failures == _ATTEMPTS:
                    raise

    def _read_on(self) -> Iterator[bytes]:
        """Yield the remaining bytes, as far as one request provides them."""
        if self._aborted.is_set():
            raise Stopped(f"the download of {self._name} was aborted")
        self.requests += 1
        headers = {}
        if self.offset or self._end < self._size:
            headers["Range"] = f"bytes={self.offset}-{max(self._end, self.offset + 1) - 1}"
        with self._fetch(headers) as response:
            self._response = response
            try:
                yield from self._body(response)
            finally:
                self._response = None

    def _body(self, response: Response) -> Iterator[bytes]:
        skipped = self._position(response)
        self._check_length(response, skipped)
        for received in response.pieces():
            piece = received[skipped:]
            skipped -= len(received) - len(piece)
            if not piece:
                continue
            if self.offset + len(piece) > self._end:
                if self._end == self._size:
                    raise TooLong(f"{self._name} has more than {self._size} bytes")
                # A range that the server extended.
                piece = piece[: self._end - self.offset]
            self.offset += len(piece)
            yield piece
            if self.offset == self._end < self._size:
                return
        if self.offset < self._end:
            raise Truncated(f"{self._name} ended after {self.offset} of {self._size} bytes")

    def _position(self, response: Response) -> int:
        """Return the number of bytes to skip, after a check of the status."""
        if response.status == http.client.OK:
            if self._end < self._size:
                raise RangesUnsupported(f"no parts of {self._name} can be requested")
            return self.offset
        if response.status == http.client.PARTIAL_CONTENT:
            match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
            if match is None or int(match[1]) != self.offset:
                raise InvalidContent(f"another part of {self._name} was sent than requested")
            return 0
        if response.status == http.client.NOT_FOUND:
            raise BlobUnknown(f"the upstream does not have {self._name}")
        if response.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise Truncated(f"{self._name} has at most {self.offset} of {self._size} bytes")
        raise InvalidContent(f"status {response.status} for {self._name}")

    def _check_length(self, response: Response, skipped: int) -> None:
        """Detect a blob that is too long before its bytes are received."""
        length = content_length(response.headers)
        if length is None or self._end < self._size:
            return
        if length - skipped > self._end - self.offset:
            raise TooLong(f"{self._name} has more than {self._size} bytes")


class VerifiedDownload(Download):
    """A whole blob, whose digest is checked after the last byte.

    The bytes must not be used before `pieces` has ended without an error.
    """

    def __init__(
        self, fetch: Fetch, digest: Digest, size: int, *, start: int = 0, hasher: Hash | None = None
    ) -> None:
        """Make a download.

        Args:
            fetch: Sends requests.
            digest: The digest of the blob.
            size: Its size in bytes.
            start: The number of bytes that the caller already has.
            hasher: A hash of these bytes.
        """
        super().__init__(fetch, f"blob {digest}", size, start, size)
        self._digest = digest
        self._hash = hasher or digest.hasher()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes in pieces; see `Download.pieces`.

        Raises:
            WrongDigest: The bytes do not have the digest.
        """
        for piece in super().pieces():
            self._hash.update(piece)
            yield piece
        if self._hash.hexdigest() != self._digest.hex:
            raise WrongDigest(f"{self._name} has other bytes than its digest promises")
