"""The records of uploads in the database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from atoll.db.pool import Database
from atoll.placement.content_deletions import DELETED_SINCE
from atoll.placement.locks import LOCK_DIGEST_SHARED
from atoll.placement.rules import excluded_in
from atoll.registry.errors import UploadUnknown
from atoll.registry.repositories import REPOSITORY_ID, WRITABLE, name_parameters
from atoll.registry.upload_session import Chunk, Upload

# The maximum number of chunks of an upload. Each chunk rewrites the list of all earlier ones, so
# this bounds what an upload writes to the database's log.
CHUNKS_MAXIMUM = 10_000
# The number of uploads in one batch of leftovers.
LEFTOVERS = 100
# The maximum pause after failed deletions, in minutes.
_BACKOFF_MAXIMUM_MINUTES = 60

# Create the record of an upload, if the repository exists and can be changed.
_START = f"""
INSERT INTO blobupload (uuid, repository_id)
SELECT %(uuid)s, repository.id FROM (SELECT {REPOSITORY_ID} AS id) AS repository
WHERE {WRITABLE.format(id="repository.id")} RETURNING {excluded_in("blobupload.repository_id")}
"""

_STATUS = f"""
SELECT u.byte_count, u.chunks, {excluded_in("u.repository_id")} FROM blobupload u
WHERE u.uuid = %(uuid)s AND NOT u.ended AND u.repository_id = {REPOSITORY_ID}
"""

# Append a chunk, unless the upload has ended or has another offset, the object of a first chunk may
# have been deleted, or the location is excluded.
_APPEND = f"""
{LOCK_DIGEST_SHARED}
UPDATE blobupload u
SET byte_count = u.byte_count + %(size)s, chunks = u.chunks || %(chunk)s::jsonb,
    first_digest = coalesce(u.first_digest, %(first_digest)s),
    first_location = coalesce(u.first_location, %(first_location)s),
    expires_after_s = coalesce(u.expires_after_s, %(expires_after)s::bigint),
    changed_at = clock_timestamp()
WHERE u.uuid = %(uuid)s AND NOT u.ended AND u.repository_id = {REPOSITORY_ID}
  AND u.byte_count = %(offset)s AND jsonb_array_length(u.chunks) < %(chunks_maximum)s
  AND NOT (%(first)s AND {DELETED_SINCE})
  AND (%(location)s = ANY({excluded_in("u.repository_id")})) IS NOT TRUE
RETURNING u.byte_count
"""

_END = f"""
UPDATE blobupload u SET ended = true
WHERE u.uuid = %(uuid)s AND NOT u.ended AND u.repository_id = {REPOSITORY_ID} RETURNING u.uuid
"""

# End an upload of any repository, and return its chunks and the existing locations.
_END_ANY = """
UPDATE blobupload SET ended = true WHERE uuid = %(uuid)s
RETURNING chunks, array(SELECT name FROM imagestoragelocation)
"""

# Record an object as the chunk of an ended upload, which the background deletes.
_INSERT_ENDED = """
INSERT INTO blobupload (uuid, chunks, ended) VALUES (%(uuid)s, %(chunks)s, true)
"""

# Find ended and abandoned uploads. Uploads with objects at an unavailable location are skipped, so
# that they do not delay others. A location that does not exist any more has no objects.
_LEFTOVERS = f"""
SELECT u.uuid FROM blobupload u
WHERE ((u.ended OR u.repository_id IS NULL) AND u.changed_at < clock_timestamp()
        - make_interval(mins => least(power(2, u.attempts), {_BACKOFF_MAXIMUM_MINUTES})::int)
    OR u.changed_at < clock_timestamp() - make_interval(mins => %(minutes)s))
  AND NOT EXISTS (
    SELECT FROM jsonb_array_elements(u.chunks) AS chunk
    JOIN imagestoragelocation l ON l.name = chunk ->> 'location'
    WHERE l.name <> ALL(%(available)s))
ORDER BY u.changed_at LIMIT {LEFTOVERS}
"""

# Keep the chunks that could not be deleted. If the first one was deleted, the upload no longer
# refers to its content address.
_KEEP_LEFTOVERS = """
UPDATE blobupload SET chunks = %(chunks)s, attempts = least(attempts + 1, 10),
    first_digest = CASE WHEN %(first)s THEN first_digest END,
    first_location = CASE WHEN %(first)s THEN first_location END,
    changed_at = clock_timestamp()
