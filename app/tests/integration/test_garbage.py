"""Garbage collection deletes unreferenced blobs, unless they are referenced again in time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg2.errors
import pytest
from atoll.db.pool import DatabaseUnavailable
from atoll.db.statement import Statement
from atoll.names import Digest
from atoll.placement.delete_queue import queue_lengths
from atoll.placement.tasks import Tasks
from atoll.placement.upkeep.garbage import Collector
from atoll.storage.errors import StoreUnavailable

from .images import delete_manifest, push_image_without_layers
from .placements import both_locations, delete_queue, object_key, placements
from .services import Services, wait_until
from .site import MANIFEST_TYPE, Client, Site

REPOSITORY = "admin/app"
SCOPE = f"repository:{REPOSITORY}:pull,push,delete"
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
DATA = b'{"some": "configuration"}'


def collector(site: Site, grace: int = 0) -> Collector:
    changes = {"garbage_collection_grace": grace, "garbage_collection_failover_window": 0}
    bundle = site.services.bundle.model_copy(update=changes)
    return Collector(site.services.database, bundle, site.services.placement_cache)


def expire_blobs(site: Site) -> None:
    """Expire the time for which blobs are kept without a manifest."""
    site.services.database.run("UPDATE uploadedblob SET expires_at = now()")


def expire_blobs_and_manifests(site: Site) -> None:
    """Expire also the time for which a deleted manifest can be restored."""
    expire_blobs(site)
    site.services.database.run("UPDATE manifest SET deleted_at = deleted_at - interval '15 days'")


def count_blobs(site: Site) -> int:
    return int(site.services.database.read("SELECT count(*) FROM imagestorage")[0][0])


def count_tombstones(site: Site) -> int:
    counted = "SELECT count(*) FROM imagestorage WHERE tombstone_at IS NOT NULL"
    return int(site.services.database.read(counted)[0][0])


def manifest(digest: str, size: int = len(DATA)) -> bytes:
    config = {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": digest,
        "size": size,
    }
    return json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": []}
    ).encode()


def put_manifest(client: Client, digest: str, repository: str = REPOSITORY) -> int:
    return client.request(
        "PUT",
        f"/v2/{repository}/manifests/latest",
        f"repository:{repository}:pull,push",
        headers={"Content-Type": MANIFEST_TYPE},
        data=manifest(digest),
    ).status_code


@pytest.fixture
def unreferenced(client: Client) -> str:
    """An unreferenced blob that the collector has marked."""
    digest = client.push_blob(REPOSITORY, DATA)
    assert put_manifest(client, digest) == 201
    delete_manifest(client, manifest(digest))
    expire_blobs_and_manifests(client.site)
    collect = collector(client.site)
    assert (collect.delete_manifests(), collect.mark()) == (1, 1)
    return digest


def test_a_blob_is_deleted_at_all_locations_step_by_step(
    us: Site, eu: Site, services: Services
) -> None:
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    assert put_manifest(client, digest) == 201
    eu.copy_all()
    assert placements(us, digest) == both_locations()
    delete_manifest(client, manifest(digest))
    expire_blobs_and_manifests(us)
    collect = collector(us)
    assert (collect.delete_manifests(), collect.mark()) == (1, 1)
    assert placements(us, digest) == both_locations()
    assert (collect.collect_blobs(), collect.collect_blobs()) == (1, 0)
    assert (placements(us, digest), count_blobs(us)) == (set(), 1)
    assert queue_lengths(us.services.database) == {"usstorage": 1, "eustorage": 1}
    assert services.us.objects() == services.eu.objects() == {object_key(digest)}
    assert delete_queue(us, "usstorage").turn() == 1
    assert (services.us.objects(), count_blobs(us)) == (set(), 1)
    assert delete_queue(us, "eustorage").turn() == 1
    assert (services.eu.objects(), count_blobs(us)) == (set(), 0)


def test_referenced_and_recent_blobs_are_kept(client: Client) -> None:
    site = client.site
    referenced, uploaded, deleted = (
        client.push_blob(REPOSITORY, data) for data in (DATA, b"uploaded now", b"[1]")
    )
    assert put_manifest(client, referenced) == 201
    content = manifest(deleted)
    path = f"/v2/{REPOSITORY}/manifests/old"
    headers = {"Content-Type": MANIFEST_TYPE}
    assert client.request("PUT", path, SCOPE, headers=headers, data=content).status_code == 201
    delete_manifest(client, content)
    site.services.database.run(
        "UPDATE uploadedblob SET expires_at = now() WHERE blob_id <>"
        " (SELECT id FROM imagestorage WHERE content_checksum = %s)",
        [uploaded],
    )
    collector(site).step()
    assert (count_tombstones(site), count_blobs(site)) == (0, 3)


def test_the_first_chunk_of_an_upload_in_progress_is_kept(client: Client) -> None:
    client.push_blob(REPOSITORY, DATA)
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    location = client.request("PATCH", location, SCOPE, data=DATA).headers["Location"]
    expire_blobs(client.site)
    collector(client.site).step()
    delete_queue(client.site, "usstorage").turn()
    digest = str(Digest.of(DATA))
    answer = client.request("PUT", location, SCOPE, params={"digest": digest})
    assert answer.status_code == 201
    assert client.pull_blob(REPOSITORY, digest).content == DATA


def test_nothing_is_deleted_before_the_grace_time_ends(client: Client, unreferenced: str) -> None:
    assert collector(client.site, grace=60).collect_blobs() == 0
    assert placements(client.site, unreferenced) == {"usstorage"}


def push(client: Client, digest: str) -> None:
    assert client.push_blob("admin/other", DATA) == digest


def mount(client: Client, digest: str) -> None:
    # A blob can be mounted as long as its source repository may read it.
    client.site.services.database.run(
        "UPDATE uploadedblob SET expires_at = now() + interval '1 minute'"
    )
    scope = f"repository:admin/other:pull,push {SCOPE}"
    values = {"mount": digest, "from": REPOSITORY}
    answer = client.request("POST", "/v2/admin/other/blobs/uploads/", scope, params=values)
    assert answer.status_code == 201


def reference_in_a_manifest(client: Client, digest: str) -> None:
    assert put_manifest(client, digest) == 201


@pytest.mark.parametrize("need", [push, mount, reference_in_a_manifest])
def test_a_blob_that_is_referenced_again_within_the_grace_time_is_kept(
    client: Client, unreferenced: str, need: Callable[[Client, str], None]
) -> None:
    assert count_tombstones(client.site) == 1
    need(client, unreferenced)
    assert count_tombstones(client.site) == 0
    collect = collector(client.site)
    assert (collect.mark(), collect.collect_blobs()) == (0, 0)
    client.site.services.database.run(
        "UPDATE uploadedblob SET expires_at = now() + interval '1 minute'"
    )
    assert client.pull_blob(REPOSITORY, unreferenced).content == DATA


def test_a_blob_that_is_pushed_again_after_the_grace_time_is_kept(
    client: Client, unreferenced: str
) -> None:
    assert collector(client.site).collect_blobs() == 1
    assert (
        client.request("HEAD", f"/v2/{REPOSITORY}/blobs/{unreferenced}", SCOPE).status_code == 404
    )
    assert client.push_blob(REPOSITORY, DATA) == unreferenced
    assert delete_queue(client.site, "usstorage").turn() == 1
    assert delete_queue(client.site, "eustorage").turn() == 0
    assert client.pull_blob(REPOSITORY, unreferenced).content == DATA
    assert put_manifest(client, unreferenced) == 201


def test_a_manifest_that_references_a_just_collected_blob_is_refused(
    client: Client, unreferenced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector runs between the look-up of the blobs and the insertion of the manifest."""
    database, run = client.site.services.database, client.site.services.database.run

    def run_after_collection(sql: str | Statement, parameters: object = None) -> list[object]:
        if isinstance(sql, str) and "INSERT INTO manifest " in sql:
            collector(client.site).collect_blobs()
        return run(sql, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(database, "run", run_after_collection)
    assert put_manifest(client, unreferenced) == 404
    monkeypatch.undo()
    assert client.push_blob(REPOSITORY, DATA) == unreferenced
    assert put_manifest(client, unreferenced) == 201


def test_a_blob_whose_digest_is_locked_is_left_to_the_next_run(
    client: Client, unreferenced: str
) -> None:
    database = client.site.services.database
    with database.transaction() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 0))", [unreferenced]
        )
        assert collector(client.site).collect_blobs() == 0
    assert collector(client.site).collect_blobs() == 1


