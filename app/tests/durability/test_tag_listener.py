"""Tags in memory follow every change in PostgreSQL, however it is made, or are not used at all."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import psycopg2
import pytest
from atoll import round_trips
from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.periodic import ThreadRegistry
from atoll.registry import tag_listener as module
from atoll.registry.errors import ManifestUnknown
from atoll.registry.manifest import Manifest
from atoll.registry.tag_cache import TagCache
from atoll.registry.tag_listener import CHANNEL, TagListener
from atoll.registry.tags import Tags

from ..integration.services import wait_until
from .mirror_images import bound
from .sites import MANIFEST_TYPE, SUPERUSER, MemoryRegistry, MemorySite, image_manifest

Change = Callable[[MemorySite, RepositoryName], object]


class Process:
    """A process that keeps tags in memory, and another one that changes them."""

    def __init__(self, registry: MemoryRegistry, uri: str | None = None) -> None:
        self.writer = registry["us"]
        self.cache = TagCache()
        self.manifests = self.writer.manifests(tag_cache=self.cache)
        self.database = Database(uri or registry.uri, {}, size=1, answer_timeout=2)
        self.listener = TagListener(self.database, self.cache)

    @contextmanager
    def listening(self) -> Iterator[None]:
        self.listener.start(ThreadRegistry())
        try:
            self.wait_for_proof()
            yield
        finally:
            self.listener.stop()

    def wait_for_proof(self) -> None:
        wait_until("the listener has a proof", lambda: self.cache.proven)

    def get(self, name: RepositoryName, reference: str) -> tuple[Manifest | None, int]:
        """Return a manifest, None if it does not exist, and the round trips to the database."""
        round_trips.reset()
        try:
            found = self.manifests.get(name, reference)
        except ManifestUnknown:
            found = None
        return found, round_trips.counts().get(round_trips.DATABASE, 0)

    def fill(self, name: RepositoryName, reference: str) -> Manifest:
        """Get a manifest until it is returned from memory."""

        def kept() -> bool:
            return self.get(name, reference)[1] == 0

        wait_until("it is kept", kept)
        found = self.cache.get(name, reference)
        assert found is not None
        return found


def push(site: MemorySite, tag: str, seed: bytes, tags: tuple[str, ...] = ()) -> Digest:
    """Push an image with a layer of its own."""
    blobs = [b"{}", seed]
    for blob in blobs:
        site.push(blob)
    content = image_manifest(blobs[0], blobs[1:])
    pushed = site.manifests().put(
        site.repository, tag, content, MANIFEST_TYPE, tags=list(tags), username=SUPERUSER
    )
    return pushed.digest


@pytest.fixture
def process(registry: MemoryRegistry) -> Iterator[Process]:
    process = Process(registry)
    push(process.writer, "v1", b"first", ("v2",))
    with process.listening():
        yield process


def test_a_kept_tag_costs_no_round_trip_by_tag_or_digest(process: Process) -> None:
    name = bound(process.writer)
    found = process.fill(name, "v1")
    assert process.get(name, "v1") == (found, 0)
    assert process.get(name, str(found.digest)) == (found, 0)


def test_a_missing_tag_is_asked_for_each_time(process: Process) -> None:
    name = bound(process.writer)
    for _ in range(2):
        assert process.get(name, "missing") == (None, 1)
    digest = push(process.writer, "missing", b"arrived")
    found, _ = process.get(name, "missing")
    assert found is not None
    assert found.digest == digest


def test_a_tag_that_expires_is_asked_for_each_time(process: Process) -> None:
    name = bound(process.writer)
    Tags(process.writer.database).expire(name, "v1", 4_000_000_000_000)
    for _ in range(3):
        assert process.get(name, "v1")[1] == 1


CHANGES: dict[str, tuple[Change, bool]] = {
    "push": (lambda site, _: push(site, "v1", b"second"), True),
    "push with further tags": (lambda site, _: push(site, "v3", b"second", ("v1",)), True),
    "deletion of the tag": (lambda site, name: Tags(site.database).delete(name, "v1"), False),
    "deletion of the manifest": (
        lambda site, name: site.manifests().delete(name, site.manifests().get(name, "v1").digest),
        False,
    ),
    "expiration": (
        lambda site, name: Tags(site.database).expire(name, "v1", 4_000_000_000_000),
        True,
    ),
    "deletion of the repository": (
        lambda site, name: site.database.run(
            "DELETE FROM repository WHERE id = %(id)s", {"id": name.id}
        ),
        False,
    ),
    "disabled namespace": (
        lambda site, name: site.database.run(
            'UPDATE "user" SET enabled = false WHERE username = %(name)s', {"name": name.namespace}
        ),
        False,
    ),
    "renamed namespace": (
        lambda site, name: site.database.run(
            "UPDATE \"user\" SET username = 'other' WHERE username = %(name)s",
            {"name": name.namespace},
        ),
        False,
    ),
    "renamed repository": (
        lambda site, name: site.database.run(
            "UPDATE repository SET name = 'other' WHERE id = %(id)s", {"id": name.id}
        ),
        False,
    ),
    "truncation": (lambda site, _: site.database.run("TRUNCATE tag CASCADE"), False),
    "by hand": (
        lambda site, name: site.database.run(
            "DELETE FROM tag WHERE repository_id = %(id)s", {"id": name.id}
        ),
        False,
    ),
    "deletion of the account": (
        lambda site, name: site.database.run(
            'DELETE FROM "user" WHERE username = %(name)s', {"name": name.namespace}
        ),
        False,
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_change_is_followed(process: Process, kind: str) -> None:
    change, exists = CHANGES[kind]
    name = bound(process.writer)
    process.fill(name, "v1")
    change(process.writer, name)
    # The answer to the next proof proves that the notification arrived.
    wait_until("it is not kept", lambda: process.cache.get(name, "v1") is None)
    current, _ = process.get(name, "v1")
    assert (current is not None) == exists
    if current is not None:
        assert current == process.writer.manifests().get(name, "v1")


def test_a_change_of_many_repositories_at_once_is_followed(process: Process) -> None:
    name = bound(process.writer)
    process.writer.database.run(
        """
        WITH created AS (
            INSERT INTO repository (namespace_user_id, name, visibility)
            SELECT r.namespace_user_id, 'copy' || n, 'public'
            FROM repository r, generate_series(1, 300) n WHERE r.id = %(id)s RETURNING id
        ), manifests AS (
            INSERT INTO manifest (repository_id, digest, media_type, manifest_bytes)
            SELECT id, 'sha256:0', 'a/b', '' FROM created RETURNING id, repository_id
        )
        INSERT INTO tag (repository_id, name, manifest_id, lifetime_start_ms)
        SELECT repository_id, 'v1', id, 1 FROM manifests
        """,
        {"id": name.id},
    )
    process.fill(name, "v1")
    process.writer.database.run("UPDATE tag SET lifetime_end_ms = 2")
    wait_until("it is not kept", lambda: process.cache.get(name, "v1") is None)
    assert process.get(name, "v1") == (None, 1)


def test_a_change_between_a_read_and_its_end_is_not_kept(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = bound(process.writer)
    current = process.manifests._reads.current

    def change_after(*arguments: object) -> object:
        answer = current(*arguments)  # type: ignore[arg-type]
        push(process.writer, "v1", b"second")
        # A proof that begins now arrives after the notification.
        began = threading.Event()
        proofs.append(began)
        began.wait()
        return answer

    proofs: list[threading.Event] = []
    prove = process.cache.prove

    def proved(until: float) -> None:
        prove(until)
        for one in proofs:
            one.set()

    monkeypatch.setattr(process.cache, "prove", proved)
    with monkeypatch.context() as patch:
        patch.setattr(process.manifests._reads, "current", change_after)
        old, _ = process.get(name, "v1")
    new, _ = process.get(name, "v1")
    assert old is not None
    assert new is not None
    assert new.digest != old.digest


def test_an_answer_comes_after_the_notifications_of_all_earlier_commits(
    process: Process, registry: MemoryRegistry
) -> None:
    """The proof of the listener rests on this."""
    name = bound(process.writer)
    with closing(registry["us"].database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
        for number in range(200):
            process.writer.database.run(
                "UPDATE tag SET lifetime_start_ms = %(n)s WHERE repository_id = %(id)s",
                {"n": number, "id": name.id},
            )
            cursor.execute(
                module._PROVE, {"channel": CHANNEL, "id": process.listener._id, "horizon": "0"}
            )
            assert [notice.payload for notice in connection.notifies] == [str(name.id)]
            connection.notifies.clear()


def notifications(registry: MemoryRegistry, change: Callable[[], object]) -> list[str]:
    """Return the notifications of a change."""
    with closing(registry["us"].database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
        change()
        cursor.execute("SELECT 1")
        return [notice.payload for notice in connection.notifies]


def test_nothing_is_notified_while_no_process_keeps_tags(registry: MemoryRegistry) -> None:
    site = registry["us"]
    push(site, "v1", b"first")
    assert notifications(registry, lambda: push(site, "v1", b"second")) == []
    site.database.run("INSERT INTO taglistener SELECT gen_random_uuid(), now() - interval '1 hour'")
    assert notifications(registry, lambda: push(site, "v1", b"third")) == []


def test_only_changes_of_current_tags_are_notified(
    process: Process, registry: MemoryRegistry
) -> None:
    site, name = process.writer, bound(process.writer)
    assert notifications(registry, lambda: push(site, "new", b"second")) == []
    assert notifications(registry, lambda: push(site, "v1", b"second")) == [str(name.id)]
    history = "DELETE FROM tag WHERE lifetime_end_ms IS NOT NULL"
    assert notifications(registry, lambda: site.database.run(history)) == []
    again = "UPDATE manifest SET pushed_at = now()"
    assert notifications(registry, lambda: site.database.run(again)) == []


def test_nothing_is_kept_until_transactions_that_overlooked_the_listener_have_ended(
    registry: MemoryRegistry,
) -> None:
    process = Process(registry)
    push(process.writer, "v1", b"first")
    name = bound(process.writer)
    with closing(psycopg2.connect(registry.uri)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE tag SET lifetime_end_ms = 1")
        process.listener.start(ThreadRegistry())
        listens = "SELECT 1 FROM taglistener"
        wait_until("it listens", lambda: process.writer.database.read(listens))
        # It proves nothing, whatever it is asked meanwhile.
        for _ in range(20):
            select.select([], [], [], 0.05)
            assert not process.cache.proven
            assert process.get(name, "v1")[1] == 1
        connection.commit()
    process.wait_for_proof()
    assert process.get(name, "v1") == (None, 1)
    process.listener.stop()


def test_a_transaction_with_an_old_snapshot_notifies(
    registry: MemoryRegistry,
) -> None:
    """It may lack the row of the listener, and shows no sign of the changes that it will make."""
    process = Process(registry)
    push(process.writer, "v1", b"first")
    name = bound(process.writer)
    with closing(psycopg2.connect(registry.uri)) as connection, connection.cursor() as cursor:
        connection.set_session(isolation_level="REPEATABLE READ")
        cursor.execute("SELECT count(*) FROM taglistener")
        assert cursor.fetchone() == (0,)
        with process.listening():
            process.fill(name, "v1")
            cursor.execute("UPDATE tag SET lifetime_end_ms = 1")
            connection.commit()
            wait_until("it is not kept", lambda: process.cache.get(name, "v1") is None)


def test_a_lost_connection_forgets_all_tags_until_the_next_proof(process: Process) -> None:
    name = bound(process.writer)
    process.fill(name, "v1")
    forgotten = threading.Event()
    distrust = process.cache.distrust

    def distrusted() -> None:
        distrust()
        assert process.cache.get(name, "v1") is None
        forgotten.set()

    process.cache.distrust = distrusted  # type: ignore[method-assign]
    process.writer.database.run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE '%pg_listening_channels%' AND pid <> pg_backend_pid()"
    )
    forgotten.wait()
    process.wait_for_proof()
    process.fill(name, "v1")


class Pausable:
    """A TCP proxy that can stop forwarding without closing anything, as a partition does."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._forwarding = threading.Event()
        self._forwarding.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def pause(self) -> None:
        self._forwarding.clear()

    def resume(self) -> None:
        self._forwarding.set()

    def close(self) -> None:
        self._listener.close()
        self.resume()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._forward, args=(source, target), daemon=True
                    ).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._forwarding.wait()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_listener_that_hears_nothing_keeps_nothing(registry: MemoryRegistry) -> None:
    parts = psycopg2.extensions.parse_dsn(registry.uri)
    proxy = Pausable(int(parts["port"]))
    uri = f"postgresql://{parts['user']}@127.0.0.1:{proxy.port}/{parts['dbname']}"
    process = Process(registry, uri)
    push(process.writer, "v1", b"first")
    name = bound(process.writer)
    with process.listening():
        old = process.fill(name, "v1")
        proxy.pause()
        wait_until("nothing is kept", lambda: not process.cache.proven)
        new = push(process.writer, "v1", b"second")
        found, trips = process.get(name, "v1")
        assert trips == 1
        assert found is not None
        assert found.digest == new != old.digest
        proxy.resume()
        wait_until("it is kept again", lambda: process.get(name, "v1")[1] == 0)
        assert process.fill(name, "v1").digest == new
        proxy.close()


