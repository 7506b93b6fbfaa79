"""`playbooks/init.yml` from an empty directory, as an operator runs it."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
import yaml

# Placeholders are errors of the validation.
REPLACEMENTS = {"example.org": "acme.test", "192.0.2.": "10.1.0.", "198.51.100.": "10.2.0."}
DIGEST = "5d0c1a9e7b3f4826" * 4


@pytest.fixture
def ansible(root, tmp_path):
    """Return a function that runs a playbook in an empty working directory."""

    def run(playbook, *words, accepted=0):
        done = subprocess.run(
            ["ansible-playbook", str(root / "playbooks" / playbook), *words],
            cwd=tmp_path,
            env=os.environ
            | {
                "ANSIBLE_CONFIG": str(root / "ansible.cfg"),
                "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
                "PWD": str(tmp_path),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == accepted, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def answers(root, tmp_path):
    """Write the example's answers with image references, and without its names and addresses."""
    text = (root / "inventories/example-answers.yml").read_text()
    for documented, real in REPLACEMENTS.items():
        text = text.replace(documented, real)
    given = yaml.safe_load(text)
    given["atoll_images"] = {
        name: f"quay.acme.test/atoll/{name}@sha256:{DIGEST}"
        for name in ("registry", "postgres", "redis", "load_balancer")
    }
    file = tmp_path / "answers.yml"
    file.write_text(yaml.safe_dump(given))
    return file


LOCAL = ("-i", "localhost,")


def test_created_inventory_passes_the_validation_without_an_edit(ansible, answers, root, tmp_path):
    printed = ansible("init.yml", *LOCAL, "-e", f"@{answers}")
    directory = tmp_path / "inventories/production"
    assert f"{directory}: 15 files created" in printed
    # Commands can be copied, because they are not wrapped.
    lines = [line.strip() for line in printed.splitlines()]
    assert f"ansible-playbook -i {directory} {root}/playbooks/site.yml" in lines

    checked = ansible("validate.yml", "-i", str(directory))
    assert "No problems found on 7 hosts" in checked
    assert "Unable to parse" not in checked

    again = ansible("init.yml", *LOCAL, "-e", f"@{answers}")
    assert "nothing changed" in again
    assert "changed=0" in again


def test_check_mode_creates_nothing(ansible, answers, tmp_path):
    printed = ansible("init.yml", *LOCAL, "-e", f"@{answers}", "--check")

    assert "15 files would be created" in printed
    assert not (tmp_path / "inventories").exists()


def test_vault_password_encrypts_secrets_that_the_playbooks_can_read(ansible, answers, tmp_path):
    password = tmp_path / "password"
    password.write_text("correct horse")
    words = ("-e", f"@{answers}", "-e", "atoll_vault_password_file=password")
    printed = ansible("init.yml", *LOCAL, *words)
    assert "--vault-password-file password" in printed
    directory = tmp_path / "inventories/production"
    for name in ("group_vars/all/vault.yml", "group_vars/atoll/tls/registry.key"):
        assert (directory / name).read_text().startswith("$ANSIBLE_VAULT;1.1;AES256")

    words = ("-i", str(directory), "--vault-password-file", str(password))
    ansible("validate.yml", *words)
    again = ansible("init.yml", *LOCAL, "-e", f"@{answers}", f"--vault-password-file={password}")
    assert "nothing changed" in again


def test_invalid_answers_are_reported_together_without_a_terminal(ansible, tmp_path):
    words = ("-e", json.dumps({"atoll_hostname": "Registry", "atoll_sites": []}))
    printed = ansible("init.yml", *LOCAL, *words, accepted=2)

    printed = " ".join(printed.split())
    for problem in ("atoll_inventory is missing", 'atoll_hostname is "Registry"', "atoll_sites"):
        assert problem in printed
    assert list(tmp_path.iterdir()) == []


def test_secrets_of_the_answers_are_not_printed(ansible, answers):
    given = yaml.safe_load(answers.read_text())
    secret = given["atoll_regions"][0]["store"]["secret_key"]
    printed = ansible("init.yml", *LOCAL, "-e", f"@{answers}", "-vvv")

    assert secret not in printed
