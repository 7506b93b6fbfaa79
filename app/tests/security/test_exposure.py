"""Published ports, the log and the environment of the container disclose no secrets."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..image.protocol import Registry
from ..image.running import RunningImage, podman, run_once, write_bundle
from ..integration.services import Services
from ..integration.site import bundle

MARK = "SECRETQUERYMARK"
# Exit status of a process whose bundle is invalid.
INVALID_BUNDLE = 78


def _answer(url: str, method: str, path: str) -> tuple[int, str]:
    """Send a path unchanged; an HTTP library would normalize it."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 80))
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode("utf-8", "replace")
    finally:
        connection.close()


@pytest.mark.parametrize(
    "path",
    [
        "/metrics",
        "//metrics",
        "/%6detrics",
        "/metrics/",
        "/health/../metrics",
        "/v2/%2e%2e/metrics",
        "/nginx_status",
        "/stats",
    ],
)
def test_metrics_are_not_served_to_clients(image: RunningImage, path: str) -> None:
    status, body = _answer(image.url, "GET", path)
    assert status != 200 or "<html" in body.lower()
    assert "atoll_" not in body


def test_query_strings_are_not_logged(image: RunningImage, registry: Registry) -> None:
    for method, path in (
        ("GET", f"/exportedlogs?token={MARK}"),
        ("PUT", f"{registry.path('blobs/uploads/x')}?_state={MARK}"),
        ("GET", f"/v2/auth?scope=repository:a/b:pull&account={MARK}"),
        ("GET", f"/no/such/page?{MARK}"),
        ("BAD_METHOD", f"/v2/?{MARK}"),
    ):
        _answer(image.url, method, path)
    assert MARK not in image.log()


def test_no_secret_is_in_the_log_or_the_environment(
    image: RunningImage, services: Services
) -> None:
    secrets = [str(bundle(services, "any")["SECRET_KEY"]), image.password]
    secrets += [str(store.settings[1]["secret_key"]) for store in services.stores()]  # type: ignore[index]
    environment = json.loads(podman("container", "inspect", str(image.container.id)).stdout)
    shown = image.log() + json.dumps(environment[0]["Config"])
    assert not [secret for secret in secrets if secret in shown]


@pytest.mark.parametrize("key", ["SECRET_KEY", "DATABASE_SECRET_KEY"])
def test_a_weak_secret_prevents_the_start(
    services: Services, database: str, tmp_path: Path, key: str
) -> None:
    stack = write_bundle(services, database, tmp_path, {key: "a"})
    answer = run_once(services, stack, "registry")
    assert answer.returncode == INVALID_BUNDLE, answer.stdout
    assert f"{key}: has 1 characters" in answer.stdout
    assert "openssl rand -hex 32" in answer.stdout


def test_a_missing_list_of_proxies_is_logged_at_start(image: RunningImage) -> None:
    assert "TRUSTED_PROXIES: is missing" in image.log()