def test_a_stopped_listener_keeps_nothing(process: Process) -> None:
    name = bound(process.writer)
    process.fill(name, "v1")
    process.listener.stop()
    assert process.get(name, "v1")[1] == 1


OVERLOOKED = [
    # As if the clock of the server was set forward.
    "UPDATE taglistener SET seen_at = seen_at - interval '1 hour'",
    "DELETE FROM taglistener",
]


@pytest.mark.parametrize("change", OVERLOOKED)
def test_nothing_is_kept_once_the_triggers_overlook_the_listener(
    process: Process, change: str
) -> None:
    name = bound(process.writer)
    process.fill(name, "v1")
    process.writer.database.run(change)
    # Not notified.
    new = push(process.writer, "v1", b"second")
    wait_until("it is not kept", lambda: process.cache.get(name, "v1") is None)
    assert process.fill(name, "v1").digest == new


@pytest.mark.parametrize("change", OVERLOOKED)
def test_a_row_that_the_triggers_may_have_overlooked_is_not_renewed(
    registry: MemoryRegistry, change: str
) -> None:
    """Otherwise a change between the last proof and the renewal would never be noticed."""
    listener = Process(registry).listener
    with closing(registry["us"].database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(module._REGISTER, {"id": listener._id})
        listener._renew(cursor)
        cursor.execute(change)
        with pytest.raises(psycopg2.OperationalError, match="overlooked"):
            listener._renew(cursor)


def test_an_old_row_of_the_listener_is_not_relied_on(
    process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RELIANCE_SECONDS", 0)
    wait_until("nothing is kept", lambda: not process.cache.proven)
    monkeypatch.undo()
    process.wait_for_proof()
