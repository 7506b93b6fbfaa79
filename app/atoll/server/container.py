"""The services of a process in this container."""

from __future__ import annotations

from atoll.config import Bundle
from atoll.server.paths import ca_bundle_file, spool_directory
from atoll.services import Services


def wire_services(bundle: Bundle, connections: int = 2) -> Services:
    """Return the services that work with the paths of this container.

    Args:
        bundle: the configuration.
        connections: the size of the database's connection pool.
    """
    return Services(
        bundle, spool=spool_directory(), connections=connections, ca_bundle_file=ca_bundle_file()
    )
