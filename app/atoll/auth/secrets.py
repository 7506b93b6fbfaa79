"""Encryption at rest of secrets that must be recoverable: AES-256-GCM.

Each ciphertext is bound to a purpose as associated data, so a ciphertext that is copied to another
column does not decrypt there.
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
    """A secret cannot be decrypted: it has another key or purpose, or is damaged."""


def random_token(length: int) -> str:
    """Return a random token of upper-case letters and digits, as in Quay."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Cipher:
    """Encrypts and decrypts secrets with a key derived from the bundle's secret."""

    def __init__(self, secret: bytes) -> None:
        derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"atoll secrets at rest")
        self._cipher = AESGCM(derived.derive(secret))

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Cipher:
        """Return the cipher for DATABASE_SECRET_KEY or, if it is not set, SECRET_KEY."""
        secret = bundle.database_secret_key or bundle.secret_key
        if secret is None:
            raise ValueError("the bundle has no secret; see atoll.auth.signing")
        return cls(secret.get_secret_value().encode())

    def encrypt(self, text: str, purpose: str) -> str:
        """Encrypt `text` for `purpose`."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), purpose.encode())
        return _VERSION + base64.b64encode(nonce + sealed).decode()

    def decrypt(self, text: str, purpose: str) -> str:
        """Decrypt a secret that was encrypted for `purpose`.

        Raises:
            SecretUnreadable: The ciphertext has another key or purpose, or is damaged.
        """
        try:
            raw = base64.b64decode(text.removeprefix(_VERSION), validate=True)
            plain = self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], purpose.encode())
        except (InvalidTag, ValueError, binascii.Error) as error:
            raise SecretUnreadable("a secret cannot be decrypted with this bundle's key") from error
        return plain.decode()
