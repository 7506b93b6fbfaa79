"""Processes treat a database that lacks migrations of their version as unavailable."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psycopg2
import pytest
from atoll.db import migrate
from atoll.db.migrate import Migration, expand
from atoll.db.pool import Database, DatabaseUnavailable, SchemaOutdated
from atoll.db.replicas import replica_databases
from atoll.server.health_client import healthy_endpoints
from atoll.server.migration import prepare_database
from atoll.server.paths import operations_socket
from atoll.services import Services
from atoll.web.errors import error_code_of

from ..integration.services import REPOSITORY, wait_until
from .commands import run_command
from .databases import administer
from .sites import MemoryRegistry, make_registry

NEXT = Migration(9001, "next_table", "CREATE TABLE next_table ()")
CONTRACTION = Migration(9002, "contraction", "DROP TABLE message", contracts=True)
EVENT = "schema older than required"
# Connections of other processes that have run more than the check of the schema.
_WORKING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND query <> ''
    AND query NOT LIKE '%schema_migration%'
"""


@pytest.fixture
def next_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this process a later version, with two more migrations."""
    present = migrate.available()
    monkeypatch.setattr(migrate, "available", lambda: [*present, NEXT, CONTRACTION])


def services_of_next_version(registry: MemoryRegistry) -> Services:
    graph = registry["us"].graph
    return Services(graph.bundle, spool=graph.spool)


@pytest.mark.usefixtures("next_version")
def test_statements_are_refused_until_the_database_is_migrated(registry: MemoryRegistry) -> None:
    services = services_of_next_version(registry)
    for database in (services.database, services.batch_database):
        for _ in range(2):
            with pytest.raises(SchemaOutdated, match=r"lacks 9001_next_table.*`atoll migrate`"):
                database.read("SELECT 1")

    expand(services.database)

    wait_until("statements run", lambda: is_migrated(services.database))


def is_migrated(database: Database) -> bool:
    try:
        return bool(database.run("SELECT count(*) FROM next_table") == [[0]])
    except SchemaOutdated:
        return False


@pytest.mark.usefixtures("next_version")
def test_a_pending_contraction_is_no_obstacle(registry: MemoryRegistry) -> None:
    services = services_of_next_version(registry)
    expand(services.database)

    assert services.database.run("SELECT count(*) FROM message") == [[0]]


def test_a_schema_of_a_newer_version_is_accepted(registry: MemoryRegistry) -> None:
    registry["us"].database.run(
        "INSERT INTO schema_migration (number, name) VALUES (9001, 'newer')"
    )

    assert services_of_next_version(registry).database.run("SELECT 1") == [[1]]


def test_an_empty_database_lacks_all_migrations(
    make_database: Callable[[], str], tmp_path: Path
) -> None:
    uri = make_database()
    administer(uri, "DROP SCHEMA public CASCADE")
    administer(uri, "CREATE SCHEMA public")
    site = make_registry(uri, tmp_path, ["us"])["us"]

    with pytest.raises(SchemaOutdated, match="0001_baseline"):
        Services(site.graph.bundle, spool=tmp_path).database.run("SELECT 1")
    assert prepare_database(site.graph).applied[0] == "0001_baseline"
    assert site.database.run("SELECT 1") == [[1]]


def test_a_migration_of_another_name_counts_as_missing(registry: MemoryRegistry) -> None:
    registry["us"].database.run("UPDATE schema_migration SET name = 'another' WHERE number = 1")

    with pytest.raises(SchemaOutdated, match="0001_baseline"):
        services_of_next_version(registry).database.run("SELECT 1")


def test_a_process_that_found_its_schema_does_not_check_again(
    registry: MemoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = services_of_next_version(registry).database
    database.run("SELECT 1")
    monkeypatch.setattr(migrate, "available", lambda: pytest.fail("schema checked again"))
    database.forget_idle()

    assert database.run("SELECT 1") == [[1]]


def test_a_failed_check_counts_as_an_unavailable_database(registry: MemoryRegistry) -> None:
    def fail(_connection: object) -> list[str]:
        raise psycopg2.OperationalError("server closed the connection")

    database = Database.from_bundle(registry["us"].graph.bundle, size=1, missing_migrations=fail)

    with pytest.raises(DatabaseUnavailable, match="server closed the connection") as refusal:
        database.run("SELECT 1")
    assert not isinstance(refusal.value, SchemaOutdated)


@pytest.mark.usefixtures("next_version")
def test_a_replica_that_has_not_replayed_the_migrations_is_not_read_from(
    registry: MemoryRegistry, tmp_path: Path
) -> None:
    changes: dict[str, object] = {"DB_READ_REPLICAS": [{"DB_URI": registry.uri}]}
    graph = make_registry(registry.uri, tmp_path / "replicas", ["us"], changes)["us"].graph
    (replica,) = replica_databases(
        graph.bundle, size=1, missing_migrations=migrate.missing_expansions
    )

    with pytest.raises(SchemaOutdated):
        replica.read("SELECT 1")
    with pytest.raises(SchemaOutdated):
        graph.reads.near("SELECT 1")


@pytest.mark.usefixtures("next_version")
def test_health_reports_the_cause_once(
    registry: MemoryRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    services = services_of_next_version(registry)
    probe = services.health_probe
    with caplog.at_level(logging.INFO, "atoll.web.health"):
        probe.probe()
        probe.probe()

        assert not probe.database
        assert [one.message for one in caplog.records] == [EVENT]
        assert "9001_next_table" in caplog.records[0].__dict__["cause"]
        expand(services.database)
        wait_until("the probe succeeds", lambda: probe.probe() or probe.database)
    assert caplog.records[-1].message == "database available"


@pytest.mark.usefixtures("next_version")
def test_a_command_names_the_missing_migrations(
    registry: MemoryRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_registry(registry.uri, registry["us"].graph.spool / "next", ["us"])["us"]

    assert run_command(site, "status") == 69
    printed = capsys.readouterr().err
    assert "lacks 9001_next_table" in printed
    assert "cannot be reached" not in printed


@pytest.mark.usefixtures("next_version")
def test_a_dry_run_lists_the_migrations_of_an_older_schema(
    registry: MemoryRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    site = make_registry(registry.uri, registry["us"].graph.spool / "next", ["us"])["us"]

    assert run_command(site, "migrate", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["applied"] == [str(NEXT), str(CONTRACTION)]


def test_requests_are_refused_as_temporarily_unavailable() -> None:
    assert error_code_of(SchemaOutdated("")).status == 503


class Process:
    """A process of the registry, on the bundle of a site."""

    def __init__(self, registry: MemoryRegistry, directory: Path, *words: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._log = directory / f"{words[0]}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "atoll.cli.main", *words],
                env={
                    **os.environ,
                    "ATOLL_BUNDLE_DIRECTORY": str(registry["us"].graph.spool / "stack"),
                    "ATOLL_RUNTIME_DIRECTORY": str(directory / "run"),
                    "ATOLL_SPOOL_DIRECTORY": str(directory),
                    "ATOLL_OPERATIONS_PORT": str(self.port),
                    "PYTHONPATH": str(REPOSITORY / "app"),
                },
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def health(self) -> tuple[int, dict[str, bool]]:
        url = f"http://127.0.0.1:{self.port}/health/instance"
        try:
            with urllib.request.urlopen(url) as answer:
                return answer.status, json.load(answer)["data"]["services"]
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["data"]["services"]
        except urllib.error.URLError:
            return 0, {}

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "process"
    (directory / "run").mkdir(parents=True)
    return directory


def forget_migration(uri: str) -> None:
    administer(uri, "UPDATE schema_migration SET number = 90000 WHERE number = 1")


def remember_migration(uri: str) -> None:
    administer(uri, "UPDATE schema_migration SET number = 1 WHERE number = 90000")


def test_a_web_process_waits_for_the_migration(registry: MemoryRegistry, directory: Path) -> None:
    forget_migration(registry.uri)
    unix_socket = directory / "web.sock"
    web = Process(registry, directory, "web", str(unix_socket))
    try:
        wait_until("the process serves", unix_socket.exists)
        wait_until("the cause is logged", lambda: EVENT in web.log)
        assert not healthy_endpoints(operations_socket(unix_socket))
        remember_migration(registry.uri)
        wait_until(
            "the process is healthy",
            lambda: "/health/instance" in healthy_endpoints(operations_socket(unix_socket)),
        )
    finally:
        web.stop()
    assert "Traceback" not in web.log


def test_the_maintenance_process_waits_for_the_migration(
    registry: MemoryRegistry, directory: Path
) -> None:
    forget_migration(registry.uri)
    maintenance = Process(registry, directory, "housekeeping")
    try:
        wait_until("the cause is logged", lambda: EVENT in maintenance.log)
        remember_migration(registry.uri)
        database = registry["us"].database
        wait_until("it works on the database", lambda: database.run(_WORKING) != [[0]])
        assert maintenance.running
    finally:
        assert maintenance.stop() == 0
    assert "Traceback" not in maintenance.log


def test_a_replication_worker_waits_for_the_migration(
    registry: MemoryRegistry, directory: Path
) -> None:
    """It neither works on an older schema nor restarts in a loop."""
    forget_migration(registry.uri)
    worker = Process(registry, directory, "replication")
    try:
        wait_until("the worker is unhealthy", lambda: worker.health()[0] == 503)
        wait_until("the cause is logged", lambda: EVENT in worker.log)
        assert worker.health()[1] == {"database": False, "replication": True}
        assert "0001_baseline" in worker.log
        assert "Traceback" not in worker.log
        remember_migration(registry.uri)
        wait_until("the worker is healthy", lambda: worker.health()[0] == 200)
    finally:
        status = worker.stop()
    assert status == 0
    assert "Traceback" not in worker.log
