from __future__ import annotations

import argon2
import pytest
from atoll.auth import passwords


class CountingHasher:
    """Counts verifications of password hashes."""

    def __init__(self) -> None:
        self.count = 0

    def verify(self, password_hash: str, password: str) -> bool:
        self.count += 1
        return argon2.PasswordHasher().verify(password_hash, password)


@pytest.fixture
def hasher(monkeypatch: pytest.MonkeyPatch) -> CountingHasher:
    counting = CountingHasher()
    monkeypatch.setattr(passwords, "_hasher", counting)
    monkeypatch.setattr(passwords, "_matched", {})
    return counting


def test_an_unknown_user_costs_as_much_work_as_a_known_one() -> None:
    """Otherwise response times would reveal which users exist."""
    known = passwords.hash_password("a password")
    assert argon2.extract_parameters(passwords._DUMMY_HASH) == argon2.extract_parameters(known)
    assert len(passwords._DUMMY_HASH) == len(known)
    assert not passwords.verify_password(None, "nobody")


def test_a_correct_password_is_hashed_once(
    hasher: CountingHasher,
) -> None:
    kept = argon2.PasswordHasher().hash("a password")
    assert all(passwords.verify_password(kept, "a password") for _ in range(3))
    assert hasher.count == 1


def test_a_wrong_password_is_hashed_and_refused_each_time(hasher: CountingHasher) -> None:
    kept = argon2.PasswordHasher().hash("a password")
    assert passwords.verify_password(kept, "a password")
    assert not any(passwords.verify_password(kept, "another one") for _ in range(2))
    assert hasher.count == 3


def test_a_changed_password_invalidates_the_old_one_immediately(hasher: CountingHasher) -> None:
    old = argon2.PasswordHasher().hash("the old one")
    assert passwords.verify_password(old, "the old one")
    assert not passwords.verify_password(argon2.PasswordHasher().hash("the new one"), "the old one")
    assert hasher.count == 2


def test_no_password_is_accepted_for_an_unknown_user(hasher: CountingHasher) -> None:
    """Not even the password of the dummy hash, which must not be remembered as correct."""
    assert not any(passwords.verify_password(None, "nobody") for _ in range(2))
    assert hasher.count == 2


def test_remembered_matches_contain_no_password_and_are_limited(
    hasher: CountingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "CACHED_MATCHES_MAXIMUM", 1)
    kept = argon2.PasswordHasher().hash("a password")
    other = argon2.PasswordHasher().hash("b password")
    assert passwords.verify_password(kept, "a password")
    assert passwords.verify_password(other, "b password")
    assert len(passwords._matched) == 1
    assert passwords.verify_password(kept, "a password")
    assert hasher.count == 3
    assert not any(b"password" in match for match in passwords._matched)
