"""The inventory of registries on clusters."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from atoll.errors import UserError
from atoll.kubernetes.bundle_directory import BundleDirectory
from atoll.kubernetes.findings import Finding, Findings, Place
from atoll.kubernetes.inventory_file import inventory_text
from atoll.kubernetes.quay_registry import read_registries
from atoll.kubernetes.sites import Site

GROUP = "atoll_kubernetes"


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        files: the files that were converted.
        variables: those of the group of all clusters.
        hosts: the variables of each site.
        problems: what has to be resolved before a rollout.
        notes: what is different, and needs no action.
    """

    files: list[str]
    variables: dict[str, Any]
    hosts: dict[str, dict[str, Any]]
    problems: list[Finding]
    notes: list[Finding]

    def as_yaml(self) -> str:
        """Return the inventory as a file, with its problems as comments."""
        comments = [f"Converted by 'atoll kubernetes convert' from {', '.join(self.files)}."]
        if self.problems:
            comments.append("Resolve these problems before a rollout:")
            comments += [f"- {problem}" for problem in self.problems]
        return inventory_text(GROUP, self.variables, self.hosts, comments)

    def as_dict(self) -> dict[str, Any]:
        """Return the result for JSON."""
        return {
            "inventory": {GROUP: {"vars": self.variables, "hosts": self.hosts}},
            "problems": [one.as_dict() for one in self.problems],
            "notes": [one.as_dict() for one in self.notes],
        }


def convert(texts: Mapping[str, str], bundle: BundleDirectory) -> Conversion:
    """Convert QuayRegistry files to an inventory.

    Args:
        texts: the content of each file by its path.
        bundle: the bundle of all registries.

    Raises:
        UserError: a file cannot be converted at all.
    """
    findings = Findings()
    sites = [
        Site(registry, findings)
        for file, text in texts.items()
        for registry in read_registries(text, file)
    ]
    default = bundle.preference if len(sites) == 1 else []
    for site in sites:
        site.complete_preference(default, bundle.locations)
    bundle.check(next((site.preference for site in sites if site.preference), []), findings)
    _compare(sites, findings)
    shared = bundle.variables(findings, mirror=any(site.runs_mirror for site in sites))
    names = _names(sites)
    hosts = {
        name: site.variables(name, bundle.workloads)
        for name, site in zip(names, sites, strict=True)
    }
    findings.note(
        Place(bundle.file),
        "nothing names the image of Atoll: set registry_image to NAME@sha256:DIGEST",
    )
    files = list(texts)
    return Conversion(
        files, shared, hosts, _sorted(findings.problems, files), _sorted(findings.notes, files)
    )


def _sorted(found: list[Finding], files: list[str]) -> list[Finding]:
    """Return findings in the order of the files and their lines; the bundle comes last."""
    order = {file: number for number, file in enumerate(files)}
    return sorted(
        found, key=lambda one: (order.get(one.place.file, len(files)), one.place.line or 0)
    )


def _compare(sites: list[Site], findings: Findings) -> None:
    """Find what all registries should have in common, and what they should not."""
    first = sites[0].registry.secret
    writers: dict[str, Site] = {}
    for site in sites:
        registry = site.registry
        if registry.secret != first:
            findings.note(
                registry.place("configBundleSecret"),
                f"configBundleSecret is {registry.secret or 'missing'}, and {first or 'missing'} in"
                " the first file: all sites get the bundle of --bundle",
            )
        for location in site.preference[:1]:
            other = writers.setdefault(location, site)
            if other is not site:
                findings.note(
                    registry.document.place(),
                    f"the site writes to {location} first, as that of"
                    f" {other.registry.document.file} does; usually each site has its own store",
                )


def _names(sites: list[Site]) -> list[str]:
    """Return the names of the sites: those of their files, or else of their first locations.

    Raises:
        UserError: two sites would have the same name.
    """
    names = [_slug(PurePath(site.registry.document.file).stem) for site in sites]
    counts = Counter(names)
    for index, site in enumerate(sites):
        if not names[index] or counts[names[index]] > 1:
            names[index] = _slug(site.preference[0] if site.preference else "")
    name, count = Counter(names).most_common(1)[0]
    if count > 1 or not all(names):
        raise UserError(
            f"{count} sites would be named '{name}': give each QuayRegistry a file that has the"
            " name of its site, such as us.yaml"
        )
    return names


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-")
