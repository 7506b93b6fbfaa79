"""Each repository that an upstream lists, or listed, has one place in the decision."""

from __future__ import annotations

from atoll.mirroring.organizations.decisions import Listing, decide
from atoll.mirroring.organizations.records import CONFLICT, FOUND, SKIPPED
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.sampled_from(["app", "base", "deep/web", "taken", "tools", "x" * 255])
STATES = st.sampled_from([FOUND, SKIPPED, CONFLICT])


def test_new_known_and_foreign_repositories_are_told_apart() -> None:
    known = {"app": FOUND, "back": SKIPPED, "gone": FOUND, "left": SKIPPED, "was": CONFLICT}
    selected = ["app", "back", "new", "taken", "x" * 255]
    existing = {"app": True, "back": True, "taken": False}
    found = decide("acme", Listing(known, selected, {*selected, "left"}), existing)
    assert found.mirrored == ["app", "back", "new"]
    assert (found.new, found.resumed) == (["new"], ["back"])
    assert {name: text.partition(" ")[0] for name, text in found.gone.items()} == {
        "gone": "the",
        "left": "repository_filters",
    }
    assert "exists" in found.conflicts["taken"]
    assert "exceeds 255 characters" in found.conflicts["x" * 255]
    assert found.settled == ["was"]


@given(st.dictionaries(NAMES, STATES), st.sets(NAMES), st.sets(NAMES), st.sets(NAMES))
def test_no_repository_is_lost_or_has_two_places(
    known: dict[str, str], selected: set[str], others: set[str], foreign: set[str]
) -> None:
    existing = {name: name not in foreign for name in selected & known.keys()}
    listing = Listing(known, sorted(selected), selected | others)
    found = decide("acme", listing, existing)
    places = [*found.mirrored, *found.gone, *found.conflicts, *found.settled]
    assert sorted(places) == sorted({*selected, *known})
    assert {*found.new, *found.resumed} <= {*found.mirrored}
    assert {name for name, state in known.items() if state != CONFLICT} - selected == {*found.gone}
