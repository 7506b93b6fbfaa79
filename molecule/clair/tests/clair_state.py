"""The state of the replay servers, which each machine has in a directory.

Clairs share a database instead, so what one knows is copied to the others.
"""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from site_machine import SiteMachine

_DIRECTORY = "/var/lib/atoll/clair/spool/state"


class ClairState:
    """Changes the state of all replay servers; the first one delivers notifications."""

    def __init__(self, machines: Sequence[SiteMachine]) -> None:
        self._machines = machines

    def change(self, **controls: Any) -> None:
        """Set the controls; those that are left out have their defaults."""
        self._write("controls.json", json.dumps(controls))

    def share(self) -> None:
        """Let each server know the images that another one indexed."""
        manifests = f"--directory={_DIRECTORY}/manifests"
        extract = f"tar --extract --skip-old-files --no-same-owner {manifests}"
        for source in self._machines:
            archive = source.run(f"tar --create {manifests} . | base64")
            for target in self._machines:
                if target is not source:
                    target.run(f"sh -c 'base64 --decode | {extract}'", given=archive)

    def announce(self, changes: list[dict[str, Any]]) -> str:
        """Save a notification of changes, which is delivered, and return its id."""
        identifier = str(uuid.uuid4())
        for machine in self._machines[1:]:
            machine.run(f"touch {_DIRECTORY}/delivered/{identifier}")
        ordered = sorted(changes, key=lambda change: str(change["id"]))
        self._write(f"notifications/{identifier}.json", json.dumps({"notifications": ordered}))
        return identifier

    def is_delivered(self, identifier: str) -> bool:
        """Return whether the registry has accepted a notification."""
        marker = f"{_DIRECTORY}/delivered/{identifier}"
        return self._machines[0].attempt(f"test -e {marker}").returncode == 0

    def deliver_again(self, identifier: str) -> None:
        """Have a notification posted as if the response of the registry had been lost."""
        self._machines[0].run(f"rm {_DIRECTORY}/delivered/{identifier}")

    def _write(self, name: str, content: str) -> None:
        path = f"{_DIRECTORY}/{name}"
        # The first machine is last: it delivers a notification that the others know.
        for machine in reversed(self._machines):
            machine.run(f"sh -c 'cat > {path}.new && mv {path}.new {path}'", given=content)
