"""A store that a location shares with others is not purged."""

import pytest
from atoll.config.stores import StoreSettings, parse_store
from atoll.storage.purge import StorePathShared, require_unshared_path

SECRET = "a secret"


def gateway(host: str, bucket: str, path: str, user: str = "one") -> StoreSettings:
    arguments = {"hostname": host, "is_secure": True, "bucket_name": bucket, "storage_path": path}
    return parse_store(["RadosGWStorage", {**arguments, "access_key": user, "secret_key": SECRET}])


def swift(path: str, *, simple: bool) -> StoreSettings:
    arguments = {
        "swift_container": "a",
        "auth_url": "https://swift.test/auth/v1.0",
        "swift_user": "one",
        "swift_password": SECRET,
        "storage_path": path,
        "simple_path_concat": simple,
    }
    return parse_store(["SwiftStorage", arguments])


def local(path: str) -> StoreSettings:
    return parse_store(["LocalStorage", {"storage_path": path}])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (gateway("a.test", "x", "/eu"), gateway("a.test", "x", "eu/")),
        (gateway("a.test", "x", "/eu"), gateway("a.test", "x", "/eu/more")),
        (gateway("a.test", "x", "/"), gateway("a.test", "x", "/us")),
        # Two names of one service.
        (gateway("a.test", "x", "/eu"), gateway("alias.test", "x", "/eu")),
        (gateway("a.test", "x", "/eu"), gateway("a.test", "x", "/eu", "two")),
        (local("/data"), local("/data/more")),
        (swift("/eu", simple=False), swift("eu/", simple=True)),
    ],
)
def test_a_shared_store_is_refused_with_the_name_of_the_other_location(
    one: StoreSettings, other: StoreSettings
) -> None:
    with pytest.raises(StorePathShared, match="also those of other"):
        require_unshared_path("eustorage", one, {"other": other})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (gateway("a.test", "x", "/eu"), gateway("a.test", "y", "/eu")),
        (gateway("a.test", "x", "/eu"), gateway("a.test", "x", "/eu2")),
        (gateway("a.test", "x", "/eu/more"), gateway("a.test", "x", "/eu")),
        (gateway("a.test", "x", "/eu"), gateway("b.test", "x", "/eu", "two")),
        (local("/data"), local("/data2")),
        (local("/data"), gateway("a.test", "", "/data")),
    ],
)
def test_a_separate_store_is_accepted(one: StoreSettings, other: StoreSettings) -> None:
    require_unshared_path("eustorage", one, {"other": other})


def test_a_path_that_is_a_prefix_of_other_names_is_refused() -> None:
    with pytest.raises(StorePathShared, match="does not end with a slash"):
        require_unshared_path("eustorage", swift("/eu", simple=True), {})
