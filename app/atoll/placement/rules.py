"""Where a blob must be: the one definition, for every statement that asks.

A repository requires the default locations (DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS) and those that
its own policy or its namespace's adds, without those that either excludes: excluding wins. A blob
must be wherever a repository that uses it requires it; what nobody uses must be nowhere. Without
replication nothing is required.

The conditions are about a row of `imagestoragelocation`, by its alias, and expect %(required)s, the
default locations as an array.
"""

from __future__ import annotations

from atoll.db.pool import Database

# A blob is used where it was uploaded or mounted a short time ago, and where a manifest names it;
# also a deleted manifest, as long as it can be restored.
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
    """Return the condition that some repository uses the blob with the id BLOB."""
    return f"""(
    EXISTS (SELECT FROM manifestblob mb WHERE mb.blob_id = {blob})
    OR EXISTS (SELECT FROM uploadedblob ub
               WHERE ub.blob_id = {blob} AND ub.expires_at > now()))"""


def required_in(repository: str, location: str) -> str:
    """Return the condition that the repository with the id REPOSITORY requires LOCATION."""
    return f"""EXISTS (
    SELECT FROM {_WITH_POLICIES}
    WHERE r.id = {repository} AND {_REQUIRED.format(location=location)})"""


def required_of(blob: str, location: str) -> str:
    """Return the condition that the blob with the id BLOB must be at LOCATION."""
    return f"""EXISTS (
    SELECT FROM {_USES.format(blob=blob)} AS uses JOIN {_WITH_POLICIES} ON r.id = uses.repository_id
    WHERE {_REQUIRED.format(location=location)})"""


def required_of_all(location: str) -> str:
    """Return the condition that every blob that is used must be at LOCATION: no policy says else.

    It follows from `required_of`, and is the same for all blobs, so that a statement about many
    asks it once.
    """
    return f"""(
    {location}.state IN ('active', 'read-only') AND {location}.name = ANY(%(required)s::text[])
    AND NOT EXISTS (SELECT FROM replicationpolicy p WHERE {location}.name = ANY(p.excluded)))"""


def allowed_of(blob: str, location: str) -> str:
    """Return the condition that a repository that uses BLOB does not exclude LOCATION."""
    return f"""EXISTS (
    SELECT FROM {_USES.format(blob=blob)} AS uses JOIN {_WITH_POLICIES} ON r.id = uses.repository_id
    WHERE {_NOT_EXCLUDED.format(location=location)})"""


def perhaps_required(location: str) -> str:
    """Return the condition that any repository at all can require LOCATION; cheap."""
    return f"""(
    {location}.state IN ('active', 'read-only') AND cardinality(%(required)s::text[]) > 0
    AND ({location}.name = ANY(%(required)s::text[])
         OR EXISTS (SELECT FROM replicationpolicy p WHERE {location}.name = ANY(p.extra))))"""


_TARGETS = f"SELECT l.name FROM imagestoragelocation l WHERE {perhaps_required('l')} ORDER BY l.id"


def targets(database: Database, required: list[str]) -> list[str]:
    """Return every location where some blob may have to be, now; those of REQUIRED first.

    REQUIRED are the default locations. Raises DatabaseUnavailable.
    """
    found = [row[0] for row in database.read(_TARGETS, {"required": required})]
    defaults = [name for name in required if name in found]
    return defaults + [name for name in found if name not in defaults]


def excluded_in(repository: str) -> str:
    """Return the expression for the names of all that REPOSITORY, an id, excludes."""
    return f"""(
    SELECT coalesce(np.excluded, ARRAY[]::text[]) || coalesce(rp.excluded, ARRAY[]::text[])
    FROM {_WITH_POLICIES} WHERE r.id = {repository})::text[]"""


def urgent_of(blob: str) -> str:
    """Return the condition that a repository that uses BLOB has its tasks go first."""
    return f"""(EXISTS (SELECT FROM replicationpolicy p WHERE p.urgent) AND EXISTS (
    SELECT FROM {_USES.format(blob=blob)} AS uses JOIN {_WITH_POLICIES} ON r.id = uses.repository_id
    WHERE np.urgent OR rp.urgent))"""


def urgent_in(repository: str) -> str:
    """Return the condition that the tasks of REPOSITORY, an id, go first."""
    return f"""EXISTS (
    SELECT FROM {_WITH_POLICIES} WHERE r.id = {repository} AND (np.urgent OR rp.urgent))"""


def waits_for(repository: str) -> str:
    """Return the expression for what a manifest pushed to REPOSITORY, an id, waits for.

    An array: at how many locations its blobs must be, and for how many seconds at most; or null.
    """
    return f"""(
    SELECT CASE WHEN cardinality(%(required)s::text[]) > 0
                 AND coalesce(rp.sync_copies, np.sync_copies) IS NOT NULL
           THEN ARRAY[coalesce(rp.sync_copies, np.sync_copies),
                      coalesce(rp.sync_seconds, np.sync_seconds)] END
    FROM {_WITH_POLICIES} WHERE r.id = {repository})"""
