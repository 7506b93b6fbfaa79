"""Benchmark a mirror against `skopeo sync` of the same upstream.

Both copy from the same upstream in the same run, one after the other. `skopeo sync` writes to the
registry that Debian packages, with its files on the disk of this machine; the mirror worker, a
process that is already running and idle, writes to RadosGW, or to a directory if ATOLL_BENCH_STORE
is `directory`. With ATOLL_TEST_POSTGRES_URI, it uses that server and not a container, so the store
`directory` needs no containers. `make benchmark` prints the figures. Compare only figures of the
same run.
"""

from __future__ import annotations

import os
import random
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psycopg2.extensions
import pytest
from atoll import round_trips
from atoll.mirroring.mirrors import MirrorChange
from atoll.names import RepositoryName
from atoll.server.migration import prepare_database

from ..durability.databases import administer, database_uri
from ..durability.mirror_worker import MirrorWorkerSite, worker_site
from ..durability.mirrored import last_run, make_mirror, mirrors
from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.clients import upstreams
from ..upstream.content import UpstreamRepository
from ..upstream.docker_registry import PASSWORD, USERNAME, docker_registry
from ..upstream.fault_upstream import FaultUpstream
from .bench_throughput import MEBIBYTE, SAMPLE_SECONDS, ResourceSampler, Run
from .counting_proxy import CountingProxy
from .services import Services, running_postgres, wait_until

TAGS = 1000
MIRRORS, TAGS_OF_EACH, INTERVAL = 1000, 100, 60
IMAGES, LAYERS, LAYER_SIZE = 20, 5, MEBIBYTE
# Longer than any run.
PATIENCE = 1800.0

# Gives all mirrors the content of the first one, and makes them due.
_COPY_CONTENT = """
INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes)
SELECT mirror.repository_id, manifest.digest, manifest.media_type, manifest.manifest_bytes
FROM manifest, repomirrorconfig mirror
WHERE manifest.repository_id = %(first)s AND mirror.repository_id <> %(first)s;
INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
SELECT other.repository_id, other.id, manifestblob.blob_id
FROM manifest JOIN manifestblob ON manifestblob.manifest_id = manifest.id
JOIN manifest other ON other.digest = manifest.digest AND other.id <> manifest.id
WHERE manifest.repository_id = %(first)s;
INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms)
SELECT other.repository_id, tag.name, other.id, tag.lifetime_start_ms
FROM tag JOIN manifest ON manifest.id = tag.manifest_id
JOIN manifest other ON other.digest = manifest.digest AND other.id <> manifest.id
WHERE tag.repository_id = %(first)s;
INSERT INTO mirrortag (mirror_id, tag, upstream_digest, image_created, seen_at, checked_at)
SELECT mirror.id, known.tag, known.upstream_digest, known.image_created, known.seen_at,
       known.checked_at
FROM repomirrorconfig mirror, mirrortag known
JOIN repomirrorconfig one ON one.id = known.mirror_id
WHERE one.repository_id = %(first)s AND mirror.id <> one.id;
UPDATE repomirrorconfig SET next_at = now(), sync_interval = %(interval)s;
-- As autovacuum does within minutes. Its statistics of one repository would be wrong by a thousand.
ANALYZE;
"""


@dataclass(frozen=True)
class Backend:
    """What the mirror worker uses: a PostgreSQL server, and a store with its CA certificates."""

    postgres_uri: str
    store: list[object] | None
    certificates: list[Path]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    kind = os.environ.get("ATOLL_BENCH_STORE", "radosgw")
    assert kind in {"radosgw", "directory"}, "ATOLL_BENCH_STORE must be radosgw or directory"
    postgres = os.environ.get("ATOLL_TEST_POSTGRES_URI")
    if kind == "directory" and postgres:
        yield Backend(postgres, None, [])
    elif kind == "directory":
        with running_postgres() as uri:
            yield Backend(uri, None, [])
    else:
        services: Services = request.getfixturevalue("services")
        services.us.empty()
        yield Backend(
            postgres or services.postgres_uri, services.us.settings, [services.us.certificate]
        )
        services.us.empty()


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    with FaultUpstream(ca.server_context()).running() as running:
        yield running


