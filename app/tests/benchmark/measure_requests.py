"""Requests in a loop: manifests, redirects of blobs, and tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from .bare_application import running_bare_application
from .clients import Clients, repository_of
from .content import MANIFEST_TYPE, Image, Shape
from .docker_registry import running_docker_registry
from .errors import BenchmarkError
from .load import Request
from .operations import (
    ATOLL,
    BARE,
    BLOBS,
    CONNECTIONS,
    DOCKER_REGISTRY,
    MANIFESTS,
    PASSWORD_TOKEN,
    TOKENS,
    Operation,
)
from .registry import Response, Server
from .session import Session

# Its manifest has about 900 bytes.
_SMALL = Shape("small", "small", (1,) * 4)
_TAG = "v1"


class Requests:
    """The servers of a part with the same image in each of them.

    Args:
        session: the run.
        part: the name of the part.
        servers: the servers by name.
        image: the image.
    """

    def __init__(
        self, session: Session, part: str, servers: dict[str, Server], image: Image
    ) -> None:
        self._session = session
        self._part = part
        self.servers = servers
        self._image = image

    def measure(self, *operations: Operation) -> None:
        """Measure operations with all of their servers in the same rounds."""
        pairs = [
            (operation, self.servers[name])
            for operation in operations
            for name in operation.targets
            if name in self.servers
        ]
        for operation, server in pairs:
            self._warm_up(operation, server)
        for count in CONNECTIONS:
            # HEAD with one connection would show nothing that GET does not.
            chosen = [one for one in pairs if count > 1 or one[0].method == "GET"]
            if not chosen:
                continue
            what = " and ".join(operation.name(count) for operation in operations)
            for number, ordered in self._session.each_round(what, chosen):
                for operation, server in ordered:
                    self._measure(operation, server, count, number)

    def load(self, operation: Operation) -> None:
        """Send requests to Atoll without a measurement."""
        request = self._request(operation, self.servers[ATOLL])
        command = request.command(max(CONNECTIONS), self._session.seconds)
        request.read(self._session.arena.run(command).output)

    def _measure(self, operation: Operation, server: Server, count: int, number: int) -> None:
        request = self._request(operation, server)
        # A single connection is measured for half as long: its rate varies less.
        seconds = self._session.seconds if count > 1 else max(self._session.seconds // 2, 1)
        meter = self._session.meter(server)
        done = self._session.arena.run(request.command(count, seconds))
        spent = meter.read()
        load = request.read(done.output)
        figures = {"rate": load.rate, "p50": load.median, "p99": load.slow}
        milliseconds = {
            f"cpu {name}": 1000 * value / load.requests for name, value in spent.items()
        }
        self._session.record(
            self._part, operation.name(count), server.name, number, figures | milliseconds
        )

    def _warm_up(self, operation: Operation, server: Server) -> None:
        """Verify the response, and let caches and connections fill."""
        request = self._request(operation, server)
        path = request.url.removeprefix(server.url)
        answer = server.get(path, request.headers, request.method)
        if answer.status not in operation.statuses:
            raise BenchmarkError(
                f"{server.name} returned {answer.status} for {request.method} {path}, not one of"
                f" {operation.statuses}"
            )
        request.read(self._session.arena.run(request.command(max(CONNECTIONS), 1)).output)

    def _request(self, operation: Operation, server: Server) -> Request:
        repository = repository_of(self._image)
        if operation.title.startswith("token"):
            headers = server.basic() if operation == PASSWORD_TOKEN else {}
            return Request("GET", server.url + server.token_path(repository), headers)
        # The bare application gets the same headers as Atoll.
        issuer = self.servers[ATOLL] if server.name == BARE else server
        headers = issuer.bearer(repository) | {"Accept": MANIFEST_TYPE}
        return Request(operation.method, f"{server.url}{self._path(operation)}", headers)

    def _path(self, operation: Operation) -> str:
        kind, reference = "manifests", _TAG
        if operation in BLOBS:
            kind, reference = "blobs", self._image.blobs[1].digest
        elif "digest" in operation.title:
            reference = self._image.manifest_digest
        return f"/v2/{repository_of(self._image)}/{kind}/{reference}"


@contextmanager
def running_servers(session: Session, part: str, names: Sequence[str]) -> Iterator[Requests]:
    """Run servers with the same small image until the block ends; Atoll is always among them."""
    arena = session.arena
    image = Image(arena.work, _SMALL)
    with ExitStack() as stack:
        site = stack.enter_context(session.sites.running())
        servers: dict[str, Server] = {ATOLL: site}
        if DOCKER_REGISTRY in names:
            servers[DOCKER_REGISTRY] = stack.enter_context(running_docker_registry(arena))
        clients = Clients(arena, list(servers.values()))
        for server in servers.values():
            clients.push(server, image, _TAG)
        if BARE in names:
            responses = _responses(site, image)
            servers[BARE] = stack.enter_context(running_bare_application(arena, site, responses))
        yield Requests(session, part, servers, image)


def _responses(site: Server, image: Image) -> dict[str, Response]:
    """Return the responses of a registry for a manifest and a blob."""
    repository = repository_of(image)
    headers = site.bearer(repository) | {"Accept": MANIFEST_TYPE}
    paths = {"manifests": _TAG, "blobs": image.blobs[1].digest}
    return {
        kind: site.get(f"/v2/{repository}/{kind}/{reference}", headers)
        for kind, reference in paths.items()
    }


def measure_manifests(session: Session) -> None:
    """Measure manifests by tag and by digest."""
    with running_servers(session, "manifests", (DOCKER_REGISTRY, BARE)) as requests:
        for operation in MANIFESTS:
            requests.measure(operation)


def measure_blobs(session: Session) -> None:
    """Measure redirects of blobs."""
    with running_servers(session, "blobs", (DOCKER_REGISTRY, BARE)) as requests:
        for operation in BLOBS:
            requests.measure(operation)


def measure_tokens(session: Session) -> None:
    """Measure tokens, in the same rounds as the bare application."""
    with running_servers(session, "tokens", (BARE,)) as requests:
        requests.measure(*TOKENS)
