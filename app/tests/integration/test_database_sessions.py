"""Sessions of a process that stopped in the middle do not block others for long."""

from __future__ import annotations

from contextlib import suppress

import psycopg2
import pytest
from atoll.db import pool
from atoll.db.pool import Database, DatabaseUnavailable

from .services import wait_until
from .site import Site

LOCK = "SELECT pg_try_advisory_xact_lock(20261122)"


def test_an_idle_transaction_is_ended_and_its_locks_released(
    us: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_IDLE_IN_TRANSACTION", 1)
    silent = Database.from_bundle(us.services.bundle, size=1)
    with suppress(DatabaseUnavailable), silent.transaction() as cursor:
        cursor.execute(LOCK)
        assert us.services.database.run(LOCK)[0][0] is False
        wait_until("the lock is free", lambda: us.services.database.run(LOCK)[0][0])
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("SELECT 1")
    assert silent.run("SELECT 1")[0][0] == 1


def test_postgresql_is_configured_to_detect_unreachable_clients(us: Site) -> None:
    """The scenario `faults` tests this with a host that becomes unreachable."""
    rows = us.services.database.run("SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp_%'")
    settings = {name: int(setting) for name, setting in rows}
    seconds = settings["tcp_keepalives_idle"] + (
        settings["tcp_keepalives_interval"] * settings["tcp_keepalives_count"]
    )
    assert 0 < seconds <= 30
    assert 0 < settings["tcp_user_timeout"] <= 30_000


def test_connection_options_of_the_bundle_are_added_to_the_defaults(us: Site) -> None:
    options = {"options": "-c tcp_user_timeout=9000 -c search_path=public"}
    bundle = us.services.bundle.model_copy(update={"db_connection_args": options})
    database = Database.from_bundle(bundle, size=1, statement_timeout=4_321)
    names = ("tcp_user_timeout", "search_path", "statement_timeout")
    settings = [database.read(f"SHOW {name}")[0][0] for name in names]
    assert settings == ["9000", "public", "4321ms"]
