"""Create, change and delete mirrors, and request and cancel their runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypedDict

import psycopg2.errors

from atoll.auth.secrets import Cipher
from atoll.db.pool import Database
from atoll.mirroring.errors import (
    InvalidMirror,
    MirrorExists,
    MirrorInactive,
    MirrorUnknown,
    NothingToConfirm,
    mirror_unknown,
)
from atoll.mirroring.mirror_records import (
    CANCEL,
    MIRROR,
    MIRRORS,
    NEVER_RUN,
    SYNC_NOW,
    SYNCING,
    Mirror,
    mirror_from_row,
)
from atoll.mirroring.mirrored_organizations import require_own_settings
from atoll.mirroring.problems import TOO_MANY_DELETIONS
from atoll.mirroring.rules.settings import (
    MirrorSettings,
    include_rule,
    schedule_of,
)
from atoll.mirroring.upstream_access import (
    CheckUpstream,
    check_upstream,
    merge_access,
    require_password_for_new_route,
)
from atoll.names import RepositoryName
from atoll.registry.errors import RepositoryUnknown
from atoll.registry.repositories import REPOSITORY_ID, name_parameters
from atoll.upstream.reference import UpstreamReference

# The columns that the plan of a run depends on, unlike those of the schedule.
_PLANNED_BY = (
    "internal_robot_id",
    "external_reference",
    "external_registry_username",
    "external_registry_password",
    "external_registry_config",
    "root_rule",
    "architecture_filter",
    "options",
)

_IDENTITY = f"SELECT {REPOSITORY_ID}, now()"

# Create a mirror, unless there is one, and let its robot push. Returns the robot's id and that of
# the mirror.
_CREATE = """
WITH robot AS (
    SELECT u.id FROM "user" u JOIN repository r ON r.namespace_user_id = u.robot_owner_id
    WHERE r.id = %(repository_id)s AND u.username = %(robot)s
), created AS (
    INSERT INTO repomirrorconfig (
        repository_id, internal_robot_id, is_enabled, external_reference,
        external_registry_username, external_registry_password, external_registry_config,
        proxy_passwords, root_rule, architecture_filter, sync_interval, sync_start_date,
        skopeo_timeout, options, next_at)
    SELECT %(repository_id)s, id, %(is_enabled)s, %(external_reference)s,
        %(external_registry_username)s, %(external_registry_password)s,
        %(external_registry_config)s, %(proxy_passwords)s, %(root_rule)s,
        %(architecture_filter)s, %(sync_interval)s, %(sync_start_date)s,
        %(skopeo_timeout)s, %(options)s, %(next_at)s
    FROM robot
    ON CONFLICT (repository_id) DO NOTHING RETURNING id, repository_id, internal_robot_id
), mirrored AS (
    UPDATE repository SET state = 'MIRROR'
    FROM created WHERE repository.id = created.repository_id
), permitted AS (
    INSERT INTO repositorypermission (repository_id, user_id, role)
    SELECT repository_id, internal_robot_id, 'write' FROM created
    ON CONFLICT (repository_id, user_id) DO UPDATE SET role = 'write'
    WHERE repositorypermission.role = 'read'
)
SELECT (SELECT id FROM robot), (SELECT id FROM created)
"""

_LOCK = f"""
SELECT m.*, now() AS now, r.namespace_user_id FROM repomirrorconfig m
JOIN repository r ON r.id = m.repository_id
WHERE m.repository_id = {REPOSITORY_ID} FOR UPDATE OF m
"""

_ROBOT = """
SELECT id FROM "user" WHERE username = %(robot)s AND robot_owner_id = %(namespace_id)s
"""

# A run whose settings changed deletes nothing, and a confirmation of deletions was for the earlier
# settings. Other credentials may be sent even if the earlier ones were refused, and another
# repository has other digests.
_CHANGE = """
WITH changed AS (
    UPDATE repomirrorconfig SET internal_robot_id = %(internal_robot_id)s,
        is_enabled = %(is_enabled)s, external_reference = %(external_reference)s,
        external_registry_username = %(external_registry_username)s,
        external_registry_password = %(external_registry_password)s,
        external_registry_config = %(external_registry_config)s,
        proxy_passwords = %(proxy_passwords)s, root_rule = %(root_rule)s,
        architecture_filter = %(architecture_filter)s, sync_interval = %(sync_interval)s,
        sync_start_date = %(sync_start_date)s, skopeo_timeout = %(skopeo_timeout)s,
        options = %(options)s, next_at = %(next_at)s,
        settings_version = settings_version + CASE WHEN %(new_plan)s THEN 1 ELSE 0 END,
        deletions_confirmed = deletions_confirmed AND NOT %(new_plan)s,
        refusals = CASE WHEN %(new_access)s THEN 0 ELSE refusals END
    WHERE id = %(id)s RETURNING id, repository_id, internal_robot_id
), forgotten AS (
    UPDATE mirrortag SET upstream_digest = NULL, image_created = NULL, checked_at = NULL
    FROM changed WHERE mirror_id = changed.id AND %(new_reference)s
)
INSERT INTO repositorypermission (repository_id, user_id, role)
SELECT repository_id, internal_robot_id, 'write' FROM changed
ON CONFLICT (repository_id, user_id) DO UPDATE SET role = 'write'
WHERE repositorypermission.role = 'read'
"""

_DELETE = f"""
WITH deleted AS (
    DELETE FROM repomirrorconfig WHERE repository_id = {REPOSITORY_ID} RETURNING repository_id
), restored AS (
    UPDATE repository SET state = 'NORMAL' FROM deleted
    WHERE repository.id = deleted.repository_id AND repository.state = '{MIRROR}'
)
SELECT repository_id FROM deleted
"""

_REQUEST = f"""
UPDATE repomirrorconfig m
SET sync_status = '{SYNC_NOW}', requested_at = coalesce(m.requested_at, now()),
    retries_remaining = 3, refusals = 0, deletions_confirmed = deletions_confirmed OR {{confirm}}
