"""The permitted use of an upstream."""

from __future__ import annotations

from dataclasses import dataclass


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
