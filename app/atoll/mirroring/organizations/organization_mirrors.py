"""Create, change and delete mirrors of organizations, and request and cancel their discoveries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

import psycopg2.errors
import psycopg2.extensions

from atoll.auth.organizations import OrganizationUnknown
from atoll.auth.secrets import Cipher, SecretUnreadable
from atoll.db.pool import Database
from atoll.mirroring.errors import (
    InvalidMirror,
    OrganizationMirrorRefused,
    organization_mirror_unknown,
)
from atoll.mirroring.mirror_records import CANCEL, NEVER_RUN, SYNC_NOW, SYNCING
from atoll.mirroring.organizations.organization_settings import (
    DiscoverySettings,
    check_password,
    check_row,
    host_of,
    scope_of,
)
from atoll.mirroring.organizations.records import (
    OF_ORGANIZATION,
    OrganizationMirror,
    organization_mirror,
)
from atoll.mirroring.organizations.repository_mirrors import RepositoryMirrors
from atoll.mirroring.rules.settings import include_rule, schedule_of
from atoll.mirroring.rules.values import ORGANIZATION_TIMEOUT_DEFAULT
from atoll.mirroring.upstream_access import (
    CheckUpstream,
    check_upstream,
    merge_access,
    require_password_for_new_route,
)

_LOCK = f"{OF_ORGANIZATION} FOR NO KEY UPDATE OF m"

# Create a mirror, unless there is one or the organization has repositories. Returns the ids of the
# organization, the robot and the mirror, and whether there are repositories.
_CREATE = """
WITH organization AS (
    SELECT id FROM "user" WHERE username = %(organization)s AND organization
), robot AS (
    SELECT u.id FROM "user" u JOIN organization o ON o.id = u.robot_owner_id
    WHERE u.username = %(robot)s
), occupied AS (
    SELECT EXISTS (SELECT FROM repository r JOIN organization o ON o.id = r.namespace_user_id
                   WHERE NOT EXISTS (SELECT FROM orgmirrorconfig m WHERE m.organization_id = o.id))
           AS is_occupied
), created AS (
    INSERT INTO orgmirrorconfig (
        organization_id, internal_robot_id, is_enabled, external_registry_type,
        external_registry_url, external_namespace, external_registry_username,
        external_registry_password, external_registry_config, proxy_passwords, repository_filters,
        visibility, root_rule, architecture_filter, sync_interval, sync_start_date,
        skopeo_timeout, options, next_at)
    SELECT organization.id, robot.id, %(is_enabled)s, %(external_registry_type)s,
        %(external_registry_url)s, %(external_namespace)s, %(external_registry_username)s,
        %(external_registry_password)s, %(external_registry_config)s, %(proxy_passwords)s,
        %(repository_filters)s, %(visibility)s, %(root_rule)s, %(architecture_filter)s,
        %(sync_interval)s, %(sync_start_date)s, %(skopeo_timeout)s, %(options)s, %(next_at)s
    FROM organization, robot, occupied WHERE NOT is_occupied
    ON CONFLICT (organization_id) DO NOTHING RETURNING id
)
SELECT (SELECT id FROM organization), (SELECT id FROM robot), (SELECT id FROM created), is_occupied
FROM occupied
"""

_ORGANIZATION_ID = """
SELECT id, now() FROM "user" WHERE username = %(organization)s AND organization
"""

_ROBOT = """
SELECT id FROM "user" WHERE username = %(robot)s AND robot_owner_id = %(organization_id)s
"""

# A discovery in progress loses its lease, and starts again, if the change concerns its result.
_CHANGE = """
UPDATE orgmirrorconfig SET internal_robot_id = %(internal_robot_id)s, is_enabled = %(is_enabled)s,
    external_registry_url = %(external_registry_url)s, external_namespace = %(external_namespace)s,
    external_registry_username = %(external_registry_username)s,
    external_registry_password = %(external_registry_password)s,
    external_registry_config = %(external_registry_config)s,
    proxy_passwords = %(proxy_passwords)s, repository_filters = %(repository_filters)s,
    visibility = %(visibility)s, root_rule = %(root_rule)s,
    architecture_filter = %(architecture_filter)s,
    sync_interval = %(sync_interval)s, sync_start_date = %(sync_start_date)s,
    skopeo_timeout = %(skopeo_timeout)s, options = %(options)s,
    next_at = coalesce(%(next_at)s, next_at),
    refusals = CASE WHEN %(new_access)s THEN 0 ELSE refusals END,
    lease_token = CASE WHEN %(new_scope)s THEN NULL ELSE lease_token END,
    lease_expires = CASE WHEN %(new_scope)s THEN NULL ELSE lease_expires END
