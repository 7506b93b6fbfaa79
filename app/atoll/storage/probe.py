"""Probe a store: with two small objects below its path, whose bytes are compared.

`_verify` proves that the store keeps what is written, `_location` (`location_marker`) that the
bucket and path are this location's alone.

A look at the bucket is cheap and says little: a front end that answers every request with its own
page passes it. So a probe that writes reads back what it wrote, and every minute a probe that only
looks compares the object that the last one wrote.

Processes of all sites write the same object `_verify`. One that reads back the object of another
writes again; it accepts the other's if that is not what was there before.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol
from uuid import uuid4

from atoll.storage.errors import (
    ObjectChanged,
    StoreFull,
    StoreMisbehaves,
    StoreOfOtherLocation,
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
# What versions without comparisons write.
_OLD = b"ok"


class Probed(Protocol):
    """The requests of a probe. Each may raise StoreUnavailable within seconds."""

    location: str

    def look(self) -> None:
        """Raise unless the bucket is there."""

    def read_small(self, key: str) -> bytes | None:
        """Return the object's first READ_MAXIMUM bytes; None if there is no object."""

    def write_small(self, key: str, data: bytes, *, new: bool = False) -> None:
        """Write an object. With NEW, raise ObjectChanged if it is there, where a store can."""

    def name_of(self, key: str) -> str:
        """Return the object's name in the bucket, for people."""


class Probe:
    """The probes of one store by one process; not for several threads at once."""

    def __init__(self, store: Probed, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._compare_at = monotonic() + COMPARISON_INTERVAL
        self._seen: bytes | None = None
        self._owner: str | None = None
        # A probe that writes found that another location owns the place; it can still be read.
        self._only_read = False
        self._form = re.compile(
            rf"atoll probe of {re.escape(store.location)}: [0-9a-f]{{32}}\n".encode()
        )

    @property
    def refusal(self) -> StoreOfOtherLocation | None:
        """Why nothing may be written or deleted, as far as the last comparison showed."""
        location, owner = self._store.location, self._owner
        if owner in {None, location}:
            return None
        return StoreOfOtherLocation(location, str(owner), self._store.name_of(MARKER_KEY))

    def run(self, *, write: bool) -> None:
        """Prove that the store serves; with WRITE, that it keeps objects, too.

        Raises StoreError.
        """
        if write:
            # If this fails, nothing but a comparison proves that the store can be read.
            self._compare_at = self._monotonic()
            try:
                is_new = self._claim()
            except StoreOfOtherLocation:
                self._only_read = True
                raise
            self._only_read = False
            self._prove_writing()
            if is_new:
                # Two locations may have claimed it at the same time: the next probe compares.
                return
        else:
            self._store.look()
            if self._monotonic() < self._compare_at:
                return
            self._compare()
        self._compare_at = self._monotonic() + COMPARISON_INTERVAL

    def _claim(self) -> bool:
        """Mark the place as the location's, unless it is marked; tell whether that was done.

        Raises StoreOfOtherLocation if it is another's.
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
        """Return the location whose place it is; None if it is not marked."""
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
            # Perhaps it does not know conditions of a write.
            self._store.write_small(MARKER_KEY, data)

    def _compare(self) -> None:
        """Compare the object of the last probe that wrote. Write what is not there."""
        if self._read_owner() is None:
            with suppress(StoreRefused, StoreFull):
                self._claim()
        if self.refusal is not None:
            if self._only_read:
                return
            raise self.refusal
        found = self._store.read_small(PROBE_KEY)
        if found in {None, _OLD}:
            # A store that takes no objects has nothing to compare.
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
            raise StoreMisbehaves(
                self._store.location, f"it has other bytes in '{PROBE_KEY}' than were written"
            )
        raise WriteNotProven(self._store.location, f"it keeps an old object '{PROBE_KEY}'")

    def _is_ours(self, data: bytes) -> bool:
        return self._form.fullmatch(data) is not None
