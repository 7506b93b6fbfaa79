"""A write to S3 succeeds only with proof that the store received the bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from atoll.config.stores import RadosGatewaySettings
from atoll.storage.base import ObjectStore
from atoll.storage.errors import InvalidStoreResponse, StoreUnavailable, WriteNotProven
from atoll.storage.health import StoreHealth
from atoll.storage.prober import Prober
from atoll.storage.s3.driver import S3ObjectStore

from .s3_server import PAGE, S3Server, gateway_of, s3_server

OTHER_MD5 = hashlib.md5(b"other").hexdigest()


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def health() -> StoreHealth:
    health = StoreHealth(["us"])
    health.end_probe("us", None)
    return health


@pytest.fixture
def store(server: S3Server, health: StoreHealth) -> S3ObjectStore:
    settings = RadosGatewaySettings.model_validate(gateway_of(server))
    return S3ObjectStore("us", settings, observe=health.observe)


def put_memory(store: ObjectStore) -> None:
    store.put("key", b"data", 4)


def put_file(store: ObjectStore) -> None:
    store.put("key", io.BytesIO(b"data"), 4)


def put_part(store: ObjectStore) -> None:
    store.put_part("key", "upload", 1, b"data", 4)


def put_part_of_file(store: ObjectStore) -> None:
    store.put_part("key", "upload", 1, io.BytesIO(b"data"), 4)


Write = Callable[[ObjectStore], None]
WRITES = pytest.mark.parametrize("write", [put_memory, put_file, put_part, put_part_of_file])


@WRITES
@pytest.mark.parametrize("page", [PAGE, b"<!doctype html><p>no XML<br>", b""])
def test_a_web_page_with_status_200_does_not_prove_a_write(
    server: S3Server, store: S3ObjectStore, health: StoreHealth, write: Write, page: bytes
) -> None:
    server.page = page
    with pytest.raises(StoreUnavailable):
        write(store)
    assert health.in_doubt("us")
    Prober({"us": store}, health).probe_once(store)
    assert not health.is_up("us")


@WRITES
def test_an_etag_with_another_md5_does_not_prove_a_write(
    server: S3Server, store: S3ObjectStore, health: StoreHealth, write: Write
) -> None:
    server.parts["upload"] = {}
    server.etag = lambda _md5: f'"{OTHER_MD5}"'
    with pytest.raises(WriteNotProven, match=OTHER_MD5):
        write(store)
    assert health.in_doubt("us")
    Prober({"us": store}, health).probe_once(store)
    assert not health.is_up("us")


@WRITES
@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-server-side-encryption": "aws:kms"},
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
        {"x-goog-encryption-kms-key-name": "key"},
    ],
)
def test_the_etag_of_a_store_with_server_side_encryption_is_not_compared(
    server: S3Server, store: S3ObjectStore, write: Write, headers: dict[str, str]
) -> None:
    server.parts["upload"] = {}
    server.headers = headers
    server.etag = lambda _md5: f'"{OTHER_MD5}"'
    write(store)


@WRITES
def test_an_etag_other_than_an_md5_is_accepted(
    server: S3Server, store: S3ObjectStore, write: Write
) -> None:
    server.parts["upload"] = {}
    server.etag = lambda md5: f'"{md5}-1"'
    write(store)


@pytest.mark.parametrize("write", [put_memory, put_file])
@pytest.mark.parametrize("etag", [None, "", '""'])
def test_a_write_without_an_etag_is_read_back(
    server: S3Server, store: S3ObjectStore, write: Write, etag: str | None
) -> None:
    server.etag = lambda _md5: etag
    write(store)
    assert server.objects == {"/bucket/registry/key": b"data"}
    server.drops = True
    for there in (b"DATA", b"longer data", None):
        server.objects = {} if there is None else {"/bucket/registry/key": there}
        with pytest.raises(WriteNotProven):
            write(store)


def test_a_part_without_an_etag_counts_as_unwritten(server: S3Server, store: S3ObjectStore) -> None:
    server.parts["upload"] = {}
    server.etag = lambda _md5: None
    with pytest.raises(WriteNotProven):
        put_part(store)


def test_a_small_write_sends_one_request(server: S3Server, store: S3ObjectStore) -> None:
    put_memory(store)
    assert server.requests == {"PUT": 1}


def test_a_web_page_is_refused_as_a_listing_and_deletes_nothing(
    server: S3Server, store: S3ObjectStore
) -> None:
    server.page = PAGE
    with pytest.raises(InvalidStoreResponse, match="no list"):
        list(store.list_objects("sha256/"))
    with pytest.raises(InvalidStoreResponse, match="no list"):
        store.stored_parts("key", "upload")
    with pytest.raises(InvalidStoreResponse, match="no list"):
        store.abort_abandoned_parts(datetime.now(UTC), set())
    with pytest.raises(InvalidStoreResponse, match="deleted nothing"):
        store.delete("key")


@pytest.mark.parametrize("page", [b"<html></html>", b""])
def test_a_response_without_required_fields_is_reported_as_misbehaviour(
    server: S3Server, store: S3ObjectStore, page: bytes
) -> None:
    server.page = page
    with pytest.raises(InvalidStoreResponse, match="UploadId"):
        store.begin_parts("key")
    with pytest.raises(StoreUnavailable):
        store.finish_parts("key", "upload", [OTHER_MD5], 4)
    assert server.objects == {}
