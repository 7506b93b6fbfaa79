"""Notices of vulnerabilities: one for each image, from the items of a notification of Clair.

By default, Clair's notifier sends one item for each manifest, a summary. Its vulnerability is the
worst of all that were added or removed, and its reason is that of the first of these, so that both
can be wrong. A summary looks like any other single item. Only the report shows what it stands for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from typing_extensions import TypedDict

from atoll.names import Digest, InvalidDigest
from atoll.scanning.report_findings import (
    bounded_links,
    bounded_text,
    fixed_version,
    packages_of,
)
from atoll.scanning.severities import Severity, SeverityCounts, SeverityCountsSchema

REREAD_REPORT: Literal["reread the report"] = "reread the report"
# Vulnerabilities that a notice lists; it counts all.
LISTED_MAXIMUM = 50
_TEXT_MAXIMUM = 1024
_ADDED = "added"


class NoticedVulnerabilitySchema(TypedDict):
    """A vulnerability in a notification, as in Quay."""

    id: str
    description: str
    link: str
    priority: str
    has_fix: bool


class NoticeSchema(TypedDict):
    """The fields of the event `vulnerability_found`, without the tags.

    `vulnerability` is the worst one. `vulnerabilities` begins with it, and has LISTED_MAXIMUM
    entries at most; `counts` includes those that are not listed.
    """

    vulnerability: NoticedVulnerabilitySchema
    vulnerabilities: list[NoticedVulnerabilitySchema]
    counts: SeverityCountsSchema


@dataclass(frozen=True)
class NoticedVulnerability:
    """A vulnerability to report."""

    name: str
    severity: Severity
    has_fix: bool
    description: str
    links: str

    def as_json(self) -> NoticedVulnerabilitySchema:
        """Return the vulnerability as in Quay's notifications."""
        return {
            "id": self.name,
            "description": self.description,
            "link": self.links,
            "priority": self.severity.label,
            "has_fix": self.has_fix,
        }


@dataclass(frozen=True)
class SecurityNotice:
    """The vulnerabilities of one image, each once, the worst first; at least one.

    Attributes:
        vulnerabilities: The vulnerabilities.
        may_be_summary: Whether the items may be a summary, which hides other vulnerabilities;
            `security_notice` with the report confirms the notice.
    """

    vulnerabilities: tuple[NoticedVulnerability, ...]
    may_be_summary: bool = False

    @property
    def worst(self) -> Severity:
        """The worst severity."""
        return self.vulnerabilities[0].severity

    @property
    def counts(self) -> SeverityCounts:
        """The number of vulnerabilities by severity."""
        return SeverityCounts.of((one.severity, one.has_fix) for one in self.vulnerabilities)

    def reaches(self, event_config: Mapping[str, Any]) -> bool:
        """Return whether a subscription with this `event_config` selects the notice.

        Args:
            event_config: The configuration; without a `level`, it selects every notice.
        """
        return self.worst >= Severity.of_level(event_config.get("level"))

    def event_data(self) -> NoticeSchema:
        """Return the fields of the event, to which the caller adds the tags."""
        listed = [one.as_json() for one in self.vulnerabilities[:LISTED_MAXIMUM]]
        return {
            "vulnerability": listed[0],
            "vulnerabilities": listed,
            "counts": self.counts.as_json(),
        }


def items_by_manifest(items: Iterable[object]) -> dict[Digest, list[Mapping[str, Any]]]:
    """Return the items of all pages of a notification by manifest; invalid ones are skipped."""
    found: dict[Digest, list[Mapping[str, Any]]] = {}
    for item in items:
        manifest = item.get("manifest") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(manifest, str):
            continue
        try:
            found.setdefault(Digest.parse(manifest), []).append(item)
        except InvalidDigest:
            continue
    return found


def security_notice(
    items: Iterable[Mapping[str, Any]], *, report: Mapping[str, Any] | None = None
) -> SecurityNotice | Literal["reread the report"] | None:
    """Return the notice of the vulnerabilities that were added to one manifest.

    Args:
        items: All items of a notification for the manifest.
        report: The current report of the manifest, if it was read. A single item is then judged by
            it: its vulnerability is new if the report has it, whatever the reason of the item.

    Returns:
        The notice; None if nothing was added. REREAD_REPORT for what may be a summary with a wrong
        reason and for an item without a vulnerability: call again with the report.

    Raises:
        InvalidReport: The report is malformed.
    """
    listed = list(items)
    single = len(listed) == 1
    if single and report is not None:
        return _confirmed(listed[0], report)
    added = [item for item in listed if item.get("reason") == _ADDED]
    found = [one for one in map(_noticed, added) if one is not None]
    if report is None and (len(found) < len(added) or (single and not added)):
        return REREAD_REPORT
    return _notice(found, may_be_summary=single)


def report_notice(report: Mapping[str, Any], minimum: Severity) -> SecurityNotice | None:
    """Return the notice of the vulnerabilities in a report, such as that of a new image.

    Args:
        report: Clair's report.
        minimum: The lowest severity of a vulnerability that is included.

    Returns:
        The notice; None without a vulnerability of at least this severity.

    Raises:
        InvalidReport: The report is malformed.
    """
    return _notice(one for one in _reported(report) if one.severity >= minimum)


def _confirmed(item: Mapping[str, Any], report: Mapping[str, Any]) -> SecurityNotice | None:
    """Return a notice of the vulnerability of a single item, as the report rates it."""
    noticed = _noticed(item)
    if noticed is None:
        return None
    return _notice(one for one in _reported(report) if one.name == noticed.name)


def _reported(report: Mapping[str, Any]) -> Iterator[NoticedVulnerability]:
    for package in packages_of(report):
        for found in package.findings:
            yield NoticedVulnerability(
                name=found.name,
                severity=found.severity,
                has_fix=bool(found.fixed_by),
                description=found.description[:_TEXT_MAXIMUM],
                links=bounded_links(found.links, _TEXT_MAXIMUM),
            )


def _notice(
    vulnerabilities: Iterable[NoticedVulnerability], *, may_be_summary: bool = False
) -> SecurityNotice | None:
    """Return a notice of vulnerabilities, which several packages may share."""
    ordered = sorted(vulnerabilities, key=lambda one: (-one.severity, one.name, not one.has_fix))
    by_name: dict[str, NoticedVulnerability] = {}
    for one in ordered:
        by_name.setdefault(one.name, one)
    if not by_name:
        return None
    return SecurityNotice(tuple(by_name.values()), may_be_summary)


def _noticed(item: Mapping[str, Any]) -> NoticedVulnerability | None:
    """Return the vulnerability of an item; None if the item has none with a name."""
    entry = item.get("vulnerability")
    if not isinstance(entry, Mapping):
        return None
    name = bounded_text(entry.get("name"), _TEXT_MAXIMUM)
    if not name:
        return None
    return NoticedVulnerability(
        name=name,
        # Items have the normalized severity under this key, unlike reports.
        severity=Severity.parse(entry.get("severity")),
        has_fix=bool(fixed_version(entry.get("fixed_in_version"))),
        description=bounded_text(entry.get("description"), _TEXT_MAXIMUM),
        links=bounded_links(entry.get("links"), _TEXT_MAXIMUM),
    )
