"""The model of `config.yaml`: Quay's keys, their types and defaults.

Facts about each key: Quay's schema; defaults are Quay's where this file gives no reason.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    field_validator,
)

from atoll.config.hosts import checked_host_rule
from atoll.config.limits import ReplicationLimit
from atoll.config.sizes import Size
from atoll.config.stores import StoreSettings

_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+)\s*([smhdw])")


def parse_duration(value: Any) -> int:
    """Return a number of seconds from text such as `2w` or `12h`."""
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("must be a number and s, m, h, d or w, such as 2w")
    return int(match[1]) * _DURATION_UNITS[match[2]]


def _postgresql_only(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql:// (Atoll keeps its data in PostgreSQL)")
    return value


Duration = Annotated[int, BeforeValidator(parse_duration)]
HostRule = Annotated[str, AfterValidator(checked_host_rule)]


# What blobs and uploads have for themselves at a store.
_TAKEN = frozenset({"sha256", "sha512", "uploads"})
_PATH = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)


def parse_object_path(value: Any) -> str:
    """Return the beginning of keys at a store, without slashes around it."""
    path = str(value).strip("/")
    if not _PATH.fullmatch(path) or path.partition("/")[0] in _TAKEN:
        raise ValueError("must be a path of letters, digits, . _ and -, and not that of blobs")
    return path


ObjectPath = Annotated[str, BeforeValidator(parse_object_path)]


class RedisSettings(BaseModel):
    """One Redis: `BUILDLOGS_REDIS` or `USER_EVENTS_REDIS`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str
    port: int = Field(default=6379, ge=1, le=65535)
    username: str | None = None
    password: SecretStr | None = None
    db: int = 0
    ssl: bool = False
    ssl_ca_certs: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None


