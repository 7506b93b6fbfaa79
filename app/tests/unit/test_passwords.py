from __future__ import annotations

import argon2
from atoll.auth import passwords


def test_who_is_not_known_takes_as_much_work_as_who_is() -> None:
    """Or the time that an answer takes would tell which users there are."""
    known = passwords.hash_password("a password")
    assert argon2.extract_parameters(passwords._NOBODY) == argon2.extract_parameters(known)
    assert len(passwords._NOBODY) == len(known)
    assert not passwords.verify_password(None, "nobody")
