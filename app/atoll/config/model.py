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
    JsonValue,
    SecretStr,
    field_validator,
)

from atoll.config.hosts import checked_host_rule
from atoll.config.replication_limits import ReplicationLimit
from atoll.config.scanner import ScannerKeys
from atoll.config.stores import StoreSettings
from atoll.config.units import Size
from atoll.config.upstream_limits import UpstreamLimit, checked_registry

_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+)\s*([smhdw])")


def parse_duration(value: Any) -> int:
    """Return the number of seconds of a duration such as `2w` or `12h`."""
    match = _DURATION.fullmatch(str(value).strip())
    if match is None:
        raise ValueError("must be a number and s, m, h, d or w, such as 2w")
    return int(match[1]) * _DURATION_UNITS[match[2]]


def _postgresql_only(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://; Atoll supports no other database")
    return value


Duration = Annotated[int, BeforeValidator(parse_duration)]
HostRule = Annotated[str, AfterValidator(checked_host_rule)]
Registry = Annotated[str, AfterValidator(checked_registry)]


# Top-level paths that are reserved for blobs and uploads.
_RESERVED_PATHS = frozenset({"sha256", "sha512", "uploads"})
_PATH = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)


def parse_object_path(value: Any) -> str:
    """Validate a prefix of object keys, and strip slashes at both ends."""
    path = str(value).strip("/")
    if not _PATH.fullmatch(path) or path.partition("/")[0] in _RESERVED_PATHS:
        raise ValueError(
            "must be a path of letters, digits, . _ and -, other than sha256, sha512 and uploads"
        )
    return path


ObjectPath = Annotated[str, BeforeValidator(parse_object_path)]

# Marks the keys that Quay does not have, for the reference.
_ATOLL: dict[str, JsonValue] = {"origin": "Atoll"}


