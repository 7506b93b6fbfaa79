"""Start, describe and remove the lab."""

import json
import os
import shutil
import sys
from pathlib import Path

import definition
import hosts_file
import images
import information
import machines
from commands import PODMAN, REPOSITORY, alone, run
from containers import Containers
from definition import Lab
from demonstration import REPOSITORY as DEMONSTRATION_REPOSITORY
from demonstration import Demonstration
from errors import LabError
from progress import Steps
from rollout import roll_out

INVENTORY = (REPOSITORY / "inventories/lab/hosts.yml",)


def up() -> None:
    """Start the lab, or the missing parts of it, and run the demonstration."""
    _require_root()
    with alone("lab"), Steps() as steps:
        images.build(steps)
        with steps.step("Start the machines and the object stores") as step:
            lab = definition.read(INVENTORY)
            new = machines.create(lab)
            step.show(f"{len(new)} created" if new else "already running")
        with steps.step("Deploy the registry") as step:
            step.show(f"log: {lab.log('site').relative_to(REPOSITORY)}")
            roll_out(lab, step)
        digest = _demonstrate(lab, steps)
    sys.stdout.write(_summary(lab, digest))


def info() -> None:
    """Print all addresses and credentials as JSON."""
    identity = definition.identify(INVENTORY)
    if not (identity.state / "generation").exists() or not Containers(identity).running():
        raise LabError("the lab is not running; start it with `make lab`")
    described = information.describe(definition.read(INVENTORY))
    sys.stdout.write(f"{json.dumps(described, indent=2)}\n")


def down() -> None:
    """Remove everything that belongs to the lab."""
    _require_root()
    identity = definition.identify(INVENTORY)
    with alone("lab"), Steps() as steps, steps.step("Remove the lab"):
        hosts_file.remove(identity)
        if shutil.which("podman"):
            machines.destroy(identity)
            images.remove()
        run([PODMAN[0], "--leave"])


def _demonstrate(lab: Lab, steps: Steps) -> str:
    demonstration = Demonstration(lab)
    with steps.step("Create a user and a repository") as step:
        demonstration.prepare(step)
    with steps.step("Push an image through the load balancer") as step:
        demonstration.push(step)
    with steps.step("Wait until all blobs are replicated"):
        demonstration.wait()
    with steps.step("Pull the image from the other site"):
        return demonstration.pull()


def _summary(lab: Lab, digest: str) -> str:
    user = lab.bundle["SUPER_USERS"][0]
    registry = lab.registry_hostname
    trust = _short(lab.certificate_authority.parent.parent / "demonstration/trust")
    sites = ", ".join(
        f"{site.name} (https://{site.machine.address}, writes to {site.location})"
        for site in lab.sites
    )
    return f"""
The lab is running: one registry with {len(lab.sites)} sites.

  registry   https://{registry}
  panel      https://{registry}/superuser (a browser has to trust
             {_short(lab.certificate_authority)})
  sites      {sites}
  superuser  {user} (password in {_short(lab.state / "secrets/superuser_password")})
  image      {DEMONSTRATION_REPOSITORY}@{digest}
             pushed through the load balancer, pulled from site {lab.sites[-1].name}

Log in:
  podman login --cert-dir {trust} --username {user} {registry}

Then:
  push an image       podman push --cert-dir {trust} IMAGE {registry}/{user}/NAME:TAG
  log in to a site    {_log_in(lab)}
  list containers     {" ".join(_short(word) for word in PODMAN)} ps
  print credentials   make lab-info
  remove the lab      make lab-down
"""


def _log_in(lab: Lab) -> str:
    return " ".join(_short(word) for word in lab.ssh(lab.sites[0].machine))


def _short(path: str | Path) -> str:
    return str(path).removeprefix(f"{REPOSITORY}/")


def _require_root() -> None:
    if os.geteuid() != 0:
        raise LabError(
            "the lab runs systemd in containers, which requires root: use `sudo make lab`"
        )
