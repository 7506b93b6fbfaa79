"""The contract of all store drivers, tested against real servers.

Ceph for all dialects of S3, Swift, the emulator of Azure, and a directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests
from atoll.config.stores import (
    AzureSettings,
    IbmCloudSettings,
    LocalSettings,
    OpenShiftSettings,
    RadosGatewaySettings,
    StoreSettings,
    SwiftSettings,
)
from atoll.storage.base import ObjectStore
from atoll.storage.drivers import make_store
from atoll.storage.errors import ObjectMissing, StoreRefused, StoreUnavailable
from atoll.storage.multipart import PART_MINIMUM, PartsWriter, put_file

from .other_stores import Azurite, Swift, running_azurite, running_swift
from .s3_settings import amazon, gateway, google
from .services import Services

KEY = "sha256/ab/abcd"


DIALECTS = {
    "RadosGWStorage": lambda store: gateway(RadosGatewaySettings, store),
    "RHOCSStorage": lambda store: gateway(OpenShiftSettings, store),
    "IBMCloudStorage": lambda store: gateway(IbmCloudSettings, store),
    "S3Storage": amazon,
    "GoogleCloudStorage": google,
}


@dataclass
class Subject:
    """A store, the outcomes that it reported, and the settings it was created with."""

    store: ObjectStore
    failures: list[str]
    settings: StoreSettings
    ca_bundle: str | None = None


def objects_of_directory(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def swifts(
    services: Services, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Swift, Swift]]:
    with running_swift(services, tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture(scope="session")
def azurite(services: Services) -> Iterator[Azurite]:
    with running_azurite(services) as running:
        yield running


# These two images are built separately, which takes minutes.
IN_IMAGES_OF_THEIR_OWN = [
    pytest.param(name, marks=pytest.mark.long)
    for name in ("SwiftStorage", "SwiftStorage-Keystone", "AzureStorage")
]


@pytest.fixture(params=["LocalStorage", *DIALECTS, *IN_IMAGES_OF_THEIR_OWN])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    failures: list[str] = []

    def observe(_location: str, error: StoreUnavailable | None, *, write: bool = False) -> None:
        del write
        failures.extend([str(error)] if error else [])

    def make_subject(settings: StoreSettings, ca_bundle: str | None = None) -> Subject:
        store = make_store("us", settings, ca_bundle=ca_bundle, observe=observe)
        return Subject(store, failures, settings, ca_bundle)

    if request.param == "LocalStorage":
        yield make_subject(LocalSettings(storage_path=str(tmp_path / "store")))
        assert objects_of_directory(tmp_path / "store") <= {"_verify", "_location"}
    elif request.param.startswith("SwiftStorage"):
        swifts: tuple[Swift, Swift] = request.getfixturevalue("swifts")
        swift = swifts[request.param.endswith("Keystone")]
        yield make_subject(SwiftSettings(**swift.settings), str(swift.certificate))
        assert swift.objects() == set()
    elif request.param == "AzureStorage":
        azurite: Azurite = request.getfixturevalue("azurite")
        yield make_subject(AzureSettings(**azurite.settings))
        assert azurite.objects() == set()
    else:
        services: Services = request.getfixturevalue("services")
        services.us.empty()
        settings = DIALECTS[request.param](services.us)
        yield make_subject(settings, str(services.us.certificate))
        assert services.us.objects() == set()
        assert services.us.open_uploads() == 0


def content(store: ObjectStore, key: str = KEY, *bounds: int) -> bytes:
    return b"".join(store.read(key, *bounds))


def test_an_object_is_read_unchanged_and_overwritten_as_a_whole(
    subject: Subject,
) -> None:
    store = subject.store
    for data in (b"first and longer", b"second", b""):
        store.put(KEY, data, len(data))
        assert content(store) == data
        assert store.size(KEY) == len(data)
    store.delete(KEY)
    with pytest.raises(ObjectMissing):
        store.size(KEY)
    assert subject.failures == []


def test_ranges_are_exact_and_empty_beyond_the_end(subject: Subject) -> None:
    store = subject.store
    store.put(KEY, b"0123456789", 10)
    assert content(store, KEY, 2, 5) == b"234"
    assert content(store, KEY, 7) == b"789"
    assert content(store, KEY, 8, 100) == b"89"
    assert content(store, KEY, 10) == b""
    assert content(store, KEY, 50, 60) == b""
    store.delete(KEY)
    assert subject.failures == []


def test_objects_below_a_prefix_are_listed_in_the_order_of_their_keys(subject: Subject) -> None:
    store = subject.store
    keys = [f"sha256/{name[:2]}/{name}" for name in ("00aa", "0fbb", "abcc", "abdd", "ffee")]
    before = datetime.now(UTC) - timedelta(minutes=5)
    for size, key in enumerate(reversed(keys)):
        store.put(key, b"x" * size, size)
    store.put("uploads/one", b"", 0)
    found = list(store.list_objects("sha256/"))
    assert [(entry.key, entry.size) for entry in found] == [
        (key, 4 - number) for number, key in enumerate(keys)
    ]
    assert all(before < entry.modified_at < before + timedelta(minutes=10) for entry in found)
    assert list(store.list_objects("sha512/")) == []
    assert {*keys, "uploads/one"} <= {entry.key for entry in store.list_objects("")}
    for key in [*keys, "uploads/one"]:
        store.delete(key)
    assert subject.failures == []


def test_recent_or_referenced_parts_are_not_aborted(subject: Subject) -> None:
    store = subject.store
    upload = store.begin_parts(KEY)
    store.put_part(KEY, upload, 1, b"x" * 100, 100)
    now = datetime.now(UTC)
    assert store.abort_abandoned_parts(now - timedelta(hours=1), set()) == 0
    assert store.abort_abandoned_parts(now + timedelta(hours=1), {upload}) == 0
    if store.abort_abandoned_parts(now + timedelta(hours=1), set()) == 0:
        # Some stores delete abandoned parts by themselves, or cannot list them.
        store.abort_parts(KEY, upload)
    assert store.abort_abandoned_parts(now + timedelta(hours=1), set()) == 0


def test_a_missing_object_is_reported_as_such_and_not_as_a_failure_of_the_store(
    subject: Subject,
) -> None:
    store = subject.store
    store.probe(write=True)
    with pytest.raises(ObjectMissing):
        store.size("sha256/no/thing")
    with pytest.raises(ObjectMissing):
        content(store, "sha256/no/thing")
    store.delete("sha256/no/thing")
    assert subject.failures == []


def test_a_large_object_is_written_in_parts_and_appears_when_completed(
    subject: Subject, tmp_path: Path
) -> None:
    store, data = subject.store, os.urandom(2 * PART_MINIMUM + 5)
    with PartsWriter(store, KEY, len(data)) as writer:
        writer.write(data)
        with pytest.raises(ObjectMissing):
            store.size(KEY)
        writer.finish()
    assert content(store) == data
    assert (
        content(store, KEY, PART_MINIMUM - 1, PART_MINIMUM + 1)
        == data[PART_MINIMUM - 1 : PART_MINIMUM + 1]
    )
    # A file in parts replaces the existing object.
    larger = data + os.urandom(5)
    with (tmp_path / "file").open("w+b") as file:
        file.write(larger)
        put_file(store, KEY, file, len(larger))
    assert content(store) == larger
    store.delete(KEY)


def test_an_aborted_upload_leaves_nothing_and_can_be_aborted_twice(
    subject: Subject,
) -> None:
    store = subject.store
    upload = store.begin_parts(KEY)
    store.put_part(KEY, upload, 1, b"x" * 100, 100)
    store.abort_parts(KEY, upload)
    store.abort_parts(KEY, upload)
    with pytest.raises(ObjectMissing):
        store.size(KEY)


def test_two_uploads_of_one_object_do_not_affect_each_other(subject: Subject) -> None:
    store = subject.store
    one, other = store.begin_parts(KEY), store.begin_parts(KEY)
    tags = [store.put_part(KEY, upload, 1, b"same", 4) for upload in (one, other)]
    store.finish_parts(KEY, one, tags[:1], 4)
    store.finish_parts(KEY, other, tags[1:], 4)
    assert content(store) == b"same"
    store.delete(KEY)


def test_a_presigned_url_returns_bytes_and_ranges_and_requires_its_signature(
    subject: Subject,
) -> None:
    store = subject.store
    store.put(KEY, b"0123456789", 10)
    url = store.presigned_url(KEY, 60)
    if isinstance(subject.settings, LocalSettings):
        assert url is None
    else:
        assert url is not None
        session = requests.Session()
        session.trust_env = False
        session.verify = subject.ca_bundle
        assert session.get(url).content == b"0123456789"
        part = session.get(url, headers={"Range": "bytes=2-4"})
        assert (part.status_code, part.content) == (206, b"234")
        assert session.get(url.partition("?")[0]).status_code in {401, 403}
    store.delete(KEY)


def test_a_wrong_key_is_reported_as_refused(subject: Subject) -> None:
    if isinstance(subject.settings, LocalSettings):
        pytest.skip("a directory has no keys; what it refuses is shown below")
    wrong = subject.settings.model_copy(
        update={
            name: type(value)("d3Jvbmc=")
            for name in ("secret_key", "s3_secret_key", "swift_password", "azure_account_key")
            if (value := getattr(subject.settings, name, None)) is not None
        }
    )
    store = make_store("us", wrong, ca_bundle=subject.ca_bundle)
    with pytest.raises(StoreRefused):
        store.put(KEY, b"x", 1)
    with pytest.raises(StoreRefused):
        store.probe(write=True)


def test_paths_outside_of_the_directory_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("outside")
    store = make_store("us", LocalSettings(storage_path=str(tmp_path / "store")))
    for key in ("../secret", "a/../../secret", str(tmp_path / "secret"), "", ".unfinished/x"):
        with pytest.raises(ObjectMissing):
            content(store, key)
        with pytest.raises(ObjectMissing):
            store.put(key, b"x", 1)
    assert (tmp_path / "secret").read_text() == "outside"


def test_the_probe_reports_a_missing_directory(tmp_path: Path) -> None:
    store = make_store("us", LocalSettings(storage_path=str(tmp_path / "store")))
    with pytest.raises(StoreUnavailable, match="does not exist"):
        store.probe(write=False)
    store.probe(write=True)
    store.probe(write=False)


def test_a_truncated_body_creates_no_object(tmp_path: Path) -> None:
    store = make_store("us", LocalSettings(storage_path=str(tmp_path / "store")))
    with (tmp_path / "file").open("w+b") as file, pytest.raises(StoreUnavailable):
        store.put(KEY, file, 10)
    assert objects_of_directory(tmp_path / "store") == set()
