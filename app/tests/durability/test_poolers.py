"""A transaction pooler is refused with an explanation, and a lost LISTEN is detected."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack
from pathlib import Path

import psycopg2
import pytest
import yaml
from atoll.cli.main import main
from atoll.db import migrate
from atoll.db.notifications import _listen
from atoll.db.pool import Database
from atoll.db.sessions import SessionsUnsupported, require_sessions
from atoll.server.migration import prepare_database

from ..integration.services import wait_until
from .sites import MemoryRegistry, bundle, make_registry
from .transaction_pooler import transaction_pooler


def database(uri: str) -> Database:
    return Database(uri, {}, size=2)


def test_a_direct_connection_to_postgresql_is_accepted(registry: MemoryRegistry) -> None:
    require_sessions(registry["us"].database)


def test_a_transaction_pooler_is_refused(registry: MemoryRegistry) -> None:
    with (
        transaction_pooler(registry.uri, pass_options=True) as uri,
        pytest.raises(SessionsUnsupported, match="pool_mode"),
    ):
        require_sessions(database(uri))


def test_a_pooler_that_drops_session_settings_is_refused(registry: MemoryRegistry) -> None:
    with (
        transaction_pooler(registry.uri, pass_options=False) as uri,
        pytest.raises(SessionsUnsupported, match="options"),
    ):
        require_sessions(database(uri))


def test_a_migration_through_a_pooler_is_refused_before_it_acquires_its_lock(
    registry: MemoryRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "_advisory_lock", lambda _connection: pytest.fail("lock acquired"))
    with transaction_pooler(registry.uri, pass_options=True) as uri:
        pooled = make_registry(uri, tmp_path / "pooled", ["us"])
        with pytest.raises(SessionsUnsupported):
            prepare_database(pooled["us"].graph)


def test_config_check_names_the_pooler(
    registry: MemoryRegistry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / "config.yaml"
    with transaction_pooler(registry.uri, pass_options=True) as uri:
        written.write_text(yaml.safe_dump(bundle(uri, ["us"])))
        assert main(["config", "check", str(written), "--json", "--connect"]) == 1
        problems = json.loads(capsys.readouterr().out)["problems"]
        assert [problem for problem in problems if "pool_mode" in problem]
        assert main(["config", "check", str(written)]) == 0
        assert capsys.readouterr().out.endswith(": valid\n")
    assert main(["config", "check", str(written), "--json", "--connect"]) == 1
    problems = json.loads(capsys.readouterr().out)["problems"]
    assert problems[0].startswith("DB_URI: PostgreSQL cannot be reached")


def test_a_listener_detects_a_lost_listen(registry: MemoryRegistry) -> None:
    listening = threading.Event()
    failures: list[Exception] = []

    def listen() -> None:
        try:
            _listen(
                threading.Event(),
                database(uri),
                "atoll_replication",
                0.05,
                heard=lambda _payloads: listening.set(),
                beat=lambda: None,
            )
        except psycopg2.OperationalError as error:
            failures.append(error)

    with transaction_pooler(registry.uri, pass_options=True) as uri, ExitStack() as transactions:
        threading.Thread(target=listen, daemon=True).start()
        wait_until("it listens", listening.is_set)

        def failed() -> bool:
            if failures:
                return True
            # Occupies one more session of the pool, until the listening one is among them.
            cursor = transactions.enter_context(database(uri).transaction())
            cursor.execute("SELECT 1")
            return False

        wait_until("it fails", failed)
    assert "lost its LISTEN" in str(failures[0])
