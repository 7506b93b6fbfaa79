"""Images and blobs for tests: digests, pushes and deletions."""

from __future__ import annotations

import hashlib
import json
import os

import requests
from atoll.names import Digest

from .site import MANIFEST_TYPE, Client, Site

REPOSITORY = "admin/app"
# Bytes of a blob whose copy takes long enough to be interrupted.
LARGE = 256 * 2**20
SCOPE = f"repository:{REPOSITORY}:pull,push"


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def push_image(client: Client, tag: str = "v1", name: str = REPOSITORY) -> tuple[str, bytes]:
    """Push an image with one layer; return its manifest's digest and bytes."""
    config, layer = b'{"os":"linux"}', os.urandom(2000)
    descriptors = [
        {
            "mediaType": "application/octet-stream",
            "digest": client.push_blob(name, data),
            "size": len(data),
        }
        for data in (config, layer)
    ]
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": descriptors[0],
            "layers": descriptors[1:],
        }
    ).encode()
    answer = client.request(
        "PUT",
        f"/v2/{name}/manifests/{tag}",
        f"repository:{name}:pull,push",
        data=manifest,
        headers={"Content-Type": MANIFEST_TYPE},
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["Docker-Content-Digest"], manifest


def push_image_with_layer(client: Client, name: str, tag: str, layer: bytes) -> str:
    """Push an image with the given layer under a tag, and return its manifest's digest."""
    config, digest = client.push_blob(name, b"{}"), client.push_blob(name, layer)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/x", "digest": config, "size": 2},
        "layers": [{"mediaType": "application/y", "digest": digest, "size": len(layer)}],
    }
    answer = client.request(
        "PUT",
        f"/v2/{name}/manifests/{tag}",
        f"repository:{name}:pull,push",
        data=json.dumps(manifest),
        headers={"Content-Type": MANIFEST_TYPE},
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["Docker-Content-Digest"]


def push_image_without_layers(us: Site, repository: str, data: bytes) -> None:
    """Push an image whose only blob is its configuration, as `latest`."""
    client = Client(us)
    digest = client.push_blob(repository, data)
    answer = client.request(
        "PUT",
        f"/v2/{repository}/manifests/latest",
        f"repository:{repository}:pull,push",
        headers={"Content-Type": "application/vnd.oci.image.manifest.v1+json"},
        data=json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {
                    "mediaType": "application/vnd.oci.image.config.v1+json",
                    "digest": digest,
                    "size": len(data),
                },
                "layers": [],
            }
        ),
    )
    assert answer.status_code == 201, answer.text


def put_manifest_without_layers(client: Client, digest: str, size: int) -> requests.Response:
    """Push a manifest that references a blob as its configuration, and return the response."""
    config = {"mediaType": "application/vnd.oci.image.config.v1+json"}
    return client.request(
        "PUT",
        f"/v2/{REPOSITORY}/manifests/latest",
        SCOPE,
        headers={"Content-Type": MANIFEST_TYPE},
        data=json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {**config, "digest": digest, "size": size},
                "layers": [],
            }
        ),
    )


def head_blob(client: Client, digest: str, repository: str = REPOSITORY) -> requests.Response:
    path = f"/v2/{repository}/blobs/{digest}"
    return client.request("HEAD", path, f"repository:{repository}:pull")


def delete_manifest(client: Client, content: bytes, repository: str = REPOSITORY) -> None:
    path = f"/v2/{repository}/manifests/{Digest.of(content)}"
    answer = client.request("DELETE", path, f"repository:{repository}:delete")
    assert answer.status_code == 202, answer.text
