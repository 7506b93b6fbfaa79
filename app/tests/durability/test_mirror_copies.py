"""Images of an upstream are copied to a mirror: what is fetched, written, placed and refused."""

from __future__ import annotations

import json
import logging
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atoll.mirroring.copying.blob_records import LEASE_SECONDS, BlobRecords
from atoll.mirroring.copying.copy_control import CopyControl
from atoll.mirroring.copying.copy_errors import (
    ArchitectureMissing,
    CopyError,
    NotAMirror,
    SparseIndexDisabled,
    StoreFailed,
)
from atoll.mirroring.copying.image_copier import CopyOptions, CopyResult
from atoll.names import Digest, RepositoryName
from atoll.placement.upkeep.completeness import Completeness
from atoll.registry.errors import ManifestUnknown
from atoll.registry.image_completeness import ImageCompleteness
from atoll.registry.referrers import Referrers
from atoll.server.maintenance import abort_abandoned_parts
from atoll.storage.base import blob_key
from atoll.storage.errors import OutcomeUnknown, StoreUnavailable
from atoll.upstream.access import Access
from atoll.upstream.client import UpstreamClient, fallback_tag
from atoll.upstream.errors import UpstreamError

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.clients import USER, client
from ..upstream.content import OCI_IMAGE, OCI_INDEX, UpstreamRepository, digest_of, layer
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .mirror_images import bound
from .mirrored import ROBOT, make_mirror
from .resumable_store import ResumableStore
from .sites import MemoryRegistry, MemorySite, make_registry

