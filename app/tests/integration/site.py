"""A site as the tests run it: the real application on a real port, and a client to talk to it."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock
from urllib.parse import urljoin

import requests
import waitress.server
import yaml
from atoll.cli.main import main
from atoll.config import load
from atoll.registry.blobs import cache_key
from atoll.replication.worker import Worker
from atoll.server.paths import HEALTH_URL_FILE
from atoll.services import Services as SiteServices
from atoll.storage.locations import Locations
from atoll.storage.states import refresh_in_background
from atoll.web.app import create_app, create_operations_app
from atoll.web.health import EndToEndHealth, InstanceHealth

from .services import REPOSITORY, Services, wait_until

SUPERUSER, PASSWORD = "admin", "correct horse battery"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


def bundle(services: Services, database: str, hostname: str = "registry.test") -> dict[str, object]:
    """Return a config.yaml for two sites."""
    redis = {"host": services.redis_host, "port": services.redis_port}
    return {
        "SERVER_HOSTNAME": hostname,
        "DB_URI": services.postgres_uri.rpartition("/")[0] + f"/{database}",
        "SECRET_KEY": "a secret of the tests, long enough",
        "SUPER_USERS": [SUPERUSER],
        "INITIAL_SUPERUSER_PASSWORD": PASSWORD,
        "BUILDLOGS_REDIS": redis,
        "USER_EVENTS_REDIS": redis,
        "DISTRIBUTED_STORAGE_CONFIG": {
            store.location: store.settings for store in services.stores()
        },
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["usstorage", "eustorage"],
        "DISTRIBUTED_STORAGE_PREFERENCE": ["usstorage", "eustorage"],
        "FEATURE_STORAGE_REPLICATION": True,
        "CREATE_NAMESPACE_ON_PUSH": True,
    }


@dataclass
class Site:
    """One site's registry, in this process, and its worker, in another."""

    url: str
    operations_url: str
    graph: SiteServices
    directory: Path
    preference: str
    worker: subprocess.Popen[bytes] | None = None
    log: list[str] = field(default_factory=list)

    @property
    def locations(self) -> Locations:
        return self.graph.locations

    def environment(self) -> dict[str, str]:
        """Return the environment for a process of this site."""
        return {
            **os.environ,
            "ATOLL_BUNDLE_DIRECTORY": str(self.directory / "stack"),
            "ATOLL_RUNTIME_DIRECTORY": str(self.directory / "run"),
            "ATOLL_SPOOL_DIRECTORY": str(self.directory),
            "QUAY_DISTRIBUTED_STORAGE_PREFERENCE": self.preference,
            "PYTHONPATH": str(REPOSITORY / "app"),
        }

    def command(
        self, *words: str, module: str = "atoll.cli.main", **arguments: object
    ) -> subprocess.CompletedProcess[str]:
        """Run `atoll …` at this site, or another MODULE."""
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            **arguments,
        )

    def command_here(self, *words: str) -> tuple[int, str, str]:
        """Run `atoll …` in this process, which is faster; return its status and what it printed."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment()),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = main(words)
        return status, out.getvalue(), err.getvalue()

    def start_worker(self) -> None:
        """Start the replication worker as a process of its own."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self._worker_is_up.unlink(missing_ok=True)
        with (self.directory / "worker.log").open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", "atoll.cli.main", "replication"],
                env=self.environment() | {"ATOLL_OPERATIONS_PORT": str(port)},
                stderr=log,
            )

    def wait_for_worker(self) -> None:
        """Wait until the worker takes tasks."""
        wait_until("the worker is up", self._worker_is_up.exists)

    @property
    def _worker_is_up(self) -> Path:
        return self.directory / "run" / HEALTH_URL_FILE

    def copy_all(self) -> None:
        """Do in this process what the worker would: copy all that this site lacks now."""
        redis = self.graph.redis
        worker = Worker(
            self.graph.database,
            self.locations,
            copies=1,
            forget_cached=lambda tasks: redis.delete(*(cache_key(task.digest) for task in tasks)),
        )
        waiting = (
            "SELECT 1 FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id"
            " WHERE l.name = %s"
        )
        worker.start()
        wait_until(
            "all is copied",
            lambda: not self.graph.database.read(waiting, [self.locations.preference[0]]),
        )
        worker.stop()

    def stop_worker(self, *, kill: bool = False) -> None:
        if self.worker is not None:
            self.worker.kill() if kill else self.worker.terminate()
            self.worker.wait()
            self.worker = None


def make_graph(
    services: Services,
    database: str,
    directory: Path,
    preference: str,
    changes: dict[str, object] | None = None,
) -> SiteServices:
    """Write a bundle below DIRECTORY, with CHANGES, and return the objects of its site."""
    stack = directory / "stack"
    (stack / "extra_ca_certs").mkdir(parents=True)
    (stack / "extra_ca_certs" / "store.crt").write_text(services.us.certificate.read_text())
    (stack / "config.yaml").write_text(yaml.safe_dump(bundle(services, database) | (changes or {})))
    settings = load({"QUAY_DISTRIBUTED_STORAGE_PREFERENCE": preference}, stack)
    graph = SiteServices(settings, spool=directory, connections=9)
    # As `cached_property` would, but with a certificate that is in no system's store.
    graph.__dict__["locations"] = Locations.from_bundle(settings, str(services.us.certificate))
    # The tests' machine has no spool directory of the image.
    os.environ["ATOLL_SPOOL_DIRECTORY"] = str(directory)
    return graph


