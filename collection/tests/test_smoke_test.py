"""The smoke test at the end of rollouts."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

PLUGINS = "ansible_collections.atoll.registry.plugins"
RESULT = {
    "hostname": "registry.example.org",
    "version": "1.2.3",
    "endpoints": ["192.0.2.20:443"],
    "locations": ["usstorage", "eustorage"],
}
PRINTED = json.dumps(RESULT)
PODMAN = """\
#!{python}
import json, pathlib, sys
folder = pathlib.Path({folder!r})
if sys.argv[1] == "inspect":
    print({inspected!r})
    sys.exit(0)
folder.joinpath("words.json").write_text(json.dumps(sys.argv[1:]))
folder.joinpath("given").write_text(sys.stdin.read())
print((folder / "output").read_text())
sys.exit(int((folder / "status").read_text()))
"""
CONTAINER = {
    "Image": "4f5c",
    "Config": {
        "User": "994:992",
        "Env": ["PATH=/opt/atoll/bin", "QUAY_DISTRIBUTED_STORAGE_PREFERENCE=usstorage eustorage"],
    },
    "Mounts": [
        {"Source": "/etc/atoll/stack", "Destination": "/conf/stack"},
        {"Source": "/var/lib/atoll/spool", "Destination": "/var/spool/atoll"},
    ],
}
INSPECTED = json.dumps([CONTAINER])
HOSTS = {
    "us-1": {"registry_site": "us", "ansible_host": "192.0.2.11"},
    "eu-1": {"registry_site": "eu", "ansible_host": "198.51.100.11", "registry_https_port": 8443},
    "lb-us": {"load_balancer_site": "us", "load_balancer_address": "192.0.2.20"},
}


@pytest.fixture
def ansible(root, tmp_path):
    """Return a function that runs the playbook with a podman that prints a given output."""
    podman = tmp_path / "podman"
    podman.write_text(
        PODMAN.format(python=sys.executable, folder=str(tmp_path), inspected=INSPECTED)
    )
    podman.chmod(0o755)
    local = {"ansible_connection": "local", "ansible_become": False}
    local |= {"ansible_python_interpreter": sys.executable}
    common = {"registry_hostname": "registry.example.org", "registry_config": {}}
    children = {
        "atoll_sites": {"hosts": {"us-1": HOSTS["us-1"], "eu-1": HOSTS["eu-1"]}},
        "atoll_load_balancer": {"hosts": {"lb-us": HOSTS["lb-us"]}},
    }
    atoll = {"children": children, "vars": {**local, **common}}
    inventory = tmp_path / "inventory.json"
    inventory.write_text(json.dumps({"all": {"children": {"atoll": atoll}}}))

    def run(*words, output=PRINTED, status=0, accepted=0):
        (tmp_path / "output").write_text(output)
        (tmp_path / "status").write_text(str(status))
        done = subprocess.run(
            ["ansible-playbook", f"-i{inventory}", "playbooks/smoke_test.yml", *words],
            cwd=root,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == accepted, done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    return run


def test_image_is_pulled_through_load_balancers_and_hosts_of_sites_without_one():
    filters = importlib.import_module(f"{PLUGINS}.filter.endpoints")

    assert filters.client_endpoints(["lb-us"], ["us-1", "eu-1"], HOSTS) == [
        "192.0.2.20:443",
        "198.51.100.11:8443",
    ]
    assert filters.client_endpoints([], ["us-1"], HOSTS) == ["192.0.2.11:443"]


def test_playbook_ends_with_a_summary_and_changes_nothing(ansible, tmp_path):
    printed = ansible()

    assert "https://registry.example.org (Atoll 1.2.3)" in printed
    assert "2 sites (us, eu), 3 hosts, 1 load balancers" in printed
    assert "complete at usstorage, eustorage" in printed
    assert f"-i {tmp_path}/inventory.json playbooks/status.yml" in printed
    assert "changed=1" not in printed
    words = json.loads((tmp_path / "words.json").read_text())
    # A container cannot reach its own published port on hosts with br_netfilter.
    assert words[:2] == ["run", "--rm"]
    command = words.index("4f5c")
    assert words[command + 1 : command + 3] == ["atoll", "smoke-test"]
    assert {
        "--network=host",
        "--pull=never",
        "--user=994:992",
        "--env=QUAY_DISTRIBUTED_STORAGE_PREFERENCE=usstorage eustorage",
        "--volume=/etc/atoll/stack:/conf/stack:ro",
    } < set(words[:command])
    assert "/var/spool/atoll" not in " ".join(words)
    assert {"--endpoint=192.0.2.20:443", "--endpoint=198.51.100.11:8443"} < set(words)


def test_certificates_reach_the_command_by_its_standard_input(tmp_path):
    ca_file = tmp_path / "ca.crt"
    ca_file.write_text("certificates")
    module = importlib.import_module(f"{PLUGINS}.modules.smoke_test")

    class Module:
        def __init__(self):
            self.params = {
                "endpoints": ["192.0.2.20:443"],
                "ca_file": str(ca_file),
                "timeout": 120,
                "container": "atoll-registry",
            }

        def run_command(self, words, data=None):
            if words[1] == "inspect":
                return 0, INSPECTED, ""
            self.words, self.given = words, data
            return 0, PRINTED, ""

    fake = Module()
    assert module.run_smoke_test(fake) == RESULT
    assert fake.given == "certificates"
    assert "certificates" not in " ".join(fake.words)


def test_failed_step_fails_the_playbook_with_its_cause(ansible):
    printed = ansible(output="login through 192.0.2.20:443 failed", status=1, accepted=2)

    assert "the smoke test failed: " in printed
    assert "login through 192.0.2.20:443 failed" in printed


def test_image_without_the_command_skips_the_test(ansible):
    printed = ansible(output="No such command 'smoke-test'.", status=2)

    assert "Smoke test: skipped" in printed


@pytest.mark.parametrize("words", [("-e", "atoll_smoke_test=false"), ("--check",)])
def test_smoke_test_is_skipped_on_request_and_in_check_mode(ansible, tmp_path, words):
    ansible(*words)

    assert not (tmp_path / "words.json").exists()
