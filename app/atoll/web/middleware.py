"""Log and count each request, under the id in its response header X-Request-Id."""

from __future__ import annotations

import os
import re
import time
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
from atoll.web.access_log import Access, AccessLog
from atoll.web.client_address import Network, find_client_address

REQUESTS = Counter("atoll_http_requests", "HTTP requests served", ["method", "resource", "status"])
SECONDS = Histogram(
    "atoll_http_request_seconds", "Duration of HTTP requests in seconds", ["method", "resource"]
)

# Clients may send any token as a method, and every label value stays in memory.
_METHODS = frozenset(falcon.HTTP_METHODS)
# Characters of a path in the log. Names of repositories and tags fit.
_LOGGED_PATH = 512

_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# Health checks and scrapes of metrics are too frequent to log.
_QUIET = ("/health/", "/metrics")


class RequestMiddleware:
    """Falcon middleware that logs and counts requests.

    Args:
        access_log: the log of requests.
        server_timing: whether responses report their duration and round trips (Server-Timing).
        trusted: networks of load balancers whose X-Forwarded-For is trusted.
    """

    def __init__(
        self,
        access_log: AccessLog,
        *,
        server_timing: bool = False,
        trusted: Sequence[Network] = (),
    ) -> None:
        self._access_log = access_log
        self._server_timing = server_timing
        self._trusted = trusted
        # By method, resource and status, all of which come from fixed sets. Prometheus' own look-up
        # takes a lock for each.
        self._metrics: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store start time, id and client address in the request's context."""
        given = req.get_header("X-Request-Id") or ""
        req.context.id = given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()
        req.context.began = time.monotonic()
        req.context.client_address = find_client_address(req, self._trusted)
        round_trips.reset()
        resp.set_header("X-Request-Id", req.context.id)
        if "\0" in req.path or any("\0" in str(value) for value in req.params.values()):
            # PostgreSQL cannot store it, so no name contains it.
            raise falcon.HTTPBadRequest(description="the request has a zero byte in its URL")
        if req.path == "/v2" or req.path.startswith("/v2/"):
            resp.set_header("Docker-Distribution-API-Version", "registry/2.0")

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, resource: Any, req_succeeded: bool
    ) -> None:
        """Count and log the response. The query is not logged: it may contain signatures."""
        del resource, req_succeeded
        seconds = time.monotonic() - req.context.began
        method, name = method_label(req.method), resource_label(req)
        if self._server_timing:
            resp.set_header("Server-Timing", _server_timing(seconds))
        status = resp.status_code
        number, duration = self._metrics_of(method, name, status)
        number.inc()
        duration.observe(seconds)
        if req.path.startswith(_QUIET):
            return
        self._access_log.note(
            Access(
                req.context.id,
                method,
                req.path[:_LOGGED_PATH],
                status,
                round(seconds * 1000, 1),
                req.context.client_address,
            )
        )

    def _metrics_of(self, method: str, name: str, status: int) -> tuple[Counter, Histogram]:
        metrics = self._metrics.get((method, name, status))
        if metrics is None:
            metrics = REQUESTS.labels(method, name, str(status)), SECONDS.labels(method, name)
            self._metrics[method, name, status] = metrics
        return metrics


def _server_timing(seconds: float) -> str:
    """Return the header (W3C Server Timing): duration in ms, and round trips as descriptions."""
    parts = [f"total;dur={seconds * 1000:.1f}"]
    for service, number in round_trips.counts().items():
        parts.append(f'{service};desc="{number} round trips"')
    return ", ".join(parts)


def method_label(method: str) -> str:
    """Return the method, or `other` for one that HTTP does not define."""
    return method if method in _METHODS else "other"


def resource_label(req: falcon.Request) -> str:
    """Return the request's URI template, or `other` for a path that is not served."""
    return req.uri_template or "other"


class Metrics:
    """`/metrics`: Prometheus metrics, summed over all processes of this instance."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Return the metrics in Prometheus' text format."""
        del req
        registry: CollectorRegistry = REGISTRY
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        resp.data = generate_latest(registry)
        resp.content_type = CONTENT_TYPE_LATEST
