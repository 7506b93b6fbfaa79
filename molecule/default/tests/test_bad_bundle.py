"""A wrong bundle stops the playbook before any host is touched, and the container at boot."""

import copy
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from definition import Lab
from playbook import run_site
from site_machine import SiteMachine

Bundle = dict[str, Any]

_WRONG_BUNDLE = 78


def _without_database(bundle: Bundle) -> None:
    del bundle["DB_URI"]


def _with_a_word_for_a_number(bundle: Bundle) -> None:
    bundle["BUILDLOGS_REDIS"]["port"] = "many"


def _with_an_unknown_location(bundle: Bundle) -> None:
    bundle["DISTRIBUTED_STORAGE_PREFERENCE"] = ["atlantis"]


WRONG: dict[str, Callable[[Bundle], None]] = {
    "DB_URI": _without_database,
    "BUILDLOGS_REDIS": _with_a_word_for_a_number,
    "DISTRIBUTED_STORAGE_PREFERENCE": _with_an_unknown_location,
}


@pytest.fixture(params=WRONG)
def wrong(request: pytest.FixtureRequest, lab: Lab) -> tuple[str, Bundle]:
    bundle = copy.deepcopy(lab.bundle)
    WRONG[request.param](bundle)
    return request.param, bundle


def test_the_playbook_names_the_key_and_touches_no_host(
    wrong: tuple[str, Bundle], lab: Lab, tmp_path: Path
) -> None:
    key, bundle = wrong

    outcome = run_site(lab, tmp_path, registry_config=bundle)

    assert outcome.status != 0
    assert key in outcome.output
    assert not _touched(outcome.hosts("ok"), lab)


def test_the_playbook_refuses_a_preference_for_an_unknown_location(
    lab: Lab, tmp_path: Path
) -> None:
    outcome = run_site(lab, tmp_path, registry_storage_preference=["atlantis"])

    assert outcome.status != 0
    assert "QUAY_DISTRIBUTED_STORAGE_PREFERENCE" in outcome.output
    assert "atlantis" in outcome.output
    assert not _touched(outcome.hosts("ok"), lab)


def test_the_container_stops_at_boot_and_names_the_key(
    wrong: tuple[str, Bundle], us: SiteMachine
) -> None:
    key, bundle = wrong

    status, said = _boot(us, bundle)

    assert status == _WRONG_BUNDLE
    assert key in said


def test_the_container_refuses_a_preference_for_an_unknown_location(
    lab: Lab, us: SiteMachine
) -> None:
    status, said = _boot(us, lab.bundle, "--env=QUAY_DISTRIBUTED_STORAGE_PREFERENCE=atlantis")

    assert status == _WRONG_BUNDLE
    assert "QUAY_DISTRIBUTED_STORAGE_PREFERENCE" in said


def _touched(counters: dict[str, int], lab: Lab) -> set[str]:
    return {machine.name for machine in lab.machines if counters.get(machine.name)}


def _boot(machine: SiteMachine, bundle: Bundle, *words: str) -> tuple[int, str]:
    """Start the image that the site runs, with another bundle, and wait until it ends."""
    folder = machine.run("mktemp --directory --tmpdir=/run").strip()
    try:
        machine.run(f"tee {folder}/config.yaml", given=yaml.safe_dump(_plain(bundle)))
        machine.run(f"chown --recursive 1001 {folder}")
        image = machine.run("podman container inspect --format={{.Image}} atoll-registry").strip()
        settings = ("--rm", "--read-only", f"--volume={folder}:/conf/stack:ro", *words)
        done = machine.attempt(f"podman run {shlex.join(settings)} {image} registry")
        return done.returncode, done.stdout + done.stderr
    finally:
        machine.run(f"rm --recursive {folder}")


# Ansible marks where its texts come from; YAML knows plain ones only.
def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, str) else value
