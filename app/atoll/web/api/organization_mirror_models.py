"""The bodies and queries of `organization/{orgname}/mirror`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from typing_extensions import TypedDict

from atoll.mirroring.organizations.organization_settings import (
    INTERVAL_MINIMUM,
    Interval,
    Namespace,
    RegistryType,
    RegistryUrl,
    RepositoryFilters,
    Timeout,
    Visibility,
)
from atoll.mirroring.rules.settings import Architectures, RegistryConfig
from atoll.mirroring.rules.texts import Password, Robot, Username
from atoll.mirroring.rules.values import ORGANIZATION_TIMEOUT_DEFAULT
from atoll.web.api.mirror_models import AtollOptions, MirrorRule, SyncDate
from atoll.web.api.operation import RequestModel


def _or_none(value: Any) -> Any:
    """As in Quay, empty credentials are none."""
    return None if value == "" else value


OptionalUsername = Annotated[Username | None, BeforeValidator(_or_none)]
OptionalPassword = Annotated[Password | None, BeforeValidator(_or_none)]


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
    skopeo_timeout: Timeout = ORGANIZATION_TIMEOUT_DEFAULT
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
    skopeo_timeout: Timeout = Field(default=ORGANIZATION_TIMEOUT_DEFAULT)
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
