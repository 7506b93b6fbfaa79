"""Mirrors select tags by name, version, age and number, in this order."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest
from atoll.mirroring.rules.globs import PATTERNS_MAXIMUM, SEARCHES_MAXIMUM, check_patterns
from atoll.mirroring.rules.semantic_versions import VersionRange
from atoll.mirroring.rules.tag_rules import TagRule, is_digest_tag, matches, split_patterns
from hypothesis import given
from hypothesis import strategies as st

NOW = datetime(2026, 6, 1, tzinfo=UTC)
TAGS = ["latest", "1.0.0", "1.1.0", "1.2.0-rc.1", "1.2.0", "2.0.0", "nightly", "edge"]
_AGES = {"latest": 1, "1.0.0": 400, "1.1.0": 90, "1.2.0": 30, "2.0.0": 10, "nightly": 0}


class Dates:
    """Creation dates of TAGS, and the tags that they were requested for."""

    def __init__(self) -> None:
        self.requested: list[Sequence[str]] = []

    def __call__(self, tags: Sequence[str]) -> Mapping[str, datetime | None]:
        self.requested.append(tags)
        return {tag: NOW - timedelta(days=_AGES[tag]) if tag in _AGES else None for tag in tags}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"include": "*"}, TAGS),
        ({"include": "nope"}, []),
        ({"include": "1.*"}, ["1.0.0", "1.1.0", "1.2.0-rc.1", "1.2.0"]),
        ({"include": "latest, [0-1].0.*,missing"}, ["latest", "1.0.0"]),
        ({"include": "?dge"}, ["edge"]),
        ({"include": "LATEST"}, []),
        ({"include": "*", "exclude": "*-rc*,nightly,edge"}, ["latest", *TAGS[1:3], *TAGS[4:6]]),
        ({"include": "*", "versions": ">=1.1 <2"}, ["1.1.0", "1.2.0"]),
        ({"include": "*", "versions": ">=1.2.0-rc <2"}, ["1.2.0-rc.1", "1.2.0"]),
        ({"include": "*", "newest": 2}, ["1.2.0", "2.0.0"]),
        ({"include": "1.*", "newest": 1}, ["1.2.0"]),
        ({"include": "*", "versions": "1.x", "newest": 2}, ["1.1.0", "1.2.0"]),
        ({"include": "*", "newest": 2, "newest_by": "name"}, ["latest", "nightly"]),
        ({"include": "*", "newest": 3, "newest_by": "created"}, ["latest", "2.0.0", "nightly"]),
        ({"include": "*", "max_age": 31}, ["latest", "1.2.0", "2.0.0", "nightly"]),
        ({"include": "*", "max_age": 31, "newest": 1}, ["2.0.0"]),
        ({"include": "*", "max_age": 0}, ["nightly"]),
        ({"include": "*", "newest": 100, "newest_by": "created"}, TAGS),
    ],
)
def test_tags_are_selected(conditions: dict[str, Any], expected: list[str]) -> None:
    assert _rule(**conditions).select(TAGS, Dates(), NOW) == expected


def test_dates_are_requested_only_for_tags_that_pass_all_other_conditions() -> None:
    dates = Dates()
    _rule(include="*", exclude="1.0*", versions="1.x", max_age=31).select(TAGS, dates, NOW)
    assert dates.requested == [["1.1.0", "1.2.0"]]


def test_dates_are_not_requested_without_need() -> None:
    dates = Dates()
    _rule(include="*", newest=1).select(TAGS, dates, NOW)
    _rule(include="missing", max_age=1).select(TAGS, dates, NOW)
    assert not dates.requested


def test_the_failure_of_a_date_ends_the_selection() -> None:
    def fail(tags: Sequence[str]) -> Mapping[str, datetime | None]:
        raise ConnectionError(len(tags))

    with pytest.raises(ConnectionError):
        _rule(include="*", max_age=1).select(TAGS, fail, NOW)


def test_tags_of_signatures_are_not_selected() -> None:
    digest = "sha256-" + "a" * 64
    tags = ["latest", digest, f"{digest}.sig", f"{digest}.att"]
    assert _rule(include="*").select(tags, Dates(), NOW) == ["latest"]


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("sha512-" + "0" * 128, True),
        ("sha256-" + "0" * 63, False),
        ("sha256-" + "0" * 65, False),
        ("sha256-build", False),
    ],
)
def test_tags_that_are_named_after_digests_are_recognized(tag: str, *, expected: bool) -> None:
    assert is_digest_tag(tag) is expected


def test_strings_of_patterns_are_split() -> None:
    assert split_patterns([" a , b,", "", "c*"]) == ("a", "b", "c*")


@given(
    st.lists(st.text(alphabet="a1.*?[]!-", min_size=1, max_size=6), max_size=4),
    st.text(alphabet="a1.-", min_size=1, max_size=6),
)
def test_compiled_patterns_match_as_single_ones(patterns: list[str], tag: str) -> None:
    assert matches(tag, tuple(patterns)) == any(fnmatchcase(tag, one) for one in patterns)


def test_the_slowest_permitted_patterns_take_a_small_multiple_of_the_time_of_others() -> None:
    # Each position of the tag begins like what the pattern searches.
    tags = ["a" * 127 + "c"] * 20
    searching = [f"*aaa[b{number}]" for number in range(10, 10 + SEARCHES_MAXIMUM // 9)]
    plain = ["?" * 126 + f"b{number}" for number in range(PATTERNS_MAXIMUM)]
    slowest = (*searching, *plain[len(searching) :])
    check_patterns(slowest)
    with pytest.raises(ValueError, match=r"patterns with \* before other characters"):
        check_patterns([*slowest[:400], "*" + "a" * 20])
    assert _seconds(slowest, tags) < 10 * _seconds(tuple(plain), tags)


def _seconds(patterns: tuple[str, ...], tags: Sequence[str]) -> float:
    """Return the least processor time of five selections, in seconds."""
    rule, times = TagRule(patterns), []
    for _ in range(5):
        start = time.thread_time()
        assert rule.candidates(tags) == []
        times.append(time.thread_time() - start)
    return min(times)


def test_many_wildcards_are_matched_quickly() -> None:
    assert _rule(include="*a" * 100).select(["a" * 99 + "b"], Dates(), NOW) == []


def _rule(
    *,
    include: str,
    exclude: str = "",
    versions: str | None = None,
    max_age: int | None = None,
    newest: int | None = None,
    newest_by: Any = "semver",
) -> TagRule:
    return TagRule(
        split_patterns([include]),
        split_patterns([exclude]),
        () if versions is None else (VersionRange.parse(versions),),
        None if max_age is None else timedelta(days=max_age),
        newest,
        newest_by,
    )
