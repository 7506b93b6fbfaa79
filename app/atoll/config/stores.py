"""Storage drivers of DISTRIBUTED_STORAGE_CONFIG, and their arguments.

Names and arguments are Quay's: a list of the driver's name and a map of arguments. The differences
between S3 dialects are described here as data; the driver depends on `S3StoreSettings` only. Quay's
chunk sizes are accepted without effect; Atoll chooses part sizes by the object's size
(`atoll.storage.multipart`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

Port = Annotated[int, Field(ge=1, le=65535)]

# The description of arguments for values that Atoll chooses itself.
_UNUSED = "Accepted for compatibility with Quay; has no effect."


def _url(value: Any) -> Any:
    if value is not None and not str(value).startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return value


Url = Annotated[str, BeforeValidator(_url)]


class StoreSettings(BaseModel):
    """The settings of a store, in the same form for every driver."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    driver: ClassVar[str]
    # Whether other sites can reach the store.
    shared: ClassVar[bool] = True

    storage_path: str = Field(description="Path in the bucket or container that holds all objects.")

    @property
    def bucket_identity(self) -> tuple[str, str, str]:
        """The service, user and bucket, which with the path identify the objects."""
        raise NotImplementedError

    @property
    def root(self) -> str:
        """The prefix of all object names in the bucket."""
        path = self.storage_path.strip("/")
        return f"{path}/" if path else ""


class S3StoreSettings(StoreSettings):
    """A store with an S3 API."""

    signature_version: str = Field(default="s3v4", description="Version of S3 request signatures.")

    @property
    def bucket_identity(self) -> tuple[str, str, str]:
        """The endpoint, access key and bucket."""
        user = self.credentials[0].get_secret_value() if self.credentials else ""
        return self.endpoint or "amazon", user, self.bucket

    @property
    def endpoint(self) -> str | None:
        """The store's base URL; None for Amazon's."""
        raise NotImplementedError

    @property
    def bucket(self) -> str:
        """The bucket that holds the blobs."""
        raise NotImplementedError

    @property
    def region(self) -> str | None:
        """The region that requests are signed for."""
        return None

    @property
    def credentials(self) -> tuple[SecretStr, SecretStr] | None:
        """The access key and secret key; None to use the identity of the machine."""
        raise NotImplementedError

    @property
    def session_token(self) -> SecretStr | None:
        """The session token of temporary credentials."""
        return None

    @property
    def role(self) -> str | None:
        """The ARN of the role to assume with the credentials."""
        return None

    @property
    def role_endpoint(self) -> str | None:
        """The base URL of the security token service; None for Amazon's."""
        return None


class _GatewaySettings(S3StoreSettings):
    """The arguments that S3 gateways have in common."""

    hostname: str = Field(description="Host name or address of the store.")
    is_secure: bool = Field(description="Connect with TLS.")
    port: Port | None = Field(default=None, description="TCP port, if not that of the scheme.")
    access_key: SecretStr = Field(description="Access key.")
    secret_key: SecretStr = Field(description="Secret key.")
    bucket_name: str = Field(description="Bucket.")
    maximum_chunk_size_mb: int = Field(default=100, description=_UNUSED)

    @property
    def endpoint(self) -> str:
        """The gateway's base URL."""
        scheme = "https" if self.is_secure else "http"
        return f"{scheme}://{self.hostname}" + (f":{self.port}" if self.port else "")

    @property
    def bucket(self) -> str:
        """The bucket that holds the blobs."""
        return self.bucket_name

    @property
    def credentials(self) -> tuple[SecretStr, SecretStr]:
        """The access key and secret key."""
        return self.access_key, self.secret_key


class RadosGatewaySettings(_GatewaySettings):
    """Arguments of `RadosGWStorage`: the Ceph Object Gateway."""

    driver: ClassVar[str] = "RadosGWStorage"

    region_name: str | None = Field(default=None, description="Region of request signatures.")
    minimum_chunk_size_mb: int = Field(default=5, description=_UNUSED)
    server_side_assembly: bool = Field(default=True, description=_UNUSED)

    @property
    def region(self) -> str | None:
        """The region that requests are signed for."""
        return self.region_name


class OpenShiftSettings(RadosGatewaySettings):
    """Arguments of `RHOCSStorage`: OpenShift Data Foundation (NooBaa or Ceph)."""

    driver: ClassVar[str] = "RHOCSStorage"


class IbmCloudSettings(_GatewaySettings):
    """Arguments of `IBMCloudStorage`."""

    driver: ClassVar[str] = "IBMCloudStorage"


