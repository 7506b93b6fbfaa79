"""The preflight finds the problems of real machines, and changes nothing."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands import run
from definition import Lab, Machine
from playbook import run_playbook

NEWCOMER = "us-3.atoll-topology.test"


def problems(lab: Lab, folder: Path, **variables: Any) -> tuple[int, set[tuple[str, str]]]:
    """Return the exit status of the preflight, and the host and id of each error."""
    report = folder / "preflight.json"
    outcome = run_playbook(
        "preflight", lab, folder, **{"atoll_preflight_report": str(report), **variables}
    )
    assert report.exists(), outcome.output
    found = json.loads(report.read_text())["problems"]
    errors = {(one["host"], one["id"]) for one in found if one["severity"] == "error"}
    return outcome.status, errors


def state(lab: Lab, machine: Machine) -> str:
    """Return what a playbook might change on a machine: files, packages and containers."""
    files = "find /etc /usr /opt /var/lib/atoll /var/lib/dpkg -xdev -newer /run/systemd -type f"
    listed = f"{files}; podman ps --all --format '{{{{.ID}}}} {{{{.StartedAt}}}}'; podman images -q"
    return run([*lab.ssh(machine), f"sudo sh -c {json.dumps(listed)}"])


@contextmanager
def listener(lab: Lab, machine: Machine, port: int) -> Iterator[None]:
    """Listen on a port of a machine, as a web server that someone forgot."""
    server = subprocess.Popen(
        [*lab.ssh(machine), "-tt", f"sudo python3 -m http.server {port}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        server.terminate()
        server.wait()
        run([*lab.ssh(machine), f"sudo pkill -f 'http.server {port}' || true"])


def test_a_running_registry_has_no_errors(lab: Lab, tmp_path: Path) -> None:
    assert problems(lab, tmp_path) == (0, set())


def test_problems_of_machines_are_reported_in_one_run_that_changes_nothing(
    lab_with_host: Lab, tmp_path: Path
) -> None:
    lab = lab_with_host
    newcomer = next(one for one in lab.machines if one.name == NEWCOMER)
    deployed = lab.sites[0].machine
    before = state(lab, newcomer), state(lab, deployed)
    bundle = json.loads(json.dumps(lab.bundle))
    stores = bundle["DISTRIBUTED_STORAGE_CONFIG"]
    stores["usstorage"][1]["host"] = "no-store.atoll-topology.test"
    stores["eustorage"][1]["secret_key"] = "of-another-store"
    with listener(lab, newcomer, 443):
        status, errors = problems(
            lab,
            tmp_path,
            registry_config=bundle,
        )

    assert status != 0
    hosts = [machine.name for site in lab.sites for machine in site.machines]
    assert {(host, "store-unresolved") for host in hosts} <= errors
    assert (NEWCOMER, "port-in-use") in errors
    # Only hosts that have the image can run the registry's own probe.
    assert {(host, "store-unusable") for host in hosts if host != NEWCOMER} <= errors
    assert (state(lab, newcomer), state(lab, deployed)) == before
