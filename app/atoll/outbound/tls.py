"""TLS contexts that are created when they are first used.

Loading the CA certificates of a system takes 25 ms and some memory, which each web process would
need at its start.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from functools import cache, partial

# Returns the same context each time.
MakeContext = Callable[[], ssl.SSLContext]


def lazy_context(ca_bundle: str | None) -> MakeContext:
    """Return a function that returns a context for connections to servers.

    Args:
        ca_bundle: A file of CA certificates; None to use those of the system.
    """
    return cache(partial(ssl.create_default_context, cafile=ca_bundle))
