"""Hash and verify passwords with Argon2.

Argon2 is slow on purpose, about 0.1 s of processor time, and clients send the password with each
pull. A password that matched a hash always matches it, so each process caches matches: a correct
password is hashed once per process, a wrong one each time.

Computing a hash takes 64 MiB and several threads. Each process therefore computes few at a time,
and callers wait a bounded time for a slot.
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
from atoll.errors import UserError

MINIMUM_LENGTH = 8
# Matches that a process caches at most.
CACHED_MATCHES_MAXIMUM = 4096
CONCURRENT_HASHES = 2
# Seconds to wait for a slot, and seconds after which clients may retry a refused request.
_WAIT_SECONDS, _RETRY_SECONDS = 5.0, 2

_hasher = argon2.PasswordHasher()
# Verified for unknown users, so that the response takes as long as for known ones. No account has
# this hash. It is a constant because computing it would delay the start of every command by 0.1 s.
_DUMMY_HASH = (
    "$argon2id$v=19$m=65536,t=3,p=4$4cbGnXCqZxLFmiXlcxpRbA$"
    "XHBtio6001cOGtelUClly5vLX6jTZ9I/C22QswlgZSI"
)

# Cached matches, keyed by a hash with a secret of the process so that memory dumps reveal nothing.
_key = secrets.token_bytes(hashlib.blake2b.MAX_KEY_SIZE)
_matched: dict[bytes, None] = {}
_lock = threading.Lock()
_slots = threading.BoundedSemaphore(CONCURRENT_HASHES)


class PasswordTooShort(UserError, ValueError):
    """The password has fewer than MINIMUM_LENGTH characters."""


@dataclass(frozen=True)
class HashingHooks:
    """Callbacks around the computation of a hash.

    Attributes:
        before: Called right before the computation.
        on_mismatch: Called for a wrong password, before the next computation can start.
    """

    before: Callable[[], None]
    on_mismatch: Callable[[], None]


class PasswordsBusy(Throttled):
    """No slot for hashing became free in time."""

    def __init__(self) -> None:
        super().__init__("too many passwords are being checked", _RETRY_SECONDS)


def check_length(password: str) -> None:
    """Raise PasswordTooShort if the password is shorter than MINIMUM_LENGTH."""
    if len(password) < MINIMUM_LENGTH:
        raise PasswordTooShort(f"the password must have at least {MINIMUM_LENGTH} characters")


def hash_password(password: str) -> str:
    """Return the hash of a new password.

    Raises:
        PasswordTooShort: The password has fewer than 8 characters.
        PasswordsBusy: No slot for hashing became free in time.
    """
    check_length(password)
    with _slot():
        return _hasher.hash(password)


def verify_password(
    password_hash: str | None, password: str, *, hooks: HashingHooks | None = None
) -> bool:
    """Return whether a password matches a hash.

    Args:
        password_hash: The hash; None, for an unknown user, never matches and takes as long.
        password: The password to verify.
        hooks: Called around the computation of the hash; their exceptions are passed on.

    Raises:
        PasswordsBusy: No slot for hashing became free in time.
    """
    match = _match_key(password_hash or _DUMMY_HASH, password)
    if match in _matched:
        return True
    with _slot():
        # Another thread may have verified the same password while this one waited for the slot.
        if match in _matched:
            return True
        if hooks is not None:
            hooks.before()
        if not _matches(password_hash, password):
            # Called while the slot is held, so that the next guess sees the failure.
            if hooks is not None:
                hooks.on_mismatch()
            return False
        _remember(match)
    return True


def _matches(password_hash: str | None, password: str) -> bool:
    try:
        matches = _hasher.verify(password_hash or _DUMMY_HASH, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return matches and password_hash is not None


@contextmanager
def _slot() -> Iterator[None]:
    """Hold a slot for hashing, or raise PasswordsBusy."""
    if not _slots.acquire(timeout=_WAIT_SECONDS):
        raise PasswordsBusy
    try:
        yield
    finally:
        _slots.release()


def _match_key(password_hash: str, password: str) -> bytes:
    """Return the cache key for a match of `password` with `password_hash`."""
    digest = hashlib.blake2b(password_hash.encode(), key=_key)
    digest.update(b"\0" + password.encode())
    return digest.digest()


def _remember(match: bytes) -> None:
    """Cache a match; a full cache drops its oldest entry."""
    with _lock:
        if len(_matched) >= CACHED_MATCHES_MAXIMUM:
            del _matched[next(iter(_matched))]
        _matched[match] = None
