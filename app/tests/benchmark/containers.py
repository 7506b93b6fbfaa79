"""The containers of a run, which share one network and are removed at the end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from commands import podman

from ..integration.services import LABEL, OWNER, owner_label
from .errors import BenchmarkError

# The options of the collection's units.
CONFINED = ("--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")


@dataclass(frozen=True)
class Container:
    """A running container.

    Attributes:
        identity: its id.
        process: the process id of its first process on this machine.
    """

    identity: str
    process: int

    @property
    def address(self) -> str:
        """The address of its network, which this machine can reach."""
        found = podman("inspect", "--format", "{{json .NetworkSettings}}", self.identity)
        settings = json.loads(found)
        networks = (settings.get("Networks") or {}).values()
        return str(next((one["IPAddress"] for one in networks), settings["IPAddress"]))

    def inside(self, path: str) -> Path:
        """Return a path in the container as a path of this machine."""
        return Path(f"/proc/{self.process}/root{path}")

    def run(self, *words: str) -> str:
        """Run a program in the container, and return its output."""
        return podman("exec", self.identity, *words)

    def log(self) -> str:
        """Return the last lines that the container printed."""
        return podman("logs", "--tail=20", self.identity)

    def is_running(self) -> bool:
        """Return whether the container's first process runs."""
        return Path(f"/proc/{self.process}/ns").exists()

    def require_running(self) -> None:
        """Raise an error with the log if the container has ended."""
        if not self.is_running():
            raise BenchmarkError(f"a container ended:\n{self.log()}")

    def remove(self) -> None:
        """Remove the container and its volumes."""
        podman("rm", "--force", "--time=0", "--volumes", "--ignore", self.identity)


def labels() -> tuple[str, ...]:
    """Return the options with which every later run finds and removes what this one left."""
    return (f"--label={LABEL}", f"--label={OWNER}={owner_label()}")


def words_to_start(image: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
    """Return the words of podman that start a container in the background."""
    return ["run", "--detach", *labels(), *options, image, *words]


def start(image: str, *words: str, options: tuple[str, ...] = ()) -> Container:
    """Start a container.

    Args:
        image: its image.
        words: its command.
        options: options of `podman run`.
    """
    return started(podman(*words_to_start(image, *words, options=options)))


def started(output: str) -> Container:
    """Return the container of which `podman run` printed the id."""
    identity = output.rsplit(maxsplit=1)[-1]
    process = int(podman("inspect", "--format", "{{.State.Pid}}", identity))
    container = Container(identity, process)
    container.require_running()
    return container
