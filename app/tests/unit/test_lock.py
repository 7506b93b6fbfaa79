"""The lock files pin and hash every dependency of pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME, DEVELOPMENT = "requirements.lock", "requirements-dev.lock"
BUILD = PROJECT["dependency-groups"]["build"]
NAMED = {
    RUNTIME: [*PROJECT["project"]["dependencies"], *BUILD],
    DEVELOPMENT: [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["dev"],
        *BUILD,
    ],
}
ENTRY = re.compile(r"^(?P<pin>[A-Za-z][^\\\n]*?) \\\n(?P<hashes>(?:    --hash=.*\n)+)", re.M)


def locked(file: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Return version specifier and hashes of each entry of a lock file, by name."""
    text = (ROOT / file).read_text()
    entries = {}
    for match in ENTRY.finditer(text):
        pin = Requirement(match["pin"])
        hashes = re.findall(r"--hash=(sha256:[0-9a-f]{64})(?![0-9a-f])", match["hashes"])
        entries[canonicalize_name(pin.name)] = (str(pin.specifier), frozenset(hashes))
    return entries


@pytest.mark.parametrize("file", [RUNTIME, DEVELOPMENT])
def test_each_entry_is_pinned_and_hashed(file: str) -> None:
    text = (ROOT / file).read_text()
    entries = locked(file)
    assert len(entries) == len(re.findall(r"^[A-Za-z]", text, re.M))
    for name, (specifier, hashes) in entries.items():
        assert re.fullmatch(r"==[^,*]+", specifier), name
        assert hashes, name
    assert "://" not in text
    assert "--index-url" not in text


@pytest.mark.parametrize("file", [RUNTIME, DEVELOPMENT])
def test_direct_dependencies_are_locked_at_the_pinned_version(file: str) -> None:
    entries = locked(file)
    for text in NAMED[file]:
        requirement = Requirement(text)
        found = entries.get(canonicalize_name(requirement.name), ("not locked", frozenset()))
        assert found[0] == str(requirement.specifier), f"{requirement.name}; run `make lock`"


def test_runtime_dependencies_are_part_of_the_development_environment() -> None:
    development = locked(DEVELOPMENT)
    for name, entry in locked(RUNTIME).items():
        assert development[name] == entry


def test_the_build_backend_is_locked() -> None:
    assert PROJECT["build-system"]["requires"] == BUILD


def test_images_and_environments_install_only_from_lock_files() -> None:
    for file in ("app/Containerfile", "molecule/lab/setup"):
        words = (ROOT / file).read_text().replace("\\\n", " ")
        installs = re.findall(r"pip install [^&|\n]*", words)
        assert installs, file
        for install in installs:
            if "--no-deps" in install:
                assert "--no-build-isolation" in install, install
            else:
                assert "--require-hashes" in install, install
                assert "--only-binary :all:" in install, install
