"""Create waitress servers, all of which apply a policy to request bodies and keep the reserve."""

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
    """Return a server for APP.

    Args:
        app: the WSGI application.
        admit: the policy for request bodies.
        options: waitress' own; `listen` or `unix_socket` names the address.
    """
    sockets: dict[int, Any] = {}
    server = waitress.server.create_server(
        app,
        map=sockets,
        ident=None,
        # ADMIT decides, and its responses are in the registry's error format.
        max_request_body_size=sys.maxsize,
        **options,
    )
    channel = spooling_channel(admit)
    # A name that resolves to several addresses gets a server for each of them.
    for listener in list(sockets.values()):
        if isinstance(listener, BaseWSGIServer):
            listener.channel_class = channel
    return server