WHERE id = %(id)s
"""

_REQUEST = f"""
UPDATE orgmirrorconfig SET sync_status = '{SYNC_NOW}', retries_remaining = 3, refusals = 0,
    requested_at = coalesce(requested_at, clock_timestamp()), available_at = clock_timestamp()
WHERE id = %(id)s AND sync_status <> '{SYNCING}' RETURNING id
"""

# The process that discovers repositories loses its lease.
_CANCEL = f"""
UPDATE orgmirrorconfig SET sync_status = '{CANCEL}', requested_at = NULL, lease_token = NULL,
    lease_expires = NULL, reason = 'cancelled', status_message = 'cancelled', next_at = %(next_at)s
WHERE id = %(id)s
"""

_DELETE = "DELETE FROM orgmirrorconfig WHERE id = %(id)s"

# Settings that are columns of their own.
_COLUMNS = (
    "is_enabled",
    "external_registry_type",
    "external_registry_url",
    "external_namespace",
    "repository_filters",
    "visibility",
    "architecture_filter",
    "sync_interval",
    "sync_start_date",
    "skopeo_timeout",
)
# The columns that the plan of a run depends on.
_PLANNED_BY = (
    "internal_robot_id",
    "external_registry_url",
    "external_namespace",
    "external_registry_username",
    "external_registry_password",
    "external_registry_config",
    "root_rule",
    "architecture_filter",
    "options",
)


class OrganizationMirrorChange(TypedDict, total=False):
    """Settings of a mirror of an organization, with the names of the API."""

    is_enabled: bool
    external_registry_type: str
    external_registry_url: str
    external_namespace: str
    robot_username: str
    external_registry_username: str | None
    external_registry_password: str | None
    # Only the given keys are changed.
    external_registry_config: Mapping[str, Any]
    # Patterns of repositories.
    repository_filters: list[str]
    visibility: str
    sync_interval: int
    sync_start_date: datetime
    skopeo_timeout: int
    # Patterns of tags.
    tags: list[str]
    architecture_filter: list[str]
    # Only the given keys are changed; None resets an option.
    options: Mapping[str, Any]


class OrganizationMirrors:
    """The mirrors of all organizations."""

    def __init__(self, database: Database, cipher: Cipher, check: CheckUpstream) -> None:
        """Provide the mirrors.

        Args:
            database: Where they are stored.
            cipher: Encrypts passwords.
            check: Checks upstreams.
        """
        self._database = database
        self._cipher = cipher
        self._check = check
        self._repositories = RepositoryMirrors(cipher)

    def find(self, organization: str) -> OrganizationMirror:
        """Return the mirror of an organization.

        Raises:
            OrganizationMirrorUnknown: There is none.
        """
        rows = self._database.read(OF_ORGANIZATION, {"organization": organization})
        if not rows:
            raise organization_mirror_unknown(organization)
        return organization_mirror(rows[0])

    def settings(self, mirror: OrganizationMirror) -> DiscoverySettings:
        """Return what a discovery needs, with the password.

        Raises:
            InvalidReference: The settings were written by a version with other rules.
            SecretUnreadable: The password was encrypted with another bundle's key.
        """
        return DiscoverySettings.from_row(mirror.row, self._cipher)

    def create(self, organization: str, new: OrganizationMirrorChange) -> None:
        """Make an organization without repositories a mirror.

        Args:
            organization: The organization.
            new: The settings; those without a default are required.

        Raises:
            OrganizationUnknown: There is no such organization.
            OrganizationMirrorRefused: It is a mirror already, or has repositories.
            InvalidMirror: A setting is not valid.
        """
        rows = self._database.read(_ORGANIZATION_ID, {"organization": organization})
        if not rows:
            raise _no_organization(organization)
        organization_key, now = rows[0]
        row = self._merged(_defaults(organization_key), new)
        values = {
            **_stored(row),
            "organization": organization,
            "robot": new["robot_username"],
            "next_at": schedule_of(row).first(now),
        }
        try:
            organization_id, robot_id, mirror_id, occupied = self._database.run(_CREATE, values)[0]
        except psycopg2.errors.ForeignKeyViolation as error:
            # The organization or the robot was deleted at the same time.
            raise _no_organization(organization) from error
        if organization_id is None:
            raise _no_organization(organization)
        if robot_id is None:
            raise _foreign_robot(organization, new["robot_username"])
        if occupied:
            raise OrganizationMirrorRefused(
                f"the organization '{organization}' has repositories; a mirror needs an empty one"
            )
        if mirror_id is None:
            raise OrganizationMirrorRefused(
                f"the organization '{organization}' is a mirror already; change or delete it"
                " instead"
            )

    def change(
        self, organization: str, change: OrganizationMirrorChange
    ) -> tuple[OrganizationMirror, OrganizationMirror]:
        """Change all given settings, also those of its repositories, or, if one is invalid, none.

        Args:
            organization: The organization.
            change: The settings.

        Returns:
            The mirror before and after the change.

        Raises:
            OrganizationMirrorUnknown: The organization is no mirror.
            InvalidMirror: A setting is not valid.
        """
        with self._database.transaction() as cursor:
            before = self._lock(cursor, organization)
            old = before.row
            row = self._merged(old, change)
            if "robot_username" in change:
                row["internal_robot_id"] = _robot_id(cursor, before, change["robot_username"])
            new_reference = namespace_of(old) != namespace_of(row)
            new_access = new_reference or not change.keys().isdisjoint(
                {"external_registry_username", "external_registry_password"}
            )
            next_at = _next_at(old, row)
            values = {
                **_stored(row),
                "next_at": next_at,
                "new_access": new_access,
                "new_scope": scope_of(old) != scope_of(row),
            }
            cursor.execute(_CHANGE, values)
            try:
                self._repositories.change(
                    cursor,
                    row,
                    new_reference=new_reference,
                    new_access=new_access,
                    new_plan=any(row[name] != old[name] for name in _PLANNED_BY),
                    new_secrets=new_access or old["proxy_passwords"] != row["proxy_passwords"],
                    next_at=next_at,
                )
            except SecretUnreadable as error:
                raise InvalidMirror(
                    "external_registry_password", "cannot be decrypted; give it again"
                ) from error
        return before, self.find(organization)

    def delete(self, organization: str) -> OrganizationMirror:
        """Delete a mirror and return it; its repositories keep their tags and become ordinary ones.

        Raises:
            OrganizationMirrorUnknown: The organization is no mirror.
        """
        with self._database.transaction() as cursor:
            mirror = self._lock(cursor, organization)
            self._repositories.release(cursor, mirror.id)
            cursor.execute(_DELETE, {"id": mirror.id})
        return mirror

    def request_sync(self, organization: str) -> OrganizationMirror:
        """Request a discovery, which starts at once, and then runs of all repositories.

        Raises:
            OrganizationMirrorUnknown: The organization is no mirror.
            OrganizationMirrorRefused: A discovery is in progress.
        """
        mirror = self.find(organization)
        if not self._database.run(_REQUEST, {"id": mirror.id}):
            raise OrganizationMirrorRefused(
                f"the repositories of '{organization}' are being discovered; wait or cancel"
            )
        return mirror

    def request_cancel(self, organization: str) -> OrganizationMirror:
        """Cancel the discovery and the runs of all repositories; the schedule stays.

        Raises:
            OrganizationMirrorUnknown: The organization is no mirror.
            OrganizationMirrorRefused: It is cancelled already.
        """
        with self._database.transaction() as cursor:
            mirror = self._lock(cursor, organization)
            has_runs = self._repositories.cancel(cursor, mirror.id)
            if mirror.status == CANCEL and not has_runs:
                raise OrganizationMirrorRefused(f"the mirror '{organization}' is cancelled already")
            next_at = schedule_of(mirror.row).after(mirror.row["now"])
            cursor.execute(_CANCEL, {"id": mirror.id, "next_at": next_at})
        return mirror

    def _lock(self, cursor: psycopg2.extensions.cursor, organization: str) -> OrganizationMirror:
        """Lock the mirror of an organization and return it. Raises OrganizationMirrorUnknown."""
        cursor.execute(_LOCK, {"organization": organization})
        row = cursor.fetchone()
        if row is None:
            raise organization_mirror_unknown(organization)
        return organization_mirror(dict(row))

    def _merged(self, old: Mapping[str, Any], change: OrganizationMirrorChange) -> dict[str, Any]:
        """Return the row of a mirror after a change.

        Raises:
            InvalidMirror: A setting is not valid.
        """
        row = dict(old)
        username = old["external_registry_username"]
        if username is not None and "external_registry_username" not in change:
            change = {"external_registry_username": username, **change}
        kind = change.get("external_registry_type")
        if kind is not None and old.get("external_registry_type", kind) != kind:
            raise InvalidMirror(
                "external_registry_type", "cannot be changed; delete the mirror and create another"
            )
        for name in _COLUMNS:
            if name in change:
                row[name] = change[name]  # type: ignore[literal-required]
        if "tags" in change:
            row["root_rule"] = include_rule(change["tags"])
        check_password(row["external_registry_type"], change.get("external_registry_password"))
        merge_access(row, old, change, self._cipher)
        reference = check_row(row)
        check_upstream(self._check, reference, row, self._cipher, field="external_registry_url")
        require_password_for_new_route(old, row, change, host=host_of)
        return row


def namespace_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return the host and the namespace of the upstream of a row of `orgmirrorconfig`."""
    return host_of(row), row["external_namespace"]


