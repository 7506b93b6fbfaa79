"""A bare application of falcon and waitress behind the registry's own nginx: the limit of Python.

It returns the bytes and headers that a registry returned before, and does nothing else.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from commands import wait_until

from .arena import Arena
from .atoll_site import Site
from .containers import CONFINED, start
from .operations import BARE
from .registry import Response, Server

_PORT, _OPERATIONS_PORT = 8081, 9093
_NGINX = "/tmp/atoll/nginx.conf"
_SERVER = Path(__file__).with_name("bare_server.py")
# Headers of one connection.
_NOT_COPIED = {"connection", "content-length", "date", "server", "transfer-encoding"}


@contextmanager
def running_bare_application(
    arena: Arena, site: Site, responses: Mapping[str, Response]
) -> Iterator[Server]:
    """Run the application until the block ends.

    Args:
        arena: the network.
        site: the registry whose configuration of nginx is used.
        responses: the responses of the registry by the kind of path, "manifests" and "blobs".
    """
    directory = arena.directory / "bare"
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    (directory / "nginx.conf").write_text(on_other_ports(site.registry.inside(_NGINX).read_text()))
    (directory / "responses.json").write_text(json.dumps(describe(responses)))
    (directory / "server.py").write_text(_SERVER.read_text())
    container = start(
        site.image,
        "/bare/server.py",
        options=(
            arena.network,
            *CONFINED,
            "--entrypoint=/opt/atoll/bin/python",
            f"--volume={directory}:/bare:ro",
        ),
    )
    server = Server(BARE, _PORT, arena.address, [container])
    try:
        wait_until("the bare application answers", lambda: server.answers("/v2/a/b/manifests/1"))
        yield server
    finally:
        container.remove()


def on_other_ports(configuration: str) -> str:
    """Return a configuration of nginx with ports that the registry does not use."""
    changed = re.sub(r"\blisten 8080;", f"listen {_PORT};", configuration)
    return re.sub(r"\blisten 9091;", f"listen {_OPERATIONS_PORT};", changed)


def describe(responses: Mapping[str, Response]) -> dict[str, dict[str, object]]:
    """Return responses in the form that `bare_server` reads."""
    return {
        kind: {
            "status": response.status,
            "headers": {
                name: value
                for name, value in response.headers.items()
                if name.lower() not in _NOT_COPIED
            },
            "body": base64.b64encode(response.body).decode(),
        }
        for kind, response in responses.items()
    }
