"""A copy of the example inventory is read without warnings."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tools import TOOLS

NAMES = ("ca.crt", "registry.crt", "registry.key", "postgres.crt", "postgres.key", "redis.crt")


@pytest.fixture
def copy(root, tmp_path):
    """Copy the example, as an operator does, and add the files that it refers to."""
    shutil.copytree(root / "inventories/example", tmp_path / "yours")
    variables = tmp_path / "yours/group_vars/all"
    shutil.copy(variables / "vault.yml.example", variables / "vault.yml")
    return tmp_path / "yours"


def read_inventory(source):
    """Read an inventory without a configuration file, and fail if there is a warning."""
    done = subprocess.run(
        [TOOLS / "ansible-inventory", "--inventory", source, "--host", "us-1.example.org"],
        check=False,
        cwd=source.parent,
        env={"PATH": os.environ["PATH"], "HOME": str(source.parent), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("source", [".", "hosts.yml"])
def test_certificates_and_keys_beside_the_variables_cause_no_warning(copy, source):
    template = read_inventory(copy / source)["tls_directory"]
    directory = Path(template.replace("{{ inventory_dir }}", str(copy)))
    assert copy in directory.parents
    directory.mkdir()
    for name in NAMES:
        (directory / name).write_text("-----BEGIN CERTIFICATE-----\nnot: [yaml\n")

    variables = read_inventory(copy / source)

    assert variables["registry_site"] == "us"
    assert not set(variables) & {"ca", "not", "tls"}
