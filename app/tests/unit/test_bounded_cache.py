"""The cache in memory that is bounded by the number of its entries."""

from __future__ import annotations

from atoll.bounded_cache import BoundedCache


def test_the_oldest_entry_makes_room_for_a_new_one() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    for number, key in enumerate("abc"):
        cache.put(key, number)
    assert [cache.get(key) for key in "abc"] == [None, 1, 2]
    assert len(cache) == 2


def test_an_entry_that_is_set_again_is_the_newest_and_displaces_nothing() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    for key, number in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        cache.put(key, number)
    assert [cache.get(key) for key in "abc"] == [3, None, 4]


def test_removed_entries_are_gone_and_unknown_ones_may_be_removed() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.remove("a")
    cache.remove("unknown")
    assert cache.get("a") is None
    cache.put("b", 2)
    cache.clear()
    assert len(cache) == 0
