"""Probe a store by means of two small objects below its path, whose bytes are compared.

`_verify` proves that the store keeps written bytes, `_location` (`location_marker`) that the
bucket and path are this location's alone.

A request for the bucket is cheap and proves little: a proxy that answers every request with a page
of its own passes it. So a writing probe reads back the object, and every minute a reading probe
compares the object that was written last.

Processes of all sites write the same object `_verify`. A process that reads back another process's
object writes again; it accepts the other object if it differs from the one before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from uuid import uuid4

from atoll.storage.errors import (
    InvalidStoreResponse,
    LocationMismatch,
    ObjectChanged,
    StoreFull,
    StoreRefused,
    StoreUnavailable,
    WriteNotProven,
)
from atoll.storage.location_marker import MARKER_KEY, READ_MAXIMUM, parse_marker, write_marker

__all__ = ["PROBE_KEY", "READ_MAXIMUM", "Probe", "Probed"]

PROBE_KEY = "_verify"
# Seconds between comparisons.
COMPARISON_INTERVAL = 60.0
_TRIES = 3
# The content that versions without comparisons write.
_OLD = b"ok"


class Probed(Protocol):
    """The requests of a probe. Each may raise StoreUnavailable, within seconds."""

    location: str

    def check_bucket(self) -> None:
        """Request the bucket; raise StoreError unless it exists."""

    def read_small(self, key: str) -> bytes | None:
        """Return the first READ_MAXIMUM bytes of an object, None if it does not exist."""

    def write_small(self, key: str, data: bytes, *, new: bool = False) -> None:
        """Write an object; with `new`, raise ObjectChanged if it exists and the store checks."""

    def name_of(self, key: str) -> str:
        """Return an object's name in the bucket, for error messages."""


class Probe:
    """The probes of one store by one process; not safe for concurrent calls."""

    def __init__(self, store: Probed, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._compare_at = monotonic() + COMPARISON_INTERVAL
        self._seen: bytes | None = None
        self._owner: str | None = None
        # A writing probe found the marker of another location; the store can still be read.
        self._only_read = False
        self._form = re.compile(
            rf"atoll probe of {re.escape(store.location)}: [0-9a-f]{{32}}\n".encode()
        )

    @property
    def refusal(self) -> LocationMismatch | None:
        """The error for writes and deletions if the marker names another location, or None."""
        location, owner = self._store.location, self._owner
        if owner in {None, location}:
            return None
        return LocationMismatch(location, str(owner), self._store.name_of(MARKER_KEY))

    def run(self, *, write: bool) -> None:
        """Prove that the store serves objects and, with `write`, that it keeps written ones.

        Raises:
            StoreError: the probe failed.
        """
        if write:
            # If this fails, only a comparison proves that the store can be read.
            self._compare_at = self._monotonic()
            try:
                is_new = self._claim()
            except LocationMismatch:
                self._only_read = True
                raise
            self._only_read = False
            self._prove_writing()
            if is_new:
                # Two locations may have written their markers at once: compare again next time.
                return
        else:
            self._store.check_bucket()
            if self._monotonic() < self._compare_at:
                return
            self._compare()
        self._compare_at = self._monotonic() + COMPARISON_INTERVAL

    def _claim(self) -> bool:
        """Write the marker unless there is one, and return whether it was written.

        Raises:
            LocationMismatch: the marker names another location.
        """
        is_new = self._read_owner() is None
        if is_new:
            self._mark()
            if self._read_owner() is None:
                raise WriteNotProven(
                    self._store.location, f"it does not have the object '{MARKER_KEY}' it just took"
                )
        if self.refusal is not None:
            raise self.refusal
        return is_new

    def _read_owner(self) -> str | None:
        """Return the location that the marker names, None without a marker."""
        data = self._store.read_small(MARKER_KEY)
        self._owner = None if data is None else parse_marker(data, self._store.location)
        return self._owner

    def _mark(self) -> None:
        data = write_marker(self._store.location)
        try:
            self._store.write_small(MARKER_KEY, data, new=True)
        except ObjectChanged:
            return
        except (StoreRefused, StoreFull):
            raise
        except StoreUnavailable:
            # The store may not support conditional writes.
            self._store.write_small(MARKER_KEY, data)

    def _compare(self) -> None:
        """Compare the object of the last writing probe; write missing objects."""
        if self._read_owner() is None:
            with suppress(StoreRefused, StoreFull):
                self._claim()
        if self.refusal is not None:
            if self._only_read:
                return
            raise self.refusal
        found = self._store.read_small(PROBE_KEY)
        if found in {None, _OLD}:
            # A store that accepts no objects has none to compare.
            with suppress(StoreRefused, StoreFull):
                self._prove_writing()
        elif found is not None and self._is_ours(found):
            self._seen = found
        else:
            self._prove_writing()

    def _prove_writing(self) -> None:
        for _ in range(_TRIES):
            data = f"atoll probe of {self._store.location}: {uuid4().hex}\n".encode()
            self._store.write_small(PROBE_KEY, data)
            found = self._store.read_small(PROBE_KEY)
            if found is None:
                raise WriteNotProven(
                    self._store.location, f"it does not have the object '{PROBE_KEY}' it just took"
                )
            before, self._seen = self._seen, found
            if found == data or (self._is_ours(found) and before not in {None, found}):
                return
        if found is not None and not self._is_ours(found):
            raise InvalidStoreResponse(
                self._store.location, f"it has other bytes in '{PROBE_KEY}' than were written"
            )
        raise WriteNotProven(self._store.location, f"it keeps an old object '{PROBE_KEY}'")

    def _is_ours(self, data: bytes) -> bool:
        return self._form.fullmatch(data) is not None
