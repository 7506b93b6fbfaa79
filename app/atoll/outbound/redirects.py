"""Redirects: which are followed, and which headers are sent along."""

from __future__ import annotations

from urllib.parse import urljoin

from atoll.outbound.destination import Destination, parse
from atoll.outbound.errors import DestinationRefused, InvalidDestination
from atoll.outbound.policy import DestinationPolicy

REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Headers that are sent to one origin only.
_CREDENTIALS = frozenset({"authorization", "cookie"})


def redirected(policy: DestinationPolicy, destination: Destination, location: str) -> Destination:
    """Return the destination of a redirect.

    Args:
        policy: Decides about the host.
        destination: The destination that redirects.
        location: The value of its Location header.

    Raises:
        DestinationRefused: The destination is malformed, or the policy forbids its host.
    """
    try:
        following = parse(urljoin(destination.url, location))
        policy.check(following)
    except (InvalidDestination, ValueError) as error:
        raise DestinationRefused(f"redirect of '{destination.host}' refused: {error}") from error
    return following


def headers_after(
    destination: Destination, following: Destination, headers: dict[str, str]
) -> dict[str, str]:
    """Return the headers to send to the destination of a redirect."""
    if following.origin == destination.origin:
        return headers
    return {name: value for name, value in headers.items() if name.lower() not in _CREDENTIALS}
