"""The queue of images to scan: one row for each digest, which a worker holds with a lease.

The push of a manifest writes the row (`scan_requests`). A worker claims it, has the scanner index
the image and stores the outcome. Pushed images come first, then existing ones (`backfill`), then
those to index again because the state of the indexer changed.

An image that was scanned keeps its state and report if a later index of it fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from atoll.db import estimates
from atoll.db.leased_queue import Backoff, LeasedQueue, LeaseLost, unleased
from atoll.db.pool import Database
from atoll.names import Digest, RepositoryName
from atoll.scanning.scan_candidates import CLAIM_DUE, CLAIM_OUTDATED, SCANS
from atoll.scanning.scan_outcomes import (
    DEFER,
    NOT_SCANNED,
    RECOUNT,
    REQUEST_AGAIN,
    RETRY,
    SCANNED,
)
from atoll.scanning.scan_states import ScanState

LEASE_SECONDS = 60.0
# Claims that find only images to defer, before a worker waits for its next turn.
_ROUNDS = 8
_BACKOFF = Backoff(first=60.0, maximum=3600.0, jitter=0.25)
# Images of each state that are counted.
COUNTED_MAXIMUM = 100_000
# Characters of a reason that are stored.
_REASON_MAXIMUM = 1000

# Without the setting, the table is read once for each state if most images have the same one.
_FIGURES = f"""
{estimates.BY_INDEX}
SELECT (SELECT jsonb_object_agg(state, (
            SELECT count(*) FROM (SELECT FROM securityscan s WHERE s.index_status = state
                                  LIMIT {COUNTED_MAXIMUM}) AS counted))
        FROM unnest(%(states)s::int[]) AS state) AS numbers,
       (SELECT count(*) FROM securityscan WHERE lease_token IS NOT NULL
        AND lease_expires > statement_timestamp()) AS in_progress,
       (SELECT coalesce(extract(epoch FROM statement_timestamp() - min(oldest)), 0)::float
        FROM (VALUES (false), (true)) AS queue (is_backfill), LATERAL (
            SELECT s.available_at AS oldest FROM securityscan s
            WHERE s.is_backfill = queue.is_backfill AND s.available_at < 'infinity'
              AND s.available_at <= statement_timestamp()
              AND {unleased("s", "statement_timestamp()")}
            ORDER BY s.available_at, s.id LIMIT 1) AS first) AS oldest_seconds
