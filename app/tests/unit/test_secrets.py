"""Secrets at rest."""

from __future__ import annotations

import pytest
from atoll.auth.secrets import Cipher, SecretUnreadable


def test_a_secret_is_read_back_with_its_key_and_for_its_purpose_alone() -> None:
    cipher = Cipher(b"key")
    kept = cipher.encrypt("token", "robot")
    assert "token" not in kept
    assert cipher.decrypt(kept, "robot") == "token"
    assert cipher.encrypt("token", "robot") != kept
    for other, purpose in ((Cipher(b"another"), "robot"), (cipher, "app")):
        with pytest.raises(SecretUnreadable):
            other.decrypt(kept, purpose)


@pytest.mark.parametrize("text", ["", "v1$$", "v1$$AAAA", "v1$$not base64", "plain"])
def test_what_is_no_secret_is_unreadable(text: str) -> None:
    with pytest.raises(SecretUnreadable):
        Cipher(b"key").decrypt(text, "robot")
