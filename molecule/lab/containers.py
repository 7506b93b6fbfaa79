"""The podman objects of a lab, all of which have the lab's label."""

import json
from dataclasses import dataclass

from commands import PODMAN, podman, succeeds
from definition import Identity, Lab, Machine
from errors import LabError


@dataclass(frozen=True)
class Container:
    """A container as podman lists it."""

    name: str
    state: str
    generation: str


class Containers:
    """The containers, volumes and the network of one lab."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._ours = ("--filter", f"label={identity.label}")

    def all(self) -> list[Container]:
        """Return all containers, in any state."""
        listed = podman("ps", "--all", *self._ours, "--format", "json")
        return [
            Container(row["Names"][0], row["State"], row["Labels"].get("atoll.generation", ""))
            for row in json.loads(listed or "[]")
        ]

    def running(self) -> set[str]:
        """Return the names of the running containers."""
        return {container.name for container in self.all() if container.state == "running"}

    def remove_all(self) -> None:
        """Remove all objects with the label."""
        self._remove([container.name for container in self.all()])
        for volume in self._volumes():
            podman("volume", "rm", "--force", volume)
        for network in podman("network", "ls", "--quiet", *self._ours).split():
            podman("network", "rm", "--force", network)

    def remove_stale(self) -> None:
        """Remove containers and volumes of an earlier lab, whose keys and passwords are lost."""
        generation = self._identity.generation()
        self._remove([one.name for one in self.all() if one.generation != generation])
        kept = self._volumes("--filter", f"label=atoll.generation={generation}")
        for volume in self._volumes() - kept:
            podman("volume", "rm", "--force", volume)

    def create_network(self, subnet: str) -> None:
        """Create the network unless it exists."""
        if not succeeds([*PODMAN, "network", "exists", self._identity.name]):
            podman("network", "create", *self._labels(), "--subnet", subnet, self._identity.name)

    def create_volume(self, machine: Machine, purpose: str) -> str:
        """Create a volume of a machine unless it exists, and return its name."""
        name = f"{machine.container}-{purpose}"
        if not succeeds([*PODMAN, "volume", "exists", name]):
            podman("volume", "create", *self._labels(), name)
        return name

    def ensure(self, lab: Lab, machine: Machine, *words: str) -> bool:
        """Ensure the container of a machine is running, and return whether it is new."""
        state = {one.name: one.state for one in self.all()}.get(machine.container)
        if state is not None and self._restart(machine.container, state):
            return False
        if state is not None:
            self._remove([machine.container])
        podman(
            "run",
            "--detach",
            "--pull=never",
            f"--name={machine.container}",
            f"--hostname={machine.name}",
            f"--network={lab.name}",
            f"--network-alias={machine.name}",
            f"--ip={machine.address}",
            f"--mac-address={_hardware_address(machine.address)}",
            *self._labels(),
            *words,
        )
        return True

    @staticmethod
    def _restart(name: str, state: str) -> bool:
        if state == "running":
            return True
        try:
            podman("unpause" if state == "paused" else "start", name)
        except LabError:
            # An interrupted run did not finish creating it.
            return False
        return True

    def _labels(self) -> tuple[str, ...]:
        generation = self._identity.generation()
        return (f"--label={self._identity.label}", f"--label=atoll.generation={generation}")

    def _volumes(self, *filters: str) -> set[str]:
        return set(podman("volume", "ls", "--quiet", *self._ours, *filters).split())

    @staticmethod
    def _remove(names: list[str]) -> None:
        if names:
            podman("rm", "--force", "--time", "0", "--volumes", *names)


def _hardware_address(address: str) -> str:
    """Return the hardware address for an IP address.

    A container that podman restarts would get another one, and for up to half a minute its
    neighbours would send to the old one.
    """
    return ":".join(["02", "42", *(f"{int(part):02x}" for part in address.split("."))])