class S3Settings(S3StoreSettings):
    """Arguments of `S3Storage`: Amazon S3, or a compatible service at `host`."""

    driver: ClassVar[str] = "S3Storage"

    s3_bucket: str = Field(description="Bucket.")
    s3_access_key: SecretStr | None = Field(
        default=None, description="Access key; without keys, the identity of the machine is used."
    )
    s3_secret_key: SecretStr | None = Field(default=None, description="Secret key.")
    aws_session_token: SecretStr | None = Field(
        default=None, description="Session token of temporary credentials."
    )
    s3_region: str | None = Field(default=None, description="Region of request signatures.")
    host: str | None = Field(
        default=None, description="Host name of the store, if not Amazon's; https by default."
    )
    port: Port | None = Field(default=None, description="TCP port that belongs to `host`.")
    endpoint_url: Url | None = Field(
        default=None, description="Base URL of the store; takes precedence over `host`."
    )
    maximum_chunk_size_gb: int = Field(default=5, description=_UNUSED)
    minimum_chunk_size_mb: int = Field(default=5, description=_UNUSED)

    @property
    def endpoint(self) -> str | None:
        """The store's base URL; a `host` without a scheme means https, as in Quay."""
        if self.endpoint_url:
            return self.endpoint_url
        if not self.host:
            return None
        base = self.host if "://" in self.host else f"https://{self.host}"
        return base + (f":{self.port}" if self.port else "")

    @property
    def bucket(self) -> str:
        """The bucket that holds the blobs."""
        return self.s3_bucket

    @property
    def region(self) -> str | None:
        """The region that requests are signed for."""
        return self.s3_region

    @property
    def credentials(self) -> tuple[SecretStr, SecretStr] | None:
        """The access key and secret key; None to use the identity of the machine."""
        if self.s3_access_key is None or self.s3_secret_key is None:
            return None
        return self.s3_access_key, self.s3_secret_key

    @property
    def session_token(self) -> SecretStr | None:
        """The session token of temporary credentials."""
        return self.aws_session_token


class AssumedRoleSettings(S3StoreSettings):
    """Arguments of `STSS3Storage`: Amazon S3 with an assumed role."""

    driver: ClassVar[str] = "STSS3Storage"
    # Not an argument; replaced in tests.
    role_service: ClassVar[str | None] = None

    s3_bucket: str = Field(description="Bucket.")
    sts_role_arn: str = Field(description="ARN of the role to assume.")
    sts_user_access_key: SecretStr | None = Field(
        default=None,
        description="Access key of the user; without keys, the identity of the machine is used.",
    )
    sts_user_secret_key: SecretStr | None = Field(
        default=None, description="Secret key of the user."
    )
    s3_region: str | None = Field(default=None, description="Region of request signatures.")
    endpoint_url: Url | None = Field(default=None, description="Base URL, if not Amazon's.")
    maximum_chunk_size_gb: int = Field(default=5, description=_UNUSED)

    @property
    def endpoint(self) -> str | None:
        """The store's base URL; None for Amazon's."""
        return self.endpoint_url

    @property
    def bucket(self) -> str:
        """The bucket that holds the blobs."""
        return self.s3_bucket

    @property
    def region(self) -> str | None:
        """The region that requests are signed for."""
        return self.s3_region

    @property
    def credentials(self) -> tuple[SecretStr, SecretStr] | None:
        """The user's keys; None to use the identity of the machine."""
        if self.sts_user_access_key is None or self.sts_user_secret_key is None:
            return None
        return self.sts_user_access_key, self.sts_user_secret_key

    @property
    def role(self) -> str:
        """The ARN of the role to assume."""
        return self.sts_role_arn

    @property
    def role_endpoint(self) -> str | None:
        """The base URL of the security token service; None for Amazon's."""
        return self.role_service


class GoogleCloudSettings(S3StoreSettings):
    """Arguments of `GoogleCloudStorage`: the S3 API of Google Cloud Storage, with HMAC keys."""

    driver: ClassVar[str] = "GoogleCloudStorage"
    # Not an argument; replaced in tests.
    service: ClassVar[str] = "https://storage.googleapis.com"

    access_key: SecretStr = Field(description="HMAC access key.")
    secret_key: SecretStr = Field(description="HMAC secret key.")
    bucket_name: str = Field(description="Bucket.")
    boto_timeout: int = Field(default=60, description=_UNUSED)
    minimum_chunk_size_mb: int = Field(default=5, description=_UNUSED)

    @property
    def endpoint(self) -> str:
        """The base URL of Google Cloud Storage."""
        return self.service

    @property
    def bucket(self) -> str:
        """The bucket that holds the blobs."""
        return self.bucket_name

    @property
    def credentials(self) -> tuple[SecretStr, SecretStr]:
        """The access key and secret key."""
        return self.access_key, self.secret_key


