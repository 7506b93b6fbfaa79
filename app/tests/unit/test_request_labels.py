"""Label values of request metrics come from fixed sets, regardless of the request."""

from __future__ import annotations

import falcon
import falcon.testing
import pytest
from atoll.web.access_log import AccessLog
from atoll.web.middleware import REQUESTS, SECONDS, RequestMiddleware


def label_sets() -> set[tuple[str, ...]]:
    return {
        tuple(sample.labels.values())
        for metric in (REQUESTS, SECONDS)
        for family in metric.collect()
        for sample in family.samples
    }


@pytest.fixture
def client() -> falcon.testing.TestClient:
    return falcon.testing.TestClient(falcon.App(middleware=[RequestMiddleware(AccessLog())]))


def send(client: falcon.testing.TestClient, method: str, path: str) -> None:
    """Send a request line that Falcon's test client refuses to build."""
    environ = falcon.testing.create_environ(path=path)
    environ["REQUEST_METHOD"] = method
    answer = falcon.testing.StartResponseMock()
    client.app(environ, answer)
    assert answer.status is not None
    assert answer.status.startswith("4")


def test_unknown_methods_share_one_label(client: falcon.testing.TestClient) -> None:
    send(client, "FIRST-UNKNOWN-METHOD", "/")
    before = label_sets()
    for number in range(20):
        send(client, f"METHOD-{number}" + 200 * "X", "/")
    assert label_sets() == before


@pytest.mark.parametrize("path", ["/%s", "/v2/%s", "/v2/%s/blobs/uploads/", "/health/%s", "%s"])
def test_unknown_paths_share_one_label(client: falcon.testing.TestClient, path: str) -> None:
    send(client, "GET", path % "first")
    before = label_sets()
    for number in range(20):
        send(client, "GET", path % f"path-{number}")
    assert label_sets() == before
