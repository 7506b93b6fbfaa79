"""The definition of a lab, which is read from its Ansible inventory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from errors import LabError


@dataclass(frozen=True)
class Machine:
    """A container of the lab with its own IP address."""

    name: str
    container: str
    address: str


@dataclass(frozen=True)
class Store(Machine):
    """An S3 store of some kind, and its location in the registry."""

    kind: str
    location: str
    # The name in redirects. Some clients refuse to follow a redirect to a private IP address.
    hostname: str
    port: int
    bucket: str
    access_key: str
    secret_key: str

    @property
    def endpoint(self) -> str:
        """The URL for clients on this host."""
        return f"https://{self.hostname}:{self.port}"


@dataclass(frozen=True)
class Site:
    """A region with its machines and its preferred location."""

    name: str
    machines: list[Machine]
    location: str

    @property
    def machine(self) -> Machine:
        """The first machine."""
        return self.machines[0]


@dataclass(frozen=True)
class LoadBalancer(Machine):
    """A load balancer, the site that it prefers, and its address shared with other balancers."""

    site: str
    floating_address: str | None


@dataclass(frozen=True)
class Identity:
    """The name of a lab, which labels its podman objects, and its directory."""

    name: str
    state: Path

    @property
    def label(self) -> str:
        """The label of all podman objects of this lab."""
        return f"atoll.lab={self.name}"

    def generation(self) -> str:
        """Return an identifier that changes when the lab's directory is created again."""
        return (self.state / "generation").read_text()

    @property
    def certificate_authority(self) -> Path:
        """The file of the CA certificate that clients trust."""
        return self.state / "tls/ca.crt"

    def certificate(self, name: str) -> Path:
        """Return the file of a server's certificate, which is next to that of the key."""
        return self.state / f"tls/{name}.crt"

    def log(self, name: str) -> Path:
        """Return the log file of a step."""
        return self.state / f"log/{name}.log"


@dataclass(frozen=True)
class Lab(Identity):
    """The complete definition of a lab."""

    inventories: tuple[Path, ...]
    subnet: str
    registry_hostname: str
    machines: list[Machine]
    # The machines of services that all sites share.
    shared: list[Machine]
    stores: list[Store]
    sites: list[Site]
    # Empty if clients connect to a site directly.
    load_balancers: list[LoadBalancer]
    bundle: dict[str, Any]

    @property
    def entrance(self) -> Machine:
        """The machine to which clients connect."""
        return self.load_balancers[0] if self.load_balancers else self.sites[0].machine

    @property
    def entrance_address(self) -> str:
        """The address that the registry's name resolves to."""
        balancers = self.load_balancers
        return (balancers[0].floating_address if balancers else None) or self.entrance.address

    def ssh(self, machine: Machine) -> list[str]:
        """Return the command that logs in to a machine; further words run a command there."""
        # Machines are recreated with new host keys at the same addresses, on a bridge that only
        # this host can reach.
        unknown = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        options = (*unknown, "BatchMode=yes", "ConnectTimeout=5")
        settings = [word for option in options for word in ("-o", option)]
        return ["ssh", "-i", str(self.state / "id_ed25519"), *settings, f"deploy@{machine.address}"]


@cache
def _load_plugins() -> None:
    init_plugin_loader()