@pytest.fixture
def uri(backend: Backend) -> Iterator[str]:
    """The URI of a new database."""
    name = f"atoll_{uuid.uuid4().hex}"
    administer(backend.postgres_uri, f"CREATE DATABASE {name}")
    yield database_uri(backend.postgres_uri, name)
    administer(backend.postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


def site_on(uri: str, directory: Path, ca: PrivateCa, backend: Backend) -> MirrorWorkerSite:
    """Return a site, not started."""
    certificates = [ca.certificate, *backend.certificates]
    return worker_site(uri, directory, *certificates, store=backend.store)


@pytest.fixture
def mirror(
    uri: str, tmp_path: Path, ca: PrivateCa, backend: Backend, upstream: FaultUpstream
) -> Iterator[MirrorWorkerSite]:
    """A running worker, and a mirror of the upstream without a schedule."""
    made = site_on(uri, tmp_path / "mirror", ca, backend)
    prepare_database(made.site.graph)
    make_mirror(
        made.site,
        made.site.repository,
        {"external_reference": f"{upstream.host}/team/app", "sync_interval": 0},
    )
    made.site.database.run("UPDATE repomirrorconfig SET next_at = NULL")
    made.start()
    wait_until("the worker claims runs", lambda: made.is_up)
    yield made
    made.stop()


def measured(process: subprocess.Popen[bytes], is_over: Callable[[], bool]) -> Run:
    """Return the cost of what a process does until it is over."""
    watched = ResourceSampler(process.pid)
    began = time.perf_counter()
    while not is_over():
        assert time.perf_counter() - began < PATIENCE
        watched.sample()
        time.sleep(SAMPLE_SECONDS)
    return Run(time.perf_counter() - began, watched.processor, watched.memory)


def run_mirror(mirror: MirrorWorkerSite) -> Run:
    """Let the worker run the mirror once."""
    found = mirrors(mirror.site)
    found.request_sync(mirror.site.repository)
    process = mirror.process
    assert process is not None
    run = measured(
        process,
        lambda: found.find(mirror.site.repository).status not in {"SYNC_NOW", "SYNCING"},
    )
    assert found.find(mirror.site.repository).status == "SUCCESS"
    return run


def run_skopeo(ca: PrivateCa, upstream: FaultUpstream, target: str, directory: Path) -> Run:
    certificates = directory / "certificates"
    certificates.mkdir(exist_ok=True)
    (certificates / "ca.crt").write_bytes(ca.certificate.read_bytes())
    command = ["skopeo", "--insecure-policy", "sync", "--src", "docker", "--dest", "docker"]
    command += ["--all", "--preserve-digests", "--src-no-creds"]
    command += [f"--src-cert-dir={certificates}", f"--dest-cert-dir={certificates}"]
    command += [f"--dest-creds={USERNAME}:{PASSWORD}"]
    command += [f"{upstream.host}/team/app", f"{target}/mirrors"]
    with (directory / "skopeo.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        )
    run = measured(process, lambda: process.poll() is not None)
    assert process.returncode == 0, (directory / "skopeo.log").read_text()[-2000:]
    return run


def requests_of(upstream: FaultUpstream, run: Callable[[], Run]) -> tuple[Run, Counter[str], int]:
    """Return the cost of a run, its requests to the upstream by kind, and the bytes of blobs."""
    upstream.requests.clear()
    sent = upstream.sent
    cost = run()
    kinds = Counter(f"{one.method} {one.kind}" for one in upstream.requests)
    return cost, kinds, upstream.sent - sent


def compare(
    upstream: FaultUpstream, by_skopeo: Callable[[], Run], by_mirror: Callable[[], Run]
) -> Counter[str]:
    """Run both, print the cost of each, and return the requests of the mirror."""
    runs = {}
    kinds: Counter[str] = Counter()
    for name, one in (("skopeo sync", by_skopeo), ("atoll mirror", by_mirror)):
        run, kinds, sent = requests_of(upstream, one)
        runs[name] = run
        print(  # noqa: T201
            f"  {name:<14} {run.seconds:7.1f} s  {run.processor:6.1f} s of processor time"
            f"  {run.memory:6.1f} MiB of memory  {sent / MEBIBYTE:7.1f} MiB of blobs"
            f"  {dict(sorted(kinds.items()))}"
        )
    ratio = runs["skopeo sync"].seconds / runs["atoll mirror"].seconds
    print(f"  the mirror is {ratio:.2f} times as fast")  # noqa: T201
    return kinds


def fill(there: UpstreamRepository, images: int, layers: int, size: int) -> None:
    """Add images that share no layers, each with a tag."""
    chance = random.Random(1)
    for number in range(images):
        there.add_image(
            f"v{number}", layers=[chance.randbytes(size) for _ in range(layers)], seed=number
        )


def count_statements(
    mirror: MirrorWorkerSite, uri: str, directory: Path, ca: PrivateCa, backend: Backend
) -> None:
    """Run the mirror once in this process, and count its statements and requests to stores."""
    # Not through `here`, because the wake-up of the workers follows at any later time.
    mirrors(mirror.site).request_sync(mirror.site.repository)
    port = psycopg2.extensions.parse_dsn(uri)["port"]
    proxy = CountingProxy(int(port))
    here = site_on(uri.replace(f":{port}/", f":{proxy.port}/"), directory, ca, backend)
    mirroring = here.site.graph.mirror_workers(copies=1, upstreams=upstreams(ca))
    # The first statement connects and compares the version of the schema.
    here.site.database.read("SELECT 1")
    before = proxy.round_trips
    round_trips.reset()
    assert mirroring.worker.plan_next()
    database, counts = proxy.round_trips - before, round_trips.counts()
    assert last_run(here.site, here.site.repository).outcome == "SUCCESS"
    assert counts.get(round_trips.STORE, 0) == 0
    # BEGIN and COMMIT are round trips of their own.
    statements = database - 2
    print(  # noqa: T201
        f"  {statements} statements, {database} round trips to PostgreSQL, no request to a store"
    )
    assert statements == 3
    here.site.database.forget_idle()
    proxy.close()


def test_a_run_without_changes(
    mirror: MirrorWorkerSite,
    uri: str,
    ca: PrivateCa,
    backend: Backend,
    upstream: FaultUpstream,
    tmp_path: Path,
) -> None:
    there = upstream.repository()
    fill(there, 1, 1, 1000)
    there.tags = {f"v{number}": there.tags["v0"] for number in range(TAGS)}
    (tmp_path / "registry").mkdir()
    with docker_registry(ca, tmp_path / "registry") as target:
        run_mirror(mirror)
        run_skopeo(ca, upstream, target, tmp_path)
        print(f"\nno change, {TAGS} tags")  # noqa: T201
        kinds = compare(
            upstream,
            lambda: run_skopeo(ca, upstream, target, tmp_path),
            lambda: run_mirror(mirror),
        )
    assert kinds == {"GET tags": 1, "HEAD manifest": TAGS}
    mirror.stop()
    count_statements(mirror, uri, tmp_path / "here", ca, backend)


def test_a_first_run(
    mirror: MirrorWorkerSite, ca: PrivateCa, upstream: FaultUpstream, tmp_path: Path
) -> None:
    fill(upstream.repository(), IMAGES, LAYERS, LAYER_SIZE)
    (tmp_path / "registry").mkdir()
    with docker_registry(ca, tmp_path / "registry") as target:
        print(f"\nfirst run, {IMAGES} images of {LAYERS} layers")  # noqa: T201
        kinds = compare(
            upstream,
            lambda: run_skopeo(ca, upstream, target, tmp_path),
            lambda: run_mirror(mirror),
        )
    assert (kinds["GET tags"], kinds["HEAD manifest"]) == (1, IMAGES)
    # Each blob is fetched once.
    assert kinds["GET blob"] == len(upstream.repository().blobs)


class DatabaseProcesses:
    """Samples the processor time of the server processes of a database."""

    def __init__(self, uri: str) -> None:
        self._name = f" {psycopg2.extensions.parse_dsn(uri)['dbname']} ".encode()
        self._samplers: dict[int, ResourceSampler] = {}

    @property
    def seconds(self) -> float:
        """The processor time since the first sample of each process."""
        return sum(one.processor for one in self._samplers.values())

    def sample(self) -> None:
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                title = (process / "cmdline").read_bytes()
                if title.startswith(b"postgres: ") and self._name in title:
                    pid = int(process.name)
                    self._samplers.setdefault(pid, ResourceSampler(pid)).sample()


def runs_of(mirror: MirrorWorkerSite, condition: str) -> list[int]:
    """Return the mirrors of the runs that meet a condition, in the order of their beginnings."""
    rows = mirror.site.database.read(
        f"SELECT mirror_id FROM mirrorrun WHERE {condition} ORDER BY id"
    )
    return [int(row[0]) for row in rows]


def test_many_mirrors(
    mirror: MirrorWorkerSite,
    uri: str,
    ca: PrivateCa,
    backend: Backend,
    upstream: FaultUpstream,
    tmp_path: Path,
) -> None:
    """Mirrors that are due at once take turns, and leave the database to the registry."""
    there = upstream.repository()
    fill(there, 1, 1, 1000)
    there.tags = {f"v{number}": there.tags["v0"] for number in range(TAGS_OF_EACH)}
    run_mirror(mirror)
    mirror.stop()
    first = mirrors(mirror.site).find(mirror.site.repository).repository
    for number in range(1, MIRRORS):
        name = RepositoryName(first.namespace, f"mirror-{number}")
        change = {"external_reference": f"{upstream.host}/team/app", "sync_interval": 0}
        make_mirror(mirror.site, name, cast(MirrorChange, change))
    mirror.site.database.run("DELETE FROM mirrorrun")
    mirror.site.database.run(_COPY_CONTENT, {"first": first.id, "interval": INTERVAL})
    other = site_on(uri, tmp_path / "other", ca, backend)
    database = DatabaseProcesses(uri)
    began = time.perf_counter()
    for one in (mirror, other):
        one.start()
    try:
        while len(set(runs_of(mirror, "outcome = 'SUCCESS'"))) < MIRRORS:
            assert time.perf_counter() - began < PATIENCE
            database.sample()
            time.sleep(SAMPLE_SECONDS)
    finally:
        other.stop()
    seconds = time.perf_counter() - began
    print(  # noqa: T201
        f"\n{MIRRORS} mirrors of {TAGS_OF_EACH} tags, every {INTERVAL} s, two processes\n"
        f"  all ran within {seconds:.0f} s; PostgreSQL used the processor for"
        f" {database.seconds:.1f} s"
    )
    # No mirror runs again before all others began.
    assert len(set(runs_of(mirror, "true")[:MIRRORS])) == MIRRORS
    assert database.seconds < seconds / 5
