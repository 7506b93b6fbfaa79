"""Serve a WSGI app from background threads, so that health and metrics respond under load."""

from __future__ import annotations

import threading
from typing import Any

import falcon

from atoll.web.admission import SMALL_BODY
from atoll.web.server import create_server
from atoll.web.spool import Admission, admit_up_to

# For health and metrics.
OPERATIONS_THREADS = 2
_SMALL_BODIES = admit_up_to(SMALL_BODY)


def serve_in_background(
    name: str,
    app: falcon.App[Any, Any],
    *,
    threads: int,
    admit: Admission = _SMALL_BODIES,
    **options: Any,
) -> None:
    """Serve APP in the background.

    Args:
        name: the name of the thread that does the server's I/O.
        app: the WSGI application.
        threads: how many requests are answered at the same time.
        admit: the policy for request bodies.
        options: waitress' own; `listen` or `unix_socket` names the address.
    """
    server = create_server(app, admit=admit, threads=threads, **options)
    threading.Thread(target=server.run, name=name, daemon=True).start()
