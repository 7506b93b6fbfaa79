"""`repository/{repository}/authorizedemail/{email}`: confirmation of addresses."""

from __future__ import annotations

from html import escape
from typing import Any

import falcon
from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.access import ADMIN
from atoll.names import RepositoryName
from atoll.notifications.authorized_addresses import AuthorizedAddresses
from atoll.web.api.operation import Call, RequestModel, operation

# A form without an action is sent to the address of its page, which contains the code.
_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Confirm notifications</title>
<p>Send notifications of the repository {repository} to {email}?</p>
<form method="post"><button>Confirm</button></form>
<p>Otherwise, close this page.</p>
</html>
"""


class AuthorizedEmailSchema(TypedDict):
    """An address, and whether it may receive notifications of the repository."""

    email: str
    repository: str
    namespace: str
    confirmed: bool


class LinkQuery(RequestModel):
    """The code in a link."""

    code: str = Field(min_length=1, max_length=200)


class AuthorizedEmail:
    """`repository/{repository}/authorizedemail/{email}`."""

    def __init__(self, addresses: AuthorizedAddresses) -> None:
        self._addresses = addresses

    @operation("checkRepoEmailAuthorized", response=AuthorizedEmailSchema, scope="repo:admin")
    def on_get(self, call: Call, email: str) -> Any:
        """Get whether an address may receive notifications of a repository."""
        name = call.require(ADMIN)
        return _serialize(name, email, confirmed=self._addresses.is_confirmed(name, email))

    @operation("sendAuthorizeRepoEmail", response=AuthorizedEmailSchema, scope="repo:admin")
    def on_post(self, call: Call, email: str) -> Any:
        """Send a link to an address, by which its owner permits notifications."""
        name = call.require(ADMIN)
        return _serialize(name, email, confirmed=self._addresses.request(name, email))


class ConfirmationLink:
    """`/authrepoemail`: the link in the message."""

    def __init__(self, addresses: AuthorizedAddresses) -> None:
        self._addresses = addresses

    @operation("showRepoEmail", query=LinkQuery, anonymous=True, before_login=True)
    def on_get(self, call: Call) -> None:
        """Get a page that confirms the address; programs that scan messages confirm nothing."""
        name, email = self._addresses.look_up(call.query.code)
        call.resp.content_type = falcon.MEDIA_HTML
        call.resp.text = _PAGE.format(email=escape(email), repository=escape(str(name)))

    @operation(
        "confirmRepoEmail", query=LinkQuery, anonymous=True, before_login=True, secret_in_query=True
    )
    def on_post(self, call: Call) -> None:
        """Permit notifications to the address that the link was sent to."""
        name, email = self._addresses.confirm(call.query.code)
        call.resp.content_type = falcon.MEDIA_TEXT
        call.resp.text = f"{email} may receive notifications of {name} from now on.\n"


def _serialize(name: RepositoryName, email: str, *, confirmed: bool) -> AuthorizedEmailSchema:
    return {
        "email": email,
        "repository": name.name,
        "namespace": name.namespace,
        "confirmed": confirmed,
    }
