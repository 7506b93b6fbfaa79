"""Concurrent anonymous searches of a process are limited; those of users are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from atoll.web.api.errors import TooManySearches
from atoll.web.api.find import SearchSlots


def call(*, anonymous: bool) -> Any:
    return SimpleNamespace(principal=None if anonymous else object())


def test_anonymous_searches_are_limited() -> None:
    slots = SearchSlots(1)
    with slots.one_of(call(anonymous=True)):
        with pytest.raises(TooManySearches), slots.one_of(call(anonymous=True)):
            pass
        with slots.one_of(call(anonymous=False)):
            pass
    with slots.one_of(call(anonymous=True)):
        pass


def test_a_failed_search_releases_its_slot() -> None:
    slots = SearchSlots(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="x"), slots.one_of(call(anonymous=True)):
            raise ValueError("x")
