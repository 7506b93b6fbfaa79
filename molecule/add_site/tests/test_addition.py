"""A site is added without failures for clients, even if the playbook is interrupted.

The tests depend on their order: first the addition is refused, then the site is added.
"""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from balancer import sites_in_use
from clients import Clients
from commands import wait_until
from definition import Lab
from load import Load, copy, write_image
from pausing import paused
from playbook import Outcome, kill_playbook, run_playbook, run_site
from site_machine import SiteMachine

REPOSITORY = "admin/load"
BEFORE = "admin/before:1"
# A worker needs some seconds to copy a layer of this size in bytes.
LAYER = 60_000_000


def add_site(lab: Lab, folder: Path, *words: str, **variables: Any) -> Outcome:
    return run_playbook("add_site", lab, folder, *words, **{"atoll_site": "ap", **variables})


def containers(machine: SiteMachine) -> list[str]:
    """Return the running containers of a site's machine with their start times."""
    form = "{{.Names}} {{.ID}} {{.StartedAt}}"
    return sorted(machine.run(f"podman ps --no-trunc --format '{form}'").splitlines())


def status(machine: SiteMachine) -> str:
    return machine.attempt("podman exec atoll-registry atoll status --json").stdout


@pytest.fixture(scope="module")
def stored(clients: Clients, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Push an image before the site is added, and return its digest."""
    layout = tmp_path_factory.mktemp("stored")
    digest = write_image(layout, LAYER)
    assert not copy(clients, f"oci:{layout}:1", f"docker://{clients.registry}/{BEFORE}")
    return digest


def test_a_changed_bundle_is_deployed_without_a_restart(
    two_sites: Lab, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    before = containers(us), containers(eu)
    bundle = two_sites.bundle | {"MAXIMUM_LAYER_SIZE": "19G"}
    for changes in ({"registry_config": bundle}, {}):
        outcome = run_site(two_sites, tmp_path, **changes)

        assert outcome.status == 0, outcome.output
        assert outcome.hosts("changed")["eu-1"] > 0
        # Processes that finish their last requests still have the previous bundle.
        wait_until("all instances have the same bundle", lambda: "another bundle" not in status(us))
    assert (containers(us), containers(eu)) == before


def test_addition_is_refused_for_a_site_that_is_not_in_the_inventory(
    lab: Lab, us: SiteMachine, tmp_path: Path
) -> None:
    outcome = add_site(lab, tmp_path, atoll_site="mars")

    assert outcome.status != 0
    output = " ".join(outcome.output.split())
    assert "There is no site mars; the sites of the inventory are: us, eu, ap." in output
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert us.locations() == {"usstorage": "active", "eustorage": "active"}


def test_addition_is_refused_while_the_new_store_hangs(
    lab: Lab, us: SiteMachine, tmp_path: Path
) -> None:
    store = next(store for store in lab.stores if store.location == "apstorage")
    with paused(store):
        outcome = add_site(lab, tmp_path)

    assert outcome.status != 0
    assert "the store of 'apstorage' accepts no objects" in " ".join(outcome.output.split())
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert us.locations() == {"usstorage": "active", "eustorage": "active"}


@pytest.mark.parametrize("host", ["eu-1", "ap-1"], ids=["of another site", "of the new site"])
def test_addition_is_refused_while_a_host_is_unreachable(
    lab: Lab, us: SiteMachine, tmp_path: Path, host: str
) -> None:
    machine = next(machine for machine in lab.machines if machine.name == host)
    with paused(machine):
        outcome = add_site(lab, tmp_path)

    assert outcome.status != 0
    assert f"{host} The host cannot be reached" in " ".join(outcome.output.split()), outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert us.locations() == {"usstorage": "active", "eustorage": "active"}


def test_addition_is_refused_if_the_bundle_has_other_changes(
    lab: Lab, us: SiteMachine, tmp_path: Path
) -> None:
    another = lab.bundle | {"REGISTRY_TITLE": "another"}
    outcome = add_site(lab, tmp_path, registry_config=another)

    assert outcome.status != 0
    output = " ".join(outcome.output.split())
    assert "The bundle on us-1 differs from the inventory" in output
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert us.locations() == {"usstorage": "active", "eustorage": "active"}


def test_check_mode_changes_nothing(
    lab: Lab, us: SiteMachine, ap: SiteMachine, tmp_path: Path
) -> None:
    before = containers(us)
    outcome = add_site(lab, tmp_path, "--check")

    assert outcome.status == 0, outcome.output
    assert us.locations() == {"usstorage": "active", "eustorage": "active"}
    assert containers(us) == before
    assert ap.attempt("getent passwd atoll").returncode != 0


def test_clients_see_no_failure_while_a_site_is_added_and_the_playbook_is_killed(
    lab: Lab, clients: Clients, sites: list[SiteMachine], stored: str, tmp_path: Path
) -> None:
    us, eu, ap = sites
    before = containers(us), containers(eu)
    with Load(clients, tmp_path, REPOSITORY) as load:
        for _ in range(3):
            kill_playbook(random.uniform(10, 60), "add_site", lab, tmp_path, atoll_site="ap")
        _add(lab, us, tmp_path)
        wait_until("the load balancer uses the new site", lambda: "ap-1" in sites_in_use(lab))
        pulls = load.pulls
        wait_until("clients pull there", lambda: load.pulls > pulls + 1)

    assert load.failures == []
    assert load.pulls == len(load.pushed) > 0
    assert (containers(us), containers(eu)) == before
    assert us.locations() == dict.fromkeys(("usstorage", "eustorage", "apstorage"), "active")
    for name, digest in (load.pushed | {BEFORE: stored}).items():
        assert clients.skopeo_pull(ap.address, f"{name.partition(':')[0]}@{digest}") == digest


def test_a_second_run_changes_nothing(lab: Lab, us: SiteMachine, tmp_path: Path) -> None:
    before = containers(us)
    for words in ([], ["--check"]):
        outcome = add_site(lab, tmp_path, *words)

        assert outcome.status == 0, outcome.output
        assert not any(outcome.hosts("changed").values()), outcome.output
    assert containers(us) == before


def _add(lab: Lab, us: SiteMachine, folder: Path) -> None:
    """Run the playbook; the load balancer must not use the site before it is complete."""
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(add_site, lab, folder)
        while not running.done():
            if "ap-1" in sites_in_use(lab):
                us.atoll(f"wait {BEFORE} --location apstorage --timeout 0")
            time.sleep(1)
    outcome = running.result()
    assert outcome.status == 0, outcome.output
    [smoke_test] = [line for line in outcome.output.splitlines() if "Smoke test: " in line]
    assert "apstorage" in smoke_test
