"""Request bodies are admitted or refused by their headers alone, without any look-up."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from atoll.auth.access import Grant
from atoll.auth.tokens import Tokens
from atoll.names import RepositoryName
from atoll.registry.manifest_format import MAXIMUM_SIZE
from atoll.web.admission import API_BODY, SMALL_BODY, BodyAdmission
from atoll.web.bearer_auth import TokenAuth
from atoll.web.external_url import ExternalUrls
from atoll.web.spool import SpooledRequest
from waitress.adjustments import Adjustments

LAYER = 2**30
TOKENS = Tokens(b"k" * 32, "registry.test")
UPLOADS, MANIFEST = "/v2/a/b/blobs/uploads/", "/v2/a/b/manifests/latest"


def receive(
    method: str,
    path: str,
    *headers: str,
    read_only: bool = False,
    disable_pushes: bool = False,
) -> SpooledRequest:
    bundle: Any = SimpleNamespace(
        server_hostname="registry.test",
        external_tls_termination=False,
        preferred_url_scheme="http",
        trusted_proxies=[],
        read_only=read_only,
        disable_pushes=disable_pushes,
    )
    admit = BodyAdmission(TokenAuth(TOKENS, ExternalUrls(bundle), bundle), LAYER)
    request = SpooledRequest(Adjustments(max_request_body_size=2**40), admit=admit)
    lines = [f"{method} {path} HTTP/1.1", "Host: registry.test", *headers]
    request.received("".join(f"{line}\r\n" for line in lines).encode() + b"\r\n")
    return request


def token(*actions: str, repository: str = "a/b") -> str:
    grant = Grant(RepositoryName.parse(repository), frozenset(actions))
    return f"Authorization: Bearer {TOKENS.issue('somebody', [grant])[0]}"


def status(request: SpooledRequest) -> int | None:
    return request.error.code if request.error else None


@pytest.mark.parametrize(
    ("path", "limit"), [(UPLOADS, LAYER), (UPLOADS + "1", LAYER), (MANIFEST, MAXIMUM_SIZE)]
)
def test_a_push_token_admits_bodies_up_to_the_limit(path: str, limit: int) -> None:
    pusher = token("pull", "push")
    assert status(receive("PUT", path, pusher, f"Content-Length: {limit}")) is None
    assert status(receive("PUT", path, pusher, f"Content-Length: {limit + 1}")) == 413


@pytest.mark.parametrize("path", [UPLOADS, UPLOADS + "1", MANIFEST])
@pytest.mark.parametrize(
    "header",
    [
        "X-None: 1",
        "Authorization: Basic eDp5",
        "Authorization: Bearer x.y.z",
        token("pull"),
        token("pull", "push", repository="a/c"),
    ],
)
def test_other_clients_are_challenged(path: str, header: str) -> None:
    request = receive("PUT", path, header, "Content-Length: 1")
    assert request.completed
    _, headers, body = request.error.to_response()
    challenge = dict(headers)["www-authenticate"]
    assert 'scope="repository:a/b:pull,push"' in challenge
    assert json.loads(body)["errors"][0]["code"] == "UNAUTHORIZED"


def test_bodies_are_refused_while_pushes_are_disabled() -> None:
    pusher = token("pull", "push")
    request = receive("PUT", MANIFEST, pusher, "Content-Length: 9", read_only=True)
    assert status(request) == 405
    request = receive("PUT", MANIFEST, pusher, "Content-Length: 9", disable_pushes=True)
    assert status(request) == 405


@pytest.mark.parametrize(
    "path", ["/api/%2e%2e/v2/a/b/blobs/uploads/", "/v2/../v2/a/b/manifests/latest", "/v2/./auth"]
)
def test_paths_that_nginx_would_resolve_are_refused(path: str) -> None:
    assert status(receive("PATCH", path, "Content-Length: 9")) == 400


def test_requests_without_a_body_are_passed_to_the_application() -> None:
    assert status(receive("POST", UPLOADS, "Content-Length: 0")) is None
    assert status(receive("GET", UPLOADS + "1")) is None


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/api/v1/signin", API_BODY),
        ("/oauth/authorizeapp", API_BODY),
        ("/v2/auth", SMALL_BODY),
        (f"/v2/a/b/blobs/sha256:{64 * '0'}", SMALL_BODY),
        ("/health", SMALL_BODY),
        ("/", SMALL_BODY),
    ],
)
def test_other_paths_have_small_limits(path: str, limit: int) -> None:
    assert status(receive("POST", path, f"Content-Length: {limit}")) is None
    assert status(receive("POST", path, f"Content-Length: {limit + 1}")) == 413
    chunked = receive("POST", path, "Transfer-Encoding: chunked")
    for _ in range(limit // 1024):
        chunked.received(b"400\r\n" + bytes(1024) + b"\r\n")
        assert status(chunked) is None
    chunked.received(b"1\r\nx\r\n")
    assert status(chunked) == 413


def test_an_invalid_repository_name_is_refused() -> None:
    request = receive("PUT", "/v2/A/manifests/latest", token("push"), "Content-Length: 1")
    assert status(request) == 400
