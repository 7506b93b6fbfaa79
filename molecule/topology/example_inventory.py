"""Write inventories/example for the machines of the lab to .cache/topology-inventory.

Names, addresses and secrets are replaced, and the files of this scenario are added.
Everything else is the example as it is shipped.
"""

import secrets
import shutil
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[2]
_EXAMPLE = _REPOSITORY / "inventories/example"
_ADDED = [Path(__file__).resolve().parent / name for name in ("inventory", "joining")]
_INVENTORY = _REPOSITORY / ".cache/topology-inventory"

# Text of the example, and what replaces it.
_REPLACEMENTS = (
    ("192.0.2.", "10.205.1."),
    ("198.51.100.", "10.205.2."),
    ("ceph.eu.example.org", "eu-store.example.org"),
    ("port: 443\n        is_secure: true", "port: 7480\n        is_secure: true"),
    # The store of site us is a Ceph gateway instead of Amazon S3.
    (
        "s3_region: us-east-1\n",
        "s3_region: us-east-1\n        host: us-store.example.org\n        port: 7480\n",
    ),
    ("example.org", "atoll-topology.test"),
)


def main() -> None:
    """Write the inventory, and keep the secrets of an earlier run."""
    vault = _INVENTORY / "group_vars/all/vault.yml"
    kept = vault.read_text() if vault.exists() else _secrets()
    shutil.rmtree(_INVENTORY, ignore_errors=True)
    shutil.copytree(_EXAMPLE, _INVENTORY)
    # Of the two ways to deploy images, the lab uses archives.
    (_INVENTORY / "group_vars/atoll/images.yml").unlink()
    _replace(sorted(_INVENTORY.rglob("*.yml")))
    for folder in _ADDED:
        shutil.copytree(folder, _INVENTORY, dirs_exist_ok=True)
    vault.touch(mode=0o600)
    vault.write_text(kept)


def _secrets() -> str:
    example = (_EXAMPLE / "group_vars/all/vault.yml.example").read_text()
    first, *others = example.split("change-me")
    return first + "".join(secrets.token_hex(32) + text for text in others)


def _replace(files: list[Path]) -> None:
    texts = {file: file.read_text() for file in files}
    for example, lab in _REPLACEMENTS:
        if not any(example in text for text in texts.values()):
            raise SystemExit(f"inventories/example no longer contains {example!r}")
        texts = {file: text.replace(example, lab) for file, text in texts.items()}
    for file, text in texts.items():
        file.write_text(text)


main()
