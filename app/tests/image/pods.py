"""The image as pods of a cluster run it: a mounted Secret, emptyDir volumes and any user id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from podman.domain.containers import Container

from ..integration.services import Services, wait_until
from ..kubelet_directory import KubeletDirectory, read_files
from .running import POD, RunningImage, podman, running_image, start, write_bundle

_SPOOL = "/var/spool/atoll"


def mounted_bundle(
    services: Services,
    database: str,
    directory: Path,
    changes: dict[str, object | None] | None = None,
) -> KubeletDirectory:
    """Return a bundle as a kubelet mounts its Secret, with changed keys; None removes a key."""
    stack = write_bundle(services, database, directory / "files", changes)
    return KubeletDirectory(directory / "secret", read_files(stack))


def pod_options(directory: Path, *, temporary: Path | None = None) -> tuple[str, ...]:
    """Return options of `podman run` for a container of a pod.

    Args:
        directory: gets a directory for the spool.
        temporary: a directory for `/tmp` that survives the container; in memory by default.
    """
    spool = directory / "spool"
    options = [one for one in POD if temporary is None or not one.startswith("--tmpfs")]
    volumes = {spool: _SPOOL} if temporary is None else {spool: _SPOOL, temporary: "/tmp"}
    for volume in volumes:
        volume.mkdir(exist_ok=True)
        volume.chmod(0o777)
    return (*options, *(f"--volume={one}:{target}:Z" for one, target in volumes.items()))


@contextmanager
def running_pod(
    services: Services,
    mounted: KubeletDirectory,
    directory: Path,
    *,
    preference: str = "usstorage eustorage",
    temporary: Path | None = None,
) -> Iterator[RunningImage]:
    """Run the registry in a pod until the block ends; wait until it is healthy."""
    with running_image(
        services,
        mounted.path,
        preference=preference,
        options=pod_options(directory, temporary=temporary),
        words=("registry-nomigrate",),
    ) as running:
        yield running


@contextmanager
def running_worker(
    services: Services, mounted: KubeletDirectory, directory: Path, preference: str, *words: str
) -> Iterator[Container]:
    """Run another process in a pod until the block ends; wait until it is healthy."""
    directory.mkdir(exist_ok=True)
    options = pod_options(directory)
    container = start(services, mounted.path, preference=preference, options=options, words=words)
    identity = str(container.id)

    def is_healthy() -> bool:
        container.reload()
        assert container.status == "running", podman("logs", identity).stdout
        return podman("exec", identity, "atoll", "healthcheck").returncode == 0

    try:
        wait_until(f"{' '.join(words)} is healthy", is_healthy)
        yield container
    finally:
        podman("rm", "--force", "--volumes", "--ignore", identity)
