"""Tags of site.yml select renewed certificates, the bundle or the load balancers."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from checkout import copy_checkout
from operator_inventory import make_inventory
from tools import TOOLS

# In place of the modules that change a host.
RECORDER = """#!/usr/bin/python
import json
from ansible.module_utils.basic import AnsibleModule, _load_params
given = {{key: value for key, value in _load_params().items() if not key.startswith("_ansible")}}
with open("{log}", "a") as log:
    log.write(json.dumps(["{module}", given]) + "\\n")
module = AnsibleModule({{key: {{"type": "raw"}} for key in given}}, supports_check_mode=True)
module.exit_json(changed=False, paths=[], reference="image", contractions=[], problems=[])
"""


@pytest.fixture(scope="module")
def roll_out(request, tmp_path_factory):
    """Return a function that runs site.yml with modules that only record their parameters."""
    folder = tmp_path_factory.mktemp("checkout")
    copy = copy_checkout(request.config.rootpath, folder / "atoll")
    log = folder / "log"
    for module in ("files", "health", "image", "preflight_info", "schema", "service"):
        text = RECORDER.format(log=log, module=module)
        (copy / f"plugins/modules/{module}.py").write_text(text)
        (copy / f"plugins/action/{module}.py").unlink(missing_ok=True)
    inventory = make_inventory(copy, copy / "inventories/yours")
    local = {
        "ansible_connection": "local",
        "ansible_become": False,
        "host_user_ids": {"user": 990, "group": 990},
    }
    local |= {"ansible_python_interpreter": sys.executable}
    for host in ("us-1", "us-2", "eu-1", "eu-2", "shared-1", "lb-us", "lb-eu"):
        path = inventory / f"host_vars/{host}.registry.internal.yml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(local))

    # The facts are those of this machine, so the first run reads them for all.
    cached_facts = {
        "ANSIBLE_GATHERING": "smart",
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder / "facts"),
    }

    def run(*words):
        log.write_text("")
        done = subprocess.run(
            [TOOLS / "ansible-playbook", "-i", inventory, copy / "playbooks/site.yml", *words],
            check=False,
            cwd=copy,
            env={**os.environ, "HOME": str(folder), **cached_facts},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return [json.loads(line) for line in log.read_text().splitlines()]

    return run


def written(records):
    """Return the paths of the files that would have been written."""
    return {
        file["path"]
        for module, parameters in records
        if module == "files"
        for file in parameters["files"]
    }


def services(records):
    """Return the services that would have been reloaded or restarted."""
    return {parameters["name"] for module, parameters in records if module == "service"}


def test_certificates_are_deployed_alone(roll_out):
    records = roll_out("--tags", "certificates")

    assert written(records) == {
        "/etc/atoll/postgres/tls.crt",
        "/etc/atoll/postgres/tls.key",
        "/etc/atoll/redis/tls.crt",
        "/etc/atoll/redis/tls.key",
        "/etc/atoll/stack/ssl.cert",
        "/etc/atoll/stack/ssl.key",
        "/etc/atoll/stack/database.pem",
        "/etc/atoll/stack/extra_ca_certs/ca.crt",
        "/etc/atoll/registry-ca.crt",
        "/etc/atoll/load-balancer/tls.crt",
        "/etc/atoll/load-balancer/tls.crt.key",
        "/etc/atoll/load-balancer/ca.crt",
    }
    assert services(records) == {
        "atoll-postgres.service",
        "atoll-redis.service",
        "atoll-registry.service",
        "atoll-replication.service",
        "atoll-load-balancer.service",
    }
    modules = [module for module, _ in records]
    assert modules.count("health") == 4
    assert "image" not in modules
    # No other file of the bundle is removed.
    assert not any(parameters.get("exclusive") for _, parameters in records)


def test_the_bundle_is_deployed_alone_to_the_processes_of_each_host(roll_out):
    setting = "registry_mirror={{ 'true' if registry_site == 'us' else 'false' }}"
    records = roll_out("--tags", "config", "-e", setting)

    assert "/etc/atoll/stack/config.yaml" in written(records)
    assert services(records) == {
        "atoll-registry.service",
        "atoll-replication.service",
        "atoll-mirror.service",
    }
    names = [parameters["name"] for module, parameters in records if module == "service"]
    assert names.count("atoll-registry.service") == 2 * names.count("atoll-mirror.service")
    modules = [module for module, _ in records]
    assert modules.count("health") == 4
    assert "image" not in modules


def test_load_balancers_are_deployed_alone(roll_out):
    records = roll_out("--tags", "load_balancer")

    assert services(records) == {"atoll-load-balancer.service"}
    assert "/etc/atoll/load-balancer/haproxy.cfg" in written(records)
    assert [module for module, _ in records].count("image") == 2


def test_tagged_playbooks_are_not_part_of_a_complete_roll_out(root, tmp_path):
    inventory = make_inventory(root, tmp_path / "yours")
    listed = subprocess.run(
        [TOOLS / "ansible-playbook", "-i", inventory, "playbooks/site.yml", "--list-tasks"],
        check=True,
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout

    assert "Ensure HAProxy has loaded the certificate" not in listed
    assert "Ensure the services have loaded the bundle" not in listed


@pytest.mark.parametrize(
    "tasks",
    [
        "load_balancer/tasks/main.yml",
        "registry/tasks/bundle.yml",
        "registry/tasks/certificates.yml",
    ],
)
def test_tasks_that_are_included_run_with_each_tag(root, tasks):
    """Tags of a play do not apply to tasks that are included while it runs."""
    for task in yaml.safe_load((root / "roles" / tasks).read_text()):
        for name in ("include_role", "include_tasks"):
            if included := task.get(f"ansible.builtin.{name}"):
                assert included["apply"] == {"tags": ["always"]}
