"""The packages of a report are those that Syft, another scanner, finds in the same image."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sysconfig
import tarfile
from pathlib import Path
from typing import Any

import pytest
from atoll.scanning.security_document import security_document

from ..clair.recordings import DIRECTORY, recording
from .mirror_images import put
from .scanning_stack import Stack, scanning_stack
from .sites import MANIFEST_TYPE, image_manifest

__all__ = ["scanning_stack"]

# Advisories of lab/tracker-1.json: an installed version without the fix, the same for a package
# that has the fix, and one whose fixed version "0" means that no version was ever affected.
FIXABLE, FIXED_VERSION = "CVE-2099-1001", "3.0.17-1~deb12u99"
NOT_AFFECTED = ("CVE-2099-1002", "CVE-2099-1004")
OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n'

Packages = set[tuple[str, str]]


@pytest.fixture
def stack(scanning_stack: Stack) -> Stack:
    return scanning_stack


def packages_by_syft(root: Path) -> Packages:
    """Return the names and versions of the Debian packages below a directory."""
    program = shutil.which("syft", path=sysconfig.get_path("scripts"))
    assert program is not None, "syft is not installed; `make setup` installs it"
    run = subprocess.run(
        [program, "scan", f"dir:{root}", "--quiet", "--output", "json"],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
    )
    found = json.loads(run.stdout)["artifacts"]
    return {(one["name"], one["version"]) for one in found if one["type"] == "deb"}


def features(report: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report["data"]["Layer"]["Features"]
    return found


def packages(report: Any) -> Packages:
    return {(one["Name"], one["Version"]) for one in features(report)}


def test_a_scanned_image_has_the_packages_and_vulnerabilities_of_its_layers(
    stack: Stack, tmp_path: Path
) -> None:
    layer = (DIRECTORY / "lab" / "layer-small").read_bytes()
    config = b"config"
    stack.us.push(config)
    stack.us.push(layer)
    digest = put(stack.us, image_manifest(config, [layer]), MANIFEST_TYPE, "v1")
    stack.scan_all()
    report = stack.security(digest)
    assert report["status"] == "scanned"
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        archive.extractall(tmp_path / "root", filter="data")
    assert packages(report) == packages_by_syft(tmp_path / "root")
    found = {
        (package["Name"], one["Name"]): one["FixedBy"]
        for package in features(report)
        for one in package["Vulnerabilities"]
    }
    assert found["openssl", FIXABLE] == FIXED_VERSION
    assert not {name for _, name in found}.intersection(NOT_AFFECTED)


def test_the_report_of_a_debian_image_has_all_packages_of_its_database(tmp_path: Path) -> None:
    """The layers of the image were not recorded, so its database is made from the index report."""
    index = recording("13").response
    report = recording("15").response
    assert index is not None
    assert report is not None
    databases = {
        identifier: environments[0]["package_db"]
        for identifier, environments in index.document["environments"].items()
    }
    entries = [
        f"Package: {one['name']}\nStatus: install ok installed\nArchitecture: {one['arch']}\n"
        f"Version: {one['version']}\nDescription: a package\n"
        for identifier, one in index.document["packages"].items()
        if databases[identifier] == "var/lib/dpkg/status"
    ]
    directory = tmp_path / "root" / "var" / "lib" / "dpkg"
    directory.mkdir(parents=True)
    (directory / "status").write_text("\n".join(entries))
    (tmp_path / "root" / "etc").mkdir()
    (tmp_path / "root" / "etc" / "os-release").write_text(OS_RELEASE)
    digest = report.document["manifest_hash"]
    document = security_document(report.document, digest=digest, with_vulnerabilities=True)
    dpkg = packages_by_syft(tmp_path / "root")
    assert len(dpkg) == len(entries)
    others = {
        (one["name"], one["version"])
        for identifier, one in index.document["packages"].items()
        if databases[identifier] != "var/lib/dpkg/status"
    }
    assert packages({"data": document}) - others == dpkg
