"""Fixtures for an operator's first hour: an installed collection and an empty directory."""

import os
import subprocess
import sys
from pathlib import Path

import definition
import pytest
from commands import REPOSITORY
from definition import Lab

_INVENTORY = Path(__file__).resolve().parents[1] / "inventory/machines.yml"


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read((_INVENTORY,))


class Operator:
    """Runs playbooks of the installed collection in a directory without a configuration."""

    def __init__(self, directory: Path, collections: Path) -> None:
        self.directory = directory
        self._programs = Path(sys.executable).parent
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
        }
        self._environment = kept | {
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_NOCOLOR": "1",
            # The operator's file of SSH: machines are recreated with new host keys.
            "ANSIBLE_SSH_COMMON_ARGS": (
                "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
            ),
            "PWD": str(directory),
        }

    def run(self, program: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a program of Ansible, and return its output even if it fails."""
        return subprocess.run(
            [str(self._programs / program), *words],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture(scope="session")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Operator:
    """Build and install the collection."""
    built = tmp_path_factory.mktemp("built")
    galaxy = str(Path(sys.executable).with_name("ansible-galaxy"))
    build = [galaxy, "collection", "build", str(REPOSITORY), "--output-path", str(built)]
    subprocess.run(build, check=True, capture_output=True)
    operator = Operator(tmp_path_factory.mktemp("empty"), built)
    (archive,) = built.glob("*.tar.gz")
    done = operator.run(
        "ansible-galaxy", "collection", "install", "--offline", "-p", str(built), str(archive)
    )
    assert done.returncode == 0, done.stdout
    return operator
