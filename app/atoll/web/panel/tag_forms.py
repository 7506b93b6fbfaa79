"""Forms that change a tag, and the form that adds one to an image."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from atoll.auth.access import ADMIN, WRITE
from atoll.names import Digest, parse_tag
from atoll.web.api.errors import InvalidRequest, NotFound
from atoll.web.panel.page import form, page
from atoll.web.panel.visit import Visit

_TAG = "/repository/{repository}/tag/{tag}"
_TEMPLATE = "tag_change.html.j2"


class TagDeletion:
    """`/repository/{repository}/tag/{tag}/delete`."""

    @page(_TEMPLATE)
    def on_get(self, visit: Visit, tag: str) -> dict[str, Any]:
        """Ask for the confirmation, and show for how long the tag can be restored."""
        query = {"includeTags": False}
        shown = _shown(visit, "delete", tag)
        repository = visit.api("GET", "/repository/{repository}", query=query)
        return {**shown, "kept_s": repository["tag_expiration_s"]}

    @form()
    def on_post(self, visit: Visit, tag: str) -> str:
        """Delete the tag."""
        visit.api("DELETE", _TAG, tag=tag)
        return f"/repository/{visit.call.require(WRITE)}"


class TagExpiration:
    """`/repository/{repository}/tag/{tag}/expiration`."""

    @page(_TEMPLATE)
    def on_get(self, visit: Visit, tag: str) -> dict[str, Any]:
        """Show the form."""
        return _shown(visit, "expiration", tag)

    @form()
    def on_post(self, visit: Visit, tag: str) -> str:
        """Set the expiration of the tag, or remove it with the button `never`."""
        moment = None if "never" in visit.form else _seconds(visit.form.get("expires", ""))
        visit.api("PUT", _TAG, body={"expiration": moment}, tag=tag)
        return _path(visit, tag)


class TagRestoration:
    """`/repository/{repository}/tag/{tag}/restore`."""

    @page(_TEMPLATE)
    def on_get(self, visit: Visit, tag: str) -> dict[str, Any]:
        """Show the image of the tag, and the one to restore."""
        wanted = visit.form.get("manifest_digest") or visit.req.get_param("digest") or ""
        digest = str(Digest.parse(wanted))
        shown = _shown(visit, "restore", tag, required=False)
        return {**shown, "digest": digest}

    @form()
    def on_post(self, visit: Visit, tag: str) -> str:
        """Restore the tag to an earlier image."""
        body = {"manifest_digest": visit.form.get("manifest_digest", "")}
        visit.api("POST", f"{_TAG}/restore", body=body, tag=tag)
        return _path(visit, tag)


class TagHistoryDeletion:
    """`/repository/{repository}/tag/{tag}/forget`."""

    @page(_TEMPLATE)
    def on_get(self, visit: Visit, tag: str) -> dict[str, Any]:
        """Ask for the name of the tag and for the password."""
        visit.call.require(ADMIN)
        return _shown(visit, "forget", tag, required=False)

    @form()
    def on_post(self, visit: Visit, tag: str) -> str:
        """Delete the past entries of the tag, so that none of them can be restored."""
        name = visit.call.require(ADMIN)
        visit.require_name("tag", tag)
        visit.require_fresh_login()
        visit.api("POST", f"{_TAG}/expire", body={}, tag=tag)
        return f"/repository/{name}?tab=history&tag={tag}"


class NewTag:
    """`/repository/{repository}/manifest/{digest}/tag`."""

    @page("tag_new.html.j2")
    def on_get(self, visit: Visit, digest: str) -> dict[str, Any]:
        """Show the form and, if it names a tag of another image, ask whether to move that."""
        values = {"name": visit.call.require(WRITE), "digest": str(Digest.parse(digest))}
        tag = visit.form.get("tag", "").strip()
        return {**values, "moved": _current(visit, tag) if tag else None}

    @form()
    def on_post(self, visit: Visit, digest: str) -> str:
        """Point a tag to the image."""
        visit.call.require(WRITE)
        tag = parse_tag(visit.form.get("tag", "").strip())
        current = _current(visit, tag)
        other = current is not None and current["manifest_digest"] != digest
        if other and visit.form.get("move") != "true":
            raise InvalidRequest(f"The tag {tag} has another image. Confirm that it is moved.")
        visit.api("PUT", _TAG, body={"manifest_digest": digest}, tag=tag)
        return _path(visit, tag)


def _shown(visit: Visit, change: str, tag: str, *, required: bool = True) -> dict[str, Any]:
    """Return the variables of the template; a missing tag is an error if it is required."""
    name = visit.call.require(WRITE)
    current = _current(visit, parse_tag(tag))
    if required and current is None:
        raise NotFound(f"'{name}' has no tag '{tag}'; it may be in the history of its tags")
    return {"name": name, "change": change, "tag": tag, "current": current}


def _current(visit: Visit, tag: str) -> dict[str, Any] | None:
    query = {"specificTag": tag[:128], "onlyActiveTags": True, "limit": 1}
    found = visit.api("GET", "/repository/{repository}/tag/", query=query)["tags"]
    return found[0] if found else None


def _path(visit: Visit, tag: str) -> str:
    return f"/repository/{visit.call.require(WRITE)}/tag/{tag}"


def _seconds(text: str) -> int:
    """Return the seconds since 1970 of a time in UTC, as browsers send it."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise InvalidRequest("Enter the time as YYYY-MM-DD HH:MM, in UTC.") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
