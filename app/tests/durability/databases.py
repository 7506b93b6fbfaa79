"""Create and change databases of the PostgreSQL server of the tests."""

from __future__ import annotations

import psycopg2


def administer(uri: str, statement: str) -> None:
    """Run a statement that PostgreSQL refuses within a transaction."""
    connection = psycopg2.connect(uri)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(statement)
    connection.close()


def database_uri(uri: str, name: str) -> str:
    """Return the URI of the database `name` on the server of `uri`."""
    return f"{uri.rpartition('/')[0]}/{name}"
