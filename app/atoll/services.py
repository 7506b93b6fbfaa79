"""The object graph: the only module that wires objects together, from the bundle.

Modules that some processes or bundles do not use are imported when their objects are wired: those
of the web application take 9 MiB, and the others a tenth of the time of a start.
"""

from __future__ import annotations

import logging
import os
import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from atoll.audit.export_requests import ExportLinks, LogExports
from atoll.audit.log import Audit
from atoll.audit.pulls import PullLog
from atoll.auth.access import Access
from atoll.auth.robot_rule import RobotRule
from atoll.auth.robots import Robots
from atoll.auth.secrets import Cipher
from atoll.auth.signing import with_shared_secret
from atoll.auth.throttle import Throttle
from atoll.auth.tokens import Tokens
from atoll.cluster.instances import Instances
from atoll.config import Bundle
from atoll.db.migrate import missing_expansions
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.replicas import Reads, replica_databases
from atoll.db.sessions import require_sessions
from atoll.db.shared_redis import SharedRedis
from atoll.db.wake_ups import WakeUps
from atoll.notifications.mailer import Mailer
from atoll.notifications.receivers import Receivers
from atoll.outbound.client import OutboundClient
from atoll.periodic import ThreadRegistry
from atoll.placement.content_deletions import ContentDeletions
from atoll.placement.locations.life_cycle import LocationLifeCycle
from atoll.placement.locations.states import LocationTable
from atoll.placement.placement_cache import PlacementCache
from atoll.registry.blob_mounts import BlobMounts
from atoll.registry.blobs import Blobs
from atoll.registry.catalog import Catalog
from atoll.registry.manifests import Manifests
from atoll.registry.referrers import Referrers
from atoll.registry.repositories import Repositories
from atoll.registry.tag_cache import TagCache
from atoll.registry.tag_listener import TagListener
from atoll.registry.tags import Tags
from atoll.registry.uploads import Uploads
from atoll.storage.doubt_sharing import DoubtSharing
from atoll.storage.locations import Locations
from atoll.web.access_log import AccessLog
from atoll.web.health import HealthProbe

if TYPE_CHECKING:
    from atoll.audit.export_worker import LogExporter
    from atoll.audit.rotation import LogRotation
    from atoll.media.exporter import Exporter
    from atoll.media.importer import Importer
    from atoll.mirroring.conversion.sync_import import SyncImport
    from atoll.mirroring.copying.blob_copier import BlobCopier
    from atoll.mirroring.copying.image_copier import ImageCopier
    from atoll.mirroring.dry_runs import DryRuns
    from atoll.mirroring.health import MirrorHealthReporter
    from atoll.mirroring.mirrors import Mirrors
    from atoll.mirroring.organizations.discovery_worker import DiscoveryWorker
    from atoll.mirroring.organizations.organization_dry_runs import OrganizationDryRuns
    from atoll.mirroring.organizations.organization_mirrors import OrganizationMirrors
    from atoll.mirroring.organizations.organization_verification import OrganizationVerification
    from atoll.mirroring.verification import Verification
    from atoll.mirroring.workers import MirrorWorkers
    from atoll.notifications.deliverer import Deliverer
    from atoll.notifications.vulnerabilities import VulnerabilityNotices
    from atoll.placement.locations.purge import StorePurge
    from atoll.scanning.scanning import Scanning
    from atoll.upstream.shared_budget import SharedBudgets
    from atoll.upstream.upstreams import Upstreams
    from atoll.web.api.mirror import Mirroring
    from atoll.web.api.organization_mirror import OrganizationMirroring
    from atoll.web.app import Dependencies

log = logging.getLogger(__name__)

# Seconds.
_PROBE_TIMEOUT = 2.0
# The statement timeout, in seconds, of statements that read every blob.
_BATCH_TIMEOUT = 600


