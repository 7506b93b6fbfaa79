"""The checks of a host follow from its groups and from the variables of the components."""

import json
import os
import subprocess

import pytest
import yaml

PLAY = """
- hosts: all
  gather_facts: false
  vars:
    ansible_facts: {os_family: Debian}
    role: atoll.registry.host
  tasks:
    - ansible.builtin.include_role: {name: "{{ role }}", tasks_from: preflight, public: true}
    - ansible.builtin.copy:
        content: "{{ {'ports': __host_ports, 'paths': __host_paths, 'limits': __host_memory_limits,
                      'problems': __host_preflight.problems} | to_json }}"
        dest: "{{ folder }}/{{ inventory_hostname }}.json"
      check_mode: false
"""
DEFAULTS = {
    "registry": ["registry_https_port", "registry_metrics_port"],
    "postgres": ["postgres_port"],
    "redis": ["redis_port"],
    "clair": ["clair_port", "clair_metrics_port"],
    "load_balancer": ["load_balancer_https_port", "load_balancer_metrics_port"],
}


LIMITED_PLAY = """
- hosts: all
  gather_facts: false
  ignore_unreachable: true
  vars: {role: atoll.registry.host}
  tasks:
    - ansible.builtin.include_role: {name: "{{ role }}", tasks_from: preflight}
    - ansible.builtin.copy:
        content: "{{ __host_preflight | to_json }}"
        dest: "{{ folder }}/{{ inventory_hostname }}.json"
      delegate_to: localhost
      vars: {ansible_connection: local}
"""


def run(root, folder, inventory, play):
    (folder / "hosts.json").write_text(json.dumps({"all": inventory}))
    (folder / "play.yml").write_text(play)
    return subprocess.run(
        ["ansible-playbook", "-i", folder / "hosts.json", folder / "play.yml"],
        cwd=root,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


def test_undefined_values_and_unreachable_hosts_do_not_hide_other_problems(root, tmp_path):
    hosts = {
        "us-1": {
            "ansible_connection": "local",
            "ansible_facts": {"os_family": "Debian"},
            "registry_address": "198.51.100.77",
            "registry_metrics_port": "no number",
            "registry_config": {"DB_URI": "{{ vault_is_missing }}"},
        },
        "us-2": {"ansible_host": "127.0.0.1", "ansible_port": 1},
    }
    variables = {"folder": str(tmp_path)}
    inventory = {"vars": variables, "children": {"atoll_sites": {"hosts": hosts}}}

    done = run(root, tmp_path, inventory, LIMITED_PLAY)

    found = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in hosts}
    assert "address-missing" in {item["id"] for item in found["us-1"]["problems"]}, done.stdout
    assert found["us-2"]["unreachable"], done.stdout


@pytest.fixture
def checked(root, example, tmp_path):
    """Return the values of each host of an inventory with all components."""
    example["DISTRIBUTED_STORAGE_CONFIG"] = {
        "usstorage": ["RadosGWStorage", {"hostname": "store.{{ domain }}", "is_secure": True}]
    }
    example["FEATURE_REPO_MIRROR"] = True
    example["DB_URI"] = "postgresql://atoll:SECRET-VALUE@127.0.0.1:1/atoll"
    example["USER_EVENTS_REDIS"] = example["BUILDLOGS_REDIS"] = {"host": "127.0.0.1", "port": 2}
    groups = {
        "atoll_sites": {"us-1": {"ansible_host": "127.0.0.1"}},
        "atoll_postgres": {"db-1": {"ansible_host": "127.0.0.2"}},
        "atoll_redis": {"db-1": {}},
        "atoll_clair": {
            "scan-1": {
                "ansible_host": "127.0.0.4",
                "clair_database_uri": "postgresql://clair:SECRET-VALUE@clair-db.invalid/clair",
            }
        },
        "atoll_load_balancer": {"lb-1": {"ansible_host": "127.0.0.3"}},
    }
    variables = {
        "ansible_connection": "local",
        "registry_config": example,
        "registry_hostname": "registry.invalid",
        "domain": "invalid",
        "folder": str(tmp_path),
    }
    children = {name: {"hosts": hosts} for name, hosts in groups.items()}
    done = run(root, tmp_path, {"vars": variables, "children": children}, PLAY)
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        name: json.loads((tmp_path / f"{name}.json").read_text())
        for name in ("us-1", "db-1", "lb-1", "scan-1")
    }


def test_each_host_is_checked_for_its_own_components(root, checked):
    defaults = {
        role: yaml.safe_load((root / f"roles/{role}/defaults/main.yml").read_text())
        for role in DEFAULTS
    }

    def ports(host):
        return {found["name"]: int(found["port"]) for found in checked[host]["ports"]}

    expected = {role: {name: defaults[role][name] for name in DEFAULTS[role]} for role in DEFAULTS}
    for worker in ("registry_replication_metrics_port", "registry_mirror_metrics_port"):
        expected["registry"][worker] = defaults["registry"][worker]
    assert ports("us-1") == expected["registry"]
    assert ports("db-1") == expected["postgres"] | expected["redis"]
    assert ports("lb-1") == expected["load_balancer"]
    assert ports("scan-1") == expected["clair"]

    def paths(host):
        return {found["path"] for found in checked[host]["paths"]}

    assert paths("us-1") == {"/var/lib/containers", defaults["registry"]["registry_data_directory"]}
    assert paths("db-1") == {"/var/lib/containers", defaults["postgres"]["postgres_data_directory"]}
    assert paths("lb-1") == {"/var/lib/containers"}
    assert paths("scan-1") == {"/var/lib/containers", defaults["clair"]["clair_data_directory"]}
    assert checked["scan-1"]["limits"] == [defaults["clair"]["clair_memory"]]
    limits = ("registry_memory", "registry_replication_memory", "registry_mirror_memory")
    assert checked["us-1"]["limits"] == [defaults["registry"][name] for name in limits]
    assert checked["lb-1"]["limits"] == [defaults["load_balancer"]["load_balancer_memory"]]

    found = {(item["id"], item["host"]) for host in checked.values() for item in host["problems"]}
    assert ("store-unresolved", "us-1") in found
    assert "cannot resolve store.invalid (usstorage)" in json.dumps(checked["us-1"])
    assert ("registry-unresolved", "lb-1") in found
    assert ("database-unresolved", "scan-1") in found
    assert not {name for name, host in found if host == "db-1"} & {"store-unresolved"}
    # The rollout starts these.
    assert not {"database-unreachable", "redis-unreachable", "site-unreachable"} & {
        name for name, _host in found
    }
    assert "SECRET-VALUE" not in json.dumps(checked)
