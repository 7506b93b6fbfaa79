"""Serve health and metrics beside what a process does, in a thread that nothing else keeps busy."""

from __future__ import annotations

import threading
from typing import Any

import falcon
from waitress.server import create_server

_THREADS = 2


def serve_operations(app: falcon.App[Any, Any], **where: Any) -> None:
    """Serve APP in the background; WHERE is waitress' `listen` or `unix_socket`."""
    server = create_server(app, threads=_THREADS, ident=None, **where)
    threading.Thread(target=server.run, name="operations", daemon=True).start()
