"""Weak secrets in a bundle are refused; unencrypted connections cause a warning."""

from __future__ import annotations

import secrets
import uuid

import pytest
from atoll.config import check, problems

from .valid_bundle import valid_bundle

REMEDY = "openssl rand -hex 32"


@pytest.mark.parametrize("key", ["SECRET_KEY", "DATABASE_SECRET_KEY"])
@pytest.mark.parametrize(
    "weak", ["", "a", "short-but-not-so-obvious", "a" * 64, "01" * 40, "0123456789abcdef" * 4]
)
def test_a_weak_secret_is_refused_with_a_remedy(key: str, weak: str) -> None:
    (problem,) = problems(valid_bundle(**{key: weak}))
    assert problem.startswith(f"{key}: ")
    assert REMEDY in problem


@pytest.mark.parametrize(
    "strong",
    [
        # In the formats of Quay's configuration tool.
        str(uuid.uuid4()),
        str(secrets.randbits(256) + 2**255),
        secrets.token_hex(32),
        secrets.token_hex(16),
    ],
    ids=["uuid", "integer", "256 bits", "128 bits"],  # parallel processes must agree on names
)
def test_a_random_secret_is_accepted(strong: str) -> None:
    assert problems(valid_bundle(SECRET_KEY=strong, DATABASE_SECRET_KEY=strong)) == []


def test_the_problem_does_not_contain_the_secret() -> None:
    assert "nobody-may-see" not in str(problems(valid_bundle(SECRET_KEY="nobody-may-see")))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"DB_CONNECTION_ARGS": {}}, "DB_URI"),
        ({"DB_CONNECTION_ARGS": {"sslmode": "prefer"}}, "DB_URI"),
        ({"DB_CONNECTION_ARGS": {"sslmode": ["verify-full"]}}, "DB_URI"),
        (
            {"DB_CONNECTION_ARGS": {}, "DB_URI": "postgresql://u:p@127.0.0.1:5432,db-2:5432/atoll"},
            "DB_URI",
        ),
        (
            {
                "DB_READ_REPLICAS": [
                    {"DB_URI": "postgresql://db-3/a", "DB_CONNECTION_ARGS": {"sslmode": "disable"}}
                ]
            },
            "DB_READ_REPLICAS.0.DB_URI",
        ),
        ({"BUILDLOGS_REDIS": {"host": "10.19.0.2", "password": "x"}}, "BUILDLOGS_REDIS"),
        ({"USER_EVENTS_REDIS": {"host": "10.19.0.2", "ssl": True}}, "USER_EVENTS_REDIS"),
    ],
)
def test_an_unencrypted_connection_causes_a_warning(changes: dict[str, object], key: str) -> None:
    result = check(valid_bundle(**changes))
    assert [line.partition(":")[0] for line in result.warnings] == [key]


def test_missing_trusted_proxies_cause_a_warning_but_an_empty_list_does_not() -> None:
    bundle = valid_bundle()
    del bundle["TRUSTED_PROXIES"]
    (warning,) = check(bundle).warnings
    assert warning.startswith("TRUSTED_PROXIES: is missing")
    assert check(valid_bundle(TRUSTED_PROXIES=[])).warnings == []


@pytest.mark.parametrize(
    "changes",
    [
        {"DB_URI": "postgresql://u@db-1,db-2/a?sslmode=require", "DB_CONNECTION_ARGS": {}},
        {"DB_URI": "postgresql://u@127.0.0.1:5432/a", "DB_CONNECTION_ARGS": {}},
        {"DB_URI": "postgresql://u@[::1]:5432/a", "DB_CONNECTION_ARGS": {}},
        {"DB_URI": "postgresql:///a?host=/run/postgresql", "DB_CONNECTION_ARGS": {}},
        {"BUILDLOGS_REDIS": {"host": "localhost"}, "USER_EVENTS_REDIS": {"host": "127.0.0.1"}},
    ],
)
def test_encrypted_and_local_connections_cause_no_warning(changes: dict[str, object]) -> None:
    assert check(valid_bundle(**changes)).warnings == []


@pytest.mark.parametrize("wrong", [None, 7, "text", [], {}, [[]], {"host": [], "ssl": []}])
def test_a_value_of_a_wrong_type_raises_no_exception(wrong: object) -> None:
    for key in ("DB_URI", "DB_CONNECTION_ARGS", "DB_READ_REPLICAS", "BUILDLOGS_REDIS"):
        check(valid_bundle(**{key: wrong}))
