"""A report of Clair becomes Quay's document: recorded reports, and reports with hostile values."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from atoll.scanning.report_findings import TEXT_MAXIMUM, InvalidReport, fixed_version
from atoll.scanning.security_document import SecurityDocument, counts_of, security_document
from atoll.scanning.severities import SeverityCounts
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

RECORDINGS = Path(__file__).parents[1] / "clair" / "recordings"
DIGEST = f"sha256:{'a' * 64}"
CVSS = "message/vnd.clair.map.vulnerability; enricher=clair.cvss"


def recorded(name: str) -> Any:
    """Return the body of a recorded answer; None if there was none."""
    response = json.loads((RECORDINGS / f"{name}.json").read_text())["response"] or {}
    return response.get("body")


REPORTS = [
    "06-report-small-200",
    "15-report-debian-200",
    "16-report-debian-gzip",
    "70-data-only-report-200",
    "80-second-clair-report-200",
    "130-report-cacheable-no-etag",
    "142-airgap-report-after-import-200",
    "156-report-small-after-change",
    "161-report-small-proves-3001-is-new",
    "178-db-back-report-200",
]


def an_object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def a_list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


TEXT = {"type": "string"}
EMPTY = {"const": ""}
OPTIONAL_TEXT = {"type": ["string", "null"]}
SEVERITY = {"enum": ["Unknown", "Negligible", "Low", "Medium", "High", "Critical"]}
SCORE = {"anyOf": [{"type": "number", "minimum": 0, "maximum": 10}, EMPTY]}
METADATA = an_object(
    UpdatedBy=TEXT,
    RepoName=OPTIONAL_TEXT,
    RepoLink=OPTIONAL_TEXT,
    DistroName=OPTIONAL_TEXT,
    DistroVersion=OPTIONAL_TEXT,
    NVD=an_object(CVSSv3=an_object(Vectors=TEXT, Score=SCORE)),
)
VULNERABILITY = an_object(
    Severity=SEVERITY,
    NamespaceName=TEXT,
    Link=TEXT,
    FixedBy=TEXT,
    Description=TEXT,
    Name=TEXT,
    Metadata=METADATA,
)
FEATURE = an_object(
    Name=TEXT,
    VersionFormat=EMPTY,
    NamespaceName=EMPTY,
    AddedBy=TEXT,
    Version=TEXT,
    BaseScores=a_list({"type": "number"}),
    CVEIds=a_list({"type": "string", "pattern": "^CVE-"}),
    Vulnerabilities=a_list(VULNERABILITY),
)
# The shape of Quay's document, written independently of the schema of the API.
QUAY = Draft202012Validator(
    an_object(
        Layer=an_object(
            Name={"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
            ParentName=EMPTY,
            NamespaceName=EMPTY,
            IndexedByVersion={"const": 4},
            Features=a_list(FEATURE),
        )
    )
)
API = TypeAdapter(SecurityDocument)


def document_of(report: Any) -> Any:
    document = security_document(report, digest=DIGEST, with_vulnerabilities=True)
    QUAY.validate(document)
    API.validate_python(document)
    return document


def features(report: Any) -> dict[str, Any]:
    return {one["Name"]: one for one in document_of(report)["Layer"]["Features"]}


def names(feature: Any) -> list[str]:
    return [one["Name"] for one in feature["Vulnerabilities"]]


def a_report(
    vulnerabilities: dict[str, Any],
    *,
    packages: dict[str, Any] | None = None,
    scores: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a report in which each package has each vulnerability."""
    packages = packages or {"1": {"name": "openssl", "version": "3"}}
    return {
        "manifest_hash": DIGEST,
        "packages": packages,
        "environments": {key: [{"introduced_in": DIGEST}] for key in packages},
        "vulnerabilities": vulnerabilities,
        "package_vulnerabilities": {key: list(vulnerabilities) for key in packages},
        "enrichments": {CVSS: [scores]} if scores else {},
    }


