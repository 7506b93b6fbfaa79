"""Create waitress servers that apply a policy to request bodies and keep the spool's reserve."""

from __future__ import annotations

import sys
from typing import Any

import falcon
import waitress.server
from waitress.server import BaseWSGIServer, MultiSocketServer

from atoll.web.spool import Admission, spooling_channel


def create_server(
    app: falcon.App[Any, Any], *, admit: Admission, **options: Any
) -> BaseWSGIServer | MultiSocketServer:
    """Return a server for a WSGI application.

    Args:
        app: the WSGI application.
        admit: the policy for request bodies.
        options: options of waitress; `listen` or `unix_socket` sets the address.
    """
    sockets: dict[int, Any] = {}
    server = waitress.server.create_server(
        app,
        map=sockets,
        ident=None,
        # The policy limits bodies, with responses in the registry's error format.
        max_request_body_size=sys.maxsize,
        **options,
    )
    channel = spooling_channel(admit)
    # A host name that resolves to several addresses has a server for each of them.
    for listener in list(sockets.values()):
        if isinstance(listener, BaseWSGIServer):
            listener.channel_class = channel
    return server
