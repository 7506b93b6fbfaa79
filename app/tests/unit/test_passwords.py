from __future__ import annotations

import argon2
import pytest
from atoll.auth import passwords


class CountingHasher:
    """Counts what is hashed to compare."""

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


def test_who_is_not_known_takes_as_much_work_as_who_is() -> None:
    """Or the time that an answer takes would tell which users there are."""
    known = passwords.hash_password("a password")
    assert argon2.extract_parameters(passwords._DUMMY_HASH) == argon2.extract_parameters(known)
    assert len(passwords._DUMMY_HASH) == len(known)
    assert not passwords.verify_password(None, "nobody")


def test_who_comes_again_with_the_right_password_is_not_hashed_again(
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


def test_a_changed_password_ends_the_old_one_at_once(hasher: CountingHasher) -> None:
    old = argon2.PasswordHasher().hash("the old one")
    assert passwords.verify_password(old, "the old one")
    assert not passwords.verify_password(argon2.PasswordHasher().hash("the new one"), "the old one")
    assert hasher.count == 2


def test_no_password_is_that_of_nobody(hasher: CountingHasher) -> None:
    """Nor the one whose hash stands for nobody's, which must not be remembered as right."""
    assert not any(passwords.verify_password(None, "nobody") for _ in range(2))
    assert hasher.count == 2


def test_what_is_remembered_is_no_password_and_not_without_end(
    hasher: CountingHasher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "REMEMBERED_MOST", 1)
    kept = argon2.PasswordHasher().hash("a password")
    other = argon2.PasswordHasher().hash("b password")
    assert passwords.verify_password(kept, "a password")
    assert passwords.verify_password(other, "b password")
    assert len(passwords._matched) == 1
    assert passwords.verify_password(kept, "a password")
    assert hasher.count == 3
    assert not any(b"password" in match for match in passwords._matched)
