"""With FEATURE_TAG_CACHE, the next upload of a push begins without the database.

Its end checks everything again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from atoll import round_trips
from atoll.db.shared_redis import SharedRedis
from atoll.names import Digest, RepositoryName
from atoll.placement.policies import Policies, Policy, Subject
from atoll.registry import prepared_uploads
from atoll.registry.errors import Denied, UploadUnknown
from atoll.registry.prepared_uploads import MAXIMUM
from atoll.registry.upload_session import Upload

from .sites import SUPERUSER, MemoryRegistry, MemorySite, make_registry
from .uploads import request_body

CONTENT = b"the next layer"
DIGEST = Digest.of(CONTENT)
LOCATIONS = ["us", "eu"]


@pytest.fixture
def site(
    make_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> MemorySite:
    """A site that was just pushed to."""
    monkeypatch.setattr(prepared_uploads, "LIFE_SECONDS", 3600)
    site = make_registry(make_database(), tmp_path, LOCATIONS, {"FEATURE_TAG_CACHE": True})["us"]
    # The first one creates the repository. Requests have the id that their token contains.
    site.push(b"the first layer")
    site.repository = bound(site)
    site.push(b"the layer before")
    return site


def bound(site: MemorySite) -> RepositoryName:
    """Return the name, bound to the repository that has it now."""
    (row,) = site.database.read("SELECT id FROM repository")
    return site.repository.bound(row[0])


def start(site: MemorySite, username: str = SUPERUSER) -> Upload:
    return site.graph.uploads.start(site.repository, username)


def finish(site: MemorySite, upload: Upload) -> None:
    site.graph.uploads.finish(upload, DIGEST, request_body(CONTENT))


def recorded(site: MemorySite) -> set[object]:
    return {row[0] for row in site.database.read("SELECT uuid FROM blobupload")}


def test_a_layer_after_another_one_takes_two_round_trips(
    site: MemorySite, monkeypatch: pytest.MonkeyPatch
) -> None:
    # These sites have no Redis; without it, each deletion of a cached value is recorded.
    monkeypatch.setattr(SharedRedis, "delete", lambda *_keys: None)
    for number in range(3):
        content = b"layer %d" % number
        round_trips.reset()
        upload = site.graph.uploads.append(start(site), request_body(content))
        site.graph.uploads.finish(upload, Digest.of(content), request_body(b""))
        assert round_trips.counts()[round_trips.DATABASE] == 2
        assert site.placements(Digest.of(content)) == {"us": "good"}


def test_two_uploads_at_the_same_time_are_two(site: MemorySite) -> None:
    first, second = start(site), start(site)
    assert first.uuid != second.uuid
    assert {first.uuid, second.uuid} <= recorded(site)


def test_another_user_does_not_get_the_upload(site: MemorySite) -> None:
    prepared = recorded(site)
    assert start(site, "alice").uuid not in prepared
    assert start(site).uuid in prepared


@pytest.mark.parametrize("state", ["READ_ONLY", "MIRROR"])
def test_an_upload_to_a_repository_that_became_unwritable_places_nothing(
    site: MemorySite, state: str
) -> None:
    site.database.run("UPDATE repository SET state = %s", [state])
    upload = start(site)
    with pytest.raises(Denied):
        finish(site, upload)
    assert site.placements(DIGEST) == {}
    assert not site.has_object("us", DIGEST)


def test_an_upload_to_a_deleted_repository_places_nothing(site: MemorySite) -> None:
    site.database.run("DELETE FROM repository")
    upload = start(site)
    with pytest.raises(UploadUnknown):
        finish(site, upload)
    assert site.placements(DIGEST) == {}
    assert not site.has_object("us", DIGEST)


def test_a_repository_of_the_same_name_does_not_get_the_upload(site: MemorySite) -> None:
    prepared = recorded(site)
    site.database.run("DELETE FROM repository")
    assert site.graph.repositories.create(site.repository, "private", SUPERUSER)
    site.repository = bound(site)
    assert start(site).uuid not in prepared


def test_a_name_without_a_repository_gets_no_prepared_upload(site: MemorySite) -> None:
    prepared = recorded(site)
    name = RepositoryName(site.repository.namespace, site.repository.name)
    assert site.graph.uploads.start(name, SUPERUSER).uuid not in prepared


def test_a_location_that_was_excluded_meanwhile_gets_no_copy(site: MemorySite) -> None:
    policies = Policies(site.database, LOCATIONS)
    policies.set(Subject.parse(str(site.repository)), Policy(excluded=("us",)))
    upload = start(site)
    assert upload.excluded == ()
    finish(site, upload)
    assert site.placements(DIGEST) == {"eu": "good"}
    assert not site.has_object("us", DIGEST)
    assert start(site).excluded == ("us",)


def test_an_object_that_was_deleted_meanwhile_is_written_again(site: MemorySite) -> None:
    """The deletion is later than the record of the upload, and earlier than its first byte."""
    site.database.run(
        "INSERT INTO contentdeletion (digest, location, deleted_at)"
        " VALUES (%s, 'us', clock_timestamp())",
        [str(DIGEST)],
    )
    before = site.stores["us"].requests["put"]
    upload = site.graph.uploads.append(start(site), request_body(CONTENT))
    site.graph.uploads.finish(upload, DIGEST, request_body(b""))
    assert site.placements(DIGEST) == {"us": "good"}
    assert site.stores["us"].requests["put"] - before == 2


def test_a_refused_push_prepares_nothing(site: MemorySite) -> None:
    upload = start(site)
    site.database.run("UPDATE repository SET state = 'READ_ONLY'")
    with pytest.raises(Denied):
        finish(site, upload)
    with pytest.raises(Denied):
        start(site)


def test_unused_uploads_are_deleted_by_later_pushes(site: MemorySite) -> None:
    for number in range(MAXIMUM + 5):
        upload = site.graph.uploads.start(RepositoryName(SUPERUSER, f"new{number}"), SUPERUSER)
        content = os.urandom(10)
        # Its name is bound to the repository that was created.
        site.graph.uploads.finish(upload, Digest.of(content), request_body(content))
    assert len(recorded(site)) <= MAXIMUM + 1


def test_without_the_key_no_upload_is_prepared(registry: MemoryRegistry) -> None:
    site = registry["us"]
    site.push(b"the first layer")
    site.repository = bound(site)
    site.push(b"the layer before")
    assert recorded(site) == set()
