"""The mirrors of repositories that belong to the mirror of an organization.

They are rows of `repomirrorconfig` with its settings, so that runs know no difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg2.extensions

from atoll.auth.secrets import Cipher
from atoll.mirroring.mirror_records import CANCEL, MIRROR, NEVER_RUN, SYNC_NOW, SYNCING
from atoll.mirroring.organizations.organization_settings import namespace_reference
from atoll.mirroring.organizations.records import FOUND, SKIPPED
from atoll.mirroring.rules.proxy_passwords import ProxyPasswords
from atoll.mirroring.rules.settings import password_purpose, schedule_of

# The repositories of a mirror, with their mirrors. Expects %(id)s.
_OURS = """
repomirrorconfig m JOIN repository r ON r.id = m.repository_id
JOIN orgmirrorrepository found ON found.org_mirror_id = m.org_mirror_id AND found.name = r.name
WHERE m.org_mirror_id = %(id)s
"""

_PERMIT = """
INSERT INTO repositorypermission (repository_id, user_id, role)
SELECT repository_id, %(internal_robot_id)s, 'write' FROM repomirrorconfig
WHERE org_mirror_id = %(id)s AND (%(new)s::bigint[] IS NULL OR repository_id = ANY(%(new)s))
ON CONFLICT (repository_id, user_id) DO UPDATE SET role = 'write'
WHERE repositorypermission.role = 'read'
"""

_CREATE = """
INSERT INTO repomirrorconfig (
    org_mirror_id, repository_id, internal_robot_id, is_enabled, external_reference,
    external_registry_username, external_registry_password, external_registry_config,
    proxy_passwords, root_rule, architecture_filter, sync_interval, sync_start_date,
    skopeo_timeout, options, next_at)
SELECT %(id)s, r.id, %(internal_robot_id)s, %(is_enabled)s, %(reference)s || '/' || r.name,
    %(external_registry_username)s, given.password, %(external_registry_config)s,
    given.proxy_passwords, %(root_rule)s, %(architecture_filter)s, %(sync_interval)s,
    %(sync_start_date)s, %(skopeo_timeout)s, %(options)s, %(next_at)s
FROM unnest(%(new)s::bigint[], %(passwords)s::text[], %(proxies)s::text[])
    AS given (id, password, proxy_passwords)
JOIN repository r ON r.id = given.id
ON CONFLICT (repository_id) DO NOTHING
"""

# A run in progress deletes nothing, a confirmation of deletions ends, other credentials may be sent
# even if the earlier ones were refused, and another upstream has other digests.
_CHANGE = f"""
WITH changed AS (
    UPDATE repomirrorconfig mirror SET internal_robot_id = %(internal_robot_id)s,
        is_enabled = %(is_enabled)s AND ours.state = '{FOUND}',
        external_reference = %(reference)s || '/' || ours.name,
        external_registry_username = %(external_registry_username)s,
        external_registry_config = %(external_registry_config)s, root_rule = %(root_rule)s,
        architecture_filter = %(architecture_filter)s, sync_interval = %(sync_interval)s,
        sync_start_date = %(sync_start_date)s, skopeo_timeout = %(skopeo_timeout)s,
        options = %(options)s,
        next_at = CASE WHEN %(new_schedule)s AND mirror.sync_status <> '{NEVER_RUN}'
                       THEN %(next_at)s ELSE mirror.next_at END,
        settings_version = mirror.settings_version + CASE WHEN %(new_plan)s THEN 1 ELSE 0 END,
        deletions_confirmed = mirror.deletions_confirmed AND NOT %(new_plan)s,
        refusals = CASE WHEN %(new_access)s THEN 0 ELSE mirror.refusals END
    FROM (SELECT m.id, r.name, found.state FROM {_OURS}) AS ours
    WHERE mirror.id = ours.id RETURNING mirror.id, mirror.repository_id
), forgotten AS (
    UPDATE mirrortag SET upstream_digest = NULL, image_created = NULL, checked_at = NULL
    FROM changed WHERE mirror_id = changed.id AND %(new_reference)s
)
SELECT repository_id FROM changed
"""

_SET_PASSWORDS = """
UPDATE repomirrorconfig m
SET external_registry_password = given.password, proxy_passwords = given.proxy_passwords
FROM unnest(%(ids)s::bigint[], %(passwords)s::text[], %(proxies)s::text[])
    AS given (id, password, proxy_passwords)
WHERE m.repository_id = given.id AND m.org_mirror_id = %(id)s
"""

_SKIP = f"""
UPDATE repomirrorconfig SET is_enabled = false
WHERE id IN (SELECT m.id FROM {_OURS} AND found.state = '{SKIPPED}')
"""

_RESUME = f"""
UPDATE repomirrorconfig SET is_enabled = %(is_enabled)s, next_at = %(next_at)s,
    sync_status = CASE WHEN run_id IS NULL THEN '{NEVER_RUN}' ELSE sync_status END
WHERE id IN (SELECT m.id FROM {_OURS} AND r.name = ANY(%(names)s::text[]))
"""

_REQUEST = f"""
UPDATE repomirrorconfig SET sync_status = '{SYNC_NOW}', retries_remaining = 3, refusals = 0,
    requested_at = coalesce(requested_at, clock_timestamp())
WHERE id IN (SELECT m.id FROM {_OURS} AND found.state = '{FOUND}' AND r.state = '{MIRROR}')
  AND run_id IS NULL
