"""Apply a list of repositories: create mirrors, skip those that are gone, report conflicts.

Nothing is deleted. A repository that the upstream no longer lists, or that the patterns no longer
select, keeps its content and is not mirrored until a later discovery selects it again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2.extensions

from atoll.auth.secrets import Cipher
from atoll.db.leased_queue import LeaseLost
from atoll.db.pool import Database
from atoll.db.transient import retry_conflicts
from atoll.mirroring.mirror_records import MIRROR, SUCCESS
from atoll.mirroring.organizations.decisions import Decision, Listing, decide, fitting_names
from atoll.mirroring.organizations.discoveries import DiscoveryClaim
from atoll.mirroring.organizations.organization_events import (
    SYNC_SUCCESS,
    log_outcome,
    log_repositories,
)
from atoll.mirroring.organizations.records import (
    CONFLICT,
    FOUND,
    ORGANIZATION_MIRRORS,
    SKIPPED,
    OrganizationMirror,
    organization_mirror,
)
from atoll.mirroring.organizations.repository_mirrors import RepositoryMirrors
from atoll.mirroring.outcome import RETRIES
from atoll.mirroring.rules.settings import schedule_of

_LOCK = f"""
{ORGANIZATION_MIRRORS} WHERE m.id = %(id)s AND m.lease_token = %(token)s FOR NO KEY UPDATE OF m
"""

_KNOWN = "SELECT name, state FROM orgmirrorrepository WHERE org_mirror_id = %(id)s"

# Of the given repositories, those that exist, and whether they belong to the mirror.
_EXISTING = """
SELECT r.name, coalesce(m.org_mirror_id = %(id)s, false) FROM repository r
LEFT JOIN repomirrorconfig m ON m.repository_id = r.id
WHERE r.namespace_user_id = %(organization_id)s AND r.name = ANY(%(names)s::text[])
"""

# Create repositories with the default permissions of the organization.
_CREATE = f"""
WITH created AS (
    INSERT INTO repository (namespace_user_id, name, visibility, state)
    SELECT %(organization_id)s, name, %(visibility)s, '{MIRROR}'
    FROM unnest(%(names)s::text[]) AS name ORDER BY name
    ON CONFLICT (namespace_user_id, name) DO NOTHING RETURNING id, name
), permitted AS (
    INSERT INTO repositorypermission (repository_id, user_id, team_id, role)
    SELECT DISTINCT ON (created.id, p.delegate_user_id, p.delegate_team_id)
        created.id, p.delegate_user_id, p.delegate_team_id, p.role
    FROM created JOIN permissionprototype p ON p.organization_id = %(organization_id)s
    WHERE p.activating_user_id IS NULL OR p.activating_user_id = %(internal_robot_id)s
    ORDER BY created.id, p.delegate_user_id, p.delegate_team_id,
             array_position(ARRAY['admin', 'write', 'read'], p.role)
)
SELECT id, name FROM created
"""

_RECORD = """
INSERT INTO orgmirrorrepository (org_mirror_id, name, state, message)
SELECT %(id)s, given.name, given.state, given.message
FROM unnest(%(names)s::text[], %(states)s::text[], %(messages)s::text[])
    AS given (name, state, message)
ON CONFLICT (org_mirror_id, name) DO UPDATE
SET state = EXCLUDED.state, message = EXCLUDED.message
WHERE (orgmirrorrepository.state, orgmirrorrepository.message)
      IS DISTINCT FROM (EXCLUDED.state, EXCLUDED.message)
"""

_FORGET = """
DELETE FROM orgmirrorrepository WHERE org_mirror_id = %(id)s AND name = ANY(%(names)s::text[])
"""

_FINISH = f"""
UPDATE orgmirrorconfig SET sync_status = '{SUCCESS}', reason = NULL, status_message = %(message)s,
    lease_token = NULL, lease_expires = NULL, attempts = 0, requested_at = NULL, refusals = 0,
    finished_at = now(), last_success_at = now(),
    available_at = clock_timestamp(), retries_remaining = {RETRIES}, next_at = %(next_at)s
