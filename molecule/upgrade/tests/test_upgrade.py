"""A registry is upgraded or rolled back without failures for clients."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import Clients
from commands import podman
from definition import Lab
from load import Load
from playbook import (
    WRITTEN,
    Outcome,
    await_task,
    kill,
    kill_playbook,
    run_playbook,
    start_playbook,
)
from site_machine import SiteMachine

IMAGE = "localhost/atoll-registry:dev"


def upgrade(lab: Lab, folder: Path, archive: Path, *words: str, **variables: str) -> Outcome:
    archives = {"registry_image_archive": str(archive)}
    return run_playbook("upgrade", lab, folder, *words, **archives, **variables)


def image_of(machine: SiteMachine) -> str:
    return machine.run("podman inspect --format={{.ImageName}} atoll-registry").strip()


def _variant(folder: Path, name: str, instruction: str) -> Iterator[Path]:
    tag = f"localhost/atoll-registry:{name}"
    archive = folder / f"{name}.tar"
    recipe = f"FROM {IMAGE}\n{instruction}\n"
    podman(
        "build", "--pull=never", "--quiet", f"--tag={tag}", "--file=-", str(folder), given=recipe
    )
    podman("save", "--quiet", "--format=oci-archive", "--uncompressed", f"--output={archive}", tag)
    yield archive
    archive.unlink()
    podman("image", "rm", tag)


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from _variant(tmp_path_factory.mktemp("newer"), "newer", "LABEL version=newer")


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield from _variant(tmp_path_factory.mktemp("newest"), "newest", "LABEL version=newest")


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An image whose registry does not start, because nginx is missing; its migration succeeds."""
    instruction = "ENV PATH=/opt/atoll/bin:/usr/bin:/bin"
    yield from _variant(tmp_path_factory.mktemp("broken"), "broken", instruction)


@pytest.fixture
def load(clients: Clients, tmp_path: Path, request: pytest.FixtureRequest) -> Load:
    return Load(clients, tmp_path, f"admin/{request.function.__name__}")


def test_a_failed_upgrade_restores_the_previous_image(
    lab: Lab, load: Load, us: SiteMachine, eu: SiteMachine, broken: Path
) -> None:
    before = image_of(us)
    with load:
        # Long enough for a healthy start, and short because this start fails.
        outcome = upgrade(lab, load.folder, broken, registry_start_timeout="45")

    assert outcome.status != 0
    output = " ".join(outcome.output.split())
    assert "us-1 did not become healthy with the new image and runs" in output, outcome.output
    assert image_of(us) == image_of(eu) == before
    assert us.health("endtoend") == eu.health("endtoend") == 200
    assert load.failures == []
    assert load.pulls > 0


def test_an_upgrade_succeeds_after_a_rollback_was_killed(
    lab: Lab, us: SiteMachine, broken: Path, newest: Path, tmp_path: Path
) -> None:
    before = image_of(us)
    variables = {"registry_image_archive": str(broken), "registry_start_timeout": "45"}
    process = start_playbook("upgrade", lab, tmp_path, **variables)
    await_task(process, "Restore the previous image")
    await_task(process, WRITTEN)
    kill(process)
    outcome = upgrade(lab, tmp_path, newest)

    assert outcome.status == 0, outcome.output
    assert image_of(us) != before
    assert us.health("endtoend") == 200


def test_clients_see_no_failure_during_an_upgrade_that_is_killed_and_repeated(
    lab: Lab, load: Load, us: SiteMachine, eu: SiteMachine, newer: Path
) -> None:
    before = image_of(us)
    with load:
        for _ in range(3):
            seconds = random.uniform(10, 60)
            archive = {"registry_image_archive": str(newer)}
            kill_playbook(seconds, "upgrade", lab, load.folder, **archive)
        outcome = upgrade(lab, load.folder, newer)

    assert outcome.status == 0, outcome.output
    assert "Smoke test: pushed through" in outcome.output
    assert image_of(us) == image_of(eu) != before
    assert us.health("endtoend") == eu.health("endtoend") == 200
    assert load.failures == []
    assert load.pulls == len(load.pushed) > 0


def test_a_second_run_and_check_mode_change_nothing(lab: Lab, newer: Path, tmp_path: Path) -> None:
    for words in ((), ("--check",)):
        outcome = upgrade(lab, tmp_path, newer, *words)

        assert outcome.status == 0, outcome.output
        assert not any(outcome.hosts("changed").values()), outcome.output


def _kill_while_it_drains(machine: SiteMachine, lab: Lab, folder: Path, **variables: str) -> None:
    """Kill an upgrade while it stops the registry, and freeze the registry in its drain."""
    process = start_playbook("upgrade", lab, folder, **variables)
    while "deactivating" not in machine.attempt("systemctl is-active atoll-registry").stdout:
        assert process.poll() is None, process.communicate()[0]
    machine.run("podman kill --signal=STOP atoll-registry")
    kill(process)


def test_an_upgrade_that_stops_other_sites_succeeds_after_it_was_killed(
    lab: Lab, us: SiteMachine, eu: SiteMachine, newest: Path, tmp_path: Path
) -> None:
    before = image_of(us)
    archive = {"registry_image_archive": str(newest), "atoll_strategy": "stop_secondaries"}
    _kill_while_it_drains(eu, lab, tmp_path, **archive)
    process = start_playbook("upgrade", lab, tmp_path, **archive)
    await_task(process, "Wait for a stop of an interrupted upgrade to finish")
    eu.run("podman kill --signal=CONT atoll-registry")
    await_task(process, "Migrate the database")
    kill(process)
    assert "inactive" in eu.run("systemctl is-active atoll-registry || true")
    kill_playbook(random.uniform(10, 60), "upgrade", lab, tmp_path, **archive)
    outcome = upgrade(lab, tmp_path, newest, atoll_strategy="stop_secondaries")

    assert outcome.status == 0, outcome.output
    assert image_of(us) == image_of(eu) != before
    assert us.health("endtoend") == eu.health("endtoend") == 200

    again = upgrade(lab, tmp_path, newest, atoll_strategy="stop_secondaries")
    assert again.status == 0, again.output
    assert not any(again.hosts("changed").values()), again.output


def test_stopped_sites_are_started_if_the_upgrade_fails(
    lab: Lab, us: SiteMachine, eu: SiteMachine, broken: Path, tmp_path: Path
) -> None:
    before = image_of(us)
    outcome = upgrade(
        lab, tmp_path, broken, atoll_strategy="stop_secondaries", registry_start_timeout="45"
    )

    assert outcome.status != 0
    assert "Ensure the hosts that were stopped for the upgrade are running" in outcome.output
    assert image_of(us) == image_of(eu) == before
    assert us.health("endtoend") == eu.health("endtoend") == 200
    assert eu.run("systemctl is-active atoll-replication").strip() == "active"


def test_an_upgrade_is_refused_while_a_site_is_unhealthy(
    lab: Lab, us: SiteMachine, eu: SiteMachine, newer: Path, tmp_path: Path
) -> None:
    before = image_of(us)
    eu.run("systemctl stop atoll-registry")
    try:
        outcome = upgrade(lab, tmp_path, newer)
    finally:
        eu.run("systemctl start atoll-registry")

    assert outcome.status != 0
    assert "did not become healthy" in outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output
    assert image_of(us) == before
