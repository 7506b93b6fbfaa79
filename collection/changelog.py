#!/usr/bin/env python3
"""Check the news fragments in `changes/`, and build both changelogs from them for a release.

usage: collection/changelog.py check
       collection/changelog.py release VERSION

`CHANGELOG.md` is built by towncrier from all fragments; `changelogs/changelog.yaml`, in the format
that Ansible Galaxy shows, by antsibull-changelog from those of the collection. The release removes
the fragments.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
# Ansible's section for each type of fragment.
SECTIONS = {
    "added": "minor_changes",
    "changed": "major_changes",
    "fixed": "bugfixes",
    "security": "security_fixes",
}
_NAME = re.compile(rf"\+(?P<name>[a-z0-9-]+)\.(?P<kind>{'|'.join(SECTIONS)})\.md")
_COLLECTION = "collection-"
_LONGEST = 400


@dataclass(frozen=True)
class Fragment:
    """One entry of the changelog."""

    name: str
    kind: str
    text: str


class FragmentError(Exception):
    """A file in `changes/` is not a valid news fragment; the message names the problem."""


def read_fragments(directory: Path) -> list[Fragment]:
    """Return the fragments of a directory, in order of their names.

    Raises:
        FragmentError: a file has another name, is empty, or is too long for one entry.
    """
    found = []
    for path in sorted(directory.iterdir()):
        if path.name == "README.md":
            continue
        match = _NAME.fullmatch(path.name)
        if match is None:
            types = ", ".join(SECTIONS)
            raise FragmentError(f"{path.name}: must be named +NAME.TYPE.md, with TYPE {types}")
        text = " ".join(path.read_text("utf-8").split())
        if not text or len(text) > _LONGEST:
            raise FragmentError(f"{path.name}: must have 1 to {_LONGEST} characters")
        if text.startswith(("-", "*", "#")):
            raise FragmentError(f"{path.name}: must be plain text without a list or heading marker")
        found.append(Fragment(match["name"], match["kind"], text))
    return found


def ansible_fragment(fragments: Iterable[Fragment]) -> dict[str, list[str]]:
    """Return the entries about the collection by Ansible's sections, in reStructuredText."""
    sections: dict[str, list[str]] = {}
    for one in fragments:
        if one.name.startswith(_COLLECTION):
            # reStructuredText marks code with double backticks.
            text = re.sub(r"`([^`]+)`", r"``\1``", one.text)
            sections.setdefault(SECTIONS[one.kind], []).append(text)
    return sections


def release(version: str) -> None:
    """Write both changelogs for VERSION and remove the fragments."""
    entries = ansible_fragment(read_fragments(ROOT / "changes"))
    fragments = ROOT / "changelogs" / "fragments"
    fragments.mkdir(exist_ok=True)
    (fragments / f"{version}.yml").write_text(yaml.safe_dump(entries, width=96), "utf-8")
    subprocess.run(["antsibull-changelog", "release", "--version", version], cwd=ROOT, check=True)
    subprocess.run(["towncrier", "build", "--yes", "--version", version], cwd=ROOT, check=True)


def main(arguments: list[str]) -> int:
    """Run the command that ARGUMENTS name and return its exit status."""
    try:
        match arguments:
            case ["check"]:
                read_fragments(ROOT / "changes")
            case ["release", version]:
                release(version)
            case _:
                sys.stderr.write(f"{__doc__}")
                return 2
    except FragmentError as error:
        sys.stderr.write(f"changes/{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