"""


@dataclass(frozen=True)
class ScanClaim:
    """An image that is claimed for scanning.

    Attributes:
        id: The row of the queue.
        lease_token: The token of the lease.
        attempts: The number of claims since the last scan, including this one.
        digest: The manifest's digest.
        is_rescan: Whether the image was scanned before.
        failures: The attempts that failed with the last state of the indexer.
        media_type: The media type of the manifest.
        content: The manifest.
        repository: A repository that has the manifest, bound to its id.
    """

    id: int
    lease_token: UUID
    attempts: int
    digest: Digest
    is_rescan: bool
    failures: int
    media_type: str
    content: bytes
    repository: RepositoryName


@dataclass(frozen=True)
class QueueFigures:
    """The state of the queue.

    Attributes:
        numbers: The images in each state; at most COUNTED_MAXIMUM are counted. Images in progress
            also count for their earlier state.
        oldest_seconds: The time for which the oldest due image has been due; 0 without one.
    """

    numbers: Mapping[ScanState, int]
    oldest_seconds: float


class Scans:
    """Claims images to scan and stores the outcomes. All times are those of the database."""

    def __init__(
        self,
        database: Database,
        *,
        reindex_seconds: float,
        retries: int,
        lease_seconds: float = LEASE_SECONDS,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        """Provide the queue.

        Args:
            database: Where it is stored.
            reindex_seconds: SECURITY_SCANNER_V4_REINDEX_THRESHOLD.
            retries: SECURITY_SCANNER_MAX_SCAN_RETRIES, per state of the indexer.
            lease_seconds: How long a lease lasts unless it is renewed.
            backoff: The pauses after failures.
        """
        self._reindex_seconds = reindex_seconds
        self._retries = retries
        self._backoff = backoff
        self._database = database
        self._queue = LeasedQueue(database, SCANS, lease_seconds=lease_seconds, backoff=backoff)

    def claim(self, number: int, indexer_state: str | None = None) -> list[ScanClaim]:
        """Claim due images.

        Images without a complete manifest are deferred.

        Args:
            number: The most images to claim.
            indexer_state: The current state of the indexer; None to leave out images that were
                indexed with another one.
        """
        claims: list[ScanClaim] = []
        statements = [CLAIM_DUE] if indexer_state is None else [CLAIM_DUE, CLAIM_OUTDATED]
        for statement in statements:
            for _ in range(_ROUNDS):
                if len(claims) >= number:
                    return claims
                rows = self._queue.claim(
                    statement,
                    {
                        "limit": number - len(claims),
                        "indexer_state": indexer_state,
                        "threshold": self._reindex_seconds,
                    },
                )
                claims += [_claim(row) for row in rows if row["id"] is not None]
                if not rows:
                    break
        return claims

    def renew(self, claims: Sequence[ScanClaim]) -> set[UUID]:
        """Extend leases and return the tokens of those that are still held."""
        return self._queue.extend(claims)

    def scanned(
        self, claim: ScanClaim, indexer_state: str, counts: Mapping[str, object] | None
    ) -> None:
        """Record that an image was indexed.

        Args:
            claim: The image.
            indexer_state: The state of the indexer that made the report.
            counts: The vulnerabilities by severity; None if they are not known yet.

        Raises:
            LeaseLost: Another worker scans the image, or it was deleted.
        """
        values = {"indexer_state": indexer_state, "counts": _as_json(counts)}
        self._finish(claim, SCANNED, values)

    def retry(
        self, claim: ScanClaim, reason: str, indexer_state: str, delay: float | None = None
    ) -> None:
        """Record that the scanner failed on an image, which is scanned again later.

        After the permitted retries it waits for another state of the indexer.

        Args:
            claim: The image.
            reason: The reason, without secrets, for operators.
            indexer_state: The state of the indexer that failed.
            delay: Seconds to the next attempt; None for the pause of the back-off.

        Raises:
            LeaseLost: Another worker scans the image, or it was deleted.
        """
        values = {
            "error": stored_text(reason),
            "indexer_state": indexer_state,
            "retries": self._retries,
            "threshold": self._reindex_seconds,
            "wait": self._backoff.seconds(claim.failures + 1) if delay is None else delay,
        }
        self._finish(claim, RETRY, values)

    def postpone(self, claims: Sequence[ScanClaim]) -> None:
        """Release images that no scanner could be asked for; they can be claimed at once."""
        self._queue.give_back(claims)

    def defer(self, claim: ScanClaim, reason: str, seconds: float) -> None:
        """Release an image whose layers cannot be read now, which is no failure of its scan.

        Args:
            claim: The image.
            reason: The reason, without secrets, for operators.
            seconds: The time to the next attempt.

        Raises:
            LeaseLost: Another worker scans the image, or it was deleted.
        """
        self._finish(claim, DEFER, {"error": stored_text(reason), "wait": seconds})

    def unsupported(self, claim: ScanClaim, reason: str) -> None:
        """Record that a manifest is no image that can be scanned. Raises like `scanned`."""
        self._end(claim, ScanState.UNSUPPORTED, reason)

    def too_large(self, claim: ScanClaim, reason: str) -> None:
        """Record that a layer exceeds the maximum size. Raises like `scanned`."""
        self._end(claim, ScanState.LAYER_TOO_LARGE, reason)

    def record_counts(self, digest: str, counts: Mapping[str, object]) -> None:
        """Replace the vulnerabilities by severity of an image, after another report was read."""
        self._queue.run(RECOUNT, {"digest": digest, "counts": _as_json(counts)})

    def request_again(self, digests: Sequence[str]) -> set[str]:
        """Have images scanned again at once, whatever their state.

        Returns:
            Those that are known and are not being scanned.
        """
        return {row[0] for row in self._queue.run(REQUEST_AGAIN, {"digests": list(digests)})}

    def queue_figures(self) -> QueueFigures:
        """Return the figures of the queue, for metrics.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        stored = [int(state) for state in ScanState if state is not ScanState.IN_PROGRESS]
        row = self._database.read(_FIGURES, {"states": stored})[0]
        numbers = {ScanState(int(state)): number for state, number in row["numbers"].items()}
        numbers[ScanState.IN_PROGRESS] = row["in_progress"]
        return QueueFigures(numbers, row["oldest_seconds"])

    def _end(self, claim: ScanClaim, state: ScanState, reason: str) -> None:
        self._finish(claim, NOT_SCANNED, {"state": int(state), "error": stored_text(reason)})

    def _finish(self, claim: ScanClaim, statement: str, values: Mapping[str, object]) -> None:
        if not self._queue.finish(claim, statement, values):
            raise LeaseLost(f"the lease of the scan of {claim.digest}")


def _claim(row: Mapping[str, Any]) -> ScanClaim:
    return ScanClaim(
        row["id"],
        row["lease_token"],
        row["attempts"],
        Digest.parse(row["digest"]),
        row["index_status"] == ScanState.COMPLETED,
        row["failures"],
        row["media_type"],
        bytes(row["manifest_bytes"]),
        RepositoryName(row["username"], row["name"], row["repository_id"]),
    )


def _as_json(counts: Mapping[str, object] | None) -> str | None:
    return None if counts is None else json.dumps(counts)


def stored_text(reason: str) -> str:
    """Return a reason as the database can store it."""
    return reason[:_REASON_MAXIMUM].replace("\0", "")
