"""Filters that build the status report of a registry from the results of its hosts."""

from __future__ import annotations

import base64
import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

# The number of characters of a checksum to show.
SHOWN = 12


def registry_report(
    answers: Mapping[str, Any],
    sites: Mapping[str, str],
    certificate_days: int,
    clusters: Sequence[Mapping[str, Any]] = (),
    addresses: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the status report of a registry.

    Args:
        answers: The result of the module host_info, by host.
        sites: The site, by host.
        certificate_days: A certificate that expires within this number of days is a finding.
        clusters: The result of the filter cluster_reports.
        addresses: The result of the module host_info for the addresses of clusters, by site.
    """
    hosts = [_host(name, answer, sites.get(name, "")) for name, answer in answers.items()]
    findings = [f"{host['host']}: {problem}" for host in hosts for problem in host["problems"]]
    for host in hosts:
        findings += _expiring(host, certificate_days)
    for key in ("image", "version", "bundle"):
        findings += _differing(hosts, key)
    reports = [answer["registry"] for answer in answers.values() if answer.get("registry")]
    if reports:
        findings += reports[0]["problems"]
    elif sites:
        findings.append("no site reports the health of the stores and the replication lag")
    registry = reports[0] if reports else {"locations": [], "instances": []}
    rows = [_cluster(one, (addresses or {}).get(one["site"], {})) for one in clusters]
    for row in rows:
        # If no site is on hosts, no host can report the instances: that is not a failure.
        findings += [
            f"site {row['site']}: {problem}"
            for problem in row["problems"]
            if row["known"] or sites or problem in row["address_problems"]
        ]
        findings += _expiring({**row, "host": f"site {row['site']}"}, certificate_days)
    found: dict[str, Any] = {"clusters": rows} if rows else {}
    return {
        "healthy": not findings,
        "findings": findings,
        "hosts": hosts,
        "locations": registry["locations"],
        "instances": registry["instances"],
        **found,
    }


def registry_table(report: Mapping[str, Any]) -> list[str]:
    """Return a status report as lines of text."""
    hosts: list[tuple[str, ...]] = [
        ("host", "site", "image", "version", "bundle", "services", "healthy", "certificate")
    ]
    hosts += [_host_row(host) for host in report["hosts"]]
    locations: list[tuple[str, ...]] = [
        ("location", "state", "store", "to copy", "bytes", "oldest", "failing")
    ]
    locations += [_location_row(location) for location in report["locations"]]
    lines = [*_aligned(hosts), "", *_clusters(report), *_aligned(locations), ""]
    if not report["findings"]:
        unknown = [one["status"] for one in report.get("clusters", []) if not one["known"]]
        if unknown:
            return [*lines, "No site is on hosts, so ask an instance:", *unknown]
        return [*lines, "The registry is healthy."]
    return lines + [f"! {finding}" for finding in report["findings"]]


def _host(name: str, answer: Mapping[str, Any], site: str) -> dict[str, Any]:
    if "units" not in answer:
        cause = str(answer.get("msg") or "no result").removeprefix("Task failed: ")
        unreachable = answer.get("unreachable")
        problem = f"cannot be reached: {cause}" if unreachable else f"has no status: {cause}"
        answer = {"problems": [" ".join(problem.split())]}
    return {
        "host": name,
        "site": site,
        "reachable": "units" in answer,
        "image": answer.get("image", ""),
        "version": answer.get("version", ""),
        "bundle": answer.get("bundle", ""),
        "services": answer.get("units", {}),
        "certificates": {
            endpoint: _expiry(served) for endpoint, served in answer.get("certificates", {}).items()
        },
        "problems": list(answer["problems"]),
    }


def _cluster(cluster: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of a site on a cluster, of which other hosts and the registry report."""
    instances = cluster["instances"]
    address_problems = list(answer.get("problems", []))
    if answer and "problems" not in answer:
        cause = " ".join(str(answer.get("msg") or "no result").split())
        address_problems = [f"its address could not be checked: {cause}"]
    return {
        "site": cluster["site"],
        "namespace": cluster["namespace"],
        "known": cluster["known"],
        "status": cluster["status"],
        "versions": sorted({one["version"] for one in instances}),
        "bundles": sorted({one["bundle"] for one in instances if one["bundle"]}),
        "instances": instances,
        "certificates": {
            endpoint: _expiry(served) for endpoint, served in answer.get("certificates", {}).items()
        },
        "address_problems": address_problems,
        "problems": [*cluster["problems"], *address_problems],
    }


def _clusters(report: Mapping[str, Any]) -> list[str]:
    """Return the table of sites on clusters, and an empty line; nothing if there are none."""
    rows: list[tuple[str, ...]] = [
        ("cluster site", "namespace", "version", "bundle", "instances", "healthy", "certificate")
    ]
    for cluster in report.get("clusters", []):
        ends = [found["ends"][:10] for found in cluster["certificates"].values()]
        unknown = not cluster["known"] and not cluster["address_problems"]
        rows.append(
            (
                cluster["site"],
                cluster["namespace"],
                ", ".join(cluster["versions"]) or "-",
                ", ".join(value[:SHOWN] for value in cluster["bundles"]) or "-",
                str(len(cluster["instances"])) if cluster["known"] else "unknown",
                "unknown" if unknown else "no" if cluster["problems"] else "yes",
                min(ends, default="-"),
            )
        )
    return [*_aligned(rows), ""] if len(rows) > 1 else []


def _expiry(served: str) -> dict[str, Any]:
    """Return when a certificate expires, as text and in days from now."""
    # Ansible itself requires cryptography, but tools that only read the documentation may lack it.
    x509 = importlib.import_module("cryptography.x509")
    end = x509.load_der_x509_certificate(base64.b64decode(served)).not_valid_after_utc
    days = math.floor((end - datetime.now(UTC)).total_seconds() / 86400)
    return {"ends": end.isoformat(), "days": days}


def _expiring(host: Mapping[str, Any], certificate_days: int) -> list[str]:
    return [
        f"{host['host']}: the certificate of its {endpoint} "
        + ("expired" if found["days"] < 0 else "expires")
        + f" on {found['ends'][:10]}"
        for endpoint, found in host["certificates"].items()
        if found["days"] < certificate_days
    ]


def _differing(hosts: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """Return a sentence that names the hosts with each value, unless all have the same."""
    owners: dict[str, list[str]] = {}
    for host in hosts:
        if host[key]:
            owners.setdefault(host[key], []).append(host["host"])
    if len(owners) <= 1:
        return []
    values = "; ".join(f"{_short(value)} on {', '.join(names)}" for value, names in owners.items())
    return [f"the hosts differ in their {key}: {values}"]


def _short(value: str) -> str:
    """Return the part of a checksum, or of an image's digest, that identifies it to a reader."""
    return value.rpartition("@sha256:")[2][:SHOWN]


def _host_row(host: Mapping[str, Any]) -> tuple[str, ...]:
    services = host["services"]
    running = sum(1 for state in services.values() if state == "active")
    ends = [found["ends"][:10] for found in host["certificates"].values()]
    return (
        host["host"],
        host["site"] or "-",
        _short(host["image"]) or "-",
        host["version"] or "-",
        _short(host["bundle"]) or "-",
        f"{running} of {len(services)} run" if host["reachable"] else "unknown",
        "no" if host["problems"] else "yes",
        min(ends, default="-"),
    )


def _location_row(location: Mapping[str, Any]) -> tuple[str, ...]:
    seen = [one["up"] for one in location["seen_by"]]
    up = sum(1 for one in seen if one)
    store = "up" if seen and up == len(seen) else f"up for {up} of {len(seen)}"
    pending = location["pending_blobs"]
    return (
        location["location"],
        location["state"],
        store if seen else "unknown",
        str(pending),
        str(location["pending_bytes"]),
        f"{location['oldest_seconds']:.0f} s" if pending else "-",
        str(location["failing_blobs"]),
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"registry_report": registry_report, "registry_table": registry_table}
