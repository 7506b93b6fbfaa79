"""`/api/v1`: operations that a bundle enables, and the description of the registry's features."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import Api, add_user
from .images import push_image_with_layer
from .services import Services, wait_until
from .site import Client, running_site

UNKNOWN = f"sha256:{'0' * 64}"


@pytest.fixture
def featured(services: Services, database: str, tmp_path: Path) -> Iterator[Api]:
    changes = {
        "FEATURE_IMAGE_PULL_STATS": True,
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": "https://clair.example",
        "FEATURE_SUPERUSER_CONFIGDUMP": True,
        "GITHUB_LOGIN_CONFIG": {"CLIENT_SECRET": "seen-by-nobody"},
        "FEATURE_REPO_MIROR": True,
    }
    with running_site(services, database, tmp_path / "featured", "usstorage", changes) as site:
        yield Api(site)


def test_operations_of_disabled_features_are_answered_with_404(api: Api) -> None:
    digest = push_image_with_layer(Client(api.site), "admin/app", "v1", b"x")
    for path in (
        "superuser/config",
        f"repository/admin/app/manifest/{digest}/security",
        f"repository/admin/app/manifest/{digest}/pull_statistics",
        "repository/admin/app/tag/v1/pull_statistics",
    ):
        assert api.call("GET", path, status=404)["error_type"] == "not_found"


def test_pulls_are_counted_by_tag_and_by_manifest(featured: Api) -> None:
    client, base = Client(featured.site), "repository/admin/app"
    digest = push_image_with_layer(client, "admin/app", "v1", b"x")
    never = featured.call("GET", f"{base}/tag/v1/pull_statistics")
    assert never == {
        "tag_name": "v1",
        "tag_pull_count": 0,
        "last_tag_pull_date": None,
        "current_manifest_digest": digest,
        "manifest_pull_count": 0,
        "last_manifest_pull_date": None,
    }
    for reference in ("v1", "v1", digest):
        path = f"/v2/admin/app/manifests/{reference}"
        assert client.request("GET", path, "repository:admin/app:pull").status_code == 200

    def counted() -> int:
        path = f"{base}/manifest/{digest}/pull_statistics"
        return featured.call("GET", path)["manifest_pull_count"]

    wait_until("the pulls are counted", lambda: counted() == 3)
    by_tag = featured.call("GET", f"{base}/tag/v1/pull_statistics")
    assert (by_tag["tag_pull_count"], by_tag["manifest_pull_count"]) == (2, 3)
    assert by_tag["last_tag_pull_date"]
    assert by_tag["last_manifest_pull_date"]
    assert (
        client.request("GET", "/v2/admin/app/manifests/v1", "repository:admin/app:pull").status_code
        == 200
    )
    wait_until("one more pull is counted", lambda: counted() == 4)
    featured.call("GET", f"{base}/manifest/{UNKNOWN}/pull_statistics", status=404)
    featured.call("GET", f"{base}/tag/nothing/pull_statistics", status=404)


def test_pull_statistics_are_not_public(featured: Api) -> None:
    push_image_with_layer(Client(featured.site), "admin/app", "v1", b"x")
    path = "repository/admin/app/tag/v1/pull_statistics"
    featured.call("POST", "repository/admin/app/changevisibility", {"visibility": "public"})
    alice = add_user(featured, "alice")
    alice.call("GET", "repository/admin/app/tag/")
    alice.call("GET", path, status=403)
    Api(featured.site, None).call("GET", path, status=401)
    featured.call("PUT", "repository/admin/app/permissions/user/alice", {"role": "read"})
    alice.call("GET", path)


def test_a_manifest_is_reported_as_unscanned_rather_than_clean(featured: Api) -> None:
    digest = push_image_with_layer(Client(featured.site), "admin/app", "v1", b"x")
    base = "repository/admin/app/manifest"
    found = featured.call("GET", f"{base}/{digest}/security?vulnerabilities=true")
    assert found == {"status": "queued", "data": None}
    featured.call("GET", f"{base}/{UNKNOWN}/security", status=404)


def test_a_superuser_reads_the_configuration_without_secrets(featured: Api) -> None:
    found = featured.call("GET", "superuser/config")
    assert set(found) == {"config", "bundle_keys", "warning", "env", "schema"}
    assert "FEATURE_REPO_MIROR" not in found["bundle_keys"]
    assert found["config"]["SERVER_HOSTNAME"] == "registry.test"
    assert found["config"]["DISTRIBUTED_STORAGE_CONFIG"]["usstorage"][0] == "RadosGWStorage"
    assert "FEATURE_REPO_MIRROR" in found["warning"]["FEATURE_REPO_MIROR"]
    assert "SUPER_USERS" in found["schema"]["properties"]
    text = json.dumps(found)
    bundle = featured.site.services.bundle
    store = bundle.stores["usstorage"]
    for secret in (bundle.secret_key, bundle.initial_superuser_password, store.secret_key):
        assert secret.get_secret_value() not in text
    for secret in (bundle.db_uri.get_secret_value(), "seen-by-nobody"):
        assert secret not in text
    add_user(featured, "alice").call("GET", "superuser/config", status=403)


def test_anonymous_clients_can_read_the_list_of_features(api: Api) -> None:
    found = Api(api.site, None).call("GET", "registry/capabilities")
    assert found["sparse_manifests"] == {
        "supported": False,
        "required_architectures": [],
        "optional_architectures_allowed": False,
    }
    assert "arm64" in found["mirror_architectures"]


def test_a_restored_tag_is_marked_as_such(api: Api) -> None:
    client, tag = Client(api.site), "repository/admin/app/tag/"
    first = push_image_with_layer(client, "admin/app", "v1", b"one")
    push_image_with_layer(client, "admin/app", "v1", b"two")
    api.call("POST", f"{tag}v1/restore", {"manifest_digest": first})
    assert [one["reversion"] for one in api.call("GET", tag)["tags"]] == [True, False, False]
