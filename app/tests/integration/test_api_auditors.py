"""Users in GLOBAL_READONLY_SUPER_USERS read everything, change nothing, and get no secrets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
import requests
from atoll.auth.api_tokens import ApiTokens

from .clients import Api, add_user
from .images import push_image_with_layer
from .services import Services
from .site import MANIFEST_TYPE, Client, Site, running_site

OTHER_PASSWORD = "another password"


@pytest.fixture
def audited_site(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    changes = {"GLOBAL_READONLY_SUPER_USERS": ["auditor"]}
    with running_site(services, database, tmp_path / "audited", "usstorage", changes) as site:
        yield site


@pytest.fixture
def auditor(audited_site: Site) -> Api:
    """An auditor, an organization with a private repository, and another user's robot."""
    superuser = Api(audited_site)
    found = add_user(superuser, "auditor")
    owner = add_user(superuser, "owner")
    owner.call("POST", "organization/", {"name": "acme"}, 201)
    owner.call("PUT", "organization/acme/robots/ci", {}, 201)
    owner.call("POST", "organization/acme/applications", {"name": "deploy"})
    push_image_with_layer(Client(audited_site, "owner", OTHER_PASSWORD), "acme/app", "v1", b"x")
    return found


ADMINISTRATORS_SEE = (
    "superuser/users/",
    "superuser/organizations/",
    "superuser/organizations/acme",
    "superuser/logs",
    "superuser/health",
    "superuser/instances",
    "superuser/garbage",
    "superuser/guarantees",
    "superuser/verification",
    "superuser/locations",
    "superuser/replication",
    "superuser/replication/lag",
    "organization/acme/members",
    "organization/acme/logs",
    "organization/acme/prototypes",
    "organization/acme/team/owners/members",
    "repository/acme/app",
    "repository/acme/app/tag/",
    "repository/acme/app/logs",
    "repository/acme/app/permissions/user/",
)
CHANGES: tuple[tuple[str, str, object], ...] = (
    ("POST", "organization/", {"name": "mine"}),
    ("POST", "repository", {"repository": "x", "visibility": "public"}),
    ("PUT", "organization/acme/robots/mine", {}),
    ("POST", "organization/acme/robots/ci/regenerate", None),
    ("PUT", "user/robots/mine", {}),
    ("PUT", "user/", {"email": "a@example.com"}),
    ("POST", "user/apptoken", {"title": "mine"}),
    ("PUT", "repository/acme/app", {"description": "mine"}),
    ("DELETE", "repository/acme/app", None),
    ("DELETE", "superuser/users/owner", None),
    ("POST", "superuser/takeownership/acme", None),
    ("POST", "superuser/replication/backfill", {}),
    ("POST", "superuser/replication/retry", {}),
    ("POST", "messages", {"message": {}}),
)


def test_an_auditor_reads_what_administrators_read_and_changes_nothing(auditor: Api) -> None:
    for path in ADMINISTRATORS_SEE:
        auditor.call("GET", path)
    for method, path, body in CHANGES:
        refused = auditor.call(method, path, body, 403)
        assert (path, refused["error_type"]) == (path, "insufficient_scope")


def test_an_auditor_pulls_everything_and_pushes_nothing(
    auditor: Api,
) -> None:
    client = Client(auditor.site, "auditor", OTHER_PASSWORD)
    pulled = client.request("GET", "/v2/acme/app/manifests/v1", "repository:acme/app:pull,push")
    assert pulled.status_code == 200
    for name in ("acme/app", "auditor/app", "fresh/app"):
        token = client.token(f"repository:{name}:pull,push")
        access = jwt.decode(token, options={"verify_signature": False})["access"]
        assert all(set(entry["actions"]) <= {"pull"} for entry in access)
    put = client.request(
        "PUT",
        "/v2/acme/app/manifests/v2",
        "repository:acme/app:pull,push",
        data=pulled.content,
        headers={"Content-Type": MANIFEST_TYPE},
    )
    assert put.status_code == 401
    names = client.request("GET", "/v2/_catalog", "registry:catalog:*").json()["repositories"]
    assert names == ["acme/app"]


def test_an_auditor_gets_no_credentials_that_can_write(auditor: Api) -> None:
    for path in ("organization/acme/robots?token=true", "organization/acme/robots/ci"):
        shown = auditor.call("GET", path)
        (robot,) = shown.get("robots", [shown])
        assert (robot["name"], "token" in robot) == ("acme+ci", False)
    (application,) = auditor.call("GET", "organization/acme/applications")["applications"]
    assert "client_secret" not in application
    shown = auditor.call("GET", "repository/acme/app")
    assert (shown["can_write"], shown["can_admin"]) == (False, False)


def test_an_auditors_token_is_limited_to_its_scope_and_to_reading(
    auditor: Api,
) -> None:
    tokens = ApiTokens(auditor.site.services.database)
    token = tokens.create("auditor", ["repo:read", "repo:create", "org:admin"], 3600)
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {token}"
        base = f"{auditor.site.url}/api/v1"
        assert session.get(f"{base}/superuser/users/").status_code == 403
        assert session.get(f"{base}/repository/acme/app").status_code == 403
        assert session.post(f"{base}/organization/", json={"name": "x"}).status_code == 403


def test_an_auditor_who_is_also_a_superuser_changes_nothing(
    services: Services, database: str, tmp_path: Path
) -> None:
    changes = {"GLOBAL_READONLY_SUPER_USERS": ["admin"]}
    with running_site(services, database, tmp_path / "both", "usstorage", changes) as site:
        api = Api(site)
        api.call("GET", "superuser/users/")
        api.call("POST", "superuser/users/", {"username": "alice"}, 403)
