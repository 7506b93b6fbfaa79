"""What a command gets from its surroundings: the services of the container it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atoll.services import Services


class CommandContext:
    """Loads the bundle and wires its services, once a command needs them.

    Importing the services takes most of a second, which `--help` and `completion` should not cost.
    """

    def services(self) -> Services:
        """Return the services for a command that administers the registry."""
        from atoll.server.bundle import load_bundle_for_command  # noqa: PLC0415
        from atoll.server.container import wire_services  # noqa: PLC0415

        return wire_services(load_bundle_for_command())

    def services_with_stores(self) -> Services:
        """Return the services for a command that connects to object stores."""
        from atoll.server.bundle import load_bundle_for_stores  # noqa: PLC0415
        from atoll.server.container import wire_services  # noqa: PLC0415

        return wire_services(load_bundle_for_stores())

    def services_for_server(self) -> Services:
        """Return the services for a command that requires a bundle that a server accepts."""
        from atoll.server.bundle import load_bundle  # noqa: PLC0415
        from atoll.server.container import wire_services  # noqa: PLC0415

        return wire_services(load_bundle())
