"""Fixtures: a running image as the target of attacks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..image.conftest import cheap_passwords, database, image, registry, services, template
from ..image.running import RunningImage, running_image, write_bundle
from ..integration.conftest import make_database
from ..integration.services import Services
from .visitors import Visitor

__all__ = ["cheap_passwords", "database", "image", "registry", "services", "template"]


@pytest.fixture(scope="session")
def accounts_image(
    services: Services, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningImage]:
    """An instance that trusts X-Forwarded-For, so that each client can have its own address."""
    stack = write_bundle(
        services,
        make_database(services, template),
        tmp_path_factory.mktemp("trusting"),
        {"TRUSTED_PROXIES": ["0.0.0.0/0", "::/0"]},
    )
    with running_image(services, stack) as running:
        yield running


@pytest.fixture
def visitor(accounts_image: RunningImage) -> Visitor:
    return Visitor(accounts_image)