def test_a_dead_store_delays_only_its_own_queue(us: Site, eu: Site, services: Services) -> None:
    client = Client(us)
    digest = client.push_blob(REPOSITORY, DATA)
    eu.copy_all()
    assert placements(us, digest) == both_locations()
    expire_blobs(us)
    collector(us).step()
    at_eu = delete_queue(us, "eustorage")
    services.eu.container.pause()
    try:
        assert at_eu.turn() == 0
        assert delete_queue(us, "usstorage").turn() == 1
    finally:
        services.eu.container.unpause()
    wait_until("the store is available", lambda: us.locations.health.is_up("eustorage"))
    assert services.us.objects() == set()
    assert queue_lengths(us.services.database) == {"usstorage": 0, "eustorage": 1}
    error, attempts = us.services.database.read("SELECT last_error, attempts FROM objectdeletion")[
        0
    ]
    assert ("'eustorage' is unavailable" in error, attempts) == (True, 1)
    us.services.database.run("UPDATE objectdeletion SET available_at = now()")
    assert at_eu.turn() == 1
    assert (services.eu.objects(), count_blobs(us)) == (set(), 0)


class Killed(BaseException):
    """Stands for a killed process: it is not caught, and the transaction is rolled back."""


def killed_after(act: Callable[[str], None]) -> Callable[[str], None]:
    def run_and_die(object_key: str) -> None:
        act(object_key)
        raise Killed

    return run_and_die