@pytest.mark.parametrize("name", REPORTS)
def test_a_recorded_report_becomes_a_document_of_quays_shape(name: str) -> None:
    document_of(recorded(name))


def test_each_recorded_report_is_used() -> None:
    recordings = [path.stem for path in RECORDINGS.glob("*.json")]
    found = {name for name in recordings if "package_vulnerabilities" in (recorded(name) or {})}
    assert found == set(REPORTS)


def test_the_features_are_the_packages_that_the_index_of_the_image_lists() -> None:
    indexed = recorded("13-index-debian-201")["packages"].values()
    listed = document_of(recorded("15-report-debian-200"))["Layer"]["Features"]
    assert len(listed) == 119
    assert [(one["Name"], one["Version"]) for one in listed] == sorted(
        (one["name"], one["version"]) for one in indexed
    )


def test_a_feature_names_the_layer_that_added_the_package() -> None:
    layers = recorded("13-index-debian-201")["environments"]
    found = features(recorded("15-report-debian-200"))
    assert {one["AddedBy"] for one in found.values()} == {
        environment[0]["introduced_in"] for environment in layers.values()
    }
    assert found["libc6"]["AddedBy"].startswith("sha256:a46a8cf3")
    assert found["curl"]["AddedBy"].startswith("sha256:f4fcb837")


def test_a_vulnerability_of_an_installed_version_is_reported_with_its_fix() -> None:
    (found,) = features(recorded("06-report-small-200"))["openssl"]["Vulnerabilities"]
    assert found == {
        "Severity": "Critical",
        "NamespaceName": "debian/updater",
        "Link": "https://tracker.example/tracker/CVE-2099-1001",
        "FixedBy": "3.0.17-1~deb12u99",
        "Description": "Made up for the lab: openssl reads past a buffer.",
        "Name": "CVE-2099-1001",
        "Metadata": {
            "UpdatedBy": "debian/updater",
            "RepoName": None,
            "RepoLink": None,
            "DistroName": "Debian GNU/Linux",
            "DistroVersion": "12 (bookworm)",
            "NVD": {
                "CVSSv3": {
                    "Vectors": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H",
                    "Score": 9.8,
                }
            },
        },
    }


def test_a_vulnerability_of_another_version_is_not_reported() -> None:
    text = json.dumps(document_of(recorded("06-report-small-200")))
    # The tracker of the recordings has both: one is fixed in an older version, one in none.
    assert "CVE-2099-1002" not in text
    assert "CVE-2099-1004" not in text


def test_a_purged_package_and_its_vulnerability_are_not_reported() -> None:
    found = features(recorded("15-report-debian-200"))
    assert "wget" not in found
    assert "CVE-2099-1006" not in {name for one in found.values() for name in names(one)}


def test_scores_and_cves_are_those_of_the_packages_own_vulnerabilities() -> None:
    found = features(recorded("06-report-small-200"))
    assert (found["openssl"]["BaseScores"], found["openssl"]["CVEIds"]) == (
        [9.8],
        ["CVE-2099-1001"],
    )
    assert (found["zlib1g"]["BaseScores"], found["zlib1g"]["CVEIds"]) == ([5.3], ["CVE-2099-1003"])
    assert (found["tzdata"]["BaseScores"], found["tzdata"]["CVEIds"]) == ([], ["CVE-2099-1008"])


def test_a_name_that_is_no_cve_is_not_among_the_cves() -> None:
    found = features(recorded("15-report-debian-200"))["libc6"]
    assert (names(found), found["CVEIds"]) == (["TEMP-0000000-AAAAAA"], [])


def test_the_severity_is_that_of_the_cvss_score_or_else_the_normalized_one() -> None:
    found = features(recorded("06-report-small-200"))
    # Debian's urgency of the first is low.
    assert found["zlib1g"]["Vulnerabilities"][0]["Severity"] == "Medium"
    assert found["tzdata"]["Vulnerabilities"][0]["Severity"] == "Medium"


