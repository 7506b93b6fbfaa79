"""The collection as users install it: built, and installed outside the repository."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from checkout import copy_checkout

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
    yours = tmp_path / "yours"
    shutil.copytree(ROOT / "inventories/example", yours)
    for path in yours.rglob("*.yml"):
        text = path.read_text()
        for example, value in _VALUES.items():
            text = text.replace(example, value)
        path.write_text(text)
    variables = yours / "group_vars/all"
    names = yaml.safe_load((variables / "vault.yml.example").read_text())
    secret = {name: secrets.token_hex(32) for name in names}
    (variables / "vault.yml").write_text(yaml.safe_dump(secret))
    _make_certificates(yours / "group_vars/atoll/tls")
    return yours


_VALUES = {
    "example.org": "registry.internal",
    "192.0.2.": "10.20.1.",
    "198.51.100.": "10.20.2.",
    "0" * 64: "4c7e" * 16,
}


def _make_certificates(folder: Path) -> None:
    """Make a CA, and certificates for the names and addresses in the inventory."""
    folder.mkdir()
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca = ["-x509", "-days", "3650", "-subj", "/CN=CA", "-keyout", "ca.key", "-out", "ca.crt"]
    _openssl(folder, "req", *key, *ca)
    names = {
        "registry": "DNS:registry.registry.internal",
        "postgres": "IP:10.20.1.10",
        "redis": "IP:10.20.1.10",
    }
    for name, alternative in names.items():
        files = ["-keyout", f"{name}.key", "-out", f"{name}.csr"]
        extension = ["-addext", f"subjectAltName={alternative}"]
        _openssl(folder, "req", *key, "-subj", f"/CN={name}", *extension, *files)
        signer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "365"]
        request = ["-in", f"{name}.csr", "-copy_extensions", "copy", "-out", f"{name}.crt"]
        _openssl(folder, "x509", "-req", *signer, *request)


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], check=True, cwd=folder, capture_output=True)
