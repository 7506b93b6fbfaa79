"""Probe a store: with two small objects below its path, whose bytes are compared.

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

from atoll.storage.errors import StoreFull, StoreMisbehaves, StoreRefused, WriteNotProven

PROBE_KEY = "_verify"
# Seconds between comparisons.
COMPARISON_INTERVAL = 60.0
# No more bytes of an answer are read.
READ_MAXIMUM = 4096
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

    def write_small(self, key: str, data: bytes) -> None:
        """Write an object."""


class Probe:
    """The probes of one store by one process; not for several threads at once."""

    def __init__(self, store: Probed, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._compare_at = monotonic() + COMPARISON_INTERVAL
        self._seen: bytes | None = None
        self._form = re.compile(
            rf"atoll probe of {re.escape(store.location)}: [0-9a-f]{{32}}\n".encode()
        )

    def run(self, *, write: bool) -> None:
        """Prove that the store serves; with WRITE, that it keeps objects, too.

        Raises StoreError.
        """
        if write:
            # If this fails, nothing but a comparison proves that the store can be read.
            self._compare_at = self._monotonic()
            self._prove_writing()
        else:
            self._store.look()
            if self._monotonic() < self._compare_at:
                return
            self._compare()
        self._compare_at = self._monotonic() + COMPARISON_INTERVAL

    def _compare(self) -> None:
        """Compare the object of the last probe that wrote. Write it where it is not there."""
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
