"""Hashes of passwords that take little time, for tests that log in often."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import argon2
import pytest
from atoll.auth import passwords


@contextmanager
def cheap_hashes() -> Iterator[None]:
    """Hash passwords with minimal cost."""
    with pytest.MonkeyPatch.context() as patch:
        cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        patch.setattr(passwords, "_hasher", cheap)
        yield
