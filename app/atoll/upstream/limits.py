"""The permitted use of an upstream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from atoll.config import Bundle
from atoll.upstream.reference import UpstreamReference


@dataclass(frozen=True)
class UpstreamLimits:
    """The permitted use of an upstream by all processes of all sites together.

    Attributes:
        concurrent: The number of concurrent requests.
        pulls: The number of pulls (GET requests for manifests) in a period; None for no limit other
            than that of the upstream.
        period: The length of the period in seconds.
        reserve: The share of the pulls announced by the upstream that is left for others.
    """

    concurrent: int = 4
    pulls: int | None = None
    period: float = 21_600.0
    reserve: float = 0.2


def configured_limits(bundle: Bundle) -> Callable[[str], UpstreamLimits]:
    """Return a function that returns the limits of a registry, such as `docker.io`.

    Args:
        bundle: The bundle, for UPSTREAM_LIMITS.
    """
    limits = {}
    for name, one in bundle.upstream_limits.items():
        # A registry may have several names; requests use the canonical one.
        registry = UpstreamReference.parse(f"{name}/any/repository").registry
        found = UpstreamLimits(one.concurrent, reserve=one.reserve)
        if one.requests is not None:
            found = replace(found, pulls=one.requests.count, period=float(one.requests.seconds))
        limits[registry] = found
    return lambda registry: limits.get(registry, UpstreamLimits())
