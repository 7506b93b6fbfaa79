"""Create the WSGI applications, and wire their resources.

Modules of optional features are imported if the bundle enables these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import falcon

from atoll.audit.export_requests import LogExports
from atoll.audit.pulls import PullLog
from atoll.auth.access import Access
from atoll.auth.secrets import Cipher
from atoll.auth.throttle import Throttle
from atoll.auth.tokens import Tokens, signing_key
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.db.shared_redis import SharedRedis
from atoll.notifications.mailer import Mailer
from atoll.notifications.receivers import Receivers
from atoll.placement.locations.life_cycle import LocationLifeCycle
from atoll.registry.blob_mounts import BlobMounts
from atoll.registry.blobs import Blobs
from atoll.registry.catalog import Catalog
from atoll.registry.manifests import Manifests
from atoll.registry.referrers import Referrers
from atoll.registry.repositories import Repositories
from atoll.registry.tags import Tags
from atoll.registry.uploads import Uploads
from atoll.storage.health import StoreHealth
from atoll.web import errors
from atoll.web.access_log import AccessLog
from atoll.web.admission import BodyAdmission
from atoll.web.api import errors as api_errors
from atoll.web.api.middleware import is_api
from atoll.web.api.resources import create_api
from atoll.web.bearer_auth import BearerAuth, TokenAuth
from atoll.web.external_url import ExternalUrls
from atoll.web.middleware import RequestMiddleware
from atoll.web.operations_app import bare_app
from atoll.web.panel.middleware import is_panel
from atoll.web.panel.resources import Panel, create_panel
from atoll.web.v2 import routes
from atoll.web.v2.auth import TokenResource
from atoll.web.v2.base import Base
from atoll.web.v2.blobs import BlobResource
from atoll.web.v2.catalog import CatalogList
from atoll.web.v2.manifests import ManifestResource
from atoll.web.v2.referrers import ReferrerList
from atoll.web.v2.tags import TagList
from atoll.web.v2.uploads import UploadCollection, UploadResource, UploadResponses

if TYPE_CHECKING:
    from atoll.scanning.reports import SecurityReports
    from atoll.web.api.mirror import Mirroring
    from atoll.web.api.organization_mirror import OrganizationMirroring


@dataclass(frozen=True)
class Dependencies:
    """The collaborators of the registry's resources."""

    bundle: Bundle
    database: Database
    redis: SharedRedis
    cipher: Cipher
    access: Access
    # What this process knows of stores while the database is unavailable.
    health: StoreHealth
    throttle: Throttle
    repositories: Repositories
    tokens: Tokens
    blobs: Blobs
    blob_mounts: BlobMounts
    # A function, because most processes never change a location, which needs a pool of its own.
    life_cycle: Callable[[], LocationLifeCycle]
    uploads: Uploads
    manifests: Manifests
    tags: Tags
    referrers: Referrers
    catalog: Catalog
    receivers: Receivers
    mailer: Mailer
    log_exports: LogExports
    # None without FEATURE_REPO_MIRROR.
    mirroring: Mirroring | None
    # None without FEATURE_ORG_MIRROR.
    organization_mirroring: OrganizationMirroring | None
    # None without FEATURE_SECURITY_SCANNER.
    security: SecurityReports | None
    pulls: PullLog
    access_log: AccessLog
    environment: Mapping[str, str]


