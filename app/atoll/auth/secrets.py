"""Secrets that must be readable again are kept encrypted: AES-256-GCM, by `cryptography`.

What is bound to what: each ciphertext is good only for the purpose it was made for, so that one
copied to another row's column proves nothing there.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import string

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from atoll.config import Bundle

_VERSION = "v1$$"
_NONCE_BYTES = 12
_KEY_BYTES = 32
_ALPHABET = string.ascii_uppercase + string.digits


class SecretUnreadable(Exception):
    """A secret was encrypted under another DATABASE_SECRET_KEY."""


def random_token(length: int) -> str:
    """Return a random token of capital letters and digits, as Quay's are."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Cipher:
    """Encrypts and decrypts with a key that is derived from the bundle's."""

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"atoll secrets at rest")
        self._cipher = AESGCM(derived.derive(secret))

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Cipher:
        """Return the cipher of DATABASE_SECRET_KEY or, without one, of SECRET_KEY."""
        secret = bundle.database_secret_key or bundle.secret_key
        if secret is None:
            raise ValueError("a bundle without secrets gets one from the database at start")
        return cls(secret.get_secret_value().encode())

    def encrypt(self, text: str, purpose: str) -> str:
        """Return TEXT encrypted for PURPOSE."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), purpose.encode())
        return _VERSION + base64.b64encode(nonce + sealed).decode()

    def decrypt(self, text: str, purpose: str) -> str:
        """Return what was encrypted for PURPOSE, or raise SecretUnreadable."""
        try:
            raw = base64.b64decode(text.removeprefix(_VERSION), validate=True)
            plain = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise SecretUnreadable("a secret cannot be decrypted with this bundle's key") from error
        return plain.decode()
