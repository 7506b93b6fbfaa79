"""Requests are routed to operations; errors name unserved paths."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from atoll.web.app import create_app
from falcon import testing

from .sites import SUPERUSER, make_registry

_CREDENTIALS = {"Authorization": "Basic " + b64encode(f"{SUPERUSER}:any".encode()).decode()}


@pytest.fixture
def client(
    make_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> testing.TestClient:
    monkeypatch.setattr("atoll.auth.credentials.verify_password", lambda *_, **__: True)
    for method in ("check", "check_again", "succeeded"):
        monkeypatch.setattr(f"atoll.auth.throttle.Throttle.{method}", lambda *_: None)
    site = make_registry(make_database(), tmp_path, ["us"])["us"]
    return testing.TestClient(create_app(site.graph.dependencies()), headers=_CREDENTIALS)


def call(
    client: testing.TestClient, method: str, path: str, status: int, body: Any = None
) -> testing.Result:
    result = client.simulate_request(method, path, json=body)
    assert result.status_code == status, (method, path, result.text)
    return result


def test_api_paths_are_routed_or_named_in_the_error(client: testing.TestClient) -> None:
    body = {
        "namespace": SUPERUSER, "repository": "deep/app", "visibility": "private",
        "description": "",
    }  # fmt: skip
    call(client, "POST", "/api/v1/repository", 201, body)
    repository = f"/api/v1/repository/{SUPERUSER}/deep/app"
    assert call(client, "GET", repository, 200).json["name"] == "deep/app"
    assert call(client, "GET", f"{repository}/tag/", 200).json["tags"] == []
    for below in ("unserved", "Unserved", "tag/latest/unserved"):
        refused = call(client, "GET", f"{repository}/{below}", 404)
        assert f"there is nothing at {repository}/{below}" in refused.json["detail"]
    refused = call(client, "GET", "/api/v1/unserved", 404)
    assert refused.json["detail"] == "there is nothing at /api/v1/unserved"
    assert refused.headers["X-Frame-Options"] == "DENY"
    call(client, "GET", "/api/v1/repository/app", 404)
    call(client, "DELETE", "/api/v1/message/no-uuid", 404)
    refused = call(client, "PATCH", "/api/v1/user/", 405)
    assert "GET" in refused.headers["Allow"]
    assert refused.json["status"] == 405
    paths = call(client, "GET", "/api/v1/discovery", 200).json["paths"]
    assert "/repository/{repository}/tag/{tag}" in paths
    call(client, "DELETE", repository, 204)


def test_unserved_paths_of_the_distribution_api_are_named_in_the_error(
    client: testing.TestClient,
) -> None:
    (error,) = call(client, "GET", "/v2/a/b/unserved", 404).json["errors"]
    assert error["code"] == "UNSUPPORTED"
    assert "/v2/a/b/unserved" in error["message"]
    refused = call(client, "PATCH", "/v2/a/b/tags/list", 405)
    assert refused.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert refused.json["errors"][0]["code"] == "UNSUPPORTED"
    token = call(client, "GET", "/v2/auth?scope=repository:a/b/c:pull", 200).json["token"]
    client._default_headers["Authorization"] = f"Bearer {token}"
    for path in ("/v2", "/v2/"):
        call(client, "GET", path, 200)
    (error,) = call(client, "GET", "/v2/a/b/c/tags/list", 404).json["errors"]
    assert error["code"] == "NAME_UNKNOWN"
