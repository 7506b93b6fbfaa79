"""Clients see no failure while images, the bundle, hosts and load balancers change.

The tests depend on their order: each begins with the state that the previous one left.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import podman, run, wait_until
from conftest import RegionalLoads
from definition import Lab, Machine
from playbook import Outcome, run_playbook, run_site

IMAGE = "localhost/atoll-registry:dev"


def inspect(lab: Lab, machine: Machine, container: str, form: str) -> str:
    """Return a field of a container on a machine."""
    words = f"sudo podman inspect --format='{form}' {container}"
    return run([*lab.ssh(machine), words]).strip()


def starts(lab: Lab, container: str, machines: list[Machine]) -> list[str]:
    return [inspect(lab, machine, container, "{{.State.StartedAt}}") for machine in machines]


def site_hosts(lab: Lab) -> list[Machine]:
    return [machine for site in lab.sites for machine in site.machines]


def expect_no_failure(outcome: Outcome, loads: RegionalLoads) -> None:
    assert outcome.status == 0, outcome.output
    pulls = loads.pulls
    wait_until("clients of each region pull", lambda: loads.pulls > pulls + 1)
    assert loads.failures == []


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A newer image, as an archive."""
    folder = tmp_path_factory.mktemp("newer")
    tag, archive = "localhost/atoll-registry:newer", folder / "newer.tar"
    recipe = f"FROM {IMAGE}\nLABEL version=newer\n"
    build = ("build", "--pull=never", "--quiet", f"--tag={tag}", "--file=-", str(folder))
    podman(*build, given=recipe)
    podman("save", "--quiet", "--format=oci-archive", "--uncompressed", f"--output={archive}", tag)
    yield archive
    archive.unlink()
    podman("image", "rm", tag)


def test_clients_see_no_failure_while_image_and_bundle_change(
    lab: Lab, loads: RegionalLoads, newer: Path, tmp_path: Path
) -> None:
    hosts = site_hosts(lab)
    images = [inspect(lab, host, "atoll-registry", "{{.ImageName}}") for host in hosts]
    outcome = run_site(
        lab,
        tmp_path,
        registry_image_archive=str(newer),
        registry_config=lab.bundle | {"MAXIMUM_LAYER_SIZE": "19G"},
    )

    expect_no_failure(outcome, loads)
    changed = [inspect(lab, host, "atoll-registry", "{{.ImageName}}") for host in hosts]
    assert len(set(changed)) == 1
    assert not set(changed) & set(images)


def test_clients_see_no_failure_while_all_hosts_and_load_balancers_restart(
    lab: Lab, loads: RegionalLoads, tmp_path: Path
) -> None:
    balancers: list[Machine] = list(lab.load_balancers)
    before = starts(lab, "atoll-load-balancer", balancers)
    # Back to the previous image and bundle, with other limits in the units of the load balancers.
    outcome = run_site(lab, tmp_path, load_balancer_memory="1100M")

    expect_no_failure(outcome, loads)
    after = starts(lab, "atoll-load-balancer", balancers)
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_clients_see_no_failure_while_a_host_joins(
    lab_with_host: Lab, loads: RegionalLoads, tmp_path: Path
) -> None:
    outcome = _change_host("add_host", lab_with_host, tmp_path)

    expect_no_failure(outcome, loads)
    newcomer = site_hosts(lab_with_host)[2]
    assert newcomer.name == "us-3.atoll-topology.test"
    assert (
        inspect(lab_with_host, newcomer, "atoll-registry", "{{.State.Health.Status}}") == "healthy"
    )
    again = _change_host("add_host", lab_with_host, tmp_path)
    assert again.status == 0, again.output
    assert not any(again.hosts("changed").values()), again.output


def test_clients_see_no_failure_while_a_host_leaves(
    lab: Lab, lab_with_host: Lab, loads: RegionalLoads, tmp_path: Path
) -> None:
    outcome = _change_host("remove_host", lab_with_host, tmp_path)

    expect_no_failure(outcome, loads)
    leaver = site_hosts(lab_with_host)[2]
    listed = run([*lab.ssh(leaver), "sudo podman ps --all --quiet"])
    assert listed == ""
    # The inventory without the host finds nothing more to change.
    outcome = run_site(lab, tmp_path, load_balancer_memory="1100M")
    assert outcome.status == 0, outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output


def _change_host(name: str, lab: Lab, folder: Path) -> Outcome:
    variables: dict[str, Any] = {
        "atoll_host": "us-3.atoll-topology.test",
        "load_balancer_memory": "1100M",
    }
    return run_playbook(name, lab, folder, **variables)
