"""The scan of one image: index it, read its report and store the outcome."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

from atoll.scanning.clair.client import ClairClient
from atoll.scanning.clair.errors import (
    ReportNotReady,
    ReportUnknown,
    ScannerBusy,
    ScannerError,
    ScannerRefused,
    ScannerUnavailable,
)
from atoll.scanning.clair.report import IndexReport
from atoll.scanning.clairs import Clairs
from atoll.scanning.errors import LayerUnavailable
from atoll.scanning.layer_addresses import LayerAddresses
from atoll.scanning.scan_metrics import SCANS_TOTAL
from atoll.scanning.scan_states import ScanState
from atoll.scanning.scannable import layers_of, manifest_obstacle
from atoll.scanning.scans import ScanClaim, Scans
from atoll.scanning.security_document import counts_of
from atoll.scanning.stored_reports import StoredReports

log = logging.getLogger(__name__)

# Errors that are not about the image: it is scanned again as soon as the scanner responds.
_NOT_ABOUT_THE_IMAGE = (ScannerUnavailable, ScannerBusy, ScannerRefused)
# Seconds until an image is scanned again of which no available store has a layer.
_LAYER_SECONDS = 60.0

# Called with the claim and the report of an image that was scanned.
Reported = Callable[[ScanClaim, bytes], None]


class Scan:
    """Scans images that were claimed."""

    def __init__(
        self,
        scans: Scans,
        clairs: Clairs,
        addresses: LayerAddresses,
        reports: StoredReports,
        *,
        maximum_layer_bytes: int | None,
        reported: Reported,
    ) -> None:
        """Provide the scan.

        Args:
            scans: Where outcomes are stored.
            clairs: The scanners.
            addresses: Where the scanners fetch layers.
            reports: Where reports are stored.
            maximum_layer_bytes: SECURITY_SCANNER_V4_INDEX_MAX_LAYER_SIZE; None for no maximum.
            reported: Called after an image was scanned, unless its report is not ready yet.
        """
        self._scans = scans
        self._clairs = clairs
        self._addresses = addresses
        self._reports = reports
        self._maximum = maximum_layer_bytes
        self._reported = reported

    def run(self, claim: ScanClaim, indexer_state: str) -> None:
        """Scan an image and store the outcome.

        Args:
            claim: The image.
            indexer_state: The state of the indexer before the scan.

        Raises:
            LeaseLost: Another worker scans the image, or it was deleted.
            DatabaseUnavailable: Nothing can be stored. The image is claimed again after its lease.
            ScannerError: The scanner is unavailable, busy, or refuses the key. The image was
                released unchanged.
        """
        document = json.loads(claim.content)
        obstacle = manifest_obstacle(claim.media_type, document, self._maximum)
        if obstacle is not None:
            self._end(claim, obstacle)
            return
        layers = [layer.digest for layer in layers_of(document)]
        try:
            report = self._clairs.first(lambda client: self._index(client, claim, layers))
        except _NOT_ABOUT_THE_IMAGE:
            self._scans.postpone([claim])
            raise
        except LayerUnavailable as error:
            self._scans.defer(claim, str(error), _LAYER_SECONDS)
        except ScannerError as error:
            self._failed(claim, error, indexer_state)
        else:
            self._store(claim, report.indexer_state or indexer_state)

    def _index(self, client: ClairClient, claim: ScanClaim, layers: list[str]) -> IndexReport:
        addresses = self._addresses.of(claim.repository, layers, client.location)
        return client.index(str(claim.digest), addresses)

    def _end(self, claim: ScanClaim, obstacle: ScanState) -> None:
        if obstacle is ScanState.LAYER_TOO_LARGE:
            reason = "a layer exceeds SECURITY_SCANNER_V4_INDEX_MAX_LAYER_SIZE"
            self._scans.too_large(claim, reason)
        else:
            self._scans.unsupported(claim, "the manifest is no image that can be scanned")
        SCANS_TOTAL.labels(obstacle.word).inc()

    def _failed(self, claim: ScanClaim, error: ScannerError, indexer_state: str) -> None:
        log.warning(
            "scan failed",
            extra={"digest": str(claim.digest), "reason": error.reason, "cause": str(error)},
        )
        SCANS_TOTAL.labels(error.reason).inc()
        self._scans.retry(claim, f"{error.reason}: {error}", indexer_state)

    def _store(self, claim: ScanClaim, indexer_state: str) -> None:
        """Store the report of an indexed image, which may not be ready yet."""
        digest = str(claim.digest)
        try:
            content = self._clairs.first(lambda client: client.vulnerability_report(digest))
        except (*_NOT_ABOUT_THE_IMAGE, ReportNotReady, ReportUnknown):
            # The image is indexed. Its report is read when it is requested.
            self._scans.scanned(claim, indexer_state, None)
        else:
            counts = counts_of(json.loads(content)).as_json()
            self._reports.keep(digest, content, indexer_state)
            self._scans.scanned(claim, indexer_state, counts)
            self._reported(claim, content)
        SCANS_TOTAL.labels("scanned").inc()
