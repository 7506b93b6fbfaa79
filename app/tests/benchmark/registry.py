"""What all measured servers have in common."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from .containers import Container
from .errors import BenchmarkError

_SECONDS = 60


@dataclass
class Response:
    """A response without its body's encoding."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Server:
    """A running server.

    Attributes:
        name: its name in the results.
        port: its port in the network.
        address: an address of the network that this machine can reach.
        containers: its containers.
        credentials: user name and password; None if it serves without authentication.
    """

    name: str
    port: int
    address: str
    containers: list[Container]
    credentials: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def host(self) -> str:
        """The host and port that clients use."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL that clients use."""
        return f"http://{self.host}"

    def get(
        self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Response:
        """Send a request as a client of the network would; redirects are returned.

        Raises:
            OSError: the server does not accept connections.
        """
        connection = http.client.HTTPConnection(self.address, self.port, timeout=_SECONDS)
        try:
            connection.request(method, path, headers={"Host": self.host, **(headers or {})})
            answer = connection.getresponse()
            return Response(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()

    def answers(self, path: str) -> bool:
        """Return whether a path is served with status 200; raise if a container has ended."""
        for container in self.containers:
            container.require_running()
        try:
            return self.get(path).status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def token_path(self, repository: str, actions: str = "pull") -> str:
        """Return the path and query with which clients request a token."""
        scope = f"repository:{repository}:{actions}"
        return f"/v2/auth?{urlencode({'service': self.host, 'scope': scope})}"

    def basic(self) -> dict[str, str]:
        """Return the headers of a request with a password."""
        if self.credentials is None:
            return {}
        pair = base64.b64encode(":".join(self.credentials).encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def bearer(self, repository: str, actions: str = "pull") -> dict[str, str]:
        """Return the headers of a request with a new token."""
        if self.credentials is None:
            return {}
        answer = self.get(self.token_path(repository, actions), self.basic())
        if answer.status != http.client.OK:
            raise BenchmarkError(f"{self.name} returned {answer.status} instead of a token")
        return {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}


def auth_file(servers: Iterable[Server]) -> str:
    """Return the credentials for servers in the form that clients read."""
    logins = {}
    for server in servers:
        for header in server.basic().values():
            logins[server.host] = {"auth": header.removeprefix("Basic ")}
    return json.dumps({"auths": logins})
