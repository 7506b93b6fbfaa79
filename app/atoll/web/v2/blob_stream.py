"""The body of a response that carries bytes of a blob."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from prometheus_client import Counter

from atoll.web.v2.download_slots import Slot

SENT_BYTES = Counter(
    "atoll_blob_sent_bytes", "Bytes of blobs that the registry sent itself", ["kind"]
)


class BlobStream(Iterator[bytes]):
    """A response body that the server closes at the end, even if it was not read completely.

    Args:
        kind: the label of the bytes in the metrics: blob, range or ranges.
        first: the first piece.
        rest: the other pieces.
        slot: released when the body is closed.
    """

    def __init__(
        self,
        kind: str,
        first: bytes,
        rest: Generator[bytes, None, None],
        slot: Slot | None,
    ) -> None:
        self._counter = SENT_BYTES.labels(kind)
        self._first = first
        self._rest = rest
        self._slot = slot

    def __next__(self) -> bytes:
        piece, self._first = self._first or next(self._rest), b""
        self._counter.inc(len(piece))
        return piece

    def close(self) -> None:
        """Stop reading from the store, and release the slot."""
        self._rest.close()
        if self._slot is not None:
            self._slot.release()
