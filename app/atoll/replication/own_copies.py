"""A site's own copies in quarantine: each is read before the blob is copied again.

A copy that proves right needs no source, and none may be left.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from atoll.placement.tasks import Task
from atoll.replication.source import Hold
from atoll.storage.errors import StoreError
from atoll.storage.inspection import inspect
from atoll.storage.interface import ObjectStore
from atoll.storage.read_limit import ReadLimit

log = logging.getLogger(__name__)

# Seconds until a copy that proved wrong is read again, and how many of those are remembered.
_AGAIN_SECONDS = 3600.0
_REMEMBERED = 10_000


class OwnCopies:
    """The copies in STORE; safe for any thread."""

    def __init__(
        self, store: ObjectStore, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._wrong: OrderedDict[int, float] = OrderedDict()
        self._lock = threading.Lock()

    def restorable(self, task: Task, hold: Hold) -> bool:
        """Return whether the copy in quarantine is right, after reading all of it.

        One that proved wrong within the last hour is not read again. Raises what HOLD raises.
        """
        if not task.quarantined or self._known_as_wrong(task):
            return False
        try:
            limit = _Checks(hold)
            defect = inspect(self._store, task.digest, task.size, full=True, limit=limit)
        except StoreError as error:
            fields = {"digest": str(task.digest), "cause": str(error)}
            log.warning("own copy in quarantine not read", extra=fields)
            return False
        if defect is not None:
            self._remember(task)
        return defect is None

    def _known_as_wrong(self, task: Task) -> bool:
        with self._lock:
            found = self._wrong.get(task.storage_id)
        return found is not None and self._monotonic() - found < _AGAIN_SECONDS

    def _remember(self, task: Task) -> None:
        with self._lock:
            self._wrong.pop(task.storage_id, None)
            self._wrong[task.storage_id] = self._monotonic()
            if len(self._wrong) > _REMEMBERED:
                self._wrong.popitem(last=False)


class _Checks(ReadLimit):
    """No limit; asks HOLD with each piece whether the read is to stop."""

    def __init__(self, hold: Hold) -> None:
        super().__init__(None)
        self._hold = hold

    def spend(self, count: int) -> None:
        del count
        self._hold.check()
