"""Replication policies of namespaces and repositories: additional and excluded locations.

`rules` defines their effect on blobs. Workers detect changes within seconds and apply them
(`PolicyWatch`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atoll.db.pool import Database
from atoll.errors import UserError
from atoll.placement.rules import allowed_of
from atoll.placement.upkeep.backfill import Reconciler
from atoll.storage.states import KEPT

_COLUMNS = "p.extra, p.excluded, p.urgent, p.sync_copies, p.sync_seconds"

# The policy of one namespace, first, and those of its repositories.
_OF_NAMESPACE = f"""
SELECT r.name, {_COLUMNS}
FROM "user" n JOIN repository r ON r.namespace_user_id = n.id
JOIN replicationpolicy p ON p.repository_id = r.id WHERE n.username = %(namespace)s
UNION ALL
SELECT NULL, {_COLUMNS}
FROM "user" n JOIN replicationpolicy p ON p.namespace_user_id = n.id
WHERE n.username = %(namespace)s ORDER BY 1 NULLS FIRST
"""

_ALL = f"""
SELECT n.username, r.name, {_COLUMNS}
FROM replicationpolicy p LEFT JOIN repository r ON r.id = p.repository_id
JOIN "user" n ON n.id = coalesce(p.namespace_user_id, r.namespace_user_id)
ORDER BY n.username, r.name NULLS FIRST
"""

_SUBJECT = """
SELECT n.id, r.id FROM "user" n
LEFT JOIN repository r ON r.namespace_user_id = n.id AND r.name = %(name)s
WHERE n.username = %(namespace)s AND n.robot_owner_id IS NULL
"""

_SET = """
INSERT INTO replicationpolicy
    ({column}, extra, excluded, urgent, sync_copies, sync_seconds)
VALUES (%(subject)s, %(extra)s::text[], %(excluded)s::text[], %(urgent)s, %(sync_copies)s,
        %(sync_seconds)s)
ON CONFLICT ({column}) DO UPDATE
SET extra = EXCLUDED.extra, excluded = EXCLUDED.excluded, urgent = EXCLUDED.urgent,
    sync_copies = EXCLUDED.sync_copies, sync_seconds = EXCLUDED.sync_seconds,
    changed_at = clock_timestamp()
"""

_CLEAR = "DELETE FROM replicationpolicy WHERE {column} = %(subject)s"

_LOCATIONS = "SELECT name FROM imagestoragelocation WHERE state = ANY(%(kept)s) ORDER BY name"

# A hash that changes with every visible change, in whatever order transactions commit.
_CONTENT = """
SELECT md5(coalesce(string_agg((p.*)::text, chr(10) ORDER BY p.id), '')) FROM replicationpolicy p
"""

# Blobs of a namespace or a repository at locations that it excludes, and how many of them another
# repository allows there.
_OVER_REPLICATED = f"""
WITH here AS (
    SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
    WHERE n.username = %(namespace)s AND (%(name)s::text IS NULL OR r.name = %(name)s)
), blobs AS (
    SELECT mb.blob_id AS id FROM manifestblob mb JOIN here ON here.id = mb.repository_id
    UNION SELECT ub.blob_id FROM uploadedblob ub JOIN here ON here.id = ub.repository_id
    WHERE ub.expires_at > now()
), placed AS MATERIALIZED (
    SELECT s.id, s.image_size, l.name FROM blobs JOIN imagestorage s ON s.id = blobs.id
    JOIN imagestorageplacement p ON p.storage_id = s.id
    JOIN imagestoragelocation l ON l.id = p.location_id
    WHERE l.name = ANY(%(excluded)s::text[])
)
SELECT name, count(*), sum(image_size)::bigint, count(*) FILTER (
    WHERE {allowed_of("placed.id", "placed")})