def test_the_highest_of_several_scores_counts() -> None:
    scores = [{"baseScore": 5.0, "vectorString": "low"}, {"baseScore": 10, "vectorString": "high"}]
    report = a_report({"7": {"name": "CVE-2025-1"}}, scores={"7": scores})
    (found,) = features(report)["openssl"]["Vulnerabilities"]
    assert found["Severity"] == "Critical"
    assert found["Metadata"]["NVD"]["CVSSv3"] == {"Vectors": "high", "Score": 10.0}


def test_a_score_of_0_leaves_the_normalized_severity() -> None:
    report = a_report(
        {"7": {"name": "CVE-2025-1", "normalized_severity": "High"}},
        scores={"7": [{"baseScore": 0.0}]},
    )
    (found,) = features(report)["openssl"]["Vulnerabilities"]
    assert found["Severity"] == "High"


def test_counts_include_each_vulnerability_of_each_package() -> None:
    counts = SeverityCounts(critical=2, medium=2, fixable=2)
    assert counts_of(recorded("06-report-small-200")) == counts


def test_without_lists_of_vulnerabilities_the_document_has_counts() -> None:
    report = recorded("06-report-small-200")
    document = security_document(report, digest=DIGEST, with_vulnerabilities=False)
    API.validate_python(document)
    assert document["Counts"] == counts_of(report).as_json()
    assert len(document["Layer"]["Features"]) == 4
    assert not any("Vulnerabilities" in feature for feature in document["Layer"]["Features"])


def test_an_image_without_packages_has_no_features() -> None:
    report = recorded("70-data-only-report-200")
    assert document_of(report)["Layer"]["Features"] == []
    assert counts_of(report) == SeverityCounts()


def test_the_order_of_the_report_does_not_matter() -> None:
    report = recorded("15-report-debian-200")
    shuffled = dict(report)
    for key in ("packages", "vulnerabilities", "package_vulnerabilities"):
        entries = list(report[key].items())
        random.Random(1).shuffle(entries)
        shuffled[key] = dict(entries)
    assert json.dumps(document_of(shuffled)) == json.dumps(document_of(report))


def test_vulnerabilities_are_in_the_order_of_their_names() -> None:
    report = a_report({"1": {"name": "CVE-2"}, "2": {"name": "CVE-1"}})
    assert names(features(report)["openssl"]) == ["CVE-1", "CVE-2"]


def test_of_several_advisories_for_a_package_the_worst_is_reported_once() -> None:
    low = {"name": "CVE-1", "updater": "a", "normalized_severity": "Low", "fixed_in_version": "4"}
    high = {"name": "CVE-1", "updater": "b", "normalized_severity": "High"}
    fixed = {
        "name": "CVE-1",
        "updater": "a",
        "normalized_severity": "High",
        "fixed_in_version": "5",
    }
    report = a_report({"1": low, "2": high, "3": fixed})
    (found,) = features(report)["openssl"]["Vulnerabilities"]
    assert (found["Severity"], found["FixedBy"]) == ("High", "5")
    assert counts_of(report) == SeverityCounts(high=1, fixable=1)


def test_a_version_that_is_installed_twice_has_its_vulnerability_once() -> None:
    package = {"name": "openssl", "version": "3"}
    report = a_report({"1": {"name": "CVE-1"}}, packages={"5": package, "6": package})
    listed = document_of(report)["Layer"]["Features"]
    assert [names(one) for one in listed] == [["CVE-1"], []]


