"""Make a store unreachable from an address."""

from collections.abc import Iterator
from contextlib import contextmanager

from commands import podman, run
from definition import Store


@contextmanager
def unreachable_from(store: Store, address: str) -> Iterator[None]:
    """Drop packets from the store to an address, in the network namespace of the store."""
    process = podman("container", "inspect", "--format={{.State.Pid}}", store.container).strip()
    inside = ["nsenter", f"--net=/proc/{process}/ns/net", "ip", "route"]
    run([*inside, "replace", "blackhole", f"{address}/32"])
    try:
        yield
    finally:
        run([*inside, "delete", "blackhole", f"{address}/32"])
