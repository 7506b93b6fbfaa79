"""Fixtures: services once per run, a new database and empty buckets for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import redis
from atoll.placement.locations.registration import register_locations
from atoll.server.migration import prepare_database

from ..cheap_hashes import cheap_hashes
from .clients import Api
from .placements import THIRD
from .receiver import Receiver
from .services import Services, running_services
from .site import Client, Site, make_site_services, running_site

TEMPLATE = "atoll_template"


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    with running_services() as running:
        yield running


def _administer(services: Services, statement: str) -> None:
    connection = psycopg2.connect(services.postgres_uri)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Hash passwords with minimal cost, because tests log in often."""
    with cheap_hashes():
        yield


@pytest.fixture(scope="session")
def template(services: Services, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Migrate one database, which is copied for each test."""
    _administer(services, f"CREATE DATABASE {TEMPLATE}")
    directory = tmp_path_factory.mktemp("template")
    site_services = make_site_services(services, TEMPLATE, directory, "usstorage")
    prepare_database(site_services)
    # PostgreSQL does not copy a database that has other connections.
    site_services.database.forget_idle()
    return TEMPLATE


def make_database(services: Services, template: str) -> str:
    """Create a migrated database for one test or one registry, and return its name."""
    name = f"atoll_{uuid.uuid4().hex}"
    # Copies of files take less than the default, which logs each page.
    _administer(services, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    return name


@pytest.fixture
def database(services: Services, template: str) -> str:
    name = make_database(services, template)
    for store in services.stores():
        store.container.reload()
        store.empty()
    # Redis has counts of failed logins from earlier tests, and all tests have the same address.
    redis.Redis(port=services.redis_port).flushall()
    return name


@pytest.fixture
def us(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    with running_site(services, database, tmp_path / "us", "usstorage eustorage") as site:
        yield site


@pytest.fixture
def eu(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    with running_site(services, database, tmp_path / "eu", "eustorage,usstorage") as site:
        yield site


@pytest.fixture
def client(us: Site) -> Client:
    return Client(us)


@pytest.fixture
def api(us: Site) -> Api:
    return Api(us)


@pytest.fixture
def site_with_third_location(services: Services, database: str, tmp_path: Path) -> Iterator[Site]:
    """A site that prefers us and also has a third location, which nothing requires."""
    driver, arguments = services.eu.settings
    config = {store.location: store.settings for store in services.stores()}
    third = [driver, {**arguments, "storage_path": "/third"}]
    changes: dict[str, object] = {"DISTRIBUTED_STORAGE_CONFIG": {**config, THIRD: third}}
    with running_site(services, database, tmp_path / "us", "usstorage eustorage", changes) as one:
        register_locations(one.services.database, one.services.locations.stores)
        one.locations.states.refresh(one.services.database)
        yield one


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running
