"""The lines for the names of a lab in /etc/hosts, which are marked with the lab's name."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from definition import Identity, Lab

_HOSTS = Path("/etc/hosts")


def add_stores(lab: Lab) -> None:
    """Add or replace the lines of the stores, whose names clients receive in redirects."""
    _replace(lab, {store.hostname: store.address for store in lab.stores})


def add_all(lab: Lab) -> None:
    """Add or replace the lines of the registry and of the stores."""
    stores = {store.hostname: store.address for store in lab.stores}
    _replace(lab, {lab.registry_hostname: lab.entrance.address} | stores)


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
