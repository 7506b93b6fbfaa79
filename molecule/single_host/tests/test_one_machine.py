"""The complete registry runs on one machine, and keeps its data on a restart."""

import os
import subprocess
import sys
from pathlib import Path

import images
import pytest
from clients import Clients
from commands import REPOSITORY
from definition import Lab
from playbook import Outcome, run_playbook
from site_machine import SiteMachine

PROGRAMS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def pushed(clients: Clients) -> str:
    return clients.podman_push(images.DEMONSTRATION.tag, "admin/podman:1")


def test_podman_pulls_an_image_that_podman_pushed(clients: Clients, pushed: str) -> None:
    assert clients.podman_pull(f"admin/podman@{pushed}") == pushed


def test_all_services_run_except_the_replication_worker(
    machine: SiteMachine,
) -> None:
    running = machine.run("podman ps --format {{.Names}}").split()

    assert sorted(running) == ["atoll-postgres", "atoll-redis", "atoll-registry"]
    assert machine.run("find /etc/containers/systemd -name 'atoll-replication*'") == ""
    assert machine.run("find /etc/containers/systemd -name 'atoll-mirror*'") == ""


def test_the_site_is_healthy(machine: SiteMachine) -> None:
    assert machine.health("endtoend") == 200


def test_removal_of_the_last_site_is_refused(
    lab: Lab, machine: SiteMachine, tmp_path: Path
) -> None:
    outcome = run_playbook(
        "remove_site", lab, tmp_path, atoll_site="main", atoll_confirm="mainstorage"
    )

    assert outcome.status != 0
    output = " ".join(outcome.output.split())
    assert "main is the last site of the registry" in output, outcome.output
    assert "playbooks/remove.yml" in output
    assert machine.health("endtoend") == 200


def test_the_built_collection_deploys_the_same(lab: Lab, tmp_path: Path) -> None:
    installed = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "HOME": str(tmp_path)}
    environment = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "LANG": "C.UTF-8", **installed}

    def run(*words: str) -> str:
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    galaxy = ["ansible-galaxy", "collection"]
    run(*galaxy, "build", f"--output-path={tmp_path}", str(REPOSITORY))
    [archive] = tmp_path.glob("atoll-registry-*.tar.gz")
    run(*galaxy, "install", "--offline", f"--collections-path={tmp_path}", str(archive))
    inventories = [f"--inventory={path}" for path in lab.inventories]
    output = run("ansible-playbook", "atoll.registry.site", *inventories)

    assert Outcome(0, output).hosts("changed") == {"main-1": 0}, output


def test_an_image_is_kept_when_all_services_are_restarted(
    clients: Clients, machine: SiteMachine, pushed: str
) -> None:
    machine.run("systemctl restart atoll-postgres atoll-redis atoll.target")
    # systemctl returns for the target before its containers are healthy.
    machine.run("systemctl restart atoll-registry")

    assert clients.skopeo_pull(machine.address, "admin/podman:1") == pushed
