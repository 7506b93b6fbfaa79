"""The application of health and metrics, which every process serves.

It is apart from the registry's application, so that other processes do not import that.
"""

from __future__ import annotations

from typing import Any

import falcon

from atoll.web import errors
from atoll.web.access_log import AccessLog
from atoll.web.middleware import Metrics, RequestMiddleware
from atoll.web.router import Router


def create_operations_app(
    instance: object, end_to_end: object | None = None
) -> falcon.App[Any, Any]:
    """Return the application that serves the health and metrics of a process.

    It runs in a server of its own, so that a load balancer gets a response in time while all
    threads of the registry are busy.

    Args:
        instance: resource of `/health/instance`.
        end_to_end: resource of `/health/endtoend`; None if the process serves no requests.
    """
    app = bare_app(RequestMiddleware(AccessLog()))
    for path in ("/health", "/health/instance"):
        app.add_route(path, instance)
    if end_to_end is not None:
        for path in ("/status", "/health/endtoend"):
            app.add_route(path, end_to_end)
    app.add_route("/metrics", Metrics())
    return app


def bare_app(middleware: RequestMiddleware) -> falcon.App[Any, Any]:
    """Return an application without resources, with the handlers of all others."""
    # Falcon accepts any object with a router's methods, but declares the type of its own.
    router: Any = Router()
    app: falcon.App[Any, Any] = falcon.App(middleware=[middleware], router=router)
    app.req_options.auto_parse_qs_csv = False
    app.add_error_handler(Exception, errors.handle)
    app.add_error_handler(falcon.HTTPError, errors.handle_http_error)
    return app
