"""The kept tags of cosign are bounded by their number."""

from __future__ import annotations

from atoll.mirroring.runs.cosign_tags import CosignTags


def _signatures(run_id: int, number: int) -> frozenset[str]:
    return frozenset(f"sha256-{run_id:032x}{one:032x}.sig" for one in range(number))


def test_only_the_tags_of_cosign_are_kept() -> None:
    kept = CosignTags()
    signatures = _signatures(1, 3)
    assert kept.find(1) is None
    assert kept.keep(1, ["latest", *signatures, "sha256-abc.sig"]) == signatures
    assert kept.find(1) == signatures


def test_the_oldest_listings_are_removed_if_all_have_too_many_tags() -> None:
    kept = CosignTags(maximum=100)
    kept.keep(1, _signatures(1, 59))
    kept.keep(2, _signatures(2, 39))
    assert kept.find(1) == _signatures(1, 59)
    kept.keep(2, _signatures(2, 40))
    assert kept.find(1) is None
    assert kept.find(2) == _signatures(2, 40)


def test_the_number_of_listings_without_tags_of_cosign_is_bounded() -> None:
    kept = CosignTags(maximum=100)
    for run_id in range(101):
        kept.keep(run_id, ["latest"] * 1000)
    assert kept.find(0) is None
    assert kept.find(1) == frozenset()


def test_a_listing_that_is_too_large_is_returned_and_not_kept() -> None:
    kept = CosignTags(maximum=100)
    assert len(kept.keep(1, _signatures(1, 100))) == 100
    assert kept.find(1) is None
    kept.keep(2, _signatures(2, 99))
    assert kept.find(2) == _signatures(2, 99)
