"""The rules of where a blob must be and may be, as SQL conditions.

A repository requires the default locations (DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS) and those that
its own policy or its namespace's policy adds, except locations that either policy excludes. A blob
must be at each location that a repository that uses it requires. Unused blobs are required nowhere.
Without replication nothing is required.

Conditions refer to a row of `imagestoragelocation` by its alias and expect %(required)s, the array
of default locations.

These are not SQL functions, because a rule needs a single definition and functions cost more where
it matters. PostgreSQL 15 inlines only functions that return sets if the body has a FROM clause.
With such functions, the statements of a push took three times as long to plan (0.31 instead of
0.10 ms for `excluded_in`), and the condition `used` read 40 % more blocks in `atoll drain`.
"""

from __future__ import annotations

from atoll.db.pool import Database

# The repositories that use a blob: a manifest names it, including deleted manifests that can be
# restored, or it was uploaded or mounted recently.
_USES = """(
    SELECT mb.repository_id FROM manifestblob mb WHERE mb.blob_id = {blob}
    UNION ALL SELECT ub.repository_id FROM uploadedblob ub
    WHERE ub.blob_id = {blob} AND ub.expires_at > now())"""

_WITH_POLICIES = """repository r
    LEFT JOIN replicationpolicy np ON np.namespace_user_id = r.namespace_user_id
    LEFT JOIN replicationpolicy rp ON rp.repository_id = r.id"""

_NOT_EXCLUDED = """
    ({location}.name = ANY(np.excluded)) IS NOT TRUE
    AND ({location}.name = ANY(rp.excluded)) IS NOT TRUE"""

_REQUIRED = f"""
    {{location}}.state IN ('active', 'read-only') AND cardinality(%(required)s::text[]) > 0
    AND ({{location}}.name = ANY(%(required)s::text[])
         OR {{location}}.name = ANY(np.extra) OR {{location}}.name = ANY(rp.extra))
    AND {_NOT_EXCLUDED}"""


def used(blob: str) -> str:
    """Return the condition that a repository uses a blob.

    Args:
        blob: an SQL expression for the blob's id; likewise in the other functions.
    """
    return f"""(
    EXISTS (SELECT FROM manifestblob mb WHERE mb.blob_id = {blob})
    OR EXISTS (SELECT FROM uploadedblob ub
               WHERE ub.blob_id = {blob} AND ub.expires_at > now()))"""


def required_in(repository: str, location: str) -> str:
    """Return the condition that a repository requires a location.

    Args:
        repository: an SQL expression for the repository's id; likewise in the other functions.
        location: the alias of a row of `imagestoragelocation`; likewise in the other functions.
    """
    return f"""EXISTS (
    SELECT FROM {_WITH_POLICIES}
    WHERE r.id = {repository} AND {_REQUIRED.format(location=location)})"""


def required_of(blob: str, location: str) -> str:
    """Return the condition that a repository that uses a blob requires a location."""
    return f"""EXISTS (
    SELECT FROM {_USES.format(blob=blob)} AS uses JOIN {_WITH_POLICIES} ON r.id = uses.repository_id
    WHERE {_REQUIRED.format(location=location)})"""


def required_of_all(location: str) -> str:
    """Return the condition that every used blob must be at a location.

    It holds if the location is a default one that no policy excludes. It implies `required_of` and
    is the same for all blobs, so a statement about many blobs evaluates it once.
    """
    return f"""(
    {location}.state IN ('active', 'read-only') AND {location}.name = ANY(%(required)s::text[])
    AND NOT EXISTS (SELECT FROM replicationpolicy p WHERE {location}.name = ANY(p.excluded)))"""


def allowed_of(blob: str, location: str) -> str:
    """Return the condition that a repository that uses a blob does not exclude a location."""
    return f"""EXISTS (
    SELECT FROM {_USES.format(blob=blob)} AS uses JOIN {_WITH_POLICIES} ON r.id = uses.repository_id
    WHERE {_NOT_EXCLUDED.format(location=location)})"""


def possibly_required(location: str) -> str:
    """Return the cheap condition that a repository may require a location."""
    return f"""(
    {location}.state IN ('active', 'read-only') AND cardinality(%(required)s::text[]) > 0
    AND ({location}.name = ANY(%(required)s::text[])
         OR EXISTS (SELECT FROM replicationpolicy p WHERE {location}.name = ANY(p.extra))))"""


_TARGETS = f"SELECT l.name FROM imagestoragelocation l WHERE {possibly_required('l')} ORDER BY l.id"


def targets(database: Database, required: list[str]) -> list[str]:
    """Return the locations that repositories may require, default locations first.

    Args:
        database: where the policies are.
        required: the default locations.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    found = [row[0] for row in database.read(_TARGETS, {"required": required})]
    defaults = [name for name in required if name in found]
    return defaults + [name for name in found if name not in defaults]


def excluded_in(repository: str) -> str:
    """Return the expression for the names of the locations that a repository excludes."""
    return f"""(
    SELECT coalesce(np.excluded, ARRAY[]::text[]) || coalesce(rp.excluded, ARRAY[]::text[])
    FROM {_WITH_POLICIES} WHERE r.id = {repository})::text[]"""


def urgent_of(blob: str) -> str:
    """Return the condition that the tasks of a blob are urgent."""
    return f"""(EXISTS (SELECT FROM replicationpolicy p WHERE p.urgent) AND EXISTS (
    SELECT FROM {_USES.format(blob=blob)} AS uses JOIN {_WITH_POLICIES} ON r.id = uses.repository_id
    WHERE np.urgent OR rp.urgent))"""


def urgent_in(repository: str) -> str:
    """Return the condition that the tasks of a repository are urgent."""
    return f"""EXISTS (
    SELECT FROM {_WITH_POLICIES} WHERE r.id = {repository} AND (np.urgent OR rp.urgent))"""


def sync_requirement(repository: str) -> str:
    """Return the expression for the copies that a push to a repository waits for.

    Its value is an array of the number of locations where the blobs must be and the most seconds to
    wait, or null if pushes do not wait.
    """
    return f"""(
    SELECT CASE WHEN cardinality(%(required)s::text[]) > 0
                 AND coalesce(rp.sync_copies, np.sync_copies) IS NOT NULL
           THEN ARRAY[coalesce(rp.sync_copies, np.sync_copies),
                      coalesce(rp.sync_seconds, np.sync_seconds)] END
    FROM {_WITH_POLICIES} WHERE r.id = {repository})"""
