"""Measure pulls of manifests while scans of 100,000 existing manifests are requested.

The process that requests and runs the scans is suspended and continued in turns, so that pulls with
and without it are compared in the same run. Clair is a replay server in another process, which
takes a second for each image, as Clair did for an image of 79 MB. `make benchmark` prints the
figures. With ATOLL_TEST_POSTGRES_URI, it uses that server and not a container.
"""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from atoll.auth.access import PULL, Grant
from atoll.auth.tokens import Tokens
from atoll.scanning.backfill import ScanBackfill
from atoll.server.migration import prepare_database
from atoll.web.app import create_app
from falcon.testing import TestClient

from ..durability.databases import administer, database_uri
from ..durability.mirror_images import bound, push_image
from ..durability.mirror_worker import MirrorWorkerSite
from ..durability.scanner_process import running_scanner, scanner_site
from ..durability.scanning_stack import KEY
from .ports import free_ports
from .services import running_postgres, wait_until

MANIFESTS, REPOSITORIES = 100_000, 100
# Pulls of each turn, which is shorter than the backfill.
PULLS = 50
CLAIR_SECONDS = 1.0
# The most that the process may multiply the 99th percentile by. All processes share the processors
# of this machine; a pull that waited for the transaction of a range would take far longer.
FACTOR = 3.0

# Manifests of processes without the feature: copies of an image, each with a digest of its own.
_FILL = """
INSERT INTO repository (namespace_user_id, name, visibility)
SELECT r.namespace_user_id, 'old-' || g, 'private'
FROM repository r, generate_series(1, %(repositories)s) g WHERE r.id = %(repository)s;
INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes)
SELECT r.id, 'sha256:' || encode(sha256(g::text::bytea), 'hex'), m.media_type, m.manifest_bytes
FROM manifest m, generate_series(1, %(manifests)s) g
JOIN repository r ON r.name = 'old-' || (g %% %(repositories)s + 1)
WHERE m.repository_id = %(repository)s;
INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
SELECT other.repository_id, other.id, mb.blob_id
FROM manifestblob mb, manifest other
WHERE mb.repository_id = %(repository)s AND other.repository_id <> %(repository)s;
"""


@contextmanager
def running_clair(state: Path, environment: dict[str, str]) -> Iterator[str]:
    """Run a replay server in a process of its own, and yield its URL."""
    command = [sys.executable, "-m", "tests.clair.replay", "--host=127.0.0.1", f"--state={state}"]
    command += [f"--key={base64.b64encode(KEY).decode()}", f"--control=delay={CLAIR_SECONDS}"]
    with ExitStack() as stack:
        with free_ports(1) as (port,):
            process = subprocess.Popen([*command, f"--port={port}"], env=environment)
            stack.callback(process.wait)
            stack.callback(process.kill)
            wait_until("the replay server listens", lambda: listens(port))
        yield f"http://127.0.0.1:{port}"


def listens(port: int) -> bool:
    """Return whether a server accepts connections at a port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def scanner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorWorkerSite]:
    name = f"atoll_{uuid.uuid4().hex}"
    directory = tmp_path_factory.mktemp("scanner")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with ExitStack() as stack:
        postgres = os.environ.get("ATOLL_TEST_POSTGRES_URI")
        postgres = postgres or stack.enter_context(running_postgres())
        administer(postgres, f"CREATE DATABASE {name}")
        uri = database_uri(postgres, name)
        clair = stack.enter_context(running_clair(directory / "clair", environment))
        made = scanner_site(uri, directory / "site", clair)
        prepare_database(made.site.graph)
        push_image(made.site, "app", "v1")
        values = {
            "repository": bound(made.site).id,
            "repositories": REPOSITORIES,
            "manifests": MANIFESTS,
        }
        made.site.graph.batch_database.run(_FILL, values)
        administer(uri, "VACUUM ANALYZE")
        yield made
        made.site.database.forget_idle()
        administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


class Pulls:
    """Pulls a manifest by its tag, as clients do."""

    def __init__(self, scanner: MirrorWorkerSite) -> None:
        graph, name = scanner.site.graph, bound(scanner.site)
        tokens = Tokens.from_bundle(graph.bundle)
        token, _ = tokens.issue(None, [Grant(name, frozenset({PULL}), id=name.id)])
        self._path = f"/v2/{name}/manifests/v1"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client = TestClient(create_app(graph.dependencies()))

    def milliseconds(self) -> list[float]:
        """Return the durations of the pulls of a turn."""
        found = []
        for _ in range(PULLS):
            began = time.perf_counter()
            answer = self._client.simulate_get(self._path, headers=self._headers)
            found.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text
        return found


def described(name: str, milliseconds: list[float]) -> float:
    """Print the distribution of durations, and return its 99th percentile."""
    milliseconds.sort()
    number = len(milliseconds)
    last = milliseconds[number * 99 // 100]
    print(  # noqa: T201
        f"  {name:<18} {number:6} pulls  median {milliseconds[number // 2]:6.2f} ms"
        f"  99 % {last:6.2f} ms"
    )
    return last


def test_pulls_during_a_backfill(scanner: MirrorWorkerSite) -> None:
    pulls, backfill = Pulls(scanner), ScanBackfill(scanner.site.database)

    def remaining() -> int | None:
        status = backfill.status()
        return None if status is None else status.remaining

    without, during = [], []
    pulls.milliseconds()
    with running_scanner(scanner) as process:
        wait_until("the backfill has begun", lambda: remaining() is not None)
        while remaining():
            process.send_signal(signal.SIGSTOP)
            without += pulls.milliseconds()
            process.send_signal(signal.SIGCONT)
            taken = pulls.milliseconds()
            # The backfill may have ended during the last turn.
            during += taken if remaining() else []
    rows = scanner.site.database.read("SELECT count(*) FROM manifestsecurityscan")
    assert rows[0][0] == MANIFESTS + 1
    print(f"\nscans of {MANIFESTS} manifests are requested, four at a time are run")  # noqa: T201
    ratio = described("with the backfill", during) / described("without", without)
    print(f"  the 99th percentile is {ratio:.2f} times that without it")  # noqa: T201
    assert ratio < FACTOR
