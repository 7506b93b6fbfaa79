"""The preflight finds the problems of real machines, and changes nothing."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from commands import run
from definition import Lab, Machine
from playbook import run_playbook

NEWCOMER = "us-3.atoll-topology.test"
_DOMAIN = "atoll-topology.test"
_INVENTORY = Path(__file__).resolve().parents[3] / ".cache/topology-inventory"


def _group(**hosts: dict[str, Any]) -> dict[str, Any]:
    named = {f"{name.replace('_', '-')}.{_DOMAIN}": given for name, given in hosts.items()}
    return {"hosts": named}


# What an operator wrote, and the problems that it causes on the hosts.
_MISTAKES = {
    "us": _group(
        us_1={"registry_address": "10.205.9.9"},
        us_2={
            "registry_adress": "10.205.1.12",
            "registry_storage_preference": ["eustorage", "usstorage"],
        },
    ),
    "eu": _group(
        eu_1={"registry_metrics_address": "10.205.2.11", "registry_metrics_port": 443},
        eu_2={"registry_image_archive": "/srv/atoll/images/missing.tar", "registry_memory": "900G"},
    ),
    "atoll_postgres": _group(shared_2={"ansible_host": "10.205.1.99"}),
    "atoll_load_balancer": _group(
        lb_us_2={"keepalived_address": "10.205.1.22"},
        lb_eu={"load_balancer_tls_certificate_file": "{{ tls_directory }}/redis.crt"},
        lb_eu_2={"load_balancer_site": "ap"},
    ),
}
_PROBLEMS = {
    ("us_1", "address-missing"),
    ("us_2", "variable-unknown"),
    ("us_2", "site-inconsistent"),
    ("us_3", "port-in-use"),
    ("eu_1", "port-collision"),
    ("eu_2", "image-invalid"),
    ("eu_2", "memory-low"),
    ("shared_2", "host-unreachable"),
    ("lb_us_2", "floating-address"),
    ("lb_eu", "certificate-key-mismatch"),
    ("lb_eu", "certificate-name"),
    ("lb_eu_2", "site-unknown"),
    # Those of all hosts and of the bundle.
    ("", "several-postgres-hosts"),
    ("", "configuration-key-unknown"),
    ("", "placeholder"),
    ("", "secret-weak"),
    ("", "database-mismatch"),
    ("", "redis-mismatch"),
    ("", "trusted-proxies"),
    ("", "store-unresolved"),
    ("", "store-unusable"),
}


@contextmanager
def mistaken(lab: Lab) -> Iterator[Lab]:
    """Yield a lab whose inventory has many mistakes."""
    file = _INVENTORY / "mistakes.yml"
    sites = {name: _MISTAKES[name] for name in ("us", "eu")}
    groups = {name: group for name, group in _MISTAKES.items() if name not in sites}
    children = {"atoll_sites": {"children": sites}, **groups}
    file.write_text(json.dumps({"all": {"children": {"atoll": {"children": children}}}}))
    try:
        yield replace(lab, inventories=(*lab.inventories, file))
    finally:
        file.unlink()


def problems(lab: Lab, folder: Path, **variables: Any) -> tuple[int, set[tuple[str, str, str]]]:
    """Return the exit status of the preflight, and host, id and severity of each problem."""
    report = folder / "preflight.json"
    outcome = run_playbook(
        "preflight", lab, folder, **{"atoll_preflight_report": str(report), **variables}
    )
    assert report.exists(), outcome.output
    found = json.loads(report.read_text())["problems"]
    return outcome.status, {(one["host"], one["id"], one["severity"]) for one in found}


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
        run([*lab.ssh(machine), f"sudo pkill -f '[h]ttp.server {port}' || true"])


def test_a_running_registry_has_no_errors(lab: Lab, tmp_path: Path) -> None:
    status, found = problems(lab, tmp_path)

    assert status == 0
    assert [one for one in found if one[2] == "error"] == []


def test_twenty_mistakes_are_reported_in_one_run_that_changes_nothing(
    lab_with_host: Lab, tmp_path: Path
) -> None:
    newcomer = next(one for one in lab_with_host.machines if one.name == NEWCOMER)
    deployed = lab_with_host.sites[0].machine
    before = state(lab_with_host, newcomer), state(lab_with_host, deployed)
    bundle = json.loads(json.dumps(lab_with_host.bundle))
    stores = bundle["DISTRIBUTED_STORAGE_CONFIG"]
    stores["usstorage"][1]["host"] = f"no-store.{_DOMAIN}"
    stores["eustorage"][1]["secret_key"] = "of-another-store"
    bundle["FEATURE_STORAGE_REPLICATON"] = bundle.pop("FEATURE_STORAGE_REPLICATION")
    bundle["INITIAL_SUPERUSER_PASSWORD"] = "password"
    bundle["REGISTRY_TITLE"] = "registry.example.org"
    bundle["DB_URI"] = bundle["DB_URI"].rpartition("/")[0] + "/another"
    bundle["BUILDLOGS_REDIS"] = bundle["BUILDLOGS_REDIS"] | {"password": "of-another-redis-server"}
    bundle["TRUSTED_PROXIES"] = ["10.205.1.20"]
    with mistaken(lab_with_host) as lab, listener(lab, newcomer, 443):
        status, reported = problems(lab, tmp_path, registry_config=bundle)

    assert status != 0
    found = {(host, identifier) for host, identifier, _ in reported}
    ids = {identifier for _, identifier in found}
    expected = {
        (f"{host.replace('_', '-')}.{_DOMAIN}", identifier)
        for host, identifier in _PROBLEMS
        if host
    }
    assert len(_PROBLEMS) >= 20
    assert expected - found == set()
    assert {identifier for host, identifier in _PROBLEMS if not host} - ids == set()
    after = state(lab_with_host, newcomer), state(lab_with_host, deployed)
    assert after == before
