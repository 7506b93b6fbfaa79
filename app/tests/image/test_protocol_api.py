"""Distribution-spec v1.1.1, "API", and extensions of Docker's registry v2."""

from __future__ import annotations

import re

import pytest
import requests

from .protocol import Registry, codes, sha256

VERSION = "Docker-Distribution-API-Version"


def request_without_token(
    registry: Registry, method: str, path: str, **arguments: object
) -> requests.Response:
    """Send a request without a token."""
    return registry.session.request(method, registry.url + path, **arguments)  # type: ignore[arg-type]


def test_the_root_is_200_with_a_token(registry: Registry) -> None:
    """Determining Support: "If the response is 200 OK, then the registry implements this"."""
    answer = registry.request("GET", "/v2/")
    assert answer.status_code == 200
    assert answer.headers[VERSION] == "registry/2.0"


@pytest.mark.parametrize("path", ["/v2/", "/v2"])
def test_without_a_token_the_root_challenges(registry: Registry, path: str) -> None:
    """Docker registry v2: 401 with `Bearer realm=…,service=…`, and the version's header."""
    answer = request_without_token(registry, "GET", path)
    assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])
    assert answer.headers[VERSION] == "registry/2.0"
    challenge = answer.headers["WWW-Authenticate"]
    assert re.fullmatch(r'Bearer realm="[^"]+",service="[^"]+"', challenge)
    assert f'realm="{registry.url}/v2/auth"' in challenge


@pytest.mark.parametrize(
    ("method", "rest", "actions"),
    [
        ("GET", "manifests/v1", "pull"),
        ("HEAD", "blobs/" + sha256(b""), "pull"),
        ("GET", "tags/list", "pull"),
        ("GET", "referrers/" + sha256(b""), "pull"),
        ("POST", "blobs/uploads/", "pull,push"),
        ("PUT", "manifests/v1", "pull,push"),
        ("DELETE", "manifests/v1", "delete"),
    ],
)
def test_a_challenge_names_the_required_scope(
    registry: Registry, method: str, rest: str, actions: str
) -> None:
    """Docker registry token specification: `scope="repository:NAME:ACTIONS"`."""
    answer = request_without_token(registry, method, registry.path(rest))
    assert answer.status_code == 401
    scope = f'scope="repository:{registry.name}:{actions}"'
    assert scope in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("name", ["UPPER/case", "admin/-dash", "admin/a" * 60, "admin//app"])
def test_an_invalid_name_is_name_invalid(registry: Registry, name: str) -> None:
    """Pulling manifests: "<name> MUST match the following regular expression"; NAME_INVALID."""
    answer = request_without_token(registry, "GET", f"/v2/{name}/manifests/v1")
    assert (answer.status_code, codes(answer)) == (400, ["NAME_INVALID"])


@pytest.mark.parametrize("name", ["a", "a/b/c/d", "a.b/c__d/e-f", "a--b/0"])
def test_names_of_every_allowed_form_are_accepted(registry: Registry, name: str) -> None:
    """Pulling manifests: any number of components, and separators within them."""
    answer = request_without_token(registry, "GET", f"/v2/{name}/manifests/v1")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("method", "rest"),
    [("POST", "manifests/v1"), ("PUT", "tags/list"), ("PATCH", "blobs/" + sha256(b""))],
)
def test_an_unsupported_method_is_405(registry: Registry, method: str, rest: str) -> None:
    """Error codes: UNSUPPORTED; RFC 9110: `Allow` lists the supported methods."""
    answer = request_without_token(registry, method, registry.path(rest))
    assert (answer.status_code, codes(answer)) == (405, ["UNSUPPORTED"])
    assert "GET" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/v2/nothing", "/v2/a/b/nothing/at/all"])
def test_an_unknown_path_is_404_in_the_error_format(registry: Registry, path: str) -> None:
    """Error codes: "the response body MUST be … errors" if it is JSON."""
    answer = request_without_token(registry, "GET", path)
    assert answer.status_code == 404
    assert codes(answer)


def test_the_catalog_lists_a_repository_after_a_push(registry: Registry) -> None:
    """Docker registry v2: `GET /v2/_catalog` with `n` and `last`."""
    registry.push_image("v1")
    before = registry.name[:-1]
    answer = registry.request("GET", "/v2/_catalog", params={"n": 1, "last": before})
    assert answer.status_code == 200
    assert answer.json() == {"repositories": [registry.name]}


def test_a_push_needs_push_permission(registry: Registry) -> None:
    """Error codes: UNAUTHORIZED, for a token with fewer permissions."""
    registry.push_image("v1")
    token = registry.token(request_without_token(registry, "GET", registry.path("manifests/v1")))
    answer = request_without_token(
        registry,
        "POST",
        registry.path("blobs/uploads/"),
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (answer.status_code, codes(answer)) == (401, ["UNAUTHORIZED"])
    assert "insufficient_scope" in answer.headers["WWW-Authenticate"]
