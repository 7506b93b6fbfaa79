"""The sites in memory behave like a registry."""

from __future__ import annotations

from ..integration.services import wait_until
from .sites import MemoryRegistry


def test_a_pushed_blob_is_placed_and_copied_to_every_required_location(
    registry: MemoryRegistry,
) -> None:
    digest = registry["us"].push(b"content")
    assert registry["us"].placements(digest) == {"us": "good"}
    for home in ("eu", "ap"):
        worker = registry[home].worker()
        worker.start()
        site = registry[home]
        wait_until("it is copied", lambda site=site, home=home: site.has_object(home, digest))
        worker.stop()
    expected = {"us": "good", "eu": "good", "ap": "good"}
    assert registry["us"].placements(digest) == expected
