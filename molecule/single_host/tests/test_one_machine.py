"""One machine is a whole registry: images go in and out, and a restart loses nothing."""

import images
import pytest
from clients import Clients
from site_machine import SiteMachine


@pytest.fixture(scope="module")
def pushed(clients: Clients) -> str:
    return clients.podman_push(images.DEMONSTRATION.tag, "admin/podman:1")


def test_podman_pulls_what_podman_pushed(clients: Clients, pushed: str) -> None:
    assert clients.podman_pull(f"admin/podman@{pushed}") == pushed


def test_all_of_it_runs_on_the_machine_and_nothing_that_one_store_needs_not(
    machine: SiteMachine,
) -> None:
    running = machine.run("podman ps --format {{.Names}}").split()

    assert sorted(running) == ["atoll-postgres", "atoll-redis", "atoll-registry"]
    assert machine.run("find /etc/containers/systemd -name 'atoll-replication*'") == ""


def test_the_site_is_whole(machine: SiteMachine) -> None:
    assert machine.health("endtoend") == 200


def test_an_image_is_there_after_everything_was_restarted(
    clients: Clients, machine: SiteMachine, pushed: str
) -> None:
    machine.run("systemctl restart atoll-postgres atoll-redis atoll.target")
    # The target's answer comes before its containers are well.
    machine.run("systemctl restart atoll-registry")

    assert clients.skopeo_pull(machine.address, "admin/podman:1") == pushed
