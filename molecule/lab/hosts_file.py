"""The registry's name in this host's /etc/hosts: one line, marked as the lab's own."""

from pathlib import Path

from definition import Identity, Lab

_HOSTS = Path("/etc/hosts")


def add(lab: Lab) -> None:
    """Let this host find the registry by its name."""
    line = f"{lab.entrance.address} {lab.registry_hostname} {_mark(lab)}"
    kept = _others(lab)
    if _lines() != [*kept, line]:
        _write([*kept, line])


def remove(identity: Identity) -> None:
    """Take the lab's own line away, and no other."""
    kept = _others(identity)
    if _lines() != kept:
        _write(kept)


def _mark(identity: Identity) -> str:
    return f"# {identity.name}"


def _lines() -> list[str]:
    return _HOSTS.read_text().splitlines()


def _others(identity: Identity) -> list[str]:
    return [line for line in _lines() if not line.endswith(f" {_mark(identity)}")]


# In place: in a container the file is a mount, which cannot be replaced.
def _write(lines: list[str]) -> None:
    _HOSTS.write_text("".join(f"{line}\n" for line in lines))
