"""Every server of the container applies an admission policy on each of its addresses."""

from __future__ import annotations

import http.client
import threading
from pathlib import Path
from typing import Any

import falcon
import pytest
from atoll.web.server import create_server
from atoll.web.spool import admit_up_to


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.0.0.1:0 127.0.0.2:0"])
def test_each_address_applies_the_policy(listen: str) -> None:
    server: Any = create_server(falcon.App(), admit=admit_up_to(10), listen=listen, threads=1)
    threading.Thread(target=server.run, daemon=True).start()
    addresses = getattr(server, "effective_listen", None) or [server.socket.getsockname()]
    assert len(addresses) == len(listen.split())
    for host, port in addresses:
        connection = http.client.HTTPConnection(host, port, timeout=60)
        connection.request("POST", "/", body=bytes(11))
        assert connection.getresponse().status == 413
        connection.close()
        connection.request("POST", "/", body=bytes(10))
        assert connection.getresponse().status == 404
        connection.close()


def test_no_module_creates_a_server_without_a_policy() -> None:
    package = Path(__file__).parents[2] / "atoll"
    makers = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "waitress.server" in path.read_text()
    ]
    assert makers == ["web/server.py"]
