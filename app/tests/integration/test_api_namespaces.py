"""`/api/v1`: members, names and owners of namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import Api, add_user, client_with_settings, private_repository, request_status
from .images import push_image_with_layer
from .services import Services
from .site import SUPERUSER, Client, Site, running_site

OTHER_PASSWORD = "another password"


@pytest.fixture
def renaming(services: Services, database: str, tmp_path: Path) -> Iterator[Api]:
    changes = {"FEATURE_USER_RENAME": True}
    with running_site(services, database, tmp_path / "renaming", "usstorage", changes) as site:
        yield Api(site)


def test_a_user_is_renamed_together_with_robots_and_repositories(renaming: Api) -> None:
    site = renaming.site
    alice = add_user(renaming, "alice")
    robot = alice.call("PUT", "user/robots/ci", {}, 201)
    digest = push_image_with_layer(Client(site, "alice", OTHER_PASSWORD), "alice/app", "v1", b"x")
    assert alice.call("PUT", "user/", {"username": "alicia"})["username"] == "alicia"
    alice.call("GET", "user/", status=401)
    alicia = Api(site, "alicia", OTHER_PASSWORD)
    assert [one["name"] for one in alicia.call("GET", "user/robots")["robots"]] == ["alicia+ci"]
    pull = ("GET", f"/v2/alicia/app/manifests/{digest}", "repository:alicia/app:pull")
    assert Client(site, "alicia", OTHER_PASSWORD).request(*pull).status_code == 200
    login = Client(site).session.get(f"{site.url}/v2/auth", auth=("alicia+ci", robot["token"]))
    assert login.status_code == 200
    (entry,) = [
        one for one in alicia.call("GET", "user/logs")["logs"] if one["kind"] == "user_change_name"
    ]
    assert entry["metadata"]["old_username"] == "alice"
    # The old name is free again, and shows nothing of the renamed user.
    second = add_user(renaming, "alice")
    second.call("POST", "repository", private_repository("alice", "app"), 201)
    kinds = {one["kind"] for one in second.call("GET", "user/logs")["logs"]}
    assert "create_robot" not in kinds
    old = ("GET", f"/v2/alice/app/manifests/{digest}", "repository:alice/app:pull")
    assert Client(site, "alice", OTHER_PASSWORD).request(*old).status_code == 404


def test_a_taken_or_privileged_name_is_refused(
    renaming: Api,
) -> None:
    alice = add_user(renaming, "alice")
    renaming.call("POST", "organization/", {"name": "acme"}, 201)
    for name in ("acme", SUPERUSER, "Not A Name"):
        alice.call("PUT", "user/", {"username": name}, 400)
    renaming.call("PUT", "user/", {"username": "boss"}, 400)
    assert alice.call("GET", "user/")["username"] == "alice"


def test_a_new_name_is_ignored_if_the_feature_is_disabled(api: Api) -> None:
    alice = add_user(api, "alice")
    assert alice.call("PUT", "user/", {"username": "alicia"})["username"] == "alice"


@pytest.mark.parametrize(("access", "status"), [(None, 200), (True, 200), (False, 403)])
def test_users_read_the_log_of_their_namespace_unless_the_bundle_disables_it(
    us: Site, access: bool | None, status: int
) -> None:
    add_user(Api(us), "alice")
    client = client_with_settings(us, feature_user_log_access=access)
    for path in ("/api/v1/user/logs", "/api/v1/user/aggregatelogs"):
        assert request_status(client, "alice", path, OTHER_PASSWORD) == status
        assert request_status(client, SUPERUSER, path) == 200


def test_a_superuser_takes_ownership_of_an_organization(api: Api) -> None:
    owner = add_user(api, "owner")
    owner.call("POST", "organization/", {"name": "acme"}, 201)
    api.call("GET", "organization/acme/members", status=403)
    owner.call("POST", "superuser/takeownership/acme", status=403)
    assert api.call("POST", "superuser/takeownership/acme") == {"namespace": "acme"}
    members = api.call("GET", "organization/acme/members")["members"]
    assert [one["name"] for one in members] == [SUPERUSER, "owner"]
    api.call("POST", "superuser/takeownership/nobody", status=404)


def test_a_user_converted_to_an_organization_cannot_log_in(api: Api) -> None:
    alice = add_user(api, "alice")
    token = alice.call("POST", "user/apptoken", {"title": "mine"})["token"]["token_code"]
    push_image_with_layer(Client(api.site, "alice", OTHER_PASSWORD), "alice/app", "v1", b"x")
    api.call("PUT", "superuser/users/alice", {"enabled": False})
    api.call("POST", "superuser/takeownership/alice")
    alice.call("GET", "user/", status=401)
    for username, password in (("alice", OTHER_PASSWORD), ("$app", token)):
        answer = Client(api.site).session.get(f"{api.site.url}/v2/auth", auth=(username, password))
        assert answer.status_code == 401
    assert api.call("GET", "organization/alice")["is_admin"]
    assert api.call("GET", "repository/alice/app")["is_organization"]
    api.call("POST", f"superuser/takeownership/{SUPERUSER}", status=400)


def test_permissions_of_a_user_are_listed_with_the_teams_that_grant_them(api: Api) -> None:
    api.call("POST", "organization/", {"name": "acme"}, 201)
    add_user(api, "alice")
    api.call("POST", "repository", private_repository("acme", "app"), 201)
    base = "repository/acme/app/permissions"
    api.call("PUT", "organization/acme/team/makers", {"role": "member"})
    api.call("PUT", "organization/acme/team/makers/members/alice")
    api.call("PUT", f"{base}/team/makers", {"role": "write"})
    api.call("PUT", f"{base}/user/alice", {"role": "read"})
    assert api.call("GET", f"{base}/user/alice/transitive") == {
        "permissions": [{"role": "read"}, {"role": "write"}]
    }
    assert api.call("GET", f"{base}/user/{SUPERUSER}/transitive") == {
        "permissions": [{"role": "admin"}]
    }
    api.call("GET", f"{base}/user/nobody/transitive", status=404)
    assert api.call("GET", "organization/acme/team/makers/permissions")["permissions"] == [
        {"repository": {"name": "app", "is_public": False}, "role": "write"}
    ]
    api.call("GET", "organization/acme/team/nothing/permissions", status=404)


def test_a_user_with_permissions_but_without_a_team_is_listed_as_a_collaborator(api: Api) -> None:
    api.call("POST", "organization/", {"name": "acme"}, 201)
    for name in ("alice", "bob"):
        add_user(api, name)
    for name in ("one", "two"):
        api.call("POST", "repository", private_repository("acme", name), 201)
        api.call("PUT", f"repository/acme/{name}/permissions/user/alice", {"role": "read"})
        api.call("PUT", f"repository/acme/{name}/permissions/user/bob", {"role": "read"})
    api.call("PUT", "organization/acme/team/owners/members/bob")
    found = api.call("GET", "organization/acme/collaborators")["collaborators"]
    assert [(one["name"], one["repositories"]) for one in found] == [("alice", ["one", "two"])]


def test_search_finds_similar_names_that_the_user_may_see(api: Api) -> None:
    api.call("POST", "organization/", {"name": "nginx"}, 201)
    api.call("PUT", "organization/nginx/team/nginxers", {"role": "member"})
    api.call("PUT", "organization/nginx/robots/nginxci", {}, 201)
    api.call("POST", "repository", private_repository("nginx", "nginx"), 201)
    api.call("POST", "repository", private_repository("nginx", "redis"), 201)

    def kinds(who: Api, query: str) -> list[tuple[str, str]]:
        return [(one["kind"], one["name"]) for one in who.call("GET", query)["results"]]

    # Names with a typing error are found too.
    for query in ("find/all?query=nginx", "find/all?query=ngimx"):
        found = kinds(api, query)
        assert found[0] == ("repository", "nginx")
        assert set(found) >= {
            ("organization", "nginx"),
            ("team", "nginxers"),
            ("robot", "nginx+nginxci"),
        }
    assert kinds(api, "find/all?query=") == []
    assert kinds(add_user(api, "alice"), "find/all?query=nginx") == []
    api.call("POST", "repository/nginx/nginx/changevisibility", {"visibility": "public"})
    assert kinds(Api(api.site, None), "find/all?query=nginx") == [
        ("repository", "nginx"),
        ("organization", "nginx"),
    ]


def test_the_repository_list_contains_popularity_and_the_time_of_the_last_push(api: Api) -> None:
    push_image_with_layer(Client(api.site), "admin/app", "v1", b"x")
    api.call("POST", "repository", private_repository("admin", "empty"), 201)
    api.call("POST", "user/starred", {"namespace": "admin", "repository": "app"}, 201)
    path = "repository?namespace=admin&last_modified=true&popularity=true"
    app, empty = api.call("GET", path)["repositories"]
    (tag,) = api.call("GET", "repository/admin/app/tag/")["tags"]
    assert (app["name"], app["last_modified"], app["is_starred"]) == ("app", tag["start_ts"], True)
    assert app["popularity"] >= 1
    assert (empty["last_modified"], empty["is_starred"]) == (None, False)
    (plain, _) = api.call("GET", "repository?namespace=admin")["repositories"]
    assert not {"last_modified", "popularity"} & set(plain)
