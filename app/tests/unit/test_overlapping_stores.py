"""Two locations with the same bucket or directory are refused, however it is written."""

from __future__ import annotations

import pytest
from atoll.config import problems
from atoll.config.overlapping_stores import overlapping_stores
from atoll.config.stores import StoreSettings, parse_store

from .valid_bundle import valid_bundle

KEYS = {"access_key": "one", "secret_key": "a secret"}


def gateway(host: str, bucket: str = "x", path: str = "/eu", **more: object) -> StoreSettings:
    arguments = {"hostname": host, "is_secure": True, "bucket_name": bucket, "storage_path": path}
    return parse_store(["RadosGWStorage", {**arguments, **KEYS, **more}])


def amazon(path: str = "/eu", **more: object) -> StoreSettings:
    return parse_store(["S3Storage", {"s3_bucket": "x", "storage_path": path, **more}])


def swift(container: str = "a", path: str = "/eu", **more: object) -> StoreSettings:
    arguments = {
        "swift_container": container,
        "auth_url": "https://swift.test/auth/v1.0",
        "swift_user": "account:one",
        "swift_password": "a secret",
        "auth_version": 1,
        "storage_path": path,
    }
    return parse_store(["SwiftStorage", {**arguments, **more}])


def azure(container: str = "a", path: str = "/eu", **more: object) -> StoreSettings:
    arguments = {
        "azure_container": container,
        "azure_account_name": "account",
        "azure_account_key": "a2V5",
        "storage_path": path,
    }
    return parse_store(["AzureStorage", {**arguments, **more}])


def local(path: str) -> StoreSettings:
    return parse_store(["LocalStorage", {"storage_path": path}])


KEYSTONE = {"auth_url": "https://keystone.test/v3", "auth_version": 3, "swift_user": "one"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (gateway("a.test"), gateway("a.test")),
        (gateway("a.test"), gateway("A.Test", access_key="two")),
        (gateway("a.test"), gateway("a.test.", path="eu/")),
        (gateway("a.test"), gateway("a.test", port=443)),
        (gateway("a.test"), gateway("a.test", is_secure=False)),
        (gateway("a.test"), gateway("a.test", is_secure=False, port=80)),
        (gateway("a.test"), amazon(endpoint_url="https://a.test/")),
        (gateway("a.test", path="/"), gateway("a.test", path="/us")),
        (gateway("a.test", path="/a/b"), gateway("a.test", path="/a")),
        (amazon(), amazon(s3_region="eu-west-1")),
        (amazon(), amazon(host="s3.eu-west-1.amazonaws.com")),
        (swift(), swift(swift_user="account:two")),
        (swift(), swift(path="eu", simple_path_concat=False)),
        (
            swift(**KEYSTONE, os_options={"project_name": "p"}),
            swift(**{**KEYSTONE, "swift_user": "two"}, os_options={"project_name": "p"}),
        ),
        (azure(), azure(azure_account_name="Account", sas_token="token")),
        (azure(), azure(endpoint_url="https://account.blob.core.windows.net:443/")),
        (local("/data"), local("/data/")),
        (local("/data"), local("/data/more")),
        (local("/data"), local("/other/../data")),
    ],
)
def test_overlapping_stores_are_found(one: StoreSettings, other: StoreSettings) -> None:
    assert overlapping_stores({"one": one, "other": other}) == [("one", "other")]
    assert overlapping_stores({"one": other, "other": one}) == [("one", "other")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (gateway("a.test"), gateway("b.test")),
        (gateway("a.test"), gateway("a.test", port=8443)),
        (gateway("a.test"), gateway("a.test", bucket="y")),
        (gateway("a.test"), gateway("a.test", path="/eu2")),
        (gateway("a.test"), amazon()),
        (swift(), swift(container="b")),
        (swift(), swift(swift_user="other:one")),
        (swift(path="/eu", simple_path_concat=True), swift(path="/eu2", simple_path_concat=True)),
        (
            swift(**KEYSTONE, os_options={"project_name": "p", "region_name": "r"}),
            swift(**KEYSTONE, os_options={"project_name": "p", "region_name": "s"}),
        ),
        (azure(), azure(container="b")),
        (azure(), azure(azure_account_name="other")),
        (local("/data"), local("/data2")),
        (local("/data"), gateway("a.test", path="/data")),
    ],
)
def test_separate_stores_are_accepted(one: StoreSettings, other: StoreSettings) -> None:
    assert overlapping_stores({"one": one, "other": other}) == []


def test_a_bundle_with_a_duplicated_store_is_refused_with_both_names() -> None:
    bundle = valid_bundle()
    stores = bundle["DISTRIBUTED_STORAGE_CONFIG"]
    assert isinstance(stores, dict)
    stores["eustorage"] = stores["usstorage"]
    (line,) = problems(bundle)
    assert "'usstorage' and 'eustorage' are the same bucket and path" in line
    assert line.startswith("DISTRIBUTED_STORAGE_CONFIG: ")
