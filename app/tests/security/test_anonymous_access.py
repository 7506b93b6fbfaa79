"""Without FEATURE_ANONYMOUS_ACCESS an anonymous client learns nothing about the content."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..image.protocol import Registry
from ..image.running import RunningImage, running_image, write_bundle
from ..integration.conftest import make_database
from ..integration.services import Services
from .visitors import Visitor, superuser


@pytest.fixture(scope="module")
def closed_image(
    services: Services, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningImage]:
    changes: dict[str, object | None] = {
        "FEATURE_ANONYMOUS_ACCESS": False,
        "CREATE_PRIVATE_REPO_ON_PUSH": False,
    }
    directory = tmp_path_factory.mktemp("closed")
    stack = write_bundle(services, make_database(services, template), directory, changes)
    with running_image(services, stack) as running:
        yield running


@pytest.fixture
def public(closed_image: RunningImage) -> Registry:
    """A public repository with an image, and an organization."""
    registry = Registry(
        closed_image.url, closed_image.authority, closed_image.username, closed_image.password
    )
    registry.push_image("v1")
    Visitor(closed_image).request(
        "POST", "/api/v1/organization/", superuser(closed_image), json={"name": "acme"}
    )
    return registry


@pytest.mark.parametrize("scope", ["", "registry:catalog:*", "repository:admin/app:pull"])
def test_no_anonymous_token_is_issued(
    closed_image: RunningImage, public: Registry, scope: str
) -> None:
    del public
    assert Visitor(closed_image).registry_token(None, scope).status_code == 401


def test_an_anonymous_client_reads_nothing(closed_image: RunningImage, public: Registry) -> None:
    visitor = Visitor(closed_image)
    for path in (
        "/v2/_catalog",
        public.path("tags/list"),
        public.path("manifests/v1"),
        "/api/v1/organization/acme",
        "/api/v1/organization/nobody",
        "/api/v1/messages",
        "/api/v1/repository?public=true",
        "/api/v1/find/repositories?query=test",
        f"/api/v1/repository/{public.name}",
        "/api/v1/app/unknown",
    ):
        assert (path, visitor.request("GET", path)) == (path, 401)


def test_signing_in_is_possible(closed_image: RunningImage) -> None:
    visitor = Visitor(closed_image)
    session = visitor.sign_in(closed_image.username, closed_image.password)
    assert visitor.request("GET", "/api/v1/messages", session=session) == 200
    for path in ("/csrf_token", "/api/v1/registry/capabilities", "/api/v1/discovery"):
        assert visitor.request("GET", path) == 200