def create_app(deps: Dependencies) -> falcon.App[Any, Any]:
    """Return the registry's application."""
    app = bare_app(
        RequestMiddleware(
            deps.access_log,
            server_timing=deps.bundle.feature_server_timing,
            trusted=deps.bundle.trusted_proxies,
        )
    )
    external_urls = ExternalUrls(deps.bundle)
    api = create_api(
        bundle=deps.bundle,
        database=deps.database,
        redis=deps.redis,
        cipher=deps.cipher,
        access=deps.access,
        throttle=deps.throttle,
        repositories=deps.repositories,
        manifests=deps.manifests,
        blobs=deps.blobs,
        life_cycle=deps.life_cycle,
        tags=deps.tags,
        receivers=deps.receivers,
        mailer=deps.mailer,
        log_exports=deps.log_exports,
        mirroring=deps.mirroring,
        organization_mirroring=deps.organization_mirroring,
        security=deps.security,
        external_urls=external_urls,
        environment=deps.environment,
    )
    app.add_middleware(api.middleware)
    if deps.bundle.feature_security_scanner:
        _add_scanner_notifications(app, deps)
    for template, resource in api.routes:
        app.add_route(template, resource, optional_slash=True)
    panel = None
    if deps.bundle.feature_ui_panel:
        panel = create_panel(
            bundle=deps.bundle,
            database=deps.database,
            access=deps.access,
            health=deps.health,
            external_urls=external_urls,
            api=api,
        )
        app.add_middleware(panel.middleware)
        for template, resource in panel.routes:
            app.add_route(template, resource, optional_slash=template != "/")
    handle_error = _error_handler(external_urls, panel)
    app.add_error_handler(Exception, handle_error)
    app.add_error_handler(falcon.HTTPError, handle_error)
    auth = BearerAuth(deps.tokens, deps.access, external_urls, deps.bundle)
    responses = UploadResponses(external_urls, signing_key(deps.bundle, "upload state"))
    maximum = deps.bundle.maximum_layer_size

    full_catalog = deps.bundle.superusers | deps.bundle.auditors
    resources: dict[str, object] = {
        routes.ROOT: Base(auth, sparse_indexes=deps.bundle.feature_sparse_index),
        routes.CATALOG: CatalogList(deps.catalog, auth, full_catalog),
        routes.AUTH: TokenResource(deps.access, deps.tokens),
        routes.TAGS: TagList(deps.tags, auth),
        routes.REFERRERS: ReferrerList(deps.referrers, auth),
        routes.UPLOADS: UploadCollection(
            deps.uploads,
            deps.blob_mounts,
            deps.repositories,
            auth,
            responses,
            maximum_size=maximum,
        ),
        routes.UPLOAD: UploadResource(deps.uploads, auth, responses, maximum),
        routes.BLOB: BlobResource(
            deps.blobs, auth, external_urls, proxied=deps.bundle.feature_proxy_storage
        ),
        routes.MANIFEST: ManifestResource(
            deps.manifests, deps.tags, auth, external_urls, deps.pulls
        ),
    }
    for template, resource in resources.items():
        app.add_route(template, resource, optional_slash=template in routes.OPTIONAL_SLASH)
    return app


def _add_scanner_notifications(app: falcon.App[Any, Any], deps: Dependencies) -> None:
    """Add the resources that Clair calls."""
    from atoll.scanning.backfill import ScanBackfill
    from atoll.scanning.received_notifications import ReceivedNotifications
    from atoll.web import scanner_notifications
    from atoll.web.scanner_notifications import BackfillProgress, ScannerNotifications

    received = ReceivedNotifications(deps.database)
    app.add_route(scanner_notifications.PATH, ScannerNotifications(received, deps.bundle))
    progress = BackfillProgress(ScanBackfill(deps.database))
    app.add_route(scanner_notifications.BACKFILL_PATH, progress)


def create_admission(deps: Dependencies) -> BodyAdmission:
    """Return the registry's policy for request bodies."""
    auth = TokenAuth(deps.tokens, ExternalUrls(deps.bundle), deps.bundle)
    return BodyAdmission(auth, deps.bundle.maximum_layer_size)


def _error_handler(external_urls: ExternalUrls, panel: Panel | None) -> Callable[..., None]:
    """Return a handler that writes an error in the format of the request's protocol."""

    def handle(req: falcon.Request, resp: falcon.Response, error: Exception, params: Any) -> None:
        if is_api(req.path):
            api_errors.write(req, resp, error, external_urls)
        elif panel is not None and is_panel(req.path):
            panel.errors.write(req, resp, error)
        elif isinstance(error, falcon.HTTPError):
            errors.handle_http_error(req, resp, error, params)
        else:
            errors.handle(req, resp, error, params)

    return handle
