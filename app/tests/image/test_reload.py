"""On SIGHUP the bundle is read again in the same container, and no request fails."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
import yaml

from ..integration.conftest import make_database
from ..integration.services import Services, make_certificate, wait_until
from .running import (
    CONFINED,
    USER,
    RunningImage,
    begin_upload,
    podman,
    push_blob,
    running_image,
    write_bundle,
)
from .slow_upload import SlowUpload

NAME = "library/reloaded"
WORKERS = 2
# A store that cannot be written to.
UNREACHABLE_STORE = {
    "DISTRIBUTED_STORAGE_CONFIG": {
        "usstorage": [
            "RadosGWStorage",
            {
                "hostname": "127.0.0.1",
                "port": 1,
                "is_secure": False,
                "storage_path": "/datastorage/registry",
                "bucket_name": "nothing",
                "access_key": "nobody",
                "secret_key": "nobody's",
            },
        ]
    },
    "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["usstorage"],
}


@pytest.fixture(scope="module")
def running(
    services: Services, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningImage]:
    """An instance with one location; a test adds the other one."""
    alone = {
        "DISTRIBUTED_STORAGE_CONFIG": {"usstorage": services.on_network().us.settings},
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["usstorage"],
        "DISTRIBUTED_STORAGE_PREFERENCE": ["usstorage"],
    }
    database = make_database(services, template)
    stack = write_bundle(services, database, tmp_path_factory.mktemp("reload"), alone)
    options = (*CONFINED, f"--env=WORKER_COUNT_REGISTRY={WORKERS}")
    with running_image(services, stack, preference="usstorage", options=options) as image:
        yield image


class Load(threading.Thread):
    """Requests health and pushes blobs, each over a new connection, until the block ends."""

    def __init__(self, running: RunningImage) -> None:
        super().__init__()
        self._running = running
        self._stop_asked = threading.Event()
        self.requests = 0
        self.failures: list[str] = []

    def __enter__(self) -> Load:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop_asked.set()
        self.join()

    def wait_for_more(self) -> None:
        before = self.requests
        wait_until("more requests were sent", lambda: self.requests > before)

    def run(self) -> None:
        session = self._running.session()
        # A server may close an idle connection, which clients expect.
        session.headers["Connection"] = "close"
        self._running.authorize(session, NAME)
        for turn in itertools.count():
            if self._stop_asked.is_set():
                return
            url = self._running.url if turn % 2 else self._running.tls_url
            try:
                for kind in ("instance", "endtoend"):
                    session.get(f"{url}/health/{kind}").raise_for_status()
                push_blob(session, url, NAME, os.urandom(1000))
            except (requests.RequestException, AssertionError) as error:
                self.failures.append(repr(error))
            self.requests += 1


def write_keys(running: RunningImage, changes: dict[str, object]) -> None:
    file = running.bundle_directory / "config.yaml"
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | changes))
    os.chown(new, USER, USER)
    new.replace(file)


def sockets(running: RunningImage) -> set[str]:
    """Return the sockets of the running web processes."""
    shown = podman("top", str(running.container.id), "args").stdout
    return set(re.findall(r"atoll web \S+/(\S+)\.sock", shown))


def process_start(running: RunningImage) -> tuple[int, str]:
    running.container.reload()
    state = running.container.attrs["State"]
    return state["Pid"], state["StartedAt"]


def served_certificate(running: RunningImage) -> str:
    address = urlsplit(running.tls_url)
    assert address.hostname is not None
    assert address.port is not None
    return ssl.get_server_certificate((address.hostname, address.port))


def test_an_added_location_is_used_and_no_request_fails(
    running: RunningImage, services: Services
) -> None:
    metrics = f"{running.operations_url}/metrics"
    before = process_start(running)
    eu = 'atoll_store_up{location="eustorage"}'
    assert eu not in requests.get(metrics).text
    session = running.session()
    running.authorize(session, NAME)
    upload = SlowUpload(session, begin_upload(session, running.url, NAME))
    upload.start()
    upload.begun.wait()
    stores = {store.location: store.settings for store in services.on_network().stores()}
    write_keys(
        running,
        {
            "DISTRIBUTED_STORAGE_CONFIG": stores,
            "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": list(stores),
        },
    )
    with Load(running) as load:
        load.wait_for_more()
        for _ in range(2):
            reloaded = running.run("atoll", "reload")
            assert reloaded.returncode == 0, reloaded.stdout
            load.wait_for_more()

    assert load.failures == []
    assert f"{eu} 1.0" in requests.get(metrics).text
    assert process_start(running) == before
    # Requests in progress at the first reload are finished by the old processes.
    assert "web-1-0" in sockets(running)
    upload.go_on.set()
    upload.join()
    assert upload.answer is not None
    assert upload.answer.status_code == 201, upload.answer.text
    wait_until(
        "only the new processes are left", lambda: sockets(running) == {"web-3-0", "web-3-1"}
    )


@pytest.fixture
def write_invalid_keys(running: RunningImage) -> Iterator[Callable[[dict[str, object]], None]]:
    """Return a function that writes keys for one test, and restore the bundle afterwards."""
    before = yaml.safe_load((running.bundle_directory / "config.yaml").read_text())
    yield partial(write_keys, running)
    write_keys(running, before)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"BUILDLOGS_REDIS": {"host": "redis", "port": "many"}}, "BUILDLOGS_REDIS"),
        (UNREACHABLE_STORE, "unhealthy at /health/endtoend"),
    ],
    ids=["invalid", "wrong-store"],
)
def test_an_invalid_bundle_changes_nothing(
    running: RunningImage,
    write_invalid_keys: Callable[[dict[str, object]], None],
    keys: dict[str, object],
    sentence: str,
) -> None:
    wait_until("no reload is in progress", lambda: len(sockets(running)) == WORKERS)
    before = sockets(running), process_start(running)
    write_invalid_keys(keys)
    with Load(running) as load:
        refused = running.run("atoll", "reload")
        load.wait_for_more()

    assert refused.returncode == 1
    assert sentence in refused.stdout
    assert load.failures == []
    assert (sockets(running), process_start(running)) == before
    log = running.log()
    assert "bundle refused" in log
    assert sentence in log


def test_a_new_certificate_is_served(running: RunningImage, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, ["127.0.0.1"])
    assert served_certificate(running) != certificate.read_text()
    for file, name in ((certificate, "ssl.cert"), (key, "ssl.key")):
        shutil.copy(file, running.bundle_directory / name)
        os.chown(running.bundle_directory / name, USER, USER)
    running.container.kill(signal="SIGHUP")
    wait_until(
        "the new certificate is served",
        lambda: served_certificate(running) == certificate.read_text(),
    )
