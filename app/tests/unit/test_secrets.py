"""Encryption of secrets at rest."""

from __future__ import annotations

import pytest
from atoll.auth.secrets import Cipher, SecretUnreadable


def test_a_secret_is_decrypted_only_with_its_key_and_for_its_purpose() -> None:
    cipher = Cipher(b"key")
    kept = cipher.encrypt("token", "robot")
    assert "token" not in kept
    assert cipher.decrypt(kept, "robot") == "token"
    assert cipher.encrypt("token", "robot") != kept
    for other, purpose in ((Cipher(b"another"), "robot"), (cipher, "app")):
        with pytest.raises(SecretUnreadable):
            other.decrypt(kept, purpose)


@pytest.mark.parametrize("text", ["", "v1$$", "v1$$AAAA", "v1$$not base64", "plain"])
def test_a_malformed_ciphertext_is_refused(text: str) -> None:
    with pytest.raises(SecretUnreadable):
        Cipher(b"key").decrypt(text, "robot")
