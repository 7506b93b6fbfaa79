"""The built image, running beside the same services that the integration tests use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..integration.conftest import cheap_passwords, make_database, services, template
from ..integration.services import Services
from .protocol import Registry
from .running import RunningImage, running_image, write_bundle

__all__ = ["cheap_passwords", "services", "template"]


@pytest.fixture
def database(services: Services, template: str) -> str:
    """A migrated database for a registry of one test; the stores are shared, and not emptied."""
    return make_database(services, template)


@pytest.fixture(scope="session")
def image(
    services: Services,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningImage]:
    """One instance for all tests that only talk to it, over HTTP and over TLS.

    `image.url` and `image.tls_url` lead to the same registry; `image.authority` is the CA file,
    `image.username` and `image.password` are a superuser's, `image.container` is podman's.
    """
    stack = write_bundle(
        services, make_database(services, template), tmp_path_factory.mktemp("image")
    )
    with running_image(services, stack) as running:
        yield running


@pytest.fixture(params=["http", "tls"])
def registry(image: RunningImage, request: pytest.FixtureRequest) -> Registry:
    """A client of the running image, over HTTP and over TLS, with a repository of its own."""
    url = image.url if request.param == "http" else image.tls_url
    return Registry(url, image.authority, image.username, image.password)
