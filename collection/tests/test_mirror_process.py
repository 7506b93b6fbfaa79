"""The mirror process runs where the bundle mirrors repositories, unless registry_mirror is set."""

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.atoll.registry.plugins.filter.mirroring import runs_mirror

REPOSITORIES = {"FEATURE_REPO_MIRROR": True}


@pytest.mark.parametrize(
    ("bundle", "setting", "expected"),
    [
        ({}, "auto", False),
        ({"FEATURE_REPO_MIRROR": False}, "auto", False),
        (REPOSITORIES, "auto", True),
        ({"FEATURE_REPO_MIRROR": "true"}, "auto", True),
        ({"FEATURE_ORG_MIRROR": True}, "auto", True),
        (REPOSITORIES, False, False),
        (REPOSITORIES, "no", False),
        ({}, True, True),
        ({}, "True", True),
        (None, "auto", False),
    ],
)
def test_the_bundle_decides_unless_the_host_does(bundle, setting, expected):
    assert runs_mirror(bundle, setting) is expected


def test_another_setting_is_refused():
    with pytest.raises(AnsibleFilterError, match="set it to auto, true or false"):
        runs_mirror(REPOSITORIES, "sometimes")


@pytest.mark.parametrize("playbook", ["stop", "upgrade", "remove_site", "remove_host"])
def test_playbooks_that_stop_the_replication_worker_stop_the_mirror_process(root, playbook):
    plays = yaml.safe_load((root / f"playbooks/{playbook}.yml").read_text())
    stopped = [
        [name.removesuffix(".service") for name in task["loop"]]
        for play in plays
        for task in play.get("tasks", [])
        if task.get("atoll.registry.service", {}).get("state") == "stopped" and "loop" in task
    ]
    workers = [names for names in stopped if "atoll-replication" in names]
    assert workers
    assert all("atoll-mirror" in names for names in workers)


def test_removing_a_site_removes_the_mirror_process(root):
    variables = yaml.safe_load((root / "roles/registry/vars/main.yml").read_text())

    assert "atoll-mirror" in variables["__registry_containers"]
