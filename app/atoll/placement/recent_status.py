"""Reuse the last status for pages that are requested all the time.

One small statement finds out whether a state has changed: of an instance, of a store as an instance
sees it, of a location, or whether it has pending or failing copies. Without a change, the last
report is at most `_COUNTS_SECONDS` old, so only its counts may be outdated.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from atoll.cluster.instances import LOST_SECONDS, RETENTION_HOURS
from atoll.db.estimates import BY_INDEX
from atoll.db.pool import Database

# The age at which counts are computed again, in seconds: the interval of lag samples.
_COUNTS_SECONDS = 30.0
# Requests within this time share the answer of one statement.
_SHARED_SECONDS = 0.5
# While a thread reads, others do not wait for it but get the last report up to this age.
_READING_SECONDS = 2.0

_VERSION = (
    BY_INDEX
    + """
SELECT sha256(convert_to(concat_ws('/',
    (SELECT string_agg(concat_ws('|', id, version, bundle_fingerprint, stores,
                                 certificate_expires_at,
                                 seen_at > now() - make_interval(secs => %(lost)s)),
                       '/' ORDER BY id)
     FROM instance WHERE seen_at > now() - make_interval(hours => %(hours)s)),
    (SELECT string_agg(concat_ws('|', name, state,
         EXISTS (SELECT FROM replicationtask t WHERE t.location_id = l.id),
         EXISTS (SELECT FROM replicationtask t
                 WHERE t.location_id = l.id AND t.last_error IS NOT NULL)), '/' ORDER BY id)
     FROM imagestoragelocation l)), 'UTF8'))
"""
)

Report = TypeVar("Report")


@dataclass(frozen=True)
class _Known(Generic[Report]):
    report: Report
    version: bytes
    computed: float
    checked: float


class RecentReport(Generic[Report]):
    """A report that is computed again only if a state has changed, or after `_COUNTS_SECONDS`."""

    def __init__(
        self,
        database: Database,
        compute: Callable[[], Report],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the report.

        Args:
            database: The database, of which `compute` reads the states.
            compute: Returns the report, which callers must not change.
            monotonic: The clock, in seconds.
        """
        self._database = database
        self._compute = compute
        self._monotonic = monotonic
        self._known: _Known[Report] | None = None
        self._reading = threading.Lock()

    def get(self) -> Report:
        """Return the report; the same object as before if no state has changed.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        known, now = self._known, self._monotonic()
        age = now - known.checked if known else float("inf")
        if known is not None and age < _SHARED_SECONDS:
            return known.report
        alone = self._reading.acquire(blocking=False)
        try:
            if known is not None and not alone and age < _READING_SECONDS:
                return known.report
            return self._read(known, now)
        finally:
            if alone:
                self._reading.release()

    def _read(self, known: _Known[Report] | None, now: float) -> Report:
        # Before the report is computed, so that a change in between is found by the next call.
        parameters = {"lost": LOST_SECONDS, "hours": RETENTION_HOURS}
        version = bytes(self._database.read(_VERSION, parameters)[0][0])
        if (
            known is not None
            and known.version == version
            and now - known.computed < _COUNTS_SECONDS
        ):
            self._known = _Known(known.report, version, known.computed, now)
        else:
            self._known = _Known(self._compute(), version, now, now)
        return self._known.report
