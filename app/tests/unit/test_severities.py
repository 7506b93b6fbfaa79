"""Severities are ordered, follow CVSS scores and levels of subscriptions, and are counted."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from atoll.config.scanner import SeverityName
from atoll.scanning.severities import Severity, SeverityCounts
from hypothesis import given
from hypothesis import strategies as st

INVALID = [None, True, 7, 1.5, float("nan"), "", "critical ", "x" * 10**6, "CRİTİCAL", [], {}]


def test_severities_are_ordered_from_unknown_to_critical() -> None:
    labels = [severity.label for severity in sorted(Severity)]
    assert labels == ["Unknown", "Negligible", "Low", "Medium", "High", "Critical"]


def test_the_configuration_accepts_the_label_of_each_severity() -> None:
    assert {severity.label for severity in Severity} == set(get_args(SeverityName))


@pytest.mark.parametrize("name", ["Critical", "critical", "CRITICAL"])
def test_a_severity_is_parsed_in_any_case(name: str) -> None:
    assert Severity.parse(name) is Severity.CRITICAL


@pytest.mark.parametrize("value", INVALID)
def test_any_other_value_is_an_unknown_severity(value: object) -> None:
    assert Severity.parse(value) is Severity.UNKNOWN


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.1, Severity.LOW),
        (3.9, Severity.LOW),
        (4, Severity.MEDIUM),
        (6.9, Severity.MEDIUM),
        (7.0, Severity.HIGH),
        (8.9, Severity.HIGH),
        (9, Severity.CRITICAL),
        (10.0, Severity.CRITICAL),
    ],
)
def test_a_cvss_score_has_the_severity_of_its_range(score: float, expected: Severity) -> None:
    assert Severity.of_cvss(score) is expected


@pytest.mark.parametrize(
    "score", [0, 0.0, -1, 10.1, 10**400, float("nan"), float("inf"), True, "9.8", None, []]
)
def test_a_value_that_is_no_score_has_no_severity(score: object) -> None:
    assert Severity.of_cvss(score) is None


@pytest.mark.parametrize("level", range(6))
def test_level_0_selects_critical_vulnerabilities_only_and_level_5_all(level: int) -> None:
    expected = Severity(5 - level)
    assert Severity.of_level(level) is expected
    assert Severity.of_level(str(level)) is expected


@pytest.mark.parametrize("level", [None, True, -1, 6, "High", "²", "0" * 10**6, [], 1.0])
def test_an_invalid_level_selects_all_vulnerabilities(level: object) -> None:
    assert Severity.of_level(level) is Severity.UNKNOWN


def test_a_level_of_thousands_of_digits_selects_all_vulnerabilities() -> None:
    assert Severity.of_level(10**5000) is Severity.UNKNOWN


COUNTS = SeverityCounts.of(
    [(Severity.HIGH, True), (Severity.HIGH, False), (Severity.LOW, True), (Severity.UNKNOWN, False)]
)


def test_vulnerabilities_are_counted_by_severity_and_fixable_ones_in_addition() -> None:
    assert SeverityCounts(high=2, low=1, unknown=1, fixable=2) == COUNTS


def test_counts_report_the_worst_severity_and_the_number_from_a_severity_up() -> None:
    assert COUNTS.worst is Severity.HIGH
    assert [COUNTS.at_least(one) for one in (Severity.CRITICAL, Severity.MEDIUM)] == [0, 2]
    assert COUNTS.at_least(Severity.UNKNOWN) == 4


def test_an_image_without_vulnerabilities_has_no_worst_severity() -> None:
    assert SeverityCounts().worst is None


def test_counts_survive_json() -> None:
    assert SeverityCounts.from_json(json.loads(json.dumps(COUNTS.as_json()))) == COUNTS


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_counts_are_read_from_any_json(value: Any) -> None:
    assert SeverityCounts.from_json(value) == SeverityCounts()
    stored = {"Critical": value, "High": 3, "critical": 9}
    assert SeverityCounts.from_json(stored).high == 3