WHERE uuid = %(uuid)s AND ended
"""


@dataclass(frozen=True)
class UploadStatus:
    """The recorded state of an upload: its size in bytes, chunks and excluded locations."""

    size: int
    chunks: list[Chunk]
    excluded: tuple[str, ...]


class UploadRecords:
    """Reads and writes the records of uploads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, upload: Upload, username: str | None) -> tuple[str, ...] | None:
        """Create a record, and return the locations that the repository excludes.

        Returns:
            None if the repository does not exist, or the user may not change it in its state.
        """
        rows = self._database.run(_START, {**_parameters(upload), "username": username})
        return tuple(rows[0][0] or ()) if rows else None

    def status(self, upload: Upload) -> UploadStatus:
        """Return the recorded state of an upload.

        Raises:
            UploadUnknown: The upload does not exist, has ended, or belongs to another repository.
        """
        rows = self._database.read(_STATUS, _parameters(upload))
        if not rows:
            raise UploadUnknown(f"'{upload.name}' has no upload {upload.uuid}")
        size, chunks, excluded = rows[0]
        return UploadStatus(size, [Chunk(**chunk) for chunk in chunks], tuple(excluded or ()))

    def append(
        self, upload: Upload, chunk: Chunk, expires_after: int | None, *, first: bool
    ) -> bool:
        """Append a chunk at the upload's offset, and return whether it was recorded.

        Args:
            upload: The upload.
            chunk: The chunk, which has been written.
            expires_after: The value of the expiry label in the chunk, in seconds.
            first: Whether the chunk is the first one of the upload.
        """
        rows = self._database.run(
            _APPEND,
            {
                **_parameters(upload),
                "offset": upload.offset,
                "chunks_maximum": CHUNKS_MAXIMUM,
                "first": first,
                "expires_after": expires_after,
                "digest": chunk.digest,
                "location": chunk.location,
                "size": chunk.size,
                "chunk": _json([chunk]),
                "first_digest": chunk.digest if first else None,
                "first_location": chunk.location if first else None,
            },
        )
        return bool(rows)

    def end(self, upload: Upload) -> None:
        """Mark an upload as ended.

        Raises:
            UploadUnknown: The upload does not exist, has ended, or belongs to another repository.
        """
        if not self._database.run(_END, _parameters(upload)):
            raise UploadUnknown(f"'{upload.name}' has no upload {upload.uuid}")

    def end_for_cleanup(self, uuid: UUID) -> list[Chunk] | None:
        """Mark an upload as ended, and return its chunks at existing locations.

        Returns:
            None if there is no such upload.
        """
        rows: list[Any] = self._database.run(_END_ANY, {"uuid": uuid})
        if not rows:
            return None
        chunks, existing = rows[0]
        return [Chunk(**chunk) for chunk in chunks if chunk["location"] in existing]

    def delete(self, uuid: UUID) -> None:
        """Delete the record of an ended upload."""
        self._database.run("DELETE FROM blobupload WHERE uuid = %s AND ended", [uuid])

    def insert_ended(self, chunk: Chunk) -> None:
        """Record an object without references, so that it is deleted in the background."""
        self._database.run(_INSERT_ENDED, {"uuid": uuid4(), "chunks": _json([chunk])})

    def keep_leftovers(self, uuid: UUID, chunks: Sequence[Chunk]) -> None:
        """Record the chunks of an ended upload that could not be deleted."""
        values = {
            "uuid": uuid,
            "chunks": _json(chunks),
            "first": any(chunk.at_content_address for chunk in chunks),
        }
        self._database.run(_KEEP_LEFTOVERS, values)

    def leftovers(self, expiry_minutes: int, available: Sequence[str]) -> list[UUID]:
        """Return a batch of ended and abandoned uploads.

        Args:
            expiry_minutes: Minutes without a change after which an upload counts as abandoned.
            available: The available locations; uploads with objects at others are skipped.
        """
        parameters = {"minutes": expiry_minutes, "available": list(available)}
        return [row[0] for row in self._database.run(_LEFTOVERS, parameters)]


def _parameters(upload: Upload) -> dict[str, object]:
    return {**name_parameters(upload.name), "uuid": upload.uuid}


def _json(chunks: Sequence[Chunk]) -> str:
    return json.dumps([vars(chunk) for chunk in chunks])
