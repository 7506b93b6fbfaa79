"""A lost site is removed with its sole copies, while the other sites serve clients.

The tests depend on their order: the site fails, then its removal is refused, then it is removed.
"""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from balancer import sites_in_use
from clients import Clients
from commands import podman, wait_until
from definition import Lab
from errors import LabError
from load import Load, copy, write_image
from playbook import WRITTEN, Outcome, kill_playbook, kill_playbook_at, run_playbook
from site_machine import SiteMachine

LOST = "admin/lost"
ALL = {"usstorage", "eustorage", "apstorage"}
REMAINING = {"usstorage", "apstorage"}


def lost_site(folder: Path) -> dict[str, str]:
    return {"atoll_site": "eu", "atoll_lost_list": str(folder / "lost.json")}


def remove_site(lab: Lab, folder: Path, *words: str, **variables: str) -> Outcome:
    return run_playbook("remove_site", lab, folder, *words, **lost_site(folder), **variables)


def blobs_of(layout: Path, digest: str) -> set[str]:
    manifest = json.loads((layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())
    return {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}


def status(lab: Lab, folder: Path, *words: str) -> Any:
    """Return the report of playbooks/status.yml; check its exit status and its table."""
    file = folder / "status.json"
    outcome = run_playbook("status", lab, folder, *words, atoll_status_file=str(file))
    report = json.loads(file.read_text())
    assert (outcome.status == 0) == report["healthy"], outcome.output
    assert all(finding.split()[0] in outcome.output for finding in report["findings"])
    assert not any(outcome.hosts("changed").values()), outcome.output
    return report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lost_site")


@pytest.fixture(scope="module")
def lost_image(
    clients: Clients, us: SiteMachine, eu: SiteMachine, ap: SiteMachine, folder: Path
) -> Iterator[Path]:
    """Push an image to the site that is lost, while the other sites copy nothing."""
    layout = folder / "lost"
    write_image(layout)
    for machine in (us, ap):
        machine.run("systemctl stop atoll-replication")
    failed = copy(clients, f"oci:{layout}:1", f"docker://{eu.address}/{LOST}:1")
    assert not failed
    yield layout
    for machine in (us, ap):
        machine.run("systemctl start atoll-replication")


@pytest.fixture
def load(clients: Clients, tmp_path: Path, request: pytest.FixtureRequest) -> Load:
    return Load(clients, tmp_path, f"admin/{request.function.__name__}")


@pytest.fixture(scope="module")
def lost_digest(lost_image: Path) -> str:
    return str(json.loads((lost_image / "index.json").read_text())["manifests"][0]["digest"])


@pytest.mark.usefixtures("lost_image")
def test_removal_as_lost_is_refused_while_the_store_responds(
    lab: Lab, us: SiteMachine, folder: Path
) -> None:
    outcome = remove_site(lab, folder, atoll_lost="true", atoll_accept_loss="2")

    assert outcome.status != 0
    assert "the store of 'eustorage' answers" in " ".join(outcome.output.split())
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert set(us.locations()) == ALL


@pytest.mark.usefixtures("lost_image")
def test_clients_see_no_failure_when_the_machine_and_the_store_of_a_site_fail(
    lab: Lab, load: Load, eu: SiteMachine
) -> None:
    store = next(store for store in lab.stores if store.location == eu.location)
    with load:
        wait_until("the load is running", lambda: load.pulls > 2)
        podman("kill", eu.site.machine.container, store.container)
        wait_until(
            "the load balancer does not use the site", lambda: sites_in_use(lab) == {"us-1", "ap-1"}
        )
        pulls = load.pulls
        wait_until("the load continues", lambda: load.pulls > pulls + 5)

    assert load.failures == []
    assert load.pulls == len(load.pushed)


def test_the_status_report_names_the_failed_host_and_store(lab: Lab, folder: Path) -> None:
    report = status(lab, folder, "--check")

    assert report["healthy"] is False
    findings = "\n".join(report["findings"])
    assert "eu-1: cannot be reached" in findings
    assert "finds the store of eustorage down" in findings
    hosts = {host["host"]: host["reachable"] for host in report["hosts"]}
    assert hosts == {"us-1": True, "eu-1": False, "ap-1": True, "shared-1": True}


def test_all_instances_detect_that_the_store_is_unavailable(us: SiteMachine) -> None:
    def seen_up() -> bool:
        report = us.attempt("podman exec atoll-registry atoll status --json").stdout
        return any(
            seen["up"]
            for row in json.loads(report)["locations"]
            if row["location"] == "eustorage"
            for seen in row["seen_by"]
        )

    wait_until("no instance reports the store as available", lambda: not seen_up())


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "eu-1 cannot be reached"),
        (
            {"atoll_lost": "true"},
            "2 blobs would be lost with eustorage, and this loss was not accepted",
        ),
        (
            {"atoll_lost": "true", "atoll_accept_loss": "1"},
            "2 blobs would be lost with eustorage, not 1.",
        ),
        (
            {"atoll_lost": "true", "atoll_accept_loss": "3"},
            "2 blobs would be lost with eustorage, not 3.",
        ),
        (
            {"atoll_lost": "true", "atoll_accept_loss": "2", "atoll_purge_bucket": "true"},
            "purge-store eustorage",
        ),
    ],
    ids=["not declared lost", "no number", "too few", "too many", "bucket of a lost store"],
)
def test_removal_is_refused_unless_exactly_the_loss_is_accepted(
    lab: Lab, us: SiteMachine, folder: Path, variables: dict[str, str], sentence: str
) -> None:
    outcome = remove_site(lab, folder, **variables)

    assert outcome.status != 0
    assert sentence in " ".join(outcome.output.split()), outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert set(us.locations()) == ALL
    assert us.health("endtoend") == 200