WHERE m.repository_id = {REPOSITORY_ID} AND m.run_id IS NULL AND m.sync_status <> '{SYNCING}'
  AND (SELECT state FROM repository WHERE id = m.repository_id) = '{MIRROR}' AND {{condition}}
RETURNING m.id
"""

# A run that has not begun is cancelled at once; the processes of one in progress end it.
_CANCEL = f"""
UPDATE repomirrorconfig m
SET cancel_requested_at = CASE WHEN m.run_id IS NOT NULL
                               THEN coalesce(m.cancel_requested_at, now()) END,
    sync_status = CASE WHEN m.run_id IS NULL THEN '{CANCEL}' ELSE m.sync_status END,
    requested_at = NULL, deletions_confirmed = false
WHERE m.repository_id = {REPOSITORY_ID}
  AND (m.run_id IS NOT NULL OR m.sync_status IN ('{SYNC_NOW}', '{SYNCING}'))
RETURNING m.id
"""


class MirrorChange(TypedDict, total=False):
    """Settings of a mirror.

    The names of those that Quay has are those of the API.
    """

    is_enabled: bool
    external_reference: str
    robot_username: str
    external_registry_username: str | None
    external_registry_password: str | None
    # Only the given keys are changed.
    external_registry_config: Mapping[str, Any]
    # Patterns of tags.
    root_rule: list[str]
    architecture_filter: list[str]
    sync_interval: int
    sync_start_date: datetime
    skopeo_timeout_interval: int
    # Only the given keys are changed; None resets an option.
    options: Mapping[str, Any]


class Mirrors:
    """The mirrors of all repositories."""

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

    def find(self, repository: RepositoryName) -> Mirror:
        """Return the mirror of a repository.

        Raises:
            MirrorUnknown: There is none.
        """
        rows = self._database.read(
            f"{MIRRORS} WHERE m.repository_id = {REPOSITORY_ID}", name_parameters(repository)
        )
        if not rows:
            raise mirror_unknown(repository)
        return mirror_from_row(rows[0])

    def list(self, namespace: str | None = None) -> list[Mirror]:
        """Return the mirrors of a namespace, or all, by name."""
        rows = self._database.read(
            f"{MIRRORS} WHERE %(namespace)s::text IS NULL OR n.username = %(namespace)s"
            " ORDER BY n.username, r.name",
            {"namespace": namespace},
        )
        return [mirror_from_row(row) for row in rows]

    def settings(self, mirror: Mirror) -> MirrorSettings:
        """Return the settings of a mirror, with its password.

        Raises:
            InvalidReference: They were written by a version with other rules.
            SecretUnreadable: The password was encrypted with another bundle's key.
        """
        return MirrorSettings.from_row(mirror.row, self._cipher)

    def create(self, repository: RepositoryName, new: MirrorChange) -> None:
        """Create a mirror; its repository gets the state MIRROR, and its robot may push.

        Args:
            repository: The repository.
            new: The settings; external_reference, robot_username, root_rule, sync_interval and
                sync_start_date are required.

        Raises:
            RepositoryUnknown: There is no such repository.
            MirrorExists: The repository is a mirror already.
            MirroredOrganization: The organization is a mirror.
            InvalidMirror: A setting is not valid.
        """
        require_own_settings(self._database, repository)
        rows = self._database.read(_IDENTITY, name_parameters(repository))
        repository_id, now = rows[0]
        if repository_id is None:
            raise _no_repository(repository)
        row = self._merged(_defaults(repository_id), new)
        try:
            robot_id, mirror_id = self._database.run(
                _CREATE,
                {
                    **_stored(row),
                    "robot": new["robot_username"],
                    "next_at": schedule_of(row).first(now),
                },
            )[0]
        except psycopg2.errors.ForeignKeyViolation as error:
            # The repository or the robot was deleted at the same time.
            raise _no_repository(repository) from error
        if robot_id is None:
            raise _foreign_robot(repository, new["robot_username"])
        if mirror_id is None:
            raise MirrorExists(f"'{repository}' is a mirror already; change or delete it instead")

    def change(self, repository: RepositoryName, change: MirrorChange) -> tuple[Mirror, Mirror]:
        """Change all given settings or, if one is not valid, none.

        Args:
            repository: The repository.
            change: The settings.

        Returns:
            The mirror before and after the change.

        Raises:
            MirrorUnknown: The repository is no mirror.
            MirroredOrganization: The organization is a mirror.
            InvalidMirror: A setting is not valid.
        """
        before = self.find(repository)
        require_own_settings(self._database, repository)
        with self._database.transaction() as cursor:
            cursor.execute(_LOCK, name_parameters(before.repository))
            found = cursor.fetchone()
            if found is None:
                raise mirror_unknown(repository)
            old = dict(found)
            row = self._merged(old, change)
            if "robot_username" in change:
                cursor.execute(
                    _ROBOT,
                    {
                        "robot": change["robot_username"],
                        "namespace_id": old["namespace_user_id"],
                    },
                )
                robot = cursor.fetchone()
                if robot is None:
                    raise _foreign_robot(repository, change["robot_username"])
                row["internal_robot_id"] = robot[0]
            new_reference = row["external_reference"] != old["external_reference"]
            new_access = new_reference or not change.keys().isdisjoint(
                {"external_registry_username", "external_registry_password"}
            )
            parameters = {
                **_stored(row),
                "next_at": _next_at(old, row),
                "new_reference": new_reference,
                "new_access": new_access,
                "new_plan": any(row[name] != old[name] for name in _PLANNED_BY),
            }
            cursor.execute(_CHANGE, parameters)
        return before, self.find(before.repository)

    def delete(self, repository: RepositoryName) -> None:
        """Delete a mirror; the repository keeps its tags and gets the state NORMAL.

        Raises:
            MirrorUnknown: The repository is no mirror.
            MirroredOrganization: The organization is a mirror.
        """
        require_own_settings(self._database, repository)
        if not self._database.run(_DELETE, name_parameters(repository)):
            raise mirror_unknown(repository)

    def request_sync(self, repository: RepositoryName) -> None:
        """Request a run, which starts at once, also if the mirror is disabled.

        Raises:
            MirrorUnknown: The repository is no mirror, or a run is in progress.
            MirrorInactive: The repository does not have the state MIRROR.
        """
        self._request(repository, condition="true", confirm="false")

    def confirm_deletions(self, repository: RepositoryName) -> None:
        """Permit the deletions that the last run refused, and request a run.

        Raises:
            MirrorUnknown: The repository is no mirror, or a run is in progress.
            MirrorInactive: The repository does not have the state MIRROR.
            NothingToConfirm: The last run refused no deletions.
        """
        self._request(repository, condition=f"m.reason = '{TOO_MANY_DELETIONS}'", confirm="true")

    def request_cancel(self, repository: RepositoryName) -> None:
        """Cancel the current or requested run; the schedule stays.

        Raises:
            MirrorUnknown: The repository is no mirror, or there is no run to cancel.
        """
        if not self._database.run(_CANCEL, name_parameters(repository)):
            self.find(repository)
            raise MirrorUnknown(f"the mirror '{repository}' has no run to cancel")

    def _request(self, repository: RepositoryName, *, condition: str, confirm: str) -> None:
        statement = _REQUEST.format(condition=condition, confirm=confirm)
        if self._database.run(statement, name_parameters(repository)):
            return
        mirror = self.find(repository)
        if mirror.repository_state != MIRROR:
            raise MirrorInactive(
                f"the repository '{repository}' has the state {mirror.repository_state}, in which"
                " its mirror does not run; change the state to MIRROR"
            )
        if mirror.status == SYNCING or mirror.row["run_id"] is not None:
            raise MirrorUnknown(f"a run of the mirror '{repository}' is in progress")
        raise NothingToConfirm(
            f"the last run of the mirror '{repository}' refused no deletions; nothing to confirm"
        )

    def _merged(self, old: Mapping[str, Any], change: MirrorChange) -> dict[str, Any]:
        """Return the row of a mirror after a change.

        Raises:
            InvalidMirror: A setting is not valid.
        """
        row = dict(old)
        for name in (
            "is_enabled",
            "external_reference",
            "sync_interval",
            "sync_start_date",
            "architecture_filter",
        ):
            if name in change:
                row[name] = change[name]
        if "skopeo_timeout_interval" in change:
            row["skopeo_timeout"] = change["skopeo_timeout_interval"]
        if "root_rule" in change:
            row["root_rule"] = _root_rule(change["root_rule"])
        merge_access(row, old, change, self._cipher)
        reference = UpstreamReference.parse(row["external_reference"])
        check_upstream(self._check, reference, row, self._cipher, field="external_reference")
        require_password_for_new_route(old, row, change, host=_host)
        return row


def _host(row: Mapping[str, Any]) -> str:
    return UpstreamReference.parse(row["external_reference"]).host


def _defaults(repository_id: int) -> dict[str, Any]:
    return {
        "repository_id": repository_id,
        "is_enabled": True,
        "external_registry_username": None,
        "external_registry_password": None,
        "external_registry_config": {},
        "proxy_passwords": None,
        "architecture_filter": [],
        "skopeo_timeout": 300,
        "options": {},
    }


def _root_rule(patterns: list[str]) -> dict[str, Any]:
    rule = include_rule(patterns)
    if not rule["rule_value"]:
        raise InvalidMirror("root_rule.rule_value", "needs at least one pattern, such as '*'")
    return rule


def _stored(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a statement that writes a row."""
    documents = ("external_registry_config", "root_rule", "options")
    return {**row, **{name: json.dumps(row[name]) for name in documents}}


def _next_at(old: Mapping[str, Any], new: Mapping[str, Any]) -> datetime | None:
    """Return when the next run is due after a change."""
    schedule = schedule_of(new)
    if schedule == schedule_of(old):
        next_at: datetime | None = old["next_at"]
        return next_at
    now: datetime = old["now"]
    return schedule.first(now) if old["sync_status"] == NEVER_RUN else schedule.after(now)


def _no_repository(repository: RepositoryName) -> RepositoryUnknown:
    return RepositoryUnknown(f"there is no repository '{repository}'")


def _foreign_robot(repository: RepositoryName, robot: str) -> InvalidMirror:
    return InvalidMirror(
        "robot_username",
        f"'{robot[:255]}' is not a robot of '{repository.namespace}'; use one of its robots, whose"
        f" names begin with '{repository.namespace}+'",
    )
