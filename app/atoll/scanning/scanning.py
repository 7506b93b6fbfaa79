"""The parts of security scanning, wired from the bundle."""

from __future__ import annotations

from dataclasses import dataclass

from atoll.auth.tokens import Tokens
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.scanning.clair.http import ClairHttp
from atoll.scanning.clairs import Clairs
from atoll.scanning.indexer_state import IndexerState
from atoll.scanning.layer_addresses import LayerAddresses
from atoll.scanning.reports import SecurityReports
from atoll.scanning.scan import Reported, Scan
from atoll.scanning.scan_worker import ScanWorker
from atoll.scanning.scans import Scans
from atoll.scanning.stored_reports import StoredReports
from atoll.storage.locations import Locations


@dataclass(frozen=True)
class Scanning:
    """The scanners and the queue of a registry.

    Attributes:
        bundle: The configuration.
        clairs: The scanners, nearest first.
        scans: The queue.
        stored: The last reports.
        reports: The status and report of each image.
        addresses: The addresses of layers.
    """

    bundle: Bundle
    clairs: Clairs
    scans: Scans
    stored: StoredReports
    reports: SecurityReports
    addresses: LayerAddresses

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        database: Database,
        redis: SharedRedis,
        locations: Locations,
        ca_bundle: str | None,
    ) -> Scanning:
        """Wire the parts, without a request.

        Args:
            bundle: The configuration, with the secret that signs tokens.
            database: The shared database.
            redis: The shared cache.
            locations: The stores.
            ca_bundle: A file of CA certificates; None for the default ones.
        """
        clairs = Clairs.from_bundle(bundle, ClairHttp(ca_bundle))
        scans = Scans(
            database,
            reindex_seconds=bundle.security_scanner_v4_reindex_threshold,
            retries=bundle.security_scanner_max_scan_retries,
        )
        stored = StoredReports(database)
        addresses = LayerAddresses(
            database,
            locations,
            Tokens.from_bundle(bundle),
            registry_url=f"{bundle.preferred_url_scheme}://{bundle.server_hostname}",
            proxied=bundle.feature_proxy_storage,
        )
        reports = SecurityReports(database, redis, clairs, scans, stored)
        return cls(bundle, clairs, scans, stored, reports, addresses)

    def worker(self, *, at_once: int, reported: Reported) -> ScanWorker:
        """Return a worker, not started.

        Args:
            at_once: Images that are scanned at the same time.
            reported: Called after an image was scanned, with its report.
        """
        seconds = float(self.bundle.security_scanner_indexing_interval)
        scan = Scan(
            self.scans,
            self.clairs,
            self.addresses,
            self.stored,
            maximum_layer_bytes=self.bundle.security_scanner_v4_index_max_layer_size,
            reported=reported,
        )
        state = IndexerState(self.clairs, seconds=seconds)
        return ScanWorker(self.scans, scan, self.clairs, state, at_once=at_once, seconds=seconds)
