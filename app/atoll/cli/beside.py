"""Serve beside what a process does mainly, with threads of its own that nothing else keeps busy."""

from __future__ import annotations

import threading
from typing import Any

import falcon
from waitress.server import create_server

# For health and metrics.
OPERATIONS_THREADS = 2


def serve_beside(name: str, app: falcon.App[Any, Any], *, threads: int, **options: Any) -> None:
    """Serve APP in the background with so many THREADS.

    OPTIONS are waitress' own; `listen` or `unix_socket` says where.
    """
    server = create_server(app, threads=threads, ident=None, **options)
    threading.Thread(target=server.run, name=name, daemon=True).start()
