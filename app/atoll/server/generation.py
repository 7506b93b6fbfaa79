"""The processes that serve one reading of the bundle: made, put behind nginx, and ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from atoll.config import Bundle
from atoll.server.bundle import load_bundle, write_ca_bundle
from atoll.server.heartbeat import INSTANCE_VARIABLE
from atoll.server.local_health import well
from atoll.server.nginx import nginx_workers, write_nginx_configuration
from atoll.server.paths import bundle_directory, downloads_socket, operations_socket
from atoll.server.supervisor import ATOLL, END, Child, Children
from atoll.server.tls import Certificate, read_certificate


@dataclass(frozen=True)
class Reading:
    """What the bundle's directory said when it was read, all of it right."""

    bundle: Bundle
    certificate: Certificate | None


def read_bundle_directory() -> Reading:
    """Read bundle and certificate, and write the authorities for all processes of this container.

    Raises ConfigError, and then nothing was written.
    """
    bundle = load_bundle()
    reading = Reading(bundle, read_certificate(bundle, bundle_directory()))
    write_ca_bundle()
    return reading


@dataclass
class Generation:
    """COUNT web processes and, without a replication worker, what does its work beside copying."""

    number: int
    reading: Reading
    runtime: Path
    count: int
    web: list[Child] = field(init=False)
    house: list[Child] = field(init=False)
    sockets: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        # One instance, as the database sees it, that comes and goes as a whole.
        environment = {INSTANCE_VARIABLE: str(uuid4())}
        self.sockets = [
            self.runtime / f"web-{self.number}-{index}.sock" for index in range(self.count)
        ]
        self.web = [
            Child(socket.stem, [*ATOLL, "web", str(socket)], signal.SIGTERM, environment)
            for socket in self.sockets
        ]
        # Else the replication worker, which has its own unit, does this.
        alone = not self.reading.bundle.feature_storage_replication
        house = Child("housekeeping", [*ATOLL, "housekeeping"], signal.SIGTERM)
        self.house = [house] if alone else []

    @property
    def children(self) -> list[Child]:
        """All processes."""
        return [*self.web, *self.house]

    def start(self, children: Children, seconds: float) -> bool:
        """Start all, and tell whether they serve before so many SECONDS are over."""
        self.remove_sockets()
        children.start_behind(self.children)
        return children.wait(
            lambda: all(socket.exists() for socket in self.sockets), seconds, self.children
        )

    def well(self) -> set[str]:
        """Return the kinds of health by which all web processes are well."""
        return set.intersection(*(well(operations_socket(socket)) for socket in self.sockets))

    def write_nginx_configuration(
        self, target: Path, *, drain: int, client_connections: int
    ) -> None:
        """Write the nginx configuration that sends requests to these processes to TARGET."""
        write_nginx_configuration(
            target,
            self.reading.bundle,
            self.reading.certificate,
            self.sockets,
            drain=drain,
            client_connections=client_connections,
        )

    def end(self, children: Children) -> None:
        """End all now: nothing is in their hands."""
        for child in self.children:
            child.ask_to_end()
        for child in self.children:
            child.end(END)
        self.forget(children)

    def forget(self, children: Children) -> None:
        """Clear away what is left of processes that ended."""
        children.forget(self.children)
        self.remove_sockets()

    def remove_sockets(self) -> None:
        """Remove the sockets, of processes that ended or of a container that ran before."""
        for socket in self.sockets:
            for path in (socket, operations_socket(socket), downloads_socket(socket)):
                path.unlink(missing_ok=True)


class Retirement:
    """A generation's end, in steps: when the nginx WORKERS that knew it are gone, it is told to go.

    They have DRAIN seconds.
    """

    def __init__(
        self, generation: Generation, master: int, workers: Collection[int], drain: float
    ) -> None:
        self._generation = generation
        self._master = master
        self._workers = set(workers)
        self._deadline = time.monotonic() + drain + END
        self._told = False
        for child in generation.house:
            child.ask_to_end()

    def step(self, children: Children) -> bool:
        """Go on if that is possible now; tell whether all are gone."""
        late = time.monotonic() > self._deadline
        if not self._told:
            if late or not self._workers & nginx_workers(self._master).keys():
                self._tell()
            return False
        if late:
            for child in self._generation.children:
                child.kill()
        if any(child.running for child in self._generation.children):
            return False
        self._generation.forget(children)
        return True

    def _tell(self) -> None:
        for child in self._generation.children:
            child.ask_to_end()
        self._told = True
        self._deadline = time.monotonic() + END
