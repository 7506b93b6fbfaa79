"""`/repository/{repository}/manifest/{digest}/security`: the vulnerabilities of an image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.auth.access import READ
from atoll.scanning.severities import Severity
from atoll.web.api.errors import InvalidRequest
from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit

SECURITY = "/repository/{repository}/manifest/{digest}/security"
# Rows of one page.
_ROWS = 100
# The shape and colour of each severity, and severities from the worst to the best.
KINDS = {
    "Critical": "bad",
    "High": "bad",
    "Medium": "warn",
    "Low": "idle",
    "Negligible": "idle",
    "Unknown": "idle",
}
# What a status means, for people.
STATUSES = {
    "queued": ("busy", "waiting for its scan"),
    "failed": ("bad", "the scan failed"),
    "unsupported": ("idle", "cannot be scanned"),
    "manifest_layer_too_large": ("idle", "a layer is too large to be scanned"),
}


class SecurityPage:
    """`/repository/{repository}/manifest/{digest}/security`."""

    @page("security.html.j2")
    def on_get(self, visit: Visit, digest: str) -> dict[str, Any]:
        """Show the vulnerabilities of an image, the worst first, or its packages."""
        found = visit.api("GET", SECURITY, digest=digest)
        features = found["data"]["Layer"]["Features"] if found["data"] else []
        severity, fixable = _severity(visit), visit.req.get_param("fixable") == "true"
        packages = visit.req.get_param("tab") == "packages"
        everything = [_package(one) for one in features] if packages else _listed(features)
        rows = [
            one
            for one in everything
            if packages
            or ((not severity or one["severity"] == severity) and (not fixable or one["fixed_by"]))
        ]
        number = _page_number(visit)
        return {
            "name": visit.call.require(READ),
            "digest": digest,
            "found": found,
            "state": STATUSES.get(found["status"]),
            "counts": _counts(features),
            "packages": packages,
            "number_of_packages": len(features),
            "rows": rows[(number - 1) * _ROWS : number * _ROWS],
            "severity": severity,
            "severities": [("", "All"), *((name, name) for name in KINDS)],
            "fixable": fixable,
            "selected": {
                "tab": "packages" if packages else None,
                "severity": severity,
                "fixable": "true" if fixable else None,
            },
            "number": number,
            "more": len(rows) > number * _ROWS,
            "kinds": KINDS,
        }


def summary_marks(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the kind and the words of each mark for the summary of an image's scan.

    Args:
        summary: `security` as of `listRepoTags`.
    """
    counts = summary["counts"]
    if counts is None:
        kind, words = STATUSES.get(summary["status"], ("good", "scanned"))
        return [(kind, words)]
    marks = [
        (KINDS[name], f"{counts[name]:,} {name.lower()}")
        for name in ("Critical", "High", "Medium")
        if counts[name]
    ]
    others = sum(counts[name] for name in ("Low", "Negligible", "Unknown"))
    if not marks:
        return [("good", f"{others:,} minor" if others else "none found")]
    return marks


def _listed(features: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the vulnerabilities of all packages, the worst first."""
    found = [
        {
            "severity": one["Severity"],
            "name": one["Name"],
            "link": _web_link(one["Link"]),
            "description": one["Description"],
            "package": feature["Name"],
            "version": feature["Version"],
            "fixed_by": one["FixedBy"],
        }
        for feature in features
        for one in feature["Vulnerabilities"]
    ]
    return sorted(
        found, key=lambda one: (-Severity.parse(one["severity"]), one["package"], one["name"])
    )


def _package(feature: dict[str, Any]) -> dict[str, Any]:
    severities = [Severity.parse(one["Severity"]) for one in feature["Vulnerabilities"]]
    return {
        "package": feature["Name"],
        "version": feature["Version"],
        "layer": feature["AddedBy"],
        "number": len(severities),
        "worst": max(severities).label if severities else None,
    }


def _counts(features: list[dict[str, Any]]) -> dict[str, int]:
    """Return the number of vulnerabilities of each severity, of which there are any."""
    names = [one["Severity"] for feature in features for one in feature["Vulnerabilities"]]
    return {name: names.count(name) for name in KINDS if name in names}


def _web_link(links: str) -> str | None:
    """Return the first link to a web page; scanners may have any text there."""
    return next((one for one in links.split() if one.startswith("https://")), None)


def _severity(visit: Visit) -> str:
    severity = visit.req.get_param("severity") or ""
    if severity and severity not in KINDS:
        raise InvalidRequest(f"severity: must be one of {', '.join(KINDS)}")
    return severity


def _page_number(visit: Visit) -> int:
    text = visit.req.get_param("page") or "1"
    if not (text.isascii() and text.isdecimal() and int(text[:6]) > 0 and len(text) <= 6):  # noqa: PLR2004
        raise InvalidRequest("page: must be a number from 1")
    return int(text)
