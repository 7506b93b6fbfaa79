"""Plans of statements as PostgreSQL makes them for tables of ten million rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from atoll.db.pool import Database

TEN_MILLION = 10_000_000
# Rows that a statement may read from a large table without a LIMIT: a range, or a batch.
READ_MAXIMUM = 250_000
# Tables with a row for each blob, manifest, tag, pull, token, upload or task.
LARGE = (
    "appspecifictoken",
    "blobupload",
    "contentdeletion",
    "imagestorage",
    "imagestorageplacement",
    "lagpeak",
    "lagsample",
    "logentry",
    "manifest",
    "manifestabsent",
    "manifestblob",
    "manifestchild",
    "manifestlabel",
    "manifestpullstatistics",
    "notificationdelivery",
    "oauthaccesstoken",
    "objectdeletion",
    "replicationtask",
    "tag",
    "tagpullstatistics",
    "uploadedblob",
    "verification",
    "verificationfinding",
)

_MORE_ROWS = (
    """INSERT INTO objectdeletion (storage_id, location_id, available_at)
    SELECT id, (SELECT min(id) FROM imagestoragelocation), now() + interval '1 hour'
    FROM imagestorage""",
    """INSERT INTO replicationtask (storage_id, location_id, available_at, last_error)
    SELECT id, (SELECT max(id) FROM imagestoragelocation), now() + interval '1 hour',
           CASE WHEN random() < 0.01 THEN 'error' END
    FROM imagestorage""",
    """INSERT INTO uploadedblob (repository_id, blob_id, expires_at)
    SELECT (SELECT min(id) FROM repository), id, now() + interval '1 hour' * random()
    FROM imagestorage WHERE random() < 0.2""",
    """INSERT INTO manifestchild (manifest_id, child_manifest_id)
    SELECT id, id FROM manifest WHERE random() < 0.3""",
    """INSERT INTO manifestabsent (manifest_id, digest, kind, repository_id)
    SELECT id, 'sha256:' || id, 'manifest', repository_id FROM manifest WHERE random() < 0.3""",
    """INSERT INTO repositorynotification (repository_id, event, method, config, title)
    SELECT id, 'repo_push', 'webhook', '{}', 'title' FROM repository""",
    """INSERT INTO notificationdelivery (notification_id, event_data, available_at)
    SELECT n.id, '{}', now() + interval '1 hour' FROM repositorynotification n,
    generate_series(1, 20)""",
    *(
        f"INSERT INTO {table} (location_id, at, blobs, bytes, seconds)"
        " SELECT l.id, now() - interval '31 seconds' * n, 1, 1, 1"
        " FROM imagestoragelocation l, generate_series(1, 5000) n"
        " ON CONFLICT (location_id, at) DO NOTHING"
        for table in ("lagpeak", "lagsample")
    ),
    """UPDATE imagestorage SET tombstone_at = now() WHERE random() < 0.01""",
    """UPDATE manifest SET deleted_at = now() WHERE random() < 0.01""",
)

# The planner multiplies a table's pages by the row density of the last ANALYZE. A higher density
# makes it plan for a table of ten million rows.
_GROW = """
UPDATE pg_class SET reltuples = reltuples * %(rows)s / greatest((
    SELECT t.reltuples FROM pg_class t LEFT JOIN pg_index i ON i.indrelid = t.oid
    WHERE t.oid = pg_class.oid OR i.indexrelid = pg_class.oid LIMIT 1), 1)
WHERE oid IN (SELECT oid FROM pg_class WHERE relname = ANY(%(tables)s) AND reltuples > 0
              UNION SELECT i.indexrelid FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
              WHERE t.relname = ANY(%(tables)s) AND t.reltuples > 0)
"""


def pretend_large(database: Database) -> None:
    """Make the planner assume that each large table has ten million rows."""
    for statement in _MORE_ROWS:
        database.run(statement)
    for table in LARGE:
        database.run(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    database.run("ANALYZE")
    database.run(_GROW, {"rows": TEN_MILLION, "tables": list(LARGE)})


def nodes(plan: dict[str, Any], limited: bool = False) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield each node of a plan, and whether a LIMIT bounds the rows that are read from it."""
    limited = limited or plan["Node Type"] == "Limit"
    yield plan, limited
    # A sort or an aggregate reads all of its input despite a LIMIT.
    reads_all = plan["Node Type"] in {"Sort", "Aggregate", "Hash", "ModifyTable"}
    for child in plan.get("Plans", ()):
        yield from nodes(child, limited and not reads_all)


def problem(node: dict[str, Any], limited: bool) -> str | None:
    """Return the problem of a scan of a large table, or None."""
    if node.get("Relation Name") not in LARGE or "Scan" not in node["Node Type"]:
        return None
    name = f"{node['Node Type']} on {node['Relation Name']}"
    if node["Node Type"] == "Seq Scan":
        return name
    if node["Plan Rows"] > READ_MAXIMUM and not limited:
        return f"{name} reads {node['Plan Rows']} rows"
    return None
