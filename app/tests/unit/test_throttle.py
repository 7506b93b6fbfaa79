"""Password guesses are counted one by one, and concurrent password hashes are limited."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import argon2
import pytest
from atoll.auth import passwords
from atoll.auth.access import Access, WrongCredentials
from atoll.auth.credentials import Credentials
from atoll.auth.secrets import Cipher
from atoll.auth.throttle import Throttle, Throttled, TooManyFailures
from atoll.config.check import check

from .valid_bundle import valid_bundle

HASH = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("the password")


class NoRedis:
    """An unavailable Redis."""

    def get(self, *keys: str) -> list[None]:
        return [None] * len(keys)

    def increment(self, key: str, life_seconds: int) -> None:
        pass


class Rows:
    """A database in which every user has the same password."""

    def current(self, _statement: str, parameters: dict[str, Any]) -> Rows:
        actor = {
            "id": 1,
            "username": parameters["username"],
            "email": None,
            "password_hash": HASH,
            "robot_owner": None,
            "scope": None,
        }
        self.rows = [(actor, [])]
        return self


class SlowHasher:
    """Counts all and concurrent verifications, which block until `release` is set."""

    def __init__(self) -> None:
        self.count = self.now = self.most = 0
        self._lock = threading.Lock()
        self.started = threading.Semaphore(0)
        self.release = threading.Event()

    def verify(self, password_hash: str, password: str) -> bool:
        with self._lock:
            self.count += 1
            self.now += 1
            self.most = max(self.most, self.now)
        self.started.release()
        self.release.wait()
        with self._lock:
            self.now -= 1
        return argon2.PasswordHasher().verify(password_hash, password)


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> SlowHasher:
    slow = SlowHasher()
    monkeypatch.setattr(passwords, "_hasher", slow)
    monkeypatch.setattr(passwords, "_matched", {})
    return slow


@pytest.fixture
def throttle() -> Throttle:
    return Throttle(cast("Any", NoRedis()))


@pytest.fixture
def access(throttle: Throttle) -> Access:
    bundle = check(valid_bundle()).bundle
    assert bundle is not None
    return Access(cast("Any", Rows()), bundle, Cipher.from_bundle(bundle), throttle)


def outcome(access: Access, username: str, password: str, address: str) -> type[Exception] | None:
    try:
        access.authenticate(Credentials(username, password), address, [])
    except (WrongCredentials, Throttled) as error:
        return type(error)
    return None


def test_parallel_guesses_do_not_exceed_the_limit(access: Access, hasher: SlowHasher) -> None:
    with ThreadPoolExecutor(20) as pool:
        guesses = [
            pool.submit(outcome, access, "bob", f"guess {number}", "192.0.2.1")
            for number in range(20)
        ]
        hasher.started.acquire()
        hasher.release.set()
        outcomes = [guess.result() for guess in guesses]
    # Guesses that are hashed concurrently with the fifth wrong one may be wrong, too.
    assert 5 <= hasher.count < 5 + passwords.CONCURRENT_HASHES
    assert outcomes.count(WrongCredentials) == hasher.count
    assert outcomes.count(TooManyFailures) == 20 - hasher.count


def test_the_number_of_concurrent_hashes_is_limited(access: Access, hasher: SlowHasher) -> None:
    with ThreadPoolExecutor(8) as pool:
        logins = [
            pool.submit(outcome, access, f"user{number}", "the password", f"192.0.2.{number}")
            for number in range(8)
        ]
        for _ in range(passwords.CONCURRENT_HASHES):
            hasher.started.acquire()
        hasher.release.set()
        assert [login.result() for login in logins] == [None] * 8
    assert hasher.most <= passwords.CONCURRENT_HASHES


def test_a_login_that_waits_too_long_for_a_hash_is_refused_with_a_retry_time(
    access: Access, hasher: SlowHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_WAIT_SECONDS", 0.01)
    with ThreadPoolExecutor(passwords.CONCURRENT_HASHES) as pool:
        for number in range(passwords.CONCURRENT_HASHES):
            pool.submit(outcome, access, f"user{number}", "the password", f"192.0.2.{number}")
            hasher.started.acquire()
        try:
            assert outcome(access, "bob", "guess", "192.0.2.9") is passwords.PasswordsBusy
        finally:
            hasher.release.set()


def test_a_remembered_password_does_not_wait_for_a_hash(access: Access, hasher: SlowHasher) -> None:
    hasher.release.set()
    assert outcome(access, "bob", "the password", "192.0.2.1") is None
    hasher.release.clear()
    with ThreadPoolExecutor(passwords.CONCURRENT_HASHES) as pool:
        for number in range(passwords.CONCURRENT_HASHES):
            pool.submit(outcome, access, f"user{number}", "guess", f"192.0.2.{number + 2}")
        try:
            assert outcome(access, "bob", "the password", "192.0.2.1") is None
        finally:
            hasher.release.set()


def test_only_guesses_for_a_user_count_at_an_address_where_that_user_logged_in(
    throttle: Throttle,
) -> None:
    throttle.succeeded("bob", "192.0.2.1")
    for number in range(60):
        throttle.failed(f"name{number}", "192.0.2.1")
    throttle.check("bob", "192.0.2.1")
    with pytest.raises(TooManyFailures):
        throttle.check("carol", "192.0.2.1")
    for _ in range(5):
        throttle.failed("bob", "192.0.2.1")
    with pytest.raises(TooManyFailures):
        throttle.check("bob", "192.0.2.1")


def test_guesses_for_impossible_names_are_limited_before_hashing(
    access: Access, hasher: SlowHasher
) -> None:
    hasher.release.set()
    outcomes = [outcome(access, "$x", f"guess {number}", "192.0.2.1") for number in range(20)]
    assert outcomes == [WrongCredentials] * 5 + [TooManyFailures] * 15
    assert hasher.count == 5


def test_addresses_of_one_ipv6_network_share_a_limit(throttle: Throttle) -> None:
    for number in range(60):
        throttle.failed(f"name{number}", f"2001:db8::{number:x}")
    with pytest.raises(TooManyFailures):
        throttle.check("carol", "2001:db8::ffff")
    throttle.check("carol", "2001:db8:0:1::1")


def test_an_ipv4_mapped_address_shares_the_limit_of_the_ipv4_address(throttle: Throttle) -> None:
    for number in range(60):
        throttle.failed(f"name{number}", "::ffff:192.0.2.1")
    with pytest.raises(TooManyFailures):
        throttle.check("carol", "192.0.2.1")
    throttle.check("carol", "::ffff:192.0.2.2")