def test_an_upload_whose_object_a_killed_collector_deleted_is_written_again(
    client: Client, unreferenced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The collector is killed between deleting the object and recording it, during a push."""
    site = client.site
    store, place = site.locations.stores["usstorage"], site.services.blobs.place
    assert collector(site).collect_blobs() == 1
    (deletion,) = delete_queue(site, "usstorage").claim()
    moments = []

    def place_after_the_deletion(*arguments: object, **more: object) -> bool:
        if not moments:
            moments.append("the object is written and not placed")
            with monkeypatch.context() as dying:
                dying.setattr(store, "delete", killed_after(store.delete))
                with pytest.raises(Killed):
                    delete_queue(site, "usstorage").carry_out(deletion)
        return place(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(site.services.blobs, "place", place_after_the_deletion)
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    answer = client.request("PUT", location, SCOPE, params={"digest": unreferenced}, data=DATA)
    assert (answer.status_code, len(moments)) == (201, 1)
    assert client.pull_blob(REPOSITORY, unreferenced).content == DATA
    # The process that takes over from the killed collector keeps the object.
    site.services.database.run("UPDATE objectdeletion SET lease_expires = now()")
    assert delete_queue(site, "usstorage").turn() == 1
    assert client.pull_blob(REPOSITORY, unreferenced).content == DATA
    assert queue_lengths(site.services.database)["usstorage"] == 0


def test_a_delayed_deletion_does_not_delete_an_acknowledged_blob(
    client: Client, unreferenced: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store does not answer, and deletes the object after the blob was acknowledged."""
    site = client.site
    store = site.locations.stores["usstorage"]
    assert collector(site).collect_blobs() == 1

    def delete_late(object_key: str) -> None:
        del object_key
        raise StoreUnavailable("usstorage", "ReadTimeoutError")

    with monkeypatch.context() as hanging:
        hanging.setattr(store, "delete", delete_late)
        assert delete_queue(site, "usstorage").turn() == 0
    location = client.request("POST", UPLOADS, SCOPE).headers["Location"]
    answer = client.request("PUT", location, SCOPE, params={"digest": unreferenced}, data=DATA)
    assert answer.status_code == 201
    store.delete(object_key(unreferenced))
    assert placements(site, unreferenced) == {"eustorage"}
    assert client.pull_blob(REPOSITORY, unreferenced).content == DATA


@pytest.mark.parametrize("progress", ["objects deleted", "only claimed"])
def test_deletions_resume_after_a_collector_was_killed(
    client: Client,
    unreferenced: str,
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    progress: str,
) -> None:
    site = client.site
    store = site.locations.stores["usstorage"]
    assert collector(site).collect_blobs() == 1
    with monkeypatch.context() as dying:
        death = killed_after(store.delete if progress == "objects deleted" else lambda _key: None)
        dying.setattr(store, "delete", death)
        with pytest.raises(Killed):
            delete_queue(site, "usstorage").turn()
    assert delete_queue(site, "usstorage").turn() == 0
    site.services.database.run("UPDATE objectdeletion SET lease_expires = now()")
    assert delete_queue(site, "usstorage").turn() == 1
    assert (services.us.objects(), placements(site, unreferenced)) == (set(), set())
    # A copy to eu was pending and may have been in progress; the last queue deletes the row.
    assert queue_lengths(site.services.database) == {"usstorage": 0, "eustorage": 1}
    site.services.database.run("UPDATE objectdeletion SET available_at = now()")
    assert (delete_queue(site, "eustorage").turn(), count_blobs(site)) == (1, 0)


def test_a_copy_whose_object_was_deleted_meanwhile_is_not_placed(
    us: Site, services: Services
) -> None:
    digest = Client(us).push_blob(REPOSITORY, DATA)
    tasks = Tasks(us.services.database, "eustorage")
    (task,) = tasks.claim()
    services.eu.client.put_object(Bucket=services.eu.bucket, Key=object_key(digest), Body=DATA)
    assert us.services.content.discard(Digest.parse(digest), "eustorage", UUID(int=1))
    assert tasks.finish([task]) == set()
    assert placements(us, digest) == {"usstorage"}
    us.services.database.run("UPDATE replicationtask SET lease_expires = now()")
    (again,) = tasks.claim()
    assert tasks.finish([again]) == {again.lease_token}
    assert placements(us, digest) == both_locations()


def test_a_deleted_manifest_can_be_restored_until_its_retention_time_ends(client: Client) -> None:
    site = client.site
    push_image_without_layers(site, REPOSITORY, DATA)
    digest = site.services.database.read("SELECT digest FROM manifest")[0][0]
    client.request("DELETE", f"/v2/{REPOSITORY}/manifests/{digest}", SCOPE)
    site.services.database.run("UPDATE manifest SET deleted_at = now() - interval '13 days'")
    assert collector(site).delete_manifests() == 0
    site.services.database.run('UPDATE "user" SET tag_expiration_s = 86400')
    assert collector(site).delete_manifests() == 1
    assert site.services.database.read("SELECT count(*) FROM manifestblob")[0][0] == 0


def test_a_statement_that_waits_too_long_for_a_lock_is_a_retryable_error(us: Site) -> None:
    """A manifest with a blob that a hanging store is deleting is therefore answered with 503."""
    with pytest.raises(DatabaseUnavailable) as raised:
        us.services.database.run("SET LOCAL statement_timeout = 50; SELECT pg_sleep(5)")
    assert isinstance(raised.value.__cause__, psycopg2.errors.QueryCanceled)


def test_parts_of_an_upload_that_was_abandoned_a_day_ago_are_deleted(
    us: Site, services: Services
) -> None:
    store = us.locations.stores["usstorage"]
    upload = store.begin_parts("sha256/ab/abcd")
    store.put_part("sha256/ab/abcd", upload, 1, os.urandom(100), 100)
    assert store.abort_abandoned_parts(datetime.now(UTC) - timedelta(days=1), set()) == 0
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert store.abort_abandoned_parts(later, {upload}) == 0
    assert services.us.open_uploads() == 1
    assert store.abort_abandoned_parts(later, set()) == 1
    assert services.us.open_uploads() == 0
