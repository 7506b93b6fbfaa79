"""A preflight finds placeholders, weak secrets, and settings that do not fit together."""

import pytest
from ansible_collections.atoll.registry.plugins.plugin_utils.preflight.values import (
    consistency_problems,
    placeholder_problems,
    secret_problems,
)
from preflight_run import inventory

STRONG = "5d0c1a9e7b3f48261f4c02a7"


def site(**variables):
    return inventory(atoll_sites={"us-1": variables})


def identifiers(problems):
    return [(item["id"], item["severity"]) for item in problems]


@pytest.mark.parametrize(
    "value",
    [
        "registry.example.org",
        "https://s3.eu.example.com:443/path",
        "db.example",
        "192.0.2.10",
        "postgresql://atoll:password@198.51.100.4:5432/atoll",
        "203.0.113.0/24",
        "2001:db8::5",
        "change-me",
        "CHANGE_ME",
        "localhost/atoll@sha256:" + "0" * 64,
    ],
)
def test_values_of_the_example_are_placeholders(value):
    assert identifiers(placeholder_problems(site(registry_config={"KEY": value}))) == [
        ("placeholder", "error")
    ]


@pytest.mark.parametrize(
    "value",
    [
        "registry.example-corp.com",
        "myexample.org",
        "s3.example.acme.com",
        "10.0.0.1",
        "1192.0.2.10",
        "exchange-memory",
        "localhost/atoll@sha256:" + "0" * 63 + "1",
    ],
)
def test_similar_values_are_no_placeholders(value):
    assert identifiers(placeholder_problems(site(registry_config={"KEY": value}))) == []


def test_a_placeholder_is_reported_once_with_all_places():
    hosts = site(
        registry_hostname="registry.example.org",
        registry_config={"SERVER_HOSTNAME": "registry.example.org"},
    )

    (found,) = placeholder_problems(hosts)

    assert "registry_hostname, registry_config.SERVER_HOSTNAME" in found["problem"]


def test_a_placeholder_password_is_not_printed():
    (found,) = placeholder_problems(site(registry_config={"KEY": f"{STRONG} change-me"}))

    assert STRONG not in str(found)


@pytest.mark.parametrize(
    ("password", "severity"),
    [
        ("short", "error"),
        ("password123", "error"),
        ("aaaaaaaaaaaaaaaaaaaa", "error"),
        ("r7Kq2vXw9L", "warning"),
    ],
)
def test_a_weak_password_is_reported(password, severity):
    hosts = inventory(atoll_postgres={"db-1": {"postgres_password": password}})

    (found,) = secret_problems(hosts)

    assert (found["id"], found["severity"]) == ("secret-weak", severity)
    assert password not in str(found)


def test_a_random_password_is_accepted():
    hosts = inventory(
        atoll_postgres={"db-1": {"postgres_password": STRONG}},
        atoll_redis={"db-1": {"redis_password": STRONG[::-1]}},
    )

    assert list(secret_problems(hosts)) == []


def test_two_secrets_with_the_same_value_are_a_warning():
    hosts = inventory(
        atoll_postgres={"db-1": {"postgres_password": STRONG}},
        atoll_redis={"db-1": {"redis_password": STRONG}},
    )

    (found,) = secret_problems(hosts)

    assert (found["id"], found["severity"]) == ("secret-duplicate", "warning")
    assert "postgres_password, redis_password" in found["problem"]
    assert STRONG not in str(found)


@pytest.fixture
def components():
    """Return a function that checks a bundle against PostgreSQL, Redis and a load balancer."""

    def check(**bundle):
        return identifiers(
            consistency_problems(
                inventory(
                    atoll_sites={"us-1": {"registry_config": bundle}},
                    atoll_postgres={"db-1": {"postgres_password": STRONG}},
                    atoll_redis={"db-1": {"redis_password": STRONG}},
                    atoll_load_balancer={"lb-1": {"ansible_host": "10.0.0.20"}},
                )
            )
        )

    return check


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://atoll:another@10.0.0.5:5432/atoll",
        f"postgresql://other:{STRONG}@10.0.0.5:5432/atoll",
        f"postgresql://atoll:{STRONG}@10.0.0.5:5433/atoll",
        f"postgresql://atoll:{STRONG}@10.0.0.5:5432/other",
    ],
)
def test_a_database_address_that_differs_from_the_role_is_an_error(components, address):
    found = components(DB_URI=address, TRUSTED_PROXIES=["10.0.0.20"])

    assert found == [("database-mismatch", "error")]


def test_redis_settings_that_differ_from_the_role_are_errors(components):
    settings = {"host": "10.0.0.6", "port": 6380, "password": "another"}

    found = components(BUILDLOGS_REDIS=settings, TRUSTED_PROXIES=["10.0.0.20"])

    assert found == [("redis-mismatch", "error")] * 2


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        (["10.0.0.20"], []),
        (["10.0.0.0/24"], []),
        (["10.0.1.0/24"], [("trusted-proxies", "warning")]),
        (None, [("trusted-proxies", "warning")]),
    ],
)
def test_load_balancers_have_to_be_trusted_proxies(components, trusted, expected):
    bundle = {
        "DB_URI": f"postgresql://atoll:{STRONG}@10.0.0.5:5432/atoll",
        "BUILDLOGS_REDIS": {"host": "10.0.0.6", "port": 6379, "password": STRONG},
        "TRUSTED_PROXIES": trusted,
    }

    assert components(**bundle) == expected
