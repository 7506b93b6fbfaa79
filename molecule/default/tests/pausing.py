"""Stop the time of a machine or a store: it takes connections and never answers, a blackhole."""

from collections.abc import Iterator
from contextlib import contextmanager

from commands import podman
from definition import Machine


@contextmanager
def paused(machine: Machine) -> Iterator[None]:
    """Let MACHINE hang."""
    podman("pause", machine.container)
    try:
        yield
    finally:
        podman("unpause", machine.container)
