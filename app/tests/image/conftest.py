"""Fixtures: the built image, with the same services as the integration tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..integration.conftest import cheap_passwords, make_database, services, template
from ..integration.services import Services
from .pods import mounted_bundle, running_pod
from .protocol import Registry
from .running import RunningImage, running_image, write_bundle

__all__ = ["cheap_passwords", "services", "template"]


@pytest.fixture
def database(services: Services, template: str) -> str:
    """A migrated database for one test; the stores are shared and not emptied."""
    return make_database(services, template)


@pytest.fixture(scope="session")
def image(
    services: Services,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningImage]:
    """One instance for all tests that only send requests to it, over HTTP and over TLS.

    `image.url` and `image.tls_url` lead to the same registry, `image.authority` is the file of its
    CA certificate, `image.username` and `image.password` belong to a superuser, and
    `image.container` is podman's object.
    """
    stack = write_bundle(
        services, make_database(services, template), tmp_path_factory.mktemp("image")
    )
    with running_image(services, stack) as running:
        yield running


@pytest.fixture(scope="session")
def pod(
    services: Services,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningImage]:
    """One instance as a pod of a cluster runs it, for all tests that only send requests to it."""
    directory = tmp_path_factory.mktemp("pod")
    mounted = mounted_bundle(services, make_database(services, template), directory)
    with running_pod(services, mounted, directory) as running:
        yield running


@pytest.fixture(params=["http", "tls"])
def registry(image: RunningImage, request: pytest.FixtureRequest) -> Registry:
    """A client of the running image, over HTTP or over TLS, with a repository of its own."""
    url = image.url if request.param == "http" else image.tls_url
    return Registry(url, image.authority, image.username, image.password)
