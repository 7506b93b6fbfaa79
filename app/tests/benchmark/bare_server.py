"""The bare application, as it runs in the registry's image. It needs no other module of the tests.

usage: python server.py, with nginx.conf and responses.json beside it
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import falcon
import waitress.server

# As the web processes of the registry have, by the name of the upstream in the configuration of
# nginx.
_THREADS = {"registry": 8, "downloads": 32}


class Constant:
    """A resource that always returns the same response."""

    def __init__(self, description: dict[str, Any]) -> None:
        self._status = description["status"]
        self._headers = list(description["headers"].items())
        self._body = base64.b64decode(description["body"])

    def on_get(self, _req: falcon.Request, resp: falcon.Response, **_path: str) -> None:
        """Return the response."""
        resp.status = self._status
        resp.set_headers(self._headers)
        resp.data = self._body

    def on_head(self, req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        """Return the headers of the response."""
        self.on_get(req, resp, **path)


def create_app(descriptions: dict[str, dict[str, Any]]) -> falcon.App[falcon.Request, Any]:
    """Return an application that serves manifests and blobs of all repositories."""
    app = falcon.App()
    for kind, description in descriptions.items():
        app.add_route(f"/v2/{{namespace}}/{{name}}/{kind}/{{reference}}", Constant(description))
    return app


def upstream_sockets(configuration: str) -> dict[str, list[str]]:
    """Return the sockets of each upstream in a configuration of nginx."""
    blocks = re.findall(r"upstream (\w+) \{(.*?)\}", configuration, re.DOTALL)
    return {name: re.findall(r"server unix:([^\s;]+)", body) for name, body in blocks}


def _serve(app: falcon.App[falcon.Request, Any], sockets: dict[str, str]) -> None:
    """Serve an application on one socket for each upstream, the first one in this thread."""
    servers = [
        waitress.server.create_server(
            app,
            unix_socket=path,
            unix_socket_perms="600",
            threads=_THREADS[name],
            connection_limit=4096,
            asyncore_use_poll=True,
        )
        for name, path in sockets.items()
    ]
    for server in servers[1:]:
        threading.Thread(target=server.run, daemon=True).start()
    servers[0].run()


def main() -> None:
    """Run nginx and the web processes; none of them ends by itself."""
    directory = Path(__file__).parent
    configuration = directory / "nginx.conf"
    app = create_app(json.loads((directory / "responses.json").read_text()))
    upstreams = upstream_sockets(configuration.read_text())
    own = {name: paths for name, paths in upstreams.items() if name in _THREADS}
    for paths in own.values():
        for path in paths:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
    for number in range(len(own["registry"])):
        if os.fork() == 0:
            _serve(app, {name: paths[number] for name, paths in own.items()})
            sys.exit(1)
    nginx = subprocess.run(["nginx", "-c", str(configuration), "-e", "stderr"], check=False)
    sys.exit(nginx.returncode)


if __name__ == "__main__":
    main()
