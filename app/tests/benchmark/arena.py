"""The place of the measurements: one private network with all servers and clients.

Every container has the network namespace of the one that holds the clients. All traffic is on its
loopback interface, without address translation, and no port of this machine is used.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psycopg2
import redis
from commands import REPOSITORY, wait_until

from .containers import start
from .errors import BenchmarkError
from .store import ENDPOINT, REGION, STORE_IMAGE, ObjectStore

TOOLS_IMAGE = "localhost/atoll-benchmark:13"
POSTGRES_IMAGE, REDIS_IMAGE = "localhost/atoll-postgres:dev", "localhost/atoll-redis:dev"
# The directory of the images' files in the container of the clients.
WORK = Path("/work")
_POSTGRES_PORT, _REDIS_PORT = 5432, 6379
# Unlike in the tests, PostgreSQL waits for the disk, as in production.
_POSTGRES = (
    "initdb -D /tmp/data -U atoll -A trust -E UTF8 --locale=C.UTF-8 >/dev/null &&"
    " echo 'host all all all trust' >>/tmp/data/pg_hba.conf &&"
    " exec postgres -D /tmp/data -c listen_addresses=* -c unix_socket_directories=/tmp"
    " -c max_connections=200"
)


@dataclass(frozen=True)
class Finished:
    """A program that ended successfully.

    Attributes:
        output: its standard output.
        seconds: how long it ran.
        processor: the processor time of all its processes in seconds.
    """

    output: str
    seconds: float
    processor: float


class Arena:
    """The servers that all parts share, and the programs that use them.

    Args:
        directory: the directory for all files of the run.
        rclone: the program rclone.
        images: the ids of images by their tags.
    """

    def __init__(self, directory: Path, rclone: Path, images: Mapping[str, str]) -> None:
        self.images = images
        self.directory = directory
        self.work = directory / "work"
        self.work.mkdir(parents=True)
        self._rclone = rclone
        self._databases = 0
        self._store: ObjectStore | None = None

    @contextmanager
    def running(self) -> Iterator[Arena]:
        """Run the servers until the block ends."""
        tools = start(
            self.images[TOOLS_IMAGE],
            options=(
                f"--volume={self.work}:{WORK}",
                f"--volume={self._rclone}:/usr/local/bin/rclone:ro",
            ),
        )
        self.tools = tools
        self.network = f"--network=container:{tools.identity}"
        self.address = tools.address
        containers = [tools]
        try:
            self.postgres = start(
                self.images[POSTGRES_IMAGE],
                _POSTGRES,
                options=(self.network, "--entrypoint=" + '["/bin/bash", "-c"]'),
            )
            containers.append(self.postgres)
            self.redis = start(
                self.images[REDIS_IMAGE],
                *("redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""),
                options=(self.network,),
            )
            containers.append(self.redis)
            wait_until("PostgreSQL answers", self._postgres_answers)
            wait_until("Redis answers", self._redis_answers)
            yield self
        finally:
            if self._store is not None:
                containers.append(self._store.container)
            for container in reversed(containers):
                container.remove()

    def use_store(self, *, tcp_nodelay: bool) -> ObjectStore:
        """Return a store with the given setting, a new one if the current one has another."""
        if self._store is not None and self._store.tcp_nodelay != tcp_nodelay:
            self._store.container.remove()
            self._store = None
        if self._store is None:
            self._store = ObjectStore(
                self.images[STORE_IMAGE],
                self.network,
                self.address,
                self.directory,
                tcp_nodelay=tcp_nodelay,
            )
            self._store.wait()
        return self._store

    @property
    def store(self) -> ObjectStore:
        """The current store."""
        if self._store is None:
            raise BenchmarkError("no store is running")
        return self._store

    def database_uri(self, name: str, port: int = _POSTGRES_PORT) -> str:
        """Return the URI of a database in the network, also through a proxy at another port."""
        return f"postgresql://atoll@127.0.0.1:{port}/{name}"

    def create_database(self, template: str | None = None) -> str:
        """Create a database, empty or as a copy of another one, and return its name."""
        self._databases += 1
        name = f"benchmark_{self._databases}"
        copied = f" TEMPLATE {template}" if template else ""
        connection = self._connect()
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}{copied}")
        connection.close()
        return name

    def run(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> Finished:
        """Run a program of the clients' container in the network.

        Raises:
            BenchmarkError: it failed.
        """
        namespaces = ("--mount", "--net", "--pid", "--ipc", "--uts")
        inside = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/root", **(environment or {})}
        return self._run([*self._enter(*namespaces), *words], words[0], inside)

    def run_here(self, words: Sequence[str]) -> Finished:
        """Run a program of this machine."""
        return self._run(words, words[0], os.environ)

    def run_module(self, module: str, *words: str) -> Finished:
        """Run a module of this package in the network, with this Python."""
        return self._run(self._module(module, *words), module, self._python_environment())

    @contextmanager
    def running_module(self, module: str, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Run a module of this package in the network until the block ends."""
        process = subprocess.Popen(
            self._module(module, *words),
            env=self._python_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def rclone_environment(self) -> dict[str, str]:
        """Return the settings of rclone for the remote `store`."""
        store = self.store
        return {
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_STORE_TYPE": "s3",
            "RCLONE_CONFIG_STORE_PROVIDER": "Ceph",
            "RCLONE_CONFIG_STORE_ENDPOINT": ENDPOINT,
            "RCLONE_CONFIG_STORE_REGION": REGION,
            "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": store.access_key,
            "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": store.secret_key,
        }

    def _enter(self, *namespaces: str) -> list[str]:
        return ["nsenter", f"--target={self.tools.process}", *namespaces, "--"]

    def _module(self, module: str, *words: str) -> list[str]:
        return [*self._enter("--net"), sys.executable, "-m", f"tests.benchmark.{module}", *words]

    def _python_environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(REPOSITORY / "app")}

    def _run(self, words: Sequence[str], name: str, environment: Mapping[str, str]) -> Finished:
        log = self.directory / "program.log"
        with log.open("w+") as errors, (self.directory / "program.out").open("w+") as output:
            began = time.perf_counter()
            process = subprocess.Popen(
                words, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
            )
            # Unlike `wait`, this returns the processor time.
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            printed, complaints = _content(output), _content(errors)
        if process.returncode:
            raise BenchmarkError(f"{name} failed ({process.returncode}): {complaints[-2000:]}")
        return Finished(printed, seconds, usage.ru_utime + usage.ru_stime)

    def _connect(self) -> psycopg2.extensions.connection:
        uri = f"postgresql://atoll@{self.address}:{_POSTGRES_PORT}/postgres"
        return psycopg2.connect(uri, connect_timeout=2)

    def _postgres_answers(self) -> bool:
        self.postgres.require_running()
        try:
            self._connect().close()
        except psycopg2.OperationalError:
            return False
        return True

    def _redis_answers(self) -> bool:
        try:
            client = redis.Redis(host=self.address, port=_REDIS_PORT, socket_timeout=2)
            return bool(client.ping())
        except redis.RedisError:
            return False


def _content(file: IO[str]) -> str:
    file.seek(0)
    return file.read()
