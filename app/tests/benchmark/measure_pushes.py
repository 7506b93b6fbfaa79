"""Pushes and pulls of images, with the time that the store and the hash alone need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from .arena import Finished
from .clients import Clients
from .content import IMAGE_A, IMAGE_B, IMAGE_C, Image, Shape
from .docker_registry import running_docker_registry
from .operations import (
    ATOLL,
    DOCKER_REGISTRY,
    LIMIT,
    at_once_name,
    large_shape,
    pull_name,
    push_name,
)
from .registry import Server
from .session import Session

_GIGABYTE = 10**9


class Pushes:
    """The registries and clients of a part.

    Args:
        session: the run.
        part: the name of the part.
        servers: the registries by name.
    """

    def __init__(self, session: Session, part: str, servers: dict[str, Server]) -> None:
        self._session = session
        self._part = part
        self._servers = servers
        self._clients = Clients(session.arena, list(servers.values()))

    def push_and_pull(self, shape: Shape) -> None:
        """Push an image with skopeo and pull it again."""
        image = Image(self._session.arena.work, shape)
        targets = [*self._servers, LIMIT]
        for number, order in self._session.each_round(push_name(shape), targets):
            image.renew()
            tag = f"r{number}"
            for target in order:
                if target == LIMIT:
                    self._limit(image, push_name(shape), number, pull=pull_name(shape))
                    continue
                server = self._servers[target]
                self._time(image, push_name(shape), server, number, tag, self._clients.push)
                self._time(image, pull_name(shape), server, number, tag, self._clients.pull)
        self._clients.free()
        image.remove()

    def push_at_once(self, shape: Shape) -> None:
        """Push an image with several layers at the same time."""
        image = Image(self._session.arena.work, shape)
        what = at_once_name(shape)
        targets = [*self._servers, LIMIT]
        for number, order in self._session.each_round(what, targets):
            image.renew()
            for target in order:
                if target == LIMIT:
                    self._limit(image, what, number)
                    continue
                push = self._clients.push_at_once
                self._time(image, what, self._servers[target], number, f"r{number}", push)
        self._clients.free()
        image.remove()

    def push_large(self, shape: Shape) -> None:
        """Push an image, and free the space that the limit took after each round."""
        image = Image(self._session.arena.work, shape)
        what = push_name(shape)
        for number, order in self._session.each_round(what, [*self._servers, LIMIT]):
            image.renew()
            for target in order:
                if target == LIMIT:
                    self._limit(image, what, number)
                    continue
                server = self._servers[target]
                self._time(image, what, server, number, f"r{number}", self._clients.push)
            self._clients.free()
        image.remove()

    def _limit(self, image: Image, what: str, number: int, pull: str | None = None) -> None:
        limit = self._clients.measure_limit(image, get=pull is not None)
        figures = {
            "seconds": limit.put + limit.sha256sum,
            "put": limit.put,
            "sha256sum": limit.sha256sum,
            "fast sha256sum": limit.fast_sha256sum,
            "seconds with fast sha256sum": limit.put + limit.fast_sha256sum,
            "cpu sha256sum": limit.processor / (image.size / _GIGABYTE),
        }
        self._session.record(self._part, what, LIMIT, number, figures)
        if pull is not None:
            self._session.record(self._part, pull, LIMIT, number, {"seconds": limit.get})

    def _time(
        self,
        image: Image,
        what: str,
        server: Server,
        number: int,
        tag: str,
        transfer: Callable[[Server, Image, str], Finished],
    ) -> None:
        meter = self._session.meter(server)
        done = transfer(server, image, tag)
        spent = meter.read() | {"client": done.processor}
        gigabytes = image.size / _GIGABYTE
        figures = {f"cpu {name}": value / gigabytes for name, value in spent.items()}
        self._session.record(
            self._part, what, server.name, number, {"seconds": done.seconds, **figures}
        )


def running_registries(
    session: Session, stack: ExitStack, names: Sequence[str]
) -> dict[str, Server]:
    """Run registries until the stack ends."""
    servers: dict[str, Server] = {ATOLL: stack.enter_context(session.sites.running())}
    if DOCKER_REGISTRY in names:
        servers[DOCKER_REGISTRY] = stack.enter_context(running_docker_registry(session.arena))
    return servers


def measure_pushes(session: Session) -> None:
    """Measure pushes and pulls of three images with skopeo."""
    with ExitStack() as stack:
        servers = running_registries(session, stack, (DOCKER_REGISTRY,))
        pushes = Pushes(session, "push", servers)
        for shape in (IMAGE_A, IMAGE_B, IMAGE_C):
            pushes.push_and_pull(shape)


def measure_pushes_at_once(session: Session) -> None:
    """Measure pushes with several layers at the same time."""
    with ExitStack() as stack:
        servers = running_registries(session, stack, (DOCKER_REGISTRY,))
        pushes = Pushes(session, "at-once", servers)
        for shape in (IMAGE_B, IMAGE_C):
            pushes.push_at_once(shape)


def measure_large_push(session: Session) -> None:
    """Measure the push of one large layer; docker-registry would take the time of all others."""
    with ExitStack() as stack:
        servers = running_registries(session, stack, ())
        pushes = Pushes(session, "large", servers)
        pushes.push_large(large_shape(session.large_mebibytes))
