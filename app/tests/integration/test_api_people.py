"""`/api/v1`: stars, entity search, banners, read-only repositories, and disabled features."""

from __future__ import annotations

from .clients import Api, add_user, client_with_settings, private_repository, request_status
from .images import push_image_with_layer
from .site import MANIFEST_TYPE, SUPERUSER, Client


def test_stars_belong_to_one_user_and_list_only_visible_repositories(api: Api) -> None:
    alice = add_user(api, "alice")
    api.call(
        "POST", "repository", private_repository("admin", "app") | {"visibility": "public"}, 201
    )
    star = {"namespace": "admin", "repository": "app"}
    assert alice.call("POST", "user/starred", star, 201) == star
    alice.call("POST", "user/starred", star, 201)
    for path in ("user/starred", "repository?starred=true"):
        found = alice.call("GET", path)["repositories"]
        assert [one["name"] for one in found] == ["app"]
        assert api.call("GET", path)["repositories"] == []
    api.call("POST", "repository/admin/app/changevisibility", {"visibility": "private"})
    assert alice.call("GET", "user/starred")["repositories"] == []
    alice.call("POST", "user/starred", star, 404)
    alice.call("DELETE", "user/starred/admin/app", status=204)
    alice.call("DELETE", "user/starred/admin/app", status=404)


def test_entities_are_found_by_a_prefix_of_their_names(api: Api) -> None:
    alice = add_user(api, "alice")
    api.call("POST", "organization/", {"name": "alpha"}, 201)
    api.call("PUT", "organization/alpha/team/alumni", {"role": "member"})
    api.call("PUT", "organization/alpha/robots/ci", {}, 201)

    def names(who: Api, query: str) -> list[tuple[str, str]]:
        return [(one["kind"], one["name"]) for one in who.call("GET", query)["results"]]

    assert names(api, "entities/al") == [("user", "alice")]
    assert names(api, "entities/al?includeOrgs=true") == [("user", "alice"), ("org", "alpha")]
    inside = "entities/al?namespace=alpha&includeTeams=true"
    assert names(api, inside) == [("team", "alumni"), ("user", "alpha+ci"), ("user", "alice")]
    assert names(alice, inside) == [("user", "alice")]
    assert names(api, "entities/%25") == []
    Api(api.site, None).call("GET", "entities/al", status=401)


def test_a_banner_is_shown_to_all_users_until_it_is_deleted(api: Api) -> None:
    text = {"content": "soon down", "media_type": "text/plain", "severity": "warning"}
    add_user(api, "alice").call("POST", "messages", {"message": text}, 403)
    api.call("POST", "messages", {"message": text}, 201)
    (shown,) = Api(api.site, None).call("GET", "messages")["messages"]
    assert shown == text | {"uuid": shown["uuid"]}
    api.call("DELETE", f"message/{shown['uuid']}", status=204)
    api.call("DELETE", f"message/{shown['uuid']}", status=404)
    assert api.call("GET", "messages")["messages"] == []


def test_a_push_to_a_read_only_repository_is_refused(api: Api) -> None:
    client = Client(api.site)
    digest = push_image_with_layer(client, "admin/app", "v1", b"x")
    pushed = client.request("GET", "/v2/admin/app/manifests/v1", "repository:admin/app:pull")
    client.tokens.clear()
    client.token("repository:admin/app:pull,push")
    state = "repository/admin/app/changestate"
    assert api.call("PUT", state, {"state": "READ_ONLY"}) == {"success": True}
    assert api.call("GET", "repository/admin/app")["state"] == "READ_ONLY"
    early = client.request(
        "PUT",
        "/v2/admin/app/manifests/v3",
        "repository:admin/app:pull,push",
        data=pushed.content,
        headers={"Content-Type": MANIFEST_TYPE},
    )
    assert (early.status_code, early.json()["errors"][0]["code"]) == (403, "DENIED")
    fresh = Client(api.site)
    scope = "repository:admin/app:pull,push"
    assert fresh.request("POST", "/v2/admin/app/blobs/uploads/", scope).status_code == 401
    pulled = fresh.request("GET", "/v2/admin/app/manifests/v1", "repository:admin/app:pull")
    assert pulled.status_code == 200
    refused = api.call("PUT", "repository/admin/app/tag/v2", {"manifest_digest": digest}, 503)
    assert "read only" in refused["error_message"]
    api.call("DELETE", "repository/admin/app/tag/v1", status=503)
    api.call("PUT", state, {"state": "MIRROR"}, 400)
    api.call("PUT", state, {"state": "NORMAL"})
    push_image_with_layer(Client(api.site), "admin/app", "v2", b"y")


def test_robots_can_be_disabled_except_for_listed_ones(api: Api) -> None:
    tokens = {
        name: api.call("PUT", f"user/robots/{name}", {}, 201)["token"] for name in ("ci", "cd")
    }
    off = client_with_settings(
        api.site, robots_disallow=True, robots_whitelist=["admin+ci", "admin+extra"]
    )
    for name, status in (("ci", 200), ("cd", 401)):
        assert request_status(off, f"admin+{name}", "/v2/auth", tokens[name]) == status
    for name, status in (("extra", 201), ("other", 400)):
        path = f"/api/v1/user/robots/{name}"
        assert request_status(off, SUPERUSER, path, method="PUT", json={}) == status


def test_superusers_can_be_disabled(api: Api) -> None:
    assert (
        request_status(client_with_settings(api.site), SUPERUSER, "/api/v1/superuser/users/") == 200
    )
    off = client_with_settings(api.site, feature_super_users=False)
    assert request_status(off, SUPERUSER, "/api/v1/superuser/users/") == 403


def test_anonymous_access_to_public_repositories_can_be_disabled(api: Api) -> None:
    api.call(
        "POST", "repository", private_repository("admin", "app") | {"visibility": "public"}, 201
    )
    paths = ("/api/v1/repository/admin/app", "/api/v1/find/repositories?query=app")
    off = client_with_settings(api.site, feature_anonymous_access=False)
    for path in paths:
        assert request_status(client_with_settings(api.site), None, path) == 200
        assert request_status(off, None, path) == 401
        assert request_status(off, SUPERUSER, path) == 200
    scope = "/v2/auth?scope=repository:admin/app:pull"
    assert request_status(client_with_settings(api.site), None, scope) == 200
    assert request_status(off, None, scope) == 401
    assert request_status(off, SUPERUSER, scope) == 200


def test_creating_organizations_and_users_can_be_limited_to_superusers(api: Api) -> None:
    add_user(api, "alice")
    strict = client_with_settings(
        api.site,
        feature_superusers_org_creation_only=True,
        feature_invite_only_user_creation=True,
    )
    path, body = "/api/v1/organization/", {"name": "acme"}
    password = "another password"
    assert request_status(strict, "alice", path, password, method="POST", json=body) == 403
    assert request_status(strict, SUPERUSER, path, method="POST", json=body) == 201
    new = {"username": "bob", "password": password}
    assert request_status(strict, None, "/api/v1/user/", method="POST", json=new) == 400
