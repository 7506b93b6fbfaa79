"""The packages and vulnerabilities in a vulnerability report of Clair 4.

Reports quote files of images and advisories of strangers, so that each value may be missing, of
another type or huge. Reading is deterministic, although Clair's own order is random.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from atoll.errors import AtollError
from atoll.scanning.severities import Severity, cvss_score

# Characters of one value. Descriptions have up to 10,000 or so.
TEXT_MAXIMUM = 16 * 1024
# The keys of a fixed version that Clair URL-encodes with the other limits of the affected range.
_RANGE_KEYS = frozenset({"fixed", "introduced", "lastAffected"})
_NO_VERSION = "0"


class InvalidReport(AtollError):
    """An answer of Clair is not a vulnerability report."""


@dataclass(frozen=True)
class Rating:
    """A CVSS vector and its base score, from 0 to 10."""

    vector: str
    score: float


@dataclass(frozen=True)
class Finding:
    """A vulnerability of a package.

    Attributes:
        name: Its name, such as `CVE-2025-1`.
        severity: That of the rating, or else Clair's normalized severity.
        fixed_by: The version of the package without it; empty if there is none.
        links: URLs, separated by spaces.
        updater: The source of the advisory.
        repository: The repository of the affected package; of an unknown one, an empty object.
        distribution: The same for the distribution.
    """

    name: str
    severity: Severity
    fixed_by: str
    description: str
    links: str
    updater: str
    repository: Mapping[str, Any]
    distribution: Mapping[str, Any]
    rating: Rating | None


@dataclass(frozen=True)
class Package:
    """A package of an image, the layer that added it, and its vulnerabilities by name."""

    name: str
    version: str
    added_by: str
    findings: list[Finding]


def packages_of(report: Mapping[str, Any]) -> list[Package]:
    """Return the packages in a report by name and version, with their vulnerabilities.

    Each vulnerability of a version of a package is returned once, as in Quay. If there are several
    advisories, the one of the worst severity counts, and among those one with a fixed version. If
    the version is installed several times, the first package has the vulnerability. References to
    packages and vulnerabilities that are not in the report are skipped.

    Raises:
        InvalidReport: A part of the report is missing or not an object.
    """
    packages = _part(report, "packages")
    environments = _part(report, "environments")
    vulnerabilities = _part(report, "vulnerabilities")
    affected = _part(report, "package_vulnerabilities")
    ratings = _ratings(report.get("enrichments"))
    ordered = sorted(
        (_package(package, environments.get(key)), key)
        for key, package in packages.items()
        if isinstance(package, Mapping)
    )
    # By package, version and name: the key of the first package, and the worst advisory.
    worst: dict[tuple[str, str, str], tuple[str, Finding]] = {}
    for (name, version, _), key in ordered:
        listed = affected.get(key)
        for vulnerability_id in listed if isinstance(listed, list) else []:
            found = _finding(vulnerabilities, vulnerability_id, ratings)
            if found is None:
                continue
            identity = (name, version, found.name)
            owner, known = worst.get(identity, (key, found))
            worst[identity] = owner, max(known, found, key=_preference)
    by_package: dict[str, list[Finding]] = {key: [] for _, key in ordered}
    for owner, found in worst.values():
        by_package[owner].append(found)
    return [
        Package(name, version, added_by, sorted(by_package[key], key=lambda one: one.name))
        for (name, version, added_by), key in ordered
    ]


def fixed_version(value: object) -> str:
    """Return a fixed version, which Clair may have URL-encoded as `fixed=1.2&introduced=1.0`.

    Returns:
        The version; an empty text if there is none, which some advisories express as 0.
    """
    text = bounded_text(value)
    if "=" in text:
        fields = parse_qs(text)
        if fields.keys() & _RANGE_KEYS:
            text = fields.get("fixed", [""])[0]
    return "" if text == _NO_VERSION else text


def bounded_text(value: object, maximum: int = TEXT_MAXIMUM) -> str:
    """Return a text that PostgreSQL can store; an empty one instead of another value.

    Args:
        value: The value in the report.
        maximum: The number of characters after which the text is cut off.
    """
    if not isinstance(value, str):
        return ""
    text = value[:maximum].replace("\0", "")
    return text.encode(errors="replace").decode()


def bounded_links(value: object, maximum: int = TEXT_MAXIMUM) -> str:
    """Return links that are separated by spaces; too many are cut off after a whole link.

    Args:
        value: The value in the report.
        maximum: The number of characters.
    """
    text = bounded_text(value, maximum + 1)
    return text if len(text) <= maximum else text.rpartition(" ")[0].rstrip()


def _part(report: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = report.get(key)
    if not isinstance(part, Mapping):
        raise InvalidReport(f"the vulnerability report has no object '{key}'")
    return part


def _package(package: Mapping[str, Any], environments: object) -> tuple[str, str, str]:
    """Return the name, the version and the layer of a package; its first environment counts."""
    first = environments[0] if isinstance(environments, list) and environments else None
    layer = first.get("introduced_in") if isinstance(first, Mapping) else None
    name, version = package.get("name"), package.get("version")
    return bounded_text(name), bounded_text(version), bounded_text(layer)


def _finding(
    vulnerabilities: Mapping[str, Any], vulnerability_id: object, ratings: Mapping[str, Rating]
) -> Finding | None:
    if not isinstance(vulnerability_id, str):
        return None
    entry = vulnerabilities.get(vulnerability_id)
    if not isinstance(entry, Mapping):
        return None
    rating = ratings.get(vulnerability_id)
    rated = Severity.of_cvss(rating.score) if rating is not None else None
    normalized = Severity.parse(entry.get("normalized_severity"))
    repository, distribution = entry.get("repository"), entry.get("distribution")
    return Finding(
        # Vulnerabilities without a name are not merged with each other.
        name=bounded_text(entry.get("name")) or bounded_text(vulnerability_id),
        severity=normalized if rated is None else rated,
        fixed_by=fixed_version(entry.get("fixed_in_version")),
        description=bounded_text(entry.get("description")),
        links=bounded_links(entry.get("links")),
        updater=bounded_text(entry.get("updater")),
        repository=repository if isinstance(repository, Mapping) else {},
        distribution=distribution if isinstance(distribution, Mapping) else {},
        rating=rating,
    )


def _preference(finding: Finding) -> tuple[Severity, bool, str, str]:
    return finding.severity, bool(finding.fixed_by), finding.updater, finding.fixed_by


def _ratings(enrichments: object) -> dict[str, Rating]:
    """Return the highest rating of each vulnerability, by its id in the report."""
    found: dict[str, Rating] = {}
    for vulnerability_id, score in _scores(enrichments):
        rating = _rating(score)
        known = found.get(vulnerability_id)
        if rating is not None and (known is None or _order(rating) > _order(known)):
            found[vulnerability_id] = rating
    return found


def _order(rating: Rating) -> tuple[float, str]:
    return rating.score, rating.vector


def _scores(enrichments: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the ids of vulnerabilities with what each enricher adds to them."""
    lists = enrichments.values() if isinstance(enrichments, Mapping) else []
    for entries in lists:
        for by_id in entries if isinstance(entries, list) else []:
            for vulnerability_id, scores in by_id.items() if isinstance(by_id, Mapping) else []:
                for score in scores if isinstance(scores, list) else []:
                    if isinstance(score, Mapping):
                        yield vulnerability_id, score


def _rating(score: Mapping[str, Any]) -> Rating | None:
    value = cvss_score(score.get("baseScore"))
    return Rating(bounded_text(score.get("vectorString")), value) if value is not None else None
