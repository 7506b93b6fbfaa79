"""What an image consists of: platforms, configuration, history, and the locations of its layers.

Formats: OCI image-spec v1.1 (config.md), Docker image manifest version 2, schema 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from atoll.db.pool import Database
from atoll.json_bounds import BoundExceeded, check_structure
from atoll.media_types import IMAGE_CONFIG_TYPES
from atoll.names import Digest, RepositoryName
from atoll.placement.placements import COPIES
from atoll.registry.blobs import Blob, Blobs
from atoll.registry.errors import BlobLost, BlobQuarantined, ManifestUnknown
from atoll.registry.manifest_fields import (
    TEXT_MAXIMUM,
    artifact_type_of,
    as_object,
    as_objects,
    as_text,
    platform_of,
)
from atoll.registry.referrer_tree import TREE_PARAMETERS, Referrers, referrers_of, tree_tables
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.registry.tags import END_MS, alive
from atoll.storage.errors import StoreError

# Bytes of a configuration that is read; image builders write some tens of kilobytes.
_CONFIG_MAXIMUM = 1024 * 1024

_BY_DIGEST = f"""
SELECT m.id, m.digest, m.media_type, m.manifest_bytes, NULL::bigint AS start_ms,
       NULL::bigint AS end_ms
FROM manifest m
WHERE m.repository_id = {REPOSITORY_ID} AND m.digest = %(reference)s AND m.deleted_at IS NULL
"""

_BY_TAG = f"""
SELECT m.id, m.digest, m.media_type, m.manifest_bytes, t.lifetime_start_ms, {END_MS}
FROM tag t JOIN manifest m ON m.id = t.manifest_id
WHERE t.repository_id = {REPOSITORY_ID} AND t.name = %(reference)s AND {alive("t")}
  AND m.deleted_at IS NULL
"""

# Return a manifest, its blobs with their copies, the manifests that it lists and that can be
# pulled, and its referrers. The last two columns are the period of the tag, or the order of
# referrers.
_PARTS = f"""
WITH RECURSIVE parent (id, digest, media_type, manifest_bytes, start_ms, end_ms) AS ({{parent}})
{{tables}}
SELECT 'blob' AS part, s.content_checksum, s.image_size, {COPIES}, NULL::text, NULL::bytea,
       NULL::text, NULL::text, NULL::bigint AS first, NULL::bigint AS second
FROM parent JOIN manifestblob mb ON mb.manifest_id = parent.id
JOIN imagestorage s ON s.id = mb.blob_id
UNION ALL
SELECT 'child', child.digest, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM parent JOIN manifestchild mc ON mc.manifest_id = parent.id
JOIN manifest child ON child.id = mc.child_manifest_id
WHERE child.deleted_at IS NULL
UNION ALL
SELECT 'manifest', digest, NULL, NULL, media_type, manifest_bytes, NULL, NULL, start_ms, end_ms
FROM parent
{{referrers}}
ORDER BY part, first, second
"""
_TABLES = f", {tree_tables('(SELECT digest FROM parent)')}"
_REFERRERS = """
UNION ALL
SELECT 'referrer', digest, size, NULL, media_type, content, subject, artifact_type, depth, id
FROM referrer
"""


@dataclass(frozen=True)
class Copy:
    """A copy of a blob; `state` is `good`, or why it is not served."""

    location: str
    state: str
    verified_at: str | None


@dataclass(frozen=True)
class Layer:
    """A layer; the command that made it and when, if the history of the image records it."""

    digest: str
    media_type: str | None
    size: int | None
    command: str | None
    created: str | None
    copies: list[Copy]


@dataclass(frozen=True)
class Platform:
    """An image in an index; `present` if it can be pulled."""

    digest: str
    media_type: str | None
    size: int | None
    platform: str | None
    artifact_type: str | None
    present: bool


@dataclass(frozen=True)
class Configuration:
    """The configuration of an image, as far as a reader of a page needs it."""

    created: str | None
    author: str | None
    platform: str | None
    entrypoint: list[str]
    command: list[str]
    labels: dict[str, str]


@dataclass(frozen=True)
class HistoryEntry:
    """A step of the build of an image; `empty_layer` if it made no layer."""

    created: str | None
    command: str | None
    comment: str | None
    empty_layer: bool


@dataclass(frozen=True)
class Details:
    """An image, an index or an artifact.

    Attributes:
        content: The manifest as it was pushed.
        start_ms: When the tag got the image, in milliseconds since the epoch; None for digests.
        end_ms: When the tag expires, in the same unit; None if it does not.
        referrers: The referrers, if they were requested.
        config_error: Why the configuration of an image could not be read; None if it could.
    """

    digest: str
    media_type: str
    artifact_type: str | None
    content: bytes
    size: int
    subject: str | None
    annotations: dict[str, str]
    platforms: list[Platform]
    configuration: Configuration | None
    config_error: str | None
    history: list[HistoryEntry]
    layers: list[Layer]
    start_ms: int | None = None
    end_ms: int | None = None
    referrers: Referrers | None = None


class ImageDetails:
    """Describe images, with one statement and, for an image, one read of a store."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def of(
        self, name: RepositoryName, reference: Digest | str, *, referrers: bool = False
    ) -> Details:
        """Return the details of an image.

        Content that clients pushed is reported only where it has the specified type.

        Args:
            name: The repository.
            reference: The digest of the image, or its tag.
            referrers: Whether to return its referrers.

        Raises:
            ManifestUnknown: The repository has no such manifest or tag.
            DatabaseUnavailable: The database cannot be reached.
        """
        text = str(reference)
        statement = _PARTS.format(
            parent=_BY_DIGEST if Digest.is_digest(text) else _BY_TAG,
            tables=_TABLES if referrers else "",
            referrers=_REFERRERS if referrers else "",
        )
        values = {**name_parameters(name), "reference": text, **TREE_PARAMETERS}
        parts: dict[str, list[Any]] = {"blob": [], "child": [], "manifest": [], "referrer": []}
        for part, *columns in self._database.read(statement, values):
            parts[part].append(columns)
        if not parts["manifest"]:
            kind = "manifest" if Digest.is_digest(text) else "tag"
            raise ManifestUnknown(f"'{name}' has no {kind} '{text}'")
        digest, _, _, media_type, content, _, _, start_ms, end_ms = parts["manifest"][0]
        raw = bytes(content)
        document = json.loads(raw)
        present = {row[0] for row in parts["child"]}
        blobs = {row[0]: (row[1], [Copy(*copy) for copy in row[2]]) for row in parts["blob"]}
        config, error = self._configuration(document, blobs)
        history = list(_history(config))
        return Details(
            digest=digest,
            media_type=media_type,
            artifact_type=artifact_type_of(document),
            content=raw,
            size=len(raw),
            subject=as_text(as_object(document.get("subject")).get("digest")),
            annotations=_texts(document.get("annotations")),
            platforms=[
                _platform_entry(entry, present) for entry in as_objects(document.get("manifests"))
            ],
            configuration=_configuration(config) if config is not None else None,
            config_error=error,
            history=history,
            layers=list(_layers(document, blobs, history)),
            start_ms=start_ms,
            end_ms=end_ms,
            referrers=_referrers(parts["referrer"]) if referrers else None,
        )

    def _configuration(
        self, document: dict[str, Any], blobs: dict[str, tuple[int, list[Copy]]]
    ) -> tuple[dict[str, Any] | None, str | None]:
        """Return the configuration of an image, or None with the reason if there should be one."""
        descriptor = as_object(document.get("config"))
        digest = as_text(descriptor.get("digest"))
        if digest is None or descriptor.get("mediaType") not in IMAGE_CONFIG_TYPES:
            return None, None
        size, copies = blobs.get(digest, (0, []))
        if size > _CONFIG_MAXIMUM:
            return None, f"the configuration has more than {_CONFIG_MAXIMUM} bytes"
        good = [copy.location for copy in copies if copy.state == "good"]
        try:
            content = b"".join(self._blobs.read(Blob(Digest.parse(digest), size, good), 0, size))
        except (BlobLost, BlobQuarantined, StoreError) as unavailable:
            return None, str(unavailable)
        try:
            check_structure(content)
            config = json.loads(content)
        except BoundExceeded as exceeded:
            return None, f"the configuration {exceeded}"
        except (ValueError, RecursionError):
            config = None
        if not isinstance(config, dict):
            return None, "the configuration is not a JSON object"
        return config, None


