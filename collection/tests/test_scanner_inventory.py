"""An operator adds Clair to an inventory as the comments of the example describe."""

import json
import os
import subprocess

import pytest
from operator_inventory import make_inventory
from tools import TOOLS

CLAIR = """
clair_database_uri: postgresql://clair:{{ vault_clair_psk }}@10.20.1.99:5432/clair
clair_psk: "{{ vault_clair_psk }}"
clair_image: "{{ registry_image }}"
vault_clair_psk: 5d0c1a9e7b3f48265d0c1a9e7b3f48265d0c1a9e7b3f48265d0c1a9e7b3f4826
"""
BUNDLE = """
  FEATURE_SECURITY_SCANNER: true
  SCANNER_ENDPOINTS: "{{ groups | atoll.registry.scanner_endpoints(hostvars) }}"
  SECURITY_SCANNER_V4_PSK: "{{ clair_psk }}"
"""
HOSTS = """
          hosts:
            us-1.registry.internal:
            scan-eu.registry.internal:
              ansible_host: 10.20.2.30
              clair_site: eu
"""


@pytest.fixture
def run(root, tmp_path):
    """Return a function that runs a program of Ansible with the inventory."""
    inventory = make_inventory(root, tmp_path / "yours")
    hosts = inventory / "hosts.yml"
    empty = "atoll_clair:\n          hosts: {}\n"
    assert empty in hosts.read_text()
    hosts.write_text(hosts.read_text().replace(empty, "atoll_clair:" + HOSTS))
    (inventory / "group_vars/all/scanner.yml").write_text(CLAIR)
    with (inventory / "group_vars/all/registry.yml").open("a") as file:
        file.write(BUNDLE)

    def run_program(name, *words):
        done = subprocess.run(
            [TOOLS / name, "--inventory", inventory, *words],
            check=False,
            cwd=root,
            env={**os.environ, "HOME": str(tmp_path), "COLUMNS": "200"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run_program


def test_the_inventory_passes_the_validation_without_a_problem(run, tmp_path):
    report = tmp_path / "report.json"
    run("ansible-playbook", "playbooks/validate.yml", "-e", f"atoll_preflight_report={report}")

    assert json.loads(report.read_text())["problems"] == []


def test_the_bundle_of_each_site_has_the_address_of_each_clair(run, tmp_path):
    play = tmp_path / "play.yml"
    play.write_text(
        "- hosts: atoll_sites\n"
        "  gather_facts: false\n"
        "  tasks:\n"
        "    - ansible.builtin.copy:\n"
        '        content: "{{ registry_config.SCANNER_ENDPOINTS | to_json }}"\n'
        f'        dest: "{tmp_path}/{{{{ inventory_hostname }}}}.json"\n'
        "      delegate_to: localhost\n"
        "      vars: {ansible_connection: local}\n"
    )
    run("ansible-playbook", play)

    endpoints = [json.loads(file.read_text()) for file in sorted(tmp_path.glob("*.internal.json"))]
    assert (
        endpoints
        == [{"usstorage": "http://10.20.1.11:6060", "eustorage": "http://10.20.2.30:6060"}] * 4
    )
