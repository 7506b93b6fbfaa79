"""A machine of a site, used over SSH as an operator does."""

import http.client
import json
import ssl
import subprocess

from commands import run
from definition import Lab, Site


class SiteMachine:
    """The machine of one site."""

    def __init__(self, lab: Lab, site: Site) -> None:
        self.lab = lab
        self.site = site
        self.address = site.machine.address
        self.location = site.location
        self._ssh = lab.ssh(site.machine)
        self._trust = ssl.create_default_context(cafile=str(lab.certificate_authority))

    def run(self, command: str, *, given: str | None = None) -> str:
        """Return the output of a command that runs as root. Raises LabError."""
        return run([*self._ssh, f"sudo {command}"], given=given)

    def attempt(self, command: str) -> "subprocess.CompletedProcess[str]":
        """Run a command as root, and return its result even if it fails."""
        words = [*self._ssh, f"sudo {command}"]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def remains(self) -> str:
        """Return the paths that a removal left: the registry's, and those of deleted users.

        The image of the lab's machines has a software bill of materials in /usr/share/atoll.
        """
        wanted = "'(' -iname '*atoll*' -o -nouser ')'"
        return self.run(f"find / -xdev {wanted} -not -path /usr/share/atoll")

    def atoll(self, command: str) -> str:
        return self.run(f"podman exec atoll-registry atoll {command}")

    def locations(self) -> dict[str, str]:
        """Return the state of each location, by name."""
        return {row["location"]: row["state"] for row in json.loads(self.atoll("locations --json"))}

    def health(self, kind: str) -> int:
        """Return the HTTP status of a health endpoint of the site itself; 0 without a response."""
        connection = http.client.HTTPSConnection(self.address, timeout=10, context=self._trust)
        try:
            connection.request("GET", f"/health/{kind}")
            return connection.getresponse().status
        except OSError:
            return 0
        finally:
            connection.close()
