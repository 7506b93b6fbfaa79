"""Load CA certificates once for all connections of a botocore session.

botocore shares one SSLContext between all connections, and loads the CA certificates into it again
for each new one. OpenSSL does not allow that during the handshake of another connection: the
process crashes (boto/botocore issue 3164, openssl/openssl issue 24480).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import Any

from botocore.httpsession import URLLib3Session, create_urllib3_context


def load_certificates_once(session: URLLib3Session) -> None:
    """Give a new session a context that is not changed while it is in use."""
    context = _context()
    internals: Any = session
    # For connections through a proxy, whose pools are created later.
    internals._get_ssl_context = lambda: context
    internals._manager.connection_pool_kw["ssl_context"] = context


def _context() -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    # Each connection loads the certificates before its handshake, so none precedes the first load.
    setattr(context, "load_verify_locations", _once(context.load_verify_locations))  # noqa: B010
    return context


def _once(load: Callable[..., None]) -> Callable[..., None]:
    lock = threading.Lock()
    loaded: set[tuple[object, ...]] = set()

    def load_once(cafile: object = None, capath: object = None, cadata: object = None) -> None:
        where = (cafile, capath, cadata)
        with lock:
            if where not in loaded:
                load(*where)
                loaded.add(where)

    return load_once
