"""Certificates of authorities are loaded once for all connections of a botocore session.

botocore gives all of them one SSLContext, and lets each new one load the file into it again.
OpenSSL does not allow that while another connection shakes hands: the process dies with a
segmentation fault (boto/botocore issue 3164, openssl/openssl issue 24480).
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from typing import Any

from botocore.httpsession import URLLib3Session, create_urllib3_context


def load_certificates_once(session: URLLib3Session) -> None:
    """Give the connections of SESSION, which has none yet, a context that is not changed in use."""
    context = _context()
    internals: Any = session
    # For those through a proxy, whose pools are made later.
    internals._get_ssl_context = lambda: context
    internals._manager.connection_pool_kw["ssl_context"] = context


def _context() -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    # Nobody shakes hands before its own call has returned, so there is no other before the first.
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
