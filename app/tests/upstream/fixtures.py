"""Fixtures: an upstream that fails on command, with a certificate of a private CA."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .certificates import PrivateCa, private_ca
from .content import UpstreamRepository
from .fault_upstream import FaultUpstream


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> PrivateCa:
    """A CA, and a certificate for servers on this machine."""
    return private_ca(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def upstream(ca: PrivateCa) -> Iterator[FaultUpstream]:
    """An upstream without images."""
    with FaultUpstream(ca.server_context()).running() as running:
        yield running


@pytest.fixture
def there(upstream: FaultUpstream) -> UpstreamRepository:
    """A repository of the upstream."""
    return upstream.repository()
