"""Clair runs under its unit beside the registry of each site."""

import gzip
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from clients import Clients
from commands import wait_until
from conftest import indexer_status
from definition import Lab
from load import Load
from playbook import run_playbook, run_site
from rows import Rows
from site_machine import SiteMachine

CONFIGURATION = "/etc/atoll/clair/config.yaml"


def is_active(machine: SiteMachine) -> bool:
    return machine.attempt("systemctl is-active atoll-clair.service").returncode == 0


def failed_scans(machine: SiteMachine) -> list[str]:
    """Return the messages of the workers of a site about scans that failed."""
    command = "journalctl --unit=atoll-replication --output=cat"
    return [line for line in machine.run(command).splitlines() if '"scan failed"' in line]


def started(machine: SiteMachine) -> str:
    return machine.run("podman inspect --format '{{.State.StartedAt}}' atoll-clair")


def test_each_site_runs_a_healthy_clair(us: SiteMachine, eu: SiteMachine, key: str) -> None:
    for machine in (us, eu):
        assert is_active(machine)
        assert indexer_status(machine, key) == 200


def test_the_configuration_is_readable_only_for_the_user_of_the_container(us: SiteMachine) -> None:
    assert us.run(f"stat --format '%a %U' {CONFIGURATION}").split() == ["600", "atoll"]


def test_neither_the_unit_nor_the_container_contains_the_key(us: SiteMachine, key: str) -> None:
    assert key not in us.run("systemctl cat atoll-clair.service")
    assert key not in us.run("podman inspect atoll-clair")


def test_systemd_limits_the_log(us: SiteMachine) -> None:
    shown = us.run("systemctl show --property=LogRateLimitBurst atoll-clair.service")

    assert shown.strip() == "LogRateLimitBurst=1000"


def test_a_killed_clair_is_restarted(us: SiteMachine) -> None:
    before = started(us)
    us.run("podman kill atoll-clair")
    us.run("timeout 60 sh -c 'until systemctl is-active --quiet atoll-clair; do sleep 1; done'")

    assert started(us) != before


@pytest.mark.usefixtures("scanning_sites")
def test_a_new_key_reaches_clair_after_the_registry_and_no_scan_fails_meanwhile(
    lab: Lab,
    tmp_path: Path,
    us: SiteMachine,
    eu: SiteMachine,
    *,
    clients: Clients,
    key: str,
    scanning: dict[str, Any],
    database: Rows,
) -> None:
    new = secrets.token_hex(32)
    both = scanning | {"SECURITY_SCANNER_V4_PSK": new, "SCANNER_PREVIOUS_PSK": key}

    with Load(clients, tmp_path, "admin/rotation") as load:
        outcome = run_site(
            lab, tmp_path, registry_config=both, clair_psk=new, clair_previous_psk=key
        )

    assert outcome.status == 0, outcome.output
    assert load.failures == []
    assert load.pushed
    states = "SELECT DISTINCT index_status FROM manifestsecuritystatus"
    wait_until(
        "all images have been scanned", lambda: not {(0,), (1,)}.intersection(database(states))
    )
    assert database(states) == [(2,)]
    assert [*failed_scans(us), *failed_scans(eu)] == []
    assert (indexer_status(us, new), indexer_status(us, key)) == (200, 401)
    # The same run again restarts nothing.
    before = started(us)
    outcome = run_site(lab, tmp_path, registry_config=both, clair_psk=new, clair_previous_psk=key)
    assert outcome.status == 0, outcome.output
    assert started(us) == before
    # The key of the inventory is restored.
    back = scanning | {"SCANNER_PREVIOUS_PSK": new}
    assert run_site(lab, tmp_path, registry_config=back, clair_previous_psk=new).status == 0
    assert run_site(lab, tmp_path, registry_config=scanning).status == 0
    assert indexer_status(us, key) == 200


@pytest.mark.parametrize("option", ["atoll_scanner_updates", "file"])
def test_updates_are_imported_on_one_host(
    lab: Lab, tmp_path: Path, us: SiteMachine, eu: SiteMachine, option: str
) -> None:
    lines = [json.dumps({"Updater": "debian/updater", "Vuln": number}) for number in range(3)]
    updates = tmp_path / "updates.json.gz"
    updates.write_bytes(gzip.compress("\n".join(lines).encode() + b"\n"))
    us.run("rm -f /var/lib/atoll/clair/spool/imported")

    outcome = run_playbook("scanner_update", lab, tmp_path, **{option: str(updates)})

    assert outcome.status == 0, outcome.output
    assert "Imported updates.json.gz" in outcome.output
    assert us.run("cat /var/lib/atoll/clair/spool/imported").strip() == "3"
    assert eu.attempt("test -e /var/lib/atoll/clair/spool/imported").returncode == 1
    assert us.attempt("test -e /var/lib/atoll/clair/spool/updates.json.gz").returncode == 1


def test_a_missing_file_is_refused(lab: Lab, tmp_path: Path) -> None:
    outcome = run_playbook("scanner_update", lab, tmp_path, file=str(tmp_path / "none.json.gz"))

    assert outcome.status != 0
    assert "cannot be read on the controller" in " ".join(outcome.output.split())


def test_stopping_and_starting_the_registry_includes_clair(
    lab: Lab, tmp_path: Path, us: SiteMachine
) -> None:
    assert run_playbook("stop", lab, tmp_path).status == 0
    assert not is_active(us)
    assert run_playbook("start", lab, tmp_path).status == 0
    assert is_active(us)