def test_check_mode_lists_exactly_the_sole_copies(
    lab: Lab, us: SiteMachine, folder: Path, lost_image: Path, lost_digest: str
) -> None:
    outcome = remove_site(lab, folder, "--check", atoll_lost="true")

    assert outcome.status == 0, outcome.output
    output = " ".join(outcome.output.split())
    assert "2 blobs (" in output
    assert "required by 1 tags of 1 repositories" in output
    listed = json.loads((folder / "lost.json").read_text())
    assert {blob["digest"] for blob in listed["lost_blobs"]} == blobs_of(lost_image, lost_digest)
    assert listed["lost_images"] == [{"repository": LOST, "digest": lost_digest, "tags": ["1"]}]
    assert set(us.locations()) == ALL


def test_clients_see_no_failure_while_the_site_is_removed_and_the_playbook_is_killed(
    lab: Lab, clients: Clients, us: SiteMachine, folder: Path, load: Load
) -> None:
    accepted = {"atoll_lost": "true", "atoll_accept_loss": "2"}
    with load:
        kill_playbook_at(WRITTEN, "remove_site", lab, folder, **lost_site(folder), **accepted)
        for _ in range(2):
            kill_playbook(
                random.uniform(10, 60), "remove_site", lab, folder, **lost_site(folder), **accepted
            )
        outcome = remove_site(lab, folder, **accepted)

    assert outcome.status == 0, outcome.output
    assert load.failures == []
    assert load.pulls == len(load.pushed) > 0
    output = " ".join(outcome.output.split())
    assert "still have the registry with eustorage, or a load balancer" in output
    assert "that sends requests to the site: eu-1." in output
    assert set(us.locations()) == REMAINING
    assert us.health("endtoend") == 200
    for name, digest in load.pushed.items():
        repository = name.partition(":")[0]
        assert clients.skopeo_pull(clients.registry, f"{repository}@{digest}") == digest


def test_the_status_report_is_healthy_after_the_removal(lab: Lab, folder: Path) -> None:
    # The limit is equivalent to the inventory without the site.
    def healthy() -> bool:
        return bool(status(lab, folder, "--limit=!eu")["healthy"])

    wait_until("all pending copies are made", healthy)
    report = status(lab, folder, "--limit=!eu")
    assert report["findings"] == []
    assert {row["location"] for row in report["locations"]} == REMAINING


def test_a_second_run_changes_nothing(lab: Lab, folder: Path) -> None:
    outcome = remove_site(lab, folder, atoll_lost="true", atoll_accept_loss="2")

    assert outcome.status == 0, outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output


def test_lost_blobs_are_listed_until_they_are_pushed_again(
    clients: Clients, us: SiteMachine, lost_image: Path, lost_digest: str
) -> None:
    assert json.loads(us.atoll("lost --json"))["blobs"] == 2
    with pytest.raises(LabError):
        clients.skopeo_pull(clients.registry, f"{LOST}:1")

    assert not copy(clients, f"oci:{lost_image}:1", f"docker://{clients.registry}/{LOST}:1")

    assert clients.skopeo_pull(clients.registry, f"{LOST}:1") == lost_digest
    assert json.loads(us.atoll("lost --json"))["blobs"] == 0


def test_a_recovered_machine_and_store_of_the_removed_site_do_no_harm(
    lab: Lab, clients: Clients, us: SiteMachine, eu: SiteMachine, folder: Path
) -> None:
    store = next(store for store in lab.stores if store.location == eu.location)
    podman("start", eu.site.machine.container, store.container)
    wait_until("its registry is healthy", lambda: eu.health("instance") == 200)
    layout = folder / "late"
    write_image(layout)

    assert not copy(clients, f"oci:{layout}:1", f"docker://{eu.address}/admin/late:1")

    assert set(us.locations()) == REMAINING
    digest = json.loads((layout / "index.json").read_text())["manifests"][0]["digest"]
    assert clients.skopeo_pull(us.address, "admin/late:1") == digest
    assert sites_in_use(lab) == {"us-1", "ap-1"}


def test_a_second_removal_cleans_the_recovered_machine(
    lab: Lab, us: SiteMachine, eu: SiteMachine, folder: Path
) -> None:
    outcome = remove_site(lab, folder, atoll_lost="true", atoll_accept_loss="2")

    assert outcome.status == 0, outcome.output
    assert set(us.locations()) == REMAINING
    assert eu.run("podman ps --all --quiet") == ""
    assert eu.remains() == ""
