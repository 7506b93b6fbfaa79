"""`organization/{orgname}/mirror`: mirrors of organizations, with FEATURE_ORG_MIRROR.

Operations, statuses and fields are Quay's. Settings that Quay does not have are in the object
`atoll`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atoll.mirroring.errors import InvalidMirror
from atoll.mirroring.organizations.organization_dry_runs import OrganizationDryRuns
from atoll.mirroring.organizations.organization_health import OrganizationHealthReporter
from atoll.mirroring.organizations.organization_mirrors import (
    OrganizationMirrorChange,
    OrganizationMirrors,
)
from atoll.mirroring.organizations.organization_status import OrganizationStatuses
from atoll.mirroring.organizations.organization_verification import OrganizationVerification
from atoll.mirroring.organizations.records import OrganizationMirror
from atoll.mirroring.rules.settings import MirrorOptions
from atoll.mirroring.rules.values import TAG_GLOBS
from atoll.web.api.mirror import PLAN_SECONDS, VerificationSlots
from atoll.web.api.mirror_models import formatted, parsed
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, operation
from atoll.web.api.organization_mirror_models import (
    ChangedOrganizationMirror,
    NewOrganizationMirror,
    OrganizationMirrorSchema,
    OrganizationPlanSchema,
    OrganizationVerificationSchema,
    RepositoryPage,
    RepositoryQuery,
)


@dataclass(frozen=True)
class OrganizationMirroring:
    """The collaborators of the resources of mirrors of organizations."""

    mirrors: OrganizationMirrors
    verification: OrganizationVerification
    dry_runs: OrganizationDryRuns
    health: OrganizationHealthReporter


class OrganizationMirrorResource:
    """`organization/{orgname}/mirror`."""

    def __init__(
        self,
        mirrors: OrganizationMirrors,
        statuses: OrganizationStatuses,
        namespaces: Namespaces,
        *,
        sparse_indexes: bool,
    ) -> None:
        self._mirrors = mirrors
        self._statuses = statuses
        self._namespaces = namespaces
        self._sparse_indexes = sparse_indexes

    @operation("getOrgMirrorConfig", response=OrganizationMirrorSchema, scope="org:admin")
    def on_get(self, call: Call, orgname: str) -> Any:
        """Get the mirror of an organization."""
        _require_manager(self._namespaces, call, orgname)
        return _serialize(*self._statuses.with_counts(orgname))

    @operation(
        "createOrgMirrorConfig",
        body=NewOrganizationMirror,
        status=201,
        response=str,
        scope="org:admin",
    )
    def on_post(self, call: Call, orgname: str) -> Any:
        """Make an organization without repositories a mirror of a namespace."""
        _require_manager(self._namespaces, call, orgname)
        new: NewOrganizationMirror = call.body
        self._mirrors.create(orgname, self._change(new))
        call.log(
            "org_mirror_enabled",
            orgname,
            external_registry_type=new.external_registry_type,
            external_registry_url=new.external_registry_url,
            external_namespace=new.external_namespace,
            sync_interval=new.sync_interval,
            robot_username=new.robot_username,
        )
        return ""

    @operation(
        "updateOrgMirrorConfig", body=ChangedOrganizationMirror, response=str, scope="org:admin"
    )
    def on_put(self, call: Call, orgname: str) -> Any:
        """Change settings of a mirror: all that are given or, if one is invalid, none."""
        _require_manager(self._namespaces, call, orgname)
        body: ChangedOrganizationMirror = call.body
        before, after = self._mirrors.change(orgname, self._change(body))
        call.log(
            "org_mirror_config_changed",
            orgname,
            updated_fields=sorted(body.model_fields_set),
            old_external_reference=before.reference,
            external_reference=after.reference,
        )
        return ""

    @operation("deleteOrgMirrorConfig", status=204, scope="org:admin")
    def on_delete(self, call: Call, orgname: str) -> None:
        """Delete a mirror; its repositories keep their tags and become ordinary ones."""
        _require_manager(self._namespaces, call, orgname)
        mirror = self._mirrors.delete(orgname)
        call.log("org_mirror_disabled", orgname, external_reference=mirror.reference)

    def _change(
        self, body: NewOrganizationMirror | ChangedOrganizationMirror
    ) -> OrganizationMirrorChange:
        """Return the settings that a request gives.

        Raises:
            InvalidMirror: Indexes would lack images, which the bundle does not permit.
        """
        options = body.atoll
        if options is not None and options.architecture_filter and not self._sparse_indexes:
            raise InvalidMirror("atoll.architecture_filter", "requires FEATURE_SPARSE_INDEX: true")
        return _change(body)


class OrganizationMirrorSync:
    """`organization/{orgname}/mirror/sync-now`."""

    def __init__(self, mirrors: OrganizationMirrors, namespaces: Namespaces) -> None:
        self._mirrors = mirrors
        self._namespaces = namespaces

    @operation("syncOrgMirrorNow", status=204, scope="org:admin")
    def on_post(self, call: Call, orgname: str) -> None:
        """Request a discovery of repositories, and then runs of all of them."""
        _require_manager(self._namespaces, call, orgname)
        mirror = self._mirrors.request_sync(orgname)
        call.log("org_mirror_sync_now_requested", orgname, external_reference=mirror.reference)


class OrganizationMirrorCancellation:
    """`organization/{orgname}/mirror/sync-cancel`."""

    def __init__(self, mirrors: OrganizationMirrors, namespaces: Namespaces) -> None:
        self._mirrors = mirrors
        self._namespaces = namespaces

    @operation("cancelOrgMirrorSync", status=204, scope="org:admin")
    def on_post(self, call: Call, orgname: str) -> None:
        """Cancel the discovery of repositories, and the runs of all of them."""
        _require_manager(self._namespaces, call, orgname)
        mirror = self._mirrors.request_cancel(orgname)
        call.log("org_mirror_sync_cancelled", orgname, external_reference=mirror.reference)


class OrganizationMirrorVerification:
    """`organization/{orgname}/mirror/verify`."""

    def __init__(self, mirroring: OrganizationMirroring, namespaces: Namespaces) -> None:
        self._mirrors = mirroring.mirrors
        self._verification = mirroring.verification
        self._namespaces = namespaces
        self._slots = VerificationSlots()

    @operation(
        "verifyOrgMirrorConnection", response=OrganizationVerificationSchema, scope="org:admin"
    )
    def on_post(self, call: Call, orgname: str) -> Any:
        """Connect to the upstream of a mirror, and list its repositories."""
        _require_manager(self._namespaces, call, orgname)
        mirror = self._mirrors.find(orgname)
        with self._slots.one():
            success, message = self._verification.verify(mirror)
        return {"success": success, "message": message}


class OrganizationMirrorPlan:
    """`organization/{orgname}/mirror/plan`."""

    def __init__(self, mirroring: OrganizationMirroring, namespaces: Namespaces) -> None:
        self._mirrors = mirroring.mirrors
        self._dry_runs = mirroring.dry_runs
        self._namespaces = namespaces
        self._slots = VerificationSlots()

    @operation("planOrgMirror", response=OrganizationPlanSchema, scope="org:admin")
    def on_post(self, call: Call, orgname: str) -> Any:
        """Get which repositories a discovery would create or skip, without starting it."""
        _require_manager(self._namespaces, call, orgname)
        mirror = self._mirrors.find(orgname)
        with self._slots.one():
            return self._dry_runs.plan(mirror, PLAN_SECONDS).as_dict()


class OrganizationMirrorRepositories:
    """`organization/{orgname}/mirror/repositories`."""

    def __init__(self, statuses: OrganizationStatuses, namespaces: Namespaces) -> None:
        self._statuses = statuses
        self._namespaces = namespaces

    @operation(
        "listOrgMirrorRepositories",
        query=RepositoryQuery,
        response=RepositoryPage,
        scope="org:admin",
    )
    def on_get(self, call: Call, orgname: str) -> Any:
        """List the repositories that the upstream lists, or listed, by name."""
        _require_manager(self._namespaces, call, orgname)
        query: RepositoryQuery = call.query
        offset = (query.page - 1) * query.limit
        total, found = self._statuses.repositories(
            orgname, query.status, limit=query.limit, offset=offset
        )
        return {
            "repositories": [
                {
                    "name": one.name,
                    "sync_status": one.status,
                    "discovery_date": formatted(one.discovered_at),
                    "last_sync_date": formatted(one.last_sync_at),
                    "status_message": one.message,
                    "quay_repository": one.repository,
                }
                for one in found
            ],
            "page": query.page,
            "limit": query.limit,
            "total": total,
            "has_next": query.page * query.limit < total,
        }


def _require_manager(namespaces: Namespaces, call: Call, orgname: str) -> None:
    """Raise unless the caller administers the organization or is a superuser.

    Raises:
        OrganizationUnknown: There is no such organization.
        Unauthenticated: The caller is not logged in.
        InsufficientScope: The caller lacks the permission.
    """
    if call.principal is None or not call.principal.superuser:
        namespaces.require_admin(call, orgname)


def _change(body: NewOrganizationMirror | ChangedOrganizationMirror) -> OrganizationMirrorChange:
    """Return the settings that a request gives."""
    given = body.model_dump(exclude_unset=True)
    options = given.pop("atoll", None) or {}
    if "sync_start_date" in given:
        given["sync_start_date"] = parsed(body.sync_start_date)
    for name, empty in (("external_registry_config", {}), ("repository_filters", [])):
        if name in given:
            given[name] = given[name] or empty
    if "tags" in options:
        rule = options.pop("tags")
        given["tags"] = rule["rule_value"] if rule else ["*"]
    if "architecture_filter" in options:
        given["architecture_filter"] = options.pop("architecture_filter") or []
    if options:
        given["options"] = options
    return given  # type: ignore[return-value]


def _serialize(mirror: OrganizationMirror, counts: dict[str, int]) -> OrganizationMirrorSchema:
    row = mirror.row
    options = {name: row["options"].get(name) for name in MirrorOptions.model_fields}
    return {
        "is_enabled": row["is_enabled"],
        "external_registry_type": row["external_registry_type"],
        "external_registry_url": row["external_registry_url"],
        "external_namespace": row["external_namespace"],
        "external_registry_username": row["external_registry_username"],
        "has_external_registry_password": row["external_registry_password"] is not None,
        "external_registry_config": row["external_registry_config"],
        "repository_filters": row["repository_filters"],
        "robot_username": mirror.robot,
        "visibility": row["visibility"],
        "sync_interval": row["sync_interval"],
        "sync_start_date": formatted(row["sync_start_date"]),
        "sync_expiration_date": formatted(row["lease_expires"]),
        "sync_status": mirror.status,
        "sync_retries_remaining": row["retries_remaining"],
        "skopeo_timeout": row["skopeo_timeout"],
        "creation_date": formatted(row["created_at"]),
        "repo_sync_status_counts": counts,
        "atoll": {
            **options,
            "tags": {"rule_kind": TAG_GLOBS, "rule_value": mirror.patterns},
            "architecture_filter": row["architecture_filter"],
            "next_date": formatted(row["next_at"]),
            "last_success_date": formatted(row["last_success_at"]),
            "reason": row["reason"],
            "message": row["status_message"],
        },
    }
