"""Settings with which the drivers of S3 dialects use a Ceph store."""

from __future__ import annotations

from typing import ClassVar

from atoll.config.stores import GoogleCloudSettings, S3Settings, StoreSettings

from .services import Store


def gateway(kind: type[StoreSettings], store: Store) -> StoreSettings:
    return kind(
        hostname="127.0.0.1",
        port=store.port,
        is_secure=True,
        storage_path="/datastorage/registry",
        bucket_name=store.bucket,
        access_key=store.access_key,
        secret_key=store.secret_key,
    )


def amazon(store: Store) -> StoreSettings:
    return S3Settings(
        storage_path="/datastorage/registry",
        s3_bucket=store.bucket,
        s3_access_key=store.access_key,
        s3_secret_key=store.secret_key,
        host="127.0.0.1",
        port=store.port,
    )


def google(store: Store) -> StoreSettings:
    class Tested(GoogleCloudSettings):
        service: ClassVar[str] = f"https://127.0.0.1:{store.port}"

    return Tested(
        storage_path="/datastorage/registry",
        bucket_name=store.bucket,
        access_key=store.access_key,
        secret_key=store.secret_key,
    )
