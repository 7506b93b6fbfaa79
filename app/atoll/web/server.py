"""Create waitress servers that apply a policy to request bodies and keep the spool's reserve.

They have an I/O loop and threads of their own (`event_loop`, `task_threads`).
"""

from __future__ import annotations

import sys
from typing import Any

import falcon
import waitress.server
from waitress.server import BaseWSGIServer, MultiSocketServer

from atoll.web.event_loop import Channels
from atoll.web.spool import Admission, MakeHashes, spooling_channel
from atoll.web.task_threads import TaskThreads


def create_server(
    app: falcon.App[Any, Any],
    *,
    admit: Admission,
    threads: int,
    make_hashes: MakeHashes | None = None,
    **options: Any,
) -> BaseWSGIServer | MultiSocketServer:
    """Return a server for a WSGI application.

    Args:
        app: the WSGI application.
        admit: the policy for request bodies.
        threads: how many requests are answered at the same time.
        make_hashes: returns hashes to compute while a large body is received; they are in the WSGI
            environment.
        options: options of waitress; `listen` or `unix_socket` sets the address.
    """
    sockets = Channels()
    # waitress accepts another dispatcher, and below another loop, for its own tests.
    dispatcher: Any = TaskThreads(threads)
    server: Any = waitress.server.create_server(
        app,
        map=sockets,
        _dispatcher=dispatcher,
        threads=threads,
        ident=None,
        # The policy limits bodies, with responses in the registry's error format.
        max_request_body_size=sys.maxsize,
        **options,
    )
    server.asyncore = sockets.loop
    channel = spooling_channel(admit, sockets.loop, make_hashes)
    # A host name that resolves to several addresses has a server for each of them.
    for listener in list(sockets.values()):
        if isinstance(listener, BaseWSGIServer):
            listener.channel_class = channel
    created: BaseWSGIServer | MultiSocketServer = server
    return created
