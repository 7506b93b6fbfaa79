"""A push that began before its repository became a mirror does not change the mirror."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from atoll.names import Digest
from atoll.registry.errors import Denied
from atoll.registry.upload_session import Body

from .interleaving import ANY, Operation, State, Stop, StoppingDatabase
from .mirrored import ROBOT, make_robot, mirrors, new_mirror
from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest, make_registry

CONFIG = b"a config"
MANIFEST = image_manifest(CONFIG, [])
_STATE = "UPDATE repository SET state = %s WHERE name = 'app'"


@pytest.fixture
def site(make_database: Callable[[], str], tmp_path: Path) -> MemorySite:
    """A site with the configuration of an image, whose operations stop between statements."""
    site = make_registry(make_database(), tmp_path, ["us"], {"FEATURE_REPO_MIRROR": True})["us"]
    site.graph.__dict__["database"] = StoppingDatabase.from_bundle(site.graph.bundle, size=9)
    site.push(CONFIG)
    return site


@pytest.fixture
def observer(site: MemorySite) -> Iterator[psycopg2.extensions.connection]:
    connection = psycopg2.connect(site.graph.bundle.db_uri.get_secret_value())
    connection.autocommit = True
    yield connection
    connection.close()


def push(site: MemorySite) -> None:
    site.manifests().put(
        site.repository, "v1", MANIFEST, MANIFEST_TYPE, tags=[], username=SUPERUSER
    )


def tags(site: MemorySite) -> int:
    found: int = site.database.read("SELECT count(*) FROM tag")[0][0]
    return found


def test_a_push_ends_before_the_state_changes_or_fails(
    site: MemorySite, observer: psycopg2.extensions.connection
) -> None:
    stop, state, outcomes = 0, State.STOPPED, set()
    while state is not State.ENDED:
        site.database.run("DELETE FROM tag; DELETE FROM manifest")
        site.database.run(_STATE, ["NORMAL"])
        pushed = Operation(lambda: push(site), observer)
        changed = Operation(lambda: site.database.run(_STATE, ["MIRROR"]), observer)
        state = pushed.advance(Stop(ANY, stop))
        change = changed.advance(None)
        before = tags(site)
        pushed.finish(changed)
        assert changed.error is None
        if change is State.ENDED:
            # The state changed first, or the push had ended.
            assert tags(site) == before, (stop, pushed.stops)
        denied = isinstance(pushed.error, Denied)
        assert denied or pushed.error is None, (stop, pushed.error)
        assert tags(site) == (0 if denied else 1)
        outcomes.add((change, denied))
        stop += 1
    assert outcomes == {(State.ENDED, True), (State.ENDED, False), (State.BLOCKED, False)}


def test_an_upload_that_began_before_the_mirror_places_no_blob(site: MemorySite) -> None:
    uploads = site.graph.uploads
    make_robot(site)
    whole, chunked = (uploads.start(site.repository, SUPERUSER) for _ in range(2))
    chunked = uploads.append(chunked, body(b"two"))
    mirrors(site).create(site.repository, new_mirror())
    for upload, content, rest in ((whole, b"one", b"one"), (chunked, b"two", b"")):
        with pytest.raises(Denied):
            uploads.finish(upload, Digest.of(content), body(rest))
        assert not site.graph.blob_mounts.is_stored(Digest.of(content), len(content))
    ours = uploads.start(site.repository, ROBOT)
    assert uploads.finish(ours, Digest.of(b"one"), body(b"one")) == len(b"one")


def body(content: bytes) -> Body:
    return Body(io.BytesIO(content), len(content))
