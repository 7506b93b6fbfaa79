"""The bill of materials lists every package of an image and conforms to CycloneDX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from image_sbom import bill

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.41-12+deb13u1

Package: removed
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: nginx
Status: install ok installed
Architecture: amd64
Source: nginx (1.26.3-3)
Version: 1:1.26.3-3+b1
Description: server
 Version: 9 is not a field
"""
METADATA = """Metadata-Version: 2.4
Name: {name}
Version: {version}
{licence}

A description.
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text('NAME="Debian"\nID=debian\nVERSION_ID="13"\n')
    packages = tmp_path / "opt/atoll/lib/python3.13/site-packages"
    for name, version, licence in (
        ("PyYAML", "6.0.3", "Classifier: License :: OSI Approved :: MIT License"),
        ("typing_extensions", "4.16.0", "License-Expression: PSF-2.0"),
        ("atoll", "0.1.0", "License-Expression: Apache-2.0"),
    ):
        folder = packages / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        text = METADATA.format(name=name, version=version, licence=licence)
        (folder / "METADATA").write_text(text)
    (tmp_path / "opt/atoll/share").mkdir()
    wheels = {"PyYAML": "a" * 64, "typing_extensions": "b" * 64}
    (tmp_path / "opt/atoll/share/wheels.json").write_text(json.dumps(wheels))
    return tmp_path


def components(root: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in bill(root, "localhost/atoll-registry")["components"]}


def test_installed_debian_packages_are_listed_with_their_source(root: Path) -> None:
    found = components(root)
    assert "removed" not in found
    assert found["libc6"]["purl"] == (
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=debian-13&upstream=glibc"
    )
    assert found["nginx"]["version"] == "1:1.26.3-3+b1"
    assert found["nginx"]["purl"].endswith("&upstream=nginx%401.26.3-3")


def test_wheels_are_listed_with_licence_and_hash(root: Path) -> None:
    found = components(root)
    assert found["pyyaml"]["purl"] == "pkg:pypi/pyyaml@6.0.3"
    assert found["pyyaml"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert found["pyyaml"]["licenses"] == [{"license": {"name": "MIT License"}}]
    assert found["typing-extensions"]["licenses"] == [{"expression": "PSF-2.0"}]
    assert found["typing-extensions"]["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert found["atoll"]["type"] == "application"
    assert "purl" not in found["atoll"]


def test_the_output_is_reproducible(root: Path) -> None:
    assert bill(root, "a") == bill(root, "a")
    assert bill(root, "a")["serialNumber"] != bill(root, "b")["serialNumber"]


def test_the_output_conforms_to_the_schema(root: Path) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    text = json.dumps(bill(root, "localhost/atoll-registry"))
    assert validator.validate_str(text) is None
