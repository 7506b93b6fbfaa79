"""Freeze a machine or a store: it accepts connections, and does not respond."""

from collections.abc import Iterator
from contextlib import contextmanager

from commands import podman
from definition import Machine


@contextmanager
def paused(machine: Machine) -> Iterator[None]:
    """Freeze the container while the context is active."""
    podman("pause", machine.container)
    try:
        yield
    finally:
        podman("unpause", machine.container)
