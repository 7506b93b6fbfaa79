"""The names of everything that is measured, and of the programs that are compared."""

from __future__ import annotations

from dataclasses import dataclass

from .content import Shape

ATOLL, DOCKER_REGISTRY, BARE = "atoll", "docker-registry", "bare"
# The time that the store and the hash alone need.
LIMIT = "limit"
CONNECTIONS = (16, 1)
# The delay between a site and its database in seconds, for each direction.
DELAY = 0.04
# The key that a site far from its database is measured with, and without.
TAG_CACHE = "FEATURE_TAG_CACHE"
START = "start to the first 200"
START_DEPLOYED = "start to the first 200, without migration"
IDLE, LOADED = "memory idle", "memory after load"


@dataclass(frozen=True)
class Operation:
    """A request that is measured.

    Attributes:
        title: what is requested.
        method: GET or HEAD.
        targets: the servers that are measured.
        statuses: the acceptable statuses of a response.
    """

    title: str
    method: str
    targets: tuple[str, ...] = (ATOLL, DOCKER_REGISTRY, BARE)
    statuses: tuple[int, ...] = (200,)

    def name(self, connections: int) -> str:
        """Return the name of the operation with a number of connections, for the results."""
        return f"{self.method} {self.title}, {connections}"


BY_TAG = Operation("manifest by tag", "GET")
BY_DIGEST = Operation("manifest by digest", "GET")
MANIFESTS = (
    BY_TAG,
    Operation("manifest by tag", "HEAD"),
    BY_DIGEST,
    Operation("manifest by digest", "HEAD"),
)
BLOB = Operation("blob, redirect", "GET", statuses=(307,))
# docker-registry redirects HEAD as well, so its clients need a request to the store, too.
BLOBS = (BLOB, Operation("blob", "HEAD", (ATOLL, DOCKER_REGISTRY), (200, 307)))
PASSWORD_TOKEN = Operation("token, password", "GET", (ATOLL,))
ANONYMOUS_TOKEN = Operation("token, anonymous", "GET", (ATOLL,))
# Tokens are compared with the bare application, because docker-registry issues none.
TOKENS = (PASSWORD_TOKEN, ANONYMOUS_TOKEN, Operation("manifest by tag", "GET", (BARE,)))


def push_name(shape: Shape) -> str:
    """Return the name of a push whose layers are sent one after another."""
    return f"push {shape.title}"


def at_once_name(shape: Shape) -> str:
    """Return the name of a push with several layers at the same time."""
    return f"push {shape.title}, layers at once"


def pull_name(shape: Shape) -> str:
    """Return the name of a pull."""
    return f"pull {shape.title}"


def large_shape(mebibytes: int) -> Shape:
    """Return an image with one large layer."""
    return Shape("large", f"one layer of {mebibytes / 1024:g} GiB", (mebibytes,))


def far_name(what: str, delay: float, *, tag_cache: bool = True) -> str:
    """Return the name of an operation with a round trip to the database of twice the delay."""
    kept = "with" if tag_cache else "without"
    return f"{what}, database {2000 * delay:.0f} ms away, {kept} {TAG_CACHE}"
