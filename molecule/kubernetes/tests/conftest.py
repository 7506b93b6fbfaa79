"""Fixtures for a registry whose two sites are played from rendered manifests."""

import json
import shutil
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import definition
import information
import pytest
import requests
import yaml
from clients import Clients
from cluster import ClusterMachine, convert
from commands import IMAGES, REPOSITORY, wait_until
from definition import Lab
from images import REGISTRY
from playbook import Outcome, run_playbook
from rows import database

__all__ = ["database"]

_INVENTORY = Path(__file__).resolve().parents[1] / "inventory/hosts.yml"
_REGISTRIES = REPOSITORY / "app/tests/unit/quay_registries"
_LOCATIONS = {"us": "usstorage", "eu": "eustorage"}


@pytest.fixture(scope="session")
def lab() -> Lab:
    return definition.read((_INVENTORY,))


@dataclass
class Registry:
    """The files of an operator: QuayRegistry files, a bundle, an inventory and manifests."""

    lab: Lab
    folder: Path
    machines: list[ClusterMachine]
    image: str = ""

    @property
    def us(self) -> ClusterMachine:
        """The first machine of site us."""
        return self.of("us")[0]

    @property
    def eu(self) -> ClusterMachine:
        """The first machine of site eu."""
        return self.of("eu")[0]

    def of(self, site: str) -> list[ClusterMachine]:
        """Return the machines of a site."""
        return [machine for machine in self.machines if machine.site.name == site]

    def load_image(self, archive: Path) -> None:
        """Load an image on all machines; it is that of all sites from the next conversion on."""
        (self.image,) = {machine.load_image(archive) for machine in self.machines}

    def convert(self, bundle: dict[str, Any], sites: list[str]) -> None:
        """Write the bundle and the QuayRegistry files of the sites, and convert them."""
        stack, state = self.folder / "bundle", self.lab.state / "tls"
        (stack / "extra_ca_certs").mkdir(parents=True, exist_ok=True)
        # Texts that Ansible evaluated are of types of its own.
        (stack / "config.yaml").write_text(json.dumps(bundle))
        for source, name in {
            "registry.crt": "ssl.cert",
            "registry.key": "ssl.key",
            "ca.crt": "database.pem",
        }.items():
            shutil.copy(state / source, stack / name)
        shutil.copy(state / "ca.crt", stack / "extra_ca_certs/ca.crt")
        files = [self.folder / f"{site}.yaml" for site in sites]
        for path in files:
            shutil.copy(_REGISTRIES / f"{path.stem}.txt", path)
        (self.folder / "clusters.yml").write_text(convert(files, stack, REGISTRY.tag))
        self._add_addresses(sites)

    def play(self, playbook: str) -> Outcome:
        """Run a playbook with the inventories of the shared services and of the clusters."""
        added = tuple(self.folder / name for name in ("clusters.yml", "addresses.yml"))
        lab = replace(self.lab, inventories=(*self.lab.inventories, *added))
        return run_playbook(playbook, lab, self.folder)

    def render(self) -> None:
        """Render the manifests."""
        outcome = self.play("kubernetes")
        assert outcome.status == 0, outcome.output

    def serves(self) -> bool:
        """Return whether the registry answers by its name."""
        url = f"https://{self.lab.registry_hostname}/health/endtoend"
        answer = requests.get(url, verify=str(self.lab.certificate_authority), timeout=10)
        return answer.status_code == HTTPStatus.OK

    def _add_addresses(self, sites: list[str]) -> None:
        clusters = {site: {"kubernetes_address": self.of(site)[0].address} for site in sites}
        machines = {
            f"{machine.name}-machine": {
                "registry_site": machine.site.name,
                "kubernetes_address": machine.address,
            }
            for site in sites
            for machine in self.of(site)
        }
        variables = {
            "registry_image": self.image,
            "registry_ca_file": str(self.lab.certificate_authority),
            "kubernetes_directory": str(self.folder / "manifests"),
            # Machines in containers may lack the controllers of cgroups.
            **{
                f"kubernetes_{component}_{kind}": {}
                for component in ("registry", "replication", "mirror")
                for kind in ("requests", "limits")
            },
        }
        document = {
            "atoll_kubernetes": {"hosts": clusters, "vars": variables},
            "machines": {"hosts": machines},
        }
        (self.folder / "addresses.yml").write_text(yaml.safe_dump(document))


@pytest.fixture(scope="session")
def registry(lab: Lab) -> Registry:
    """Convert, deploy the shared services, render, and play both sites."""
    folder = lab.state / "operator"
    folder.mkdir(mode=0o700, exist_ok=True)
    machines = [
        ClusterMachine(
            lab, machine, _LOCATIONS[machine.name.partition("-")[0]], folder / "manifests"
        )
        for machine in lab.machines
        if machine not in lab.shared
    ]
    made = Registry(lab, folder, machines)
    made.load_image(IMAGES / "registry.tar")
    made.convert(lab.bundle, ["us", "eu"])
    outcome = made.play("site")
    assert outcome.status == 0, outcome.output
    made.render()
    for one in machines:
        one.copy_manifests()
    made.us.migrate()
    for one in machines:
        one.restart()
    wait_until("the load balancer has found the sites", made.serves)
    return made


@pytest.fixture(scope="session")
def clients(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Clients:
    """Return clients of the running registry."""
    login = information.describe(registry.lab)["registry"]
    folder = tmp_path_factory.mktemp("clients")
    # The login is valid at each site as well.
    sites = [machine.site for machine in registry.machines]
    return Clients(replace(registry.lab, sites=sites), login["username"], login["password"], folder)
