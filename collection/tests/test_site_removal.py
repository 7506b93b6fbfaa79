"""The variables that remove_site.yml sets before it changes a host."""

import json
import os
import subprocess

import pytest

SITES = {"us": ["us", "eu", "ap"], "eu": ["eu", "us", "ap"], "ap": ["ap", "eu", "us"]}
PLAY = """
- hosts: atoll_sites
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: {tasks}
    - ansible.builtin.copy:
        content: "{{{{ remove_site_preference | to_json }}}}"
        dest: "{folder}/{{{{ inventory_hostname }}}}.json"
      delegate_to: localhost
"""


@pytest.fixture
def inventory(example, tmp_path):
    """Write an inventory of three sites, each of which prefers its own location."""
    stores = example["DISTRIBUTED_STORAGE_CONFIG"]
    kind, settings = stores["usstorage"]
    stores["apstorage"] = [kind, {**settings, "storage_path": "/ap"}]
    hosts = {
        site: {
            "registry_site": site,
            "registry_storage_preference": [f"{name}storage" for name in preference],
            "ansible_connection": "local",
        }
        for site, preference in SITES.items()
    }
    group = {"hosts": hosts, "vars": {"registry_config": example}}
    file = tmp_path / "inventory.json"
    file.write_text(json.dumps({"all": {"children": {"atoll_sites": group}}}))
    return file


@pytest.fixture
def check(root, inventory, tmp_path):
    """Return a function that checks the inventory for the removal of site eu."""

    def run(*words, seed="0"):
        play = tmp_path / "play.yml"
        tasks = root / "playbooks/tasks/remove_site/inventory.yml"
        play.write_text(PLAY.format(tasks=tasks, folder=tmp_path))
        command = ["ansible-playbook", f"--inventory={inventory}", str(play), "-e", "atoll_site=eu"]
        return subprocess.run(
            [*command, *words],
            cwd=root,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize("name", ["registry_config", "registry_storage_preference"])
def test_removal_is_refused_if_an_extra_variable_keeps_the_location(check, example, name):
    value = {"registry_config": example, "registry_storage_preference": ["usstorage", "eustorage"]}
    done = check("-e", json.dumps({name: value[name]}))

    assert done.returncode != 0
    assert "is an extra variable (-e)" in done.stdout


# The order of sets depends on the hash seed.
@pytest.mark.parametrize("seed", ["0", "1", "2", "3"])
def test_remaining_sites_keep_the_order_of_their_preference(check, tmp_path, seed):
    done = check(seed=seed)

    assert done.returncode == 0, done.stdout
    left = {site: json.loads((tmp_path / f"{site}.json").read_text()) for site in ("us", "ap")}
    assert left == {"us": ["usstorage", "apstorage"], "ap": ["apstorage", "usstorage"]}
