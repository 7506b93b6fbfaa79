"""Fail-over of PostgreSQL, and a distant site that reads from a replica.

A real primary and a real streaming standby, created with pg_basebackup.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest
from atoll.db import replica_lag
from atoll.registry.manifest_cache import manifest_cache_key
from atoll.server.migration import prepare_database
from podman.domain.containers import Container

from .clients import health
from .images import push_image
from .services import (
    Services,
    container_address,
    podman_client,
    published_port,
    run_container,
    wait_until,
)
from .site import Client, Site, make_site_services, running_site

IMAGE, PORT = "localhost/atoll-postgres:dev", "5432/tcp"
SETTINGS = (
    "-c listen_addresses=* -c fsync=off -c unix_socket_directories=/tmp -c hot_standby=on"
    " -c max_connections=100"
)
REPOSITORY = "admin/app"
pytestmark = pytest.mark.long
SCOPE = f"repository:{REPOSITORY}:pull,push"


@dataclass
class Pair:
    """A primary and its standby."""

    primary: Container
    standby: Container

    @property
    def uri(self) -> str:
        """Both hosts, with the primary first."""
        hosts = ",".join(f"127.0.0.1:{published_port(one, PORT)}" for one in self._both)
        return f"postgresql://atoll@{hosts}/postgres"

    @property
    def standby_uri(self) -> str:
        return f"postgresql://atoll@127.0.0.1:{published_port(self.standby, PORT)}/postgres"

    @property
    def primary_uri(self) -> str:
        return f"postgresql://atoll@127.0.0.1:{published_port(self.primary, PORT)}/postgres"

    @property
    def _both(self) -> tuple[Container, Container]:
        return self.primary, self.standby


def query(uri: str, question: str) -> object:
    connection = psycopg2.connect(uri, connect_timeout=3)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(question)
        rows = cursor.fetchall() if cursor.description else [(None,)]
    connection.close()
    return rows[0][0]


def returns(uri: str, question: str, expected: object) -> bool:
    try:
        return query(uri, question) == expected
    except psycopg2.OperationalError:
        return False


@pytest.fixture
def pair(services: Services, database: str) -> Iterator[Pair]:
    """Start both; the `database` fixture is used only to empty the stores."""
    del database
    with podman_client() as client:
        primary = run_container(
            client,
            services.network,
            IMAGE,
            PORT,
            entrypoint=["/bin/bash", "-c"],
            command=[
                "initdb -D /tmp/data -U atoll -A trust -E UTF8 --locale=C.UTF-8 >/dev/null &&"
                " printf 'host all all all trust\\nhost replication all all trust\\n'"
                f" >>/tmp/data/pg_hba.conf && exec postgres -D /tmp/data {SETTINGS}"
            ],
        )
        standby = run_container(
            client,
            services.network,
            IMAGE,
            PORT,
            entrypoint=["/bin/bash", "-c"],
            command=[
                f"until pg_basebackup -h {container_address(primary, services.network)} -U atoll"
                " -D /tmp/data -R; do sleep 0.2; done;"
                f" exec postgres -D /tmp/data {SETTINGS}"
            ],
        )
        one = Pair(primary, standby)
        wait_until(
            "the standby replicates",
            lambda: returns(
                one.primary_uri,
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
                1,
            ),
        )
        wait_until(
            "the standby answers",
            lambda: returns(one.standby_uri, "SELECT pg_is_in_recovery()", True),
        )
        try:
            yield one
        finally:
            for container in (primary, standby):
                container.remove(force=True, v=True)


@pytest.fixture
def site(services: Services, pair: Pair, tmp_path: Path) -> Iterator[Site]:
    with site_at(services, tmp_path, {"DB_URI": pair.uri}) as one:
        yield one


def site_at(
    services: Services, directory: Path, changes: dict[str, object]
) -> AbstractContextManager[Site]:
    site_services = make_site_services(
        services, "unused", directory / "template", "usstorage", changes
    )
    prepare_database(site_services)
    site_services.database.forget_idle()
    return running_site(services, "unused", directory / "us", "usstorage", changes)


def is_served(client: Client) -> bool:
    answer = client.session.get(
        f"{client.site.url}/v2/auth",
        params={"service": "registry.test", "scope": f"repository:{REPOSITORY}:pull"},
        auth=client.credentials,
    )
    assert answer.status_code in {200, 503}, answer.text
    return answer.ok


def caught_up(pair: Pair) -> bool:
    position = query(pair.primary_uri, "SELECT pg_current_wal_lsn()")
    return returns(pair.standby_uri, f"SELECT pg_last_wal_replay_lsn() >= '{position}'", True)


@pytest.mark.parametrize("death", ["killed", "cut off"])
def test_a_fail_over_loses_no_acknowledged_push_and_needs_no_operator(
    site: Site, pair: Pair, death: str
) -> None:
    query(pair.primary_uri, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    query(pair.primary_uri, "SELECT pg_reload_conf()")
    wait_until(
        "replication is synchronous",
        lambda: returns(pair.primary_uri, "SELECT sync_state FROM pg_stat_replication", "sync"),
    )
    acknowledged: dict[str, bytes] = {}
    refused: list[str] = []
    enough = threading.Event()

    def push() -> None:
        client = Client(site)
        for number in itertools.count():
            if enough.is_set():
                return
            data = f"blob {number}".encode()
            try:
                acknowledged[client.push_blob(REPOSITORY, data)] = data
            except AssertionError as error:
                refused.append(str(error))

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        wait_until("pushes are acknowledged", lambda: len(acknowledged) > 3)
        if death == "killed":
            pair.primary.kill()
        else:
            pair.primary.pause()
        query(pair.standby_uri, "SELECT pg_promote()")
        before = len(acknowledged)
        wait_until("pushes are acknowledged again", lambda: len(acknowledged) > before + 3)
    finally:
        enough.set()
        pusher.join()
        if death != "killed":
            pair.primary.kill()
    assert all("UNAVAILABLE" in text for text in refused), refused
    client = Client(site)
    # A request that uses a connection to the dead primary may be asked to retry.
    wait_until("the site serves requests", lambda: is_served(client))
    for digest, data in acknowledged.items():
        assert client.pull_blob(REPOSITORY, digest).content == data


@pytest.fixture
def far(services: Services, pair: Pair, tmp_path: Path) -> Iterator[Site]:
    changes: dict[str, object] = {
        "DB_URI": pair.primary_uri,
        "DB_READ_REPLICAS": [{"DB_URI": pair.standby_uri}],
    }
    with site_at(services, tmp_path, changes) as one:
        yield one


def test_pulls_are_answered_by_the_replica_while_the_primary_is_unavailable(
    far: Site, pair: Pair, services: Services
) -> None:
    client = Client(far)
    digest, manifest = push_image(client)
    layer = client.push_blob(REPOSITORY, b"a layer")
    wait_until("the replica has caught up", lambda: caught_up(pair))
    services.redis.exec_run(["redis-cli", "flushall"])
    pair.primary.pause()
    try:
        wait_until("the site is unhealthy", lambda: health(far, "endtoend")[0] == 503)
        wait_until("the instance is healthy for pulls", lambda: health(far, "instance")[0] == 200)
        # A client that has no token yet.
        client = Client(far)
        for reference in ("v1", digest):
            answer = client.request("GET", f"/v2/{REPOSITORY}/manifests/{reference}", SCOPE)
            assert (answer.status_code, answer.content) == (200, manifest), answer.text
        assert client.pull_blob(REPOSITORY, layer).content == b"a layer"
        # The replica may lack an object that exists.
        unknown = f"/v2/{REPOSITORY}/manifests/another"
        assert client.request("GET", unknown, SCOPE).status_code == 503
        answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE)
        assert (answer.status_code, bool(answer.headers["Retry-After"])) == (503, True)
    finally:
        pair.primary.unpause()
    wait_until(
        "pushes are accepted again",
        lambda: client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", SCOPE).ok,
    )


def test_content_that_the_replica_lacks_is_read_from_the_primary(far: Site, pair: Pair) -> None:
    client = Client(far)
    push_image(client, "old")
    wait_until("the replica has caught up", lambda: caught_up(pair))
    query(pair.standby_uri, "SELECT pg_wal_replay_pause()")
    digest, manifest = push_image(client, "new", name=REPOSITORY)
    layer = client.push_blob(REPOSITORY, b"a new layer")
    for reference in (digest, "new"):
        answer = client.request("GET", f"/v2/{REPOSITORY}/manifests/{reference}", SCOPE)
        assert (answer.status_code, answer.content) == (200, manifest), answer.text
    assert client.pull_blob(REPOSITORY, layer).content == b"a new layer"
    # While the primary is available, tags are never stale.
    client.request("DELETE", f"/v2/{REPOSITORY}/manifests/old", f"repository:{REPOSITORY}:delete")
    assert client.request("GET", f"/v2/{REPOSITORY}/manifests/old", SCOPE).status_code == 404
    query(pair.standby_uri, "SELECT pg_wal_replay_resume()")
    wait_until("the replica has caught up", lambda: caught_up(pair))


def test_results_of_a_replica_are_not_cached(far: Site, pair: Pair) -> None:
    client = Client(far)
    digest, _ = push_image(client)
    wait_until("the replica has caught up", lambda: caught_up(pair))
    assert client.request("GET", f"/v2/{REPOSITORY}/manifests/{digest}", SCOPE).status_code == 200
    assert far.services.redis.get_cached(manifest_cache_key(REPOSITORY, digest)) == [None]


def test_a_replica_that_stopped_replaying_does_not_serve_a_deleted_manifest(
    far: Site, pair: Pair, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_lag, "LAG_MAXIMUM", 1)
    client = Client(far)
    digest, _ = push_image(client)
    wait_until("the replica has caught up", lambda: caught_up(pair))
    query(pair.standby_uri, "SELECT pg_wal_replay_pause()")
    path, scope = f"/v2/{REPOSITORY}/manifests/{digest}", f"repository:{REPOSITORY}:pull,delete"
    assert client.request("DELETE", path, scope).status_code == 202
    services.redis.exec_run(["redis-cli", "flushall"])
    wait_until(
        "the replica is no longer used",
        lambda: client.request("GET", path, SCOPE).status_code == 404,
    )
    query(pair.standby_uri, "SELECT pg_wal_replay_resume()")
