"""The line for the registry's name in /etc/hosts, which is marked with the lab's name."""

from pathlib import Path

from definition import Identity, Lab

_HOSTS = Path("/etc/hosts")


def add(lab: Lab) -> None:
    """Add or replace the line of the lab."""
    line = f"{lab.entrance.address} {lab.registry_hostname} {_mark(lab)}"
    kept = _others(lab)
    if _lines() != [*kept, line]:
        _write([*kept, line])


def remove(identity: Identity) -> None:
    """Remove the line of the lab."""
    kept = _others(identity)
    if _lines() != kept:
        _write(kept)


def _mark(identity: Identity) -> str:
    return f"# {identity.name}"


def _lines() -> list[str]:
    return _HOSTS.read_text().splitlines()


def _others(identity: Identity) -> list[str]:
    return [line for line in _lines() if not line.endswith(f" {_mark(identity)}")]


# Write in place: in a container the file is a mount, which cannot be replaced.
def _write(lines: list[str]) -> None:
    _HOSTS.write_text("".join(f"{line}\n" for line in lines))
