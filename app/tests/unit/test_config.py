"""Problems of a bundle are reported by key; Quay's bundles are accepted unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from atoll.config import Bundle, ConfigError, check, load, problems
from atoll.config.dump import dump
from atoll.config.fingerprint import fingerprint
from atoll.config.load import parse_preference, read
from atoll.config.units import parse_size
from atoll.upstream.limits import UpstreamLimits, configured_limits

from .valid_bundle import OTHER_STORE, STORE, valid_bundle, with_store


def test_a_valid_bundle_has_no_problems() -> None:
    assert problems(valid_bundle()) == []
    assert check(valid_bundle()).warnings == []


def test_listed_users_that_may_have_no_account_cause_a_warning() -> None:
    keys = {"SUPER_USERS": ["admin", "ops"], "GLOBAL_READONLY_SUPER_USERS": ["watcher"]}
    warned = check(valid_bundle(**keys)).warnings
    assert [line.split(":")[0] for line in warned] == ["SUPER_USERS", "GLOBAL_READONLY_SUPER_USERS"]
    assert "atoll user create ops" in warned[0]
    assert "atoll user create watcher" in warned[1]
    assert check(valid_bundle(**keys, FEATURE_USER_CREATION=False)).warnings == []


@pytest.mark.parametrize(
    "key",
    [
        "SERVER_HOSTNAME",
        "DB_URI",
        "BUILDLOGS_REDIS",
        "USER_EVENTS_REDIS",
        "DISTRIBUTED_STORAGE_CONFIG",
    ],
)
def test_a_missing_key_is_named(key: str) -> None:
    bundle = valid_bundle()
    del bundle[key]
    assert f"{key}: is missing" in problems(bundle)


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("FEATURE_STORAGE_REPLICATION", "perhaps", "FEATURE_STORAGE_REPLICATION"),
        ("DISTRIBUTED_STORAGE_PREFERENCE", "usstorage", "DISTRIBUTED_STORAGE_PREFERENCE"),
        ("BUILDLOGS_REDIS", {"host": "x", "port": "many"}, "BUILDLOGS_REDIS.port"),
        ("SERVER_HOSTNAME", 7, "SERVER_HOSTNAME"),
        ("DB_URI", "mysql://x", "DB_URI"),
        ("MAXIMUM_LAYER_SIZE", "large", "MAXIMUM_LAYER_SIZE"),
        (
            "DISTRIBUTED_STORAGE_CONFIG",
            with_store(bucket_name=None),
            "DISTRIBUTED_STORAGE_CONFIG.usstorage.bucket_name",
        ),
        (
            "DISTRIBUTED_STORAGE_CONFIG",
            with_store(bukket="x"),
            "DISTRIBUTED_STORAGE_CONFIG.usstorage.bukket",
        ),
        (
            "DISTRIBUTED_STORAGE_CONFIG",
            {"usstorage": ["FakeStorage", {}], "eustorage": OTHER_STORE},
            "DISTRIBUTED_STORAGE_CONFIG.usstorage",
        ),
        (
            "DISTRIBUTED_STORAGE_CONFIG",
            {"usstorage": "x", "eustorage": OTHER_STORE},
            "DISTRIBUTED_STORAGE_CONFIG.usstorage",
        ),
    ],
)
def test_a_wrong_type_or_value_is_reported_with_its_path(
    key: str, value: object, path: str
) -> None:
    found = problems(valid_bundle(**{key: value}))
    assert [line.partition(": ")[0] for line in found] == [path]


def test_an_unknown_location_is_reported_with_the_closest_known_one() -> None:
    (line,) = problems(valid_bundle(), ["usstorag"])
    assert line.startswith("DISTRIBUTED_STORAGE_PREFERENCE: 'usstorag' is not a location")
    assert "did you mean usstorage?" in line
    (line,) = problems(valid_bundle(DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS=["asia"]))
    assert line.startswith("DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: 'asia' is not a location")


def test_all_problems_are_reported_together() -> None:
    bundle = valid_bundle(DB_URI=None, BUILDLOGS_REDIS={})
    assert {line.partition(":")[0] for line in problems(bundle)} == {
        "DB_URI",
        "BUILDLOGS_REDIS.host",
    }


@pytest.mark.parametrize(
    "change",
    [
        {"DISTRIBUTED_STORAGE_CONFIG": with_store(is_secure="perhaps")},
        {"DB_URI": "mysql://atoll:password-that-nobody-may-see@h"},
        {"SECRET_KEY": ["secret-that-nobody-may-see"]},
    ],
)
def test_problems_do_not_contain_secrets(change: dict[str, object]) -> None:
    assert "nobody-may-see" not in str(problems(valid_bundle(**change)))


def test_the_representation_of_a_bundle_does_not_contain_secrets() -> None:
    assert "nobody-may-see" not in repr(check(valid_bundle()).bundle)


def test_replication_without_required_locations_is_refused() -> None:
    (line,) = problems(valid_bundle(DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS=[]))
    assert line.startswith("DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS: is empty")


def test_a_bundle_without_a_database_secret_key_is_accepted() -> None:
    bundle = valid_bundle()
    del bundle["DATABASE_SECRET_KEY"]
    assert problems(bundle) == []


def test_an_unknown_key_causes_a_warning_with_the_closest_known_one() -> None:
    result = check(valid_bundle(FEATURE_STORAGE_REPLICATON=True, FEATURE_MAILING=False))
    assert result.bundle is not None
    assert result.warnings == [
        "FEATURE_STORAGE_REPLICATON: unknown key, ignored"
        " (did you mean FEATURE_STORAGE_REPLICATION?)"
    ]


@pytest.mark.parametrize("raw", [None, [], "text", 7])
def test_a_document_other_than_a_map_is_refused(raw: object) -> None:
    assert problems(raw) == ["config.yaml: must be a map of keys to values"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("us", ["us"]),
        ("us eu", ["us", "eu"]),
        ("us,eu", ["us", "eu"]),
        (" us , eu\n", ["us", "eu"]),
        ("", []),
    ],
)
def test_the_preference_is_split_by_white_space_or_commas(text: str, names: list[str]) -> None:
    assert parse_preference(text) == names


@pytest.mark.parametrize(("text", "size"), [("20G", 20 * 2**30), ("5M", 5 * 2**20), (7, 7)])
def test_sizes_are_read_as_quay_writes_them(text: object, size: int) -> None:
    assert parse_size(text) == size


def write(directory: Path, content: object) -> Path:
    (directory / "config.yaml").write_text(yaml.safe_dump(content))
    return directory


def test_the_environment_replaces_the_preference(tmp_path: Path) -> None:
    environment = {"QUAY_DISTRIBUTED_STORAGE_PREFERENCE": "eustorage"}
    assert load(environment, write(tmp_path, valid_bundle())).preference == ["eustorage"]


def test_the_environment_replaces_top_level_keys(tmp_path: Path) -> None:
    environment = {"QUAY_OVERRIDE_CONFIG": '{"SERVER_HOSTNAME": "other.example"}'}
    bundle: Bundle = load(environment, write(tmp_path, valid_bundle()))
    assert bundle.server_hostname == "other.example"
    with pytest.raises(ConfigError, match="QUAY_OVERRIDE_CONFIG: is not a JSON object"):
        load({"QUAY_OVERRIDE_CONFIG": "[]"}, tmp_path)


def test_a_missing_or_invalid_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mount the bundle at"):
        load({}, tmp_path)
    (tmp_path / "config.yaml").write_text("A: [1,\nB: }")
    with pytest.raises(ConfigError, match="is not YAML at line 2"):
        load({}, tmp_path)


def test_a_duplicate_key_is_refused_with_its_path(tmp_path: Path) -> None:
    text = yaml.safe_dump(valid_bundle()) + "SERVER_HOSTNAME: other.example\n"
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match="SERVER_HOSTNAME: is a duplicate key, in lines"):
        load({}, tmp_path)
    with pytest.raises(ConfigError) as caught:
        read("STORES:\n  us: [A, {}]\n  eu: [A, {}]\n  us: [B, {x: 1, x: 2}]\n", "config.yaml")
    assert caught.value.problems == [
        "STORES.us: is a duplicate key, in lines 2 and 4",
        "STORES.us.1.x: is a duplicate key, in lines 4 and 4",
    ]


def test_an_alias_is_not_a_duplicate_key() -> None:
    text = "A: &a {host: x}\nB: *a\nC: {<<: *a, port: 1}"
    assert read(text, "config.yaml")["C"] == {"host": "x", "port": 1}


def test_a_placeholder_host_name_causes_a_warning_and_header_injection_is_refused() -> None:
    result = check(valid_bundle(SERVER_HOSTNAME="<any name>"))
    assert result.bundle is not None
    assert [line.partition(":")[0] for line in result.warnings] == ["SERVER_HOSTNAME"]
    assert check(valid_bundle(SERVER_HOSTNAME="[::1]:8443")).warnings == []
    for wrong in ('a"b', "a\r\nb", ""):
        assert [
            line.partition(":")[0] for line in problems(valid_bundle(SERVER_HOSTNAME=wrong))
        ] == ["SERVER_HOSTNAME"]


def test_a_key_without_effect_causes_a_warning() -> None:
    result = check(valid_bundle(SSL_PROTOCOLS=["TLSv1.3"], GARBAGE_COLLECTION_FREQUENCY=30))
    assert result.warnings == ["SSL_PROTOCOLS: has no effect in this version"]


def test_a_key_that_enables_an_unsupported_feature_causes_a_warning() -> None:
    result = check(valid_bundle(LOGS_MODEL="elasticsearch"))
    assert result.problems == []
    assert result.warnings == ["LOGS_MODEL: is ignored; Atoll stores the log in the database"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"ACTION_LOG_ARCHIVE_LOCATION": "asia"}, "ACTION_LOG_ARCHIVE_LOCATION"),
        ({"ACTION_LOG_ARCHIVE_PATH": "../up"}, "ACTION_LOG_ARCHIVE_PATH"),
        ({"ACTION_LOG_ARCHIVE_PATH": "sha256/x"}, "ACTION_LOG_ARCHIVE_PATH"),
        ({"EXPORT_ACTION_LOGS_STORAGE_PATH": "uploads"}, "EXPORT_ACTION_LOGS_STORAGE_PATH"),
        ({"ACTION_LOG_ROTATION_THRESHOLD": "1h"}, "ACTION_LOG_ROTATION_THRESHOLD"),
    ],
)
def test_an_invalid_setting_of_log_rotation_is_refused_with_its_key(
    changes: dict[str, object], key: str
) -> None:
    (problem,) = problems(valid_bundle(FEATURE_ACTION_LOG_ROTATION=True, **changes))
    assert problem.startswith(key)


def test_dump_omits_secrets_and_lists_ineffective_keys() -> None:
    raw = valid_bundle(
        DB_CONNECTION_ARGS={"password": "password-that-nobody-may-see"},
        SETUP_COMPLETE=True,
        SSL_PROTOCOLS=[],
        SUPERUSERS=["admin"],
        GITHUB_LOGIN_CONFIG={"CLIENT_SECRET": "secret-that-nobody-may-see"},
    )
    bundle = check(raw).bundle
    assert bundle is not None
    bundle = bundle.model_copy(update={"fingerprint": fingerprint(raw)})
    environment = {
        "QUAY_OVERRIDE_CONFIG": "secret-that-nobody-may-see",
        "QUAY_DISTRIBUTED_STORAGE_PREFERENCE": "usstorage",
        "AWS_SECRET_ACCESS_KEY": "secret-that-nobody-may-see",
    }
    shown = dump(bundle, environment)
    assert "that-nobody-may-see" not in json.dumps(shown)
    assert "0ce4f796" not in json.dumps(shown)
    assert shown["config"]["SERVER_HOSTNAME"] == "registry.example"
    assert shown["config"]["DISTRIBUTED_STORAGE_CONFIG"]["eustorage"][1]["bucket_name"] == "eu"
    assert shown["env"]["QUAY_DISTRIBUTED_STORAGE_PREFERENCE"] == "usstorage"
    assert set(shown["warning"]) == {
        "GITHUB_LOGIN_CONFIG",
        "SETUP_COMPLETE",
        "SSL_PROTOCOLS",
        "SUPERUSERS",
    }
    assert "SUPER_USERS" in shown["warning"]["SUPERUSERS"]


LOCAL = ["LocalStorage", {"storage_path": "/datastorage/registry"}]


def test_local_storage_is_refused_with_replication() -> None:
    stores = {"usstorage": STORE, "eustorage": LOCAL}
    (line,) = problems(valid_bundle(DISTRIBUTED_STORAGE_CONFIG=stores))
    assert line.startswith("FEATURE_STORAGE_REPLICATION: is true although location 'eustorage'")
    alone = valid_bundle(DISTRIBUTED_STORAGE_CONFIG=stores, FEATURE_STORAGE_REPLICATION=False)
    assert problems(alone) == []


def test_local_storage_requires_an_absolute_path() -> None:
    stores = {"usstorage": STORE, "eustorage": ["LocalStorage", {"storage_path": "here"}]}
    (line,) = problems(
        valid_bundle(DISTRIBUTED_STORAGE_CONFIG=stores, FEATURE_STORAGE_REPLICATION=False)
    )
    assert line.startswith("DISTRIBUTED_STORAGE_CONFIG.eustorage.storage_path:")


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"bandwidth": "fast"}, ".bandwidth: must be a number of bytes"),
        ({"bandwidth": "1K"}, ".bandwidth: Input should be greater than or equal to 65536"),
        ({"hours": "22-6"}, ".hours: must be two times of day in UTC, such as 22:00-06:00"),
        ({"hours": "06:00-06:00"}, ".hours: begins and ends at the same time"),
        ({"speed": "1M"}, ".speed: is not a known argument"),
        ({}, ": has no effect; set bandwidth, hours or both"),
    ],
)
def test_an_invalid_replication_limit_is_refused_with_its_key(
    limit: dict[str, object], sentence: str
) -> None:
    found = problems(valid_bundle(REPLICATION_LIMITS={"eustorage": limit}))
    assert len(found) == 1
    assert found[0].startswith(f"REPLICATION_LIMITS.eustorage{sentence}")


def test_a_replication_limit_requires_a_known_location() -> None:
    found = problems(valid_bundle(REPLICATION_LIMITS={"eustorag": {"bandwidth": "50M"}}))
    assert found == [
        "REPLICATION_LIMITS: 'eustorag' is not a location of DISTRIBUTED_STORAGE_CONFIG"
        " (did you mean eustorage?); known are usstorage, eustorage"
    ]
    limits = {"eustorage": {"bandwidth": "50M", "hours": "22:00-06:00"}}
    bundle = check(valid_bundle(REPLICATION_LIMITS=limits)).bundle
    assert bundle is not None
    assert bundle.replication_limits["eustorage"].bandwidth == 50 * 2**20


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"concurrent": 0}, ".concurrent: "),
        ({"requests": "100"}, ".requests: must be a number of pulls and a period"),
        ({"requests": "0/6h"}, ".requests: must be a number of pulls and a period"),
        ({"reserve": "120%"}, ".reserve: must be a percentage, such as 20%"),
        ({"bandwidth": "20M"}, ".bandwidth: is not a known argument"),
    ],
)
def test_an_invalid_upstream_limit_is_refused_with_its_key(
    limit: dict[str, object], sentence: str
) -> None:
    (problem,) = problems(valid_bundle(UPSTREAM_LIMITS={"quay.io": limit}))
    assert problem.startswith(f"UPSTREAM_LIMITS.quay.io{sentence}")


@pytest.mark.parametrize(
    "registry", ["https://quay.io", "quay.io/team", "", "quay.io:port", "quay.io:65536", "quay"]
)
def test_an_upstream_limit_requires_a_registry(registry: str) -> None:
    (problem,) = problems(valid_bundle(UPSTREAM_LIMITS={registry: {}}))
    assert problem.startswith(f"UPSTREAM_LIMITS.{registry}")


def test_upstream_limits_apply_to_all_names_of_a_registry() -> None:
    limits = {
        "index.docker.io": {"concurrent": 2, "requests": "100/6h", "reserve": "50%"},
        "Registry.example.com:5000": {"requests": "5/m"},
    }
    bundle = check(valid_bundle(UPSTREAM_LIMITS=limits)).bundle
    assert bundle is not None
    found = configured_limits(bundle)
    assert found("docker.io") == UpstreamLimits(2, 100, 21_600.0, 0.5)
    assert found("registry.example.com:5000") == UpstreamLimits(pulls=5, period=60.0)
    assert found("quay.io") == UpstreamLimits()


@pytest.mark.parametrize("key", ["SSRF_ALLOWED_HOSTS", "WEBHOOK_HOSTNAME_BLACKLIST"])
def test_a_list_of_hosts_accepts_hosts_addresses_and_networks(key: str) -> None:
    fine = ["hooks.example.com", "Hooks.Example.com.", "10.1.2.3", "10.0.0.0/8", "fd00::/8"]
    assert problems(valid_bundle(**{key: fine})) == []
    for entry in ("*.example.com", "http://example.com", "example.com:8080", "10.0.0.0/33"):
        (problem,) = problems(valid_bundle(**{key: [entry]}))
        assert problem.startswith(f"{key}.0: ")
        assert "without scheme, port or wildcards" in problem


def test_mailing_needs_a_server_and_a_sender() -> None:
    found = problems(valid_bundle(FEATURE_MAILING=True))
    assert [line.split(":")[0] for line in found] == ["MAIL_SERVER", "MAIL_DEFAULT_SENDER"]
    mail = {"MAIL_SERVER": "mail.example.com", "MAIL_DEFAULT_SENDER": "registry@example.com"}
    assert problems(valid_bundle(FEATURE_MAILING=True, **mail)) == []
    assert check(valid_bundle(**mail)).warnings == []
