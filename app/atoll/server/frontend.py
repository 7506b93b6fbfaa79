"""nginx and the generations of processes behind it: one serves, earlier ones finish."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

from atoll.config import Bundle
from atoll.errors import UserError
from atoll.server.forks import Run
from atoll.server.generation import (
    Generation,
    LoadedBundle,
    Retirement,
    load_bundle_directory,
)
from atoll.server.migration import migrate
from atoll.server.nginx import find_nginx_problem, nginx_workers
from atoll.server.paths import ca_bundle_file, write_atomically
from atoll.server.reload import Reloads
from atoll.server.supervisor import Child, Supervisor

log = logging.getLogger(__name__)

# Seconds for processes to serve, and for nginx to apply a configuration.
_START_SECONDS = 60
# Seconds for new processes to become as healthy as the old ones.
_HEALTH_SECONDS = 10


class Frontend:
    """Serves the last valid version of the bundle.

    Args:
        supervisor: the supervisor of all processes.
        reloads: the requests to reload the bundle.
        runtime: the directory of configuration and sockets.
        run: runs a process in a fork of this one.
        processes: the number of web processes.
        drain: seconds for requests in progress to finish.
        client_connections: the limit of concurrent requests per client; 0 disables it.
        migrate: whether to migrate the database before a bundle is served.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        reloads: Reloads,
        runtime: Path,
        run: Run,
        *,
        processes: int,
        drain: int,
        client_connections: int,
        migrate: bool,
    ) -> None:
        self._supervisor = supervisor
        self._reloads = reloads
        self._runtime = runtime
        self._run = run
        self._processes = processes
        self._drain = drain
        self._client_connections = client_connections
        self._migrates = migrate
        self._configuration = runtime / "nginx.conf"
        command = ["nginx", "-c", str(self._configuration), "-e", "stderr"]
        self._nginx = Child("nginx", command, signal.SIGQUIT)
        self._versions = 0
        self._serving: Generation
        self._retirements: list[Retirement] = []

    def migrate(self, bundle: Bundle, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Migrate the database unless that is disabled, and return the exit code.

        Args:
            bundle: the bundle that will be served.
            meanwhile: is called once, while the migration runs.
        """
        if not self._migrates:
            meanwhile()
            return 0
        run = partial(self._run, partial(migrate, bundle))
        child = Child("migrate", ["migrate"], signal.SIGTERM, run=run)
        return self._supervisor.run(child, meanwhile)

    def start(self, loaded: LoadedBundle) -> None:
        """Serve a bundle."""
        self._serving = self._generation(loaded)
        self._serving.start_processes(self._supervisor)
        self._write_nginx_configuration(self._serving, self._configuration)
        self._serving.wait_until_serving(self._supervisor, _START_SECONDS)
        self._supervisor.make_vital(self._serving.children)
        # Last, so that each request finds a process that serves.
        self._supervisor.start_frontend(self._nginx)

    def step(self) -> None:
        """Advance the end of earlier generations, and reload the bundle if that is requested."""
        self._retirements = [one for one in self._retirements if not one.step(self._supervisor)]
        if not self._reloads.pending:
            return
        self._reloads.begin()
        certificates = ca_bundle_file().read_text()
        try:
            self._reload()
        except UserError as error:
            write_atomically(ca_bundle_file(), certificates)
            self._reloads.refused(str(error))
        else:
            log.info("bundle reloaded", extra={"version": self._versions})
            self._reloads.succeeded()

    def _generation(self, loaded: LoadedBundle) -> Generation:
        self._versions += 1
        return Generation(self._versions, loaded, self._runtime, self._processes, self._run)

    def _write_nginx_configuration(self, generation: Generation, target: Path) -> None:
        generation.write_nginx_configuration(
            target, drain=self._drain, client_connections=self._client_connections
        )

    def _reload(self) -> None:
        """Serve the current version of the bundle.

        Raises:
            UserError: it is invalid or does not work; the old version still serves.
        """
        new = self._generation(load_bundle_directory())
        if self.migrate(new.loaded.bundle):
            raise UserError("the database could not be migrated; see the log")
        candidate = self._configuration.with_suffix(".next")
        self._write_nginx_configuration(new, candidate)
        if problem := find_nginx_problem(candidate):
            raise UserError(problem)
        try:
            self._prove(new)
        except UserError:
            new.stop(self._supervisor)
            raise
        candidate.replace(self._configuration)
        self._switch(new)

    def _prove(self, new: Generation) -> None:
        """Start a generation.

        Raises:
            UserError: it does not serve, or is less healthy than the one that serves now.
        """
        new.start_processes(self._supervisor)
        if not new.wait_until_serving(self._supervisor, _START_SECONDS):
            raise UserError("its processes do not serve; see the log")
        wanted = self._serving.healthy_endpoints()
        healthy = self._supervisor.wait(
            lambda: wanted <= new.healthy_endpoints(), _HEALTH_SECONDS, new.children
        )
        if not healthy:
            unhealthy = ", ".join(sorted(wanted - new.healthy_endpoints()))
            raise UserError(f"its processes are unhealthy at {unhealthy}; see the log")

    def _switch(self, new: Generation) -> None:
        """Send new requests to NEW; the old generation finishes its own."""
        master = self._nginx.pid
        before = _accepting_workers(master)

        def switched() -> bool:
            accepting = _accepting_workers(master)
            return bool(accepting) and not accepting & before

        old, self._serving = self._serving, new
        self._supervisor.make_vital(new.children, instead_of=old.children)
        self._nginx.send(signal.SIGHUP)
        if not self._supervisor.wait(switched, _START_SECONDS):
            # It is unknown which of the two serves, so all end, and systemd restarts them.
            self._nginx.kill()
            raise UserError("nginx did not apply its configuration")
        self._retirements.append(Retirement(old, master, before, self._drain))


def _accepting_workers(master: int) -> set[int]:
    """Return the process ids of the nginx workers that accept new requests."""
    return {worker for worker, accepts in nginx_workers(master).items() if accepts}