@dataclass
class Services:
    """The objects of one process, each created on first access.

    Attributes:
        bundle: the configuration.
        spool: the directory for request bodies while they are received.
        connections: the size of the database's connection pool.
        ca_bundle_file: the CA certificates that TLS connections to other servers are verified
            with; the system's if None or if the file does not exist.
    """

    bundle: Bundle
    spool: Path
    connections: int = 2
    ca_bundle_file: Path | None = None

    @cached_property
    def thread_registry(self) -> ThreadRegistry:
        """The background threads of this process."""
        return ThreadRegistry()

    @cached_property
    def database(self) -> Database:
        """The connection pool of the shared PostgreSQL."""
        database = Database.from_bundle(
            self.bundle, size=self.connections, missing_migrations=missing_expansions
        )
        database.on_info = WakeUps(database).note
        return database

    @cached_property
    def reads(self) -> Reads:
        """Queries that a nearby read replica may answer."""
        return Reads.from_bundle(self.database, self.bundle, size=self.connections)

    def require_sessions(self) -> None:
        """Check that connections are sessions of their own.

        An unavailable database does not prevent a start: it is only logged.

        Raises:
            SessionsUnsupported: a pooler shares connections between sessions.
        """
        try:
            require_sessions(self.database)
        except DatabaseUnavailable as error:
            log.warning("database unavailable, connection not checked", extra={"cause": str(error)})

    @cached_property
    def batch_database(self) -> Database:
        """A pool with a long timeout, for statements that read every blob."""
        database = Database.from_bundle(
            self.bundle,
            size=1,
            answer_timeout=_BATCH_TIMEOUT,
            statement_timeout=_BATCH_TIMEOUT * 1000,
            missing_migrations=missing_expansions,
        )
        database.on_info = self.database.on_info
        return database

    @cached_property
    def secured_bundle(self) -> Bundle:
        """The bundle with a signing secret; the one in the shared database if it has none."""
        return with_shared_secret(self.bundle, self.database)

    @cached_property
    def redis(self) -> SharedRedis:
        """The shared Redis."""
        return SharedRedis.from_settings(self.bundle.user_events_redis, self.database)

    @cached_property
    def ca_bundle(self) -> str | None:
        """The file of CA certificates that TLS is verified with, None for the system's."""
        file = self.ca_bundle_file
        return str(file) if file is not None and file.exists() else None

    @cached_property
    def locations(self) -> Locations:
        """The object stores, their health and their order of preference."""
        return Locations.from_bundle(self.bundle, self.ca_bundle)

    @cached_property
    def doubt_sharing(self) -> DoubtSharing:
        """The exchange of doubts about stores with other processes."""
        return DoubtSharing(self.redis, self.locations.health, list(self.locations.stores))

    @cached_property
    def receivers(self) -> Receivers:
        """Receivers of webhooks and log export callbacks."""
        return Receivers(OutboundClient.from_bundle(self.bundle, self.ca_bundle))

    @cached_property
    def mailer(self) -> Mailer:
        """The mailer of notifications."""
        return Mailer.from_bundle(self.bundle, self.ca_bundle)

    @cached_property
    def pulls(self) -> PullLog:
        """Pulls that are not in the audit log yet."""
        return PullLog(Audit(self.database), counting=self.bundle.feature_image_pull_stats)

    @cached_property
    def access_log(self) -> AccessLog:
        """The log of requests."""
        return AccessLog()

    @cached_property
    def deliverer(self) -> Deliverer:
        """The deliverer of notifications."""
        from atoll.notifications.deliverer import Deliverer
        from atoll.notifications.payloads import Payloads

        payloads = Payloads.from_bundle(self.bundle)
        return Deliverer(self.database, self.cipher, payloads, self.receivers, self.mailer)

    @cached_property
    def export_links(self) -> ExportLinks:
        """Download links of exported parts of the audit log."""
        return ExportLinks.from_bundle(self.secured_bundle, self.locations)

    @cached_property
    def log_exports(self) -> LogExports:
        """Requests for exports of the audit log."""
        return LogExports(self.database, self.cipher, self.export_links)

    @cached_property
    def log_exporter(self) -> LogExporter:
        """The worker that writes exports of the audit log."""
        from atoll.audit.export_worker import LogExporter

        return LogExporter(self.database, self.cipher, self.receivers, self.export_links)

    @cached_property
    def log_rotation(self) -> LogRotation:
        """The rotation of old audit log entries into files."""
        from atoll.audit.rotation import LogRotation

        return LogRotation.from_bundle(self.bundle, self.database, self.locations)

    @cached_property
    def access(self) -> Access:
        """Authentication and permissions."""
        return Access(self.reads, self.bundle, self.cipher, self.throttle)

    @cached_property
    def throttle(self) -> Throttle:
        """The limits on login attempts and registrations."""
        return Throttle(self.redis)

    @cached_property
    def cipher(self) -> Cipher:
        """The encryption of secrets at rest."""
        return Cipher.from_bundle(self.secured_bundle)

    @cached_property
    def upstream_budgets(self) -> SharedBudgets:
        """The shares of this process in the budgets of upstreams, as UPSTREAM_LIMITS says."""
        from atoll.upstream.limits import configured_limits
        from atoll.upstream.shared_budget import SharedBudgets

        return SharedBudgets(self.database, configured_limits(self.bundle))

    @cached_property
    def mirrors(self) -> Mirrors:
        """The mirrors of repositories of other registries."""
        from atoll.mirroring.mirrors import Mirrors
        from atoll.upstream.upstreams import Upstreams

        upstreams = Upstreams.from_bundle(self.bundle, self.ca_bundle)
        return Mirrors(self.database, self.cipher, upstreams.check)

    @cached_property
    def organization_mirrors(self) -> OrganizationMirrors:
        """The mirrors of namespaces of other registries."""
        from atoll.mirroring.organizations.organization_mirrors import OrganizationMirrors
        from atoll.upstream.upstreams import Upstreams

        upstreams = Upstreams.from_bundle(self.bundle, self.ca_bundle)
        return OrganizationMirrors(self.database, self.cipher, upstreams.check)

    @cached_property
    def repositories(self) -> Repositories:
        """Repositories."""
        return Repositories(self.database, self.access, self.bundle)

    @cached_property
    def blobs(self) -> Blobs:
        """Blobs."""
        return Blobs(self.database, self.reads, self.redis, self.locations, self.bundle)

    @cached_property
    def blob_mounts(self) -> BlobMounts:
        """Mounts of blobs that other repositories have."""
        return BlobMounts(self.database, self.locations, self.bundle)

    @cached_property
    def instances(self) -> Instances:
        """The instances of all sites."""
        return Instances(self.database)

    @cached_property
    def placement_cache(self) -> PlacementCache:
        """Cached placements of blobs."""
        return PlacementCache(self.redis)

    @cached_property
    def location_life_cycle(self) -> LocationLifeCycle:
        """Drains, removals and losses of locations."""
        return LocationLifeCycle.from_bundle(
            self.bundle, self.batch_database, self.instances, self.placement_cache
        )

    @cached_property
    def store_purge(self) -> StorePurge:
        """Deletion of all objects of removed locations."""
        from atoll.placement.locations.purge import StorePurge

        return StorePurge(
            LocationTable(self.database),
            self.instances,
            stores=self.bundle.stores,
            ca_bundle=self.ca_bundle,
        )

    @cached_property
    def content(self) -> ContentDeletions:
        """The protocol for objects at content addresses."""
        return ContentDeletions(self.database, self.locations, cache=self.placement_cache)

    @cached_property
    def uploads(self) -> Uploads:
        """Uploads."""
        return Uploads(
            self.database,
            self.locations,
            self.blobs,
            self.content,
            self.repositories,
            bundle=self.bundle,
        )

    @cached_property
    def manifests(self) -> Manifests:
        """Manifests."""
        return Manifests(
            self.database,
            self.reads,
            self.redis,
            self.repositories,
            self.bundle.required_locations,
            sparse_indexes=self.bundle.feature_sparse_index,
            scans=self.bundle.feature_security_scanner,
            tag_cache=self.tag_cache,
        )

    @cached_property
    def tag_cache(self) -> TagCache:
        """Tags in memory; none are kept without the listener."""
        return TagCache()

    @cached_property
    def tag_listener(self) -> TagListener | None:
        """The listener that keeps tags in memory valid; None without FEATURE_TAG_CACHE."""
        if not self.bundle.feature_tag_cache:
            return None
        return TagListener(self.database, self.tag_cache)

    @cached_property
    def blob_copier(self) -> BlobCopier:
        """The copier of blobs of upstreams and media."""
        from atoll.mirroring.copying.blob_copier import BlobCopier

        return BlobCopier(
            self.database,
            self.locations,
            blobs=self.blobs,
            mounts=self.blob_mounts,
            uploads=self.uploads,
            content=self.content,
        )

    @cached_property
    def image_copier(self) -> ImageCopier:
        """The copier of images to mirrors."""
        from atoll.mirroring.copying.image_copier import ImageCopier
        from atoll.mirroring.copying.presence import Presence

        return ImageCopier(
            Presence(self.database),
            self.blob_mounts,
            self.manifests,
            self.blob_copier,
            sparse_indexes=self.bundle.feature_sparse_index,
        )

    @cached_property
    def exporter(self) -> Exporter:
        """The export of images to media."""
        from atoll.media.exporter import Exporter
        from atoll.media.image_content import ImageContents

        contents = ImageContents(self.manifests, self.blobs, Referrers(self.database))
        return Exporter(self.database, contents, self.blobs, self.bundle.server_hostname)

    @cached_property
    def importer(self) -> Importer:
        """The import of media."""
        from atoll.media.importer import Importer

        return Importer(
            self.database,
            self.repositories,
            self.blob_mounts,
            self.manifests,
            self.blob_copier,
            sparse_indexes=self.bundle.feature_sparse_index,
        )

    @cached_property
    def health_probe(self) -> HealthProbe:
        """The state that the health endpoints report."""
        # A connection of its own with a short timeout, so that the answer is fresh.
        database = Database.from_bundle(
            self.bundle,
            size=1,
            answer_timeout=_PROBE_TIMEOUT,
            missing_migrations=missing_expansions,
        )
        replicas = replica_databases(
            self.bundle,
            size=1,
            answer_timeout=_PROBE_TIMEOUT,
            missing_migrations=missing_expansions,
        )
        return HealthProbe(database, self.redis, self.spool, replicas)

    @property
    def mirror_dry_runs(self) -> DryRuns:
        """The plans of runs of mirrors that are not started."""
        from atoll.mirroring.dry_runs import DryRuns

        return DryRuns.from_bundle(self.database, self.cipher, self.bundle, self.ca_bundle)

    @property
    def organization_dry_runs(self) -> OrganizationDryRuns:
        """The plans of discoveries of mirrors of organizations that are not started."""
        from atoll.mirroring.limited_upstreams import LimitedUpstreams
        from atoll.mirroring.organizations.organization_dry_runs import OrganizationDryRuns
        from atoll.mirroring.organizations.reconciliation import Reconciliation

        return OrganizationDryRuns(
            self.organization_mirrors,
            Reconciliation(self.database, self.cipher),
            LimitedUpstreams(self.bundle, self.ca_bundle, database=self.database),
        )

    def mirror_workers(
        self,
        *,
        copies: int,
        upstreams: Upstreams | None = None,
        watch_seconds: float | None = None,
    ) -> MirrorWorkers:
        """Return the workers of a mirror process, not started.

        Args:
            copies: the number of tags that are copied at once.
            upstreams: replaces the clients for upstreams.
            watch_seconds: replaces the pause between checks of the work in progress.
        """
        from atoll.mirroring.copying.presence import Presence
        from atoll.mirroring.copying.tag_switch import TagSwitch
        from atoll.mirroring.runs.planner import Planner
        from atoll.mirroring.runs.runs import Runs
        from atoll.mirroring.runs.tasks import Tasks
        from atoll.mirroring.runs.worker import MirrorWorker
        from atoll.mirroring.workers import MirrorWorkers
        from atoll.upstream.upstreams import Upstreams

        bundle, budgets = self.bundle, self.upstream_budgets
        clients = upstreams or Upstreams.from_bundle(bundle, self.ca_bundle, budgets.budget)
        switch = TagSwitch(self.database)
        worker = MirrorWorker(
            Runs(
                self.database,
                self.cipher,
                switch,
                site=bundle.preference[0],
                instance=socket.gethostname(),
                rollback=bundle.repo_mirror_rollback,
            ),
            Tasks(self.database, switch),
            Planner(Presence(self.database), RobotRule.from_bundle(bundle)),
            self.image_copier,
            connect=clients.client,
            registry=self.thread_registry,
            copies=copies,
            poll_seconds=bundle.repo_mirror_interval,
            **({} if watch_seconds is None else {"watch_seconds": watch_seconds}),
        )
        forbidding = {"REGISTRY_STATE": bundle.read_only, "DISABLE_PUSHES": bundle.disable_pushes}
        return MirrorWorkers(
            worker,
            self._discovery_worker(clients) if bundle.feature_org_mirror else None,
            database=self.database,
            upstreams=clients,
            budgets=budgets,
            registry=self.thread_registry,
            disabled_by=next((key for key, is_set in forbidding.items() if is_set), None),
        )

    def _discovery_worker(self, upstreams: Upstreams) -> DiscoveryWorker:
        from atoll.mirroring.organizations.discoveries import Discoveries
        from atoll.mirroring.organizations.discovery_worker import DiscoveryWorker
        from atoll.mirroring.organizations.reconciliation import Reconciliation

        organizations = self.organization_mirrors
        return DiscoveryWorker(
            Discoveries(self.database),
            Reconciliation(self.database, self.cipher),
            lambda claim: organizations.settings(claim.mirror),
            connect=upstreams.documents,
            registry=self.thread_registry,
            seconds=self.bundle.org_mirror_max_discovery_duration,
            poll_seconds=self.bundle.org_mirror_interval,
        )

    @property
    def mirror_verification(self) -> Verification:
        """The verification that a mirror can read its upstream."""
        from atoll.mirroring.verification import Verification

        return Verification(self.mirrors, self.bundle, self.ca_bundle)

    @property
    def organization_verification(self) -> OrganizationVerification:
        """The verification that a mirror of an organization can list its upstream."""
        from atoll.mirroring.organizations.organization_verification import OrganizationVerification

        return OrganizationVerification(self.organization_mirrors, self.bundle, self.ca_bundle)

    @property
    def sync_import(self) -> SyncImport:
        """The import of configuration files of other tools."""
        from atoll.mirroring.conversion.sync_import import SyncImport

        return SyncImport(
            self.database,
            self.repositories,
            Robots(self.database, self.cipher, RobotRule.from_bundle(self.bundle)),
            self.mirrors,
            sparse_indexes=self.bundle.feature_sparse_index,
        )

    @property
    def _mirror_health(self) -> MirrorHealthReporter:
        """The health of mirrors."""
        from atoll.mirroring.health import MirrorHealthReporter

        expected = self.bundle.repo_mirror_worker_replicas
        return MirrorHealthReporter(self.database, self.instances, expected)

    def _mirroring(self) -> Mirroring | None:
        """Return the collaborators of the resources of mirrors, if there can be any."""
        if not self.bundle.feature_repo_mirror:
            return None
        from atoll.web.api.mirror import Mirroring

        return Mirroring(
            self.mirrors, self.mirror_verification, self.mirror_dry_runs, self._mirror_health
        )

    def _organization_mirroring(self) -> OrganizationMirroring | None:
        """Return the collaborators of the resources of mirrors of organizations, if any."""
        if not self.bundle.feature_org_mirror:
            return None
        from atoll.mirroring.organizations.organization_health import OrganizationHealthReporter
        from atoll.mirroring.organizations.organization_status import OrganizationStatuses
        from atoll.web.api.organization_mirror import OrganizationMirroring

        health = OrganizationHealthReporter(
            self._mirror_health, OrganizationStatuses(self.database)
        )
        return OrganizationMirroring(
            self.organization_mirrors,
            self.organization_verification,
            self.organization_dry_runs,
            health,
        )

    @cached_property
    def scanning(self) -> Scanning | None:
        """The scanners and their queue; None without FEATURE_SECURITY_SCANNER."""
        if not self.bundle.feature_security_scanner:
            return None
        from atoll.scanning.scanning import Scanning

        return Scanning.from_bundle(
            self.secured_bundle, self.database, self.redis, self.locations, self.ca_bundle
        )

    @cached_property
    def vulnerability_notices(self) -> VulnerabilityNotices:
        """The notices of vulnerabilities; requires FEATURE_SECURITY_SCANNER."""
        from atoll.notifications.vulnerabilities import VulnerabilityNotices
        from atoll.scanning.received_notifications import ReceivedNotifications

        if self.scanning is None:
            raise ValueError("FEATURE_SECURITY_SCANNER is not true")
        return VulnerabilityNotices(
            self.database,
            self.scanning.clairs,
            self.scanning.scans,
            ReceivedNotifications(self.database),
            self.bundle,
        )

    def dependencies(self) -> Dependencies:
        """Return the dependencies of the web application."""
        from atoll.web.app import Dependencies

        return Dependencies(
            bundle=self.secured_bundle,
            database=self.database,
            redis=self.redis,
            cipher=self.cipher,
            access=self.access,
            health=self.locations.health,
            throttle=self.throttle,
            repositories=self.repositories,
            tokens=Tokens.from_bundle(self.secured_bundle),
            blobs=self.blobs,
            blob_mounts=self.blob_mounts,
            life_cycle=lambda: self.location_life_cycle,
            uploads=self.uploads,
            manifests=self.manifests,
            tags=Tags(self.database),
            referrers=Referrers(self.database),
            catalog=Catalog(self.database),
            receivers=self.receivers,
            mailer=self.mailer,
            log_exports=self.log_exports,
            mirroring=self._mirroring(),
            organization_mirroring=self._organization_mirroring(),
            security=self.scanning.reports if self.scanning else None,
            pulls=self.pulls,
            access_log=self.access_log,
            environment=os.environ,
        )
