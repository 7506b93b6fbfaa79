"""The storage drivers that DISTRIBUTED_STORAGE_CONFIG may name, and their arguments.

Names and arguments are Quay's (`DRIVER: {argument: value}` in a list of two).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

Port = Annotated[int, Field(ge=1, le=65535)]


class StoreSettings(BaseModel):
    """What every S3 driver knows in the end, whichever names its arguments have."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    driver: ClassVar[str]

    storage_path: str
    signature_version: str = "s3v4"
    minimum_chunk_size_mb: int = 5
    maximum_chunk_size_mb: int = 100

    @property
    def endpoint(self) -> str | None:
        """The store's base URL, or None for Amazon's own."""
        raise NotImplementedError

    @property
    def bucket(self) -> str:
        """The bucket that holds the blobs."""
        raise NotImplementedError

    @property
    def region(self) -> str | None:
        """The region that requests are signed for."""
        raise NotImplementedError

    @property
    def credentials(self) -> tuple[SecretStr, SecretStr] | None:
        """Access key and secret key, or None where the machine's own identity is used."""
        raise NotImplementedError


class RadosGatewaySettings(StoreSettings):
    """Arguments of `RadosGWStorage`: Ceph's gateway."""

    driver: ClassVar[str] = "RadosGWStorage"

    hostname: str
    is_secure: bool
    port: Port | None = None
    access_key: SecretStr
    secret_key: SecretStr
    bucket_name: str
    region_name: str | None = None
    server_side_assembly: bool = True

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
    def region(self) -> str | None:
        """The region that requests are signed for."""
        return self.region_name

    @property
    def credentials(self) -> tuple[SecretStr, SecretStr]:
        """Access key and secret key."""
        return self.access_key, self.secret_key


class S3Settings(StoreSettings):
    """Arguments of `S3Storage`: Amazon S3, or whatever speaks its protocol at `host`."""

    driver: ClassVar[str] = "S3Storage"

    s3_bucket: str
    s3_access_key: SecretStr | None = None
    s3_secret_key: SecretStr | None = None
    s3_region: str | None = None
    host: str | None = None
    port: Port | None = None
    endpoint_url: str | None = None
    maximum_chunk_size_gb: int = 5

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_is_a_url(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"http", "https"}:
            raise ValueError("must begin with http:// or https://")
        return value

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
        """Access key and secret key, or None for the machine's own identity."""
        if self.s3_access_key is None or self.s3_secret_key is None:
            return None
        return self.s3_access_key, self.s3_secret_key


DRIVERS: dict[str, type[StoreSettings]] = {
    settings.driver: settings for settings in (RadosGatewaySettings, S3Settings)
}


def parse_store(value: Any) -> StoreSettings:
    """Return the settings that one entry `[DRIVER, {argument: value}]` holds.

    Raises ValueError for another shape or an unknown driver, pydantic's ValidationError for
    wrong arguments.
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
