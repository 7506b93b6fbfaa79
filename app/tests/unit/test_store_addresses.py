"""Clients such as crane refuse redirects to private addresses; a check of the bundle warns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from atoll.cli.main import main
from atoll.config.check import check
from atoll.config.check import problems as problems_of

from .valid_bundle import OTHER_STORE, valid_bundle, with_store

KEYS = {"s3_access_key": "access", "s3_secret_key": "secret"}


def warnings(**changes: object) -> list[str]:
    assert problems_of(valid_bundle(**changes)) == []
    return check(valid_bundle(**changes)).warnings


@pytest.mark.parametrize(
    "address",
    [
        "10.19.0.4",
        "172.31.255.1",
        "192.168.1.1",
        "127.0.0.1",
        "127.1",
        "0xa130004",
        "169.254.1.1",
        "0.0.0.0",
        "[fd00::1]",
        "[::1]",
        "[::ffff:10.0.0.1]",
    ],
)
def test_a_private_address_causes_a_warning_with_location_key_and_remedy(address: str) -> None:
    (warning,) = warnings(DISTRIBUTED_STORAGE_CONFIG=with_store(hostname=address))

    assert warning.startswith("DISTRIBUTED_STORAGE_CONFIG.usstorage.hostname: ")
    assert address.strip("[]") in warning
    assert "set a DNS name" in warning


@pytest.mark.parametrize(
    "host",
    ["s3.us.example", "localhost", "203.0.113.7", "192.0.2.1", "172.32.0.1", "[2001:db8::1]"],
)
def test_names_and_other_addresses_cause_no_warning(host: str) -> None:
    assert warnings(DISTRIBUTED_STORAGE_CONFIG=with_store(hostname=host)) == []


@pytest.mark.parametrize(
    ("driver", "arguments", "key"),
    [
        ("S3Storage", {"s3_bucket": "b", "host": "10.0.0.1", **KEYS}, "host"),
        ("S3Storage", {"s3_bucket": "b", "host": "http://10.0.0.1:80", **KEYS}, "host"),
        (
            "S3Storage",
            {"s3_bucket": "b", "host": "s3", "endpoint_url": "https://10.0.0.1:8443", **KEYS},
            "endpoint_url",
        ),
        (
            "AzureStorage",
            {
                "azure_container": "c",
                "azure_account_name": "n",
                "azure_account_key": "a2V5",
                "endpoint_url": "http://[::1]:10000/n",
            },
            "endpoint_url",
        ),
    ],
)
def test_the_warning_names_the_argument_of_each_driver(
    driver: str, arguments: dict[str, object], key: str
) -> None:
    store = [driver, {"storage_path": "/", **arguments}]
    stores = {"usstorage": store, "eustorage": OTHER_STORE}

    (warning,) = warnings(DISTRIBUTED_STORAGE_CONFIG=stores)

    assert warning.startswith(f"DISTRIBUTED_STORAGE_CONFIG.usstorage.{key}: ")


def test_a_name_takes_precedence_over_an_address_that_is_not_used() -> None:
    arguments = {"s3_bucket": "b", "host": "10.0.0.1", "endpoint_url": "https://s3.example", **KEYS}
    store = ["S3Storage", {"storage_path": "/", **arguments}]

    assert warnings(DISTRIBUTED_STORAGE_CONFIG={"usstorage": store, "eustorage": OTHER_STORE}) == []


def test_stores_that_only_the_registry_connects_to_may_have_a_private_address() -> None:
    stores = with_store(hostname="10.19.0.4")

    assert warnings(DISTRIBUTED_STORAGE_CONFIG=stores, FEATURE_PROXY_STORAGE=True) == []


def test_the_command_warns_and_accepts_the_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.yaml"
    stores = with_store(hostname="10.19.0.4")
    file.write_text(yaml.safe_dump(valid_bundle(DISTRIBUTED_STORAGE_CONFIG=stores)))

    assert main(["config", "check", "--json", str(file)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problems"] == []
    assert ["usstorage" in line for line in report["warnings"]] == [True]
