"""A site by itself: its start, its memory, and its distance from the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

from ..container_processes import processes_of, program, proportional_bytes
from .clients import Clients
from .content import IMAGE_A, IMAGE_C, MEBIBYTE, Image
from .docker_registry import running_docker_registry
from .errors import BenchmarkError
from .measure_requests import running_servers
from .operations import (
    ATOLL,
    BLOB,
    BY_DIGEST,
    BY_TAG,
    DELAY,
    IDLE,
    LOADED,
    PASSWORD_TOKEN,
    START,
    START_DEPLOYED,
    TAG_CACHE,
    far_name,
    pull_name,
    push_name,
)
from .registry import Server
from .rounds import alternate
from .session import Session

_PROXY_PORT = 6432
# Seconds after a start or a load before memory is measured, and between two measurements.
_SETTLE, _INTERVAL = 10, 1
# Pushes of an image, each to another repository, before its content changes. With new content each
# time, an hour of load would fill the store.
_IMAGES_BETWEEN = 20
# With FEATURE_TAG_CACHE, the pulls before those that are measured, so that each process of the site
# has answered some, and the pulls of which the median is recorded: a pull takes a third of a
# second, and the goal of the distance is a tenth. Without the key there is no goal.
_PULLS_BEFORE, _PULLS = 3, 5
_PULLS_BEFORE_WITHOUT, _PULLS_WITHOUT = 1, 1


def measure_start(session: Session) -> None:
    """Measure how long the registry takes to serve with an existing database."""
    with session.sites.running(worker=False) as site:
        for number, targets in session.each_round(START, [START, START_DEPLOYED]):
            for what in targets:
                site.stop()
                start = site.start(*(["registry-nomigrate"] if what == START_DEPLOYED else []))
                figures = {"seconds": start.command, "seconds of process": start.process}
                session.record("start", what, ATOLL, number, figures)


def measure_memory(session: Session) -> None:
    """Measure the memory of a site with its worker, before and after it had load."""
    with session.sites.running() as site, running_docker_registry(session.arena) as other:
        _measure_memory(session, IDLE, [site, other])
    with running_servers(session, "load", ()) as requests:
        loaded = requests.servers[ATOLL]
        image = Image(session.arena.work, IMAGE_A)
        clients = Clients(session.arena, [loaded])
        end = time.monotonic() + session.load_seconds
        number = 0
        while time.monotonic() < end:
            session.show(f"load, {max(end - time.monotonic(), 0):.0f} s left")
            for operation in (BY_TAG, BY_DIGEST, BLOB, PASSWORD_TOKEN):
                requests.load(operation)
            if number % _IMAGES_BETWEEN == 0:
                image.renew()
            # A repository without the blobs, so that they are uploaded.
            repository = f"admin/load-{number}"
            clients.push_at_once(loaded, image, "latest", repository)
            clients.pull(loaded, image, "latest", repository)
            number += 1
        image.remove()
        _measure_memory(session, LOADED, [loaded])


def _measure_memory(session: Session, what: str, servers: list[Server]) -> None:
    session.show(f"{what}: waiting {_SETTLE} s")
    time.sleep(_SETTLE)
    for number in range(session.rounds):
        time.sleep(_INTERVAL)
        for server in servers:
            session.record("memory", what, server.name, number, _memory(server))


def _memory(server: Server) -> dict[str, float]:
    """Return the proportional set size in MiB, in total, and by container and program."""
    figures = {"MiB": 0.0}
    for index, container in enumerate(server.containers):
        role = ("registry", "worker")[index]
        for process in processes_of(container.process):
            mebibytes = proportional_bytes(process) / MEBIBYTE
            figures["MiB"] += mebibytes
            name = f"{role}: {program(process)}"
            figures[name] = figures.get(name, 0.0) + mebibytes
    return figures


def measure_far(session: Session) -> None:
    """Measure a push and a pull of many layers with a delay between Atoll and PostgreSQL."""
    with _running_proxy(session) as set_delay:
        for tag_cache in (True, False):
            keys = {TAG_CACHE: tag_cache, **session.sites.variant.far_keys}
            with session.sites.running(database_port=_PROXY_PORT, keys=keys) as site:
                _measure_far(session, site, set_delay, tag_cache=tag_cache)


def _measure_far(
    session: Session, site: Server, set_delay: Callable[[float], None], *, tag_cache: bool
) -> None:
    image = Image(session.arena.work, IMAGE_C)
    clients = Clients(session.arena, [site])
    push, pull = push_name(IMAGE_C), pull_name(IMAGE_C)
    before = _PULLS_BEFORE if tag_cache else _PULLS_BEFORE_WITHOUT
    measured = _PULLS if tag_cache else _PULLS_WITHOUT

    def record(number: int, what: str, delay: float, seconds: float) -> None:
        name = far_name(what, delay, tag_cache=tag_cache)
        session.record("far", name, ATOLL, number, {"seconds": seconds})

    for number in range(session.rounds):
        session.show(f"push and pull C, round {number + 1} of {session.rounds}")
        for delay in alternate((0.0, DELAY), number):
            # The key does not change how long pushes take.
            set_delay(delay if tag_cache else 0.0)
            image.renew()
            tag = f"r{number}-{delay:g}".replace(".", "-")
            pushed = clients.push(site, image, tag)
            if tag_cache:
                record(number, push, delay, pushed.seconds)
            set_delay(delay)
            for _ in range(before):
                clients.pull(site, image, tag)
            pulled = [clients.pull(site, image, tag).seconds for _ in range(measured)]
            record(number, pull, delay, median(pulled))
    image.remove()


@contextmanager
def _running_proxy(session: Session) -> Iterator[Callable[[float], None]]:
    """Run the proxy until the block ends, and yield a function that sets its delay in seconds."""
    words = (str(_PROXY_PORT), "5432")
    with session.arena.running_module("delay_proxy", *words) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to_proxy, from_proxy = process.stdin, process.stdout

        def set_delay(seconds: float) -> None:
            to_proxy.write(f"{seconds}\n")
            to_proxy.flush()
            if not from_proxy.readline():
                raise BenchmarkError("the proxy that delays the database has ended")
            # What is on its way still has the old delay.
            time.sleep(_INTERVAL)

        if not from_proxy.readline():
            raise BenchmarkError("the proxy that delays the database does not listen")
        yield set_delay
