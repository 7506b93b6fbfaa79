"""The client reads any registry: standard, odd, and broken in ways that have a name."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.names import Digest
from atoll.outbound.connection import Limits
from atoll.upstream.access import Access
from atoll.upstream.attached_tags import attached_tags, fallback_tag, is_attached_tag
from atoll.upstream.client import REFERRERS_MAXIMUM, UpstreamClient
from atoll.upstream.download import RangesUnsupported
from atoll.upstream.errors import (
    BlobUnknown,
    EncodedContent,
    EndlessListing,
    InvalidContent,
    ManifestUnknown,
    NotARegistry,
    NotFound,
    RateLimited,
    Schema1,
    ServerFailed,
    Stopped,
    TlsError,
    TooLarge,
    TooLong,
    Truncated,
    Unreachable,
    UnsupportedManifest,
    UpstreamError,
    UpstreamTimedOut,
    WrongDigest,
)

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.clients import USER, client
from ..upstream.content import OCI_IMAGE, OCI_INDEX, UpstreamRepository
from ..upstream.fault_upstream import FaultUpstream, Oddities
from ..upstream.skopeo import skopeo

SHORT = Limits(connect=1, idle=0.5, total=5, slowest=1000)
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"


@pytest.fixture
def repository(upstream: FaultUpstream) -> UpstreamRepository:
    return upstream.repository()


@pytest.fixture
def one(ca: PrivateCa, upstream: FaultUpstream) -> UpstreamClient:
    return client(ca, upstream)


@pytest.fixture
def impatient(ca: PrivateCa, upstream: FaultUpstream) -> UpstreamClient:
    return client(ca, upstream, limits=SHORT)


def digest(text: str) -> Digest:
    return Digest.parse(text)


def fetch(one: UpstreamClient, name: str, size: int) -> bytes:
    return b"".join(one.blob(digest(name), size).pieces())


# Tags ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("absolute", [False, True], ids=["relative links", "absolute links"])
def test_tags_are_read_from_all_pages(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient, *, absolute: bool
) -> None:
    upstream.oddities = Oddities(page_size=30, absolute_links=absolute)
    image = repository.add_image()
    names = [f"v{number:03}" for number in range(100)]
    repository.tags = dict.fromkeys(names, image)
    assert one.tags().names == names
    assert upstream.count("tags") == 4
    assert upstream.connections == 1


def test_a_missing_list_of_tags_is_reported(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    assert one.tags().names == []
    assert not one.tags().is_null
    repository.add_image("latest")
    upstream.oddities.null_tags = True
    tags = one.tags()
    assert tags.names == []
    assert tags.is_null


def test_entries_that_are_no_tags_are_counted(
    repository: UpstreamRepository, one: UpstreamClient
) -> None:
    repository.tags = dict.fromkeys(["good", "not good", "-bad", "x" * 129], repository.add_image())
    tags = one.tags()
    assert tags.names == ["good"]
    assert tags.skipped == 3


def test_a_listing_without_end_is_aborted(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    repository.add_image("latest")
    upstream.oddities.endless_pages = True
    with pytest.raises(EndlessListing):
        one.tags()
    assert upstream.count("tags") <= 2


def test_a_listing_does_not_continue_on_another_server(
    ca: PrivateCa, upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    with FaultUpstream(ca.server_context()).running() as other:
        upstream.oddities = Oddities(page_size=1, next_on=other.url)
        repository.tags = dict.fromkeys(["a", "b"], repository.add_image())
        with pytest.raises(InvalidContent, match="another server"):
            one.tags()
        assert other.requests == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<html>", InvalidContent),
        (b"[]", InvalidContent),
        (b"{}", InvalidContent),
        (b'{"tags": "latest"}', InvalidContent),
        (b"[" * 100_000, TooLarge),
        (b'{"tags": [' + b"{}," * 2_000_000 + b"{}]}", TooLarge),
        (b'{"tags": ["' + b"x" * 9_000_000 + b'"]}', TooLarge),
    ],
    ids=["HTML", "a list", "no tags", "a string", "nesting", "objects", "9 MB"],
)
def test_a_malformed_listing_is_refused(
    upstream: FaultUpstream,
    repository: UpstreamRepository,
    one: UpstreamClient,
    body: bytes,
    kind: type[UpstreamError],
) -> None:
    repository.add_image("latest")
    upstream.fail("tags", faults.replace(lambda _body: body))
    with pytest.raises(kind):
        one.tags()


def test_a_missing_repository_is_not_found(ca: PrivateCa, upstream: FaultUpstream) -> None:
    missing = client(ca, upstream, "no/such")
    with pytest.raises(NotFound) as failed:
        missing.tags()
    assert failed.value.reason == "not_found"
    with pytest.raises(NotFound) as failed:
        missing.manifest("latest")
    assert not isinstance(failed.value, ManifestUnknown)
    assert missing.head("latest") is None


# Manifests ----------------------------------------------------------------------------------


def test_an_unchanged_tag_costs_one_head_request(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    image = repository.add_image("latest")
    assert one.head("latest") == digest(image)
    assert one.head("missing") is None
    assert [(request.method, request.kind) for request in upstream.requests] == [
        ("HEAD", "manifest")
    ] * 2


@pytest.mark.parametrize(
    "oddities",
    [
        Oddities(no_digest_header=True),
        Oddities(no_head=True),
        Oddities(no_head=True, no_digest_header=True),
    ],
    ids=["no digest", "no HEAD", "neither"],
)
def test_the_digest_is_computed_if_the_upstream_does_not_send_it(
    upstream: FaultUpstream,
    repository: UpstreamRepository,
    one: UpstreamClient,
    oddities: Oddities,
) -> None:
    upstream.oddities = oddities
    image = repository.add_image("latest")
    assert one.head("latest") == digest(image)
    assert one.head("missing") is None
    assert one.manifest("latest").digest == digest(image)


def test_a_manifest_is_returned_byte_for_byte(
    repository: UpstreamRepository, one: UpstreamClient
) -> None:
    content = b' {"schemaVersion": 2,\n "mediaType": "%s", "manifests": []}\n' % OCI_INDEX.encode()
    index = repository.add_raw_manifest(content, OCI_INDEX, "latest")
    for reference in ("latest", index):
        manifest = one.manifest(reference)
        assert manifest.content == content
        assert manifest.media_type == OCI_INDEX
        assert manifest.digest == digest(index)


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain; charset=utf-8", OCI_INDEX]
)
def test_the_media_type_of_the_manifest_itself_counts(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient, content_type: str
) -> None:
    upstream.oddities.content_type = content_type
    repository.add_image("latest")
    assert one.manifest("latest").media_type == OCI_IMAGE


def test_the_media_type_is_derived_if_it_is_not_given(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    upstream.oddities.content_type = "application/octet-stream"
    repository.add_raw_manifest(b'{"schemaVersion": 2, "manifests": []}', "", "index")
    repository.add_raw_manifest(b'{"schemaVersion": 2, "config": {}, "layers": []}', "", "image")
    assert one.manifest("index").media_type == OCI_INDEX
    assert one.manifest("image").media_type == OCI_IMAGE


@pytest.mark.parametrize(
    ("content", "media_type", "kind", "code"),
    [
        (b'{"schemaVersion": 1, "fsLayers": []}', SCHEMA_1, Schema1, "schema1"),
        (b'{"schemaVersion": 1}', "application/json", Schema1, "schema1"),
        (
            b'{"schemaVersion": 2, "mediaType": "text/x-new"}',
            "text/x-new",
            UnsupportedManifest,
            "unsupported_manifest",
        ),
        (b"{}", "application/json", UnsupportedManifest, "unsupported_manifest"),
        (b"\xff", OCI_IMAGE, InvalidContent, "invalid_response"),
        (b"[1]", OCI_IMAGE, InvalidContent, "invalid_response"),
        (b"[" * 100_000, OCI_IMAGE, TooLarge, "too_large"),
        (b'{"layers": [' + b"{}," * 1_000_000 + b"{}]}", OCI_IMAGE, TooLarge, "too_large"),
        (b" " * (4 * 2**20) + b"{}", OCI_IMAGE, TooLarge, "too_large"),
    ],
    ids=[
        "schema 1",
        "schema 1 as JSON",
        "new",
        "unknown",
        "binary",
        "list",
        "nesting",
        "objects",
        "4.1 MiB",
    ],
)
def test_an_unusable_manifest_has_a_named_reason(
    repository: UpstreamRepository,
    one: UpstreamClient,
    content: bytes,
    media_type: str,
    kind: type[UpstreamError],
    code: str,
) -> None:
    repository.add_raw_manifest(content, media_type, "latest")
    with pytest.raises(UpstreamError) as failed:
        one.manifest("latest")
    assert type(failed.value) is kind
    assert failed.value.code == code
    assert not failed.value.is_temporary


def test_an_endless_manifest_is_too_large(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    repository.add_image("latest")
    upstream.fail("manifest", faults.endless())
    with pytest.raises(TooLarge, match="4194304 bytes"):
        one.manifest("latest")


def test_wrong_bytes_of_a_manifest_are_detected(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    image = repository.add_image("latest")
    change = faults.replace(lambda body: body.replace(b"schemaVersion", b"schemaversion"))
    for reference in ("latest", image):
        upstream.fail("manifest", change)
        with pytest.raises(WrongDigest):
            one.manifest(reference)
    upstream.oddities.wrong_digest_header = True
    with pytest.raises(WrongDigest):
        one.manifest("latest")
    # By digest, the header is irrelevant.
    assert one.manifest(image).digest == digest(image)


@pytest.mark.parametrize("kind", ["manifest", "tags", "blob"])
def test_encoded_content_is_refused(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient, kind: str
) -> None:
    repository.add_image("latest")
    blob = repository.add_blob(b"x" * 1000)
    upstream.fail(kind, faults.status(200, Content_Encoding="gzip"))
    calls: dict[str, Callable[[], Any]] = {
        "manifest": lambda: one.manifest("latest"),
        "tags": one.tags,
        "blob": lambda: fetch(one, blob, 1000),
    }
    with pytest.raises(EncodedContent) as failed:
        calls[kind]()
    assert failed.value.code == "content_encoding"


# Blobs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "oddities",
    [Oddities(), Oddities(chunked=True), Oddities(ignore_ranges=True)],
    ids=["standard", "chunked", "no ranges"],
)
def test_a_blob_resumes_after_interruptions(
    upstream: FaultUpstream,
    repository: UpstreamRepository,
    one: UpstreamClient,
    oddities: Oddities,
) -> None:
    upstream.oddities = oddities
    content = bytes(range(256)) * 4000
    blob = repository.add_blob(content)
    for size in (300_000, 500_001, 700_000):
        upstream.fail("blob", faults.truncate(size if oddities.ignore_ranges else 200_000))
    download = one.blob(digest(blob), len(content))
    assert b"".join(download.pieces()) == content
    assert download.requests == 4
    ranges = [request.headers.get("range") for request in upstream.requests]
    assert ranges[0] is None
    assert all(value and value.endswith(f"-{len(content) - 1}") for value in ranges[1:])


def test_a_resumed_blob_is_transferred_once(
    upstream: FaultUpstream, repository: UpstreamRepository, impatient: UpstreamClient
) -> None:
    content = bytes(range(256)) * 8000
    blob = repository.add_blob(content)
    upstream.fail("blob", faults.truncate(1_000_000))
    upstream.fail("blob", faults.stall(500_000))
    assert fetch(impatient, blob, len(content)) == content
    assert upstream.sent < 1.1 * len(content)


def test_a_download_can_continue_an_earlier_one(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    content = bytes(range(256)) * 1000
    name = digest(repository.add_blob(content))
    hasher = name.hasher()
    hasher.update(content[:100_000])
    download = one.blob(name, len(content), start=100_000, hasher=hasher)
    assert b"".join(download.pieces()) == content[100_000:]
    assert upstream.requests[0].headers["range"] == f"bytes=100000-{len(content) - 1}"


def test_a_download_continues_after_a_pause(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    content = bytes(range(256)) * 2000
    blob = repository.add_blob(content)
    upstream.fail("blob", faults.truncate(200_000))
    upstream.fail("blob", faults.too_many_requests("7"))
    download = one.blob(digest(blob), len(content))
    received = bytearray()

    def read() -> None:
        for piece in download.pieces():
            received.extend(piece)

    with pytest.raises(RateLimited) as paused:
        read()
    assert paused.value.seconds == 7
    read()
    assert bytes(received) == content
    assert upstream.sent < 1.1 * len(content)


def test_an_empty_blob_is_requested_and_verified(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    assert fetch(one, repository.add_blob(b""), 0) == b""
    assert upstream.count("blob") == 1


@pytest.mark.parametrize(
    ("action", "kind", "code"),
    [
        (faults.corrupt(), WrongDigest, "wrong_digest"),
        (faults.shorten(0), Truncated, "truncated"),
        (faults.truncate(0), Truncated, "truncated"),
        (faults.lengthen(1), TooLong, "too_long"),
        (faults.endless(), TooLong, "too_long"),
        (faults.stall(0), UpstreamTimedOut, "network_timeout"),
        (faults.silence(), UpstreamTimedOut, "network_timeout"),
        (faults.drip(0.01), UpstreamTimedOut, "network_timeout"),
        (faults.hang_up(), Unreachable, "connection_error"),
        (faults.status(500), ServerFailed, "server_error"),
        (faults.status(404), BlobUnknown, "blob_unknown"),
        (faults.status(418), InvalidContent, "invalid_response"),
        (faults.too_many_requests("7"), RateLimited, "rate_limited"),
    ],
    ids=[
        "wrong bytes",
        "short",
        "cut off",
        "one byte too long",
        "endless",
        "stalled",
        "silent",
        "dripping",
        "closed",
        "500",
        "404",
        "418",
        "429",
    ],
)
def test_a_failed_blob_has_a_named_reason(
    upstream: FaultUpstream,
    repository: UpstreamRepository,
    one: UpstreamClient,
    impatient: UpstreamClient,
    action: faults.Action,
    kind: type[UpstreamError],
    code: str,
) -> None:
    content = bytes(range(250)) * 4
    blob = repository.add_blob(content)
    upstream.fail("blob", action, times=None)
    with pytest.raises(UpstreamError) as failed:
        fetch(impatient if kind is UpstreamTimedOut else one, blob, len(content))
    assert type(failed.value) is kind
    assert failed.value.code == code
    upstream.recover()
    assert fetch(one, blob, len(content)) == content


def test_a_blob_that_is_shorter_than_its_descriptor_is_truncated(
    repository: UpstreamRepository, one: UpstreamClient
) -> None:
    blob = repository.add_blob(b"x" * 999)
    with pytest.raises(Truncated):
        fetch(one, blob, 1000)


def test_another_range_than_requested_is_refused(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    upstream.oddities.wrong_ranges = True
    blob = repository.add_blob(b"x" * 1000)
    upstream.fail("blob", faults.truncate(500))
    with pytest.raises(InvalidContent, match="another part"):
        fetch(one, blob, 1000)


def test_parts_of_a_blob_can_be_fetched_in_parallel(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    content = bytes(range(256)) * 1000
    name = digest(repository.add_blob(content))
    upstream.fail("blob", faults.truncate(1000), path="", after=1)
    found = [
        b"".join(one.blob_part(name, len(content), start, min(start + 100_000, 256_000)).pieces())
        for start in range(0, 256_000, 100_000)
    ]
    assert b"".join(found) == content
    upstream.oddities.ignore_ranges = True
    with pytest.raises(RangesUnsupported):
        list(one.blob_part(name, len(content), 0, 100_000).pieces())


def test_an_aborted_download_ends_at_once(
    upstream: FaultUpstream, repository: UpstreamRepository, ca: PrivateCa
) -> None:
    content = bytes(range(256)) * 4000
    blob = repository.add_blob(content)
    upstream.fail("blob", faults.stall(100_000), times=None)
    download = client(ca, upstream).blob(digest(blob), len(content))
    started = time.monotonic()
    threading.Timer(0.5, download.abort).start()
    with pytest.raises(Stopped) as failed:
        list(download.pieces())
    assert failed.value.reason == "preempted"
    # Less than the time after which a stalled transfer fails.
    assert time.monotonic() - started < 25
    with pytest.raises(Stopped):
        list(download.pieces())


def test_memory_does_not_depend_on_the_size_of_a_blob(
    repository: UpstreamRepository, one: UpstreamClient
) -> None:
    content = bytes(100_000_000)
    blob = repository.add_blob(content)
    sizes = [len(piece) for piece in one.blob(digest(blob), len(content)).pieces()]
    assert max(sizes) <= 65_536
    assert sum(sizes) == len(content)


# Referrers ----------------------------------------------------------------------------------


def test_referrers_are_read_from_all_pages(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient
) -> None:
    upstream.oddities.page_size = 2
    image = repository.add_image("latest")
    expected = {repository.add_referrer(image, f"application/x-{n}"): n for n in range(5)}
    found = one.referrers(digest(image))
    assert {str(referrer.digest) for referrer in found} == set(expected)
    assert {referrer.artifact_type for referrer in found} == {
        f"application/x-{n}" for n in range(5)
    }
    assert upstream.count("referrers") == 3
    assert one.referrers(digest(next(iter(expected)))) == []


@pytest.mark.parametrize("answer", [400, 404, 405, 501])
def test_referrers_are_found_by_the_fallback_tag(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient, answer: int
) -> None:
    upstream.oddities.no_referrers = answer
    image = repository.add_image("latest")
    assert one.referrers(digest(image)) == []
    artifact = repository.add_referrer(image, "application/x-sbom")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": repository.referrers(image),
    }
    repository.add_manifest(document, OCI_INDEX, fallback_tag(digest(image)))
    (found,) = one.referrers(digest(image))
    assert str(found.digest) == artifact
    assert found.artifact_type == "application/x-sbom"


@pytest.mark.parametrize("by_tag", [False, True], ids=["API", "fallback tag"])
def test_too_many_referrers_are_refused(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient, *, by_tag: bool
) -> None:
    image = repository.add_image("latest")
    descriptor = {"mediaType": OCI_IMAGE, "digest": image, "size": 1}

    def found(number: int) -> int:
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor] * number}
        body = json.dumps(document).encode()
        if by_tag:
            upstream.oddities.no_referrers = 404
            repository.add_raw_manifest(body, OCI_INDEX, fallback_tag(digest(image)))
        else:
            upstream.fail("referrers", faults.replace(lambda _body: body))
        return len(one.referrers(digest(image)))

    assert found(REFERRERS_MAXIMUM) == 1
    with pytest.raises(EndlessListing, match="more than 1000 referrers"):
        found(REFERRERS_MAXIMUM + 1)


def test_pages_of_referrers_are_requested_until_there_are_too_many(
    upstream: FaultUpstream,
    repository: UpstreamRepository,
    one: UpstreamClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = repository.add_image("latest")
    entries = [{"mediaType": OCI_IMAGE, "digest": image, "size": 1}] * 5000
    monkeypatch.setattr(repository, "referrers", lambda _subject: entries)
    upstream.oddities.page_size = 400
    with pytest.raises(EndlessListing):
        one.referrers(digest(image))
    assert upstream.count("referrers") == 3


def test_tags_that_belong_to_a_manifest_are_recognized() -> None:
    name = digest("sha256:" + "a" * 64)
    base = "sha256-" + "a" * 64
    mine = [base, f"{base}.sig", f"{base}.att", f"{base}.sbom"]
    of_another = f"sha256-{'b' * 64}.sig"
    others = ["latest", f"{base}.other", f"{base}.sig.sig"]
    assert attached_tags(name, {*mine, of_another, *others}) == mine
    assert all(map(is_attached_tag, [*mine[1:], of_another]))
    assert not any(map(is_attached_tag, [base, *others]))


@pytest.mark.parametrize(
    "entry", [None, {}, {"digest": "sha256:1", "mediaType": OCI_IMAGE, "size": 1}, {"digest": 5}]
)
def test_malformed_referrers_are_refused(
    upstream: FaultUpstream, repository: UpstreamRepository, one: UpstreamClient, entry: object
) -> None:
    image = repository.add_image("latest")
    body = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    upstream.fail("referrers", faults.replace(lambda _body: body))
    with pytest.raises(InvalidContent):
        one.referrers(digest(image))


# TLS and statuses ---------------------------------------------------------------------------


def test_an_upstream_is_checked_by_ping(upstream: FaultUpstream, one: UpstreamClient) -> None:
    one.ping()
    upstream.fail("ping", faults.status(404))
    with pytest.raises(NotARegistry) as failed:
        one.ping()
    assert failed.value.reason == "invalid_source_registry"
    upstream.fail("ping", faults.status(503))
    with pytest.raises(ServerFailed):
        one.ping()


def test_the_certificate_is_verified_unless_verification_is_off(
    ca: PrivateCa, tmp_path: Path
) -> None:
    other = private_ca(tmp_path)
    with FaultUpstream(other.server_context()).running() as upstream:
        upstream.repository().add_image("latest")
        with pytest.raises(TlsError) as failed:
            client(ca, upstream).tags()
        assert failed.value.reason == "tls_error"
        assert upstream.requests == []
        own = Access(USER, ca_certificate=other.certificate.read_text())
        assert client(ca, upstream, access=own).tags().names == ["latest"]
        insecure = Access(USER, verify_tls=False)
        assert client(ca, upstream, access=insecure).tags().names == ["latest"]


def test_plain_http_is_used_only_if_verification_is_off(ca: PrivateCa) -> None:
    with FaultUpstream().running() as upstream:
        upstream.repository().add_image("latest")
        with pytest.raises(TlsError):
            client(ca, upstream).tags()
        assert upstream.requests == []
        insecure = client(ca, upstream, access=Access(verify_tls=False))
        assert insecure.tags().names == ["latest"]
        assert insecure.tags().names == ["latest"]
        assert upstream.count("ping") == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(500, ServerFailed), (502, ServerFailed), (418, NotARegistry)]
)
def test_other_statuses_are_errors(
    upstream: FaultUpstream,
    repository: UpstreamRepository,
    one: UpstreamClient,
    status: int,
    kind: type[UpstreamError],
) -> None:
    repository.add_image("latest")
    calls: list[tuple[str, Callable[[], object]]] = [
        ("tags", one.tags),
        ("manifest", lambda: one.head("latest")),
        ("manifest", lambda: one.manifest("latest")),
    ]
    for request, call in calls:
        upstream.fail(request, faults.status(status))
        with pytest.raises(kind, match=str(status)):
            call()


def test_an_unreachable_upstream_is_named(ca: PrivateCa) -> None:
    with FaultUpstream(ca.server_context()).running() as upstream:
        gone = client(ca, upstream)
    with pytest.raises(Unreachable, match=upstream.host) as failed:
        gone.tags()
    assert failed.value.reason == "connection_error"
    assert failed.value.is_temporary


# skopeo as the oracle -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "oddities",
    [
        Oddities(),
        Oddities(authentication="bearer"),
        Oddities(authentication="both", realm="/token", token_key="access_token"),
        Oddities(authentication="basic", no_digest_header=True, page_size=2),
    ],
    ids=["anonymous", "bearer", "both", "basic"],
)
def test_skopeo_copies_the_same_bytes(
    ca: PrivateCa, upstream: FaultUpstream, tmp_path: Path, oddities: Oddities
) -> None:
    upstream.users[USER.username] = USER.password
    upstream.oddities = oddities
    repository = upstream.repository()
    images = {
        name: repository.add_image(seed=n, architecture=name)
        for n, name in enumerate(["amd64", "arm64"])
    }
    repository.add_index("latest", images)
    repository.add_image("single", seed=7)
    repository.add_image("third", seed=8)
    one = client(ca, upstream)

    listed = skopeo(ca, USER, "list-tags", f"docker://{upstream.host}/team/app")
    assert json.loads(listed)["Tags"] == one.tags().names
    for tag in one.tags().names:
        raw = skopeo(ca, USER, "inspect", "--raw", f"docker://{upstream.host}/team/app:{tag}")
        assert raw == one.manifest(tag).content
        assert one.head(tag) == one.manifest(tag).digest

    source = f"docker://{upstream.host}/team/app:latest"
    skopeo(ca, USER, "copy", "--all", source, f"oci:{tmp_path / 'copy'}:latest")
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "copy/blobs/sha256").iterdir()}
    for child in json.loads(one.manifest("latest").content)["manifests"]:
        manifest = one.manifest(child["digest"])
        assert blobs.pop(manifest.digest.hex) == manifest.content
        image = json.loads(manifest.content)
        for blob in (image["config"], *image["layers"]):
            content = fetch(one, blob["digest"], blob["size"])
            assert blobs.pop(digest(blob["digest"]).hex) == content
    assert list(blobs) == [one.manifest("latest").digest.hex]
