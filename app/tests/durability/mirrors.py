"""Mirrors, runs and tasks as rows, for tests that do not run the engine."""

from __future__ import annotations

from typing import Any

from atoll.db.pool import Database

from .sites import SUPERUSER

_ROBOT = """
INSERT INTO "user" (username, robot_owner_id, robot_secret)
SELECT username || '+mirror', id, 'secret' FROM "user" WHERE username = %s
ON CONFLICT (username) DO NOTHING
"""
_MIRROR = f"""
WITH made AS (
    INSERT INTO repository (namespace_user_id, name, visibility, state)
    SELECT id, %(name)s, 'private', 'MIRROR' FROM "user" WHERE username = '{SUPERUSER}'
    RETURNING id
)
INSERT INTO repomirrorconfig (repository_id, internal_robot_id, external_reference, root_rule,
    sync_interval, sync_start_date)
SELECT made.id, u.id, 'docker.io/library/alpine',
    '{{"rule_kind": "tag_glob_csv", "rule_value": ["*"]}}', 3600, now() - interval '1 day'
FROM made, "user" u WHERE u.username = '{SUPERUSER}+mirror' RETURNING id
"""


def add_mirror(database: Database, name: str, **columns: Any) -> int:
    """Insert a mirror of the superuser with an interval of one hour; return its id."""
    database.run(_ROBOT, [SUPERUSER])
    mirror: int = database.run(_MIRROR, {"name": name})[0][0]
    if columns:
        update_mirror(database, mirror, **columns)
    return mirror


def update_mirror(database: Database, mirror: int, **columns: Any) -> None:
    """Set columns of a mirror."""
    names = ", ".join(f"{column} = %({column})s" for column in columns)
    database.run(
        f"UPDATE repomirrorconfig SET {names} WHERE id = %(id)s", {**columns, "id": mirror}
    )


def add_run(database: Database, mirror: int, **columns: Any) -> int:
    """Insert a run; without an outcome it becomes the mirror's current run. Return its id."""
    given = {"mirror_id": mirror, "cause": "schedule", "site": "us", "instance": "host", **columns}
    names, values = ", ".join(given), ", ".join(f"%({name})s" for name in given)
    run: int = database.run(
        f"INSERT INTO mirrorrun ({names}) VALUES ({values}) RETURNING id", given
    )[0][0]
    if "outcome" in columns:
        database.run("UPDATE mirrorrun SET finished_at = now() WHERE id = %s", [run])
    else:
        update_mirror(database, mirror, run_id=run, sync_status="SYNCING")
    return run


def add_task(database: Database, run: int, tag: str, state: str = "pending") -> None:
    """Insert a task for a tag."""
    database.run(
        "INSERT INTO mirrortask (run_id, tag, digest, state, last_error) VALUES (%s, %s, %s, %s,"
        " CASE WHEN %s THEN 'blob truncated' END)",
        [run, tag, "sha256:" + "a" * 64, state, state == "failed"],
    )
