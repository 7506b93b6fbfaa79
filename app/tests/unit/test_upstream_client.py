"""Connections to upstreams, failures by status, and skopeo as the oracle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from atoll.upstream.access import Access
from atoll.upstream.client import UpstreamClient
from atoll.upstream.errors import (
    NotARegistry,
    ServerFailed,
    TlsError,
    Unreachable,
    UpstreamError,
)

from ..upstream import fault_upstream as faults
from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.clients import USER, client
from ..upstream.content import UpstreamRepository
from ..upstream.fault_upstream import FaultUpstream, Oddities
from ..upstream.skopeo import skopeo
from .upstream_client import digest, fetch


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
    there: UpstreamRepository,
    one: UpstreamClient,
    status: int,
    kind: type[UpstreamError],
) -> None:
    there.add_image("latest")
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
    there = upstream.repository()
    images = {
        name: there.add_image(seed=n, architecture=name)
        for n, name in enumerate(["amd64", "arm64"])
    }
    there.add_index("latest", images)
    there.add_image("single", seed=7)
    there.add_image("third", seed=8)
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
