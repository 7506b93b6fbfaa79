"""nginx, the generation of processes that serves behind it, and those that only finish."""

from __future__ import annotations

import logging
import signal
from pathlib import Path

from atoll.errors import UserError
from atoll.server.generation import Generation, Reading, Retirement, read_bundle_directory
from atoll.server.nginx import find_nginx_problem, nginx_workers
from atoll.server.paths import ca_bundle_file, write_atomically
from atoll.server.reload import Reloads
from atoll.server.supervisor import ATOLL, Child, Children

log = logging.getLogger(__name__)

# Seconds for processes to serve, and for nginx to take up another configuration.
_START = 60
# Seconds for new processes to find out that what they need is there.
_PROOF = 10


class Front:
    """What clients come to, with the bundle as it was read last and found right.

    Args:
        processes: the number of web processes.
        drain: seconds that running requests get.
        client_connections: requests that one client may have at the same time; 0 for any number.
        migrate: whether the database is prepared for a bundle first.
    """

    def __init__(
        self,
        children: Children,
        reloads: Reloads,
        runtime: Path,
        *,
        processes: int,
        drain: int,
        client_connections: int,
        migrate: bool,
    ) -> None:
        self._children = children
        self._reloads = reloads
        self._runtime = runtime
        self._processes = processes
        self._drain = drain
        self._client_connections = client_connections
        self._migrates = migrate
        self._configuration = runtime / "nginx.conf"
        command = ["nginx", "-c", str(self._configuration), "-e", "stderr"]
        self._nginx = Child("nginx", command, signal.SIGQUIT)
        self._readings = 0
        self._serving: Generation
        self._retirements: list[Retirement] = []

    def migrate(self) -> int:
        """Prepare the database if that is wanted; return the exit status."""
        if not self._migrates:
            return 0
        return self._children.run(Child("migrate", [*ATOLL, "migrate"], signal.SIGTERM))

    def start(self, reading: Reading) -> None:
        """Serve what READING says."""
        self._serving = self._generation(reading)
        self._serving.start(self._children, _START)
        self._children.rely_on(self._serving.children)
        # Last, so that a client finds who answers it.
        self._write_nginx_configuration(self._serving, self._configuration)
        self._children.start_in_front(self._nginx)

    def turn(self) -> None:
        """Go on with what is under way, and read the bundle again if somebody asks for it."""
        self._retirements = [one for one in self._retirements if not one.step(self._children)]
        if not self._reloads.pending:
            return
        self._reloads.begin()
        authorities = ca_bundle_file().read_text()
        try:
            self._reload()
        except UserError as error:
            write_atomically(ca_bundle_file(), authorities)
            self._reloads.refused(str(error))
        else:
            log.info("bundle read again", extra={"reading": self._readings})
            self._reloads.taken_over()

    def _generation(self, reading: Reading) -> Generation:
        self._readings += 1
        return Generation(self._readings, reading, self._runtime, self._processes)

    def _write_nginx_configuration(self, generation: Generation, target: Path) -> None:
        generation.write_nginx_configuration(
            target, drain=self._drain, client_connections=self._client_connections
        )

    def _reload(self) -> None:
        """Serve what the bundle says now.

        Raises ConfigError or UserError, and then what served before serves.
        """
        new = self._generation(read_bundle_directory())
        if self.migrate():
            raise UserError("the database could not be prepared for it; the log says why")
        candidate = self._configuration.with_suffix(".next")
        self._write_nginx_configuration(new, candidate)
        if problem := find_nginx_problem(candidate):
            raise UserError(problem)
        try:
            self._prove(new)
        except UserError:
            new.end(self._children)
            raise
        candidate.replace(self._configuration)
        self._switch(new)

    def _prove(self, new: Generation) -> None:
        """Start NEW; raise UserError unless it is as well as what serves now."""
        if not new.start(self._children, _START):
            raise UserError("its processes do not serve; the log says why")
        wanted = self._serving.well()
        if not self._children.wait(lambda: wanted <= new.well(), _PROOF, new.children):
            lacking = ", ".join(sorted(wanted - new.well()))
            raise UserError(f"its processes are not well by {lacking}; the log says why")

    def _switch(self, new: Generation) -> None:
        """Let nginx send what comes from now on to NEW; the old generation finishes."""
        master = self._nginx.number
        before = {worker for worker, takes in nginx_workers(master).items() if takes}

        def switched() -> bool:
            taking = {worker for worker, takes in nginx_workers(master).items() if takes}
            return bool(taking) and not taking & before

        old, self._serving = self._serving, new
        self._children.rely_on(new.children, instead_of=old.children)
        self._nginx.send(signal.SIGHUP)
        if not self._children.wait(switched, _START):
            # Which of the two serves is not known: all end, and systemd starts them again.
            self._nginx.kill()
            raise UserError("nginx did not take it up")
        self._retirements.append(Retirement(old, master, before, self._drain))
