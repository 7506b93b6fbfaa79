"""A site is removed without failures for clients, even if the playbook is interrupted.

The tests depend on their order: first the removal is refused, then the site is removed, and
finally nothing of it is left.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from clients import Clients
from commands import wait_until
from definition import Lab
from load import Load, copy, write_image
from pausing import paused
from playbook import WRITTEN, Outcome, kill_playbook, kill_playbook_at, run_playbook
from site_machine import SiteMachine
from stored import StoredBlobs

REPOSITORY = "admin/load"


def remove_site(lab: Lab, folder: Path, *words: str, **variables: str) -> Outcome:
    return run_playbook("remove_site", lab, folder, *words, **{"atoll_site": "eu", **variables})


@contextmanager
def another_bundle(machine: SiteMachine) -> Iterator[None]:
    file = "/etc/atoll/stack/config.yaml"
    machine.run(f"cp --preserve=all {file} {file}.before")
    machine.run(f"tee --append {file}", given="REGISTRY_TITLE: another\n")
    try:
        yield
    finally:
        machine.run(f"mv {file}.before {file}")


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"atoll_site": "mars"}, "There is no site mars; the sites of the inventory are: us, eu."),
        ({"atoll_confirm": "usstorage"}, "the location of site eu is eustorage"),
        # There is no terminal, so the prompt remains unanswered.
        ({}, "set -e atoll_confirm=eustorage"),
    ],
    ids=["no such site", "another location", "no confirmation"],
)
def test_removal_is_refused_unless_it_is_confirmed(
    lab: Lab, us: SiteMachine, tmp_path: Path, variables: dict[str, str], sentence: str
) -> None:
    outcome = remove_site(lab, tmp_path, **variables)

    assert outcome.status != 0
    assert sentence in " ".join(outcome.output.split())
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert us.locations() == {"usstorage": "active", "eustorage": "active"}


def test_removal_is_refused_while_a_host_is_unreachable(
    lab: Lab, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    with paused(eu.site.machine):
        outcome = remove_site(lab, tmp_path, atoll_confirm="eustorage")

    assert outcome.status != 0
    assert "eu-1 cannot be reached" in " ".join(outcome.output.split())
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert us.locations()["eustorage"] == "active"


def test_removal_is_refused_if_a_bundle_differs(
    lab: Lab, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    with another_bundle(eu):
        outcome = remove_site(lab, tmp_path, atoll_confirm="eustorage")

    assert outcome.status != 0
    assert "The bundle on eu-1 differs from the inventory" in " ".join(outcome.output.split())
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert us.locations()["eustorage"] == "active"


def test_removal_is_refused_while_a_sole_copy_cannot_be_copied(
    lab: Lab, clients: Clients, us: SiteMachine, eu: SiteMachine, tmp_path: Path
) -> None:
    store = next(store for store in lab.stores if store.location == eu.location)
    write_image(tmp_path / "unique")
    us.run("systemctl stop atoll-replication")
    unique = f"docker://{eu.address}/admin/unique:1"
    assert not copy(clients, f"oci:{tmp_path}/unique:1", unique)
    with paused(store):
        wait_until("the site is unhealthy", lambda: eu.health("endtoend") != HTTPStatus.OK)
        outcome = remove_site(lab, tmp_path, atoll_confirm="eustorage")
    us.run("systemctl start atoll-replication")

    assert outcome.status != 0
    output = " ".join(outcome.output.split())
    assert "cannot be copied, because site eu is unhealthy" in output, outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert us.locations()["eustorage"] == "active"
    wait_until("the site is healthy", lambda: eu.health("endtoend") == HTTPStatus.OK)


def test_check_mode_changes_nothing(lab: Lab, us: SiteMachine, tmp_path: Path) -> None:
    outcome = remove_site(
        lab, tmp_path, "--check", atoll_confirm="eustorage", atoll_purge_bucket="true"
    )

    assert outcome.status == 0, outcome.output
    assert us.locations() == {"usstorage": "active", "eustorage": "active"}
    assert us.health("endtoend") == 200


def test_clients_see_no_failure_while_a_site_is_removed_and_the_playbook_is_killed(
    lab: Lab, clients: Clients, us: SiteMachine, tmp_path: Path
) -> None:
    StoredBlobs(lab, "eustorage").begin("uploads/of-a-killed-process")
    with Load(clients, tmp_path, REPOSITORY) as load:
        confirmed = {"atoll_site": "eu", "atoll_confirm": "eustorage"}
        kill_playbook_at(WRITTEN, "remove_site", lab, tmp_path, **confirmed)
        for _ in range(2):
            seconds = random.uniform(10, 60)
            kill_playbook(seconds, "remove_site", lab, tmp_path, **confirmed)
        outcome = remove_site(lab, tmp_path, atoll_confirm="eustorage", atoll_purge_bucket="true")

    assert outcome.status == 0, outcome.output
    assert load.failures == []
    assert load.pulls == len(load.pushed) > 0
    assert us.locations() == {"usstorage": "active"}
    for name, digest in load.pushed.items():
        assert clients.skopeo_pull(us.address, f"{name.partition(':')[0]}@{digest}") == digest


def test_only_its_bucket_is_empty(lab: Lab, us: SiteMachine, eu: SiteMachine) -> None:
    assert StoredBlobs(lab, eu.location).keys() == []
    assert StoredBlobs(lab, us.location).keys() != []


def test_its_machine_is_clean(eu: SiteMachine) -> None:
    assert eu.run("podman ps --all --quiet") == ""
    assert eu.run("podman images --quiet") == ""
    assert eu.run("podman secret ls --quiet") == ""
    assert eu.remains() == ""
    assert eu.attempt("getent passwd atoll").returncode != 0
    assert eu.attempt("systemctl list-unit-files --quiet atoll*").stdout == ""


def test_a_second_run_changes_nothing(lab: Lab, tmp_path: Path) -> None:
    outcome = remove_site(lab, tmp_path, atoll_confirm="eustorage", atoll_purge_bucket="true")

    assert outcome.status == 0, outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output
