"""The client reads a real registry; skopeo writes the images and confirms what is read."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from atoll.names import Digest
from atoll.upstream.access import Access
from atoll.upstream.client import UpstreamClient, fallback_tag
from atoll.upstream.credentials import Credentials
from atoll.upstream.errors import AuthFailed, BlobUnknown, ManifestUnknown, NotFound, TlsError
from atoll.upstream.reference import UpstreamReference

from ..upstream.certificates import PrivateCa, private_ca
from ..upstream.clients import upstreams
from ..upstream.content import OCI_INDEX, UpstreamRepository, layer
from ..upstream.docker_registry import PASSWORD, USERNAME, filled_docker_registry
from ..upstream.skopeo import skopeo

USER = Credentials(USERNAME, PASSWORD)


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def content() -> UpstreamRepository:
    repository = UpstreamRepository()
    images = {
        name: repository.add_image(architecture=name, seed=seed)
        for seed, name in enumerate(["amd64", "arm64"])
    }
    index = repository.add_index("multi", images)
    repository.add_image("1.0", layers=[layer(9, 3_000_000), layer(8)])
    signature = repository.add_referrer(index, "application/vnd.dev.cosign.artifact.sig.v1+json")
    referrers = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": repository.referrers(index),
    }
    repository.add_manifest(referrers, OCI_INDEX, fallback_tag(Digest.parse(index)))
    repository.tags["signature"] = signature
    return repository


@pytest.fixture(scope="module")
def real(
    ca: PrivateCa, content: UpstreamRepository, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A registry with the content, which skopeo copied there."""
    with filled_docker_registry(ca, tmp_path_factory.mktemp("registry"), content) as address:
        yield address


def client(
    ca: PrivateCa, real: str, repository: str = "team/app", access: Access | None = None
) -> UpstreamClient:
    reference = UpstreamReference.parse(f"{real}/{repository}")
    return upstreams(ca).client(reference, access or Access(USER))


def test_everything_is_read_byte_for_byte(
    ca: PrivateCa, content: UpstreamRepository, real: str
) -> None:
    one = client(ca, real)
    one.ping()
    listed = skopeo(ca, USER, "list-tags", f"docker://{real}/team/app")
    assert sorted(one.tags().names) == sorted(json.loads(listed)["Tags"]) == sorted(content.tags)
    for tag, digest in content.tags.items():
        assert str(one.head(tag)) == digest
        assert one.manifest(tag).content == content.manifests[digest][1]
        raw = skopeo(ca, USER, "inspect", "--raw", f"docker://{real}/team/app:{tag}")
        assert raw == one.manifest(tag).content
    for digest, (media_type, manifest) in content.manifests.items():
        found = one.manifest(digest)
        assert (found.media_type, found.content) == (media_type, manifest)
    for digest, blob in content.blobs.items():
        assert b"".join(one.blob(Digest.parse(digest), len(blob)).pieces()) == blob


def test_parts_of_blobs_are_read(ca: PrivateCa, content: UpstreamRepository, real: str) -> None:
    one = client(ca, real)
    digest, blob = max(content.blobs.items(), key=lambda entry: len(entry[1]))
    start = random.Random(1).randrange(len(blob) // 2)
    name = Digest.parse(digest)
    part = one.blob_part(name, len(blob), start, start + 1_000_000)
    assert b"".join(part.pieces()) == blob[start : start + 1_000_000]
    hasher = name.hasher()
    hasher.update(blob[:start])
    rest = one.blob(name, len(blob), start=start, hasher=hasher)
    assert b"".join(rest.pieces()) == blob[start:]


def test_referrers_are_found_by_the_fallback_tag(
    ca: PrivateCa, content: UpstreamRepository, real: str
) -> None:
    one = client(ca, real)
    (referrer,) = one.referrers(Digest.parse(content.tags["multi"]))
    assert str(referrer.digest) == content.tags["signature"]
    assert one.referrers(Digest.parse(content.tags["1.0"])) == []


def test_failures_are_named(ca: PrivateCa, real: str) -> None:
    one = client(ca, real)
    missing = Digest.of(b"missing")
    assert one.head("missing") is None
    with pytest.raises(ManifestUnknown):
        one.manifest("missing")
    with pytest.raises(BlobUnknown):
        list(one.blob(missing, 7).pieces())
    with pytest.raises(NotFound):
        client(ca, real, "no/such").tags()
    for credentials in (None, Credentials(USERNAME, "wrong")):
        with pytest.raises(AuthFailed):
            client(ca, real, access=Access(credentials)).tags()


def test_the_certificate_is_verified(
    ca: PrivateCa, real: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = private_ca(tmp_path_factory.mktemp("other"))
    with pytest.raises(TlsError):
        client(other, real).tags()
    assert client(other, real, access=Access(USER, verify_tls=False)).tags().names
    own = Access(USER, ca_certificate=ca.certificate.read_text())
    assert client(other, real, access=own).tags().names
