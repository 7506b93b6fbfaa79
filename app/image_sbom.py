#!/usr/bin/env python3
"""Write the software bill of materials of an image: Debian packages and Python distributions.

usage: app/image_sbom.py ROOT NAME >sbom.cdx.json

ROOT is the mounted file system of an image, NAME the image's name without its tag. The format is
CycloneDX 1.6 as JSON. The output is reproducible, so that an unchanged image keeps its digest.
Debian packages have no licences in it, because the images contain no copyright files of Debian.
"""

from __future__ import annotations

import email
import email.message
import json
import re
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

_SERIALS = uuid.UUID("6f0d6a5c-5a1b-4d43-8f0e-2f6d3c1e7a90")
_APPLICATION = "atoll"
_WHEELS = "opt/atoll/share/wheels.json"
_LONGEST_LICENCE = 100


def bill(root: Path, name: str) -> dict[str, Any]:
    """Return the bill of materials of an image, whose file system is mounted at `root`."""
    components = [*_debian(root), *_python(root)]
    components.sort(key=lambda component: str(component["bom-ref"]))
    content = json.dumps(components, sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_SERIALS, name + content)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": name, "name": name}},
        "components": components,
    }


def _debian(root: Path) -> Iterator[dict[str, Any]]:
    distribution = _release(root)
    status = (root / "var/lib/dpkg/status").read_text(encoding="utf-8")
    for paragraph in filter(None, re.split(r"\n\n+", status)):
        fields = email.message_from_string(paragraph)
        if not str(fields["Status"]).endswith(" installed"):
            continue
        name, version = str(fields["Package"]), str(fields["Version"])
        qualifiers = {"arch": str(fields["Architecture"]), "distro": distribution}
        if fields["Source"]:
            # Advisories refer to source packages. Their version is listed if it differs.
            source, _, other = str(fields["Source"]).partition(" ")
            qualifiers["upstream"] = source + (f"@{other.strip('()')}" if other else "")
        options = "&".join(f"{key}={quote(value, safe='')}" for key, value in qualifiers.items())
        purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?{options}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
        }


def _release(root: Path) -> str:
    text = (root / "etc/os-release").read_text(encoding="utf-8")
    fields = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.MULTILINE))
    return f"{fields['ID']}-{fields['VERSION_ID']}"


def _python(root: Path) -> Iterator[dict[str, Any]]:
    wheels = root / _WHEELS
    hashes = json.loads(wheels.read_text(encoding="utf-8")) if wheels.exists() else {}
    hashes = {_canonical(name): digest for name, digest in hashes.items()}
    for file in root.glob("opt/atoll/lib/python3*/site-packages/*.dist-info/METADATA"):
        fields = email.message_from_string(file.read_text(encoding="utf-8"))
        name, version = _canonical(str(fields["Name"])), str(fields["Version"])
        purl = f"pkg:pypi/{quote(name, safe='')}@{quote(version, safe='')}"
        component: dict[str, Any] = {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
        }
        if name == _APPLICATION:
            component |= {"type": "application", "bom-ref": f"{name}@{version}"}
        else:
            component["purl"] = purl
        if name in hashes:
            component["hashes"] = [{"alg": "SHA-256", "content": hashes[name]}]
        licences = _licences(fields)
        if licences:
            component["licenses"] = licences
        yield component


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _licences(fields: email.message.Message) -> list[dict[str, Any]]:
    if fields["License-Expression"]:
        return [{"expression": str(fields["License-Expression"])}]
    named = [
        str(value).rpartition(" :: ")[2]
        for value in fields.get_all("Classifier", [])
        if str(value).startswith("License :: ")
    ]
    if not named and fields["License"] and len(str(fields["License"])) <= _LONGEST_LICENCE:
        named = [str(fields["License"])]
    return [{"license": {"name": name}} for name in sorted(set(named))]


def main(arguments: list[str]) -> int:
    """Write the bill of materials to standard output."""
    if len(arguments) != 2:  # noqa: PLR2004
        sys.stderr.write("usage: app/image_sbom.py ROOT NAME\n")
        return 64
    json.dump(bill(Path(arguments[0]), arguments[1]), sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
