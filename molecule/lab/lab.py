"""Start the lab, say what is in it, and remove it."""

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
    """Make the whole lab, or what is missing of it, and show that it works."""
    _require_root()
    with alone("lab"), Steps() as steps:
        images.build(steps)
        with steps.step("Start the machines and their object stores") as step:
            lab = definition.read(INVENTORY)
            new = machines.create(lab)
            step.say(f"{len(new)} new" if new else "they run")
        with steps.step("Roll out the registry") as step:
            step.say(f"log: {lab.log('site').relative_to(REPOSITORY)}")
            roll_out(lab, step)
        hosts_file.add(lab)
        digest = _demonstrate(lab, steps)
    sys.stdout.write(_summary(lab, digest))


def info() -> None:
    """Print, as JSON and nothing else, how to reach everything."""
    identity = definition.identify(INVENTORY)
    if not (identity.state / "generation").exists() or not Containers(identity).running():
        raise LabError("no lab runs here; `make lab` starts one")
    described = information.describe(definition.read(INVENTORY))
    sys.stdout.write(f"{json.dumps(described, indent=2)}\n")


def down() -> None:
    """Remove everything that the lab made, and nothing else."""
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
    with steps.step("Wait until every blob is at every location"):
        demonstration.wait()
    with steps.step("Pull the image from the other site"):
        return demonstration.pull()


def _summary(lab: Lab, digest: str) -> str:
    user = lab.bundle["SUPER_USERS"][0]
    registry = lab.registry_hostname
    authority = _short(lab.certificate_authority.parent.parent / "demonstration/trust")
    sites = ", ".join(
        f"{site.name} (https://{site.machine.address}, writes to {site.location})"
        for site in lab.sites
    )
    return f"""
The lab is up: one registry, {len(lab.sites)} sites.

  registry   https://{registry}
  sites      {sites}
  superuser  {user}, password in {_short(lab.state / "secrets/superuser_password")}
  pushed     {DEMONSTRATION_REPOSITORY}@{digest}
             through the load balancer, pulled from {lab.sites[-1].name}

Next:
  podman login --cert-dir {authority} --username {user} {registry}
  podman push --cert-dir {authority} IMAGE {registry}/{user}/NAME:TAG
  make lab-info      every address and credential, as JSON
  make lab-down      remove the lab
  {" ".join(_short(word) for word in PODMAN)} ps
  {_log_in(lab)}
"""


def _log_in(lab: Lab) -> str:
    return " ".join(_short(word) for word in lab.ssh(lab.sites[0].machine))


def _short(path: str | Path) -> str:
    return str(path).removeprefix(f"{REPOSITORY}/")


def _require_root() -> None:
    if os.geteuid() != 0:
        raise LabError("the lab runs systemd in containers, which needs root: use `sudo make lab`")
