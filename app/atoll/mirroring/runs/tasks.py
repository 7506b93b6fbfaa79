"""The tags that runs of mirrors copy, claimed by the workers of all sites.

A task is claimed with a lease. Every later write names its token, so a worker that lost its lease
changes nothing. The row is deleted when its tag was switched; it remains as `failed`, or as
`copied` if all tags change together, until the run ends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

import psycopg2.extensions

from atoll.db.leased_queue import (
    SET_LEASE,
    Backoff,
    LeasedQueue,
    LeasedTable,
    LeaseLost,
    unleased,
)
from atoll.db.pool import Database
from atoll.db.transient import retry_conflicts
from atoll.mirroring.events import MirrorEvents
from atoll.mirroring.outcome import RETRIES, RETRY_SECONDS, retry_seconds, stored_text
from atoll.mirroring.rules.tag_rules import split_patterns
from atoll.names import RepositoryName

LEASE_SECONDS = 60.0

_TABLE = LeasedTable("mirrortask")

# Claim a task of the run after the one that had the last turn. Only runs in progress are read, and
# of each one the first task that is due. statement_timestamp() is stable, unlike clock_timestamp(),
# so that the index bounds the scan and postponed tasks are not read.
_CLAIM = f"""
WITH next AS (
    SELECT task.id FROM repomirrorconfig m
    CROSS JOIN LATERAL (
        SELECT t.id FROM mirrortask t
        WHERE t.run_id = m.run_id AND t.state = 'pending'
          AND t.available_at <= statement_timestamp() AND {unleased("t", "statement_timestamp()")}
        ORDER BY t.available_at, t.id LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS task
    WHERE m.run_id > %(after)s AND m.is_planned AND m.cancel_requested_at IS NULL
      AND m.run_id <> ALL(%(busy)s::bigint[])
    ORDER BY m.run_id LIMIT 1
), claimed AS (
    UPDATE mirrortask q SET {SET_LEASE} FROM next WHERE q.id = next.id RETURNING q.*
)
SELECT m.*, claimed.id AS task_id, claimed.lease_token AS task_token,
       claimed.attempts AS task_attempts, claimed.failures, claimed.tag, claimed.digest,
       n.username AS namespace, r.name AS repository, robot.username AS robot
FROM claimed JOIN repomirrorconfig m ON m.run_id = claimed.run_id
JOIN repository r ON r.id = m.repository_id
JOIN "user" n ON n.id = r.namespace_user_id
JOIN "user" robot ON robot.id = m.internal_robot_id
"""

_LOCK = f"SELECT digest FROM mirrortask WHERE {_TABLE.is_held} AND state = 'pending' FOR UPDATE"

_COPIED = """
WITH counted AS (
    UPDATE mirrorrun SET tags_copied = tags_copied + %(copied)s,
        bytes_copied = bytes_copied + %(bytes_copied)s,
        bytes_present = bytes_present + %(bytes_present)s
    WHERE id = %(run_id)s
)
INSERT INTO mirrortag (mirror_id, tag, upstream_digest, checked_at)
VALUES (%(mirror_id)s, %(tag)s, %(digest)s, clock_timestamp())
ON CONFLICT (mirror_id, tag) DO UPDATE
SET upstream_digest = EXCLUDED.upstream_digest, checked_at = EXCLUDED.checked_at, last_error = NULL
"""

_WAIT_FOR_OTHERS = f"""
UPDATE mirrortask SET state = 'copied', lease_token = NULL, lease_expires = NULL,
    bytes_copied = %(bytes_copied)s, attached = %(attached)s
WHERE {_TABLE.is_held}
"""

_FAILED = f"""
WITH failed AS (
    UPDATE mirrortask SET state = 'failed', lease_token = NULL, lease_expires = NULL,
        failures = failures + 1, reason = %(reason)s, last_error = %(error)s
    WHERE {_TABLE.is_held} AND state = 'pending' RETURNING run_id
), counted AS (
    UPDATE mirrorrun SET tags_failed = tags_failed + 1 FROM failed WHERE mirrorrun.id = run_id
)
SELECT run_id FROM failed
"""

_RETRY = f"""
UPDATE mirrortask SET lease_token = NULL, lease_expires = NULL, failures = failures + 1,
    reason = %(reason)s, last_error = %(error)s,
    available_at = clock_timestamp() + make_interval(secs => %(wait)s)
WHERE {_TABLE.is_held} AND state = 'pending' RETURNING run_id
"""

# Postpone a task, and those of its run that nobody works on: they have the same upstream.
_POSTPONE = f"""
WITH ours AS (
    UPDATE mirrortask SET lease_token = NULL, lease_expires = NULL, attempts = attempts - 1,
        last_error = %(error)s,
        available_at = clock_timestamp() + make_interval(secs => %(wait)s)
    WHERE {_TABLE.is_held} AND state = 'pending' RETURNING run_id, id
), idle AS (
    SELECT t.id FROM mirrortask t, ours
    WHERE t.run_id = ours.run_id AND t.id <> ours.id AND t.state = 'pending'
      AND {unleased("t")}
      AND t.available_at < clock_timestamp() + make_interval(secs => %(wait)s)
    ORDER BY t.id FOR UPDATE OF t SKIP LOCKED
), others AS (
    UPDATE mirrortask t SET
        available_at = clock_timestamp() + make_interval(secs => %(wait)s)
    FROM idle WHERE t.id = idle.id
)
SELECT run_id FROM ours
"""

# Fail the tasks of a run that nobody works on.
_FAIL_OTHERS = f"""
WITH idle AS (
    SELECT t.id FROM mirrortask t
    WHERE t.run_id = %(run_id)s AND t.state = 'pending' AND {unleased("t")}
    ORDER BY t.id FOR UPDATE OF t SKIP LOCKED
), failed AS (
    UPDATE mirrortask t SET state = 'failed', reason = %(reason)s, last_error = %(error)s,
        lease_token = NULL, lease_expires = NULL
    FROM idle WHERE t.id = idle.id RETURNING t.id
)
UPDATE mirrorrun SET tags_failed = tags_failed + (SELECT count(*) FROM failed)
WHERE id = %(run_id)s
"""

_PROGRESS = """
UPDATE mirrortask t SET bytes_copied = given.bytes
FROM unnest(%(tokens)s::uuid[], %(bytes)s::bigint[]) AS given (token, bytes)
WHERE t.lease_token = given.token AND t.id = ANY(%(ids)s::bigint[])
"""

_HELD = f"""
WITH {_TABLE.held}
SELECT q.lease_token FROM held JOIN mirrortask q ON q.id = held.id AND q.lease_token = held.token
JOIN repomirrorconfig m ON m.run_id = q.run_id AND m.cancel_requested_at IS NULL
"""


@dataclass(frozen=True, eq=False)
class Task:
    """A claimed task: a tag that is to be copied.

    Attributes:
        id: Its key.
        lease_token: The token of its lease.
        attempts: The number of claims.
        failures: The number of failed attempts.
        lost_claims: The number of earlier claims whose lease expired, because their process died or
            lost the database.
        run_id: The run.
        mirror_id: The mirror.
        tag: The tag.
        digest: The digest that the tag had at the upstream.
        repository: The repository of the mirror, bound to its id.
        robot: The robot in whose name the tag changes.
        row: The row of `repomirrorconfig`, for `MirrorSettings.from_row`.
    """

    id: int
    lease_token: UUID
    attempts: int
    failures: int
    lost_claims: int
    run_id: int
    mirror_id: int
    tag: str
    digest: str
    repository: RepositoryName
    robot: str
    row: Mapping[str, Any]


class SwitchTags(Protocol):
    """Changes tags of a mirror, as TagSwitch does."""

    def switch_in(
        self,
        cursor: psycopg2.extensions.cursor,
        name: RepositoryName,
        tags: Mapping[str, str],
        robot: str,
    ) -> list[str]:
        """Point tags to manifests, in a transaction of the caller."""

    def end_in(
        self,
        cursor: psycopg2.extensions.cursor,
        name: RepositoryName,
        tags: Mapping[str, int],
        robot: str,
    ) -> list[str]:
        """End tags whose rows have these keys, in a transaction of the caller."""


class Tasks:
    """Claims, completes and releases tasks."""

    def __init__(
        self, database: Database, switch: SwitchTags, *, lease_seconds: float = LEASE_SECONDS
    ) -> None:
        """Provide the tasks of all runs.

        Args:
            database: Where they are stored.
            switch: Changes tags.
            lease_seconds: How long a lease lasts unless it is extended.
        """
        self._database = database
        self._switch = switch
        self._queue = LeasedQueue(
            database,
            _TABLE,
            lease_seconds=lease_seconds,
            backoff=Backoff(RETRY_SECONDS[0], RETRY_SECONDS[-1]),
        )

    def claim(self, after: int | None, busy: Sequence[int]) -> tuple[int, Task] | None:
        """Claim a task; runs take turns.

        Args:
            after: The run that had the last turn; None to start with the oldest one.
            busy: Runs to skip.

        Returns:
            The run and the task; None if there is none after that run.
        """
        rows = self._queue.claim(_CLAIM, {"after": after or 0, "busy": list(busy)})
        if not rows:
            return None
        task = _task(rows[0])
        return task.run_id, task

    def extend(self, tasks: Sequence[Task]) -> None:
        """Extend the leases of tasks."""
        self._queue.extend(tasks)

    def held(self, tasks: Sequence[Task]) -> set[UUID]:
        """Return the tokens of the tasks whose leases are held and whose runs are not cancelled."""
        values = {"ids": [one.id for one in tasks], "tokens": [one.lease_token for one in tasks]}
        return {row[0] for row in self._queue.run(_HELD, values)}

    def give_back(self, tasks: Sequence[Task]) -> None:
        """Release tasks that were not completed; they can be claimed at once."""
        self._queue.give_back(tasks)

    def progress(self, received: Mapping[Task, int]) -> None:
        """Record the bytes that were received for tasks."""
        tasks = sorted(received, key=lambda task: task.id)
        values = {
            "ids": [one.id for one in tasks],
            "tokens": [one.lease_token for one in tasks],
            "bytes": [received[one] for one in tasks],
        }
        self._queue.run(_PROGRESS, values)

    def complete(
        self,
        task: Task,
        attached: Mapping[str, str],
        *,
        together: bool,
        bytes_copied: int = 0,
        bytes_present: int = 0,
    ) -> None:
        """Switch the tag of a copied image or, if all tags change together, record the copy.

        Args:
            task: The task.
            attached: Tags that belong to the image by their names, with their digests.
            together: Whether the tag changes at the end of the run.
            bytes_copied: The bytes that were fetched.
            bytes_present: The bytes that did not have to be fetched.

        Raises:
            LeaseLost: Another worker has the task, or the run ended.
            CopyError: The tag could not be switched.
        """

        def transaction() -> None:
            with self._database.transaction() as cursor:
                cursor.execute(_LOCK, _key(task))
                if cursor.fetchone() is None:
                    raise _lost(task)
                if together:
                    cursor.execute(_WAIT_FOR_OTHERS, values)
                else:
                    tags = {**attached, task.tag: task.digest}
                    self._switch.switch_in(cursor, task.repository, tags, task.robot)
                    cursor.execute(_TABLE.delete, values)
                    _events(task).tag_succeeded(cursor, task.tag)
                cursor.execute(_COPIED, values)

        values = {
            **_key(task),
            "run_id": task.run_id,
            "mirror_id": task.mirror_id,
            "tag": task.tag,
            "digest": task.digest,
            "attached": json.dumps(dict(attached)),
            "copied": 0 if together else 1,
            "bytes_copied": bytes_copied,
            "bytes_present": bytes_present,
        }
        retry_conflicts(transaction)

    def fail(self, task: Task, reason: str, error: str, *, is_temporary: bool) -> bool:
        """Record that an attempt failed.

        Args:
            task: The task.
            reason: The code of the failure.
            error: A text for people.
            is_temporary: Whether a later attempt may succeed.

        Returns:
            Whether the tag failed for good.

        Raises:
            LeaseLost: Another worker has the task, or the run ended.
        """
        values: dict[str, object] = {"reason": reason, "error": stored_text(error)}
        failures = task.failures + 1
        is_final = not is_temporary or failures > RETRIES
        if not is_final:
            values["wait"] = retry_seconds(failures)
        if not self._queue.finish(task, _FAILED if is_final else _RETRY, values):
            raise _lost(task)
        return is_final

    def fail_others(self, task: Task, reason: str, error: str) -> None:
        """Fail all tasks of the run that nobody works on, for a cause that they share."""
        values = {"run_id": task.run_id, "reason": reason, "error": stored_text(error)}
        self._queue.run(_FAIL_OTHERS, values)

    def postpone(self, task: Task, seconds: float, error: str) -> None:
        """Release a task whose upstream asked for a pause; this does not count as a failure.

        The other tasks of the run wait as well.

        Raises:
            LeaseLost: Another worker has the task, or the run ended.
        """
        values = {"wait": seconds, "error": stored_text(error)}
        if not self._queue.finish(task, _POSTPONE, values):
            raise _lost(task)


def _task(row: Mapping[str, Any]) -> Task:
    values = dict(row)
    return Task(
        values["task_id"],
        values["task_token"],
        values["task_attempts"],
        values["failures"],
        values["task_attempts"] - 1 - values["failures"],
        values["run_id"],
        values["id"],
        values["tag"],
        values["digest"],
        RepositoryName(values["namespace"], values["repository"], values["repository_id"]),
        values["robot"],
        values,
    )


def _events(task: Task) -> MirrorEvents:
    patterns = split_patterns(task.row["root_rule"]["rule_value"])
    return MirrorEvents(task.repository, task.robot, task.row["external_reference"], patterns)


def _key(task: Task) -> dict[str, object]:
    return {"id": task.id, "token": task.lease_token}


def _lost(task: Task) -> LeaseLost:
    return LeaseLost(f"the lease of the tag '{task.tag}' of '{task.repository}'")
