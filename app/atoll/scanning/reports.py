"""The status of an image's scan, and its report: the scanner's or, without one, the last one."""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.scanning.clair.errors import ReportNotReady, ScannerError
from atoll.scanning.clairs import Clairs
from atoll.scanning.errors import ReportUnavailable
from atoll.scanning.scan_states import QUEUED, SCANNED, word_of
from atoll.scanning.scans import Scans
from atoll.scanning.security_document import counts_of
from atoll.scanning.stored_reports import StoredReports

log = logging.getLogger(__name__)

# Seconds until a report that was read is stored again.
_KEEP_SECONDS = 86_400.0
# Larger compressed reports are not cached.
_CACHED_MAXIMUM = 1024 * 1024

_STATES = """
SELECT digest, index_status, indexer_hash, severity_counts FROM securityscan
WHERE digest = ANY(%(digests)s)
"""


@dataclass(frozen=True)
class ScanStatus:
    """The status of the scan of an image.

    Attributes:
        status: The word of the API.
        indexer_state: The state of the indexer that made the last report; empty without one.
        counts: The vulnerabilities by severity; None if they are not known.
    """

    status: str
    indexer_state: str = ""
    counts: Mapping[str, object] | None = None


@dataclass(frozen=True)
class SecurityReport:
    """The status of an image and, if it was scanned, its report.

    Attributes:
        status: The word of the API.
        report: The report of Clair; None unless the image was scanned.
        is_stale: Whether the report is the last one that was stored, because no scanner responds.
    """

    status: str
    report: Mapping[str, Any] | None = None
    is_stale: bool = False


class SecurityReports:
    """The reports of all images."""

    def __init__(
        self,
        database: Database,
        redis: SharedRedis,
        clairs: Clairs,
        scans: Scans,
        stored: StoredReports,
    ) -> None:
        self._database = database
        self._redis = redis
        self._clairs = clairs
        self._scans = scans
        self._stored = stored

    def statuses(self, digests: Sequence[str]) -> dict[str, ScanStatus]:
        """Return the status of each image; images without a scan are queued.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        rows = self._database.read(_STATES, {"digests": list(digests)})
        found = {row[0]: ScanStatus(word_of(row[1]), row[2], row[3]) for row in rows}
        return {digest: found.get(digest, ScanStatus(QUEUED)) for digest in digests}

    def get(self, digest: str) -> SecurityReport:
        """Return the status and report of an image.

        Raises:
            ReportUnavailable: No scanner responds, and no report is stored.
            DatabaseUnavailable: The database cannot be reached.
        """
        status = self.statuses([digest])[digest]
        if status.status != SCANNED:
            return SecurityReport(status.status)
        key = f"atoll:security:{status.indexer_state}:{digest}"
        (cached,) = self._redis.get_cached(key)
        if cached is not None:
            return SecurityReport(SCANNED, json.loads(zlib.decompress(cached)))
        try:
            content = self._clairs.first(lambda client: client.vulnerability_report(digest))
        except ReportNotReady:
            return SecurityReport(QUEUED)
        except ScannerError as error:
            return self._last(digest, error)
        report = json.loads(content)
        compressed = zlib.compress(content)
        if len(compressed) <= _CACHED_MAXIMUM:
            self._redis.fill(key, compressed)
        self._stored.keep(digest, content, status.indexer_state, renewed_after=_KEEP_SECONDS)
        counts = counts_of(report).as_json()
        if counts != status.counts:
            self._scans.record_counts(digest, counts)
        return SecurityReport(SCANNED, report)

    def _last(self, digest: str, error: ScannerError) -> SecurityReport:
        """Return the report that was stored last."""
        log.warning(
            "report not read",
            extra={"digest": digest, "reason": error.reason, "cause": str(error)},
        )
        stored = self._stored.find(digest)
        if stored is None:
            raise ReportUnavailable("the security scanner does not respond; try again") from error
        return SecurityReport(SCANNED, json.loads(stored.content), is_stale=True)
