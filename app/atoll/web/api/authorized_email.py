"""`repository/{repository}/authorizedemail/{email}`: confirmation of addresses."""

from __future__ import annotations

from typing import Any

import falcon
from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth.access import ADMIN
from atoll.names import RepositoryName
from atoll.notifications.authorized_addresses import AuthorizedAddresses
from atoll.web.api.operation import Call, RequestModel, operation


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

    @operation("confirmRepoEmail", query=LinkQuery, anonymous=True, before_login=True)
    def on_get(self, call: Call) -> None:
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
