"""Kinds of object stores, and the answers that each requires."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoreField:
    """An answer of a store, and the argument of the driver that it becomes.

    Attributes:
        argument: the driver's argument; empty if the kind of store derives other arguments.
        example: a valid value.
        required: whether the answer must be given.
        secret: whether the value belongs in the vault.
    """

    argument: str
    example: str
    required: bool = True
    secret: bool = False


_S3_FIELDS = {
    "bucket": StoreField("s3_bucket", "atoll-us"),
    "region": StoreField("s3_region", "us-east-1", required=False),
    "endpoint": StoreField("endpoint_url", "https://s3.example.org", required=False),
    "access_key": StoreField("s3_access_key", "AKIA...", required=False, secret=True),
    "secret_key": StoreField("s3_secret_key", "wJal...", required=False, secret=True),
}
_CEPH_FIELDS = {
    "endpoint": StoreField("", "https://ceph.example.org:443"),
    "bucket": StoreField("bucket_name", "atoll-eu"),
    "region": StoreField("region_name", "eu", required=False),
    "access_key": StoreField("access_key", "Q3AM...", secret=True),
    "secret_key": StoreField("secret_key", "zuf+...", secret=True),
}
_GOOGLE_FIELDS = {
    "bucket": StoreField("bucket_name", "atoll-us"),
    "access_key": StoreField("access_key", "GOOG...", secret=True),
    "secret_key": StoreField("secret_key", "bGoa...", secret=True),
}
_AZURE_FIELDS = {
    "bucket": StoreField("azure_container", "atoll-us"),
    "account": StoreField("azure_account_name", "atollus"),
    "account_key": StoreField("azure_account_key", "Eby8...", secret=True),
    "endpoint": StoreField("endpoint_url", "https://atollus.blob.core.windows.net", required=False),
}
_SWIFT_FIELDS = {
    "bucket": StoreField("swift_container", "atoll-us"),
    "endpoint": StoreField("auth_url", "https://keystone.example.org/v3"),
    "user": StoreField("swift_user", "atoll"),
    "password": StoreField("swift_password", "s3cr...", secret=True),
    "auth_version": StoreField("auth_version", "3", required=False),
    "options": StoreField("os_options", "{tenant_name: atoll}", required=False),
    "temp_url_key": StoreField("temp_url_key", "8f0c...", required=False, secret=True),
}
STORE_KINDS: dict[str, tuple[str, dict[str, StoreField]]] = {
    "s3": ("S3Storage", _S3_FIELDS),
    "ceph": ("RadosGWStorage", _CEPH_FIELDS),
    "google": ("GoogleCloudStorage", _GOOGLE_FIELDS),
    "azure": ("AzureStorage", _AZURE_FIELDS),
    "swift": ("SwiftStorage", _SWIFT_FIELDS),
}