class SwiftSettings(StoreSettings):
    """Arguments of `SwiftStorage`: OpenStack Object Storage by its native API.

    `connect_timeout` and `retry_count` are accepted without effect: Atoll has its own time-outs,
    because it can use another store.
    """

    driver: ClassVar[str] = "SwiftStorage"

    swift_container: str = Field(description="Container.")
    auth_url: Url = Field(description="URL of the authentication service.")
    swift_user: str = Field(description="User.")
    swift_password: SecretStr = Field(description="Password.")
    auth_version: Literal[1, 2, 3] = Field(
        default=2,
        description="Version of authentication: 1 is Swift's own, 2 and 3 are Keystone's.",
    )
    os_options: dict[str, Any] = Field(
        default_factory=dict, description="Options of Keystone, such as the project and the region."
    )
    ca_cert_path: str | None = Field(default=None, description="File of the CA certificates.")
    temp_url_key: SecretStr | None = Field(
        default=None,
        description="Key of temporary URLs; without it, blobs pass through the registry.",
    )
    simple_path_concat: bool = Field(
        default=False, description="Join `storage_path` and names without a slash."
    )
    connect_timeout: int = Field(default=5, ge=1, description=_UNUSED)
    retry_count: int = Field(default=5, ge=0, description=_UNUSED)
    retry_on_ratelimit: bool = Field(
        default=True, description="Repeat requests that the service rejected for a rate limit."
    )

    @property
    def bucket_identity(self) -> tuple[str, str, str]:
        """The authentication URL, user and container."""
        return self.auth_url, self.swift_user, self.swift_container

    @property
    def root(self) -> str:
        """The prefix of all object names, by the rule of Quay's driver."""
        path = self.storage_path.lstrip("/")
        return path.rstrip("/") + "/" if path and not self.simple_path_concat else path


class AzureSettings(StoreSettings):
    """Arguments of `AzureStorage`: Azure Blob Storage."""

    driver: ClassVar[str] = "AzureStorage"

    azure_container: str = Field(description="Container.")
    azure_account_name: str = Field(description="Storage account.")
    azure_account_key: SecretStr | None = Field(default=None, description="Key of the account.")
    sas_token: SecretStr | None = Field(
        default=None,
        description="Shared access signature, instead of the key; blobs then pass through the"
        " registry.",
    )
    endpoint_url: Url | None = Field(default=None, description="Base URL, if not Azure's.")

    @property
    def bucket_identity(self) -> tuple[str, str, str]:
        """The endpoint, account and container."""
        return self.endpoint_url or "azure", self.azure_account_name, self.azure_container

    @model_validator(mode="after")
    def _some_credentials(self) -> AzureSettings:
        if self.azure_account_key is None and self.sas_token is None:
            raise ValueError("azure_account_key or sas_token is missing")
        return self


class LocalSettings(StoreSettings):
    """Arguments of `LocalStorage`: a local directory."""

    driver: ClassVar[str] = "LocalStorage"
    shared: ClassVar[bool] = False

    storage_path: str = Field(pattern=r"^/", description="Absolute path of the directory.")

    @property
    def bucket_identity(self) -> tuple[str, str, str]:
        """This machine."""
        return "this machine", "", ""


DRIVERS: dict[str, type[StoreSettings]] = {
    settings.driver: settings
    for settings in (
        RadosGatewaySettings,
        S3Settings,
        AssumedRoleSettings,
        OpenShiftSettings,
        IbmCloudSettings,
        GoogleCloudSettings,
        SwiftSettings,
        AzureSettings,
        LocalSettings,
    )
}


def parse_store(value: Any) -> StoreSettings:
    """Parse an entry `[DRIVER, {argument: value}]`.

    Raises:
        ValueError: The entry has another form, or the driver is unknown.
        pydantic.ValidationError: An argument is invalid.
    """
    if isinstance(value, StoreSettings):
        return value
    pair = 2
    if not isinstance(value, list | tuple) or len(value) != pair or not isinstance(value[1], dict):
        raise ValueError("must be a list of two: the driver's name and a map of its arguments")
    driver, arguments = value
    if driver not in DRIVERS:
        raise ValueError(f"unknown storage driver '{driver}'; known are {', '.join(DRIVERS)}")
    return DRIVERS[driver].model_validate(arguments)
