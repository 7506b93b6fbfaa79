"""Settings of mirrors are validated by field, and rows become what a run needs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from atoll.auth.secrets import Cipher
from atoll.mirroring.rules.settings import (
    MirrorOptions,
    MirrorSettings,
    RegistryConfig,
    password_purpose,
)
from atoll.upstream.credentials import Credentials
from pydantic import ValidationError

CIPHER = Cipher(b"a secret of the tests")
ROW: dict[str, Any] = {
    "repository_id": 7,
    "external_reference": "docker.io/alpine",
    "external_registry_username": None,
    "external_registry_password": None,
    "external_registry_config": {},
    "proxy_passwords": None,
    "root_rule": {"rule_kind": "tag_glob_csv", "rule_value": ["3.*,latest", "edge"]},
    "architecture_filter": [],
    "sync_interval": 3600,
    "sync_start_date": datetime(2026, 1, 1, tzinfo=UTC),
    "skopeo_timeout": 300,
    "options": {},
}


def test_a_row_without_options_has_the_defaults() -> None:
    settings = MirrorSettings.from_row(ROW, CIPHER)
    assert str(settings.reference) == "docker.io/library/alpine"
    assert settings.rule.include == ("3.*", "latest", "edge")
    assert settings.access.credentials is None
    assert settings.access.verify_tls
    assert settings.delete_after == timedelta(days=1)
    assert settings.delete_limit == 0.5
    assert settings.referrers == "all"
    assert settings.rollback is None
    assert settings.schedule.hours is None


def test_all_options_are_applied() -> None:
    options = {
        "exclude": ["*-rc*"],
        "semver": [">=3.1", "2.x"],
        "newest": 5,
        "newest_by": "created",
        "max_age": 86_400,
        "hours": "22:00-06:00",
        "referrers": ["application/spdx+json"],
        "rollback": False,
        "delete_after": 0,
        "delete_limit": 0,
        "immutable_tags": ["v*,3.*"],
        "of a newer version": 1,
    }
    settings = MirrorSettings.from_row({**ROW, "options": options}, CIPHER)
    rule = settings.rule
    assert (rule.exclude, len(rule.versions), rule.newest) == (("*-rc*",), 2, 5)
    assert (rule.newest_by, rule.max_age) == ("created", timedelta(days=1))
    assert settings.schedule.hours is not None
    assert settings.referrers == ("application/spdx+json",)
    assert settings.rollback is False
    assert (settings.delete_after, settings.delete_limit) == (timedelta(0), 0)
    assert settings.immutable_tags == ("v*", "3.*")


def test_the_upstream_is_reached_as_configured() -> None:
    row = {
        **ROW,
        "external_registry_username": "reader",
        "external_registry_password": CIPHER.encrypt(
            "sesame", password_purpose({"repository_id": 7})
        ),
        "external_registry_config": {
            "verify_tls": False,
            "proxy": {"https_proxy": "http://proxy.example.com:3128", "http_proxy": None},
        },
    }
    access = MirrorSettings.from_row(row, CIPHER).access
    assert access.credentials == Credentials("reader", "sesame")
    assert not access.verify_tls
    assert access.proxies is not None
    assert access.proxies.https is not None


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"exclude": "latest"}, "exclude"),
        ({"exclude": ["x" * 256]}, "exclude"),
        ({"exclude": ["a,b,"] * 400}, "exclude"),
        ({"exclude": ["v1\nfailed: ok"]}, "exclude"),
        ({"exclude": ["<b>"]}, "exclude"),
        ({"exclude": ["v\u00e9"]}, "exclude"),
        ({"exclude": [f"*{number:03}*" for number in range(101)]}, "exclude"),
        ({"immutable_tags": ["v1/x"]}, "immutable_tags"),
        ({"semver": ["latest"]}, "semver"),
        ({"semver": [">=1.0.0 " * 60] * 3}, "semver"),
        ({"newest": 0}, "newest"),
        ({"newest": 2.5}, "newest"),
        ({"newest_by": "size"}, "newest_by"),
        ({"max_age": -1}, "max_age"),
        ({"hours": "22-6"}, "hours"),
        ({"referrers": "some"}, "referrers"),
        ({"referrers": ["no type"]}, "referrers"),
        ({"rollback": "maybe"}, "rollback"),
        ({"delete_after": -1}, "delete_after"),
        ({"delete_limit": 1.1}, "delete_limit"),
        ({"delete_limit": float("nan")}, "delete_limit"),
        ({"immutable_tags": [1]}, "immutable_tags"),
        ({"ca_certificate": "no certificate"}, "ca_certificate"),
        ({"ca_certificate": ""}, "ca_certificate"),
        ({"ca_certificate": "# Főtanúsítvány"}, "ca_certificate"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MirrorOptions.model_validate(wrong)
    assert {error["loc"][0] for error in caught.value.errors()} == {field}


@pytest.mark.parametrize(
    "wrong", [{"http_proxy": "ftp://proxy"}, {"https_proxy": "http://user:secret@"}]
)
def test_a_wrong_proxy_is_named_without_its_password(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        RegistryConfig.model_validate({"proxy": wrong})
    assert "secret" not in str(caught.value)
    assert caught.value.errors()[0]["loc"] == ("proxy",)
