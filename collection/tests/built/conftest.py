"""The collection as users install it: built, and installed outside the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from checkout import copy_checkout
from operator_inventory import make_inventory

ROOT = Path(__file__).resolve().parents[3]
TOOLS = Path(sys.executable).parent


@dataclass
class Machine:
    """A home directory outside the repository, and the commands that run there."""

    home: Path
    installed: bool = True

    @property
    def collection(self) -> Path:
        return self.home / "ansible_collections" / "atoll" / "registry"

    def run(self, *words: str, directory: Path | None = None) -> str:
        """Run one of Ansible's commands and return its output."""
        environment = {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": f"{TOOLS}:{os.environ['PATH']}",
        }
        if self.installed:
            environment["ANSIBLE_COLLECTIONS_PATH"] = str(self.home)
        done = subprocess.run(
            words,
            check=False,
            cwd=directory or self.home,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, (
            f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}"
        )
        return done.stdout


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Build the collection and install it, without a network."""
    made = Machine(tmp_path_factory.mktemp("machine"))
    made.run("ansible-galaxy", "collection", "build", "--output-path", str(made.home), str(ROOT))
    (archive,) = made.home.glob("atoll-registry-*.tar.gz")
    made.run(
        "ansible-galaxy", "collection", "install", "--offline", "-p", str(made.home), str(archive)
    )
    return made


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Copy the files in version control to an empty home directory."""
    made = Machine(tmp_path_factory.mktemp("clone"), installed=False)
    copy_checkout(ROOT, made.home)
    return made


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Copy the example inventory and replace its examples, as an operator does."""
    return make_inventory(ROOT, tmp_path / "yours")