"""

# A run that has not begun is cancelled at once; the processes of one in progress end it.
_CANCEL = f"""
UPDATE repomirrorconfig
SET cancel_requested_at = CASE WHEN run_id IS NOT NULL
                               THEN coalesce(cancel_requested_at, clock_timestamp()) END,
    sync_status = CASE WHEN run_id IS NULL THEN '{CANCEL}' ELSE sync_status END,
    requested_at = NULL, deletions_confirmed = false
WHERE org_mirror_id = %(id)s
  AND (run_id IS NOT NULL OR sync_status IN ('{SYNC_NOW}', '{SYNCING}'))
"""

_RELEASE = f"""
WITH deleted AS (
    DELETE FROM repomirrorconfig WHERE org_mirror_id = %(id)s RETURNING repository_id
)
UPDATE repository SET state = 'NORMAL' FROM deleted
WHERE repository.id = deleted.repository_id AND repository.state = '{MIRROR}'
"""


class RepositoryMirrors:
    """Changes the mirrors of repositories in transactions of the caller."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    def create(
        self,
        cursor: psycopg2.extensions.cursor,
        row: Mapping[str, Any],
        repositories: Sequence[int],
    ) -> None:
        """Make repositories mirrors, which run at once if the organization's mirror is enabled.

        Args:
            cursor: A cursor in a transaction.
            row: The row of the organization's mirror, with `now`.
            repositories: The ids of repositories.

        Raises:
            SecretUnreadable: The password was encrypted with another bundle's key.
        """
        if not repositories:
            return
        values = {
            **_values(row),
            "new": list(repositories),
            **self._secrets(row, repositories),
            "next_at": schedule_of(row).postponed(row["now"]),
        }
        cursor.execute(_CREATE, values)
        cursor.execute(_PERMIT, values)

    def change(
        self,
        cursor: psycopg2.extensions.cursor,
        row: Mapping[str, Any],
        *,
        new_reference: bool,
        new_access: bool,
        new_plan: bool,
        new_secrets: bool,
        next_at: datetime | None,
    ) -> None:
        """Give all repositories the settings of the organization's mirror.

        Args:
            cursor: A cursor in a transaction.
            row: The row of the organization's mirror.
            new_reference: Whether the upstream changed.
            new_access: Whether the upstream or the credentials changed.
            new_plan: Whether settings changed that the plan of a run depends on.
            new_secrets: Whether the credentials or the passwords of proxies changed.
            next_at: When the next runs are due; None if the schedule did not change.

        Raises:
            SecretUnreadable: The password was encrypted with another bundle's key.
        """
        values = {
            **_values(row),
            "new_reference": new_reference,
            "new_access": new_access,
            "new_plan": new_plan,
            "new_schedule": next_at is not None,
            "next_at": next_at,
            "new": None,
        }
        cursor.execute(_CHANGE, values)
        ids = [one[0] for one in cursor.fetchall()]
        if new_secrets:
            cursor.execute(_SET_PASSWORDS, {**values, "ids": ids, **self._secrets(row, ids)})
        cursor.execute(_PERMIT, values)

    def skip(self, cursor: psycopg2.extensions.cursor, row: Mapping[str, Any]) -> None:
        """Disable the mirrors of skipped repositories, which keep their content."""
        cursor.execute(_SKIP, {"id": row["id"]})

    def resume(
        self, cursor: psycopg2.extensions.cursor, row: Mapping[str, Any], names: Sequence[str]
    ) -> None:
        """Enable the mirrors of repositories that were skipped before; they run at once."""
        values = {
            "id": row["id"],
            "names": list(names),
            "is_enabled": row["is_enabled"],
            "next_at": schedule_of(row).postponed(row["now"]),
        }
        cursor.execute(_RESUME, values)

    def request(self, cursor: psycopg2.extensions.cursor, row: Mapping[str, Any]) -> None:
        """Request runs of all repositories that the last discovery found."""
        cursor.execute(_REQUEST, {"id": row["id"]})

    def cancel(self, cursor: psycopg2.extensions.cursor, mirror_id: int) -> bool:
        """Cancel all requested and current runs, and return whether there are any."""
        cursor.execute(_CANCEL, {"id": mirror_id})
        return cursor.rowcount > 0

    def release(self, cursor: psycopg2.extensions.cursor, mirror_id: int) -> None:
        """Make all repositories ordinary ones, which keep their tags."""
        cursor.execute(_RELEASE, {"id": mirror_id})

    def _secrets(
        self, row: Mapping[str, Any], repositories: Sequence[int]
    ) -> dict[str, list[str | None]]:
        """Return the secrets of the organization's mirror, encrypted for each repository."""
        encrypted = row["external_registry_password"]
        password = None
        if encrypted is not None:
            password = self._cipher.decrypt(encrypted, password_purpose(row))
        proxies = ProxyPasswords.from_row(row, self._cipher)
        rows = [{"repository_id": one} for one in repositories]
        return {
            "passwords": [
                None if password is None else self._cipher.encrypt(password, password_purpose(one))
                for one in rows
            ],
            "proxies": [proxies.copied(one, self._cipher) for one in rows],
        }


def _values(row: Mapping[str, Any]) -> dict[str, Any]:
    documents = ("external_registry_config", "root_rule", "options")
    encoded = {name: json.dumps(row[name]) for name in documents}
    return {**row, **encoded, "reference": namespace_reference(row)}
