"""An invalid bundle stops the playbook before any host is changed, and the container at start."""

import copy
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from definition import Lab
from playbook import ALWAYS_LOG_IN, logins, run_playbook, run_site
from site_machine import SiteMachine

Bundle = dict[str, Any]

_CONFIG_ERROR = 78


def _without_database(bundle: Bundle) -> None:
    del bundle["DB_URI"]


def _with_a_port_that_is_no_number(bundle: Bundle) -> None:
    bundle["BUILDLOGS_REDIS"]["port"] = "many"


def _with_an_unknown_location(bundle: Bundle) -> None:
    bundle["DISTRIBUTED_STORAGE_PREFERENCE"] = ["atlantis"]


INVALID: dict[str, Callable[[Bundle], None]] = {
    "DB_URI": _without_database,
    "BUILDLOGS_REDIS": _with_a_port_that_is_no_number,
    "DISTRIBUTED_STORAGE_PREFERENCE": _with_an_unknown_location,
}


@pytest.fixture(params=INVALID)
def invalid(request: pytest.FixtureRequest, lab: Lab) -> tuple[str, Bundle]:
    bundle = copy.deepcopy(lab.bundle)
    INVALID[request.param](bundle)
    return request.param, bundle


def test_the_validation_names_the_invalid_key_and_logs_in_to_no_host(
    invalid: tuple[str, Bundle], lab: Lab, tmp_path: Path
) -> None:
    key, bundle = invalid

    before = logins(lab)
    outcome = run_playbook("validate", lab, tmp_path, registry_config=bundle, **ALWAYS_LOG_IN)

    assert outcome.status != 0
    assert key in outcome.output
    assert logins(lab) == before


def test_the_rollout_names_the_invalid_key_and_changes_no_host(
    invalid: tuple[str, Bundle], lab: Lab, tmp_path: Path
) -> None:
    key, bundle = invalid

    outcome = run_site(lab, tmp_path, registry_config=bundle)

    assert outcome.status != 0
    assert key in outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output


def test_the_rollout_rejects_a_preference_for_an_unknown_location(lab: Lab, tmp_path: Path) -> None:
    outcome = run_site(lab, tmp_path, registry_storage_preference=["atlantis"])

    assert outcome.status != 0
    assert "'atlantis'" in outcome.output
    assert not any(outcome.hosts("changed").values()), outcome.output


def test_a_login_is_counted(lab: Lab, us: SiteMachine) -> None:
    before = logins(lab)
    us.run("true")

    assert logins(lab) == before + 1


def test_the_container_exits_at_start_and_names_the_invalid_key(
    invalid: tuple[str, Bundle], us: SiteMachine
) -> None:
    key, bundle = invalid

    status, output = _start(us, bundle)

    assert status == _CONFIG_ERROR
    assert key in output


def test_the_container_rejects_a_preference_for_an_unknown_location(
    lab: Lab, us: SiteMachine
) -> None:
    status, output = _start(us, lab.bundle, "--env=QUAY_DISTRIBUTED_STORAGE_PREFERENCE=atlantis")

    assert status == _CONFIG_ERROR
    assert "DISTRIBUTED_STORAGE_PREFERENCE: 'atlantis'" in output


def _start(machine: SiteMachine, bundle: Bundle, *words: str) -> tuple[int, str]:
    """Run the image of the site with a bundle, and return its exit status and output."""
    folder = machine.run("mktemp --directory --tmpdir=/run").strip()
    try:
        # JSON is valid YAML.
        machine.run(f"tee {folder}/config.yaml", given=json.dumps(bundle))
        machine.run(f"chown --recursive 1001 {folder}")
        image = machine.run("podman container inspect --format={{.Image}} atoll-registry").strip()
        settings = ("--rm", "--read-only", f"--volume={folder}:/conf/stack:ro", *words)
        done = machine.attempt(f"podman run {shlex.join(settings)} {image} registry")
        return done.returncode, done.stdout + done.stderr
    finally:
        machine.run(f"rm --recursive {folder}")
