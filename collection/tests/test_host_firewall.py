"""The optional firewall opens the ports of a host's components, to their networks."""

import json
import os
import subprocess
import xml.etree.ElementTree
from pathlib import Path

import jinja2
import pytest
import yaml

PORTS = [
    {"name": "registry_https_port", "address": "192.0.2.11", "port": 443},
    {"name": "postgres_port", "address": "192.0.2.11", "port": 5432},
]
NETWORKS = {"postgres_port": ["192.0.2.0/24", "2001:db8::/32"]}


@pytest.fixture
def render(root):
    def render_template(name, **variables):
        folder = root / "roles/host/templates"
        environment = jinja2.Environment(  # the output is no HTML
            loader=jinja2.FileSystemLoader(folder),
            trim_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.tests["search"] = lambda text, pattern: pattern in text
        defaults = {
            "ansible_managed": "Ansible managed",
            "group_names": ["atoll_sites"],
            "host_firewall_allowed_networks": {},
            "__host_firewall_ports": PORTS,
            "__host_firewall_open_ports": [22, 2222],
        }
        return environment.get_template(name).render(defaults | variables)

    return render_template


@pytest.mark.parametrize("networks", [{}, NETWORKS])
@pytest.mark.parametrize("group", ["atoll_sites", "atoll_load_balancer"])
def test_nftables_accepts_the_rules(render, tmp_path, networks, group):
    rules = tmp_path / "firewall.nft"
    rules.write_text(
        render("firewall.nft.j2", host_firewall_allowed_networks=networks, group_names=[group])
    )
    words = ["unshare", "--net", "nft", "--check", "--file", str(rules)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("network namespaces need root")

    assert done.returncode == 0, done.stderr


def test_a_port_is_open_to_its_networks_only(render):
    rules = render("firewall.nft.j2", host_firewall_allowed_networks=NETWORKS)

    assert '    tcp dport 443 accept comment "registry_https_port"\n' in rules
    assert "ip saddr { 192.0.2.0/24 } tcp dport 5432 accept" in rules
    assert "ip6 saddr { 2001:db8::/32 } tcp dport 5432 accept" in rules
    assert "\n    tcp dport 5432 accept" not in rules


def test_published_ports_are_filtered_although_they_are_redirected(render, tmp_path):
    rules = tmp_path / "firewall.nft"
    networks = {"postgres_port": ["192.0.2.0/24"]}
    rules.write_text(render("firewall.nft.j2", host_firewall_allowed_networks=networks))
    script = Path(__file__).parent / "firewall_machines"
    words = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", script, rules]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "Operation not permitted" in done.stderr:
        pytest.skip("network namespaces need root")

    assert done.stdout.splitlines() == [
        "registry open",
        "ssh open",
        "container open",
        "database blocked",
        "container-of-others blocked",
        "process blocked",
    ], done.stderr


def test_ssh_stays_open_and_other_packets_are_dropped(render):
    rules = render("firewall.nft.j2")

    assert "tcp dport { 22, 2222 } accept" in rules
    assert rules.rstrip().endswith("drop\n  }\n}")


def test_rules_apply_before_podman_redirects_packets_to_containers(render):
    assert "type filter hook prerouting priority -110;" in render("firewall.nft.j2")


def test_the_service_of_firewalld_has_the_ports(render):
    service = xml.etree.ElementTree.fromstring(
        render("firewalld.xml.j2", group_names=["atoll_load_balancer"]).encode()
    )

    assert [port.get("port") for port in service.iter("port")] == ["443", "5432"]
    assert [protocol.get("value") for protocol in service.iter("protocol")] == ["vrrp"]


def test_no_firewall_is_changed_by_default(root):
    defaults = yaml.safe_load((root / "roles/host/defaults/main.yml").read_text())

    assert defaults["host_firewall"] == "none"


PLAY = """
- hosts: all
  gather_facts: false
  vars: {role: atoll.registry.host}
  tasks:
    - ansible.builtin.include_role: {name: "{{ role }}", tasks_from: firewall}
"""


@pytest.fixture
def check(root, tmp_path):
    """Run the tasks in check mode, with programs that print the given text."""

    def run(*words, **programs):
        folder = tmp_path / "bin"
        folder.mkdir()
        for name, script in programs.items():
            program = folder / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)
        host = {"ansible_connection": "local", "ansible_host": "192.0.2.11"}
        group = {"hosts": {"db-1": host}}
        inventory = tmp_path / "hosts.json"
        inventory.write_text(
            json.dumps({"all": {"children": {"atoll_postgres": group, "atoll_redis": group}}})
        )
        (tmp_path / "play.yml").write_text(PLAY)
        done = subprocess.run(
            ["ansible-playbook", "--check", "-i", inventory, *words, tmp_path / "play.yml"],
            cwd=root,
            env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    return run


def test_networks_without_effect_are_refused(check):
    networks = json.dumps({"host_firewall_allowed_networks": {"redis_port": ["192.0.2.0/24"]}})

    status, printed = check("-e", "host_firewall=firewalld", "-e", networks)

    assert status != 0
    assert "host_firewall_allowed_networks of db-1 has no effect with firewalld" in printed


def test_firewalld_that_is_not_running_is_refused(check):
    status, printed = check("-e", "host_firewall=firewalld", firewall_cmd="exit 252")

    assert status != 0
    assert "firewalld is not running. Install and start it" in printed
