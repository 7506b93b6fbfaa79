"""The services of the tests: parallel starts, and what interrupted runs leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from podman.errors import APIError

from .ports import PORTS, is_free
from .services import (
    LABEL,
    OWNER,
    REPOSITORY,
    Services,
    podman_client,
    published_port,
    remove_leftovers,
    run_container,
    wait_until,
)

NO_PROCESS = "4194305-0"


def test_processes_that_start_in_parallel_remove_the_same_leftovers(services: Services) -> None:
    label, _, value = LABEL.partition("=")
    leftovers = [
        services.containers.create(
            "localhost/atoll-redis:dev", ["true"], labels={label: value, OWNER: NO_PROCESS}
        )
        for _ in range(4)
    ]

    def remove(_: int) -> None:
        with podman_client() as client:
            remove_leftovers(client)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(remove, range(3)))
    left = services.containers.list(all=True, filters={"label": LABEL})
    assert not {container.id for container in leftovers} & {container.id for container in left}


# The services of this process must not be the ones that end.
_PROGRAM = """
import psycopg2
from tests.integration.services import running_postgres, running_services

with running_postgres() as uri:
    with running_services():
        pass
    psycopg2.connect(uri).close()
"""


def test_the_end_of_the_services_affects_no_other_server_of_the_process() -> None:
    path = os.pathsep.join([str(REPOSITORY / "app"), *sys.path])
    words = [sys.executable, "-c", _PROGRAM]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_port_of_a_container_is_ever_assigned_to_another_server_by_the_kernel() -> None:
    first, _last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert PORTS.stop <= first


def test_a_port_that_is_redirected_to_a_killed_container_is_not_free(services: Services) -> None:
    with podman_client() as client:
        container = run_container(
            client,
            services.network,
            "localhost/atoll-redis:dev",
            "6379/tcp",
            command=["redis-server"],
        )
        port = published_port(container, "6379/tcp")
        state = container.attrs["State"]
        for process in (state["ConmonPid"], state["Pid"]):
            os.kill(process, signal.SIGKILL)
            wait_until("it has ended", lambda pid=process: not Path(f"/proc/{pid}").exists())
        try:
            assert not is_free(port)
        finally:
            # podman notices only at the first attempt that the container has ended.
            with suppress(APIError):
                container.remove(force=True, v=True)
            remove_leftovers(client)
        wait_until("the redirection is removed", lambda: is_free(port))
