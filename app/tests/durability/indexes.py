"""Indexes, and the records of the manifests that they list."""

from __future__ import annotations

import json

from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.registry.manifests import Manifests

from .sites import SUPERUSER, MemorySite, image_manifest

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG = b"{}"

_INDEXES = """
SELECT m.repository_id, m.id, m.manifest_bytes FROM manifest m WHERE m.media_type = %s
"""
_ROWS = "SELECT repository_id, digest, id FROM manifest"
_CHILDREN = "SELECT manifest_id, child_manifest_id FROM manifestchild"
_ABSENT = "SELECT manifest_id, digest, repository_id FROM manifestabsent"


def image(number: int) -> bytes:
    """Return the manifest of an image whose only blob is CONFIG."""
    document = json.loads(image_manifest(CONFIG, []))
    return json.dumps(document | {"annotations": {"number": str(number)}}).encode()


def index(*listed: bytes, **more: object) -> bytes:
    """Return an index of these manifests."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX_TYPE,
            "manifests": [
                {
                    "mediaType": json.loads(manifest)["mediaType"],
                    "digest": str(Digest.of(manifest)),
                    "size": len(manifest),
                }
                for manifest in listed
            ],
            **more,
        }
    ).encode()


def put(
    manifests: Manifests, name: RepositoryName, content: bytes, tag: str | None = None
) -> Digest:
    """Push a manifest by its digest or under a tag, and return its digest."""
    digest = Digest.of(content)
    media_type = json.loads(content)["mediaType"]
    manifests.put(name, tag or str(digest), content, media_type, tags=[], username=SUPERUSER)
    return digest


def absent(site: MemorySite) -> set[tuple[str, int | None, str | None]]:
    """Return the digest, size and media type of each absent manifest."""
    rows = site.database.read("SELECT digest, size, media_type FROM manifestabsent")
    return {tuple(row) for row in rows}


def wrong_references(database: Database) -> list[str]:
    """Return the listed manifests that are not recorded as either a child or absent.

    Of a database in which nothing happens.
    """
    rows = {(row[0], row[1]): row[2] for row in database.read(_ROWS)}
    children = {tuple(row) for row in database.read(_CHILDREN)}
    gone = {tuple(row) for row in database.read(_ABSENT)}
    expected_children, expected_gone = set(), set()
    for repository, manifest, content in database.read(_INDEXES, [INDEX_TYPE]):
        for entry in json.loads(bytes(content))["manifests"]:
            child = rows.get((repository, entry["digest"]))
            if child is None:
                expected_gone.add((manifest, entry["digest"], repository))
            else:
                expected_children.add((manifest, child))
    return [
        *(f"child {one}" for one in sorted(children ^ expected_children)),
        *(f"absent {one}" for one in sorted(gone ^ expected_gone)),
    ]
