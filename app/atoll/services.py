"""The object graph: which object works with which, put together from the bundle."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cached_property

from atoll.audit.export_requests import ExportLinks, LogExports
from atoll.audit.export_worker import LogExporter
from atoll.audit.log import Audit
from atoll.audit.pulls import PullLog
from atoll.audit.rotation import LogRotation
from atoll.auth.access import Access
from atoll.auth.secrets import Cipher
from atoll.auth.signing import with_shared_secret
from atoll.auth.throttle import Throttle
from atoll.auth.tokens import Tokens
from atoll.config import Bundle
from atoll.db.pool import Database, DatabaseUnavailable
from atoll.db.replicas import Reads, replica_databases
from atoll.db.sessions import require_sessions
from atoll.db.shared_redis import SharedRedis
from atoll.notifications.deliverer import Deliverer
from atoll.notifications.messages import Messages
from atoll.notifications.receivers import Receivers
from atoll.outbound.client import OutboundClient
from atoll.periodic import ThreadRegistry
from atoll.placement.locks import Content
from atoll.registry.blobs import Blobs, cache_key
from atoll.registry.catalog import Catalog
from atoll.registry.manifests import Manifests
from atoll.registry.referrers import Referrers
from atoll.registry.repositories import Repositories
from atoll.registry.tags import Tags
from atoll.registry.uploads import Uploads
from atoll.replication.listener import WakeUps
from atoll.server.bundle import ca_bundle_file
from atoll.server.paths import spool_directory
from atoll.storage.doubt_sharing import DoubtSharing
from atoll.storage.locations import Locations
from atoll.web.app import Dependencies
from atoll.web.health import Vitals

log = logging.getLogger(__name__)

_PROBE_TIMEOUT = 2.0
# Seconds that a statement over all blobs may take.
_PATIENCE = 600


@dataclass
class Graph:
    """Objects that are made when they are first asked for. CONNECTIONS is the pool's size."""

    bundle: Bundle
    connections: int = 2

    @cached_property
    def thread_registry(self) -> ThreadRegistry:
        """The background threads of this process."""
        return ThreadRegistry()

    @cached_property
    def database(self) -> Database:
        """The shared PostgreSQL."""
        database = Database.from_bundle(self.bundle, size=self.connections)
        database.on_info = WakeUps(database).note
        return database

    @cached_property
    def reads(self) -> Reads:
        """Reads that a replica near to this site may answer."""
        return Reads.from_bundle(self.database, self.bundle, size=self.connections)

    def require_sessions(self) -> None:
        """Raise SessionsUnsupported; an unavailable database is no reason not to start."""
        try:
            require_sessions(self.database)
        except DatabaseUnavailable as error:
            log.warning("database unavailable, connection not checked", extra={"cause": str(error)})

    @cached_property
    def patient_database(self) -> Database:
        """The same, for statements that look at every blob."""
        database = Database.from_bundle(
            self.bundle, size=1, answer_timeout=_PATIENCE, statement_timeout=_PATIENCE * 1000
        )
        database.on_info = self.database.on_info
        return database

    @cached_property
    def secured_bundle(self) -> Bundle:
        """The bundle with a secret to sign with, if need be the one in the shared database."""
        return with_shared_secret(self.bundle, self.database)

    @cached_property
    def redis(self) -> SharedRedis:
        """The shared Redis."""
        return SharedRedis.from_settings(self.bundle.user_events_redis, self.database)

    @cached_property
    def ca_bundle(self) -> str | None:
        """The file of certificates that TLS is checked against; None: the system's."""
        written = ca_bundle_file()
        return str(written) if written.exists() else None

    @cached_property
    def locations(self) -> Locations:
        """The stores."""
        return Locations.from_bundle(self.bundle, self.ca_bundle)

    @cached_property
    def doubt_sharing(self) -> DoubtSharing:
        """Shares doubts about stores with other processes."""
        return DoubtSharing(self.redis, self.locations.health, list(self.locations.stores))

    @cached_property
    def receivers(self) -> Receivers:
        """Receivers of webhooks and of messages about log exports."""
        return Receivers(OutboundClient.from_bundle(self.bundle, self.ca_bundle))

    @cached_property
    def pulls(self) -> PullLog:
        """Pulls that the audit log does not have yet."""
        return PullLog(Audit(self.database), counting=self.bundle.feature_image_pull_stats)

    @cached_property
    def deliverer(self) -> Deliverer:
        """What sends notifications."""
        messages = Messages.from_bundle(self.bundle)
        return Deliverer(self.database, self.cipher, messages, self.receivers)

    @cached_property
    def export_links(self) -> ExportLinks:
        """Where parts of the log are, that were written to files."""
        return ExportLinks.from_bundle(self.secured_bundle, self.locations)

    @cached_property
    def log_exports(self) -> LogExports:
        """Parts of the log that somebody wants as a file."""
        return LogExports(self.database, self.cipher, self.export_links)

    @cached_property
    def log_exporter(self) -> LogExporter:
        """What writes them."""
        return LogExporter(self.database, self.cipher, self.receivers, self.export_links)

    @cached_property
    def log_rotation(self) -> LogRotation:
        """What moves old entries of the log to files."""
        return LogRotation.from_bundle(self.bundle, self.database, self.locations)

    @cached_property
    def access(self) -> Access:
        """Who may do what."""
        return Access(self.reads, self.bundle, self.cipher, self.throttle)

    @cached_property
    def throttle(self) -> Throttle:
        """The limits on guesses and registrations."""
        return Throttle(self.redis)

    @cached_property
    def cipher(self) -> Cipher:
        """What encrypts secrets at rest."""
        return Cipher.from_bundle(self.secured_bundle)

    @cached_property
    def repositories(self) -> Repositories:
        """Repositories."""
        return Repositories(self.database, self.access, self.bundle)

    @cached_property
    def blobs(self) -> Blobs:
        """Blobs."""
        return Blobs(self.database, self.reads, self.redis, self.locations, self.bundle)

    @cached_property
    def content(self) -> Content:
        """Objects at content addresses."""
        return Content(
            self.database,
            self.locations,
            forget_cached=lambda digest: self.redis.delete(cache_key(digest)),
        )

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
    def vitals(self) -> Vitals:
        """What the health endpoints know."""
        # A connection of its own, with less patience: the answer is to be fresh.
        database = Database.from_bundle(self.bundle, size=1, answer_timeout=_PROBE_TIMEOUT)
        replicas = replica_databases(self.bundle, size=1, answer_timeout=_PROBE_TIMEOUT)
        return Vitals(database, self.redis, spool_directory(), replicas)

    def dependencies(self) -> Dependencies:
        """Return what the web application takes."""
        return Dependencies(
            bundle=self.secured_bundle,
            database=self.database,
            redis=self.redis,
            cipher=self.cipher,
            access=self.access,
            throttle=self.throttle,
            repositories=self.repositories,
            tokens=Tokens.from_bundle(self.secured_bundle),
            blobs=self.blobs,
            uploads=self.uploads,
            manifests=Manifests(
                self.database,
                self.reads,
                self.redis,
                self.repositories,
                self.bundle.required_locations,
            ),
            tags=Tags(self.database),
            referrers=Referrers(self.database),
            catalog=Catalog(self.database),
            receivers=self.receivers,
            log_exports=self.log_exports,
            pulls=self.pulls,
            environment=os.environ,
        )
