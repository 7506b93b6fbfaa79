"""One PostgreSQL server per run; a new database and stores in memory for each test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from atoll.db.pool import Database
from atoll.server.migration import prepare_database

from ..cheap_hashes import cheap_hashes
from ..integration.services import running_postgres
from ..upstream.fixtures import ca, there, upstream
from .databases import administer, database_uri
from .media_transfers import connected, isolated, medium, run, source, target
from .panel_site import panel_site, panel_uri
from .sites import MemoryRegistry, MemorySite, make_registry

__all__ = [
    "ca",
    "connected",
    "isolated",
    "medium",
    "panel_site",
    "panel_uri",
    "run",
    "source",
    "target",
    "there",
    "upstream",
]


@pytest.fixture(scope="session")
def postgres_uri() -> Iterator[str]:
    """A PostgreSQL server in podman, or the one of ATOLL_TEST_POSTGRES_URI."""
    given = os.environ.get("ATOLL_TEST_POSTGRES_URI")
    if given:
        yield given
        return
    with running_postgres() as uri:
        yield uri


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Hash passwords with minimal cost, because tests create users and log in often."""
    with cheap_hashes():
        yield


@pytest.fixture(scope="session")
def template(postgres_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a migrated database, of which each test gets a copy."""
    name = f"template_{uuid.uuid4().hex}"
    administer(postgres_uri, f"CREATE DATABASE {name}")
    directory = tmp_path_factory.mktemp("template")
    registry = make_registry(database_uri(postgres_uri, name), directory, ["us", "eu", "ap"])
    prepare_database(registry["us"].graph)
    # PostgreSQL refuses a template with open connections.
    registry["us"].database.forget_idle()
    yield name
    administer(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def make_database(postgres_uri: str, template: str) -> Iterator[Callable[[], str]]:
    """Return a function that creates a migrated database; all are dropped after the test."""
    names = []

    def make() -> str:
        name = f"test_{uuid.uuid4().hex}"
        # Copies of files take less than the default, which logs each page.
        administer(postgres_uri, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        names.append(name)
        return database_uri(postgres_uri, name)

    yield make
    for name in names:
        administer(postgres_uri, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def registry(make_database: Callable[[], str], tmp_path: Path) -> MemoryRegistry:
    """Sites us, eu and ap, all of whose locations are required."""
    return make_registry(make_database(), tmp_path, ["us", "eu", "ap"])


@pytest.fixture
def site(registry: MemoryRegistry) -> MemorySite:
    """Site us of the registry."""
    return registry["us"]


@pytest.fixture
def database(registry: MemoryRegistry) -> Database:
    """The database of the registry."""
    return registry["us"].database