def _referrers(rows: list[Any]) -> Referrers:
    return referrers_of(
        [
            (digest, subject, media_type, artifact_type, size, content)
            for digest, size, _, media_type, content, subject, artifact_type, *_ in rows
        ]
    )


def _layers(
    document: dict[str, Any],
    blobs: dict[str, tuple[int, list[Copy]]],
    history: list[HistoryEntry],
) -> Iterator[Layer]:
    """Yield the layers with the steps that made them, if there is one for each."""
    entries = as_objects(document.get("layers"))
    steps = [entry for entry in history if not entry.empty_layer]
    for number, entry in enumerate(entries):
        digest = as_text(entry.get("digest")) or ""
        step = steps[number] if len(steps) == len(entries) else None
        yield Layer(
            digest,
            as_text(entry.get("mediaType")),
            _size(entry.get("size")),
            step.command if step else None,
            step.created if step else None,
            blobs.get(digest, (0, []))[1],
        )


def _history(config: dict[str, Any] | None) -> Iterator[HistoryEntry]:
    for entry in as_objects((config or {}).get("history")):
        yield HistoryEntry(
            _date(entry.get("created")),
            as_text(entry.get("created_by")),
            as_text(entry.get("comment")),
            entry.get("empty_layer") is True,
        )


def _configuration(config: dict[str, Any]) -> Configuration:
    settings = as_object(config.get("config"))
    return Configuration(
        created=_date(config.get("created")),
        author=as_text(config.get("author")),
        platform=platform_of(config),
        entrypoint=_list(settings.get("Entrypoint")),
        command=_list(settings.get("Cmd")),
        labels=_texts(settings.get("Labels")),
    )


def _platform_entry(entry: dict[str, Any], present: set[str]) -> Platform:
    digest = as_text(entry.get("digest")) or ""
    return Platform(
        digest,
        as_text(entry.get("mediaType")),
        _size(entry.get("size")),
        platform_of(as_object(entry.get("platform"))),
        as_text(entry.get("artifactType")),
        digest in present,
    )


def _date(value: object) -> str | None:
    """Return a date of RFC 3339 unchanged; None if it is none."""
    if not isinstance(value, str) or len(value) > len("2026-01-01T00:00:00.000000000+00:00"):
        return None
    try:
        datetime.fromisoformat(re.sub(r"\.\d+", "", value))
    except ValueError:
        return None
    return value


def _list(value: object) -> list[str]:
    return (
        [one[:TEXT_MAXIMUM] for one in value if isinstance(one, str)]
        if isinstance(value, list)
        else []
    )


def _texts(value: object) -> dict[str, str]:
    return {
        key[:TEXT_MAXIMUM]: one[:TEXT_MAXIMUM]
        for key, one in as_object(value).items()
        if isinstance(one, str)
    }


def _size(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