WHERE id = %(id)s
"""


@dataclass(frozen=True)
class Reconciled:
    """What a discovery changed.

    Attributes:
        found: The number of repositories that are mirrors.
        created: The repositories that were created.
        resumed: The repositories that had been skipped.
        skipped: The repositories that are no longer mirrored.
        conflicts: Why others cannot be mirrors, by their names.
    """

    found: int
    created: Sequence[str]
    resumed: Sequence[str]
    skipped: Sequence[str]
    conflicts: Mapping[str, str]

    @property
    def message(self) -> str:
        """The numbers as a text for people."""
        counts = {
            "created": len(self.created),
            "resumed": len(self.resumed),
            "skipped": len(self.skipped),
            "in conflict": len(self.conflicts),
        }
        changes = [f"{count} {what}" for what, count in counts.items() if count]
        return ", ".join([f"{self.found} mirrored", *changes])


class Reconciliation:
    """Applies lists of repositories."""

    def __init__(self, database: Database, cipher: Cipher) -> None:
        self._database = database
        self._repositories = RepositoryMirrors(cipher)

    def known(self, mirror_id: int) -> int:
        """Return the number of repositories that earlier discoveries of a mirror made mirrors."""
        rows = self._database.read(_KNOWN, {"id": mirror_id})
        return sum(state != CONFLICT for _name, state in rows)

    def preview(
        self, mirror: OrganizationMirror, selected: Sequence[str], listed: Collection[str]
    ) -> Decision:
        """Return what `apply` would do now, without a change.

        Args:
            mirror: The mirror.
            selected: The repositories to mirror, without the namespace.
            listed: All repositories that the upstream lists.
        """
        known: dict[str, str] = dict(self._database.read(_KNOWN, {"id": mirror.id}))
        names = fitting_names(mirror.organization, selected)
        existing = dict(self._database.read(_EXISTING, {**_key(mirror), "names": names}))
        return decide(mirror.organization, Listing(known, sorted(selected), set(listed)), existing)

    def apply(
        self, claim: DiscoveryClaim, selected: Sequence[str], listed: Collection[str]
    ) -> Reconciled:
        """Apply a list of repositories, and end its discovery, in one transaction.

        Args:
            claim: The discovery.
            selected: The repositories to mirror, without the namespace.
            listed: All repositories that the upstream lists.

        Raises:
            LeaseLost: Another process has the discovery, or it was cancelled.
            SecretUnreadable: The password was encrypted with another bundle's key.
        """

        def transaction() -> Reconciled:
            with self._database.transaction() as cursor:
                return self._apply(cursor, claim, sorted(selected), set(listed))

        return retry_conflicts(transaction)

    def _apply(
        self,
        cursor: psycopg2.extensions.cursor,
        claim: DiscoveryClaim,
        selected: list[str],
        listed: set[str],
    ) -> Reconciled:
        cursor.execute(_LOCK, {"id": claim.id, "token": claim.lease_token})
        row = cursor.fetchone()
        if row is None:
            raise LeaseLost(f"the discovery of '{claim.mirror.organization}'")
        mirror = organization_mirror(dict(row))
        cursor.execute(_KNOWN, {"id": claim.id})
        known: dict[str, str] = dict(cursor.fetchall())
        result = self._reconcile(cursor, mirror, Listing(known, selected, listed))
        log_outcome(cursor, mirror, SYNC_SUCCESS, result.message)
        next_at = schedule_of(mirror.row).after(mirror.row["now"])
        cursor.execute(_FINISH, {"id": claim.id, "message": result.message, "next_at": next_at})
        return result

    def _reconcile(
        self, cursor: psycopg2.extensions.cursor, mirror: OrganizationMirror, listing: Listing
    ) -> Reconciled:
        """Change repositories and the records of them, and log it."""
        fitting = fitting_names(mirror.organization, listing.selected)
        created = self._create(cursor, mirror, fitting)
        # Others may have created repositories meanwhile.
        existing = self._existing(cursor, mirror, fitting)
        found = decide(mirror.organization, listing, existing)
        _record(cursor, mirror, found)
        cursor.execute(_FORGET, {"id": mirror.id, "names": found.settled})
        if found.gone:
            self._repositories.skip(cursor, mirror.row)
        if found.resumed:
            self._repositories.resume(cursor, mirror.row, found.resumed)
        if mirror.row["requested_at"] is not None:
            self._repositories.request(cursor, mirror.row)
        known = listing.known
        skipped = [name for name in found.gone if known[name] != SKIPPED]
        new = {name: text for name, text in found.conflicts.items() if known.get(name) != CONFLICT}
        log_repositories(cursor, mirror, created, new)
        return Reconciled(len(found.mirrored), created, found.resumed, skipped, found.conflicts)

    def _create(
        self, cursor: psycopg2.extensions.cursor, mirror: OrganizationMirror, names: list[str]
    ) -> list[str]:
        """Create the repositories that do not exist, and return their names."""
        existing = set(self._existing(cursor, mirror, names))
        absent = [name for name in names if name not in existing]
        if not absent:
            return []
        cursor.execute(_CREATE, {**_key(mirror), "names": absent})
        created = {name: repository_id for repository_id, name in cursor.fetchall()}
        self._repositories.create(cursor, mirror.row, list(created.values()))
        return sorted(created)

    @staticmethod
    def _existing(
        cursor: psycopg2.extensions.cursor, mirror: OrganizationMirror, names: list[str]
    ) -> dict[str, bool]:
        """Return which of the repositories exist, and whether they belong to the mirror."""
        cursor.execute(_EXISTING, {**_key(mirror), "names": names})
        return dict(cursor.fetchall())


def _record(
    cursor: psycopg2.extensions.cursor, mirror: OrganizationMirror, decision: Decision
) -> None:
    rows: list[tuple[str, str, str | None]] = [
        *((name, FOUND, None) for name in decision.mirrored),
        *((name, CONFLICT, text) for name, text in decision.conflicts.items()),
        *((name, SKIPPED, text) for name, text in decision.gone.items()),
    ]
    values = {
        "id": mirror.id,
        "names": [name for name, _state, _message in rows],
        "states": [state for _name, state, _message in rows],
        "messages": [message for _name, _state, message in rows],
    }
    cursor.execute(_RECORD, values)


def _key(mirror: OrganizationMirror) -> dict[str, Any]:
    names = ("organization_id", "visibility", "internal_robot_id")
    return {"id": mirror.id, **{name: mirror.row[name] for name in names}}
