"""Authentication, and the permissions that tokens carry."""

from __future__ import annotations

import base64
import time

import jwt
import pytest

from .clients import create_user
from .site import SUPERUSER, Client, Site

REPOSITORY = "admin/app"
READ = f"repository:{REPOSITORY}:pull"
WRITE = f"repository:{REPOSITORY}:pull,push"


def actions(client: Client, scope: str) -> list[str]:
    claims = jwt.decode(client.token(scope), options={"verify_signature": False})
    return [action for entry in claims["access"] for action in entry["actions"]]


def test_a_request_without_a_token_is_challenged_with_the_token_endpoint(client: Client) -> None:
    answer = client.request("GET", f"/v2/{REPOSITORY}/manifests/v1")
    assert answer.status_code == 401
    challenge = answer.headers["WWW-Authenticate"]
    assert f'realm="{client.site.url}/v2/auth"' in challenge
    assert 'service="registry.test"' in challenge
    assert f'scope="repository:{REPOSITORY}:pull"' in challenge
    assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


def test_a_wrong_password_is_refused(us: Site) -> None:
    for username, password in ((SUPERUSER, "wrong"), ("nobody", "wrong"), (SUPERUSER, "")):
        answer = Client(us).session.get(f"{us.url}/v2/auth", auth=(username, password))
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode(), "Digest x"]
)
def test_malformed_credentials_are_refused(us: Site, header: str) -> None:
    answer = Client(us).session.get(f"{us.url}/v2/auth", headers={"Authorization": header})
    assert answer.status_code == 401


def test_a_token_issued_at_one_site_is_valid_at_the_other(us: Site, eu: Site) -> None:
    digest = Client(us).push_blob(REPOSITORY, b"x")
    token = Client(us).token(READ)
    answer = Client(eu).request(
        "HEAD", f"/v2/{REPOSITORY}/blobs/{digest}", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.status_code == 200


def test_a_pull_token_cannot_push(client: Client) -> None:
    client.push_blob(REPOSITORY, b"x")
    answer = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", READ)
    assert answer.status_code == 401
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("claims", [{"exp": time.time() - 100}, {"aud": "other"}, {"iss": "me"}])
def test_a_forged_or_expired_token_is_refused(client: Client, claims: dict[str, object]) -> None:
    now = time.time()
    forged = {
        "iss": "atoll",
        "aud": "registry.test",
        "sub": "admin",
        "iat": now,
        "exp": now + 60,
        "access": [{"type": "repository", "name": REPOSITORY, "actions": ["pull"]}],
        **claims,
    }
    for key in ("guess", "a secret of the tests"):
        token = jwt.encode(forged, key, algorithm="HS256")
        answer = client.request("GET", "/v2/", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    unsigned = jwt.encode(forged, None, algorithm="none")
    answer = client.request("GET", "/v2/", headers={"Authorization": f"Bearer {unsigned}"})
    assert answer.status_code == 401


def test_a_private_repository_is_accessible_to_its_owner_only(us: Site) -> None:
    Client(us).push_blob(REPOSITORY, b"x")
    stranger = create_user(us, "stranger")
    assert actions(stranger, WRITE) == []
    assert actions(Client(us, None), READ) == []
    assert set(actions(Client(us), WRITE)) == {"pull", "push"}


def test_a_public_repository_can_be_pulled_by_all_clients(us: Site) -> None:
    assert us.command("repository", "create", REPOSITORY, "--visibility", "public").returncode == 0
    assert actions(Client(us, None), WRITE) == ["pull"]
    assert actions(create_user(us, "stranger"), WRITE) == ["pull"]


def test_a_push_to_a_new_namespace_makes_the_user_its_owner(us: Site) -> None:
    alice, bob = create_user(us, "alice"), create_user(us, "bob")
    alice.push_blob("team/app", b"x")
    scope = "repository:team/app:pull,push"
    assert "push" in actions(alice, scope)
    assert actions(bob, scope) == []
    assert actions(bob, "repository:team/another:pull,push") == []


def test_a_token_issued_before_a_namespace_existed_creates_no_repository_in_it(
    us: Site,
) -> None:
    alice, bob = create_user(us, "alice"), create_user(us, "bob")
    early = alice.token("repository:team/app:pull,push")
    bob.push_blob("team/other", b"x")
    answer = alice.request(
        "POST", "/v2/team/app/blobs/uploads/", headers={"Authorization": f"Bearer {early}"}
    )
    assert answer.status_code == 401
    assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


def test_one_token_can_have_several_scopes(client: Client) -> None:
    client.push_blob("admin/a", b"x")
    scope = "repository:admin/a:pull repository:admin/b:pull,push"
    assert sorted(actions(client, scope)) == ["pull", "pull", "push"]


def test_the_token_response_contains_the_lifetime(client: Client) -> None:
    answer = client.request("GET", "/v2/auth", params={"service": "registry.test"}).json()
    assert answer["expires_in"] == 3600
    assert answer["issued_at"].endswith("Z")
    assert answer["token"] == answer["access_token"]


def test_a_repository_is_created_once_and_only_in_an_existing_namespace(us: Site) -> None:
    for text in ("created", "exists already"):
        made = us.command("repository", "create", REPOSITORY)
        assert (made.returncode, text in made.stdout) == (0, True)
    refused = us.command("repository", "create", "nowhere/app")
    assert (refused.returncode, "no namespace 'nowhere'" in refused.stderr) == (1, True)


def test_a_user_is_created_once_and_a_short_password_is_refused(us: Site) -> None:
    create_user(us, "alice")
    again = us.command("user", "create", "alice", "--password-stdin", input="another password\n")
    assert (again.returncode, "taken already" in again.stderr) == (1, True)
    short = us.command("user", "create", "carol", "--password-stdin", input="short\n")
    assert (short.returncode, "at least 8" in short.stderr) == (1, True)