class _Server:
    """A waitress server that lives as long as the tests; it serves one application at a time.

    waitress has no way to end while clients hold connections, and each server has many threads.
    """

    _free: ClassVar[list[_Server]] = []

    def __init__(self) -> None:
        self._app: Callable[..., Any] | None = None
        server = waitress.server.create_server(self, listen="127.0.0.1:0", threads=8)
        # Another name than the stores', as anywhere else, so that clients are redirected to them.
        self.url = f"http://localhost:{server.effective_port}"
        threading.Thread(target=server.run, daemon=True).start()

    def __call__(self, environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        assert self._app is not None
        return self._app(environment, start)

    @classmethod
    def serving(cls, app: Callable[..., Any]) -> _Server:
        server = cls._free.pop() if cls._free else cls()
        server._app = app
        return server

    def release(self) -> None:
        self._app = None
        self._free.append(self)


@contextmanager
def running_site(
    services: Services,
    database: str,
    directory: Path,
    preference: str,
    changes: dict[str, object] | None = None,
) -> Iterator[Site]:
    """Serve the registry's application with waitress on a port of 127.0.0.1."""
    graph = make_graph(services, database, directory, preference, changes)
    server = _Server.serving(create_app(graph.dependencies()))
    operations = _Server.serving(
        create_operations_app(
            InstanceHealth(graph.health_probe, graph.thread_registry),
            EndToEndHealth(graph.health_probe, graph.locations),
        )
    )
    prober = graph.locations.start_probing(graph.thread_registry)
    graph.doubt_sharing.start(graph.thread_registry)
    states_thread = refresh_in_background(
        graph.locations.states, graph.database, graph.thread_registry
    )
    graph.health_probe.start(graph.thread_registry)
    graph.reads.start(graph.thread_registry)
    # Before that nothing is read from the cache.
    graph.health_probe.wait_for_first(60)
    graph.pulls.start(graph.thread_registry)
    site = Site(server.url, operations.url, graph, directory, preference)
    wait_until(
        "both stores were probed",
        lambda: all(
            graph.locations.health.state(name).up is not None for name in graph.locations.stores
        ),
    )
    try:
        yield site
    finally:
        site.stop_worker()
        prober.stop()
        graph.doubt_sharing.stop()
        states_thread.stop()
        graph.health_probe.stop()
        graph.pulls.stop()
        for one in (server, operations):
            one.release()


class Client:
    """An OCI client that shows every answer, unlike the real ones."""

    def __init__(self, site: Site, username: str | None = SUPERUSER, password: str = PASSWORD):
        self.site = site
        self.credentials = (username, password) if username else None
        self.session = requests.Session()
        # This machine's own variables would name another file of certificates.
        self.session.trust_env = False
        self.tokens: dict[str, str] = {}
        self.session.verify = str(site.directory / "stack/extra_ca_certs/store.crt")

    def token(self, scope: str) -> str:
        """Return a token for SCOPE; as real clients do, the same one for a while."""
        if scope not in self.tokens:
            self.tokens[scope] = self._new_token(scope)
        return self.tokens[scope]

    def _new_token(self, scope: str) -> str:
        answer = self.session.get(
            f"{self.site.url}/v2/auth",
            params={"service": "registry.test", "scope": scope},
            auth=self.credentials,
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["token"]

    def request(
        self, method: str, path: str, scope: str | None = None, **arguments: object
    ) -> requests.Response:
        """Send a request with a token for SCOPE; PATH may be a Location."""
        headers = dict(arguments.pop("headers", {}))  # type: ignore[call-overload]
        if scope:
            headers["Authorization"] = f"Bearer {self.token(scope)}"
        arguments.setdefault("allow_redirects", False)
        url = urljoin(self.site.url, path)
        return self.session.request(method, url, headers=headers, **arguments)  # type: ignore[arg-type]

    def push_blob(self, name: str, data: bytes) -> str:
        """Push a blob as podman does: POST, one PATCH, PUT. Return its digest."""
        scope = f"repository:{name}:pull,push"
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        answer = self.request("POST", f"/v2/{name}/blobs/uploads/", scope)
        assert answer.status_code == 202, answer.text
        answer = self.request("PATCH", answer.headers["Location"], scope, data=data)
        assert answer.status_code == 202, answer.text
        answer = self.request("PUT", answer.headers["Location"], scope, params={"digest": digest})
        assert answer.status_code == 201, answer.text
        return digest

    def pull_blob(self, name: str, digest: str, **arguments: object) -> requests.Response:
        """Get a blob, following the redirect to the store, which wants no token of ours."""
        answer = self.request(
            "GET", f"/v2/{name}/blobs/{digest}", f"repository:{name}:pull", **arguments
        )
        if answer.status_code != 307:
            return answer
        headers = arguments.get("headers")
        return self.session.get(answer.headers["Location"], headers=headers)  # type: ignore[arg-type]
