"""Drift between bundles shows, and secrets do not."""

from __future__ import annotations

from atoll.cluster.instances import _drift, _most_common
from atoll.config.fingerprint import fingerprint

BUNDLE = {"SECRET_KEY": "s", "SERVER_HOSTNAME": "a", "DB_URI": "postgresql://u:password@h/d"}


def test_the_same_bundle_has_the_same_fingerprint_whatever_the_sites_preference() -> None:
    one = fingerprint({**BUNDLE, "DISTRIBUTED_STORAGE_PREFERENCE": ["us"]})
    other = fingerprint({**BUNDLE, "DISTRIBUTED_STORAGE_PREFERENCE": ["eu"]})
    assert one == other


def test_a_fingerprint_holds_no_value() -> None:
    assert "password" not in str(fingerprint(BUNDLE))


def test_another_secret_makes_every_hash_another() -> None:
    one, other = fingerprint(BUNDLE), fingerprint({**BUNDLE, "SECRET_KEY": "t"})
    assert all(one[key] != other[key] for key in one)


def test_the_keys_that_differ_from_most_are_named() -> None:
    same = fingerprint(BUNDLE)
    odd = fingerprint({**BUNDLE, "SERVER_HOSTNAME": "b", "EXTRA": 1})
    common = _most_common([same, same, odd])
    assert _drift(same, common) == []
    assert _drift(odd, common) == ["EXTRA", "SERVER_HOSTNAME"]
