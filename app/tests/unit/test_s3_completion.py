"""Completions and copies may succeed although the response does not arrive in time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator

import pytest
from atoll.config.stores import RadosGatewaySettings
from atoll.names import Digest
from atoll.replication.copier import Copier
from atoll.storage.base import blob_key
from atoll.storage.errors import ObjectMissing, OutcomeUnknown, StoreUnavailable
from atoll.storage.s3 import clients
from atoll.storage.s3.driver import S3ObjectStore
from atoll.storage.timeouts import assembly_seconds

from .memory_store import MemoryStore
from .s3_server import S3Server, gateway_of, s3_server

SILENCE = 1
DATA = b"x" * (17 * 2**20)
DIGEST = Digest.parse(f"sha256:{hashlib.sha256(DATA).hexdigest()}")
PATH = f"/bucket/registry/{blob_key(DIGEST)}"


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def make(server: S3Server) -> Callable[[str], S3ObjectStore]:
    def make(path: str) -> S3ObjectStore:
        settings = RadosGatewaySettings.model_validate(gateway_of(server, path))
        return S3ObjectStore(path.strip("/"), settings)

    return make


@pytest.fixture
def store(make: Callable[[str], S3ObjectStore]) -> S3ObjectStore:
    return make("/registry")


def is_completion(method: str, path: str) -> bool:
    return method == "POST" and "uploadId" in path


class CopyControl:
    """A control that permits everything and remembers the upload."""

    def __init__(self) -> None:
        self.upload_id: str | None = None

    def check(self) -> None:
        return

    def throttle(self, size: int) -> None:
        del size

    def record_upload(self, upload_id: str | None) -> None:
        self.upload_id = upload_id


def uploaded(store: S3ObjectStore) -> tuple[str, list[str]]:
    upload = store.begin_parts("key")
    return upload, [store.put_part("key", upload, 1, b"data", 4)]


def test_the_timeout_grows_with_the_size() -> None:
    sizes = [0, 2**20, 2**30, 5 * 2**30, 500 * 2**30]
    assert [assembly_seconds(size) for size in sizes] == [10, 20, 80, 640, 640]


def test_the_completion_timeout_applies_instead_of_the_read_timeout(
    server: S3Server, make: Callable[[str], S3ObjectStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "READ_TIMEOUT", SILENCE)
    monkeypatch.setattr(clients, "assembly_seconds", lambda _size: 60)
    store = make("/registry")
    upload, tags = uploaded(store)
    server.after = lambda method, path: _wait(3 * SILENCE) if is_completion(method, path) else True
    store.finish_parts("key", upload, tags, 4)
    assert server.requests["HEAD"] == 0


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return True


def test_an_object_completed_without_a_response_is_found(
    server: S3Server, store: S3ObjectStore
) -> None:
    upload, tags = uploaded(store)
    server.after = lambda method, path: not is_completion(method, path)
    store.finish_parts("key", upload, tags, 4)
    assert server.objects == {"/bucket/registry/key": b"data"}


def test_an_older_object_of_the_same_size_is_not_mistaken_for_the_new_one(
    server: S3Server, store: S3ObjectStore
) -> None:
    store.put("key", b"DATA", 4)
    upload, tags = uploaded(store)
    server.before = lambda method, path: not is_completion(method, path)
    with pytest.raises(OutcomeUnknown):
        store.finish_parts("key", upload, tags, 4)
    assert server.parts != {}


def test_a_vanished_upload_without_an_object_is_reported_missing(
    server: S3Server, store: S3ObjectStore
) -> None:
    upload, tags = uploaded(store)
    server.parts.clear()
    with pytest.raises(ObjectMissing):
        store.finish_parts("key", upload, tags, 4)


def source() -> MemoryStore:
    store = MemoryStore("eu")
    store.objects[blob_key(DIGEST)] = DATA
    return store


def test_a_copy_whose_completion_was_not_answered_reuses_its_parts(
    server: S3Server, store: S3ObjectStore
) -> None:
    control = CopyControl()
    copier = Copier({"eu": source(), "registry": store}, "registry")
    server.before = lambda method, path: not is_completion(method, path)
    with pytest.raises(OutcomeUnknown):
        copier.copy(DIGEST, len(DATA), ["eu"], control, None)
    assert control.upload_id in server.parts
    server.before = lambda _method, _path: True
    sent = server.requests["PUT"]
    copier.copy(DIGEST, len(DATA), ["eu"], control, control.upload_id)
    assert server.requests["PUT"] == sent
    assert server.objects[PATH] == DATA


@pytest.mark.parametrize("content", [DATA, b"y" * len(DATA)], ids=["right", "wrong"])
def test_an_object_that_appears_after_a_failed_copy_is_verified_before_sending_it_again(
    server: S3Server, store: S3ObjectStore, content: bytes
) -> None:
    control = CopyControl()
    copier = Copier({"eu": source(), "registry": store}, "registry")
    server.before = lambda method, path: not is_completion(method, path)
    with pytest.raises(OutcomeUnknown):
        copier.copy(DIGEST, len(DATA), ["eu"], control, None)
    server.before = lambda _method, _path: True
    server.parts.clear()
    server.objects[PATH], server.tags[PATH] = content, "tag"
    sent = server.requests["PUT"]
    copier.copy(DIGEST, len(DATA), ["eu"], control, control.upload_id)
    assert (server.requests["PUT"] == sent) is (content == DATA)
    assert server.objects[PATH] == DATA


@pytest.mark.parametrize("made", [True, False])
def test_a_server_side_copy_without_a_response_is_looked_up(
    server: S3Server, make: Callable[[str], S3ObjectStore], *, made: bool
) -> None:
    one, two = make("/registry"), make("/other")
    one.put("key", b"data", 4)
    two.put("key", b"DATA", 4)

    def answer(method: str, path: str) -> bool:
        if method == "PUT" and path.startswith("/bucket/other/key"):
            if made:
                server.objects["/bucket/other/key"] = b"data"
                server.tags["/bucket/other/key"] = "copied"
            return False
        return True

    server.before = answer
    if made:
        two.copy_from(one, "key", 4, lambda: None)
    else:
        with pytest.raises(StoreUnavailable):
            two.copy_from(one, "key", 4, lambda: None)
