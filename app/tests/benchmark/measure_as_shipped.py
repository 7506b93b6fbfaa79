"""The shorter comparison with the store as Ceph ships it.

Without TCP_NODELAY, each small answer of the store waits 40 ms for an acknowledgement. Registries
that ask the store in each request are slower by that, so this comparison flatters Atoll.
"""

from __future__ import annotations

from contextlib import ExitStack

from .content import IMAGE_A
from .measure_pushes import Pushes, running_registries
from .measure_requests import running_servers
from .operations import BY_TAG, DOCKER_REGISTRY
from .session import Session


def measure_as_shipped(session: Session) -> None:
    """Measure manifests by tag, and pushes of a small image."""
    with running_servers(session, "as-shipped", (DOCKER_REGISTRY,)) as requests:
        requests.measure(BY_TAG)
    with ExitStack() as stack:
        servers = running_registries(session, stack, (DOCKER_REGISTRY,))
        Pushes(session, "as-shipped", servers).push_and_pull(IMAGE_A)
