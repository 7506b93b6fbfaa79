"""`/panel/licences`: the licences of the software that the panel sends to browsers."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import page
from atoll.web.panel.visit import Visit


class Licences:
    """`/panel/licences`."""

    @page("licences.html.j2", before_login=True)
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """Show the licences."""
        del visit
        return {}
