"""Failures of requests to destinations that users choose.

`InvalidDestination` follows from the URL and the bundle alone, so users may read it. The others
depend on the network that the registry sees, and their texts are for the log only: shown to users,
they would tell open ports from closed ones and internal names from unknown ones.
"""

from __future__ import annotations


class OutboundError(Exception):
    """A request could not be made. The text names the host, never the path or the query."""


class InvalidDestination(OutboundError):
    """The URL is malformed, or its host is refused without a look at the network."""


class DestinationRefused(OutboundError):
    """The host resolves to an address that requests may not be sent to."""


class RequestFailed(OutboundError):
    """The host could not be resolved or reached, or its response was unusable."""
