"""Queries to the database of a registry."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import information
import psycopg2
import pytest
from definition import Lab

Rows = Callable[[str], list[Any]]


@pytest.fixture
def database(lab: Lab) -> Iterator[Rows]:
    """Return a function that returns the rows of a query."""
    with closing(psycopg2.connect(information.describe(lab)["postgres"]["uri"])) as connection:
        connection.autocommit = True

        def rows(query: str) -> list[Any]:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()

        yield rows