FROM placed GROUP BY name ORDER BY name
"""

SYNC_SECONDS, SYNC_SECONDS_MAXIMUM = 30, 50


class PolicyInvalid(UserError):
    """The policy is invalid; the message names the reason."""


class SubjectUnknown(UserError):
    """The namespace or repository does not exist."""


@dataclass(frozen=True)
class Policy:
    """The policy of a namespace or a repository.

    Attributes:
        extra: locations that are required in addition to the default ones.
        excluded: locations that are not allowed.
        urgent: whether its tasks are claimed first.
        sync_copies: number of locations where blobs must be before their manifest is accepted, None
            if pushes do not wait.
        sync_seconds: seconds after which such a push is refused.
    """

    extra: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    urgent: bool = False
    sync_copies: int | None = None
    sync_seconds: int | None = None


@dataclass(frozen=True)
class OverReplicatedCopies:
    """Blobs at a location that their policy excludes; `shared` are allowed there by others."""

    location: str
    blobs: int
    bytes: int
    shared: int


@dataclass(frozen=True)
class Subject:
    """The subject of a policy: a namespace or, with a name, one of its repositories."""

    namespace: str
    name: str | None = None

    def __str__(self) -> str:
        return self.namespace if self.name is None else f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Subject:
        """Parse NAMESPACE or NAMESPACE/REPOSITORY."""
        namespace, _, name = text.partition("/")
        return cls(namespace, name or None)


class Policies:
    """All policies.

    Args:
        database: where the policies are.
        required: the default locations; none without replication.
    """

    def __init__(self, database: Database, required: list[str]) -> None:
        self._database = database
        self._required = required

    def all(self) -> list[tuple[Subject, Policy]]:
        """Return every policy with its subject."""
        return [
            (Subject(namespace, name), _policy(*columns))
            for namespace, name, *columns in self._database.read(_ALL)
        ]

    def get(self, subject: Subject) -> Policy:
        """Return the subject's own policy, an empty one if it has none.

        Raises:
            SubjectUnknown: there is no such subject.
        """
        self._identify(subject)
        return self._of_namespace(subject).get(subject.name, Policy())

    def required(self, subject: Subject) -> list[str]:
        """Return the locations that the subject requires, by its own and its namespace's policy."""
        policies = self._of_namespace(subject)
        return self._effective(policies.get(None, Policy()), policies.get(subject.name, Policy()))

    def set(self, subject: Subject, policy: Policy) -> None:
        """Set the subject's policy.

        Raises:
            SubjectUnknown: there is no such subject.
            PolicyInvalid: the policy names unknown locations or leaves none.
        """
        column, identifier = self._identify(subject)
        self._check(subject, policy)
        self._database.run(
            _SET.format(column=column),
            {
                "subject": identifier,
                "extra": list(policy.extra),
                "excluded": list(policy.excluded),
                "urgent": policy.urgent,
                "sync_copies": policy.sync_copies,
                "sync_seconds": policy.sync_seconds,
            },
        )

    def clear(self, subject: Subject) -> None:
        """Delete the subject's policy, if it has one.

        Raises:
            SubjectUnknown: there is no such subject.
        """
        column, identifier = self._identify(subject)
        self._database.run(_CLEAR.format(column=column), {"subject": identifier})

    def over_replicated(self, subject: Subject) -> list[OverReplicatedCopies]:
        """Return the subject's over-replicated blobs, after examining all its blobs."""
        policies = self._of_namespace(subject)
        excluded = {
            location
            for one in (None, subject.name)
            for location in policies.get(one, Policy()).excluded
        }
        values = {
            "namespace": subject.namespace,
            "name": subject.name,
            "excluded": sorted(excluded),
        }
        return [OverReplicatedCopies(*row) for row in self._database.read(_OVER_REPLICATED, values)]

    def _identify(self, subject: Subject) -> tuple[str, int]:
        """Return the column that refers to the subject, and its id."""
        values = {"namespace": subject.namespace, "name": subject.name}
        rows = self._database.read(_SUBJECT, values)
        if not rows:
            raise SubjectUnknown(f"there is no namespace '{subject.namespace}'")
        namespace_id, repository_id = rows[0]
        if subject.name is None:
            return "namespace_user_id", namespace_id
        if repository_id is None:
            raise SubjectUnknown(f"there is no repository '{subject}'")
        return "repository_id", repository_id

    def _of_namespace(self, subject: Subject) -> dict[str | None, Policy]:
        """Return the policies of repositories by name, and the namespace's policy for None."""
        rows = self._database.read(_OF_NAMESPACE, {"namespace": subject.namespace})
        return {name: _policy(*columns) for name, *columns in rows}

    def _check(self, subject: Subject, policy: Policy) -> None:
        """Raise PolicyInvalid if a policy names unknown locations or leaves none."""
        kept = self._kept()
        for name in (*policy.extra, *policy.excluded):
            if name not in kept:
                raise PolicyInvalid(
                    f"location '{name}' is unknown or not in use; choose from: {', '.join(kept)}"
                )
        if both := sorted({*policy.extra} & {*policy.excluded}):
            raise PolicyInvalid(f"'{both[0]}' cannot be both an extra location and excluded")
        if not self._required and (policy.extra or policy.sync_copies):
            raise PolicyInvalid(
                "FEATURE_STORAGE_REPLICATION is not true in the bundle: nothing can be copied to"
                " another location"
            )
        policies = {**self._of_namespace(subject), subject.name: policy}
        for one in policies.keys() | {None}:
            self._check_effect(Subject(subject.namespace, one), policies)

    def _check_effect(self, subject: Subject, policies: dict[str | None, Policy]) -> None:
        of_namespace, own = policies.get(None, Policy()), policies.get(subject.name, Policy())
        required = self._effective(of_namespace, own)
        if not required:
            raise PolicyInvalid(f"no location would be left for the blobs of '{subject}'")
        copies = own.sync_copies or of_namespace.sync_copies
        if copies is not None and copies > len(required):
            raise PolicyInvalid(
                f"the blobs of '{subject}' would be at {len(required)} locations"
                f" ({', '.join(required)}), so no push could wait for {copies}"
            )

    def _kept(self) -> list[str]:
        return [row[0] for row in self._database.read(_LOCATIONS, {"kept": list(KEPT)})]

    def _effective(self, of_namespace: Policy, own: Policy) -> list[str]:
        """Return the required locations; without replication, those that are not excluded."""
        kept = self._kept()
        wanted = {*self._required, *of_namespace.extra, *own.extra} if self._required else {*kept}
        return [name for name in kept if name in wanted - {*of_namespace.excluded, *own.excluded}]


class PolicyWatch:
    """Creates and removes tasks of all blobs whenever the content of any policy changed."""

    def __init__(self, database: Database, reconciler: Reconciler) -> None:
        self._database = database
        self._reconciler = reconciler
        self._seen: str | None = None

    def apply_changes(self) -> int:
        """Reconcile all blobs at the first call and after a change of policies.

        Returns:
            The number of created tasks.
        """
        # Read before the blobs, so that the next call finds a change made meanwhile.
        content = str(self._database.read(_CONTENT)[0][0])
        if content == self._seen:
            return 0
        made = self._reconciler.everything()
        self._seen = content
        return made


def _policy(extra: list[str], excluded: list[str], *others: Any) -> Policy:
    return Policy(tuple(extra), tuple(excluded), *others)
