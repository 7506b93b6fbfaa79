"""Which path is which resource.

A repository's name may have slashes, which a Falcon template takes only at the end; so these paths
are patterns, and a small sink calls the resource's `on_<method>` as the router would.
"""

from __future__ import annotations

import re
from typing import Any

import falcon

from atoll.web.errors import Unsupported

_NAME = r"/v2/(?P<name>.+)"

BLOB = re.compile(rf"^{_NAME}/blobs/(?P<digest>[^/]+)$")
UPLOADS = re.compile(rf"^{_NAME}/blobs/uploads/?$")
UPLOAD = re.compile(rf"^{_NAME}/blobs/uploads/(?P<uuid>[^/]+)$")
MANIFEST = re.compile(rf"^{_NAME}/manifests/(?P<reference>[^/]+)$")
REFERRERS = re.compile(rf"^{_NAME}/referrers/(?P<digest>[^/]+)$")
TAGS = re.compile(rf"^{_NAME}/tags/list$")


class Sink:
    """Calls `on_get`, `on_put` … of a resource with what the pattern found in the path."""

    def __init__(self, resource: object) -> None:
        self._resource = resource

    def __call__(self, req: falcon.Request, resp: falcon.Response, **found: Any) -> None:
        """Answer one request, or raise Unsupported."""
        responder = getattr(self._resource, f"on_{req.method.lower()}", None)
        if responder is None:
            allowed = [
                attribute.removeprefix("on_").upper()
                for attribute in dir(self._resource)
                if attribute.startswith("on_")
            ]
            resp.set_header("Allow", ", ".join(sorted(allowed)))
            raise Unsupported(f"{req.method} is not supported here")
        responder(req, resp, **found)


def add_routes(app: falcon.App[Any, Any], resources: dict[re.Pattern[str], object]) -> None:
    """Let APP serve RESOURCES, by pattern. The pattern that is given first wins."""
    # Falcon asks the sink that was added last first.
    for pattern, resource in reversed(resources.items()):
        app.add_sink(Sink(resource), pattern)
