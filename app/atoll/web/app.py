"""The WSGI application: every resource gets its collaborators here, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import falcon

from atoll.auth.access import Access
from atoll.auth.tokens import Tokens, signing_key
from atoll.config import Bundle
from atoll.registry.blobs import Blobs
from atoll.registry.manifests import Manifests
from atoll.registry.tags import Tags
from atoll.registry.uploads import Uploads
from atoll.storage.locations import Locations
from atoll.web import errors
from atoll.web.authority import Authority
from atoll.web.guard import Guard
from atoll.web.health import EndToEndHealth, InstanceHealth, Vitals
from atoll.web.observe import Metrics, Observer
from atoll.web.v2 import routes
from atoll.web.v2.auth import Auth
from atoll.web.v2.base import Base
from atoll.web.v2.blobs import BlobResource
from atoll.web.v2.manifests import ManifestResource
from atoll.web.v2.tags import TagList
from atoll.web.v2.uploads import UploadAnswers, UploadCollection, UploadResource


@dataclass(frozen=True)
class Dependencies:
    """What the registry's resources work with."""

    bundle: Bundle
    access: Access
    tokens: Tokens
    blobs: Blobs
    uploads: Uploads
    manifests: Manifests
    tags: Tags
    locations: Locations
    vitals: Vitals


def create_app(deps: Dependencies) -> falcon.App[Any, Any]:
    """Return the registry."""
    app = _bare_app()
    authority = Authority(deps.bundle)
    guard = Guard(deps.tokens, authority)
    answers = UploadAnswers(authority, signing_key(deps.bundle, "upload state"))
    maximum = deps.bundle.maximum_layer_size

    for path in ("/v2", "/v2/"):
        app.add_route(path, Base(guard))
    app.add_route("/v2/auth", Auth(deps.access, deps.tokens))
    routes.add_routes(
        app,
        {
            routes.TAGS: TagList(deps.tags, guard),
            routes.UPLOADS: UploadCollection(deps.uploads, deps.blobs, guard, answers, maximum),
            routes.UPLOAD: UploadResource(deps.uploads, guard, answers, maximum),
            routes.BLOB: BlobResource(deps.blobs, guard),
            routes.MANIFEST: ManifestResource(deps.manifests, deps.tags, guard, authority),
        },
    )
    for path in ("/health", "/health/instance"):
        app.add_route(path, InstanceHealth(deps.vitals))
    for path in ("/status", "/health/endtoend"):
        app.add_route(path, EndToEndHealth(deps.vitals, deps.locations))
    # nginx shows this on the port of the metrics only.
    app.add_route("/metrics", Metrics())
    return app


def create_operations_app(instance_health: object) -> falcon.App[Any, Any]:
    """Return what a process serves to those who watch it: its health and its metrics."""
    app = _bare_app()
    app.add_route("/health/instance", instance_health)
    app.add_route("/metrics", Metrics())
    return app


def _bare_app() -> falcon.App[Any, Any]:
    app: falcon.App[Any, Any] = falcon.App(middleware=[Observer()])
    app.req_options.auto_parse_qs_csv = False
    app.add_error_handler(Exception, errors.handle)
    app.add_error_handler(falcon.HTTPError, errors.handle_http_error)
    return app
