"""`/panel/star/{repository}`: star a repository, or remove the star."""

from __future__ import annotations

from atoll.auth.access import READ
from atoll.web.panel.page import form, is_local
from atoll.web.panel.visit import Visit


class StarForm:
    """`/panel/star/{repository}`."""

    @form()
    def on_post(self, visit: Visit) -> str:
        """Star the repository if the field `starred` is `true`, otherwise remove the star."""
        name = visit.call.require(READ)
        if visit.form.get("starred") == "true":
            body = {"namespace": name.namespace, "repository": name.name}
            visit.api("POST", "/user/starred", body=body)
        else:
            visit.api("DELETE", "/user/starred/{repository}")
        back = visit.form.get("next", "")
        return back if is_local(back) else "/"