MEBIBYTE = 2**20
# Three parts of 8 MiB.
LARGE = bytes(range(256)) * (20 * MEBIBYTE // 256)
PARTS = 3
# The bytes of a configuration, which a killed copy of an image may not have fetched yet.
CONFIG_MAXIMUM = 1000


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    with FaultUpstream(ca.server_context()).running() as running:
        yield running


@pytest.fixture
def there(upstream: FaultUpstream) -> UpstreamRepository:
    """The content of the upstream."""
    return upstream.repository()


@pytest.fixture
def source(ca: PrivateCa, upstream: FaultUpstream) -> UpstreamClient:
    return client(ca, upstream)


@pytest.fixture
def registry(make_database: Callable[[], str], tmp_path: Path) -> MemoryRegistry:
    """A registry whose stores list the parts of multipart uploads."""
    sparse: dict[str, object] = {"FEATURE_SPARSE_INDEX": True}
    made = make_registry(make_database(), tmp_path, ["us", "eu"], sparse)
    for name in list(made.stores):
        made.stores[name] = ResumableStore(name)
    for site in made.sites.values():
        site.locations.stores.update(made.stores)
        site.stores.update(made.stores)
    return made


@pytest.fixture
def site(registry: MemoryRegistry) -> MemorySite:
    site = registry["us"]
    make_mirror(site, site.repository)
    return site


def copy(
    site: MemorySite,
    source: UpstreamClient,
    digest: str,
    control: CopyControl | None = None,
    **options: object,
) -> CopyResult:
    return site.graph.image_copier.copy(
        source,
        bound(site),
        Digest.parse(digest),
        CopyOptions(**options),  # type: ignore[arg-type]
        robot=ROBOT,
        control=control or CopyControl(),
    )


def placed(site: MemorySite) -> set[str]:
    """Return the digests of all placed blobs."""
    rows = site.database.read(
        "SELECT s.content_checksum FROM imagestorage s"
        " WHERE EXISTS (SELECT FROM imagestorageplacement p WHERE p.storage_id = s.id)"
    )
    return {row[0] for row in rows}


def manifests(site: MemorySite) -> set[str]:
    return {row[0] for row in site.database.read("SELECT digest FROM manifest")}


def visible_objects(site: MemorySite) -> set[str]:
    return {key for store in site.stores.values() for key in store.objects}


def leftovers(site: MemorySite) -> list[object]:
    """Return records and parts that a finished copy must not leave behind."""
    rows = site.database.read(
        "SELECT digest FROM mirrorblob UNION SELECT uuid::text FROM blobupload"
    )
    return [*rows, *(part for store in site.stores.values() for part in store.parts)]


def other_repository(site: MemorySite, content: bytes, visibility: str = "private") -> Digest:
    """Push a blob to a repository of another organization."""
    name = RepositoryName("stranger", "secret")
    mine, site.repository = site.repository, name
    digest = site.push(content)
    site.database.run("UPDATE repository SET visibility = %s WHERE name = 'secret'", [visibility])
    site.repository = mine
    return digest


# What is copied -----------------------------------------------------------------------------


def test_an_image_is_copied_with_replication_tasks(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    image = there.add_image(layers=[layer(1), layer(2)])
    result = copy(site, source, image)
    assert placed(site) == set(there.blobs)
    assert manifests(site) == {image}
    assert result.bytes_copied == sum(map(len, there.blobs.values()))
    assert result.bytes_present == 0
    for digest, content in there.blobs.items():
        assert site.stores["us"].objects[blob_key(Digest.parse(digest))] == content
    tasks = site.database.read(
        "SELECT count(*) FROM replicationtask t JOIN imagestoragelocation l ON l.id = t.location_id"
        " WHERE l.name = 'eu'"
    )
    assert tasks[0][0] == len(there.blobs)
    assert leftovers(site) == []


def test_a_second_copy_fetches_no_blob(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository, upstream: FaultUpstream
) -> None:
    first = there.add_image(layers=[layer(1), layer(2)])
    second = there.add_image(layers=[layer(1), layer(2), layer(3)])
    copy(site, source, first)
    before = upstream.count("blob")
    result = copy(site, source, second)
    # Its configuration and the third layer.
    assert upstream.count("blob") == before + 2
    assert result.bytes_present == len(layer(1)) + len(layer(2))


@pytest.mark.parametrize("architectures", [(), ("amd64",), ("arm64", "s390x")])
def test_an_index_keeps_its_digest_with_a_filter(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    architectures: tuple[str, ...],
) -> None:
    images = {
        name: there.add_image(layers=[layer(number)], architecture=name)
        for number, name in enumerate(["amd64", "arm64"])
    }
    index = there.add_index("latest", images)
    copy(site, source, index, architectures=architectures)
    wanted = {
        digest for name, digest in images.items() if not architectures or name in architectures
    }
    assert manifests(site) == wanted | {index}
    manifest = site.graph.manifests.get(bound(site), index)
    assert manifest.content == there.manifests[index][1]
    for digest in set(images.values()) - wanted:
        with pytest.raises(ManifestUnknown):
            site.graph.manifests.get(bound(site), digest)
    assert completeness(site, index).absent_manifests == len(images) - len(wanted)
    complete = {one.location: one.complete for one in completeness(site, index).locations}
    assert complete["us"]
    assert not complete["eu"]


def completeness(site: MemorySite, reference: str) -> Completeness:
    return ImageCompleteness(site.database, ["us", "eu"]).of(site.repository, reference)


def test_a_wider_filter_fetches_only_the_further_images(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository, upstream: FaultUpstream
) -> None:
    images = {
        name: there.add_image(layers=[layer(number)], architecture=name)
        for number, name in enumerate(["amd64", "arm64"])
    }
    index = there.add_index("latest", images)
    copy(site, source, index, architectures=("amd64",))
    upstream.requests.clear()
    copy(site, source, index)
    assert manifests(site) == {index, *images.values()}
    fetched = [one.path.rpartition("/")[2] for one in upstream.requests if one.kind == "manifest"]
    assert images["amd64"] not in fetched


def test_a_filter_without_a_match_is_a_named_failure(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    index = there.add_index("latest", {"amd64": there.add_image()})
    with pytest.raises(ArchitectureMissing):
        copy(site, source, index, architectures=("s390x",))
    assert manifests(site) == set()


def test_a_filter_needs_sparse_indexes(
    registry: MemoryRegistry,
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    tmp_path: Path,
) -> None:
    strict = make_registry(registry.uri, tmp_path / "strict", ["us", "eu"])["us"]
    index = there.add_index(
        "latest", {"amd64": there.add_image(), "arm64": there.add_image(architecture="arm64")}
    )
    with pytest.raises(SparseIndexDisabled):
        copy(strict, source, index, architectures=("amd64",))
    assert manifests(site) == set()


def test_referrers_and_cosign_tags_come_along(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    image = there.add_image("v1")
    sbom = there.add_referrer(image, "application/spdx+json")
    signature_of_sbom = there.add_referrer(sbom, "application/vnd.dev.cosign.artifact.sig.v1+json")
    tag = f"{fallback_tag(Digest.parse(image))}.sig"
    signature = there.add_image(tag, layers=[b"signature"])
    result = copy(site, source, image, listed_tags=source.tags().names)
    assert manifests(site) == {image, sbom, signature_of_sbom, signature}
    assert result.attached == {tag: signature}
    found, _ = Referrers(site.database).list(bound(site), Digest.parse(image), None, 0)
    assert [one.digest for one in found] == [sbom]


@pytest.mark.parametrize(
    ("referrers", "number"), [("all", 2), (("application/spdx+json",), 1), ("none", 0)]
)
def test_referrers_are_selected_by_type(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    upstream: FaultUpstream,
    referrers: object,
    number: int,
) -> None:
    image = there.add_image("v1")
    there.add_referrer(image, "application/spdx+json")
    there.add_referrer(image, "application/vnd.cyclonedx+json")
    copy(site, source, image, referrers=referrers)
    assert len(manifests(site)) == number + 1
    assert (upstream.count("referrers") == 0) == (referrers == "none")


def test_foreign_layers_are_left_out(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    image = there.add_image()
    document = json.loads(there.manifests[image][1])
    document["layers"].append(
        {
            "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "digest": digest_of(b"foreign"),
            "size": 7,
        }
    )
    with_foreign = there.add_manifest(document, OCI_IMAGE)
    copy(site, source, with_foreign)
    assert digest_of(b"foreign") not in placed(site)
    assert with_foreign in manifests(site)


# What is refused: each failure has a name, and nothing is placed -----------------------------


def code_of(site: MemorySite, source: UpstreamClient, digest: str) -> str:
    with pytest.raises((UpstreamError, CopyError)) as raised:
        copy(site, source, digest)
    assert isinstance(raised.value, UpstreamError | CopyError)
    return raised.value.code


@pytest.mark.parametrize(
    ("fault", "times", "code"),
    [
        (faults.corrupt(), 1, "wrong_digest"),
        (faults.lengthen(1), 1, "too_long"),
        (faults.endless(), 1, "too_long"),
        (faults.shorten(100), None, "truncated"),
        (faults.truncate(100), None, "truncated"),
        (faults.status(404), 1, "blob_unknown"),
    ],
)
@pytest.mark.parametrize("size", [100_000, len(LARGE)], ids=["small", "large"])
def test_wrong_blobs_are_never_placed(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    upstream: FaultUpstream,
    fault: faults.Action,
    times: int | None,
    code: str,
    size: int,
) -> None:
    content = LARGE[:size]
    image = there.add_image(layers=[content])
    upstream.fail("blob", fault, path=digest_of(content), times=times)
    assert code_of(site, source, image) == code
    assert digest_of(content) not in placed(site)
    assert blob_key(Digest.of(content)) not in visible_objects(site)
    assert manifests(site) == set()
    # The next attempt succeeds, and leaves nothing behind.
    upstream.recover()
    copy(site, source, image)
    assert site.has_object("us", Digest.of(content))
    assert leftovers(site) == []


def test_compressed_responses_are_refused(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository, upstream: FaultUpstream
) -> None:
    image = there.add_image()
    upstream.oddities.encoding = "gzip"
    assert code_of(site, source, image) == "content_encoding"
    assert placed(site) == set()


def manifest_of_size(there: UpstreamRepository, size: int) -> str:
    document = json.loads(there.manifests[there.add_image()][1])
    document["annotations"] = {"padding": ""}
    document["annotations"]["padding"] = "x" * (size - len(json.dumps(document)))
    return there.add_manifest(document, OCI_IMAGE)


def index_of_entries(there: UpstreamRepository, number: int) -> str:
    image = there.add_image()
    entry = {"mediaType": OCI_IMAGE, "digest": image, "size": len(there.manifests[image][1])}
    return there.add_manifest(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry] * number}, OCI_INDEX
    )


def nested_indexes(there: UpstreamRepository, depth: int) -> str:
    digest = there.add_image()
    for _ in range(depth):
        digest = there.add_index(None, {"amd64": digest})
    return digest


def index_that_lists_itself(there: UpstreamRepository) -> str:
    """Return an index that the upstream sends for the digest that it lists."""
    digest = digest_of(b"any")
    content = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{"mediaType": OCI_INDEX, "digest": digest, "size": 100}],
    }
    there.manifests[digest] = OCI_INDEX, json.dumps(content).encode()
    return digest


def schema_1(there: UpstreamRepository) -> str:
    media_type = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    return there.add_manifest({"schemaVersion": 1, "fsLayers": []}, media_type)


def image_with_sizes(there: UpstreamRepository, *sizes: object) -> str:
    document = json.loads(there.manifests[there.add_image()][1])
    layers = [{**document["layers"][0], "size": size} for size in sizes]
    return there.add_manifest({**document, "layers": layers}, OCI_IMAGE)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda there: manifest_of_size(there, 4_300_000), "too_large"),
        (lambda there: index_of_entries(there, 1001), "manifest_invalid"),
        (lambda there: nested_indexes(there, 5), "manifest_invalid"),
        (index_that_lists_itself, "wrong_digest"),
        (schema_1, "schema1"),
        (lambda there: image_with_sizes(there, 2**62), "manifest_invalid"),
        (lambda there: image_with_sizes(there, -1), "manifest_invalid"),
        (lambda there: image_with_sizes(there, "7"), "manifest_invalid"),
        (lambda there: image_with_sizes(there, 7, 8), "manifest_invalid"),
        (lambda _there: digest_of(b"unknown"), "manifest_unknown"),
    ],
    ids=[
        "4.1 MiB",
        "1001 entries",
        "nested indexes",
        "cycle",
        "schema 1",
        "huge size",
        "negative size",
        "textual size",
        "two sizes",
        "unknown",
    ],
)
def test_wrong_manifests_are_named_and_nothing_is_placed(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    make: Callable[[UpstreamRepository], str],
    code: str,
) -> None:
    assert code_of(site, source, make(there)) == code
    assert placed(site) == set()
    assert manifests(site) == set()


