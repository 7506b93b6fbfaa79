"""A site with a load balancer and a store of its own joins and leaves while clients push and pull.

The tests depend on their order: the site joins, serves clients, and leaves.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from clients import Clients
from commands import run, wait_until
from conftest import INVENTORIES, RegionalLoads
from definition import Lab, Machine
from playbook import Outcome, run_playbook, run_site

SITE, LOCATION = "ap", "apstorage"
JOINING = ("ap-1.atoll-topology.test", "lb-ap.atoll-topology.test")


@pytest.fixture(scope="session")
def joined(lab_with_site: Lab) -> Iterator[Lab]:
    """The inventory with the new site, and with its location in the bundle."""
    store = next(one for one in lab_with_site.stores if one.location == LOCATION)
    settings = {
        "hostname": store.hostname,
        "port": store.port,
        "is_secure": True,
        "bucket_name": store.bucket,
        "access_key": store.access_key,
        "secret_key": store.secret_key,
        "storage_path": "/datastorage/registry",
    }
    before = lab_with_site.bundle
    storage = before["DISTRIBUTED_STORAGE_CONFIG"] | {LOCATION: ["RadosGWStorage", settings]}
    bundle = before | {
        "DISTRIBUTED_STORAGE_CONFIG": storage,
        "DISTRIBUTED_STORAGE_PREFERENCE": list(storage),
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": list(storage),
    }
    # Variables of hosts override the files of group_vars; extra variables would override those
    # that the playbooks set.
    hosts = [machine.name for site in lab_with_site.sites for machine in site.machines]
    file = INVENTORIES[0].with_name("joined_bundle.yml")
    file.touch(mode=0o600)
    file.write_text(
        json.dumps({"all": {"hosts": {name: {"registry_config": bundle} for name in hosts}}})
    )
    yield replace(lab_with_site, inventories=(*lab_with_site.inventories, file))
    file.unlink()


def joining(lab: Lab) -> list[Machine]:
    """Return the machines of the new site: its host and its load balancer."""
    machines = [machine for machine in lab.machines if machine.name in JOINING]
    assert len(machines) == len(JOINING)
    return machines


def change(name: str, lab: Lab, folder: Path, **variables: Any) -> Outcome:
    return run_playbook(name, lab, folder, atoll_site=SITE, **variables)


def expect_no_failure(outcome: Outcome, loads: RegionalLoads) -> None:
    assert outcome.status == 0, outcome.output
    pulls = loads.pulls
    wait_until("clients of each region pull", lambda: loads.pulls > pulls + 1)
    assert loads.failures == []


def test_clients_see_no_failure_while_a_site_with_its_own_load_balancer_joins(
    joined: Lab, loads: RegionalLoads, tmp_path: Path
) -> None:
    expect_no_failure(change("add_site", joined, tmp_path), loads)
    again = change("add_site", joined, tmp_path)
    assert again.status == 0, again.output
    assert not any(again.hosts("changed").values()), again.output


def test_clients_of_the_new_region_use_its_load_balancer(
    lab_with_site: Lab, clients: dict[str, Clients], tmp_path: Path
) -> None:
    balancer = next(one for one in lab_with_site.load_balancers if one.site == SITE)
    login = clients["us"]
    regional = Clients(
        lab_with_site, login.user, login.password, tmp_path, registry=balancer.address
    )
    pushed = regional.podman_push("localhost/atoll-redis:dev", "admin/joined:1")
    assert regional.skopeo_pull(balancer.address, "admin/joined:1") == pushed
    assert login.skopeo_pull(login.registry, "admin/joined:1") == pushed


def test_clients_see_no_failure_while_the_site_leaves(
    lab: Lab, joined: Lab, loads: RegionalLoads, tmp_path: Path
) -> None:
    outcome = change(
        "remove_site",
        joined,
        tmp_path,
        atoll_confirm=LOCATION,
        load_balancer_leave_notice=20,
    )

    expect_no_failure(outcome, loads)
    for machine in joining(joined):
        assert run([*lab.ssh(machine), "sudo podman ps --all --quiet"]) == ""
    # The inventory without the site finds nothing more to change.
    outcome = run_site(lab, tmp_path)
    assert outcome.status == 0, outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output


def test_what_was_pushed_at_the_site_that_left_is_still_there(
    clients: dict[str, Clients],
) -> None:
    for regional in clients.values():
        assert regional.skopeo_pull(regional.registry, "admin/joined:1")