def _defaults(organization_id: int) -> dict[str, Any]:
    return {
        "organization_id": organization_id,
        "is_enabled": True,
        "external_registry_username": None,
        "external_registry_password": None,
        "external_registry_config": {},
        "proxy_passwords": None,
        "repository_filters": [],
        "root_rule": include_rule(["*"]),
        "architecture_filter": [],
        "skopeo_timeout": ORGANIZATION_TIMEOUT_DEFAULT,
        "options": {},
    }


def _stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a statement that writes a row."""
    documents = ("external_registry_config", "root_rule", "options")
    return {**row, **{name: json.dumps(row[name]) for name in documents}}


def _next_at(old: Mapping[str, Any], new: Mapping[str, Any]) -> datetime | None:
    """Return when the next discovery is due after a change of the schedule, else None."""
    schedule = schedule_of(new)
    if schedule == schedule_of(old):
        return None
    now: datetime = old["now"]
    return schedule.first(now) if old["sync_status"] == NEVER_RUN else schedule.after(now)


def _robot_id(cursor: psycopg2.extensions.cursor, mirror: OrganizationMirror, robot: str) -> int:
    """Return the id of a robot of the organization. Raises InvalidMirror."""
    organization_id = mirror.row["organization_id"]
    cursor.execute(_ROBOT, {"robot": robot, "organization_id": organization_id})
    found = cursor.fetchone()
    if found is None:
        raise _foreign_robot(mirror.organization, robot)
    return int(found[0])


def _no_organization(organization: str) -> OrganizationUnknown:
    return OrganizationUnknown(f"there is no organization '{organization}'")


def _foreign_robot(organization: str, robot: str) -> InvalidMirror:
    return InvalidMirror(
        "robot_username",
        f"'{robot[:255]}' is not a robot of '{organization}'; use one of its robots, whose names"
        f" begin with '{organization}+'",
    )
