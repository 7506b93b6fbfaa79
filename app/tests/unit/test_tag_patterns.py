"""Regular expressions for tags become patterns that select the same tags."""

from __future__ import annotations

import re

import pytest
from atoll.mirroring.rules.tag_patterns import NotConvertible, TagPatterns, tag_patterns
from atoll.mirroring.rules.tag_rules import matches
from hypothesis import given
from hypothesis import strategies as st

EXACT = [
    "latest",
    r"1\.2",
    r"v?1\.[0-9]",
    "3(.19|.20)?",
    "(?:a|b)c{2}",
    "a{1,3}",
    r"1\.\d\d",
    ".*",
    ".+",
    "1.*-alpine",
    "[^a]b",
    "a.b?",
    "ab??",
    r"1\-2",
    "1|2",
]
FEWER = [r"1\.[0-9]+", "a*b", r"[0-9]{2,}", r"\d+(\.\d+)?"]
TAGS = st.text(alphabet="ab12.-vlc", min_size=1, max_size=6)


def selected(found: TagPatterns, tag: str) -> bool:
    return matches(tag, found.patterns)


@pytest.mark.parametrize("expression", EXACT)
@given(tag=TAGS)
def test_patterns_select_the_same_tags(expression: str, tag: str) -> None:
    found = tag_patterns(expression, is_anchored=True)
    assert found.is_exact
    assert selected(found, tag) == bool(re.fullmatch(expression, tag))


@pytest.mark.parametrize("expression", [*EXACT, "^a", "b$", "^1$", "^a|b$", "^(a|b)"])
@given(tag=TAGS)
def test_expressions_without_anchors_match_parts_of_tags(expression: str, tag: str) -> None:
    found = tag_patterns(expression, is_anchored=False)
    assert selected(found, tag) == bool(re.search(expression, tag))


@pytest.mark.parametrize("expression", FEWER)
@given(tag=TAGS)
def test_patterns_of_repetitions_select_no_other_tags(expression: str, tag: str) -> None:
    found = tag_patterns(expression, is_anchored=True)
    assert not found.is_exact
    assert not selected(found, tag) or re.fullmatch(expression, tag)


@pytest.mark.parametrize("tag", ["1.2.3", "10.20.3000", "1.0.0"])
def test_numbers_of_up_to_four_digits_are_selected(tag: str) -> None:
    assert selected(tag_patterns(r"\d+\.\d+\.\d+", is_anchored=True), tag)


@pytest.mark.parametrize(
    ("expression", "cause"),
    [
        ("(?i)a", "an option in parentheses"),
        ("(?=a)b", "an option in parentheses"),
        (r"\bword", r"\\b"),
        (r"[\b]", r"\\b"),
        ("(a", "an unbalanced parenthesis"),
        ("a)", "an unbalanced parenthesis"),
        ("[a", "an incomplete expression"),
        ("a{1", "an incomplete expression"),
        ("a{x}", "a repetition"),
        ("a{999999}", "a large number of repetitions"),
        ("a**", "a repeated repetition"),
        ("*a", r"\* at this place"),
        ("a$b", r"\$ within the expression"),
        ("(a$)", r"\$ at this place"),
        ("[,]", "empty brackets"),
        ("a,b", "no commas"),
        (r"[a\-b]", "an escaped - in brackets"),
        ("[[:digit:]]", r"\[ in brackets"),
        ("(a|b|c){9}", "more than 500 alternatives"),
        ("\\", "an incomplete expression"),
    ],
)
def test_other_expressions_are_refused_with_the_cause(expression: str, cause: str) -> None:
    with pytest.raises(NotConvertible, match=cause):
        tag_patterns(expression, is_anchored=True)


@given(st.text(alphabet="ab1.*+?|()[]{}^$\\,-:=", max_size=12))
def test_any_text_is_converted_or_refused(expression: str) -> None:
    try:
        found = tag_patterns(expression, is_anchored=True)
    except NotConvertible:
        return
    assert len(found.patterns) <= 500
