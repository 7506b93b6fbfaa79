"""Bundle and authority of the registry that fuzz targets send requests to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

from atoll.config import Bundle
from atoll.web.external_url import ExternalUrls

BUNDLE = cast(
    Bundle,
    SimpleNamespace(
        server_hostname="registry.test",
        external_tls_termination=False,
        preferred_url_scheme="http",
        trusted_proxies=[],
        read_only=False,
        disable_pushes=False,
    ),
)
AUTHORITY = ExternalUrls(BUNDLE)
