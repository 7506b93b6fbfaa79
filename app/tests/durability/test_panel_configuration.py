"""Operators see the configuration without secrets, and instances whose bundle differs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.cluster.instances import Heartbeat
from atoll.config.dump import dump

from .api_client import ApiClient
from .panel_browser import PanelBrowser, statements
from .panel_site import AUDITOR, READER, STRANGER, make_panel_site
from .sites import SUPERUSER, MemorySite, make_registry

HERE = "/superuser/config"
HIDDEN = "**********"
# Values that no page and no response may have.
SECRETS = {
    "SECRET_KEY": "canary-session-key-that-is-long-enough",
    "DATABASE_SECRET_KEY": "canary-database-key-that-is-long-enough",
    "INITIAL_SUPERUSER_PASSWORD": "canary-first-password",
    "MAIL_PASSWORD": "canary-mail-password",
}
CHANGES: dict[str, Any] = {
    **SECRETS,
    "FEATURE_SUPERUSER_CONFIGDUMP": True,
    "DB_CONNECTION_ARGS": {"sslpassword": "canary-connection", "application_name": "shown"},
    "BUILDLOGS_REDIS": {"host": "127.0.0.1", "port": 1, "password": "canary-redis"},
    "USER_EVENTS_REDIS": {"host": "127.0.0.1", "port": 1, "password": "canary-redis"},
    "REGISTRY_TITLE": "<b>A registry</b>",
    "NO_SUCH_KEY": "canary-unknown",
    "DISTRIBUTED_STORAGE_CONFIG": {
        "us": [
            "RadosGWStorage",
            {
                "hostname": "127.0.0.1",
                "is_secure": True,
                "bucket_name": "blobs",
                "storage_path": "/us",
                "access_key": "canary-access",
                "secret_key": "canary-store",
            },
        ]
    },
}


@pytest.fixture(scope="module")
def dumped(
    panel_uri: str, tmp_path_factory: pytest.TempPathFactory, panel_site: MemorySite
) -> MemorySite:
    """A site that shares the users of `panel_site`, and has secrets of all kinds."""
    settings = {"GLOBAL_READONLY_SUPER_USERS": [AUDITOR], **CHANGES}
    del panel_site
    return make_registry(panel_uri, tmp_path_factory.mktemp("dumped"), ["us"], settings)["us"]


def test_no_secret_appears(dumped: MemorySite) -> None:
    page = PanelBrowser(dumped, SUPERUSER).text(HERE)
    answer = json.dumps(ApiClient(dumped).call("GET", HERE[1:]))
    for shown in (page, answer):
        assert "canary" not in shown
        assert "shown" in shown
        assert HIDDEN in shown
    password = dumped.graph.bundle.db_uri.get_secret_value().partition("//")[2]
    assert password not in page


def test_secrets_of_the_environment_and_of_uris_are_masked(dumped: MemorySite) -> None:
    environment = {
        "ATOLL_SOME_PASSWORD": "canary",
        "QUAY_OVERRIDE_CONFIG": '{"SECRET_KEY": "canary"}',
        "ATOLL_PROXY": "http://user:canary@proxy.example:3128/x?y=user:z@w",
        "ATOLL_INITIAL_SUPERUSER_PASSWORD_FILE": "/run/secrets/first",
        "HOME": "canary",
    }
    assert dump(dumped.graph.bundle, environment)["env"] == {
        "ATOLL_INITIAL_SUPERUSER_PASSWORD_FILE": "/run/secrets/first",
        "ATOLL_PROXY": f"http://user:{HIDDEN}@proxy.example:3128/x?y=user:z@w",
        "ATOLL_SOME_PASSWORD": HIDDEN,
        "QUAY_OVERRIDE_CONFIG": HIDDEN,
    }


def test_keys_of_the_bundle_are_apart_from_defaults_and_from_keys_without_effect(
    dumped: MemorySite,
) -> None:
    found = ApiClient(dumped).call("GET", HERE[1:])
    assert {"SECRET_KEY", "SERVER_HOSTNAME"} <= set(found["bundle_keys"])
    assert "NO_SUCH_KEY" not in found["bundle_keys"]
    assert "GARBAGE_COLLECTION_GRACE" not in found["bundle_keys"]
    page = PanelBrowser(dumped, AUDITOR).text(HERE)
    order = ["NO_SUCH_KEY", "unknown key", '"registry.test"', "GARBAGE_COLLECTION_GRACE"]
    places = [page.index(one) for one in order]
    assert places == sorted(places)


def test_instances_with_another_bundle_are_shown_with_the_keys(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    site = make_panel_site(make_database(), tmp_path)
    browser = PanelBrowser(site, SUPERUSER)
    page = browser.get(HERE)
    assert "No instance has sent a heartbeat" in page.text
    assert "FEATURE_SUPERUSER_CONFIGDUMP" in page.text
    assert statements(page) <= 3
    bundle, health = site.graph.bundle, site.locations.health
    for number, changes in enumerate(({}, {}, {"SERVER_HOSTNAME": "0" * 64})):
        other = bundle.model_copy(update={"fingerprint": {**bundle.fingerprint, **changes}})
        Heartbeat(site.database, other, f"role{number}", health).record()
        state = "are equal" if number < 2 else "SERVER_HOSTNAME</span>"
        assert state in browser.text(HERE)
    assert ">role2<" in browser.text(HERE)
    assert ">role1<" not in browser.text(HERE)


def test_only_operators_see_the_configuration(dumped: MemorySite) -> None:
    for user, status in ((AUDITOR, 200), (SUPERUSER, 200), (READER, 403), (None, 303)):
        answer = PanelBrowser(dumped, user).get(HERE, status=status)
        assert "<b>A registry" not in answer.text
    ApiClient(dumped, STRANGER).call("GET", HERE[1:], status=403)