def test_two_versions_of_a_package_each_have_their_vulnerability() -> None:
    packages = {"5": {"name": "log4j", "version": "1"}, "6": {"name": "log4j", "version": "2"}}
    report = a_report({"1": {"name": "CVE-1"}}, packages=packages)
    assert [names(one) for one in document_of(report)["Layer"]["Features"]] == [["CVE-1"]] * 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3.0.17-1~deb12u99", "3.0.17-1~deb12u99"),
        ("1:1.2+dfsg-1", "1:1.2+dfsg-1"),
        ("0", ""),
        ("", ""),
        ("fixed=1.2.3", "1.2.3"),
        ("fixed=1.2.3%2Bbuild&introduced=1.0", "1.2.3+build"),
        ("fixed=0", ""),
        ("introduced=1.0", ""),
        ("lastAffected=1.0", ""),
        ("a=b", "a=b"),
        (None, ""),
        (7, ""),
    ],
)
def test_a_fixed_version_is_decoded(value: object, expected: str) -> None:
    assert fixed_version(value) == expected


def test_references_to_absent_packages_and_vulnerabilities_are_skipped() -> None:
    report = a_report({"1": {"name": "CVE-1"}})
    report["package_vulnerabilities"] = {"1": ["1", "404", None, {}], "404": ["1"], "x": None}
    assert names(features(report)["openssl"]) == ["CVE-1"]


def test_a_package_without_an_environment_has_no_layer() -> None:
    report = a_report({})
    for environments in ({}, {"1": []}, {"1": [None]}, {"1": {}}, {"1": [{"introduced_in": 7}]}):
        assert features({**report, "environments": environments})["openssl"]["AddedBy"] == ""


@pytest.mark.parametrize(
    "part", ["packages", "environments", "vulnerabilities", "package_vulnerabilities"]
)
def test_an_answer_without_a_part_of_a_report_is_an_error(part: str) -> None:
    report = a_report({})
    del report[part]
    with pytest.raises(InvalidReport, match=part):
        counts_of(report)
    with pytest.raises(InvalidReport, match=part):
        security_document({**report, part: []}, digest=DIGEST, with_vulnerabilities=True)


def test_huge_texts_are_cut_off() -> None:
    huge = "x" * 10**6
    report = a_report(
        {"1": dict.fromkeys(("name", "description", "links", "updater"), huge)},
        packages={"1": {"name": huge, "version": huge}},
    )
    assert len(json.dumps(document_of(report))) < 10 * TEXT_MAXIMUM


def test_links_are_cut_off_after_a_whole_link() -> None:
    report = a_report({"1": {"name": "CVE-1", "links": "https://one.example/ " * 10**4}})
    (found,) = features(report)["openssl"]["Vulnerabilities"]
    assert set(found["Link"].split()) == {"https://one.example/"}
    assert len(found["Link"]) <= TEXT_MAXIMUM


def test_texts_can_be_stored_as_json_in_postgresql() -> None:
    report = a_report({"1": {"name": "CVE-1", "description": "a\0b\ud800c"}})
    (found,) = features(report)["openssl"]["Vulnerabilities"]
    assert found["Description"] == "ab?c"


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["1", "7", "name", "baseScore"]), inner, max_size=3)
    ),
    max_leaves=8,
)
PATHS = [
    ("packages", "1"),
    ("packages", "1", "version"),
    ("environments", "1"),
    ("vulnerabilities", "7"),
    *(
        ("vulnerabilities", "7", key)
        for key in (
            "name",
            "updater",
            "links",
            "normalized_severity",
            "fixed_in_version",
            "repository",
            "distribution",
        )
    ),
    ("package_vulnerabilities", "1"),
    ("enrichments",),
    ("enrichments", CVSS),
]
COMPLETE = a_report({"7": {"name": "CVE-1"}}, scores={"7": [{"baseScore": 5}]})


@given(st.sampled_from(PATHS), ANY_JSON)
def test_a_value_of_another_type_still_makes_a_document_of_quays_shape(
    path: tuple[str, ...], value: object
) -> None:
    report = copy.deepcopy(COMPLETE)
    target: Any = report
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    document_of(report)
    counts_of(report)