class RedisSettings(BaseModel):
    """One Redis: `BUILDLOGS_REDIS` or `USER_EVENTS_REDIS`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str = Field(description="Host name or address.")
    port: int = Field(default=6379, ge=1, le=65535, description="TCP port.")
    username: str | None = Field(default=None, description="User of Redis' access control list.")
    password: SecretStr | None = Field(default=None, description="Password of the user.")
    db: int = Field(default=0, description="Number of the database.")
    ssl: bool = Field(default=False, description="Connect with TLS.")
    ssl_ca_certs: str | None = Field(
        default=None, description="File of the CA certificates that the server is verified with."
    )
    ssl_certfile: str | None = Field(default=None, description="File of the client certificate.")
    ssl_keyfile: str | None = Field(default=None, description="File of the client's key.")


class ReadReplica(BaseModel):
    """One of DB_READ_REPLICAS: a replica of the database near to this site."""

    model_config = ConfigDict(
        alias_generator=str.upper, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    db_uri: SecretStr = Field(description="PostgreSQL URI of the replica.")
    db_connection_args: dict[str, Any] = Field(
        default_factory=dict,
        description="Connection parameters, in addition to those of DB_CONNECTION_ARGS.",
    )

    @field_validator("db_uri")
    @classmethod
    def _postgresql_only(cls, value: SecretStr) -> SecretStr:
        return _postgresql_only(value)


class Bundle(ScannerKeys):
    """A checked `config.yaml`; field `server_hostname` is the key SERVER_HOSTNAME, and so on."""

    model_config = ConfigDict(
        alias_generator=str.upper,
        frozen=True,
        hide_input_in_errors=True,
        # Unknown keys are reported by `check` as warnings: a bundle made for Quay has many.
        extra="ignore",
    )

    # Placeholders, as in Quay's documentation, are only warned of by `check`; what could break out
    # of a header is refused.
    server_hostname: str = Field(
        min_length=1,
        pattern=r'^[^\x00-\x1f\x7f"\\]+$',
        description="Host name, optionally with a port, by which clients address the registry at"
        " every site; also the audience of registry tokens.",
    )
    preferred_url_scheme: Literal["http", "https"] = Field(
        default="http", description="Scheme of the URLs that clients are given."
    )
    external_tls_termination: bool = Field(
        default=False, description="A load balancer terminates TLS and sets X-Forwarded-Proto."
    )

    db_uri: SecretStr = Field(
        description="PostgreSQL URI; several hosts, separated by commas, for fail-over."
    )
    db_connection_args: dict[str, Any] = Field(
        default_factory=dict,
        description="Connection parameters of libpq, such as sslmode. Quay's parameters of peewee"
        " are ignored.",
    )
    db_read_replicas: list[ReadReplica] = Field(
        default_factory=list,
        description="Replicas that serve pulls. They answer reads by digest, and all reads that"
        " pulls need while the primary is unavailable. Sites may differ in this key.",
    )
    buildlogs_redis: RedisSettings = Field(description="Required, as in Quay, and not used.")
    user_events_redis: RedisSettings = Field(
        description="Redis that all sites share, used as a cache."
    )

    secret_key: SecretStr | None = Field(
        default=None,
        description="Secret that registry tokens and sessions are signed with. Without it,"
        " DATABASE_SECRET_KEY, and without either a secret that is stored in the database.",
    )
    database_secret_key: SecretStr | None = Field(
        default=None,
        description="Secret that encrypts robot tokens and credentials in the database.",
    )

    super_users: list[str] = Field(default_factory=list, description="Names of the superusers.")
    global_readonly_super_users: list[str] = Field(
        default_factory=list,
        description="Names of users that may read everything and change nothing.",
    )
    initial_superuser_password: SecretStr | None = Field(
        default=None,
        description="Password of the first of SUPER_USERS when the first migration creates that"
        " account; at least 8 characters.",
        json_schema_extra=_ATOLL,
    )
    authentication_type: Literal["Database"] = Field(
        default="Database", description="Where accounts are kept."
    )

    distributed_storage_config: dict[str, Any] = Field(
        min_length=1,
        description="Object stores by the name of their location: the driver's name and its"
        " arguments.",
    )
    distributed_storage_preference: list[str] = Field(
        default_factory=list,
        description="Locations of a site, nearest first; the first one is written to. The"
        " environment variable QUAY_DISTRIBUTED_STORAGE_PREFERENCE replaces it.",
    )
    distributed_storage_default_locations: list[str] = Field(
        default_factory=list,
        description="Locations where every blob must have a copy, unless a policy says otherwise.",
    )
    feature_storage_replication: bool = Field(
        default=False, description="Copy blobs between locations in the background."
    )
    replication_limits: dict[str, ReplicationLimit] = Field(
        default_factory=dict,
        description="Bandwidth and hours of copies to a location, by its name.",
        json_schema_extra=_ATOLL,
    )

    create_private_repo_on_push: bool = Field(
        default=True, description="Repositories that a push creates are private."
    )
    create_namespace_on_push: bool = Field(
        default=False, description="A push creates a missing organization."
    )
    feature_superusers_full_access: bool = Field(
        default=False, description="Superusers may read and write every repository."
    )
    feature_user_initialize: bool = Field(
        default=False,
        description="`POST /api/v1/user/initialize` creates the first user of an empty database.",
    )
    feature_user_creation: bool = Field(
        default=True, description="Users may register accounts for themselves."
    )
    feature_app_specific_tokens: bool = Field(
        default=True, description="Users may create app-specific tokens."
    )
    feature_direct_login: bool = Field(
        default=True, description="Users may log in with their password."
    )
    feature_super_users: bool = Field(
        default=True, description="SUPER_USERS and GLOBAL_READONLY_SUPER_USERS are in force."
    )
    feature_anonymous_access: bool = Field(
        default=True, description="Public repositories may be pulled without an account."
    )
    feature_invite_only_user_creation: bool = Field(
        default=False, description="Users may not register accounts for themselves."
    )
    feature_superusers_org_creation_only: bool = Field(
        default=False, description="Only superusers may create organizations."
    )
    feature_user_rename: bool = Field(
        default=False, description="Users may rename their own namespace."
    )
    # Quay's documentation says "no" where the key is missing, its API says "yes".
    feature_user_log_access: bool | None = Field(
        default=None,
        description="Users may read the log of their own namespace; only false denies it.",
    )
    feature_superuser_configdump: bool = Field(
        default=False,
        description="Superusers may read the configuration, without its secrets, by the API.",
    )
    feature_assign_oauth_token: bool = Field(
        default=True,
        description="Administrators of an application may assign its token to other users.",
    )
    feature_image_pull_stats: bool = Field(
        default=False, description="Count the pulls of each tag and manifest."
    )
    robots_disallow: bool = Field(default=False, description="Robots may not be created or used.")
    robots_whitelist: list[str] = Field(
        default_factory=list, description="Robots that ROBOTS_DISALLOW does not apply to."
    )
    app_specific_token_expiration: Duration | None = Field(
        default=None,
        description="Lifetime of new app-specific tokens, such as 30d; unlimited if not set.",
    )
    expired_app_specific_token_gc: Duration = Field(
        default=86400,
        description="Time for which expired app-specific and OAuth tokens are kept.",
    )
    default_tag_expiration: Duration = Field(
        default=14 * 86400,
        description="Time for which a deleted or moved tag can be restored, where its namespace"
        " sets no other.",
    )
    tag_expiration_options: list[Duration] = Field(
        default_factory=lambda: [0, 86400, 7 * 86400, 14 * 86400, 28 * 86400],
        description="Values that a namespace may set instead of DEFAULT_TAG_EXPIRATION.",
    )
    feature_change_tag_expiration: bool = Field(
        default=True, description="Namespaces may set a tag expiration of their own."
    )
    logs_model: str = Field(
        default="database",
        description="Where the audit log is kept. Any value means the database; `config check`"
        " warns of others.",
    )
    feature_log_export: bool = Field(
        default=True, description="Users may export parts of the audit log to a file."
    )
    export_action_logs_seconds: int = Field(
        default=3600, ge=60, description="Seconds for which an exported file is available."
    )
    export_action_logs_storage_path: ObjectPath = Field(
        default="exportedactionlogs", description="Path of exported files at the store."
    )
    # Without rotation, which is Quay's default, the table grows by a row for each pull.
    feature_action_log_rotation: bool = Field(
        default=True,
        description="Move old entries of the audit log to files. Quay's default: false.",
    )
    action_log_archive_location: str | None = Field(
        default=None,
        description="Location of rotated log files; the site's first location if not set.",
    )
    action_log_archive_path: ObjectPath = Field(
        default="archive/actionlogs", description="Path of rotated log files at the store."
    )
    action_log_rotation_threshold: Duration = Field(
        default=30 * 86400, ge=86400, description="Age at which log entries are rotated."
    )
    feature_sparse_index: bool = Field(
        default=False,
        description="An index may list images that its repository does not have.",
    )
    feature_repo_mirror: bool = Field(
        default=False,
        description="Repositories may be mirrors, which only their robot changes.",
    )
    feature_org_mirror: bool = Field(
        default=False,
        description="Organizations may be mirrors of a namespace of another registry.",
    )
    org_mirror_interval: int = Field(
        default=30,
        ge=1,
        description="Seconds between two looks for due discoveries of repositories; requested ones"
        " start at once.",
    )
    org_mirror_max_discovery_duration: int = Field(
        default=1800,
        ge=1,
        description="Seconds after which the list of the repositories of a namespace is given up.",
    )
    repo_mirror_interval: int = Field(
        default=30,
        ge=1,
        description="Seconds between two looks of a mirror process for due runs and tags; requested"
        " runs start at once.",
    )
    repo_mirror_worker_replicas: int = Field(
        default=1,
        ge=0,
        description="The number of mirror processes of all sites; with fewer, mirrors are"
        " reported as unhealthy.",
    )
    repo_mirror_rollback: bool = Field(
        default=False,
        description="All tags of a mirror change together or, if one cannot be copied, not at all."
        " A mirror's option `rollback` overrides it.",
    )
    upstream_limits: dict[Registry, UpstreamLimit] = Field(
        default_factory=dict,
        description="The use of other registries by all mirrors and sites together, by registry.",
        json_schema_extra=_ATOLL,
    )
    registry_state: Literal["normal", "readonly"] = Field(
        default="normal", description="`readonly` refuses pushes and all other changes."
    )
    disable_pushes: bool = Field(default=False, description="Refuse pushes.")
    maximum_layer_size: Size = Field(
        default=20 * 2**30, description="Largest body of a layer or chunk."
    )
    blobupload_deletion_date_threshold: int = Field(
        default=2880, ge=1, description="Minutes after which an unfinished upload is deleted."
    )
    push_temp_tag_expiration_sec: int = Field(
        default=3600,
        ge=1,
        description="Seconds for which pushed blobs and untagged manifests are kept although"
        " nothing refers to them.",
    )

    feature_garbage_collection: bool = Field(
        default=True, description="Delete unreferenced manifests and blobs."
    )
    garbage_collection_frequency: int = Field(
        default=30, ge=1, description="Seconds between two rounds of garbage collection."
    )
    garbage_collection_grace: Duration = Field(
        default=86400,
        description="Time between a blob's tombstone and the deletion of its placements; a push, a"
        " mount or a manifest restores the blob meanwhile.",
        json_schema_extra=_ATOLL,
    )
    garbage_collection_failover_window: Duration = Field(
        default=3600,
        description="Time for which the objects of collected blobs are kept, because a database"
        " fail-over that loses transactions brings their placements back.",
        json_schema_extra=_ATOLL,
    )
    background_verification_rate: Size = Field(
        default=2**20,
        description="Bytes per second that a site's worker reads to verify the copies at its own"
        " location; 0 disables the scrub.",
        json_schema_extra=_ATOLL,
    )
    background_verification_interval: Duration = Field(
        default=28 * 86400,
        description="Time after which a verified copy is read again.",
        json_schema_extra=_ATOLL,
    )

    ssrf_allowed_hosts: list[HostRule] = Field(
        default_factory=list,
        description="Host names, addresses and networks that webhooks and log exports may be sent"
        " to although they are not public.",
    )
    webhook_hostname_blacklist: list[HostRule] = Field(
        default_factory=list,
        description="Host names, addresses and networks that webhooks and log exports are never"
        " sent to.",
    )

    feature_mailing: bool = Field(
        default=False,
        description="Send notifications by e-mail. Requires MAIL_SERVER and MAIL_DEFAULT_SENDER.",
    )
    mail_server: str | None = Field(default=None, description="Host of the mail server (SMTP).")
    mail_port: int = Field(default=587, ge=1, le=65535, description="Port of the mail server.")
    mail_use_tls: bool = Field(
        default=True,
        description="Require TLS: by STARTTLS, or from the beginning if MAIL_PORT is 465.",
    )
    mail_username: str | None = Field(
        default=None, description="User of the mail server; no login if not set."
    )
    mail_password: SecretStr | None = Field(default=None, description="Password of MAIL_USERNAME.")
    mail_default_sender: str | None = Field(
        default=None, description="Address that e-mail is sent from."
    )

    trusted_proxies: list[IPvAnyNetwork] = Field(
        default_factory=list,
        description="Addresses and networks of load balancers whose X-Forwarded-For and"
        " X-Forwarded-Host headers are trusted.",
        json_schema_extra=_ATOLL,
    )

    feature_proxy_storage: bool = Field(
        default=False,
        description="Send blobs through the registry instead of redirecting clients to stores.",
    )

    feature_ui_panel: bool = Field(
        default=True,
        description="Serve the panel, the pages for users and operators, at `/`.",
        json_schema_extra=_ATOLL,
    )
    feature_tag_cache: bool = Field(
        default=False,
        description=(
            "Keep tags in the memory of each process, invalidated by notifications of PostgreSQL,"
            " for sites far from it. A changed tag is returned until its notification arrives."
            " The upload of a push's next layer is recorded together with the blob before it."
        ),
        json_schema_extra=_ATOLL,
    )
    feature_server_timing: bool = Field(
        default=False,
        description="Report the round trips of each request in the header Server-Timing.",
        json_schema_extra=_ATOLL,
    )

    # Not a key: hashes of all keys as they were read, for comparing sites.
    fingerprint: dict[str, str] = Field(default_factory=dict, alias="fingerprint")

    @field_validator("db_uri")
    @classmethod
    def _postgresql_only(cls, value: SecretStr) -> SecretStr:
        return _postgresql_only(value)

    @property
    def read_only(self) -> bool:
        """Whether the registry rejects all changes."""
        return self.registry_state == "readonly"

    @property
    def superusers(self) -> frozenset[str]:
        """The names of users with superuser rights, which excludes auditors."""
        return frozenset(self.super_users if self.feature_super_users else []) - self.auditors

    @property
    def auditors(self) -> frozenset[str]:
        """The names of users with read-only access to everything."""
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
        """The locations that every blob is copied to; empty without replication."""
        if not self.feature_storage_replication:
            return []
        return self.distributed_storage_default_locations
