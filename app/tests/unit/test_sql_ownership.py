"""Lock keys and the placement tables occur in the SQL of one module or package only."""

from __future__ import annotations

import re
from pathlib import Path

import atoll
from atoll.placement import location_locks, locks

PACKAGE = Path(atoll.__file__).parent

LOCK_SQL = re.compile(r"pg_(try_)?advisory|hashtext", re.IGNORECASE)
LOCK_MODULES = {
    "db/advisory_locks.py",
    # A session lock with a numeric key.
    "db/migrate.py",
    # Selects a sample of placements by a hash; acquires no lock.
    "placement/checks/verify.py",
}
TEXT_KEY_MODULES = {
    "db/advisory_locks.py",
    "placement/location_locks.py",
    "placement/locks.py",
}
PLACEMENT_TABLES = (
    "imagestorage",
    "imagestorageplacement",
    "imagestoragelocation",
    "replicationtask",
    "objectdeletion",
    "contentdeletion",
    "removedplacement",
    "lostblob",
    "replicationpolicy",
)
CHANGE = re.compile(
    rf"\b(INSERT INTO|UPDATE|DELETE FROM|TRUNCATE)\s+({'|'.join(PLACEMENT_TABLES)})\b",
    re.IGNORECASE,
)


def modules_with(pattern: re.Pattern[str]) -> set[str]:
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if pattern.search(path.read_text())
    }


def test_only_one_module_spells_advisory_locks() -> None:
    assert modules_with(LOCK_SQL) == LOCK_MODULES


def test_only_placement_computes_lock_keys_of_digests_and_locations() -> None:
    assert modules_with(re.compile(r"\btext_key\b")) == TEXT_KEY_MODULES


def test_lock_keys_match_those_of_earlier_versions() -> None:
    digest = "hashtextextended(%(digest)s, 0)"
    location = "hashtextextended('location ' || %(location)s, 0)"
    assert f"SELECT pg_advisory_xact_lock({digest});" == locks.LOCK_DIGEST
    assert f"SELECT pg_advisory_xact_lock_shared({digest});" == locks.LOCK_DIGEST_SHARED
    assert f"SELECT pg_advisory_xact_lock({location})" == location_locks.LOCK_LOCATION
    assert f"pg_try_advisory_xact_lock_shared({location})" in (
        location_locks.TRY_LOCK_LOCATION_SHARED
    )
    assert location_locks.LOCK_STATES == (
        "SELECT pg_advisory_xact_lock(hashtextextended('states of locations', 0))"
    )


def test_only_placement_reads_placements() -> None:
    found = modules_with(re.compile(r"\bimagestorageplacement\b"))
    assert {module for module in found if not module.startswith("placement/")} == set()


def test_only_placement_changes_its_tables() -> None:
    found = modules_with(CHANGE)
    assert {module for module in found if not module.startswith("placement/")} == set()
