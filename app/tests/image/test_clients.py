"""Common clients: each pushes, and every other one pulls the same, over HTTP and TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .engines import CLIENTS, Engines, Oras, Skopeo, digest_in, running_engines
from .protocol import IMAGE_TYPE, INDEX_TYPE, Image, Registry, encode, sha256
from .running import RunningImage

# The clients' image is built separately, which takes minutes.
pytestmark = pytest.mark.long


@pytest.fixture(scope="session")
def engines(image: RunningImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    with running_engines(image, tmp_path_factory.mktemp("engines") / "docker") as running:
        yield running


@pytest.mark.parametrize("pusher", CLIENTS)
def test_every_client_pulls_what_any_client_pushed(
    engines: Engines, registry: Registry, pusher: str
) -> None:
    name = f"{registry.name}:1"
    CLIENTS[pusher](engines, registry).push(name)
    digest = registry.manifest("1", "HEAD").headers["Docker-Content-Digest"]
    found = {
        puller: digest_in(client(engines, registry).pull(name))
        for puller, client in CLIENTS.items()
    }
    assert found == dict.fromkeys(CLIENTS, digest)


def test_a_multi_architecture_image_is_copied_completely(
    engines: Engines, registry: Registry
) -> None:
    """skopeo and oras copy it to other repositories: the same index, the same images."""
    registry.push_index([registry.push_image(), registry.push_image()], "1")
    expected = registry.manifest("1").content
    source, (skopeo, oras) = f"{registry.name}:1", (f"{registry.name}-{n}:1" for n in (1, 2))
    host = registry.url.partition("://")[2]
    plain = registry.url.startswith("http:")
    engines.run(
        "skopeo",
        "copy",
        "--all",
        "--preserve-digests",
        *(["--src-tls-verify=false", "--dest-tls-verify=false"] if plain else []),
        f"docker://{host}/{source}",
        f"docker://{host}/{skopeo}",
    )
    engines.run(
        "oras",
        "copy",
        *(["--from-plain-http", "--to-plain-http"] if plain else []),
        f"{host}/{source}",
        f"{host}/{oras}",
    )
    for copy in (skopeo, oras):
        name = copy.removesuffix(":1")
        assert registry.request("GET", registry.path("manifests/1", name)).content == expected
        for entry in json.loads(expected)["manifests"]:
            path = registry.path(f"manifests/{entry['digest']}", name)
            assert registry.request("GET", path).status_code == 200


def test_podman_pulls_an_index_that_buildah_pushed(engines: Engines, registry: Registry) -> None:
    target = f"{registry.url.partition('://')[2]}/{registry.name}:list"
    plain = ["--tls-verify=false"] if registry.url.startswith("http:") else []
    listing = f"localhost/{registry.name}:list"
    engines.run("buildah", "manifest", "create", listing, "localhost/source:1")
    engines.run("buildah", "manifest", "push", "--all", *plain, listing, f"docker://{target}")
    engines.run("podman", "pull", "--quiet", *plain, target)
    (entry,) = registry.manifest("list").json()["manifests"]
    assert registry.manifest(entry["digest"]).status_code == 200


def test_skopeo_and_oras_delete_images(engines: Engines, registry: Registry) -> None:
    host = registry.url.partition("://")[2]
    plain = registry.url.startswith("http:")
    for number, words in enumerate(
        [
            ["skopeo", "delete", *(["--tls-verify=false"] if plain else [])],
            ["oras", "manifest", "delete", "--force", *(["--plain-http"] if plain else [])],
        ]
    ):
        image = registry.push_image(f"v{number}")
        scheme = "docker://" if words[0] == "skopeo" else ""
        engines.run(*words, f"{scheme}{host}/{registry.name}:v{number}")
        assert registry.manifest(image.digest).status_code == 404
    assert registry.tags().json()["tags"] == []


def test_oras_attaches_discovers_and_copies_with_referrers(
    engines: Engines, registry: Registry
) -> None:
    Oras(engines, registry).push(f"{registry.name}:1")
    host = registry.url.partition("://")[2]
    subject = f"{host}/{registry.name}:1"
    plain = ["--plain-http"] if registry.url.startswith("http:") else []
    both = ["--from-plain-http", "--to-plain-http"] if plain else []
    kind = "application/vnd.example.sbom"
    engines.run("bash", "-c", "cd /scratch && echo note >note.txt")
    words = ("--disable-path-validation", "--artifact-type", kind)
    engines.run("oras", "attach", *plain, *words, subject, "/scratch/note.txt:text/plain")
    found = engines.run("oras", "discover", *plain, "--format=json", subject)
    assert [entry["artifactType"] for entry in json.loads(found)["manifests"]] == [kind]
    copy = f"{registry.name}-copy"
    engines.run("oras", "copy", "--recursive", *both, subject, f"{host}/{copy}:1")
    digest = registry.manifest("1", "HEAD").headers["Docker-Content-Digest"]
    answer = registry.request("GET", registry.path(f"referrers/{digest}", copy))
    assert [entry["artifactType"] for entry in answer.json()["manifests"]] == [kind]


@pytest.mark.parametrize("mode", ["legacy", "oci-1-1"], ids=["tag", "referrer"])
def test_cosign_signs_and_verifies(engines: Engines, registry: Registry, mode: str) -> None:
    """Signatures are a tag `sha256-….sig` or a referrer; another key fails the verification."""
    Skopeo(engines, registry).push(f"{registry.name}:1")
    digest = registry.manifest("1", "HEAD").headers["Docker-Content-Digest"]
    image = f"{registry.url.partition('://')[2]}/{registry.name}@{digest}"
    plain = ["--allow-http-registry"] if registry.url.startswith("http:") else []
    variables = {"COSIGN_PASSWORD": "", "COSIGN_EXPERIMENTAL": "1" if mode == "oci-1-1" else "0"}
    keys = [
        f"/scratch/{sha256(registry.name.encode())[7:19]}-{mode}-{n}" for n in ("mine", "other")
    ]
    for key in keys:
        engines.run("cosign", "generate-key-pair", f"--output-key-prefix={key}", **variables)
    signing = ("--tlog-upload=false", "--yes", f"--registry-referrers-mode={mode}")
    engines.run("cosign", "sign", *plain, *signing, f"--key={keys[0]}.key", image, **variables)
    tag = digest.replace(":", "-") + ".sig"
    assert (tag in registry.tags().json()["tags"]) == (mode == "legacy")
    assert len(registry.referrers(digest).json()["manifests"]) == (mode != "legacy")
    verify = ["cosign", "verify", *plain, "--insecure-ignore-tlog=true"]
    verify += ["--experimental-oci11"] if mode == "oci-1-1" else []
    engines.run(*verify, f"--key={keys[0]}.pub", image, **variables)
    with pytest.raises(AssertionError, match=r"invalid signature|no (matching )?signatures"):
        engines.run(*verify, f"--key={keys[1]}.pub", image, **variables)


def test_a_copy_in_the_manner_of_crane_mounts_every_blob(registry: Registry) -> None:
    """It checks each blob at the target with HEAD, mounts it, and then pushes the manifest."""
    image = registry.push_image("1")
    target = f"{registry.name}-copy"
    for digest in (image.config, *image.layers):
        path = registry.path(f"blobs/{digest}", target)
        assert registry.request("HEAD", path).status_code == 404
        assert registry.mount(digest, target, registry.name).status_code == 201
        assert registry.request("HEAD", path).status_code == 200
    answer = registry.request(
        "PUT",
        registry.path("manifests/1", target),
        data=image.content,
        headers={"Content-Type": IMAGE_TYPE},
    )
    assert answer.status_code == 201
    assert registry.request("GET", registry.path("manifests/1", target)).content == image.content


def test_a_tag_is_deleted_in_the_manner_of_regctl(registry: Registry) -> None:
    """It deletes the tag; if that is refused, it pushes a dummy and deletes its digest."""
    kept = registry.push_image("keep")
    registry.put_manifest("drop", kept.content)
    assert registry.manifest("drop", "DELETE").status_code == 202
    assert registry.tags().json()["tags"] == ["keep"]
    assert registry.manifest("keep").content == kept.content


def test_artifacts_are_listed_in_the_manner_of_regctl(registry: Registry) -> None:
    """It uses the referrers API with a filter; an index may carry one for each platform."""
    subject = registry.push_index([registry.push_image(), registry.push_image()], "1")
    artifact = _artifact(registry, subject)
    index = registry.push_index(
        [artifact], subject=subject.descriptor, artifactType="application/vnd.example.list"
    )
    found = registry.referrers(subject.digest).json()["manifests"]
    assert [entry["digest"] for entry in found] == [artifact.digest, index.digest]
    answer = registry.referrers(subject.digest, artifactType="application/vnd.example.list")
    assert [entry["mediaType"] for entry in answer.json()["manifests"]] == [INDEX_TYPE]


def _artifact(registry: Registry, subject: Image) -> Image:
    empty = registry.push_blob(b"{}")
    descriptor = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2}
    content = encode(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "artifactType": "application/vnd.example.sbom",
            "config": descriptor,
            "layers": [descriptor],
            "subject": subject.descriptor,
        }
    )
    assert registry.put_manifest(sha256(content), content).status_code == 201
    return Image(content, empty, [empty])
