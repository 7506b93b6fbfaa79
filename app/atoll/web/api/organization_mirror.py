"""`organization/{orgname}/mirror`: mirrors of organizations, with FEATURE_ORG_MIRROR.

Operations, statuses and fields are Quay's. Settings that Quay does not have are in the object
`atoll`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from atoll.mirroring.errors import InvalidMirror
from atoll.mirroring.organizations.organization_dry_runs import OrganizationDryRuns
from atoll.mirroring.organizations.organization_health import OrganizationHealthReporter
from atoll.mirroring.organizations.organization_mirrors import (
    OrganizationMirrorChange,
    OrganizationMirrors,
)
from atoll.mirroring.organizations.organization_settings import (
    INTERVAL_MINIMUM,
    TIMEOUT_DEFAULT,
    Interval,
    Namespace,
    RegistryType,
    RegistryUrl,
    RepositoryFilters,
    Timeout,
    Visibility,
)
from atoll.mirroring.organizations.organization_status import OrganizationStatuses
from atoll.mirroring.organizations.organization_verification import OrganizationVerification
from atoll.mirroring.organizations.records import OrganizationMirror
from atoll.mirroring.rules.settings import TAG_GLOBS, Architectures, MirrorOptions, RegistryConfig
from atoll.mirroring.rules.texts import Password, Robot, Username
from atoll.web.api.mirror import (
    PLAN_SECONDS,
    AtollOptions,
    MirrorRule,
    SyncDate,
    VerificationSlots,
    formatted,
    parsed,
)
from atoll.web.api.namespaces import Namespaces
from atoll.web.api.operation import Call, RequestModel, operation


def _or_none(value: Any) -> Any:
    """As in Quay, empty credentials are none."""
    return None if value == "" else value


OptionalUsername = Annotated[Username | None, BeforeValidator(_or_none)]
OptionalPassword = Annotated[Password | None, BeforeValidator(_or_none)]


@dataclass(frozen=True)
class OrganizationMirroring:
    """The collaborators of the resources of mirrors of organizations."""

    mirrors: OrganizationMirrors
    verification: OrganizationVerification
    dry_runs: OrganizationDryRuns
    health: OrganizationHealthReporter


class OrganizationOptions(AtollOptions):
    """The options that Quay does not have; null resets an option."""

    tags: MirrorRule | None = Field(
        default=None, description="Patterns of tags; all tags if it is not set."
    )
    architecture_filter: Architectures | None = Field(
        default=None, description="The architectures of images to copy; all if it is empty."
    )


class NewOrganizationMirror(RequestModel):
    """A mirror of an organization to create."""

    is_enabled: bool = True
    external_registry_type: RegistryType
    external_registry_url: RegistryUrl
    external_namespace: Namespace
    robot_username: Robot
    visibility: Visibility
    sync_interval: Interval
    sync_start_date: SyncDate
    external_registry_username: OptionalUsername = None
    external_registry_password: OptionalPassword = None
    external_registry_config: RegistryConfig | None = None
    repository_filters: RepositoryFilters | None = None
    skopeo_timeout: Timeout = TIMEOUT_DEFAULT
    atoll: OrganizationOptions | None = None


class ChangedOrganizationMirror(RequestModel):
    """The settings of a mirror of an organization to change."""

    is_enabled: bool = Field(default=True)
    external_registry_type: RegistryType = Field(default="quay")
    external_registry_url: RegistryUrl = Field(default="")
    external_namespace: Namespace = Field(default="")
    robot_username: Robot = Field(default="")
    visibility: Visibility = Field(default="private")
    sync_interval: Interval = Field(default=INTERVAL_MINIMUM)
    sync_start_date: SyncDate = Field(default="")
    external_registry_username: OptionalUsername = None
    external_registry_password: OptionalPassword = None
    external_registry_config: RegistryConfig | None = None
    repository_filters: RepositoryFilters | None = None
    skopeo_timeout: Timeout = Field(default=TIMEOUT_DEFAULT)
    atoll: OrganizationOptions | None = None


class RepositoryQuery(RequestModel):
    """The status of repositories, and the page of results."""

    page: int = Field(default=1, ge=1, le=1_000_000)
    limit: int = Field(default=100, ge=1, le=500)
    status: (
        Literal["NEVER_RUN", "SYNC_NOW", "SYNCING", "SUCCESS", "FAIL", "CANCEL", "SKIP"] | None
    ) = None


class OrganizationMirrorSchema(TypedDict):
    """A mirror of an organization; `atoll` has further options."""

    is_enabled: bool
    external_registry_type: str
    external_registry_url: str
    external_namespace: str
    external_registry_username: str | None
    has_external_registry_password: bool
    external_registry_config: dict[str, Any]
    repository_filters: list[str]
    robot_username: str
    visibility: str
    sync_interval: int
    sync_start_date: str | None
    sync_expiration_date: str | None
    sync_status: str
    sync_retries_remaining: int
    skopeo_timeout: int
    creation_date: str | None
    repo_sync_status_counts: dict[str, int]
    atoll: dict[str, Any]


class DiscoveredRepository(TypedDict):
    """A repository that the upstream lists, or listed."""

    name: str
    sync_status: str
    discovery_date: str | None
    last_sync_date: str | None
    status_message: str | None
    quay_repository: str | None


class RepositoryPage(TypedDict):
    """A page of the repositories of a mirror."""

    repositories: list[DiscoveredRepository]
    page: int
    limit: int
    total: int
    has_next: bool


class OrganizationVerificationSchema(TypedDict):
    """The result of a connection to the upstream."""

    success: bool
    message: str


class PlannedRepositorySchema(TypedDict):
    """What would become of a repository."""

    name: str
    action: str
    repository: str
    external_reference: str
    reason: str | None


class OrganizationPlanSchema(TypedDict):
    """What a discovery would do; up to 1000 repositories of each action are listed."""

    success: bool
    reason: str | None
    message: str | None
    repositories_listed: int
    repositories_selected: int
    actions: dict[str, int]
    repositories: list[PlannedRepositorySchema]


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
        self._namespaces.require_admin(call, orgname)
        return _serialize(self._mirrors.find(orgname), self._statuses.counts(orgname))

    @operation(
        "createOrgMirrorConfig",
        body=NewOrganizationMirror,
        status=201,
        response=str,
        scope="org:admin",
    )
    def on_post(self, call: Call, orgname: str) -> Any:
        """Make an organization without repositories a mirror of a namespace."""
        self._namespaces.require_admin(call, orgname)
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
        self._namespaces.require_admin(call, orgname)
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
        self._namespaces.require_admin(call, orgname)
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
        self._namespaces.require_admin(call, orgname)
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
        self._namespaces.require_admin(call, orgname)
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
        self._namespaces.require_admin(call, orgname)
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
        self._namespaces.require_admin(call, orgname)
        mirror = self._mirrors.find(orgname)
        with self._slots.one():
            return self._dry_runs.plan(mirror, PLAN_SECONDS).as_dict()


class OrganizationMirrorRepositories:
    """`organization/{orgname}/mirror/repositories`."""

    def __init__(
        self,
        mirrors: OrganizationMirrors,
        statuses: OrganizationStatuses,
        namespaces: Namespaces,
    ) -> None:
        self._mirrors = mirrors
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
        self._namespaces.require_admin(call, orgname)
        self._mirrors.find(orgname)
        query: RepositoryQuery = call.query
        offset = (query.page - 1) * query.limit
        found = self._statuses.repositories(orgname, query.status, limit=query.limit, offset=offset)
        counts = self._statuses.counts(orgname)
        total = sum(counts.values()) if query.status is None else counts[query.status]
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
