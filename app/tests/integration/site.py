"""A site for tests: the real application on a real port, and a client for it."""

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
from atoll.replication.worker import Worker
from atoll.server.paths import HEALTH_URL_FILE
from atoll.services import Services as SiteServices
from atoll.storage.locations import Locations
from atoll.storage.states import refresh_in_background
from atoll.web.app import create_app
from atoll.web.health import EndToEndHealth, InstanceHealth
from atoll.web.operations_app import create_operations_app

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
    """One site: its registry in this process, and its worker in another one."""

    url: str
    operations_url: str
    services: SiteServices
    directory: Path
    preference: str
    worker: subprocess.Popen[bytes] | None = None
    log: list[str] = field(default_factory=list)

    @property
    def locations(self) -> Locations:
        return self.services.locations

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
        """Run `atoll …`, or another module, at this site in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", module, *words],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            **arguments,
        )

    def command_here(self, *words: str) -> tuple[int, str, str]:
        """Run `atoll …` in this process, which is faster; return the exit status and outputs."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self.environment()),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            status = main(words)
        return status, out.getvalue(), err.getvalue()

    def start_worker(self) -> None:
        """Start the replication worker in a process of its own."""
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
        """Wait until the worker claims tasks."""
        wait_until("the worker is running", self._worker_is_up.exists)

    @property
    def _worker_is_up(self) -> Path:
        return self.directory / "run" / HEALTH_URL_FILE

    def copy_all(self) -> None:
        """Copy all blobs that this site lacks, as the worker does, but in this process."""
        worker = Worker(
            self.services.database,
            self.locations,
            copies=1,
            cache=self.services.placement_cache,
        )
        waiting = (
            "SELECT 1 FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id"
            " WHERE l.name = %s"
        )
        worker.start()
        wait_until(
            "all tasks are done",
            lambda: not self.services.database.read(waiting, [self.locations.preference[0]]),
        )
        worker.stop()

    def stop_worker(self, *, kill: bool = False) -> None:
        if self.worker is not None:
            self.worker.kill() if kill else self.worker.terminate()
            self.worker.wait()
            self.worker = None


def make_site_services(
    services: Services,
    database: str,
    directory: Path,
    preference: str,
    changes: dict[str, object] | None = None,
) -> SiteServices:
    """Write a bundle with changed keys below a directory, and return the services of its site."""
    stack = directory / "stack"
    (stack / "extra_ca_certs").mkdir(parents=True)
    (stack / "extra_ca_certs" / "store.crt").write_text(services.us.certificate.read_text())
    (stack / "config.yaml").write_text(yaml.safe_dump(bundle(services, database) | (changes or {})))
    settings = load({"QUAY_DISTRIBUTED_STORAGE_PREFERENCE": preference}, stack)
    site_services = SiteServices(settings, spool=directory, connections=9)
    # As `cached_property` would do, but with a certificate that is not in the system's store.
    site_services.__dict__["locations"] = Locations.from_bundle(
        settings, str(services.us.certificate)
    )
    # The machine that runs the tests does not have the image's spool directory.
    os.environ["ATOLL_SPOOL_DIRECTORY"] = str(directory)
    return site_services


class _Server:
    """A waitress server that runs until the end of the tests and serves one application at a time.

    waitress cannot stop while clients hold connections, and each server has many threads.
    """

    _free: ClassVar[list[_Server]] = []

    def __init__(self) -> None:
        self._app: Callable[..., Any] | None = None
        server = waitress.server.create_server(self, listen="127.0.0.1:0", threads=8)
        # Another host name than that of the stores, as in production, so that clients are
        # redirected to them.
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
    site_services = make_site_services(services, database, directory, preference, changes)
    server = _Server.serving(create_app(site_services.dependencies()))
    operations = _Server.serving(
        create_operations_app(
            InstanceHealth(site_services.health_probe, site_services.thread_registry),
            EndToEndHealth(site_services.health_probe, site_services.locations),
        )
    )
    prober = site_services.locations.start_probing(site_services.thread_registry)
    site_services.doubt_sharing.start(site_services.thread_registry)
    states_thread = refresh_in_background(
        site_services.locations.states, site_services.database, site_services.thread_registry
    )
    site_services.health_probe.start(site_services.thread_registry)
    site_services.reads.start(site_services.thread_registry)
    # Until the first check of Redis, nothing is read from the cache.
    site_services.health_probe.wait_for_first(60)
    site_services.pulls.start(site_services.thread_registry)
    if site_services.tag_listener is not None:
        site_services.tag_listener.start(site_services.thread_registry)
    site = Site(server.url, operations.url, site_services, directory, preference)
    wait_until(
        "both stores are probed",
        lambda: all(
            site_services.locations.health.state(name).up is not None
            for name in site_services.locations.stores
        ),
    )
    try:
        yield site
    finally:
        site.stop_worker()
        prober.stop()
        site_services.doubt_sharing.stop()
        states_thread.stop()
        site_services.health_probe.stop()
        site_services.pulls.stop()
        if site_services.tag_listener is not None:
            site_services.tag_listener.stop()
        for one in (server, operations):
            one.release()


class Client:
    """An OCI client that returns every response, unlike real clients."""

    def __init__(self, site: Site, username: str | None = SUPERUSER, password: str = PASSWORD):
        self.site = site
        self.credentials = (username, password) if username else None
        self.session = requests.Session()
        # Environment variables of this machine could name another file of CA certificates.
        self.session.trust_env = False
        self.tokens: dict[str, str] = {}
        self.session.verify = str(site.directory / "stack/extra_ca_certs/store.crt")

    def token(self, scope: str) -> str:
        """Return a token for a scope; like real clients, reuse it."""
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
        """Send a request with a token for a scope; the path may be a Location."""
        headers = dict(arguments.pop("headers", {}))  # type: ignore[call-overload]
        if scope:
            headers["Authorization"] = f"Bearer {self.token(scope)}"
        arguments.setdefault("allow_redirects", False)
        url = urljoin(self.site.url, path)
        return self.session.request(method, url, headers=headers, **arguments)  # type: ignore[arg-type]

    def push_blob(self, name: str, data: bytes) -> str:
        """Push a blob as podman does, with POST, one PATCH and PUT; return its digest."""
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
        """Get a blob, and follow the redirect to the store without the registry's token."""
        answer = self.request(
            "GET", f"/v2/{name}/blobs/{digest}", f"repository:{name}:pull", **arguments
        )
        if answer.status_code != 307:
            return answer
        headers = arguments.get("headers")
        return self.session.get(answer.headers["Location"], headers=headers)  # type: ignore[arg-type]
