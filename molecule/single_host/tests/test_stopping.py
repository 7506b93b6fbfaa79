"""Playbooks stop, start and completely remove the registry.

The tests depend on their order, and run last because they remove the registry: pytest runs files in
the order of their names.
"""

import random
from pathlib import Path

import images
import pytest
from clients import Clients
from definition import Lab
from playbook import Outcome, kill_playbook, run_playbook, run_site
from site_machine import SiteMachine

SNAPSHOT = Path(__file__).with_name("snapshot.sh")
ALL = ["atoll-postgres", "atoll-redis", "atoll-registry"]


def changed(outcome: Outcome) -> bool:
    assert outcome.status == 0, outcome.output
    return any(outcome.hosts("changed").values())


def running(machine: SiteMachine) -> list[str]:
    return sorted(machine.run("podman ps --format {{.Names}}").split())


def kill_three_times(name: str, lab: Lab, folder: Path, **variables: str) -> None:
    for _ in range(3):
        kill_playbook(random.uniform(2, 25), name, lab, folder, **variables)


@pytest.fixture(scope="module")
def pushed(clients: Clients) -> str:
    return clients.podman_push(images.DEMONSTRATION.tag, "admin/kept:1")


@pytest.mark.usefixtures("pushed")
def test_it_stops_even_if_the_playbook_is_killed(
    lab: Lab, machine: SiteMachine, tmp_path: Path
) -> None:
    assert changed(run_playbook("stop", lab, tmp_path, "--check"))
    assert running(machine) == ALL
    kill_three_times("stop", lab, tmp_path)
    assert run_playbook("stop", lab, tmp_path).status == 0
    assert running(machine) == []
    assert not changed(run_playbook("stop", lab, tmp_path))


def test_it_starts_with_its_data_even_if_the_playbook_is_killed(
    lab: Lab, clients: Clients, machine: SiteMachine, pushed: str, tmp_path: Path
) -> None:
    assert changed(run_playbook("start", lab, tmp_path, "--check"))
    assert running(machine) == []
    kill_three_times("start", lab, tmp_path)
    assert run_playbook("start", lab, tmp_path).status == 0
    assert running(machine) == ALL
    assert clients.skopeo_pull(machine.address, "admin/kept:1") == pushed
    assert not changed(run_playbook("start", lab, tmp_path))


def test_removal_is_refused_without_a_confirmation(
    lab: Lab, machine: SiteMachine, tmp_path: Path
) -> None:
    outcome = run_playbook("remove", lab, tmp_path)

    assert outcome.status != 0
    assert "-e atoll_confirm=yes" in outcome.output
    assert running(machine) == ALL


def test_check_mode_removes_nothing(lab: Lab, machine: SiteMachine, tmp_path: Path) -> None:
    assert changed(run_playbook("remove", lab, tmp_path, "--check", atoll_confirm="yes"))
    assert running(machine) == ALL


def test_data_is_kept_and_used_by_the_next_rollout_even_if_the_playbook_is_killed(
    lab: Lab, clients: Clients, machine: SiteMachine, pushed: str, tmp_path: Path
) -> None:
    assert changed(run_playbook("remove", lab, tmp_path, atoll_confirm="yes"))
    assert running(machine) == []
    kill_three_times("site", lab, tmp_path)
    assert run_site(lab, tmp_path).status == 0
    assert not changed(run_site(lab, tmp_path))
    assert clients.skopeo_pull(machine.address, "admin/kept:1") == pushed


def test_nothing_is_left_even_if_the_playbook_is_killed(
    lab: Lab, machine: SiteMachine, tmp_path: Path
) -> None:
    everything = {"atoll_confirm": "yes", "atoll_remove_data": "true"}
    kill_three_times("remove", lab, tmp_path, **everything)
    assert run_playbook("remove", lab, tmp_path, **everything).status == 0

    before = set((lab.state / "before-the-registry").read_text().splitlines())
    now = set(machine.run("bash", given=SNAPSHOT.read_text()).splitlines())
    assert "\n".join(sorted(now - before)) == ""
    assert "\n".join(sorted(before - now)) == ""
    assert not changed(run_playbook("remove", lab, tmp_path, **everything))
