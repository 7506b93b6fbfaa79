"""The playbooks have valid syntax, and validate an inventory."""

import os
import subprocess

import pytest
from operator_inventory import make_inventory
from tools import TOOLS


@pytest.fixture
def play(root, tmp_path):
    """Return a function that runs ansible-playbook with an operator's inventory."""
    inventory = make_inventory(root, tmp_path / "yours")

    def run(*words):
        done = subprocess.run(
            [TOOLS / "ansible-playbook", "--inventory", inventory, *words],
            check=False,
            cwd=root,
            env={**os.environ, "HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run


def test_each_playbook_has_valid_syntax(root, play):
    playbooks = sorted(root.glob("playbooks/*.yml"))
    output = play("--syntax-check", *playbooks)

    for playbook in playbooks:
        assert f"playbook: {playbook}" in output


def test_an_inventory_is_validated_without_warnings_of_ansible(play):
    output = play("playbooks/validate.yml")

    assert "failed=0" in output
    assert "[WARNING]" not in output
    assert "DEPRECATION" not in output
