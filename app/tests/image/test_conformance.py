"""The request sequences of the OCI conformance programs, with the same conditions to pass.

docs/how-to/conformance.md describes the programs (that of version 1.1 with four workflows, and its
successor with kinds of data). Where they treat a refusal as a skipped test, this is a failure.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from .protocol import (
    CONFIG_TYPE,
    EMPTY_TYPE,
    IMAGE_TYPE,
    INDEX_TYPE,
    LAYER_TYPE,
    Registry,
    encode,
    sha256,
    sha512,
)
from .running import RunningImage

DUMMY = sha256(b"hello world")
KIND_A, KIND_B = "application/vnd.nhl.peanut.butter.bagel", "application/vnd.nba.strawberry.jam"
NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


@pytest.fixture(params=["http", "tls", "pod"])
def registry(request: pytest.FixtureRequest, image: RunningImage, pod: RunningImage) -> Registry:
    """A client with a repository of its own: of a container as on a host, and of a pod."""
    running = pod if request.param == "pod" else image
    url = running.tls_url if request.param == "tls" else running.url
    return Registry(url, running.authority, running.username, running.password)


def descriptor(media_type: str, data: bytes, hashed: Callable[[bytes], str] = sha256, **more):
    return {"mediaType": media_type, "digest": hashed(data), "size": len(data), **more}


def image(config: dict[str, object], layers: list[dict[str, object]], **more: object) -> bytes:
    return encode(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "config": config,
            "layers": layers,
            **more,
        }
    )


def delete(registry: Registry, path: str) -> None:
    """Delete a path, which must exist before and not afterwards."""
    assert registry.request("DELETE", path).status_code == 202
    assert registry.request("HEAD", path).status_code == 404


class Workflows:
    """The four workflows of version 1.1, in order, in one repository."""

    def __init__(self, registry: Registry, *, manifests_first: bool) -> None:
        self.registry = registry
        self.manifests_first = manifests_first
        self.configs = [os.urandom(50) for _ in range(5)]
        self.layer = os.urandom(200)
        layers = [descriptor(LAYER_TYPE, self.layer)]
        self.manifests = [
            image(descriptor(CONFIG_TYPE, config, newUnspecifiedField="aGVsbG8="), layers)
            for config in self.configs
        ]

    def pull(self) -> None:
        registry, manifests = self.registry, self.manifests
        for data in (self.configs[0], self.configs[1], self.layer):
            registry.push_blob(data)
        assert registry.put_manifest("tagtest0", manifests[0]).status_code == 201
        assert registry.put_manifest(sha256(manifests[1]), manifests[1]).status_code == 201
        for method in ("HEAD", "GET"):
            assert registry.blob(DUMMY, method).status_code == 404
            assert registry.blob(sha256(self.configs[0]), method).status_code == 200
            assert registry.manifest(".INVALID_MANIFEST_NAME", method).status_code == 404
            for reference in (sha256(manifests[0]), sha256(manifests[1]), "tagtest0"):
                assert registry.manifest(reference, method).status_code == 200
        answer = registry.manifest("sha256:totallywrong", data=b"blablabla")
        assert answer.json()["errors"][0]["code"] == "DIGEST_INVALID"
        self._clear([manifests[0], manifests[1]], [self.configs[0], self.configs[1], self.layer])

    def push(self, crossmount: str) -> None:
        registry, config, manifest = self.registry, self.configs[1], self.manifests[1]
        blob = os.urandom(42)
        streamed = registry.patch(registry.begin_upload(), blob)
        assert streamed.status_code == 202
        answer = registry.put(streamed.headers["Location"], sha256(blob))
        assert (answer.status_code, bool(answer.headers["Location"])) == (201, True)
        answer = registry.request(
            "POST", registry.path("blobs/uploads/"), params={"digest": sha256(config)}, data=config
        )
        assert answer.status_code == 201
        registry.push_blob(config)
        registry.push_blob(self.layer)
        for data in (config, self.layer):
            assert registry.blob(sha256(data)).content == data
        self._push_chunks()
        self._mount(blob, crossmount)
        assert registry.manifest(".INVALID_MANIFEST_NAME").status_code == 404
        for number in range(4):
            assert registry.put_manifest(f"test{number}", manifest).status_code == 201
        empty = image(descriptor(CONFIG_TYPE, config), [])
        assert registry.put_manifest("emptylayer", empty).status_code == 201
        assert registry.manifest(sha256(manifest)).status_code == 200
        self._clear([manifest, empty], [config, self.layer])

    def discover(self) -> None:
        registry, manifests = self.registry, self.manifests
        empty, blob_a, blob_b = b"{}", os.urandom(30), os.urandom(31)
        for data in (self.configs[2], self.layer, empty, blob_a, self.configs[4], blob_b):
            registry.push_blob(data)
        for number in range(4):
            assert registry.put_manifest(f"test{number}", manifests[2]).status_code == 201
        referrers = self._push_referrers(empty, blob_a, blob_b)
        tags = registry.tags().json()["tags"]
        assert registry.tags(n=len(tags) // 2).json()["tags"] == tags[: len(tags) // 2]
        half = tags[len(tags) // 2 - 1]
        assert registry.tags(n=len(tags), last=half).json()["tags"] == tags[len(tags) // 2 :]
        assert registry.referrers(DUMMY).json()["manifests"] == []
        subject = sha256(manifests[4])
        found = registry.referrers(subject).json()["manifests"]
        assert {entry["digest"]: entry["annotations"] for entry in found} == referrers
        answer = registry.referrers(subject, artifactType=KIND_A)
        assert answer.headers["OCI-Filters-Applied"] == "artifactType"
        assert len(answer.json()["manifests"]) == 2
        missing = image(
            descriptor(EMPTY_TYPE, empty),
            [descriptor(KIND_B, blob_b)],
            subject=descriptor(IMAGE_TYPE, manifests[3]),
        )
        assert registry.put_manifest(sha256(missing), missing).status_code == 201
        (entry,) = registry.referrers(sha256(manifests[3])).json()["manifests"]
        assert entry["digest"] == sha256(missing)
        for digest in (*referrers, sha256(missing), sha256(manifests[2]), subject):
            delete(registry, registry.path(f"manifests/{digest}"))
        for data in (self.configs[2], self.layer, self.configs[4], blob_a, blob_b, empty):
            delete(registry, registry.path(f"blobs/{sha256(data)}"))

    def manage(self) -> None:
        registry, manifest = self.registry, self.manifests[3]
        registry.push_blob(self.configs[3])
        registry.push_blob(self.layer)
        assert registry.put_manifest("tagtest0", manifest).status_code == 201
        before = len(registry.tags().json()["tags"])
        delete(registry, registry.path("manifests/tagtest0"))
        delete(registry, registry.path(f"manifests/{sha256(manifest)}"))
        assert len(registry.tags().json()["tags"]) < before
        for data in (self.configs[3], self.layer):
            delete(registry, registry.path(f"blobs/{sha256(data)}"))

    def _push_chunks(self) -> None:
        registry, data = self.registry, os.urandom(42)
        first, second = data[:22], data[22:]
        assert registry.patch(registry.begin_upload(), second, 22).status_code == 416
        old = registry.begin_upload()
        answer = registry.patch(old, first, 0)
        assert (answer.status_code, answer.headers["Range"]) == (202, "0-21")
        assert registry.patch(old, first, 0).status_code == 416
        answer = registry.request("GET", old)
        assert (answer.status_code, answer.headers["Range"]) == (204, "0-21")
        answer = registry.patch(answer.headers["Location"], second, 22)
        assert answer.status_code == 202
        assert registry.put(answer.headers["Location"], sha256(data)).status_code == 201

    def _mount(self, blob: bytes, crossmount: str) -> None:
        """Mount with automatic content discovery (OCI_AUTOMATIC_CROSSMOUNT=1)."""
        registry = self.registry
        uploads = registry.path("blobs/uploads/", crossmount)
        answer = registry.request("POST", uploads, params={"mount": DUMMY})
        assert answer.status_code == 202
        query = {"mount": sha256(blob)}
        # The program's token does not cover the source, so with `from` it is told to upload.
        answer = registry.request("POST", uploads, params=query | {"from": registry.name})
        assert answer.status_code == 202
        for parameters in (query, query | {"from": crossmount}):
            answer = registry.request("POST", uploads, params=parameters)
            assert answer.status_code == 201
            location = f"/v2/{crossmount}/blobs/{sha256(blob)}"
            assert answer.headers["Location"] == registry.url + location
            assert registry.request("GET", location).content == blob

    def _push_referrers(self, empty: bytes, a: bytes, b: bytes) -> dict[str, dict[str, str]]:
        registry, subject = self.registry, descriptor(IMAGE_TYPE, self.manifests[4])
        pushed = []
        for kind, data in ((KIND_A, a), (KIND_B, b)):
            note = {"org.opencontainers.conformance.test": f"config {kind}"}
            by_config = image(
                descriptor(kind, data),
                [descriptor(EMPTY_TYPE, empty)],
                subject=subject,
                annotations=note,
            )
            note = {"org.opencontainers.conformance.test": f"layer {kind}"}
            by_layer = image(
                descriptor(EMPTY_TYPE, empty),
                [descriptor(kind, data)],
                artifactType=kind,
                subject=subject,
                annotations=note,
            )
            pushed += [(by_config, IMAGE_TYPE), (by_layer, IMAGE_TYPE)]
        index = encode(
            {
                "schemaVersion": 2,
                "mediaType": INDEX_TYPE,
                "artifactType": "application/vnd.food.stand",
                "manifests": [descriptor(IMAGE_TYPE, content) for content, _ in pushed[:2]],
                "subject": subject,
                "annotations": {"org.opencontainers.conformance.test": "index"},
            }
        )
        # The subject is pushed after some of its referrers and before others.
        pushed.insert(2, (index, INDEX_TYPE))
        found = {}
        for number, (content, media_type) in enumerate(pushed):
            if number == 3:
                answer = registry.put_manifest("tagtest0", self.manifests[4])
                assert answer.status_code == 201
            answer = registry.put_manifest(sha256(content), content, media_type)
            assert answer.status_code == 201
            assert answer.headers["OCI-Subject"] == subject["digest"]
            found[sha256(content)] = registry.manifest(sha256(content)).json()["annotations"]
        return found

    def _clear(self, manifests: list[bytes], blobs: list[bytes]) -> None:
        """Delete in the required order; deleting a blob in use is refused with 405."""
        if not self.manifests_first:
            for data in blobs:
                path = self.registry.path(f"blobs/{sha256(data)}")
                assert self.registry.request("DELETE", path).status_code == 405
        for content in manifests:
            delete(self.registry, self.registry.path(f"manifests/{sha256(content)}"))
        if self.manifests_first:
            for data in blobs:
                delete(self.registry, self.registry.path(f"blobs/{sha256(data)}"))


@pytest.mark.parametrize("manifests_first", [True, False])
def test_the_four_workflows_pass_without_failure_or_skip(
    registry: Registry, *, manifests_first: bool
) -> None:
    workflows = Workflows(registry, manifests_first=manifests_first)
    workflows.pull()
    workflows.push(f"conformance-{uuid.uuid4()}")
    if manifests_first:
        workflows.discover()
        workflows.manage()


@dataclass
class Data:
    """Content of one kind: blobs, manifests in the order in which they are pushed, and tags."""

    hashed: Callable[[bytes], str] = sha256
    blobs: list[bytes] = field(default_factory=list)
    manifests: list[tuple[bytes, str]] = field(default_factory=list)
    tags: dict[str, int] = field(default_factory=dict)

    def add_image(self, **more: object) -> dict[str, object]:
        """Add an image with random content and return its descriptor."""
        config, data = os.urandom(60), [os.urandom(100) for _ in range(2)]
        self.blobs += [config, *data]
        descriptors = [descriptor(LAYER_TYPE, layer, self.hashed) for layer in data]
        more.setdefault("layers", descriptors)
        return self.add(image(descriptor(CONFIG_TYPE, config, self.hashed), **more), IMAGE_TYPE)

    def add_index(self, entries: list[dict[str, object]], **more: object) -> dict[str, object]:
        document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries, **more}
        return self.add(encode(document), INDEX_TYPE)

    def add(self, content: bytes, media_type: str) -> dict[str, object]:
        self.manifests.append((content, media_type))
        return descriptor(media_type, content, self.hashed)


def _nested() -> Data:
    data = Data()
    inner = [data.add_index([data.add_image(), data.add_image()]) for _ in range(2)]
    data.add_index(inner)
    return data


def _with_subjects() -> Data:
    data = Data()
    subject = data.add_image()
    for more in ({}, {"artifactType": KIND_A}, {"artifactType": KIND_B}):
        data.add_image(subject=subject, annotations={"note": "hello"}, **more)
    data.add_index([], subject=subject, artifactType=KIND_A)
    data.add_image(subject=descriptor(IMAGE_TYPE, b"missing content"))
    return data


def _of(*images: dict[str, object], hashed: Callable[[bytes], str] = sha256) -> Data:
    data = Data(hashed)
    entries = [data.add_image(**more) for more in images]  # type: ignore[arg-type]
    data.add_index(entries)
    return data


KINDS: dict[str, Callable[[], Data]] = {
    "index": lambda: _of({}, {}),
    "large manifest": lambda: _of({"annotations": {f"a{n}": "A" * 10_000 for n in range(390)}}),
    "nested index": _nested,
    "empty index": _of,
    "artifacts": lambda: _of({"artifactType": KIND_A}, {"artifactType": KIND_A, "layers": []}),
    "subjects": _with_subjects,
    "custom fields": lambda: _of({"org.example.random": [1, {"two": None}]}),
    "no layers": lambda: _of({"layers": []}),
    "nondistributable layers": lambda: _of(
        {"layers": [descriptor(NONDISTRIBUTABLE, b"elsewhere", urls=["https://store.example/"])]}
    ),
    "sha512": lambda: _of({}, {}, hashed=sha512),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data_can_be_pushed_listed_pulled_and_deleted(
    registry: Registry, kind: str
) -> None:
    data = KINDS[kind]()
    for blob in data.blobs:
        registry.push_blob(blob, data.hashed(blob))
    digests = [data.hashed(content) for content, _ in data.manifests]
    for number, (content, media_type) in enumerate(data.manifests):
        answer = registry.put_manifest(
            digests[number], content, media_type, params={"tag": f"tag-{number}"}
        )
        assert (answer.status_code, answer.headers["OCI-Tag"]) == (201, f"tag-{number}")
        assert registry.request("GET", answer.headers["Location"]).content == content
    tags = [f"tag-{number}" for number in range(len(digests))]
    assert registry.tags().json()["tags"] == tags
    for number, (content, media_type) in enumerate(data.manifests):
        for reference in (digests[number], tags[number]):
            assert registry.manifest(reference).content == content
            headers = registry.manifest(reference, "HEAD").headers
            assert headers["Docker-Content-Digest"] == digests[number]
            assert headers["Content-Type"] == media_type
            assert headers["Content-Length"] == str(len(content))
    for blob in data.blobs:
        assert registry.blob(data.hashed(blob)).content == blob
    for tag in tags:
        delete(registry, registry.path(f"manifests/{tag}"))
    for digest in reversed(digests):
        delete(registry, registry.path(f"manifests/{digest}"))
    for blob in data.blobs:
        delete(registry, registry.path(f"blobs/{data.hashed(blob)}"))
    assert registry.tags().json()["tags"] == []
