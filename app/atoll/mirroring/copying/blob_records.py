"""Leases and checkpoints of the large blobs that workers copy to mirrors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from atoll.db.pool import Database
from atoll.mirroring.copying.copy_errors import LeaseLost
from atoll.names import Digest, RepositoryName

# A worker renews the lease while bytes move. It is longer than the time-out of a silent upstream.
LEASE_SECONDS = 120

_CLAIM = """
INSERT INTO mirrorblob (repository_id, digest, lease_token, lease_expires)
VALUES (%(repository_id)s, %(digest)s, %(token)s,
        clock_timestamp() + make_interval(secs => %(seconds)s))
ON CONFLICT (repository_id, digest) DO UPDATE
SET lease_token = EXCLUDED.lease_token, lease_expires = EXCLUDED.lease_expires
WHERE mirrorblob.lease_expires <= clock_timestamp()
RETURNING location, upload_id, received, hash_state, part_md5s
"""

_OWN = "repository_id = %(repository_id)s AND digest = %(digest)s AND lease_token = %(token)s"

_RENEW = f"""
UPDATE mirrorblob SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s)
WHERE {_OWN} RETURNING 1
"""

_SAVE = f"""
UPDATE mirrorblob
SET lease_expires = clock_timestamp() + make_interval(secs => %(seconds)s),
    changed_at = clock_timestamp(), location = %(location)s, upload_id = %(upload_id)s,
    received = %(received)s, hash_state = %(hash_state)s, part_md5s = %(part_md5s)s::text[]
WHERE {_OWN} RETURNING 1
"""

_RELEASE = f"UPDATE mirrorblob SET lease_expires = '-infinity' WHERE {_OWN}"

_DELETE = f"DELETE FROM mirrorblob WHERE {_OWN}"

_DELETE_ABANDONED = """
DELETE FROM mirrorblob
WHERE changed_at < clock_timestamp() - make_interval(secs => %(age)s)
  AND lease_expires < clock_timestamp()
"""


@dataclass(frozen=True)
class Checkpoint:
    """The bytes of a blob that were received so far.

    Attributes:
        location: The location of their parts; None if they were only hashed.
        upload_id: The multipart upload with their parts.
        received: Their number.
        hash_state: The state of their hash.
        part_md5s: The MD5 of each part, in hexadecimal.
    """

    location: str | None = None
    upload_id: str | None = None
    received: int = 0
    hash_state: bytes | None = None
    part_md5s: tuple[str, ...] = ()


@dataclass(frozen=True)
class Claim:
    """The lease of a blob in a repository, and where an earlier worker stopped."""

    repository_id: int
    digest: Digest
    token: UUID
    checkpoint: Checkpoint

    def parameters(self) -> dict[str, object]:
        """Return the parameters of statements for the row."""
        return {
            "repository_id": self.repository_id,
            "digest": str(self.digest),
            "token": self.token,
            "seconds": LEASE_SECONDS,
        }


class BlobRecords:
    """The rows of `mirrorblob`: one worker at a time copies a large blob to a repository."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, name: RepositoryName, digest: Digest) -> Claim | None:
        """Claim a blob; None while another worker copies it."""
        if name.id is None:
            raise ValueError("the repository must be bound to its id")
        claim = Claim(name.id, digest, uuid4(), Checkpoint())
        rows = self._database.run(_CLAIM, claim.parameters())
        if not rows:
            return None
        location, upload_id, received, state, md5s = rows[0]
        hash_state = None if state is None else bytes(state)
        checkpoint = Checkpoint(location, upload_id, received, hash_state, tuple(md5s))
        return Claim(name.id, digest, claim.token, checkpoint)

    def renew(self, claim: Claim) -> None:
        """Renew the lease.

        Raises:
            LeaseLost: Another worker has it.
        """
        self._require(self._database.run(_RENEW, claim.parameters()), claim)

    def save(self, claim: Claim, checkpoint: Checkpoint) -> None:
        """Store a checkpoint and renew the lease.

        Raises:
            LeaseLost: Another worker has it.
        """
        values = {**vars(checkpoint), "part_md5s": list(checkpoint.part_md5s)}
        self._require(self._database.run(_SAVE, {**claim.parameters(), **values}), claim)

    def release(self, claim: Claim) -> None:
        """End the lease, so that the next worker continues."""
        self._database.run(_RELEASE, claim.parameters())

    def delete(self, claim: Claim) -> None:
        """Delete the row of a blob that was placed."""
        self._database.run(_DELETE, claim.parameters())

    def delete_abandoned(self, age: timedelta) -> None:
        """Delete rows without a change for some time; their parts are deleted as abandoned ones."""
        self._database.run(_DELETE_ABANDONED, {"age": age.total_seconds()})

    @staticmethod
    def _require(rows: list[object], claim: Claim) -> None:
        if not rows:
            raise LeaseLost(f"another worker copies the blob {claim.digest}")
