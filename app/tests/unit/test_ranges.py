"""A store that returns another range than the requested one is treated as misbehaving."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from atoll.config.stores import RadosGatewaySettings
from atoll.storage.base import ObjectStore
from atoll.storage.errors import InvalidStoreResponse, StoreUnavailable
from atoll.storage.failover import read_from_any
from atoll.storage.health import StoreHealth
from atoll.storage.proof import require_range
from atoll.storage.s3.driver import S3ObjectStore

from .s3_server import S3Server, gateway_of, s3_server

DATA = b"0123456789" * 4


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        server.objects["/bucket/registry/key"] = DATA
        server.tags["/bucket/registry/key"] = "tag"
        yield server


@pytest.fixture(params=["s3v4", "s3"], ids=["direct", "botocore"])
def store(server: S3Server, request: pytest.FixtureRequest) -> S3ObjectStore:
    settings = RadosGatewaySettings.model_validate(gateway_of(server))
    settings = settings.model_copy(update={"signature_version": request.param})
    return S3ObjectStore("us", settings)


BOUNDS = [(10, 20), (0, 10), (10, None), (35, 100), (0, 40)]


@pytest.mark.parametrize(("start", "end"), BOUNDS)
def test_a_range_is_read(store: S3ObjectStore, start: int, end: int | None) -> None:
    assert b"".join(store.read("key", start, end)) == DATA[start:end]


@pytest.mark.parametrize(("start", "end"), BOUNDS)
def test_a_range_answered_with_200_is_refused_before_the_first_byte(
    server: S3Server, store: S3ObjectStore, start: int, end: int | None
) -> None:
    server.ranges = False
    with pytest.raises(InvalidStoreResponse):
        next(iter(store.read("key", start, end)))


@pytest.mark.parametrize(
    ("status", "content_range"),
    [
        (200, "bytes 10-19/40"),
        (206, None),
        (206, ""),
        (206, "bytes 0-9/40"),
        (206, "bytes 10-18/40"),
        (206, "bytes 10-39/40"),
        (206, "bytes */40"),
        (206, "bytes 10-25/*"),
    ],
)
def test_another_range_than_the_requested_one_is_refused(
    status: int, content_range: str | None
) -> None:
    with pytest.raises(InvalidStoreResponse):
        require_range("us", status, content_range, 10, 20)


def test_the_length_of_a_valid_range_is_returned() -> None:
    assert require_range("us", 206, "bytes 10-19/40", 10, 20) == 10
    assert require_range("us", 206, "bytes 10-19/*", 10, 20) == 10
    assert require_range("us", 206, "bytes 10-14/15", 10, 20) == 5
    assert require_range("us", 206, "bytes 10-39/40", 10, None) == 30


class Excessive(ObjectStore):
    """A store that ignores ranges and sends the object from its start."""

    def __init__(self) -> None:
        self.location = "us"

    def read(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        del key, start, end
        yield DATA

    put = size = delete = list_objects = presigned_url = None  # type: ignore[assignment]
    begin_parts = put_part = finish_parts = abort_parts = probe = None  # type: ignore[assignment]


def test_bytes_beyond_the_requested_range_are_not_passed_on() -> None:
    stores: dict[str, ObjectStore] = {"us": Excessive()}
    with pytest.raises(StoreUnavailable):
        list(read_from_any(stores, StoreHealth(["us"]), ["us"], "key", start=10, end=20))
