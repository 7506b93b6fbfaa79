"""Passwords are kept as Argon2 hashes and compared in constant time, by argon2-cffi.

Argon2 is slow on purpose, a tenth of a second of a processor, and clients log in with a password
for each pull. That a password once matched a hash never changes, so each process remembers it and
hashes only what it does not know: wrong passwords each time, right ones once.
"""

from __future__ import annotations

import hashlib
import secrets
import threading

import argon2

MINIMUM_LENGTH = 8
REMEMBERED_MOST = 4096

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


class PasswordTooShort(ValueError):
    """A password that Atoll does not accept."""


def hash_password(password: str) -> str:
    """Return the hash to keep of PASSWORD, or raise PasswordTooShort."""
    if len(password) < MINIMUM_LENGTH:
        raise PasswordTooShort(f"the password must have at least {MINIMUM_LENGTH} characters")
    return _hasher.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Tell whether PASSWORD is the one that was hashed. None, for no such user, is never it."""
    match = _match(password_hash or _NOBODY, password)
    if match in _matched:
        return True
    try:
        matches = _hasher.verify(password_hash or _NOBODY, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    if password_hash is None or not matches:
        return False
    _remember(match)
    return True


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
