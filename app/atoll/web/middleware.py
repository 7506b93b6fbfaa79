"""Each request in the log and in the metrics, under an id that its answer carries too."""

from __future__ import annotations

import logging
import os
import re
import time
import uuid
from collections.abc import Sequence
from typing import Any

import falcon
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from atoll import round_trips
from atoll.web.client_address import Network, find_client_address

log = logging.getLogger("atoll.access")

REQUESTS = Counter(
    "atoll_http_requests", "HTTP requests answered", ["method", "resource", "status"]
)
SECONDS = Histogram(
    "atoll_http_request_seconds", "Seconds until a request was answered", ["method", "resource"]
)

# Clients may send any token as a method; each new label value would stay in memory for good.
_METHODS = frozenset(falcon.HTTP_METHODS)
# Longer paths are cut in the log. Names of repositories and tags fit.
_LOGGED_PATH = 512

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# Health checks come every second or two, and metrics as often as somebody likes: not logged.
_QUIET = ("/health/", "/metrics")


class RequestMiddleware:
    """Falcon middleware. With SERVER_TIMING each answer tells what it cost.

    TRUSTED are the networks of load balancers that are believed whom they forward.
    """

    def __init__(self, *, server_timing: bool = False, trusted: Sequence[Network] = ()) -> None:
        self._server_timing = server_timing
        self._trusted = trusted

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Note when the request came, and give it an id."""
        given = req.get_header("X-Request-Id") or ""
        req.context.id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        req.context.began = time.monotonic()
        req.context.client_address = find_client_address(req, self._trusted)
        round_trips.reset()
        resp.set_header("X-Request-Id", req.context.id)
        if "\0" in req.path or any("\0" in str(value) for value in req.params.values()):
            # PostgreSQL cannot hold it, and no name of anything has it.
            raise falcon.HTTPBadRequest(description="the request has a zero byte in its URL")
        if req.path == "/v2" or req.path.startswith("/v2/"):
            resp.set_header("Docker-Distribution-API-Version", "registry/2.0")

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: Any, req_succeeded: bool
    ) -> None:
        """Count and log the answer. The query is left out: it may hold signatures."""
        del resource, req_succeeded
        seconds = time.monotonic() - req.context.began
        method, name = method_label(req.method), resource_label(req)
        if self._server_timing:
            resp.set_header("Server-Timing", _server_timing(seconds))
        REQUESTS.labels(method, name, str(resp.status_code)).inc()
        SECONDS.labels(method, name).observe(seconds)
        if req.path.startswith(_QUIET):
            return
        log.info(
            "request",
            extra={
                "request": req.context.id,
                "method": method,
                "path": req.path[:_LOGGED_PATH],
                "status": resp.status_code,
                "milliseconds": round(seconds * 1000, 1),
                "client": req.context.client_address,
            },
        )


def _server_timing(seconds: float) -> str:
    """Return the header (W3C Server Timing): the whole in ms, and round trips in descriptions."""
    parts = [f"total;dur={seconds * 1000:.1f}"]
    for whom, number in round_trips.counts().items():
        parts.append(f'{whom};desc="{number} round trips"')
    return ", ".join(parts)


def method_label(method: str) -> str:
    """Return METHOD, or `other` for a method that HTTP does not define."""
    return method if method in _METHODS else "other"


def resource_label(req: falcon.Request) -> str:
    """Return the request's URI template, or `other` for a path that is not served."""
    return req.uri_template or "other"


class Metrics:
    """`/metrics`, for Prometheus: of all processes of this instance together."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer in Prometheus' text format."""
        del req
        registry: CollectorRegistry = REGISTRY
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        resp.data = generate_latest(registry)
        resp.content_type = CONTENT_TYPE_LATEST
