"""A notification of Clair becomes one notice for each image, with the worst vulnerability first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from atoll.names import Digest
from atoll.scanning.notices import (
    LISTED_MAXIMUM,
    REREAD_REPORT,
    NoticeSchema,
    SecurityNotice,
    items_by_manifest,
    report_notice,
    security_notice,
)
from atoll.scanning.severities import Severity, SeverityCounts
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

RECORDINGS = Path(__file__).parents[1] / "clair" / "recordings"
SMALL = Digest.parse("sha256:596fc66f5f443252b24626955881bb99a4b423ac6d27ec07f4c02fbef0db3fba")
DETAILED = "163-notification-disable-summary"
SUMMARY = "160-notification-3-reason-removed-but-new"
PAGES = [
    "100-notification-page-all",
    "101-notification-page-size-2",
    "102-notification-page-2",
    "103-notification-page-3",
    "104-notification-page-4",
    "112-notification-other-clair",
    "115-notification-get-after-delete",
    "155-notification-2-pages",
    SUMMARY,
    "162-notification-import-clair-c",
    DETAILED,
]


def recorded(name: str) -> Any:
    """Return the body of a recorded answer; None if there was none."""
    response = json.loads((RECORDINGS / f"{name}.json").read_text())["response"] or {}
    return response.get("body")


def of_small_image(name: str) -> list[Any]:
    return list(items_by_manifest(recorded(name)["notifications"])[SMALL])


def item(name: object, severity: object = "High", reason: object = "added", **more: Any) -> Any:
    vulnerability = {"name": name, "severity": severity, **more}
    return {"manifest": str(SMALL), "reason": reason, "vulnerability": vulnerability}


def notice_of(*items: Any) -> SecurityNotice:
    found = security_notice(items)
    assert isinstance(found, SecurityNotice)
    TypeAdapter(NoticeSchema).validate_python(found.event_data())
    return found


def identifiers(notice: SecurityNotice) -> list[str]:
    return [one["id"] for one in notice.event_data()["vulnerabilities"]]


@pytest.mark.parametrize("name", PAGES)
def test_each_item_of_a_recorded_page_is_understood(name: str) -> None:
    page = recorded(name)["notifications"]
    found = items_by_manifest(page)
    assert sum(len(items) for items in found.values()) == len(page) > 0
    for items in found.values():
        (one,) = [one for one in items if one["reason"] == "added"] or items
        notice = notice_of({**one, "reason": "added"})
        assert notice.worst > Severity.UNKNOWN


def test_each_recorded_page_with_items_is_used() -> None:
    bodies = {path.stem: recorded(path.stem) for path in RECORDINGS.glob("*.json")}
    found = {
        name
        for name, body in bodies.items()
        if isinstance(body, dict) and body.get("notifications")
    }
    assert found == set(PAGES)


def test_only_added_vulnerabilities_are_reported() -> None:
    notice = notice_of(*of_small_image(DETAILED))
    assert notice.event_data()["vulnerability"] == {
        "id": "CVE-2099-3001",
        "description": "Made up: third change.",
        "link": "https://tracker.example/tracker/CVE-2099-3001",
        "priority": "Critical",
        "has_fix": True,
    }
    assert identifiers(notice) == ["CVE-2099-3001"]
    assert notice.counts == SeverityCounts(critical=1, fixable=1)


def test_the_worst_vulnerability_is_first_and_others_are_ordered_by_name() -> None:
    notice = notice_of(
        item("CVE-3", "Low"),
        item("CVE-2", "Critical"),
        item("CVE-4", "High"),
        item("CVE-1", "High"),
    )
    assert identifiers(notice) == ["CVE-2", "CVE-1", "CVE-4", "CVE-3"]
    assert notice.event_data()["vulnerability"]["id"] == "CVE-2"
    assert notice.event_data()["counts"] == {
        "Critical": 1,
        "High": 2,
        "Medium": 0,
        "Low": 1,
        "Negligible": 0,
        "Unknown": 0,
        "Fixable": 0,
    }


def test_a_vulnerability_of_several_packages_is_reported_once() -> None:
    notice = notice_of(item("CVE-1"), item("CVE-1", fixed_in_version="2"))
    assert identifiers(notice) == ["CVE-1"]
    assert notice.event_data()["vulnerability"]["has_fix"]


def test_all_vulnerabilities_are_counted_but_a_bounded_number_is_listed() -> None:
    notice = notice_of(*(item(f"CVE-{number}") for number in range(LISTED_MAXIMUM + 1)))
    assert len(identifiers(notice)) == LISTED_MAXIMUM
    assert notice.counts == SeverityCounts(high=LISTED_MAXIMUM + 1)


def test_there_is_no_notice_of_removed_vulnerabilities() -> None:
    assert (
        security_notice([item("CVE-1", reason="removed"), item("CVE-2", reason="removed")]) is None
    )


def test_there_is_no_notice_without_items() -> None:
    assert security_notice([]) is None


@pytest.mark.parametrize(
    ("event_config", "expected"),
    [
        ({}, True),
        ({"level": 5}, True),
        ({"level": 1}, True),
        ({"level": "1"}, True),
        ({"level": 0}, False),
        ({"level": "High"}, True),
    ],
)
def test_a_subscription_selects_notices_of_its_level_and_above(
    event_config: dict[str, Any], expected: bool
) -> None:
    assert notice_of(item("CVE-1", "High"), item("CVE-2", "Low")).reaches(event_config) is expected


def test_a_single_item_with_another_reason_requires_the_report() -> None:
    assert security_notice(of_small_image(SUMMARY)) == REREAD_REPORT


def test_a_summary_with_a_wrong_reason_is_reported_if_the_report_has_its_vulnerability() -> None:
    report = recorded("161-report-small-proves-3001-is-new")
    found = security_notice(of_small_image(SUMMARY), report=report)
    assert isinstance(found, SecurityNotice)
    assert identifiers(found) == ["CVE-2099-3001"]


@pytest.mark.parametrize("reason", ["added", "removed"])
def test_a_summary_of_a_vulnerability_that_the_report_lacks_makes_no_notice(reason: str) -> None:
    report = recorded("06-report-small-200")
    assert security_notice([item("CVE-2099-3001", reason=reason)], report=report) is None


def test_a_single_added_vulnerability_may_be_a_summary() -> None:
    assert notice_of(item("CVE-1")).may_be_summary
    assert not notice_of(item("CVE-1"), item("CVE-2", reason="removed")).may_be_summary


@pytest.mark.parametrize(
    "broken",
    [
        {"reason": "added"},
        {"reason": "added", "vulnerability": "CVE-1"},
        item(None),
        item(""),
        item(7),
    ],
)
def test_an_item_without_a_vulnerability_requires_the_report(broken: Any) -> None:
    assert security_notice([item("CVE-1"), broken]) == REREAD_REPORT
    assert security_notice([broken]) == REREAD_REPORT


def test_with_the_report_an_item_without_a_vulnerability_is_skipped() -> None:
    report = recorded("06-report-small-200")
    found = security_notice([item("CVE-1"), item("CVE-2"), item(None)], report=report)
    assert isinstance(found, SecurityNotice)
    assert identifiers(found) == ["CVE-1", "CVE-2"]
    assert security_notice([item(None)], report=report) is None


def test_items_of_other_shapes_and_of_invalid_manifests_are_skipped() -> None:
    items = [None, "x", {}, {"manifest": 7}, {"manifest": "latest"}, item("CVE-1")]
    assert items_by_manifest(items) == {SMALL: [item("CVE-1")]}


def test_a_severity_that_clair_does_not_have_is_unknown() -> None:
    notice = notice_of(item("CVE-1", "catastrophic"))
    assert notice.event_data()["vulnerability"]["priority"] == "Unknown"


def test_huge_texts_are_cut_off() -> None:
    huge = "x" * 10**6
    items = [item(f"{number}{huge}", description=huge, links=huge) for number in range(60)]
    assert len(json.dumps(notice_of(*items).event_data())) < 200_000


ANY_JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.none())


@given(ANY_JSON, ANY_JSON, ANY_JSON, ANY_JSON)
def test_values_of_other_types_make_a_valid_notice(
    severity: object, fixed: object, description: object, links: object
) -> None:
    notice_of(item("CVE-1", severity, fixed_in_version=fixed, description=description, links=links))


def test_a_new_image_has_one_notice_of_its_vulnerabilities_of_a_minimum_severity() -> None:
    notice = report_notice(recorded("06-report-small-200"), Severity.MEDIUM)
    assert notice is not None
    # Two packages have the first one.
    assert identifiers(notice) == ["CVE-2099-1001", "CVE-2099-1003", "CVE-2099-1008"]
    critical = report_notice(recorded("06-report-small-200"), Severity.CRITICAL)
    assert critical is not None
    assert identifiers(critical) == ["CVE-2099-1001"]


def test_a_new_image_below_the_minimum_severity_has_no_notice() -> None:
    assert report_notice(recorded("15-report-debian-200"), Severity.CRITICAL) is None
