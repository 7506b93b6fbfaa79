"""The processes that serve one version of the bundle, from their start to their end."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

from atoll.config import Bundle
from atoll.server.bundle import load_bundle, write_ca_bundle
from atoll.server.forks import Run
from atoll.server.health_client import healthy_endpoints
from atoll.server.heartbeat import INSTANCE_VARIABLE
from atoll.server.nginx import nginx_workers, write_nginx_configuration
from atoll.server.paths import bundle_directory, downloads_socket, operations_socket
from atoll.server.supervisor import STOP_SECONDS, Child, Supervisor
from atoll.server.tls import Certificate, read_certificate
from atoll.server.web_process import serve


@dataclass(frozen=True)
class LoadedBundle:
    """A valid version of the bundle's directory."""

    bundle: Bundle
    certificate: Certificate | None


def load_bundle_directory() -> LoadedBundle:
    """Load the bundle and the certificate, and write the CA certificates of this container.

    Raises:
        ConfigError: something is invalid; nothing was written.
    """
    bundle = load_bundle()
    loaded = LoadedBundle(bundle, read_certificate(bundle, bundle_directory()))
    write_ca_bundle()
    return loaded


@dataclass
class Generation:
    """The processes of one version of the bundle.

    These are the web processes and, without replication, a maintenance process.

    Attributes:
        number: the number of the version, part of the sockets' names.
        loaded: the bundle.
        runtime: the directory of the sockets.
        count: the number of web processes.
        run: runs a process in a fork of this one.
    """

    number: int
    loaded: LoadedBundle
    runtime: Path
    count: int
    run: Run
    web: list[Child] = field(init=False)
    maintenance: list[Child] = field(init=False)
    sockets: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        bundle = self.loaded.bundle
        # The web processes are one instance in the database.
        instance = {INSTANCE_VARIABLE: str(uuid4())}
        self.sockets = [
            self.runtime / f"web-{self.number}-{index}.sock" for index in range(self.count)
        ]
        self.web = [
            self._child(
                socket.stem, ["web", str(socket)], partial(serve, str(socket), bundle), instance
            )
            for socket in self.sockets
        ]
        # With replication, the worker does the maintenance; it is a unit of its own.
        self.maintenance = []
        if not bundle.feature_storage_replication:
            run = partial(_run_maintenance, bundle)
            self.maintenance.append(self._child("housekeeping", ["housekeeping"], run, {}))

    def _child(
        self,
        name: str,
        words: list[str],
        process: Callable[[], int],
        environment: Mapping[str, str],
    ) -> Child:
        return Child(name, words, signal.SIGTERM, environment, run=partial(self.run, process))

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [*self.web, *self.maintenance]

    def start_processes(self, supervisor: Supervisor) -> None:
        """Start all processes."""
        self.remove_sockets()
        supervisor.start_backends(self.children)

    def wait_until_serving(self, supervisor: Supervisor, seconds: float) -> bool:
        """Return whether all processes serve within SECONDS."""
        return supervisor.wait(
            lambda: all(socket.exists() for socket in self.sockets), seconds, self.children
        )

    def healthy_endpoints(self) -> set[str]:
        """Return the health endpoints that report every web process as healthy."""
        return set.intersection(
            *(healthy_endpoints(operations_socket(socket)) for socket in self.sockets)
        )

    def write_nginx_configuration(
        self, target: Path, *, drain: int, client_connections: int
    ) -> None:
        """Write an nginx configuration that sends requests to these processes."""
        write_nginx_configuration(
            target,
            self.loaded.bundle,
            self.loaded.certificate,
            self.sockets,
            drain=drain,
            client_connections=client_connections,
        )

    def stop(self, supervisor: Supervisor) -> None:
        """Stop all processes now; they serve no requests."""
        for child in self.children:
            child.request_stop()
        for child in self.children:
            child.stop(STOP_SECONDS)
        self.forget(supervisor)

    def forget(self, supervisor: Supervisor) -> None:
        """Remove the traces of processes that have ended."""
        supervisor.forget(self.children)
        self.remove_sockets()

    def remove_sockets(self) -> None:
        """Remove the sockets of processes that have ended, also those of an earlier container."""
        for socket in self.sockets:
            for path in (socket, operations_socket(socket), downloads_socket(socket)):
                path.unlink(missing_ok=True)


def _run_maintenance(bundle: Bundle) -> int:
    # Most sites have a replication worker, and do not need these modules.
    from atoll.server.maintenance_process import run_maintenance

    return run_maintenance(bundle)


class Retirement:
    """The end of a generation that was replaced, in steps.

    It is stopped once the nginx workers that send requests to it have exited.

    Args:
        generation: the generation.
        master: the process id of nginx.
        workers: the process ids of these workers.
        drain: the seconds that they have to finish their requests.
    """

    def __init__(
        self, generation: Generation, master: int, workers: Collection[int], drain: float
    ) -> None:
        self._generation = generation
        self._master = master
        self._workers = set(workers)
        self._deadline = time.monotonic() + drain + STOP_SECONDS
        self._stopping = False
        for child in generation.maintenance:
            child.request_stop()

    def step(self, supervisor: Supervisor) -> bool:
        """Do what is possible now, and return whether all processes have ended."""
        late = time.monotonic() > self._deadline
        if not self._stopping:
            if late or not self._workers & nginx_workers(self._master).keys():
                self._request_stop()
            return False
        if late:
            for child in self._generation.children:
                child.kill()
        if any(child.running for child in self._generation.children):
            return False
        self._generation.forget(supervisor)
        return True

    def _request_stop(self) -> None:
        for child in self._generation.children:
            child.request_stop()
        self._stopping = True
        self._deadline = time.monotonic() + STOP_SECONDS
