"""Quay's `security` document, built from a vulnerability report of Clair."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from atoll.scanning.report_findings import Finding, Package, bounded_text, packages_of
from atoll.scanning.severities import SeverityCounts, SeverityCountsSchema

# Quay reports this version for every scan by Clair 4.
_INDEXED_BY_VERSION = 4
_CVE = re.compile(r"CVE-\d{4}-\d{4,19}", re.ASCII)


class CvssSchema(TypedDict):
    """A CVSS vector and its base score; both are empty texts without a rating."""

    Vectors: str
    Score: float | Literal[""]


class NvdSchema(TypedDict):
    """The rating of a vulnerability."""

    CVSSv3: CvssSchema


class MetadataSchema(TypedDict):
    """The source of a vulnerability, and the repository or distribution that it affects."""

    UpdatedBy: str
    RepoName: str | None
    RepoLink: str | None
    DistroName: str | None
    DistroVersion: str | None
    NVD: NvdSchema


class VulnerabilitySchema(TypedDict):
    """A vulnerability of a package. `Link` has several URLs, `FixedBy` is empty without a fix."""

    Severity: str
    NamespaceName: str
    Link: str
    FixedBy: str
    Description: str
    Name: str
    Metadata: MetadataSchema


class FeatureSchema(TypedDict):
    """A package, and the layer that added it."""

    Name: str
    VersionFormat: str
    NamespaceName: str
    AddedBy: str
    Version: str
    BaseScores: list[float]
    CVEIds: list[str]
    Vulnerabilities: NotRequired[list[VulnerabilitySchema]]


class LayerSchema(TypedDict):
    """An image, by its digest, and its packages."""

    Name: str
    ParentName: str
    NamespaceName: str
    IndexedByVersion: int
    Features: list[FeatureSchema]


class SecurityDocument(TypedDict):
    """The result of a scan. `Counts` replaces the lists of vulnerabilities."""

    Layer: LayerSchema
    Counts: NotRequired[SeverityCountsSchema]


def security_document(
    report: Mapping[str, Any], *, digest: str, with_vulnerabilities: bool
) -> SecurityDocument:
    """Return Quay's document for a report.

    Packages are in the order of their names and versions, and vulnerabilities in that of their
    names. `BaseScores` and `CVEIds` are those of the package's own vulnerabilities.

    Args:
        report: Clair's report.
        digest: The manifest.
        with_vulnerabilities: Whether the packages have lists of their vulnerabilities, as in Quay.
            Otherwise, the document has counts by severity instead.

    Raises:
        InvalidReport: A part of the report is missing or not an object.
    """
    packages = packages_of(report)
    document: SecurityDocument = {
        "Layer": {
            "Name": digest,
            "ParentName": "",
            "NamespaceName": "",
            "IndexedByVersion": _INDEXED_BY_VERSION,
            "Features": [_feature(package) for package in packages],
        }
    }
    if with_vulnerabilities:
        for feature, package in zip(document["Layer"]["Features"], packages, strict=True):
            feature["Vulnerabilities"] = [_vulnerability(found) for found in package.findings]
    else:
        document["Counts"] = _counts(packages).as_json()
    return document


def counts_of(report: Mapping[str, Any]) -> SeverityCounts:
    """Return the number of vulnerabilities in a report; one of two packages counts twice.

    Raises:
        InvalidReport: A part of the report is missing or not an object.
    """
    return _counts(packages_of(report))


def _counts(packages: list[Package]) -> SeverityCounts:
    return SeverityCounts.of(
        (found.severity, bool(found.fixed_by)) for package in packages for found in package.findings
    )


def _feature(package: Package) -> FeatureSchema:
    ratings = [found.rating for found in package.findings]
    return {
        "Name": package.name,
        "VersionFormat": "",
        "NamespaceName": "",
        "AddedBy": package.added_by,
        "Version": package.version,
        "BaseScores": [rating.score for rating in ratings if rating is not None and rating.score],
        "CVEIds": sorted(
            {
                cve
                for found in package.findings
                for cve in _CVE.findall(f"{found.name} {found.links}")
            }
        ),
    }


def _vulnerability(found: Finding) -> VulnerabilitySchema:
    rating = found.rating
    return {
        "Severity": found.severity.label,
        "NamespaceName": found.updater,
        "Link": found.links,
        "FixedBy": found.fixed_by,
        "Description": found.description,
        "Name": found.name,
        "Metadata": {
            "UpdatedBy": found.updater,
            "RepoName": _optional(found.repository, "name"),
            "RepoLink": _optional(found.repository, "uri"),
            "DistroName": _optional(found.distribution, "name"),
            "DistroVersion": _optional(found.distribution, "version"),
            "NVD": {
                "CVSSv3": {
                    "Vectors": rating.vector if rating is not None else "",
                    "Score": rating.score if rating is not None else "",
                }
            },
        },
    }


def _optional(values: Mapping[str, Any], key: str) -> str | None:
    value = values.get(key)
    return bounded_text(value) if isinstance(value, str) else None
