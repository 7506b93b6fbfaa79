"""Record events of mirrors: entries of the audit log, and notifications of subscribers.

All functions write in a transaction of the caller, so that an event is recorded if and only if the
change of state that caused it is. Names are Quay's. Messages contain the reference of the upstream
and texts of `problems`, never bytes that an upstream sent.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import psycopg2.extensions

from atoll.mirroring.mirror_records import Mirror
from atoll.mirroring.problems import CANCELLED, problem_text
from atoll.names import RepositoryName
from atoll.notifications.events import (
    REPO_MIRROR_SYNC_FAILED,
    REPO_MIRROR_SYNC_STARTED,
    REPO_MIRROR_SYNC_SUCCESS,
    Event,
)
from atoll.notifications.subscriptions import ENQUEUE_NOTIFICATIONS

TAG_SUCCESS, TAG_FAILED = "repo_mirror_sync_tag_success", "repo_mirror_sync_tag_failed"

# An entry names this number of tags and patterns at most.
_NAMED_MAXIMUM = 50

_LOG = """
INSERT INTO logentry (kind, namespace, repository, performer, metadata)
SELECT %(event)s, %(namespace)s, %(name)s, %(robot)s, metadata
FROM unnest(%(entries)s::jsonb[]) AS metadata
"""


@dataclass(frozen=True)
class MirrorEvents:
    """Records the events of one mirror.

    Attributes:
        repository: The repository, bound to its id.
        robot: The robot of the mirror, which is the performer of log entries.
        reference: The reference of the upstream.
        patterns: The patterns of tags to include.
    """

    repository: RepositoryName
    robot: str
    reference: str
    patterns: Sequence[str]

    @classmethod
    def of(cls, mirror: Mirror) -> MirrorEvents:
        """Return the recorder for a mirror."""
        return cls(
            mirror.repository, mirror.robot, mirror.row["external_reference"], mirror.patterns
        )

    def started(self, cursor: psycopg2.extensions.cursor) -> None:
        """Record that a run started."""
        self._run(cursor, REPO_MIRROR_SYNC_STARTED, "start", self._source)

    def succeeded(self, cursor: psycopg2.extensions.cursor, tags: Collection[str] = ()) -> None:
        """Record that a run succeeded.

        Args:
            cursor: A cursor in a transaction.
            tags: The tags that it copied.
        """
        self._run(cursor, REPO_MIRROR_SYNC_SUCCESS, "end", self._source, tags)

    def failed(
        self, cursor: psycopg2.extensions.cursor, code: str, tags: Collection[str] = ()
    ) -> None:
        """Record that a run failed; see also `cancelled`.

        Args:
            cursor: A cursor in a transaction.
            code: The `code` of the failure.
            tags: The tags that failed.
        """
        message = f"{self._source}: {problem_text(code)}"
        self._run(cursor, REPO_MIRROR_SYNC_FAILED, "end", message, tags)

    def cancelled(self, cursor: psycopg2.extensions.cursor) -> None:
        """Record that a run was cancelled, which is a failure in Quay's events."""
        message = f"{self._source}: {problem_text(CANCELLED)}"
        self._run(cursor, REPO_MIRROR_SYNC_FAILED, "cancelled", message)

    def tags_succeeded(self, cursor: psycopg2.extensions.cursor, tags: Collection[str]) -> None:
        """Record that tags were copied and switched."""
        self._tags(cursor, TAG_SUCCESS, tags, "copied")

    def tag_succeeded(self, cursor: psycopg2.extensions.cursor, tag: str) -> None:
        """Record that a tag was copied and switched."""
        self.tags_succeeded(cursor, [tag])

    def tag_failed(self, cursor: psycopg2.extensions.cursor, tag: str, code: str) -> None:
        """Record that a tag could not be copied.

        Args:
            cursor: A cursor in a transaction.
            tag: The tag.
            code: The `code` of the failure.
        """
        self._tags(cursor, TAG_FAILED, [tag], problem_text(code))

    @property
    def _source(self) -> str:
        """The upstream and the selected tags."""
        return f"{self.reference}, tags {_joined(self.patterns)}"

    def _run(
        self,
        cursor: psycopg2.extensions.cursor,
        event: Event,
        verb: str,
        message: str,
        tags: Collection[str] = (),
    ) -> None:
        """Write a log entry and the deliveries to subscribers, in one round trip."""
        entry = self._entry(verb, message, tags=_joined(tags))
        values = {
            **self._values(event.name, [entry]),
            "repository_id": self.repository.id,
            "event_data": json.dumps({"message": message}),
        }
        cursor.execute(f"{_LOG}; {ENQUEUE_NOTIFICATIONS}", values)

    def _tags(
        self, cursor: psycopg2.extensions.cursor, kind: str, tags: Collection[str], outcome: str
    ) -> None:
        """Write a log entry for each tag."""
        entries = [
            self._entry("finish", f"{self.reference}:{tag}: {outcome}", tag=tag) for tag in tags
        ]
        if entries:
            cursor.execute(_LOG, self._values(kind, entries))

    def _entry(self, verb: str, message: str, **fields: str) -> str:
        """Return the metadata of a log entry."""
        return json.dumps(
            {
                "verb": verb,
                "namespace": self.repository.namespace,
                "repo": self.repository.name,
                "message": message,
                **fields,
            }
        )

    def _values(self, kind: str, entries: list[str]) -> dict[str, object]:
        if self.repository.id is None:
            raise ValueError("the repository must be bound to its id")
        return {
            "event": kind,
            "namespace": self.repository.namespace,
            "name": self.repository.name,
            "robot": self.robot,
            "entries": entries,
        }


def _joined(names: Collection[str]) -> str:
    """Return names as a text of limited length."""
    named = ", ".join(list(names)[:_NAMED_MAXIMUM])
    others = len(names) - _NAMED_MAXIMUM
    return f"{named} and {others} more" if others > 0 else named
