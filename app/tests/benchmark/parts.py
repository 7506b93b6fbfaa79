"""The parts of the benchmark, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .measure_as_shipped import measure_as_shipped
from .measure_pushes import measure_large_push, measure_pushes, measure_pushes_at_once
from .measure_requests import measure_blobs, measure_manifests, measure_tokens
from .measure_site import measure_far, measure_memory, measure_start
from .session import Session


@dataclass(frozen=True)
class Part:
    """A part that can be measured by itself.

    Attributes:
        title: what it measures.
        measure: measures it.
        tcp_nodelay: the setting of the store.
        gibibytes: the disk space that it needs in GiB.
    """

    title: str
    measure: Callable[[Session], None]
    tcp_nodelay: bool = True
    gibibytes: int = 3


PARTS = {
    "start": Part("the start of a registry", measure_start),
    "manifests": Part("manifests by tag and by digest", measure_manifests),
    "blobs": Part("redirects of blobs", measure_blobs),
    "tokens": Part("tokens with a password and anonymous", measure_tokens),
    "push": Part("pushes and pulls of three images", measure_pushes, gibibytes=8),
    "at-once": Part("pushes with several layers at once", measure_pushes_at_once, gibibytes=8),
    "large": Part("the push of one large layer", measure_large_push, gibibytes=16),
    "memory": Part("the memory of a site", measure_memory, gibibytes=6),
    "far": Part("a site far from the database", measure_far),
    "as-shipped": Part("with Ceph's default TCP settings", measure_as_shipped, tcp_nodelay=False),
}
