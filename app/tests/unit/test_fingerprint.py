"""Fingerprints reveal drift between bundles, but no secrets."""

from __future__ import annotations

from atoll.cluster.instances import _drift, _most_common
from atoll.config.fingerprint import combined, fingerprint

BUNDLE = {"SECRET_KEY": "s", "SERVER_HOSTNAME": "a", "DB_URI": "postgresql://u:password@h/d"}


def test_the_fingerprint_does_not_depend_on_the_preference_of_a_site() -> None:
    one = fingerprint({**BUNDLE, "DISTRIBUTED_STORAGE_PREFERENCE": ["us"]})
    other = fingerprint({**BUNDLE, "DISTRIBUTED_STORAGE_PREFERENCE": ["eu"]})
    assert one == other


def test_equal_bundles_have_one_hash_in_any_order_of_their_keys() -> None:
    reversed_keys = dict(reversed(BUNDLE.items()))
    assert combined(fingerprint(BUNDLE)) == combined(fingerprint(reversed_keys))
    changed = {**BUNDLE, "SERVER_HOSTNAME": "b"}
    assert combined(fingerprint(BUNDLE)) != combined(fingerprint(changed))


def test_a_fingerprint_contains_no_values() -> None:
    assert "password" not in str(fingerprint(BUNDLE))


def test_the_secret_key_changes_every_hash() -> None:
    one, other = fingerprint(BUNDLE), fingerprint({**BUNDLE, "SECRET_KEY": "t"})
    assert all(one[key] != other[key] for key in one)


def test_keys_that_differ_from_the_majority_are_listed() -> None:
    same = fingerprint(BUNDLE)
    odd = fingerprint({**BUNDLE, "SERVER_HOSTNAME": "b", "EXTRA": 1})
    common = _most_common([same, same, odd])
    assert _drift(same, common) == []
    assert _drift(odd, common) == ["EXTRA", "SERVER_HOSTNAME"]
