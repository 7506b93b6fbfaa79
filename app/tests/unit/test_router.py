"""Paths are routed by URI template, with any number of slashes in repository names."""

from __future__ import annotations

from typing import Any

import falcon
import falcon.testing
import pytest
from atoll.web.middleware import REQUESTS
from atoll.web.operations_app import create_operations_app
from atoll.web.router import Router
from atoll.web.v2 import routes

TEMPLATES = (
    routes.ROOT,
    routes.CATALOG,
    routes.AUTH,
    routes.TAGS,
    routes.REFERRERS,
    routes.UPLOADS,
    routes.UPLOAD,
    routes.BLOB,
    routes.MANIFEST,
)


class Resource:
    def on_get(self, req: falcon.Request, resp: falcon.Response, **params: str) -> None:
        del req
        resp.media = params

    on_head = on_get

    def on_post(self, req: falcon.Request, resp: falcon.Response, **params: str) -> None:
        del req
        resp.media = params


@pytest.fixture
def router() -> Router:
    router = Router()
    for template in TEMPLATES:
        router.add_route(template, Resource(), optional_slash=template in routes.OPTIONAL_SLASH)
    return router


@pytest.fixture
def client(router: Router) -> falcon.testing.TestClient:
    custom: Any = router
    return falcon.testing.TestClient(falcon.App(router=custom))


@pytest.mark.parametrize(
    "name", ["a", "a/b", "a/b/c/d/e", "manifests", "blobs/uploads", "tags/list"]
)
@pytest.mark.parametrize(
    ("template", "fields"),
    [
        (routes.TAGS, {}),
        (routes.REFERRERS, {"digest": "sha256:00"}),
        (routes.UPLOADS, {}),
        (routes.UPLOAD, {"uuid": "1-2"}),
        (routes.BLOB, {"digest": "sha256:00"}),
        (routes.MANIFEST, {"reference": "v1.0"}),
    ],
)
def test_names_of_any_depth_match(
    router: Router, template: str, fields: dict[str, str], name: str
) -> None:
    found = router.find(template.format(name=name, **fields))
    assert found is not None
    assert found[2:] == ({"name": name} | fields, template)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/v2", routes.ROOT),
        ("/v2/", routes.ROOT),
        ("/v2/_catalog", routes.CATALOG),
        ("/v2/auth", routes.AUTH),
        ("/v2/a/blobs/uploads", routes.UPLOADS),
        ("/v2/a/manifests/tags/list", routes.TAGS),
    ],
)
def test_the_more_specific_template_has_precedence(
    router: Router, path: str, template: str
) -> None:
    found = router.find(path)
    assert found is not None
    assert found[3] == template


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/v2/a",
        "/v2//",
        "/v2/a/manifests",
        "/v2/a/manifests/",
        "/v2/a/manifests/tag/",
        "/v2/manifests/tag",
        "/v2/a/tags",
        "/v2/a/tags/list/",
        "/v2/a/tags/list\n",
        "/v2/" + "a/" * 10_000,
    ],
)
def test_other_paths_are_not_served(router: Router, path: str) -> None:
    assert router.find(path) is None


def test_unsupported_methods_are_answered_as_with_falcons_router(
    client: falcon.testing.TestClient,
) -> None:
    refused = client.simulate_delete("/v2/a/b/tags/list")
    assert refused.status_code == 405
    assert refused.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    options = client.simulate_options("/v2/a/b/tags/list")
    assert options.status_code == 200
    assert options.headers["Allow"] == "GET, HEAD, POST"


def test_unserved_paths_are_named_in_the_error() -> None:
    client = falcon.testing.TestClient(create_operations_app(Resource()))
    answer = client.simulate_get("/v2/a/b/unserved")
    assert answer.status_code == 404
    (error,) = answer.json["errors"]
    assert error["code"] == "UNSUPPORTED"
    assert "/v2/a/b/unserved" in error["message"]


def test_requests_are_counted_by_uri_template() -> None:
    client = falcon.testing.TestClient(create_operations_app(Resource()))
    counter = REQUESTS.labels("GET", "/health/instance", "200")
    before = counter._value.get()
    client.simulate_get("/health/instance")
    assert counter._value.get() == before + 1
