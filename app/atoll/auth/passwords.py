"""Passwords are kept as Argon2 hashes and compared in constant time, by argon2-cffi.

Argon2 is slow on purpose, a tenth of a second of a processor, and clients log in with a password
for each pull. That a password once matched a hash never changes, so each process remembers it and
hashes only unknown passwords: wrong ones each time, right ones once.

A hash takes 64 MiB and several threads, so each process computes few at a time; callers wait their
turn for a bounded time.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import argon2

from atoll.auth.throttle import Throttled

MINIMUM_LENGTH = 8
REMEMBERED_MOST = 4096
HASHED_AT_ONCE = 2
# Seconds to wait for other hashes, and after which a refused request may be repeated.
_WAIT_SECONDS, _RETRY_SECONDS = 5.0, 2

_hasher = argon2.PasswordHasher()
# Compared against where there is no such user, so that the answer takes as long as for one.
# Nobody's secret; it stands here since to make one takes every command a tenth of a second.
_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$4cbGnXCqZxLFmiXlcxpRbA$"
    "XHBtio6001cOGtelUClly5vLX6jTZ9I/C22QswlgZSI"
)

# What matched, unreadable without a key that lives and dies with the process.
_key = secrets.token_bytes(hashlib.blake2b.MAX_KEY_SIZE)
_matched: dict[bytes, None] = {}
_lock = threading.Lock()
_slots = threading.BoundedSemaphore(HASHED_AT_ONCE)


class PasswordTooShort(ValueError):
    """A password that Atoll does not accept."""


@dataclass(frozen=True)
class HashingHooks:
    """Calls around a hash: `before` it, and `on_mismatch` before the next one can start."""

    before: Callable[[], None]
    on_mismatch: Callable[[], None]


class PasswordsBusy(Throttled):
    """Too many passwords are being hashed."""

    def __init__(self) -> None:
        super().__init__("too many passwords are being checked", _RETRY_SECONDS)


def check_length(password: str) -> None:
    """Raise PasswordTooShort for a password that cannot be used."""
    if len(password) < MINIMUM_LENGTH:
        raise PasswordTooShort(f"the password must have at least {MINIMUM_LENGTH} characters")


def hash_password(password: str) -> str:
    """Return the hash to keep of PASSWORD.

    Raises:
        PasswordTooShort: the password has fewer than 8 characters.
        PasswordsBusy: other hashes took all of the waiting time.
    """
    check_length(password)
    with _slot():
        return _hasher.hash(password)


def verify_password(
    password_hash: str | None, password: str, *, hooks: HashingHooks | None = None
) -> bool:
    """Return whether PASSWORD is the one that was hashed.

    Args:
        password_hash: the hash; None, for an unknown user, never matches and takes as long.
        password: the password to check.
        hooks: calls around the computation of the hash; their exceptions are passed on.

    Raises:
        PasswordsBusy: other hashes took all of the waiting time.
    """
    match = _match(password_hash or _NOBODY, password)
    if match in _matched:
        return True
    with _slot():
        # The same password may have been checked while this one waited.
        if match in _matched:
            return True
        if hooks is not None:
            hooks.before()
        if not _matches(password_hash, password):
            # Counted here, so that the next guess in the slot sees it.
            if hooks is not None:
                hooks.on_mismatch()
            return False
        _remember(match)
    return True


def _matches(password_hash: str | None, password: str) -> bool:
    try:
        matches = _hasher.verify(password_hash or _NOBODY, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return matches and password_hash is not None


@contextmanager
def _slot() -> Iterator[None]:
    """Hold one of the few slots for hashing, or raise PasswordsBusy."""
    if not _slots.acquire(timeout=_WAIT_SECONDS):
        raise PasswordsBusy
    try:
        yield
    finally:
        _slots.release()


def _match(password_hash: str, password: str) -> bytes:
    """Return what stands for the fact that PASSWORD is what PASSWORD_HASH was made of."""
    digest = hashlib.blake2b(password_hash.encode(), key=_key)
    digest.update(b"\0" + password.encode())
    return digest.digest()


def _remember(match: bytes) -> None:
    """Keep MATCH, and forget the oldest one where there are too many."""
    with _lock:
        if len(_matched) >= REMEMBERED_MOST:
            del _matched[next(iter(_matched))]
        _matched[match] = None
