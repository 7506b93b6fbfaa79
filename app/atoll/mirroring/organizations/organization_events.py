"""Entries of the audit log about mirrors of organizations, in transactions of the caller.

Kinds are Quay's. Messages have the reference of the upstream and texts of `problems`, never bytes
that an upstream sent, except names of repositories, which were validated.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import psycopg2.extensions

from atoll.mirroring.organizations.records import OrganizationMirror

SYNC_STARTED, SYNC_SUCCESS, SYNC_FAILED = (
    "org_mirror_sync_started",
    "org_mirror_sync_success",
    "org_mirror_sync_failed",
)
REPO_CREATED, REPO_CREATION_FAILED = (
    "org_mirror_repo_created",
    "org_mirror_repo_creation_failed",
)

# Write an entry for each row of the common table `started`, with the columns organization, robot
# and reference.
LOG_STARTED = f"""
INSERT INTO logentry (kind, namespace, performer, metadata)
SELECT '{SYNC_STARTED}', organization, robot, jsonb_build_object('verb', 'start',
    'namespace', organization, 'message', reference, 'external_reference', reference)
FROM started
"""

_LOG = """
INSERT INTO logentry (kind, namespace, repository, performer, metadata)
SELECT %(kind)s, %(namespace)s, given.repository, %(robot)s, given.metadata
FROM unnest(%(repositories)s::text[], %(metadata)s::jsonb[]) AS given (repository, metadata)
"""


def log_outcome(
    cursor: psycopg2.extensions.cursor, mirror: OrganizationMirror, kind: str, message: str
) -> None:
    """Write how a discovery ended.

    Args:
        cursor: A cursor in a transaction.
        mirror: The mirror.
        kind: SYNC_SUCCESS or SYNC_FAILED.
        message: A text for people.
    """
    _write(cursor, mirror, kind, [None], [f"{mirror.reference}: {message}"])


def log_repositories(
    cursor: psycopg2.extensions.cursor,
    mirror: OrganizationMirror,
    created: Sequence[str],
    refused: Mapping[str, str],
) -> None:
    """Write which repositories were created, and which could not be.

    Args:
        cursor: A cursor in a transaction.
        mirror: The mirror.
        created: The names of created repositories.
        refused: The reasons by the names of others.
    """
    references = [f"{mirror.reference}/{name}" for name in created]
    _write(cursor, mirror, REPO_CREATED, created, references)
    messages = [f"{mirror.reference}/{name}: {text}" for name, text in refused.items()]
    _write(cursor, mirror, REPO_CREATION_FAILED, list(refused), messages)


def _write(
    cursor: psycopg2.extensions.cursor,
    mirror: OrganizationMirror,
    kind: str,
    repositories: Sequence[str | None],
    messages: Sequence[str],
) -> None:
    if not repositories:
        return
    entries = [
        json.dumps(
            {
                "verb": "finish",
                "namespace": mirror.organization,
                **({} if name is None else {"repo": name}),
                "message": message,
                "external_reference": mirror.reference,
            }
        )
        for name, message in zip(repositories, messages, strict=True)
    ]
    values = {
        "kind": kind,
        "namespace": mirror.organization,
        "robot": mirror.robot,
        "repositories": list(repositories),
        "metadata": entries,
    }
    cursor.execute(_LOG, values)
