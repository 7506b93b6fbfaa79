"""The lines for the names of a lab in /etc/hosts, which are marked with the lab's name."""

import fcntl
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from definition import Identity, Lab

_HOSTS = Path("/etc/hosts")


def add(lab: Lab) -> None:
    """Add or replace the lines of the registry and of the stores."""
    addresses = {store.hostname: store.address for store in lab.stores}
    if not _is_address(lab.registry_hostname):
        addresses[lab.registry_hostname] = lab.entrance_address
    _replace(lab, addresses)


def remove(identity: Identity) -> None:
    """Remove the lines of the lab."""
    _replace(identity, {})


def _replace(identity: Identity, addresses: dict[str, str]) -> None:
    mark = f" # {identity.name}"
    wanted = [f"{address} {name}{mark}" for name, address in addresses.items()]
    with _locked():
        present = _HOSTS.read_text().splitlines()
        lines = [line for line in present if not line.endswith(mark)] + wanted
        if lines != present:
            # Write in place: in a container the file is a mount, which cannot be replaced.
            _HOSTS.write_text("".join(f"{line}\n" for line in lines))


@contextmanager
def _locked() -> Iterator[None]:
    """Hold a lock, because several labs may start concurrently."""
    with _HOSTS.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
