"""`/api/v1`: the operations that scripts written for Quay call, and their responses."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any
from urllib.parse import quote

import pytest
import requests
from atoll.storage.errors import StoreError

from .clients import Api, add_user, private_repository
from .images import push_image_with_layer
from .services import wait_until
from .site import MANIFEST_TYPE, SUPERUSER, Client


def test_an_organization_can_be_created_changed_and_deleted(api: Api) -> None:
    assert api.call("POST", "organization/", {"name": "acme"}, 201) == "Created"
    found = api.call("GET", "organization/acme")
    assert (found["is_admin"], found["ordered_teams"]) == (True, ["owners"])
    again = api.call("POST", "organization/", {"name": "acme"}, 400)
    assert again["error_type"] == "invalid_request"
    assert set(again) == {"detail", "error_message", "error_type", "title", "type", "status"}
    api.call("PUT", "organization/acme", {"email": "a@example.com"})
    api.call("DELETE", "organization/acme", status=204)
    api.call("GET", "organization/acme", status=404)
    api.call("POST", "organization/", {"name": "acme"}, 201)


def test_a_team_grants_its_role_to_its_members(api: Api) -> None:
    api.call("POST", "organization/", {"name": "acme"}, 201)
    alice = add_user(api, "alice")
    alice.call("POST", "repository", private_repository("acme", "app"), 403)
    made = api.call("PUT", "organization/acme/team/makers", {"role": "creator"})
    assert (made["role"], made["new_team"]) == ("creator", True)
    api.call("PUT", "organization/acme/team/makers/members/alice")
    members = api.call("GET", "organization/acme/team/makers/members")["members"]
    assert [member["name"] for member in members] == ["alice"]
    alice.call("POST", "repository", private_repository("acme", "app"), 201)
    api.call("DELETE", "organization/acme/team/makers/members/alice", status=204)
    alice.call("POST", "repository", private_repository("acme", "other"), 403)
    api.call("DELETE", "organization/acme/team/makers", status=204)
    api.call("GET", "organization/acme/team/makers/members", status=404)


def test_the_last_administrator_of_an_organization_cannot_be_removed(api: Api) -> None:
    api.call("POST", "organization/", {"name": "acme"}, 201)
    api.call("DELETE", f"organization/acme/team/owners/members/{SUPERUSER}", status=400)
    api.call("DELETE", "organization/acme/team/owners", status=400)
    api.call("PUT", "organization/acme/team/owners", {"role": "member"}, 400)
    assert api.call("GET", "organization/acme")["is_admin"]


@pytest.mark.parametrize("owner", ["organization/acme", "user"])
def test_a_robot_pulls_and_pushes_with_its_token_until_it_is_regenerated(
    api: Api, owner: str
) -> None:
    api.call("POST", "organization/", {"name": "acme"}, 201)
    namespace = "acme" if "acme" in owner else SUPERUSER
    api.call("GET", f"{owner}/robots/ci", status=400)
    robot = api.call("PUT", f"{owner}/robots/ci", {"description": "builds"}, 201)
    assert (robot["name"], len(robot["token"])) == (f"{namespace}+ci", 64)
    api.call("PUT", f"{owner}/robots/ci", {}, 400)
    api.call("POST", "repository", private_repository(namespace, "app"), 201)
    api.call(
        "PUT", f"repository/{namespace}/app/permissions/user/{namespace}+ci", {"role": "write"}
    )
    push_image_with_layer(
        Client(api.site, robot["name"], robot["token"]), f"{namespace}/app", "v1", b"x"
    )
    fresh = api.call("POST", f"{owner}/robots/ci/regenerate")
    for token, status in ((robot["token"], 401), (fresh["token"], 200)):
        answer = Client(api.site).session.get(
            f"{api.site.url}/v2/auth", auth=(robot["name"], token)
        )
        assert answer.status_code == status
    permissions = api.call("GET", f"{owner}/robots/ci/permissions")["permissions"]
    assert [(p["repository"]["name"], p["role"]) for p in permissions] == [("app", "write")]
    api.call("DELETE", f"{owner}/robots/ci", status=204)
    assert api.call("GET", f"{owner}/robots")["robots"] == []


def test_no_secret_is_stored_in_plain_text(api: Api) -> None:
    robot = api.call("PUT", "user/robots/ci", {}, 201)
    code = api.call("POST", "user/apptoken", {"title": "mine"})["token"]["token_code"]
    database = api.site.services.database
    kept = database.read('SELECT robot_secret FROM "user" WHERE robot_secret IS NOT NULL')
    kept += database.read("SELECT token_secret FROM appspecifictoken")
    assert len(kept) == 2
    for (secret,) in kept:
        assert secret.startswith("v1$$")
        assert robot["token"] not in secret
        assert code[60:] not in secret


def test_a_repository_can_be_created_read_changed_and_deleted(api: Api) -> None:
    made = api.call("POST", "repository", private_repository("admin", "deep/app"), 201)
    assert made == {"namespace": "admin", "name": "deep/app", "kind": "image"}
    api.call("POST", "repository", private_repository("admin", "deep/app"), 400)
    api.call("PUT", "repository/admin/deep/app", {"description": "what it is"})
    api.call("POST", "repository/admin/deep/app/changevisibility", {"visibility": "public"})
    shown = Api(api.site, None).call("GET", "repository/admin/deep/app")
    assert (shown["is_public"], shown["description"]) == (True, "what it is")
    assert (shown["can_write"], shown["can_admin"]) == (False, False)
    listed = Api(api.site, None).call("GET", "repository?public=true")["repositories"]
    assert [one["name"] for one in listed] == ["deep/app"]
    api.call("DELETE", "repository/admin/deep/app", status=204)
    api.call("GET", "repository/admin/deep/app", status=404)


def test_public_repositories_are_listed_beside_private_ones(api: Api) -> None:
    """As in Quay, whose clients list an organization so."""
    for name, visibility in (("closed", "private"), ("open", "public")):
        body = private_repository("admin", name) | {"visibility": visibility}
        api.call("POST", "repository", body, 201)
    query = "repository?namespace=admin&public=true"
    for client, names in ((api, ["closed", "open"]), (Api(api.site, None), ["open"])):
        assert [one["name"] for one in client.call("GET", query)["repositories"]] == names


@pytest.mark.parametrize("below", ["unserved", "Unserved", "tag/latest/unserved"])
def test_an_unknown_path_below_a_repository_is_named_in_the_error(api: Api, below: str) -> None:
    api.call("POST", "repository", private_repository("admin", "app"), 201)
    refused = api.call("GET", f"repository/admin/app/{below}", status=404)
    assert f"there is nothing at /api/v1/repository/admin/app/{below}" in refused["detail"]


@pytest.mark.parametrize("path", ["repository/acme/app", "organization/acme"])
def test_deleting_a_repository_or_namespace_ends_uploads_in_progress(api: Api, path: str) -> None:
    api.call("POST", "organization/", {"name": "acme"}, 201)
    client, scope = Client(api.site), "repository:acme/app:pull,push"
    client.push_blob("acme/app", b"so that the repository is there")
    uploads = "/v2/acme/app/blobs/uploads/"
    begun = client.request("POST", uploads, scope).headers["Location"]
    chunk = client.request("PATCH", begun, scope, data=b"a chunk")
    assert chunk.status_code == 202
    api.call("DELETE", path, status=204)
    digest = f"sha256:{hashlib.sha256(b'a chunk').hexdigest()}"
    for method, location, arguments in (
        ("PATCH", chunk.headers["Location"], {"data": b"more"}),
        ("PUT", chunk.headers["Location"], {"params": {"digest": digest}}),
        ("PUT", begun, {"params": {"digest": digest}, "data": b"a chunk"}),
    ):
        answer = client.request(method, location, scope, **arguments)
        assert (answer.status_code, answer.json()["errors"][0]["code"]) == (
            404,
            "BLOB_UPLOAD_UNKNOWN",
        )
    database = api.site.services.database
    database.run("UPDATE blobupload SET changed_at = changed_at - interval '2 minutes'")
    api.site.services.uploads.delete_leftovers()
    assert database.read("SELECT 1 FROM blobupload") == []
    key = f"sha256/{digest[7:9]}/{digest[7:]}"
    for store in api.site.locations.stores.values():
        with pytest.raises(StoreError):
            store.size(key)


def test_a_deletion_and_its_log_entry_are_one_transaction(api: Api) -> None:
    api.call("POST", "repository", private_repository("admin", "app"), 201)
    api.call("DELETE", "repository/admin/app", status=204)
    api.call("DELETE", "repository/admin/app", status=404)
    kinds = [entry["kind"] for entry in api.call("GET", "user/logs")["logs"]]
    assert kinds == ["delete_repo", "create_repo"]


def test_a_new_repository_shows_nothing_of_a_deleted_one_of_the_same_name(api: Api) -> None:
    client = Client(api.site)
    digest = push_image_with_layer(client, "admin/app", "v1", b"x")
    path, scope = f"/v2/admin/app/manifests/{digest}", "repository:admin/app:pull"
    assert client.request("GET", path, scope).status_code == 200
    api.call("DELETE", "repository/admin/app", status=204)
    api.call("POST", "repository", private_repository("admin", "app"), 201)
    assert client.request("GET", path, scope).status_code == 404


def test_a_default_permission_applies_to_repositories_created_later(api: Api) -> None:
    api.call("POST", "organization/", {"name": "acme"}, 201)
    add_user(api, "alice")
    api.call("PUT", "organization/acme/team/readers", {"role": "member"})
    for kind, name, role in (("user", "alice", "write"), ("team", "readers", "read")):
        made = api.call(
            "POST",
            "organization/acme/prototypes",
            {"role": role, "delegate": {"kind": kind, "name": name}},
        )
        assert (made["delegate"]["name"], made["role"]) == (name, role)
    prototypes = api.call("GET", "organization/acme/prototypes")["prototypes"]
    api.call("PUT", f"organization/acme/prototypes/{prototypes[0]['id']}", {"role": "admin"})
    push_image_with_layer(Client(api.site), "acme/app", "v1", b"x")
    people = api.call("GET", "repository/acme/app/permissions/user/")["permissions"]
    assert people["alice"]["role"] == "admin"
    teams = api.call("GET", "repository/acme/app/permissions/team/")["permissions"]
    assert teams["readers"]["role"] == "read"
    api.call("DELETE", f"organization/acme/prototypes/{prototypes[0]['id']}", status=204)
    assert len(api.call("GET", "organization/acme/prototypes")["prototypes"]) == 1


def test_a_tag_can_be_moved_deleted_restored_and_removed_from_history(api: Api) -> None:
    client = Client(api.site)
    first = push_image_with_layer(client, "admin/app", "latest", b"one")
    second = push_image_with_layer(client, "admin/app", "latest", b"two")
    tag = "repository/admin/app/tag/"
    history = api.call("GET", tag)["tags"]
    assert [(one["manifest_digest"], "end_ts" in one) for one in history] == [
        (second, False),
        (first, True),
    ]
    api.call("DELETE", f"{tag}latest", status=204)
    assert api.call("GET", f"{tag}?onlyActiveTags=true")["tags"] == []
    api.call("POST", f"{tag}latest/restore", {"manifest_digest": first})
    assert [
        t["manifest_digest"] for t in api.call("GET", f"{tag}?onlyActiveTags=true")["tags"]
    ] == [first]
    assert api.call("PUT", f"{tag}stable", {"manifest_digest": second}, 201) == "Updated"
    assert len(api.call("GET", f"{tag}?specificTag=stable")["tags"]) == 1
    api.call("POST", f"{tag}latest/expire", {"manifest_digest": second})
    api.call("POST", f"{tag}latest/restore", {"manifest_digest": second}, 404)


def test_a_tag_cannot_be_restored_after_the_retention_time_of_its_namespace(api: Api) -> None:
    digest = push_image_with_layer(Client(api.site), "admin/app", "v1", b"one")
    api.call("PUT", "user/", {"tag_expiration_s": 0})
    api.call("DELETE", "repository/admin/app/tag/v1", status=204)
    api.call("POST", "repository/admin/app/tag/v1/restore", {"manifest_digest": digest}, 404)
    api.call("PUT", "user/", {"tag_expiration_s": 7}, 400)


def test_an_expired_tag_disappears_at_once_and_stays_in_the_history(api: Api) -> None:
    client, tag = Client(api.site), "repository/admin/app/tag/"
    digest = push_image_with_layer(client, "admin/app", "v1", b"one")
    later = int(time.time()) + 3600
    assert api.call("PUT", f"{tag}v1", {"expiration": later}, 201) == "Updated"
    (shown,) = api.call("GET", f"{tag}?onlyActiveTags=true")["tags"]
    assert (shown["end_ts"], "expiration" in shown) == (later, True)
    pull = ("GET", "/v2/admin/app/manifests/v1", "repository:admin/app:pull")
    assert client.request(*pull).status_code == 200
    expire_now(api, digest)
    assert client.request(*pull).status_code == 404
    listed = client.request("GET", "/v2/admin/app/tags/list", "repository:admin/app:pull")
    assert listed.json()["tags"] == []
    assert api.call("GET", f"{tag}?onlyActiveTags=true")["tags"] == []
    assert [one["name"] for one in api.call("GET", tag)["tags"]] == ["v1"]
    api.call("DELETE", f"{tag}v1", status=404)
    api.call("PUT", f"{tag}v1", {"expiration": later}, 404)
    # A tag that is pushed again or restored exists again, without an expiry.
    assert push_image_with_layer(client, "admin/app", "v1", b"one") == digest
    assert client.request(*pull).status_code == 200
    (shown,) = api.call("GET", f"{tag}?onlyActiveTags=true")["tags"]
    assert "end_ts" not in shown
    assert len(api.call("GET", tag)["tags"]) == 2


def expire_now(api: Api, digest: str) -> None:
    """Move the expiry of tags into the past."""
    ended = api.site.services.database.run(
        "UPDATE tag SET expires_ms = lifetime_start_ms + 1 FROM manifest m"
        " WHERE m.id = tag.manifest_id AND m.digest = %s AND expires_ms IS NOT NULL RETURNING 1",
        [digest],
    )
    assert ended


def test_an_expired_tag_can_be_restored_and_a_pending_expiry_cancelled(api: Api) -> None:
    client, tag = Client(api.site), "repository/admin/app/tag/v1"
    digest = push_image_with_layer(client, "admin/app", "v1", b"one")
    later = int(time.time()) + 3600
    api.call("PUT", tag, {"expiration": later}, 201)
    api.call("PUT", tag, {"expiration": None}, 201)
    assert "end_ts" not in api.call("GET", "repository/admin/app/tag/")["tags"][0]
    for wrong in ({"expiration": int(time.time()) - 1}, {"expiration": 2**70}, {}):
        api.call("PUT", tag, wrong, 400)
    api.call("PUT", tag, {"expiration": later}, 201)
    database = api.site.services.database
    database.run("UPDATE tag SET expires_ms = (extract(epoch FROM now()) * 1000)::bigint")
    api.call("POST", f"{tag}/restore", {"manifest_digest": digest})
    assert "end_ts" not in api.call("GET", "repository/admin/app/tag/?onlyActiveTags=1")["tags"][0]


@pytest.mark.parametrize("one_request", [True, False], ids=["one-request", "by-PATCH"])
def test_an_image_label_sets_the_expiry_of_its_tags(api: Api, one_request: bool) -> None:
    client, name = Client(api.site), "admin/app"
    scope = f"repository:{name}:pull,push"
    config = json.dumps({"config": {"Labels": {"quay.expires-after": "2h"}}}).encode()
    if one_request:
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        client.push_blob(name, b"so that the repository is there")
        answer = client.request("POST", f"/v2/{name}/blobs/uploads/", scope)
        put = client.request(
            "PUT", answer.headers["Location"], scope, params={"digest": digest}, data=config
        )
        assert put.status_code == 201, put.text
    else:
        digest = client.push_blob(name, config)
    descriptor = {"mediaType": "application/x", "digest": digest, "size": len(config)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor,
        "layers": [],
    }
    answer = client.request(
        "PUT",
        f"/v2/{name}/manifests/v1",
        scope,
        data=json.dumps(manifest),
        headers={"Content-Type": MANIFEST_TYPE},
    )
    assert answer.status_code == 201, answer.text
    (shown,) = api.call("GET", "repository/admin/app/tag/")["tags"]
    assert shown["end_ts"] - shown["start_ts"] == 7200


def test_a_label_added_to_a_manifest_sets_the_expiry_of_its_tags(api: Api) -> None:
    digest = push_image_with_layer(Client(api.site), "admin/app", "v1", b"one")
    label = {"key": "quay.expires-after", "value": "1w"}
    api.call("POST", f"repository/admin/app/manifest/{digest}/labels", label, 201)
    (shown,) = api.call("GET", "repository/admin/app/tag/")["tags"]
    assert shown["end_ts"] > time.time() + 6 * 86400


def test_a_manifest_can_be_read_and_labelled(api: Api) -> None:
    digest = push_image_with_layer(Client(api.site), "admin/app", "v1", b"one")
    base = f"repository/admin/app/manifest/{digest}"
    shown = api.call("GET", base)
    assert (shown["digest"], shown["layers_compressed_size"]) == (digest, 3)
    label = api.call("POST", f"{base}/labels", {"key": "team", "value": "red"}, 201)["label"]
    assert [one["value"] for one in api.call("GET", f"{base}/labels")["labels"]] == ["red"]
    api.call("DELETE", f"{base}/labels/{label['id']}", status=204)
    api.call("DELETE", f"{base}/labels/{label['id']}", status=404)
    api.call("GET", f"repository/admin/app/manifest/sha256:{'0' * 64}", status=404)


def test_an_app_token_authenticates_until_it_is_revoked(api: Api) -> None:
    token = api.call("POST", "user/apptoken", {"title": "laptop"})["token"]
    push_image_with_layer(Client(api.site, "$app", token["token_code"]), "admin/app", "v1", b"x")
    listed = api.call("GET", "user/apptoken")["tokens"]
    assert [(one["title"], "token_code" in one) for one in listed] == [("laptop", False)]
    assert api.call("GET", f"user/apptoken/{token['uuid']}")["token"]["token_code"]
    api.call("DELETE", f"user/apptoken/{token['uuid']}", status=204)
    answer = requests.get(f"{api.site.url}/v2/auth", auth=("$app", token["token_code"]))
    assert answer.status_code == 401


def test_a_superuser_administers_users_and_organizations(api: Api) -> None:
    alice = add_user(api, "alice")
    alice.call("GET", "superuser/users/", status=403)
    Api(api.site, None).call("GET", "superuser/users/", status=401)
    assert {user["username"] for user in api.call("GET", "superuser/users/")["users"]} == {
        SUPERUSER,
        "alice",
    }
    api.call("PUT", "superuser/users/alice", {"password": "yet another one"})
    alice.call("GET", "user/", status=401)
    Api(api.site, "alice", "yet another one").call("GET", "user/")
    api.call("POST", "organization/", {"name": "acme"}, 201)
    api.call("PUT", "user/robots/x1", {}, 201)
    api.call("PUT", "organization/acme/robots/ci", {}, 201)
    api.call("PUT", "superuser/organizations/acme", {"name": "emca"})
    assert api.call("GET", "organization/emca/robots/ci")["name"] == "emca+ci"
    api.call("DELETE", "superuser/organizations/emca", status=204)
    api.call("DELETE", "superuser/users/alice", status=204)
    api.call("GET", "superuser/users/alice", status=404)
    add_user(api, "alice")


def test_search_finds_misspelled_names_and_sorts_the_best_match_first(api: Api) -> None:
    for name in ("nginx", "nginx-exporter", "postgres", "redis"):
        api.call("POST", "repository", private_repository("admin", name), 201)
    found = api.call("GET", "find/repositories?query=ngimx")["results"]
    assert found[0]["name"] == "nginx"
    assert "redis" not in [one["name"] for one in found]
    names = [one["name"] for one in api.call("GET", "find/repositories?query=nginx")["results"]]
    assert names == ["nginx", "nginx-exporter"]
    stranger = add_user(api, "alice")
    assert stranger.call("GET", "find/repositories?query=nginx")["results"] == []


def test_actions_are_logged_without_secrets(api: Api) -> None:
    api.call("POST", "organization/", {"name": "acme"}, 201)
    robot = api.call("PUT", "organization/acme/robots/ci", {}, 201)
    logs = api.call("GET", "organization/acme/logs")["logs"]
    assert [entry["kind"] for entry in logs] == ["create_robot", "org_create"]
    assert logs[0]["performer"]["name"] == SUPERUSER
    assert robot["token"] not in json.dumps(logs)


def test_pushes_and_pulls_are_logged_and_counted_by_day(api: Api) -> None:
    digest = push_image_with_layer(Client(api.site), "admin/app", "v1", b"x")
    robot = api.call("PUT", "user/robots/ci", {}, 201)
    api.call("PUT", "repository/admin/app/permissions/user/admin+ci", {"role": "read"})
    puller = Client(api.site, robot["name"], robot["token"])
    for reference in ("v1", digest):
        answer = puller.request(
            "GET", f"/v2/admin/app/manifests/{reference}", "repository:admin/app:pull"
        )
        assert answer.status_code == 200
    base = "repository/admin/app"

    def logged(kind: str) -> list[dict[str, Any]]:
        found = api.call("GET", f"{base}/logs")["logs"]
        return [entry for entry in found if entry["kind"] == kind]

    wait_until("the pulls are logged", lambda: len(logged("pull_repo")) == 2)
    (push,) = logged("push_repo")
    assert (push["performer"]["name"], push["metadata"]["tag"]) == (SUPERUSER, "v1")
    assert {entry["performer"]["name"] for entry in logged("pull_repo")} == {robot["name"]}
    assert {entry["metadata"].get("tag") for entry in logged("pull_repo")} == {"v1", None}
    counted = api.call("GET", f"{base}/aggregatelogs")["aggregated"]
    assert {(one["kind"], one["count"]) for one in counted} >= {("pull_repo", 2), ("push_repo", 1)}
    own = api.call("GET", f"user/aggregatelogs?performer={quote(robot['name'])}")["aggregated"]
    assert {one["kind"] for one in own} == {"pull_repo"}
    for path in ("superuser", "user"):
        assert api.call("GET", f"{path}/aggregatelogs")["aggregated"]
    assert api.call("GET", f"{base}/logs?starttime=01/31/2020&endtime=02/01/2020")["logs"] == []
    for wrong in ("starttime=x", "starttime=02/02/2020&endtime=02/01/2020", "endtime=01/01/0001"):
        api.call("GET", f"{base}/logs?{wrong}", status=400)


def test_the_openapi_document_describes_every_route(api: Api) -> None:
    document = Api(api.site, None).call("GET", "openapi.json")
    assert document["paths"]["/organization/"]["post"]["requestBody"]
    assert document == Api(api.site, None).call("GET", "discovery")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "organization/", {}),
        ("POST", "organization/", {"name": "Not A Name"}),
        ("POST", "organization/", ["acme"]),
        ("POST", "organization/", {"name": "a\0b"}),
        ("POST", "repository", {"repository": "../x", "visibility": "public"}),
        ("POST", "repository", {"repository": "x", "visibility": "secret"}),
        ("GET", "repository", None),
        ("GET", "repository/admin/app/tag/?limit=1000", None),
    ],
)
def test_an_invalid_request_is_answered_with_400_and_the_reason(
    api: Api, method: str, path: str, body: object
) -> None:
    api.call("POST", "repository", private_repository("admin", "app"), 201)
    assert api.call(method, path, body, 400)["error_message"]


def test_an_unknown_object_is_answered_with_404(api: Api) -> None:
    for path in ("nothing", "organization/nothing", "user/apptoken/no-uuid", "repository/admin/x"):
        assert api.call("GET", path, status=404)["error_type"] == "not_found"