class _Inventory:
    """An inventory as Ansible evaluates it."""

    def __init__(self, paths: Sequence[Path]) -> None:
        missing = [str(path) for path in paths if not path.exists()]
        if missing:
            raise LabError(f"there is no inventory at {', '.join(missing)}")
        _load_plugins()
        self._loader = DataLoader()
        self.manager = InventoryManager(loader=self._loader, sources=[str(path) for path in paths])
        self._variables = VariableManager(loader=self._loader, inventory=self.manager)
        # Variables of a host may refer to those of another host.
        HostVars(self.manager, self._variables, self._loader)

    def group(self, name: str, *, may_be_empty: bool = False) -> list[str]:
        """Return the hosts of a group, in the order of the inventory."""
        group = self.manager.groups.get(name)
        hosts = [host.name for host in group.get_hosts()] if group else []
        if not hosts and not may_be_empty:
            raise LabError(f"the inventory has no host in the group `{name}`")
        return hosts

    def children(self, name: str) -> list[str]:
        """Return the child groups of a group, in the inventory's order."""
        return [child.name for child in self.manager.groups[name].child_groups]

    def variable(self, host: str, name: str) -> Any:
        """Return what Ansible would use as a host's variable."""
        value = self.variable_or_none(host, name)
        if value is None:
            raise LabError(f"the inventory defines no `{name}` for the host {host}")
        return value

    def variable_or_none(self, host: str, name: str) -> Any:
        """Return what Ansible would use as a host's variable, or None if it is undefined."""
        variables = self._variables.get_vars(host=self.manager.get_host(host))
        if name not in variables:
            return None
        return Templar(loader=self._loader, variables=variables).template(variables[name])


def identify(inventories: Sequence[Path]) -> Identity:
    """Read which lab an inventory speaks of, and make nothing."""
    return _identity(_Inventory(inventories))


def read(inventories: Sequence[Path]) -> Lab:
    """Read the definition of a lab. Secrets that it refers to are generated."""
    inventory = _Inventory(inventories)
    identity = _identity(inventory)

    def machine(name: str) -> Machine:
        container = f"{identity.name}-{name}"
        return Machine(name, container, str(inventory.variable(name, "ansible_host")))

    names = inventory.group("atoll")
    # Machines that join the registry later.
    spares = [name for name in inventory.group("spares", may_be_empty=True) if name not in names]
    balancers = inventory.group("atoll_load_balancer", may_be_empty=True)
    services = [*inventory.group("atoll_postgres"), *inventory.group("atoll_redis"), *balancers]
    return Lab(
        name=identity.name,
        state=identity.state,
        inventories=tuple(inventories),
        subnet=str(inventory.variable(names[0], "lab_network")),
        registry_hostname=str(inventory.variable(names[0], "registry_hostname")),
        machines=[machine(name) for name in (*names, *spares)],
        shared=[machine(name) for name in names if name in services],
        stores=[_store(inventory, machine(name)) for name in inventory.group("object_stores")],
        sites=[
            _site(inventory, group, [machine(name) for name in inventory.group(group)])
            for group in inventory.children("atoll_sites")
        ],
        load_balancers=[_load_balancer(inventory, machine(name)) for name in balancers],
        bundle=inventory.variable(names[0], "registry_config"),
    )


def _identity(inventory: _Inventory) -> Identity:
    host = inventory.group("atoll")[0]
    return Identity(
        name=str(inventory.variable(host, "lab_name")),
        state=Path(str(inventory.variable(host, "lab_state")).strip()),
    )


def _store(inventory: _Inventory, machine: Machine) -> Store:
    return Store(
        machine.name,
        machine.container,
        machine.address,
        kind=str(inventory.variable(machine.name, "store_kind")),
        location=str(inventory.variable(machine.name, "store_location")),
        hostname=str(inventory.variable(machine.name, "store_hostname")),
        port=int(inventory.variable(machine.name, "store_port")),
        bucket=str(inventory.variable(machine.name, "store_bucket")),
        access_key=str(inventory.variable(machine.name, "store_access_key")),
        secret_key=str(inventory.variable(machine.name, "store_secret_key")),
    )


def _site(inventory: _Inventory, name: str, machines: list[Machine]) -> Site:
    preference = inventory.variable(machines[0].name, "registry_storage_preference")
    return Site(name, machines, str(preference[0]))


def _load_balancer(inventory: _Inventory, machine: Machine) -> LoadBalancer:
    address = inventory.variable_or_none(machine.name, "keepalived_address")
    return LoadBalancer(
        machine.name,
        machine.container,
        machine.address,
        site=str(inventory.variable(machine.name, "load_balancer_site")),
        floating_address=str(address) if address else None,
    )