def test_one_wrong_blob_does_not_prevent_other_images(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository, upstream: FaultUpstream
) -> None:
    wrong, right = there.add_image(layers=[layer(1)]), there.add_image(layers=[layer(2)])
    upstream.fail("blob", faults.corrupt(), path=digest_of(layer(1)), times=None)
    assert code_of(site, source, wrong) == "wrong_digest"
    copy(site, source, right)
    assert manifests(site) == {right}


def test_a_repository_that_nobody_may_push_to_gets_nothing(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    image = there.add_image(layers=[LARGE])
    site.database.run("UPDATE repository SET state = 'READ_ONLY'")
    with pytest.raises(NotAMirror):
        copy(site, source, image)
    assert placed(site) == set()


# Nothing is lent by digest --------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"private layer", LARGE], ids=["small", "large"])
def test_a_private_blob_is_not_lent_to_an_upstream_that_names_it(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    content: bytes,
) -> None:
    other_repository(site, content)
    image = there.add_image(layers=[content])
    del there.blobs[digest_of(content)]
    assert code_of(site, source, image) == "blob_unknown"
    assert rights(site, content) == 0
    assert manifests(site) == set()


@pytest.mark.parametrize("content", [b"private layer", LARGE], ids=["small", "large"])
def test_a_private_blob_that_the_upstream_sends_is_hashed_and_not_written_again(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    upstream: FaultUpstream,
    content: bytes,
) -> None:
    digest = other_repository(site, content)
    image = there.add_image(layers=[content])
    written: list[str] = []
    site.stores["us"].fault = lambda operation, key: written.append(f"{operation} {key}")
    copy(site, source, image)
    assert not any(blob_key(digest) in one for one in written)
    assert upstream.count("blob") == 2
    assert rights(site, content) == 1
    assert manifests(site) == {image}
    assert leftovers(site) == []


@pytest.mark.parametrize("content", [b"private layer", LARGE], ids=["small", "large"])
def test_wrong_bytes_for_a_private_blob_change_nothing(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    upstream: FaultUpstream,
    content: bytes,
) -> None:
    digest = other_repository(site, content)
    image = there.add_image(layers=[content])
    upstream.fail("blob", faults.corrupt(), path=str(digest), times=None)
    assert code_of(site, source, image) == "wrong_digest"
    assert site.has_object("us", digest)
    assert rights(site, content) == 0


def test_a_public_blob_is_mounted(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository, upstream: FaultUpstream
) -> None:
    digest = other_repository(site, b"public layer", "public")
    image = there.add_image(layers=[b"public layer"])
    result = copy(site, source, image)
    assert [one.path for one in upstream.requests if str(digest) in one.path] == []
    assert result.bytes_present == len(b"public layer")


def rights(site: MemorySite, content: bytes) -> int:
    """Return the number of rights of the mirror to a blob."""
    rows = site.database.read(
        "SELECT count(*) FROM uploadedblob u JOIN imagestorage s ON s.id = u.blob_id"
        " WHERE u.repository_id = %s AND s.content_checksum = %s",
        [bound(site).id, digest_of(content)],
    )
    return int(rows[0][0])


# Interruptions --------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends at once."""


def kill_after(parts: float) -> Callable[[int], None]:
    """Return a callback that ends the process after parts of a blob were received."""
    received = 0

    def count(size: int) -> None:
        nonlocal received
        received += size
        if received >= parts * 8 * MEBIBYTE:
            raise Killed

    return count


def leave_expired_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a process that ends keep its leases, which end at once.

    Its threads may still renew them after the end of the copy.
    """
    monkeypatch.setattr(BlobRecords, "release", lambda _self, _claim: None)
    monkeypatch.setattr("atoll.mirroring.copying.blob_records.LEASE_SECONDS", 0)


def expire_leases(site: MemorySite) -> None:
    site.database.run("UPDATE mirrorblob SET lease_expires = '-infinity'")


@pytest.mark.parametrize("resumed_at", ["us", "eu"])
def test_a_crash_does_not_fetch_a_large_blob_again(
    registry: MemoryRegistry,
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    monkeypatch: pytest.MonkeyPatch,
    resumed_at: str,
) -> None:
    monkeypatch.setattr("atoll.mirroring.copying.blob_stream.CHECKPOINT_SECONDS", 0)
    leave_expired_leases(monkeypatch)
    image = there.add_image(layers=[LARGE])
    with pytest.raises(Killed):
        copy(site, source, image, CopyControl(kill_after(2)))
    fetched: list[int] = []
    copy(registry[resumed_at], source, image, CopyControl(fetched.append))
    assert site.has_object("us", Digest.of(LARGE))
    assert sum(fetched) <= len(LARGE) - 8 * MEBIBYTE + CONFIG_MAXIMUM
    assert leftovers(site) == []


def test_an_upload_without_parts_is_not_continued(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leave_expired_leases(monkeypatch)
    store = site.stores["us"]
    begin, begun = store.begin_parts, list[str]()

    def recorded(key: str) -> str:
        begun.append(key)
        return begin(key)

    store.begin_parts = recorded  # type: ignore[method-assign]
    image = there.add_image(layers=[LARGE])
    with pytest.raises(Killed):
        copy(site, source, image, CopyControl(kill_after(0.1)))
    # A late request of the first attempt may still write a part of its upload.
    copy(site, source, image)
    assert len(begun) == 2
    assert leftovers(site) == []


def test_a_crash_of_a_verification_does_not_fetch_again(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atoll.mirroring.copying.blob_stream.CHECKPOINT_SECONDS", 0)
    other_repository(site, LARGE)
    image = there.add_image(layers=[LARGE])
    with pytest.raises(Killed):
        copy(site, source, image, CopyControl(kill_after(2)))
    fetched: list[int] = []
    copy(site, source, image, CopyControl(fetched.append))
    assert sum(fetched) <= len(LARGE) - 8 * MEBIBYTE + CONFIG_MAXIMUM
    assert rights(site, LARGE) == 1


def test_parts_with_other_bytes_are_not_used(
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("atoll.mirroring.copying.blob_stream.CHECKPOINT_SECONDS", 0)
    image = there.add_image(layers=[LARGE])
    with pytest.raises(Killed):
        copy(site, source, image, CopyControl(kill_after(2)))
    for parts in site.stores["us"].parts.values():
        parts[1] = bytes(len(parts[1]))
    copy(site, source, image)
    assert site.has_object("us", Digest.of(LARGE))
    assert leftovers(site) == []


def test_an_unanswered_completion_is_found_by_the_next_attempt(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    store = site.stores["us"]
    image = there.add_image(layers=[LARGE])
    finish = store.finish_parts

    def finish_without_answer(*arguments: object) -> None:
        finish(*arguments)  # type: ignore[arg-type]
        raise OutcomeUnknown("us", "no answer")

    store.finish_parts = finish_without_answer  # type: ignore[method-assign]
    with pytest.raises(StoreFailed):
        copy(site, source, image)
    assert Digest.of(LARGE) not in {Digest.parse(one) for one in placed(site)}
    store.finish_parts = finish  # type: ignore[method-assign]
    fetched: list[int] = []
    copy(site, source, image, CopyControl(fetched.append))
    assert str(Digest.of(LARGE)) in placed(site)
    assert sum(fetched) < MEBIBYTE


def test_a_failing_store_is_replaced_by_the_next_one(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    image = there.add_image(layers=[LARGE, b"small"])
    writes = 0

    def fail(operation: str, _key: str) -> None:
        nonlocal writes
        if operation in {"put", "put_part"}:
            writes += 1
            if writes > 1:
                raise StoreUnavailable("us", "no answer")

    site.stores["us"].fault = fail
    copy(site, source, image)
    assert site.has_object("eu", Digest.of(LARGE))
    assert site.placements(Digest.of(LARGE)) == {"eu": "good"}


def test_what_was_received_is_kept_while_no_store_accepts_more(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    image = there.add_image(layers=[LARGE])
    site.stores["eu"].down = True
    site.probe("eu")
    writes = 0

    def fail(operation: str, _key: str) -> None:
        nonlocal writes
        writes += operation == "put_part"
        if operation == "put_part" and writes > PARTS - 1:
            raise StoreUnavailable("us", "no answer")

    site.stores["us"].fault = fail
    with pytest.raises(StoreFailed):
        copy(site, source, image)
    site.stores["us"].fault = None
    fetched: list[int] = []
    copy(site, source, image, CopyControl(fetched.append))
    assert sum(fetched) <= len(LARGE) - 8 * MEBIBYTE + CONFIG_MAXIMUM
    assert site.has_object("us", Digest.of(LARGE))


def test_an_object_that_is_deleted_before_it_is_placed_is_written_again(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    image = there.add_image(layers=[LARGE])
    digest = Digest.of(LARGE)
    store = site.stores["us"]
    finish = store.finish_parts
    finished = 0

    def finish_and_delete(*arguments: object) -> None:
        nonlocal finished
        finish(*arguments)  # type: ignore[arg-type]
        finished += 1
        if finished == 1:
            assert site.graph.content.discard(digest, "us", None)

    store.finish_parts = finish_and_delete  # type: ignore[method-assign]
    copy(site, source, image)
    assert finished == 2
    assert site.has_object("us", digest)


def test_an_excluded_location_is_not_written_to(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    site.database.run(
        "INSERT INTO replicationpolicy (repository_id, excluded) VALUES (%s, '{us}')",
        [bound(site).id],
    )
    image = there.add_image(layers=[LARGE, b"small"])
    copy(site, source, image)
    assert visible_objects(site) == set(site.stores["eu"].objects)
    assert site.placements(Digest.of(LARGE)) == {"eu": "good"}


def test_concurrent_copies_fetch_a_large_blob_once(
    registry: MemoryRegistry,
    site: MemorySite,
    source: UpstreamClient,
    there: UpstreamRepository,
    upstream: FaultUpstream,
) -> None:
    images = [there.add_image(layers=[LARGE, layer(number)]) for number in range(4)]
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            copy(registry["us" if number % 2 else "eu"], source, images[number])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    large = [one for one in upstream.requests if digest_of(LARGE) in one.path]
    assert len(large) == 1
    assert manifests(site) == set(images)


def test_a_stopped_copy_ends_at_once_and_keeps_what_it_has(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository, upstream: FaultUpstream
) -> None:
    image = there.add_image(layers=[LARGE])
    upstream.fail("blob", faults.stall(9 * MEBIBYTE), path=digest_of(LARGE))
    received = 0

    def count(size: int) -> None:
        nonlocal received
        received += size
        if received >= 9 * MEBIBYTE:
            threading.Timer(0.2, control.stop, [LookupError("cancelled")]).start()

    control = CopyControl(count)
    with pytest.raises(LookupError):
        copy(site, source, image, control)
    fetched: list[int] = []
    copy(site, source, image, CopyControl(fetched.append))
    assert sum(fetched) <= len(LARGE) - 8 * MEBIBYTE + CONFIG_MAXIMUM


def test_an_abandoned_copy_is_forgotten(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    image = there.add_image(layers=[LARGE])
    with pytest.raises(Killed):
        copy(site, source, image, CopyControl(kill_after(2)))
    abort_abandoned_parts(site.graph)
    assert len(site.database.read("SELECT 1 FROM mirrorblob")) == 1
    site.database.run("UPDATE mirrorblob SET changed_at = now() - interval '2 days'")
    abort_abandoned_parts(site.graph)
    assert site.database.read("SELECT 1 FROM mirrorblob") == []


def test_a_lost_lease_stops_the_copy(site: MemorySite) -> None:
    records, name = BlobRecords(site.database), bound(site)
    first = records.claim(name, Digest.of(LARGE))
    assert first is not None
    assert records.claim(name, Digest.of(LARGE)) is None
    expire_leases(site)
    assert records.claim(name, Digest.of(LARGE)) is not None
    with pytest.raises(CopyError, match="another worker"):
        records.renew(first)
    assert LEASE_SECONDS > 60


# Memory and secrets ---------------------------------------------------------------------------


def test_memory_is_bounded_whatever_the_size_of_a_layer(
    site: MemorySite, source: UpstreamClient, there: UpstreamRepository
) -> None:
    large = [LARGE[number:] + bytes(60 * MEBIBYTE) for number in range(3)]
    image = there.add_image(layers=large)
    # What the store in memory and the upstream have is not counted.
    for store in site.stores.values():
        store.forget = True  # type: ignore[attr-defined]
    tracemalloc.start()
    try:
        copy(site, source, image)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 150 * MEBIBYTE


@pytest.mark.parametrize("authentication", ["basic", "bearer"])
def test_secrets_are_in_no_error_and_no_log(
    site: MemorySite,
    ca: PrivateCa,
    upstream: FaultUpstream,
    there: UpstreamRepository,
    caplog: pytest.LogCaptureFixture,
    authentication: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    image = there.add_image(layers=[b"layer"])
    upstream.users = {USER.username: USER.password}
    upstream.oddities = Oddities(authentication=authentication)
    source = client(ca, upstream, access=Access(USER))
    texts = []
    for fault in (faults.status(500), faults.status(403), faults.corrupt(), faults.hang_up()):
        upstream.fail("blob", fault, times=None)
        with pytest.raises(UpstreamError) as raised:
            copy(site, source, image)
        texts += [str(raised.value), repr(raised.value)]
        upstream.recover()
    sent = [one.headers.get("authorization", "") for one in upstream.requests]
    tokens = {one.partition(" ")[2] for one in sent if one}
    assert tokens
    logged = "\n".join(str(vars(record)) for record in caplog.records)
    rows = str(site.database.read("SELECT metadata FROM logentry"))
    everything = "\n".join([logged, rows, *texts])
    for secret in (USER.password, *tokens):
        assert secret not in everything