class ReadReplica(BaseModel):
    """One of DB_READ_REPLICAS: a replica of the database near to this site."""

    model_config = ConfigDict(
        alias_generator=str.upper, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    db_uri: SecretStr
    # Beside those of the primary, DB_CONNECTION_ARGS.
    db_connection_args: dict[str, Any] = Field(default_factory=dict)

    @field_validator("db_uri")
    @classmethod
    def _postgresql_only(cls, value: SecretStr) -> SecretStr:
        return _postgresql_only(value)


class Bundle(BaseModel):
    """A checked `config.yaml`; field `server_hostname` is the key SERVER_HOSTNAME, and so on."""

    model_config = ConfigDict(
        alias_generator=str.upper,
        frozen=True,
        hide_input_in_errors=True,
        # Unknown keys are reported by `check` as warnings: a bundle made for Quay has many.
        extra="ignore",
    )

    # The name by which every client knows the registry, whichever site answers.
    # Documentation shows placeholders here, which `check` only warns of; what could break out of a
    # header is refused.
    server_hostname: str = Field(min_length=1, pattern=r'^[^\x00-\x1f\x7f"\\]+$')
    preferred_url_scheme: Literal["http", "https"] = "http"
    external_tls_termination: bool = False

    db_uri: SecretStr
    db_connection_args: dict[str, Any] = Field(default_factory=dict)
    # Asked by pulls for what may be slightly old, and for all that pulls need while the primary is
    # away. Sites may differ in it: a replica is near to one of them.
    db_read_replicas: list[ReadReplica] = Field(default_factory=list)
    buildlogs_redis: RedisSettings
    user_events_redis: RedisSettings

    # Either key signs tokens; without one, a key that the sites share in the database does.
    secret_key: SecretStr | None = None
    database_secret_key: SecretStr | None = None

    super_users: list[str] = Field(default_factory=list)
    # Who may see everything and change nothing.
    global_readonly_super_users: list[str] = Field(default_factory=list)
    # Atoll's own: the password that the first of SUPER_USERS gets when migration creates it.
    initial_superuser_password: SecretStr | None = None
    authentication_type: Literal["Database"] = "Database"

    distributed_storage_config: dict[str, Any] = Field(min_length=1)
    distributed_storage_preference: list[str] = Field(default_factory=list)
    distributed_storage_default_locations: list[str] = Field(default_factory=list)
    feature_storage_replication: bool = False
    # Atoll's own: how fast, and at which hours, may be copied to a location.
    replication_limits: dict[str, ReplicationLimit] = Field(default_factory=dict)

    create_private_repo_on_push: bool = True
    create_namespace_on_push: bool = False
    feature_superusers_full_access: bool = False
    # Let POST /api/v1/user/initialize make the first user of an empty database.
    feature_user_initialize: bool = False
    feature_user_creation: bool = True
    feature_app_specific_tokens: bool = True
    feature_direct_login: bool = True
    feature_super_users: bool = True
    feature_anonymous_access: bool = True
    feature_invite_only_user_creation: bool = False
    feature_superusers_org_creation_only: bool = False
    # Let users give their own namespace another name.
    feature_user_rename: bool = False
    # Whether users may see the log of their own namespace. Quay's documentation says "no" where the
    # key is missing, its API lets them; who wrote the key meant it.
    feature_user_log_access: bool | None = None
    # Let superusers read the configuration, without its secrets, by the API.
    feature_superuser_configdump: bool = False
    # Let administrators of an application ask other users to give it a token.
    feature_assign_oauth_token: bool = True
    # Count pulls of each tag and manifest.
    feature_image_pull_stats: bool = False
    # There is no scanner; with this the API says of each manifest that it is not scanned.
    feature_security_scanner: bool = False
    robots_disallow: bool = False
    robots_whitelist: list[str] = Field(default_factory=list)
    # The life of a new app-specific token, such as 30d; without, it does not end.
    app_specific_token_expiration: Duration | None = None
    # For how long expired tokens are kept before they are removed.
    expired_app_specific_token_gc: Duration = 86400
    # For how long a tag's past can be brought back, where a namespace does not say otherwise.
    default_tag_expiration: Duration = 14 * 86400
    tag_expiration_options: list[Duration] = Field(
        default_factory=lambda: [0, 86400, 7 * 86400, 14 * 86400, 28 * 86400]
    )
    feature_change_tag_expiration: bool = True
    # Anything but "database" is warned of.
    logs_model: str = "database"
    # Let people have parts of the log written to files; for how many seconds these are there, and
    # below which key.
    feature_log_export: bool = True
    export_action_logs_seconds: int = Field(default=3600, ge=60)
    export_action_logs_storage_path: ObjectPath = "exportedactionlogs"
    # Move log entries older than the threshold to files, at a location and below a key. Without
    # rotation, which is Quay's default, the table grows by a row for each pull.
    feature_action_log_rotation: bool = True
    action_log_archive_location: str | None = None
    action_log_archive_path: ObjectPath = "archive/actionlogs"
    action_log_rotation_threshold: Duration = Field(default=30 * 86400, ge=86400)
    registry_state: Literal["normal", "readonly"] = "normal"
    disable_pushes: bool = False
    maximum_layer_size: Size = 20 * 2**30
    # Minutes after which an upload that nobody went on with is thrown away.
    blobupload_deletion_date_threshold: int = Field(default=2880, ge=1)
    # Seconds for which the blobs of a push are safe before a manifest names them.
    push_temp_tag_expiration_sec: int = Field(default=3600, ge=1)

    # Whether, and every how many seconds, is looked for what nobody needs any more.
    feature_garbage_collection: bool = True
    garbage_collection_frequency: int = Field(default=30, ge=1)
    # Atoll's own: for how long after that a push, a mount or a manifest brings a blob back.
    garbage_collection_grace: Duration = 86400
    # Atoll's own: for how long the objects of collected blobs stay after that, because a database
    # fail-over that loses as much brings the blobs back.
    garbage_collection_failover_window: Duration = 3600
    # Atoll's own: bytes per second that a site's worker reads to verify what is at its location (0:
    # it does not), and for how long what proved right is left alone.
    background_verification_rate: Size = 2**20
    background_verification_interval: Duration = 28 * 86400

    # Hosts and networks that requests for users (webhooks, log exports) may be sent to although
    # they are not public, and those that they may never be sent to.
    ssrf_allowed_hosts: list[HostRule] = Field(default_factory=list)
    webhook_hostname_blacklist: list[HostRule] = Field(default_factory=list)

    # Atoll's own: addresses and networks of load balancers whose X-Forwarded-For is believed.
    trusted_proxies: list[IPvAnyNetwork] = Field(default_factory=list)

    # Send blobs through the registry instead of sending clients to the stores.
    feature_proxy_storage: bool = False

    # Atoll's own: tell in each answer's Server-Timing how many round trips it took.
    feature_server_timing: bool = False

    # Not a key: hashes of all keys as they were read, to compare sites by.
    fingerprint: dict[str, str] = Field(default_factory=dict, alias="fingerprint")

    @field_validator("db_uri")
    @classmethod
    def _postgresql_only(cls, value: SecretStr) -> SecretStr:
        return _postgresql_only(value)

    @property
    def read_only(self) -> bool:
        """Tell whether nobody may write."""
        return self.registry_state == "readonly"

    @property
    def superusers(self) -> frozenset[str]:
        """Who may act as a superuser; not who is to change nothing."""
        return frozenset(self.super_users if self.feature_super_users else []) - self.auditors

    @property
    def auditors(self) -> frozenset[str]:
        """Who may see everything and change nothing."""
        return frozenset(self.global_readonly_super_users if self.feature_super_users else [])

    @property
    def reserved_usernames(self) -> frozenset[str]:
        """Names that carry privileges: only superusers, the migration and the CLI create them."""
        return frozenset(self.super_users) | frozenset(self.global_readonly_super_users)

    @property
    def stores(self) -> dict[str, StoreSettings]:
        """Every configured location, by name."""
        return self.distributed_storage_config

    @property
    def preference(self) -> list[str]:
        """This site's locations, nearest first; the first one is written to."""
        return self.distributed_storage_preference

    @property
    def required_locations(self) -> list[str]:
        """The locations where every blob must end up; none without replication."""
        if not self.feature_storage_replication:
            return []
        return self.distributed_storage_default_locations
