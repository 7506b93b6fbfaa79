"""Calls of real tools, with the trailing slashes and status codes of Quay.

Recorded from a running Quay, except for features that Atoll does not have: quotas, proxy caches,
policies, mirrors, and federated robots.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from .clients import LOCAL, Api, signed_in
from .images import push_image_with_layer
from .services import Services
from .site import SUPERUSER, Client, Site, running_site

UNKNOWN = f"sha256:{'0' * 64}"
Calls = list[tuple[str, str, object, int]]


@pytest.fixture
def api(services: Services, database: str, tmp_path: Path) -> Iterator[Api]:
    changes = {
        "FEATURE_IMAGE_PULL_STATS": True,
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": "https://clair.example",
        "FEATURE_SUPERUSER_CONFIGDUMP": True,
    }
    with running_site(services, database, tmp_path / "recorded", "usstorage", changes) as site:
        found = Api(site)
        found.call("POST", "superuser/users/", {"username": "alice", "email": "a@example.com"})
        found.call("POST", "organization/", {"name": "acme", "email": "acme@example.com"}, 201)
        yield found


def send_all(api: Api, calls: Calls) -> list[Any]:
    """Send requests one after the other, and return the responses."""
    return [api.call(method, path, body, status) for method, path, body, status in calls]


def test_calls_about_the_current_user_and_by_superusers(api: Api) -> None:
    message = {"content": "soon down", "media_type": "text/markdown", "severity": "info"}
    send_all(
        api,
        [
            ("GET", "user/", None, 200),
            ("GET", "entities/alice?includeOrgs=true&includeTeams=true", None, 200),
            ("POST", "repository", _repository(), 201),
            ("POST", "user/starred", {"namespace": "acme", "repository": "app"}, 201),
            ("DELETE", "user/starred/acme/app", None, 204),
            ("GET", "user/apptoken", None, 200),
            ("GET", "superuser/users/", None, 200),
            ("GET", "superuser/users/alice", None, 200),
            ("GET", "superuser/users/nobody", None, 404),
            ("PUT", "superuser/users/alice", {"email": "b@example.com"}, 200),
            ("PUT", "superuser/organizations/acme", {"email": "b2@example.com"}, 200),
            ("GET", "superuser/config", None, 200),
            ("GET", "registry/capabilities", None, 200),
            ("POST", "messages", {"message": message}, 201),
            ("DELETE", "superuser/users/alice", None, 204),
            ("POST", "superuser/users/", {"username": "alice"}, 200),
        ],
    )
    token = api.call("POST", "user/apptoken", {"title": "laptop"})["token"]["uuid"]
    (banner,) = api.call("GET", "messages")["messages"]
    send_all(
        api,
        [
            ("GET", f"user/apptoken/{token}", None, 200),
            ("DELETE", f"user/apptoken/{token}", None, 204),
            ("DELETE", f"message/{banner['uuid']}", None, 204),
        ],
    )


def test_calls_about_an_organization(api: Api) -> None:
    base = "organization/acme"
    member = f"{base}/team/makers/members/alice"
    send_all(
        api,
        [
            ("GET", base, None, 200),
            ("GET", "organization/nothing", None, 404),
            ("PUT", base, {"email": "c@example.com"}, 200),
            ("PUT", base, {"tag_expiration_s": 7}, 400),
            ("GET", f"{base}/robots/ci", None, 400),
            ("PUT", f"{base}/robots/ci", {"description": "builds"}, 201),
            ("GET", f"{base}/robots/ci", None, 200),
            ("DELETE", f"{base}/robots/ci", None, 204),
            ("PUT", "user/robots/ci", {"description": "builds"}, 201),
            ("GET", "user/robots/ci", None, 200),
            ("DELETE", "user/robots/ci", None, 204),
            ("PUT", f"{base}/team/makers", {"role": "member", "description": "they make"}, 200),
            ("PUT", member, None, 200),
            ("GET", f"{base}/team/makers/members?includePending=true", None, 200),
            ("DELETE", member, None, 204),
            ("DELETE", f"{base}/team/makers", None, 204),
            ("GET", f"{base}/applications", None, 200),
            ("GET", f"{base}/prototypes", None, 200),
        ],
    )
    client_id = api.call("POST", f"{base}/applications", {"name": "deploy"})["client_id"]
    delegate = {"role": "read", "delegate": {"kind": "user", "name": "alice"}}
    prototype = api.call("POST", f"{base}/prototypes", delegate)["id"]
    send_all(
        api,
        [
            ("PUT", f"{base}/applications/{client_id}", {"name": "deployer"}, 200),
            ("DELETE", f"{base}/applications/{client_id}", None, 204),
            ("PUT", f"{base}/prototypes/{prototype}", {"role": "write"}, 200),
            ("DELETE", f"{base}/prototypes/{prototype}", None, 204),
            ("DELETE", base, None, 204),
            ("POST", "organization/", {"name": "acme"}, 201),
        ],
    )


def test_calls_about_a_repository(api: Api) -> None:
    base = "repository/acme/app"
    hook = {"event": "repo_push", "method": "webhook", "config": {"url": "https://example.com"}}
    send_all(
        api,
        [
            ("POST", "repository", _repository(), 201),
            ("GET", base, None, 200),
            ("GET", "repository/acme/nothing", None, 404),
            ("PUT", base, {"description": "what it is"}, 200),
            ("PUT", f"{base}/changestate", {"state": "NORMAL"}, 200),
            ("GET", f"{base}/permissions/user/", None, 200),
            ("GET", f"{base}/permissions/team/", None, 200),
            ("PUT", f"{base}/permissions/user/alice", {"role": "read"}, 200),
            ("PUT", f"{base}/permissions/team/owners", {"role": "admin"}, 200),
            ("DELETE", f"{base}/permissions/user/alice", None, 204),
            ("GET", f"{base}/notification/", None, 200),
        ],
    )
    uuid = api.call("POST", f"{base}/notification/", hook, 201)["uuid"]
    send_all(
        api,
        [
            ("POST", f"{base}/notification/{uuid}/test", {}, 200),
            ("DELETE", f"{base}/notification/{uuid}", None, 204),
            ("DELETE", base, None, 204),
        ],
    )


def test_calls_about_tags_and_manifests(api: Api) -> None:
    digest = push_image_with_layer(Client(api.site), "acme/app", "v1", b"x")
    tag, manifest = "repository/acme/app/tag", f"repository/acme/app/manifest/{digest}"
    send_all(
        api,
        [
            ("GET", f"{tag}/?onlyActiveTags=true&limit=10&page=1&specificTag=v1", None, 200),
            ("GET", "repository/acme/nothing/tag/", None, 404),
            ("PUT", f"{tag}/v2", {"manifest_digest": digest}, 201),
            ("GET", f"{tag}/v2/pull_statistics", None, 200),
            ("DELETE", f"{tag}/v2", None, 204),
            ("GET", manifest, None, 200),
            ("GET", f"{manifest}/labels", None, 200),
            ("GET", f"{manifest}/security", None, 200),
            ("GET", f"{manifest}/pull_statistics", None, 200),
            ("GET", f"repository/acme/app/manifest/{UNKNOWN}/pull_statistics", None, 404),
        ],
    )
    label = {"key": "team", "value": "red", "media_type": "text/plain"}
    made = api.call("POST", f"{manifest}/labels", label, 201)["label"]["id"]
    api.call("DELETE", f"{manifest}/labels/{made}", status=204)


def test_calls_about_signing_in_and_applications(api: Api) -> None:
    site: Site = api.site
    session = signed_in(site)
    client_id = api.call("POST", "organization/acme/applications", {"name": "x"})["client_id"]
    asked = {
        "client_id": client_id,
        "redirect_uri": f"{site.url}{LOCAL}",
        "scope": "repo:read",
        "response_type": "token",
        "_csrf_token": str(session.headers["X-CSRF-Token"]),
    }

    def post(path: str, **fields: str) -> requests.Response:
        return session.post(f"{site.url}{path}", data={**asked, **fields}, allow_redirects=False)

    assert post("/oauth/authorizeapp").status_code == 302
    assert post("/oauth/authorize/assignuser", username=SUPERUSER).status_code == 200
    assert post("/oauth/authorize/assignuser", username="nobody").status_code == 404
    assert session.post(f"{site.url}/api/v1/signout").status_code == 200


def _repository() -> dict[str, str]:
    return {
        "namespace": "acme",
        "repository": "app",
        "visibility": "private",
        "description": "",
        "repo_kind": "image",
    }
