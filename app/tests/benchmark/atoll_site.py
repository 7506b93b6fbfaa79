"""A site of Atoll as operators run it: the registry and its worker, from the image."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from commands import PODMAN, wait_until

from ..container_processes import seconds_since_start
from .arena import Arena
from .containers import CONFINED, Container, start, started, words_to_start
from .errors import BenchmarkError
from .operations import ATOLL
from .registry import Server
from .store import HOST, PORT

RELEASED = "localhost/atoll-registry:dev"
USERNAME = "admin"
_PORT, _WORKER_PORT = 8080, 9092
# The user of the image, who must be able to read the bundle.
_USER = 1001
# Seconds between two requests while the registry starts, and between two looks at its container.
_POLL, _CHECK = 0.002, 0.25
# Seconds in which a registry serves unless something is wrong, and in which it must serve.
_USUAL_SECONDS, _START_SECONDS = 5, 120


@dataclass(frozen=True)
class Variant:
    """What is different from the released image with its defaults.

    Attributes:
        image: the image.
        keys: keys of the bundle, all with their values.
        far_keys: further keys for a site that is far from the database.
        environment: environment variables of the containers.
    """

    image: str = RELEASED
    keys: Mapping[str, object] = field(default_factory=dict)
    far_keys: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """How long a registry took to serve.

    Attributes:
        command: seconds from the call of podman to the first 200 of /health/instance.
        process: seconds from the container's first process to the same response.
    """

    command: float
    process: float


class _Moment(NamedTuple):
    """The same moment on two clocks."""

    perf_counter: float
    boottime: float


class AtollSites:
    """Starts sites, each with a database and a bucket of its own.

    Args:
        arena: the servers that sites use.
        variant: the image and its settings.
    """

    def __init__(self, arena: Arena, variant: Variant) -> None:
        self.variant = variant
        self._arena = arena
        self._password = os.urandom(12).hex()
        self._secret = os.urandom(24).hex()
        self._numbers = itertools.count(1)
        self._template: str | None = None

    @contextmanager
    def running(
        self,
        *,
        worker: bool = True,
        database_port: int | None = None,
        keys: Mapping[str, object] | None = None,
    ) -> Iterator[Site]:
        """Run a new site until the block ends.

        Args:
            worker: whether the site has its worker, as deployed.
            database_port: the port of a proxy for PostgreSQL.
            keys: further keys of the bundle.
        """
        number = next(self._numbers)
        store = self._arena.store
        bucket = f"atoll-{number}"
        store.create_bucket(bucket)
        database = self._arena.create_database(self._migrated())
        ports = {} if database_port is None else {"port": database_port}
        uri = self._arena.database_uri(database, **ports)
        stack = self._write_bundle(f"site-{number}", uri, bucket, keys or {})
        site = Site(self._arena, self.variant, stack, (USERNAME, self._password))
        try:
            site.start()
            if worker:
                site.start_worker()
            yield site
        finally:
            site.stop()
            store.remove_bucket(bucket)

    def _migrated(self) -> str:
        """Return the database that is copied for each site."""
        if self._template is None:
            self._template = self._arena.create_database()
            self._arena.store.create_bucket("template")
            uri = self._arena.database_uri(self._template)
            stack = self._write_bundle("template", uri, "template", {})
            words = words_to_start(
                self._arena.images[self.variant.image],
                "migrate",
                options=_options(self._arena, self.variant, stack),
            )
            words[words.index("--detach")] = "--rm"
            done = subprocess.run([*PODMAN, *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise BenchmarkError(f"the database was not migrated:\n{done.stdout}{done.stderr}")
        return self._template

    def _write_bundle(
        self, name: str, database_uri: str, bucket: str, keys: Mapping[str, object]
    ) -> Path:
        """Write a bundle for one location that clients and the registry use without TLS."""
        redis = {"host": "127.0.0.1", "port": 6379}
        store = self._arena.store
        location = {
            "hostname": HOST,
            "port": PORT,
            "is_secure": False,
            "storage_path": "/datastorage/registry",
            "bucket_name": bucket,
            "access_key": store.access_key,
            "secret_key": store.secret_key,
        }
        bundle = {
            "SERVER_HOSTNAME": f"127.0.0.1:{_PORT}",
            "DB_URI": database_uri,
            "SECRET_KEY": self._secret,
            "SUPER_USERS": [USERNAME],
            "INITIAL_SUPERUSER_PASSWORD": self._password,
            "BUILDLOGS_REDIS": redis,
            "USER_EVENTS_REDIS": redis,
            "DISTRIBUTED_STORAGE_CONFIG": {"local": ["RadosGWStorage", location]},
            "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["local"],
            "DISTRIBUTED_STORAGE_PREFERENCE": ["local"],
            "FEATURE_STORAGE_REPLICATION": True,
            "CREATE_NAMESPACE_ON_PUSH": True,
            # Public, so that tokens can be measured without a password, too.
            "CREATE_PRIVATE_REPO_ON_PUSH": False,
            **self.variant.keys,
            **keys,
        }
        stack = self._arena.directory / name
        stack.mkdir(mode=0o700)
        file = stack / "config.yaml"
        file.touch(mode=0o600)
        # JSON is YAML.
        file.write_text(json.dumps(bundle))
        for path in (stack, file):
            os.chown(path, _USER, _USER)
        return stack


class Site(Server):
    """One site."""

    def __init__(
        self, arena: Arena, variant: Variant, stack: Path, credentials: tuple[str, str]
    ) -> None:
        super().__init__(ATOLL, _PORT, arena.address, [], credentials)
        self._variant = variant
        self._stack = stack
        self._arena = arena
        self.image = arena.images[variant.image]

    def start(self, *words: str) -> Start:
        """Start the registry, wait until it is healthy, and return how long that took.

        Args:
            words: the command instead of the default of the image.
        """
        options = _options(self._arena, self._variant, self._stack)
        words_of_podman = words_to_start(self.image, *words, options=options)
        began = time.perf_counter()
        with subprocess.Popen(
            [*PODMAN, *words_of_podman],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as podman:
            # Without a look at the container, which would delay the measurement.
            served = self._first_answer(began, _USUAL_SECONDS, lambda: not podman.poll())
            output, complaints = podman.communicate()
        if podman.returncode:
            raise BenchmarkError(f"the registry was not started:\n{complaints}")
        container = started(output)
        self.containers.append(container)
        served = served or self._first_answer(began, _START_SECONDS, container.is_running)
        if served is None:
            raise BenchmarkError(f"the registry does not serve:\n{container.log()}")
        wait_until("the site is healthy", lambda: self.answers("/health/endtoend"))
        return Start(
            served.perf_counter - began, seconds_since_start(container.process, served.boottime)
        )

    def start_worker(self) -> None:
        """Start the replication worker, which also does the maintenance."""
        options = _options(self._arena, self._variant, self._stack)
        port = f"--env=ATOLL_OPERATIONS_PORT={_WORKER_PORT}"
        worker = start(self.image, "replication", options=(*options, port))
        self.containers.append(worker)
        own = Server("worker", _WORKER_PORT, self.address, [worker])
        wait_until("the worker is healthy", lambda: own.answers("/health/instance"))

    @property
    def registry(self) -> Container:
        """The container of the registry."""
        return self.containers[0]

    def stop(self) -> None:
        """Remove the containers."""
        for container in self.containers:
            container.remove()
        self.containers.clear()

    def _first_answer(
        self, began: float, seconds: float, is_possible: Callable[[], bool]
    ) -> _Moment | None:
        """Return when the registry first served, None if that is impossible or takes too long."""
        checked = began
        while time.perf_counter() - began < seconds:
            if self._serves():
                return _Moment(time.perf_counter(), time.clock_gettime(time.CLOCK_BOOTTIME))
            if time.perf_counter() - checked > _CHECK:
                checked = time.perf_counter()
                if not is_possible():
                    return None
            time.sleep(_POLL)
        return None

    def _serves(self) -> bool:
        try:
            return self.get("/health/instance").status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def _options(arena: Arena, variant: Variant, stack: Path) -> tuple[str, ...]:
    variables = (f"--env={name}={value}" for name, value in variant.environment.items())
    return (
        arena.network,
        *CONFINED,
        f"--volume={stack}:/conf/stack",
        "--env=QUAY_DISTRIBUTED_STORAGE_PREFERENCE=local",
        *variables,
    )
