"""Machines on which `podman kube play` runs the rendered manifests of their site."""

import json
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

from commands import podman
from definition import Lab, Machine, Site
from site_machine import SiteMachine

# The name of the converted QuayRegistry.
NAME = "example-registry"
_UNITS = "/etc/containers/systemd"
_HEALTHY_SECONDS = 180


class ClusterMachine(SiteMachine):
    """A machine of a site, with the rendered manifests of the site."""

    def __init__(self, lab: Lab, machine: Machine, location: str, manifests: Path) -> None:
        super().__init__(lab, Site(machine.name.partition("-")[0], [machine], location))
        self.name = machine.name
        self._manifests = manifests / self.site.name / "podman"

    def load_image(self, archive: Path) -> str:
        """Load an image of the registry, and return it as NAME@sha256:DIGEST."""
        with archive.open("rb") as stream:
            loaded = subprocess.run(
                [*self._ssh, "sudo podman load --quiet"],
                stdin=stream,
                capture_output=True,
                text=True,
                check=True,
            )
        image = loaded.stdout.strip().rpartition(" ")[2]
        return self.run(
            f"podman image inspect --format '{{{{index .RepoDigests 0}}}}' {image}"
        ).strip()

    def copy_manifests(self) -> None:
        """Copy the rendered files to the machine, as the Quadlet unit says.

        Instances report the names of their hosts, which are made different here.
        """
        for path in sorted(self._manifests.iterdir()):
            target = f"{_UNITS}/{path.name}"
            text = path.read_text().replace(
                f"hostname: {self.site.name}-", f"hostname: {self.name}-"
            )
            self.run(f"install -m 0600 /dev/stdin {target}", given=text)

    def migrate(self) -> None:
        """Play the Job that migrates the database, and wait until it has ended."""
        job, pod = f"{_UNITS}/{NAME}-migrate.yaml", f"{NAME}-migrate-pod"
        self.run(f"podman kube play --replace {job}")
        status = self.run(f"podman wait {pod}-migrate").strip()
        log = self.run(f"podman logs {pod}-migrate")
        self.run(f"podman kube down {job}")
        assert status == "0", log

    def restart(self) -> None:
        """Start the site or play its changed manifests, and wait until it is healthy."""
        self.run(f"sh -c 'systemctl daemon-reload && systemctl restart {NAME}'")
        deadline = time.monotonic() + _HEALTHY_SECONDS
        while self.health("endtoend") != 200:
            assert time.monotonic() < deadline, self.run("podman ps --all")
            time.sleep(1)

    def stop(self) -> None:
        """Stop the site for good."""
        self.run(f"sh -c 'systemctl stop {NAME} && rm {_UNITS}/{NAME}*'")

    def execute(self, component: str, *words: str, given: str | None = None) -> str:
        """Run a command in the pod of a component."""
        interactive = "--interactive " if given is not None else ""
        container = f"{NAME}-{component}-pod-{component}"
        return self.run(f"podman exec {interactive}{container} {shlex.join(words)}", given=given)

    def atoll(self, command: str) -> str:
        """Run a command of Atoll in the pod of the registry."""
        return self.execute("registry", "atoll", *shlex.split(command))

    def fingerprints(self) -> dict[str, str]:
        """Return the fingerprint of the bundle of each instance, by its host."""
        return {one["hostname"]: one["bundle"] for one in self._instances()}

    def versions(self) -> set[str]:
        """Return the versions of the instances of all sites."""
        return {one["version"] for one in self._instances()}

    def _instances(self) -> list[dict[str, Any]]:
        # The exit code is 1 while instances have different bundles.
        shown = self.execute("registry", "sh", "-c", "atoll status --json || true")
        found: list[dict[str, Any]] = json.loads(shown)["instances"]
        return found


def convert(files: list[Path], bundle: Path, image: str) -> str:
    """Convert QuayRegistry files with the command of the image, and return the inventory."""
    folder = files[0].parent
    names = [path.name for path in files]
    command = ["atoll", "kubernetes", "convert", *names, "--bundle", bundle.name]
    options = ["--rm", "--user=0", "--network=none", f"--volume={folder}:/work", "--workdir=/work"]
    return podman("run", *options, image, *command)
