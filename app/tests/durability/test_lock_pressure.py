"""Pushes of large manifests do not exhaust PostgreSQL's shared lock table."""

from __future__ import annotations

import threading

import psycopg2
from atoll.registry.manifest_format import MAXIMUM_LAYERS

from ..integration.services import wait_until
from .sites import MANIFEST_TYPE, SUPERUSER, MemoryRegistry, MemorySite, image_manifest

PUSHES = 8
LAYERS = 100
# Locks that each connection may hold on average: 64, including those on tables and indexes.
SHARE = 64


def push(site: MemorySite, content: bytes, tag: str) -> None:
    site.graph.dependencies().manifests.put(
        site.repository, tag, content, MANIFEST_TYPE, tags=[], username=SUPERUSER
    )


def granted(cursor: psycopg2.extensions.cursor) -> int:
    """Return the number of advisory locks that other sessions hold in this database."""
    cursor.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND pid <> pg_backend_pid()"
    )
    return int(cursor.fetchone()[0])


def waiting(cursor: psycopg2.extensions.cursor) -> int:
    cursor.execute(
        "SELECT count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return int(cursor.fetchone()[0])


def test_waiting_pushes_of_many_layers_hold_few_locks(registry: MemoryRegistry) -> None:
    """All of them wait for one lock; if each held many, the lock table would overflow."""
    site = registry["us"]
    config, layers = b"{}", [f"layer {number}".encode() for number in range(LAYERS)]
    for blob in (config, *layers):
        site.push(blob)
    # The lock with the greatest key is acquired last, so that pushes wait with all others held.
    content = image_manifest(config, layers)
    push(site, content, "first")
    with psycopg2.connect(registry.uri) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(lock) FROM ("
            " SELECT max(hashtextextended(content_checksum, 0)) AS lock FROM imagestorage) AS last"
        )
        threads = [
            threading.Thread(target=push, args=(site, content, f"tag-{number}"))
            for number in range(PUSHES)
        ]
        for thread in threads:
            thread.start()
        wait_until("all pushes wait", lambda: waiting(cursor) == PUSHES)
        held = granted(cursor)
    for thread in threads:
        thread.join()
    assert held <= SHARE * PUSHES + MAXIMUM_LAYERS
    assert held < 2 * LAYERS


def test_pushes_of_few_layers_do_not_wait_for_each_other(registry: MemoryRegistry) -> None:
    site = registry["us"]
    for blob in (b"{}", b"one", b"other"):
        site.push(blob)
    with psycopg2.connect(registry.uri) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('large manifest', 0))")
        push(site, image_manifest(b"{}", [b"one"]), "v1")
    manifests = site.graph.dependencies().manifests
    assert manifests.get(site.repository, "v1").media_type == MANIFEST_TYPE
