"""The images of a run, which stay the same even if they are built again meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from commands import podman

from .containers import labels


@contextmanager
def held_images(tags: Sequence[str]) -> Iterator[Mapping[str, str]]:
    """Yield the ids of images by their tags, and prevent their removal until the block ends.

    podman does not remove an image from which a container was created.
    """
    ids = {tag: podman("image", "inspect", "--format", "{{.Id}}", tag).strip() for tag in tags}
    containers: list[str] = []
    try:
        for identity in ids.values():
            containers.append(podman("create", *labels(), identity, "true").split()[-1])
        yield ids
    finally:
        for container in containers:
            podman("rm", "--force", "--volumes", "--ignore", container)
