"""Create and remove the machines and the object stores of a lab."""

import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import certificates
import hosts_file
import stores
from commands import run, succeeds, wait_until
from containers import Containers
from definition import Identity, Lab, Machine

IMAGE = "localhost/atoll-machine:13"

# Machines may use all system calls, except those for the host's clock, kernel modules and swap.
_SECCOMP = Path(__file__).with_name("machine-seccomp.json")


def create(lab: Lab) -> list[str]:
    """Create or start all machines and stores, wait for them, and return the new containers."""
    _prepare_state(lab)
    certificates.issue(lab)
    # Containers copy /etc/hosts when they are created.
    hosts_file.add(lab)
    containers = Containers(lab)
    containers.remove_stale()
    containers.create_network(lab.subnet)
    work: dict[str, Callable[[], bool]] = {}
    for machine in lab.machines:
        work[machine.container] = partial(_create, lab, containers, machine)
    for store in lab.stores:
        work[store.container] = partial(stores.create, lab, containers, store)
    with ThreadPoolExecutor(len(work)) as pool:
        new = list(pool.map(lambda create: create(), work.values()))
    return [name for name, is_new in zip(work, new, strict=True) if is_new]


def destroy(identity: Identity) -> None:
    """Remove all podman objects of the lab, its names in /etc/hosts, and its directory."""
    hosts_file.remove(identity)
    Containers(identity).remove_all()
    shutil.rmtree(identity.state, ignore_errors=True)


def _prepare_state(lab: Lab) -> None:
    lab.state.mkdir(parents=True, exist_ok=True)
    lab.state.chmod(0o700)
    key = lab.state / "id_ed25519"
    if not key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", lab.name, "-f", str(key)])
    authorized = lab.state / "authorized_keys"
    authorized.mkdir(exist_ok=True)
    (authorized / "deploy").write_text(key.with_suffix(".pub").read_text())
    generation = lab.state / "generation"
    if not generation.exists():
        generation.write_text(secrets.token_hex(8))


def _create(lab: Lab, containers: Containers, machine: Machine) -> bool:
    new = containers.ensure(
        lab,
        machine,
        "--privileged",
        f"--security-opt=seccomp={_SECCOMP}",
        "--systemd=always",
        # Otherwise, every call of podman warns about the cgroup that it shares with conmon.
        "--cgroups=no-conmon",
        f"--volume={containers.create_volume(machine, 'containers')}:/var/lib/containers",
        f"--volume={lab.state}/authorized_keys:/etc/ssh/authorized_keys:ro",
        IMAGE,
    )
    ssh = lab.ssh(machine)
    wait_until(f"Ansible can log in to {machine.container}", lambda: succeeds([*ssh, "true"]))
    # The state may be "degraded", which the rollout repairs.
    succeeds([*ssh, "systemctl", "is-system-running", "--wait"])
    return new
