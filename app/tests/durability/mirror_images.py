"""Images with platforms in a repository that is a mirror."""

from __future__ import annotations

import json
from collections.abc import Mapping

from atoll.names import Digest, RepositoryName

from .sites import MANIFEST_TYPE, SUPERUSER, MemorySite, image_manifest

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
ROBOT = f"{SUPERUSER}+mirror"


def bound(site: MemorySite) -> RepositoryName:
    """Return the name of the site's repository, bound to its id."""
    rows = site.database.read(
        'SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id'
        " WHERE n.username = %s AND r.name = %s",
        [site.repository.namespace, site.repository.name],
    )
    return site.repository.bound(rows[0][0])


def set_state(site: MemorySite, state: str) -> None:
    site.database.run("UPDATE repository SET state = %s WHERE id = %s", [state, bound(site).id])


def push_image(site: MemorySite, seed: str, tag: str | None = None) -> Digest:
    """Push an image with two blobs of its own."""
    config, layer = f"config {seed}".encode(), f"layer {seed}".encode()
    site.push(config)
    site.push(layer)
    return put(site, image_manifest(config, [layer]), MANIFEST_TYPE, tag)


def index_of(images: Mapping[str, Digest]) -> bytes:
    """Return an index of images by architecture."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [
                {
                    "mediaType": MANIFEST_TYPE,
                    "digest": str(digest),
                    "size": 500,
                    "platform": {"architecture": architecture, "os": "linux"},
                }
                for architecture, digest in images.items()
            ],
        }
    ).encode()


def put(site: MemorySite, content: bytes, media_type: str, tag: str | None = None) -> Digest:
    digest = Digest.of(content)
    site.manifests().put(
        site.repository, tag or str(digest), content, media_type, tags=[], username=SUPERUSER
    )
    return digest
