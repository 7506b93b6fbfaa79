"""`atoll smoke-test` uses the registry as its clients do, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..tls_front import tls_front, write_certificate
from .site import Site

ACCOUNTS = "SELECT username FROM \"user\" WHERE username LIKE 'smoke-test-%%'"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return write_certificate(tmp_path, "registry.test")


@pytest.fixture
def endpoints(us: Site, eu: Site, certificate: tuple[Path, Path]) -> Iterator[list[str]]:
    ports = [urlsplit(site.url).port or 0 for site in (us, eu)]
    with tls_front(ports[0], *certificate) as first, tls_front(ports[1], *certificate) as second:
        yield [f"--endpoint={first}", f"--endpoint={second}"]


def test_an_image_is_pushed_replicated_pulled_and_deleted(
    us: Site, eu: Site, endpoints: list[str], certificate: tuple[Path, Path]
) -> None:
    us.start_worker()
    eu.start_worker()
    done = us.command(
        "smoke-test", *endpoints, "--ca-stdin", "--json", input=certificate[0].read_text()
    )

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["hostname"] == "registry.test"
    assert sorted(report["locations"]) == ["eustorage", "usstorage"]
    assert len(report["endpoints"]) == 2
    assert us.services.database.read(ACCOUNTS) == []


def test_an_image_that_is_not_replicated_fails_the_test_and_is_deleted(
    us: Site, endpoints: list[str], certificate: tuple[Path, Path]
) -> None:
    words = ("--ca-stdin", "--timeout=1")
    done = us.command("smoke-test", *endpoints, *words, input=certificate[0].read_text())

    assert done.returncode == 1
    assert "the image is not complete at eustorage after 1 seconds" in done.stderr
    assert us.services.database.read(ACCOUNTS) == []


def test_an_unknown_ca_fails_the_login_with_the_endpoint(us: Site, endpoints: list[str]) -> None:
    done = us.command("smoke-test", *endpoints, "--timeout=0")

    assert done.returncode == 1
    address = endpoints[0].partition("=")[2]
    assert f"login through {address} failed" in done.stderr
    assert "certificate verify failed" in done.stderr
    assert us.services.database.read(ACCOUNTS) == []


def test_accounts_of_interrupted_tests_are_deleted_after_an_hour(
    us: Site, endpoints: list[str]
) -> None:
    us.services.database.run(
        """INSERT INTO "user" (username, created_at) VALUES
           ('smoke-test-0123456789abcdef', now() - interval '2 hours'),
           ('smoke-test-fedcba9876543210', now()),
           ('smoke-test-of-a-user', now() - interval '2 hours')"""
    )
    us.command("smoke-test", *endpoints, "--timeout=0")

    left = sorted(row[0] for row in us.services.database.read(ACCOUNTS))
    assert left == ["smoke-test-fedcba9876543210", "smoke-test-of-a-user"]
