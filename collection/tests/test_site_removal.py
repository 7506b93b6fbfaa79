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


# The order of sets depends on the hash seed.
@pytest.mark.parametrize("seed", ["0", "1", "2", "3"])
def test_remaining_sites_keep_the_order_of_their_preference(root, inventory, tmp_path, seed):
    play = tmp_path / "play.yml"
    tasks = root / "playbooks/tasks/remove_site/inventory.yml"
    play.write_text(PLAY.format(tasks=tasks, folder=tmp_path))
    words = ["ansible-playbook", f"--inventory={inventory}", str(play), "-e", "atoll_site=eu"]
    done = subprocess.run(
        words,
        cwd=root,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    left = {site: json.loads((tmp_path / f"{site}.json").read_text()) for site in ("us", "ap")}
    assert left == {"us": ["usstorage", "apstorage"], "ap": ["apstorage", "usstorage"]}
