"""Check a site's quarantined copies before their blobs are copied again.

An intact copy needs no source, and there may be no other copy left.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from atoll.placement.tasks import Task
from atoll.rate_limit import RateLimiter
from atoll.storage.base import ObjectStore
from atoll.storage.errors import StoreError
from atoll.storage.object_check import inspect

log = logging.getLogger(__name__)

# Seconds before a defective copy is read again, and how many defective copies are remembered.
_RECHECK_SECONDS = 3600.0
_REMEMBERED = 10_000


class QuarantinedCopies:
    """The quarantined copies in one store. Thread-safe."""

    def __init__(
        self, store: ObjectStore, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._monotonic = monotonic
        self._defective: OrderedDict[int, float] = OrderedDict()
        self._lock = threading.Lock()

    def is_intact(self, task: Task, check: Callable[[], None]) -> bool:
        """Read the quarantined copy of a task's blob and return whether its bytes are right.

        A copy that was found defective within the last hour is not read again.

        Args:
            task: the task whose target may hold a quarantined copy.
            check: called for each piece read; raises to stop the read.
        """
        if not task.quarantined or self._recently_defective(task):
            return False
        try:
            limit = _Checks(check)
            defect = inspect(self._store, task.digest, task.size, full=True, limit=limit)
        except StoreError as error:
            fields = {"digest": str(task.digest), "cause": str(error)}
            log.warning("quarantined copy not read", extra=fields)
            return False
        if defect is not None:
            self._remember(task)
        return defect is None

    def _recently_defective(self, task: Task) -> bool:
        with self._lock:
            found = self._defective.get(task.storage_id)
        return found is not None and self._monotonic() - found < _RECHECK_SECONDS

    def _remember(self, task: Task) -> None:
        with self._lock:
            self._defective.pop(task.storage_id, None)
            self._defective[task.storage_id] = self._monotonic()
            if len(self._defective) > _REMEMBERED:
                self._defective.popitem(last=False)


class _Checks(RateLimiter):
    """An unlimited read rate that calls a function for each piece."""

    def __init__(self, check: Callable[[], None]) -> None:
        super().__init__(None)
        self._check = check

    def take(self, size: int, wait: Callable[[float], None] | None = None) -> None:
        del size, wait
        self._check()
