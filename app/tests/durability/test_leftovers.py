"""Objects of ended uploads are deleted in the background; unavailable stores delay no others."""

from __future__ import annotations

from atoll.names import Digest
from atoll.storage.errors import StoreUnavailable

from .sites import MemoryRegistry
from .uploads import (
    age_uploads,
    begin_upload,
    bring_back,
    count_announcements,
    count_uploads,
    take_down,
)


def test_leftovers_at_an_unavailable_store_do_not_delay_those_at_other_stores(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    for number in range(100):
        begin_upload(us, b"at us %d" % number)
    for number in range(20):
        begin_upload(eu, b"at eu %d" % number)
    age_uploads(us)
    take_down(us, "us")
    assert us.graph.uploads.delete_leftovers() == 20
    assert len(us.stores["eu"].objects) == 0
    assert us.stores["us"].requests["delete"] == 0
    assert count_announcements(us) == 20
    bring_back(us, "us")
    assert us.graph.uploads.delete_leftovers() == 100
    assert (len(us.stores["us"].objects), count_uploads(us)) == (0, 0)


def test_an_undeletable_leftover_is_retried_with_growing_delays_and_adds_no_announcements(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    upload = begin_upload(site, b"first ", b"second ", b"third")
    second = f"uploads/{upload.uuid}/"

    def fail(operation: str, key: str) -> None:
        if operation == "delete" and key.startswith(second):
            raise StoreUnavailable("us", "it answered 500")

    site.stores["us"].fault = fail
    site.graph.uploads.cancel(site.repository, upload.uuid)
    assert (count_uploads(site), count_announcements(site)) == (1, 1)
    for wait in (2, 4, 8):
        assert site.graph.uploads.delete_leftovers() == 0
        tries = site.stores["us"].requests["delete"]
        age_uploads(site, wait - 1)
        site.graph.uploads.delete_leftovers()
        assert site.stores["us"].requests["delete"] == tries
        age_uploads(site, 2)
        site.graph.uploads.delete_leftovers()
        assert site.stores["us"].requests["delete"] == tries + 1
    assert (count_uploads(site), count_announcements(site)) == (1, 1)
    site.stores["us"].fault = None
    age_uploads(site, 60)
    assert site.graph.uploads.delete_leftovers() == 1
    assert (len(site.stores["us"].objects), count_uploads(site)) == (0, 0)


def test_undeletable_leftovers_do_not_delay_newer_ones(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    stuck = [begin_upload(site, b"stuck %d" % number) for number in range(100)]
    keys = set(site.stores["us"].objects)
    begin_upload(site, b"newer")

    def fail(operation: str, key: str) -> None:
        if operation == "delete" and key in keys:
            raise StoreUnavailable("us", "it answered 500")

    site.stores["us"].fault = fail
    age_uploads(site)
    for _ in range(2):
        site.graph.uploads.delete_leftovers()
    assert set(site.stores["us"].objects) == keys
    assert count_uploads(site) == len(stuck)


def test_cancelling_an_upload_does_not_wait_for_an_unavailable_store(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    upload = begin_upload(site, b"first ", b"second")
    take_down(site, "us")
    site.graph.uploads.cancel(site.repository, upload.uuid)
    assert site.stores["us"].requests["delete"] == 0
    bring_back(site, "us")
    age_uploads(site, 3)
    assert site.graph.uploads.delete_leftovers() == 1
    assert (len(site.stores["us"].objects), count_uploads(site)) == (0, 0)


def test_a_hanging_deletion_holds_neither_the_lock_on_the_digest_nor_a_connection(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    data = b"the same bytes"
    upload = begin_upload(site, data)
    seen = []

    def look(operation: str, _key: str) -> None:
        if operation == "delete":
            locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = ("
            locks += "SELECT oid FROM pg_database WHERE datname = current_database())"
            seen.append(int(site.database.read(locks)[0][0]))

    site.stores["us"].fault = look
    site.graph.uploads.cancel(site.repository, upload.uuid)
    assert seen == [0]
    assert site.push(data) == Digest.of(data)


def test_a_leftover_at_a_removed_location_is_discarded(
    registry: MemoryRegistry,
) -> None:
    site = registry["us"]
    begin_upload(site, b"first")
    site.database.run(
        "UPDATE blobupload SET first_location = 'gone',"
        " chunks = jsonb_set(chunks, '{0,location}', '\"gone\"')"
    )
    age_uploads(site)
    assert site.graph.uploads.delete_leftovers() == 1
    assert count_uploads(site) == 0


def test_a_leftover_at_another_sites_location_is_left_to_that_site(
    registry: MemoryRegistry,
) -> None:
    us, eu = registry["us"], registry["eu"]
    begin_upload(eu, b"at eu")
    del us.graph.locations.stores["eu"]  # type: ignore[attr-defined]
    age_uploads(us)
    assert us.graph.uploads.delete_leftovers() == 0
    assert count_uploads(us) == 1
    assert eu.graph.uploads.delete_leftovers() == 1
