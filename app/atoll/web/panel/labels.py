"""`/repository/{repository}/manifest/{digest}/labels`: the labels that users add to an image."""

from __future__ import annotations

from typing import Any

from atoll.auth.access import READ
from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_LABELS = "/repository/{repository}/manifest/{digest}/labels"


class LabelsPage:
    """`/repository/{repository}/manifest/{digest}/labels`."""

    @page("labels.html.j2")
    def on_get(self, visit: Visit, digest: str) -> dict[str, Any]:
        """Show the labels of an image and, to writers, the forms that change them."""
        name = visit.call.require(READ)
        labels = visit.api("GET", _LABELS, digest=digest)["labels"]
        return {"name": name, "digest": digest, "labels": labels}

    @form()
    def on_post(self, visit: Visit, digest: str) -> str:
        """Remove the label with the button `remove`, or add one."""
        removed = visit.form.get("remove")
        if removed is not None:
            visit.api("DELETE", f"{_LABELS}/{{uuid}}", digest=digest, uuid=removed)
        else:
            body = {
                "key": visit.form.get("key", "").strip(),
                "value": visit.form.get("value", ""),
                "media_type": "text/plain",
            }
            visit.api("POST", _LABELS, body=body, digest=digest)
        return f"/repository/{visit.call.require(READ)}/manifest/{digest}/labels"
