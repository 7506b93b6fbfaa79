"""`/superuser/messages`: messages to all users."""

from __future__ import annotations

from typing import Any

from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_HERE = "/superuser/messages"


class MessagesPage:
    """`/superuser/messages`."""

    @page("messages.html.j2")
    def on_get(self, visit: Visit) -> dict[str, Any]:
        """List the messages and, to superusers, show the forms that publish and delete them."""
        visit.call.require_superuser()
        return {"messages": visit.api("GET", "/messages")["messages"]}

    @form()
    def on_post(self, visit: Visit) -> str:
        """Delete the message with the button `remove`, or publish one."""
        removed = visit.form.get("remove")
        if removed is not None:
            visit.api("DELETE", "/message/{uuid}", uuid=removed)
            return _HERE
        message = {
            # Browsers send line feeds with carriage returns.
            "content": visit.form.get("content", "").replace("\r\n", "\n").strip(),
            "severity": visit.form.get("severity", ""),
            "media_type": "text/plain",
        }
        visit.api("POST", "/messages", body={"message": message})
        return _HERE
