"""An inventory as an operator makes it from the example, with values that pass validation."""

import secrets
import shutil
import subprocess
from pathlib import Path

import yaml


def make_inventory(root: Path, yours: Path) -> Path:
    """Copy the example inventory to a new directory, and replace its examples."""
    shutil.copytree(root / "inventories/example", yours)
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
