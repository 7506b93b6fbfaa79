"""The removal of a container can be interrupted at any time and repeated."""

import os
import subprocess

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

CONTAINER = "container-without-a-unit"
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: atoll.registry.host
        tasks_from: remove_container
      vars:
        host_container: {container}
"""
SYSTEMCTL = """#!/bin/sh
echo "$*" >>{folder}/calls
[ "$1" != show ] || echo {state}
"""


@pytest.fixture
def remove(root, tmp_path):
    """Remove a container whose unit file is already removed."""

    def run(load_state):
        program = tmp_path / "systemctl"
        program.write_text(SYSTEMCTL.format(folder=tmp_path, state=load_state))
        program.chmod(0o755)
        play = tmp_path / "play.yml"
        play.write_text(PLAY.format(container=CONTAINER))
        done = subprocess.run(
            ["ansible-playbook", "--inventory=localhost,", "--connection=local", str(play)],
            cwd=root,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert "changed=0" in done.stdout
        return (tmp_path / "calls").read_text().splitlines()

    return run


def test_systemd_is_reloaded_if_an_earlier_run_removed_only_the_unit_file(remove):
    assert "daemon-reload" in remove("loaded")


def test_systemd_is_not_reloaded_if_nothing_was_to_remove(remove):
    assert "daemon-reload" not in remove("not-found")


@pytest.mark.parametrize(
    "task",
    [
        "Remove the replication worker if replication is disabled",
        "Remove the mirror process if mirroring is disabled",
    ],
)
def test_removing_a_worker_keeps_the_image_that_the_registry_is_about_to_use(root, task):
    """The task runs after a new image is loaded, and before the registry is restarted with it."""
    tasks = yaml.safe_load((root / "roles/registry/tasks/main.yml").read_text())
    names = [task["name"] for task in tasks]
    removal = names.index(task)
    restart = names.index("Ensure the registry and its workers are running")

    assert removal < restart
    kept = Templar(
        loader=DataLoader(),
        variables={
            "kept": trust_as_template(tasks[removal]["vars"]["host_kept_images"]),
            "registry_image_result": {"reference": "new"},
            "registry_good_image": {"stdout_lines": ["good"]},
        },
    ).template(trust_as_template("{{ kept }}"))
    assert kept == ["new", "good"]
