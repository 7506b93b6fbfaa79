"""The atoll command is run with podman-py through a temporary API service."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.atoll.registry.plugins.module_utils import podman_service
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import (
    CommandError,
    image_of,
    read_atoll,
    run_atoll,
)

USE_AND_EXIT = """
import sys
from types import SimpleNamespace
from ansible_collections.atoll.registry.plugins.module_utils.registry_command import run_atoll

tmpdir, program = sys.argv[1:]
module = SimpleNamespace(tmpdir=tmpdir, get_bin_path=lambda _name: program)
run_atoll(module, "atoll-registry", "locations")
sys.exit(7)
"""


@pytest.fixture
def module(podman_module):
    return podman_module()


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


def test_all_uses_of_podman_by_a_module_share_one_service(module, tmp_path, monkeypatch):
    starts = tmp_path / "starts"
    monkeypatch.setenv("PODMAN_STARTS", str(starts))

    image = image_of(module, "atoll-registry")
    run_atoll(module, "atoll-registry", "locations")
    run_atoll(module, "atoll-registry", "status")

    assert image == "localhost/atoll@sha256:" + "a" * 64
    assert image_of(module, "missing") == ""
    assert starts.read_text().splitlines() == ["started"]


def test_the_service_leaves_no_files_and_no_process(module):
    run_atoll(module, "atoll-registry", "locations")
    service = running_services(module)
    podman_service.close_podman()

    assert service
    assert running_services(module) == []
    assert list(Path(module.tmpdir).iterdir()) == []


def test_a_service_that_does_not_stop_is_killed(module, monkeypatch):
    monkeypatch.setenv("HANGS", "1")
    monkeypatch.setattr(podman_service, "STOP_SECONDS", 0.1)

    run_atoll(module, "atoll-registry", "locations")
    podman_service.close_podman()

    assert running_services(module) == []


def test_the_service_is_stopped_when_the_module_exits(module, root):
    """Ansible runs a module in a process of its own, which may exit at any statement."""
    words = [sys.executable, "-c", USE_AND_EXIT, module.tmpdir, str(module.program)]
    path = {"PYTHONPATH": str(root / "collection/import_root")}
    done = subprocess.run(words, env={**os.environ, **path}, check=False)

    assert done.returncode == 7
    assert running_services(module) == []


def running_services(module):
    """Return the processes that serve in the directory of a module."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if f"unix://{module.tmpdir}/".encode() in process.read_bytes():
                found.append(process)
    return found


def test_the_error_contains_the_reason_if_the_service_does_not_start(module, monkeypatch):
    monkeypatch.setenv("BROKEN", "1")

    with pytest.raises(CommandError, match="does not start: Error: it is broken"):
        run_atoll(module, "atoll-registry", "locations")


def test_the_error_for_a_missing_podman_names_the_playbook_that_installs_it(module):
    module.program.unlink()
    with pytest.raises(CommandError, match=r"no podman on this host; playbooks/site.yml"):
        run_atoll(module, "atoll-registry", "locations")


def test_the_error_for_a_missing_library_names_its_package(module, monkeypatch):
    monkeypatch.setattr(podman_service, "PodmanClient", None)

    with pytest.raises(CommandError, match=r"package python3-podman .* playbooks/site.yml"):
        run_atoll(module, "atoll-registry", "locations")
