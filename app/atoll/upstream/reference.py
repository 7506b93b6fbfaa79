"""References to repositories of other registries, such as `quay.io/prometheus/node-exporter`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from atoll.config.hosts import canonical_host
from atoll.names import RepositoryName
from atoll.upstream.errors import InvalidReference

# Docker Hub has one name in references and another for requests.
_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_DOCKER_HUB_HOST = "registry-1.docker.io"
_OFFICIAL_IMAGES = "library"
_PORT_MAXIMUM = 65_535
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::(?P<port>[0-9]{1,5}))?")
_FORM = "use the form registry.example.com/namespace/repository, without scheme, tag and digest"


@dataclass(frozen=True)
class UpstreamReference:
    """A repository of another registry.

    Attributes:
        registry: The registry as users know it, in canonical form, such as `docker.io`.
        host: The host and port that requests are sent to.
        repository: The name of the repository there.
    """

    registry: str
    host: str
    repository: str

    @classmethod
    def parse(cls, text: str) -> UpstreamReference:
        """Parse a reference of the form HOST[:PORT]/PATH.

        Raises:
            InvalidReference: The reference is malformed.
        """
        authority, _, repository = text.partition("/")
        match = _AUTHORITY.fullmatch(authority)
        if match is None:
            raise _malformed(text)
        try:
            name = canonical_host(match["host"].strip("[]"))
        except ValueError as error:
            raise _malformed(text) from error
        port = match["port"]
        if port is None and not _is_host(name):
            raise _malformed(text)
        if port is not None and not 0 < int(port) <= _PORT_MAXIMUM:
            raise _malformed(text)
        host = f"[{name}]" if ":" in name else name
        if port is not None:
            host = f"{host}:{int(port)}"
        registry = host
        if name in _DOCKER_HUB and port is None:
            registry, host = "docker.io", _DOCKER_HUB_HOST
            if repository and "/" not in repository:
                repository = f"{_OFFICIAL_IMAGES}/{repository}"
        if not RepositoryName.fits(repository):
            raise _malformed(text)
        return cls(registry, host, repository)

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}"


def registry_of_host(host: str) -> str:
    """Return the registry, such as `docker.io`, that requests to a host and port are sent for."""
    return "docker.io" if host == _DOCKER_HUB_HOST else host


def _is_host(name: str) -> bool:
    """Return whether the first component of a reference is a host, as docker decides it."""
    return "." in name or ":" in name or name == "localhost"


def _malformed(text: str) -> InvalidReference:
    return InvalidReference(f"'{text[:200]}' is not a reference to an upstream repository; {_FORM}")
