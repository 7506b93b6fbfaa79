"""Versions in tags are ordered and selected as documented."""

from __future__ import annotations

import pytest
from atoll.mirroring.rules.semantic_versions import InvalidRange, Version, VersionRange


def test_versions_are_ordered_by_precedence() -> None:
    tags = [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "v1.0.0-rc.1",
        "1.0",
        "1.0.0-r1",
        "1.0.0-2",
        "1.0.0-r11",
        "1.0.1",
        "v1.2",
        "1.10.0",
        "2.0.0-alpine",
    ]
    shuffled = tags[::2] + tags[1::2]
    assert sorted(shuffled, key=lambda tag: Version.parse(tag) or pytest.fail(tag)) == tags


@pytest.mark.parametrize(("tag", "same"), [("v1.4", "1.4.0"), ("1.4.2_build.7", "1.4.2")])
def test_equal_versions_are_recognized(tag: str, same: str) -> None:
    assert Version.parse(tag) == Version.parse(same)


@pytest.mark.parametrize(
    "tag",
    [
        "latest",
        "3",
        "20240131",
        "1.02.3",
        "1.2.3.4",
        "1.2-",
        "version1.2",
        "1.2.3-a..b-",
        f"{'9' * 19}.0.0",
        "",
    ],
)
def test_other_tags_are_no_versions(tag: str) -> None:
    assert Version.parse(tag) is None


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">=1.2 <2", "1.2.0 1.9.9 1.2.0-r3", "1.1.9 2.0.0 1.5.0-rc.1 2.0.0-rc.1"),
        (">= 1.2, < 2", "1.2.0 1.9.9", "1.1.9 2.0.0"),
        (">1.4", "1.5.0 2.0.0", "1.4.0 1.4.9"),
        (">1.4.2", "1.4.3", "1.4.2 1.4.2-r1"),
        ("<=1.4", "1.4.9 1.4.0", "1.5.0"),
        ("<=1.4.2", "1.4.2 1.4.2-r9", "1.4.3"),
        ("1.4", "1.4.0 1.4.7", "1.5.0 1.3.9"),
        ("1.4.x", "1.4.0 1.4.7", "1.5.0"),
        ("v1.4.2", "1.4.2 1.4.2-r1", "1.4.1 1.4.3"),
        ("=1.4.2-r1", "1.4.2-r1 1.4.2-1", "1.4.2 1.4.2-r2"),
        ("1.x || 3.1", "1.0.0 1.9.9 3.1.5", "2.0.0 3.2.0"),
        ("!=1.4.2 ~1.4", "1.4.1 1.4.3", "1.4.2 1.5.0"),
        ("~1.4.2", "1.4.2 1.4.9", "1.4.1 1.5.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0 0.9.0"),
        ("^1.4.2", "1.4.2 1.99.0", "1.4.1 2.0.0"),
        ("^0.4.2", "0.4.2 0.4.9", "0.5.0 0.4.1 1.0.0"),
        ("^0.0.3", "0.0.3", "0.0.4 0.0.2"),
        ("^0", "0.0.1 0.9.0", "1.0.0"),
        ("^0.0", "0.0.1 0.0.9", "0.1.0"),
        ("*", "0.0.1 9.9.9", "1.0.0-rc.1"),
        (">=1.0.0-rc.1", "1.0.0-rc.1 1.0.0-rc.2 1.0.0 1.1.0-alpha", "1.0.0-beta"),
        ("1.0.0-rc.1", "1.0.0-rc.1", "1.0.0-rc.2 1.0.0-rc.1.0 1.0.0"),
        ("<1.0.0-rc.1", "0.9.0 1.0.0-beta", "1.0.0-rc.1 1.0.0"),
        ("!=1.0.0-rc.1", "1.0.0", "1.0.0-rc.2"),
    ],
)
def test_a_range_contains_its_versions(text: str, inside: str, outside: str) -> None:
    versions = VersionRange.parse(text)

    def contained(tag: str) -> bool:
        version = Version.parse(tag)
        assert version is not None
        return versions.contains(version)

    assert [tag for tag in inside.split() if not contained(tag)] == []
    assert [tag for tag in outside.split() if contained(tag)] == []


@pytest.mark.parametrize(
    "text",
    ["", "||", "1.2 ||", "latest", ">>1", ">=", "1.2.3.4", "^1.2-rc", ">*", "1.2 2.0 x3", "01.2"],
)
def test_malformed_ranges_are_refused(text: str) -> None:
    with pytest.raises(InvalidRange):
        VersionRange.parse(text)


def test_a_range_with_too_many_alternatives_is_refused() -> None:
    with pytest.raises(InvalidRange, match="at most 50"):
        VersionRange.parse("||".join(["1.2"] * 51))


def test_a_long_malformed_range_is_refused_quickly() -> None:
    with pytest.raises(InvalidRange):
        VersionRange.parse("1.2 " * 10_000 + "!")
