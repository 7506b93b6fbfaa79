"""Keep a store from being reached by an address, in the store's own network only."""

from collections.abc import Iterator
from contextlib import contextmanager

from commands import podman, run
from definition import Store


@contextmanager
def unreachable_from(store: Store, address: str) -> Iterator[None]:
    """Let nothing that STORE says come to ADDRESS. It ends with the container at the latest."""
    process = podman("container", "inspect", "--format={{.State.Pid}}", store.container).strip()
    inside = ["nsenter", f"--net=/proc/{process}/ns/net", "ip", "route"]
    run([*inside, "replace", "blackhole", f"{address}/32"])
    try:
        yield
    finally:
        run([*inside, "delete", "blackhole", f"{address}/32"])
