"""Manifests of any registry are read and verified, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from atoll.upstream.client import UpstreamClient
from atoll.upstream.errors import (
    EncodedContent,
    InvalidContent,
    Schema1,
    TooLarge,
    UnsupportedManifest,
    UpstreamError,
    WrongDigest,
)

from ..upstream import fault_upstream as faults
from ..upstream.content import OCI_IMAGE, OCI_INDEX, UpstreamRepository
from ..upstream.fault_upstream import FaultUpstream, Oddities
from .upstream_client import SCHEMA_1, digest, fetch


def test_an_unchanged_tag_costs_one_head_request(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    image = there.add_image("latest")
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
    there: UpstreamRepository,
    one: UpstreamClient,
    oddities: Oddities,
) -> None:
    upstream.oddities = oddities
    image = there.add_image("latest")
    assert one.head("latest") == digest(image)
    assert one.head("missing") is None
    assert one.manifest("latest").digest == digest(image)


def test_a_manifest_is_returned_byte_for_byte(
    there: UpstreamRepository, one: UpstreamClient
) -> None:
    content = b' {"schemaVersion": 2,\n "mediaType": "%s", "manifests": []}\n' % OCI_INDEX.encode()
    index = there.add_raw_manifest(content, OCI_INDEX, "latest")
    for reference in ("latest", index):
        manifest = one.manifest(reference)
        assert manifest.content == content
        assert manifest.media_type == OCI_INDEX
        assert manifest.digest == digest(index)


@pytest.mark.parametrize(
    "content_type", ["application/json", "text/plain; charset=utf-8", OCI_INDEX]
)
def test_the_media_type_of_the_manifest_itself_counts(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient, content_type: str
) -> None:
    upstream.oddities.content_type = content_type
    there.add_image("latest")
    assert one.manifest("latest").media_type == OCI_IMAGE


def test_the_media_type_is_derived_if_it_is_not_given(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    upstream.oddities.content_type = "application/octet-stream"
    there.add_raw_manifest(b'{"schemaVersion": 2, "manifests": []}', "", "index")
    there.add_raw_manifest(b'{"schemaVersion": 2, "config": {}, "layers": []}', "", "image")
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
    there: UpstreamRepository,
    one: UpstreamClient,
    content: bytes,
    media_type: str,
    kind: type[UpstreamError],
    code: str,
) -> None:
    there.add_raw_manifest(content, media_type, "latest")
    with pytest.raises(UpstreamError) as failed:
        one.manifest("latest")
    assert type(failed.value) is kind
    assert failed.value.code == code
    assert not failed.value.is_temporary


def test_an_endless_manifest_is_too_large(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    there.add_image("latest")
    upstream.fail("manifest", faults.endless())
    with pytest.raises(TooLarge, match="4194304 bytes"):
        one.manifest("latest")


def test_wrong_bytes_of_a_manifest_are_detected(
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient
) -> None:
    image = there.add_image("latest")
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
    upstream: FaultUpstream, there: UpstreamRepository, one: UpstreamClient, kind: str
) -> None:
    there.add_image("latest")
    blob = there.add_blob(b"x" * 1000)
    upstream.fail(kind, faults.status(200, Content_Encoding="gzip"))
    calls: dict[str, Callable[[], Any]] = {
        "manifest": lambda: one.manifest("latest"),
        "tags": one.tags,
        "blob": lambda: fetch(one, blob, 1000),
    }
    with pytest.raises(EncodedContent) as failed:
        calls[kind]()
    assert failed.value.code == "content_encoding"
