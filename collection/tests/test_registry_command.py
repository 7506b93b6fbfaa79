"""The atoll command is run with podman-py through a temporary API service."""

import stat
import sys
from pathlib import Path

import pytest
from ansible_collections.atoll.registry.plugins.module_utils import podman_service
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    read_atoll,
    run_atoll,
)

PODMAN = Path(__file__).parent / "podman_api.py"


class Module:
    """The part of AnsibleModule that locates podman."""

    def __init__(self, folder):
        self.tmpdir = str(folder / "module")
        self.program = folder / "podman"

    def get_bin_path(self, _name):
        return str(self.program) if self.program.exists() else None


@pytest.fixture
def module(tmp_path):
    found = Module(tmp_path)
    Path(found.tmpdir).mkdir()
    found.program.write_text(f'#!/bin/sh\nexec {sys.executable} {PODMAN} "$@"\n')
    found.program.chmod(found.program.stat().st_mode | stat.S_IXUSR)
    return found


def test_a_command_runs_in_the_container_and_its_json_is_returned(module):
    words = read_atoll(module, "atoll-registry", "locations", "--limit", "a b")

    assert words == ["atoll", "locations", "--limit", "a b", "--json"]


def test_the_error_contains_the_last_line_of_the_output(module):
    with pytest.raises(
        CommandError, match="atoll fail failed with exit status 3: it is the last location"
    ):
        run_atoll(module, "atoll-registry", "fail")


@pytest.mark.parametrize("container", ["stopped", "missing"])
def test_a_stopped_or_missing_container_is_reported(module, container):
    with pytest.raises(
        CommandError, match=f"the container {container} is not running on this host"
    ):
        run_atoll(module, container, "locations")


def test_the_service_leaves_no_files(module):
    run_atoll(module, "atoll-registry", "locations")

    assert list(Path(module.tmpdir).iterdir()) == []


def test_the_error_contains_the_reason_if_the_service_does_not_start(module, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")

    with pytest.raises(CommandError, match="does not start: Error: it is broken"):
        run_atoll(module, "atoll-registry", "locations")


def test_the_error_for_a_missing_podman_names_the_playbook_that_installs_it(module, monkeypatch):
    module.program.unlink()
    with pytest.raises(CommandError, match=r"no podman on this host; playbooks/site.yml"):
        run_atoll(module, "atoll-registry", "locations")

    monkeypatch.setattr(podman_service, "PodmanClient", None)
    with pytest.raises(CommandError, match=r"python3-podman, which playbooks/site.yml installs"):
        run_atoll(module, "atoll-registry", "locations")
