"""Filters that put together, on the controller, what the hosts of a registry told of themselves."""

from __future__ import annotations

import base64
import importlib
import math
from datetime import UTC, datetime

# Characters of a checksum that are shown.
SHOWN = 12


def registry_report(answers, sites, certificate_days):
    """Return how a registry is, by the answers of module host_info by host.

    SITES are the names of the sites by their hosts. A certificate that ends within so many days is
    a finding.
    """
    hosts = [_host(name, answer, sites.get(name, "")) for name, answer in answers.items()]
    findings = [f"{host['host']}: {problem}" for host in hosts for problem in host["problems"]]
    for host in hosts:
        findings += _ending(host, certificate_days)
    for key in ("image", "version", "bundle"):
        findings += _differing(hosts, key)
    told = [answer["registry"] for answer in answers.values() if answer.get("registry")]
    if told:
        findings += told[0]["problems"]
    elif sites:
        findings.append("no site could be asked for the stores, and for what is to be copied")
    registry = told[0] if told else {"locations": [], "instances": []}
    return {
        "healthy": not findings,
        "findings": findings,
        "hosts": hosts,
        "locations": registry["locations"],
        "instances": registry["instances"],
    }


def registry_table(report):
    """Return the lines of a report that a person reads."""
    hosts = [("host", "site", "image", "version", "bundle", "services", "well", "certificate")]
    hosts += [_host_row(host) for host in report["hosts"]]
    locations = [("location", "state", "store", "to copy", "bytes", "oldest", "failing")]
    locations += [_location_row(location) for location in report["locations"]]
    lines = [*_aligned(hosts), "", *_aligned(locations), ""]
    if not report["findings"]:
        return [*lines, "All is well."]
    return lines + [f"! {finding}" for finding in report["findings"]]


def _host(name, answer, site):
    if "units" not in answer:
        said = str(answer.get("msg") or "it gave no answer").removeprefix("Task failed: ")
        away = answer.get("unreachable")
        problem = f"cannot be reached: {said}" if away else f"could not be looked at: {said}"
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
            endpoint: _end(served) for endpoint, served in answer.get("certificates", {}).items()
        },
        "problems": list(answer["problems"]),
    }


def _end(served):
    """Return when a certificate ends, as text and in days from now."""
    # Ansible itself needs it, and so has it; but not where only its documentation is looked at.
    x509 = importlib.import_module("cryptography.x509")
    end = x509.load_der_x509_certificate(base64.b64decode(served)).not_valid_after_utc
    days = math.floor((end - datetime.now(UTC)).total_seconds() / 86400)
    return {"ends": end.isoformat(), "days": days}


def _ending(host, certificate_days):
    return [
        f"{host['host']}: the certificate of its {endpoint} "
        + ("ended" if found["days"] < 0 else "ends")
        + f" on {found['ends'][:10]}"
        for endpoint, found in host["certificates"].items()
        if found["days"] < certificate_days
    ]


def _differing(hosts, key):
    """Return a sentence if not all hosts have the same; it names who has which."""
    owners = {}
    for host in hosts:
        if host[key]:
            owners.setdefault(host[key], []).append(host["host"])
    if len(owners) <= 1:
        return []
    told = "; ".join(f"{_short(value)} on {', '.join(names)}" for value, names in owners.items())
    return [f"the hosts differ in their {key}: {told}"]


def _short(value):
    """Return enough of a checksum, or of an image's digest, to tell it from others."""
    return value.rpartition("@sha256:")[2][:SHOWN]


def _host_row(host):
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


def _location_row(location):
    seen = [one["up"] for one in location["seen_by"]]
    up = sum(1 for one in seen if one)
    store = "up" if seen and up == len(seen) else f"up for {up} of {len(seen)}"
    pending = location["pending_blobs"]
    return (
        location["location"],
        location["state"],
        store if seen else "nobody looks",
        str(pending),
        str(location["pending_bytes"]),
        f"{location['oldest_seconds']:.0f} s" if pending else "-",
        str(location["failing_blobs"]),
    )


def _aligned(rows):
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


class FilterModule:
    """The filters by their names."""

    def filters(self):
        """Return the filters by their names."""
        return {"registry_report": registry_report, "registry_table": registry_table}
