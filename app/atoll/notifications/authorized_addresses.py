"""Addresses whose owners agreed to notifications of a repository, on the page of a link.

Opening the link changes nothing, because mail servers open the links in messages to scan them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.names import RepositoryName
from atoll.notifications.mailer import Mailer
from atoll.notifications.subscriptions import InvalidReceiver

# The path of links, as in Quay.
PATH = "/authrepoemail"

# Links are valid for this time. An address gets, and a namespace sends, a limited number of
# messages in an hour, so that nobody can use the registry to send unwanted e-mail.
_VALID_DAYS = 3
_PAUSE_SECONDS = 60
_ADDRESS_MAXIMUM, _NAMESPACE_MAXIMUM = 5, 20
_LENGTH_MAXIMUM = 254
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*"
)

_REPOSITORY_ID = """(SELECT r.id FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
                  WHERE n.username = %(namespace)s AND r.name = %(name)s)"""

_FIND = f"""
SELECT confirmed FROM repositoryauthorizedemail
WHERE repository_id = {_REPOSITORY_ID} AND email = %(email)s
"""

# Record a request and its message, unless there were too many messages; a confirmed address stays
# confirmed.
_REQUEST = f"""
WITH expired AS (
    DELETE FROM confirmationmessage WHERE sent_at < now() - interval '1 day'
), recorded AS (
    INSERT INTO repositoryauthorizedemail AS a (repository_id, email, code_hash)
    SELECT r.id, %(email)s, %(code_hash)s FROM repository r WHERE r.id = {_REPOSITORY_ID}
      AND (SELECT count(*) FROM confirmationmessage m
           WHERE m.address = lower(%(email)s) AND m.sent_at > now() - interval '1 hour'
          ) < {_ADDRESS_MAXIMUM}
      AND (SELECT count(*) FROM confirmationmessage m
           WHERE m.namespace_user_id = r.namespace_user_id
             AND m.sent_at > now() - interval '1 hour') < {_NAMESPACE_MAXIMUM}
    ON CONFLICT (repository_id, email) DO UPDATE
    SET code_hash = excluded.code_hash, requested_at = now()
    WHERE NOT a.confirmed AND a.requested_at < now() - make_interval(secs => {_PAUSE_SECONDS})
    RETURNING a.repository_id
)
INSERT INTO confirmationmessage (namespace_user_id, address)
SELECT r.namespace_user_id, lower(%(email)s)
FROM recorded JOIN repository r ON r.id = recorded.repository_id
RETURNING address
"""

_IS_VALID = f"""
a.code_hash = %(code_hash)s AND r.id = a.repository_id
AND (a.confirmed OR a.requested_at > now() - make_interval(days => {_VALID_DAYS}))
"""
_LOOK_UP = f"""
SELECT n.username, r.name, a.email
FROM repositoryauthorizedemail a, repository r JOIN "user" n ON n.id = r.namespace_user_id
WHERE {_IS_VALID}
"""
_CONFIRM = f"""
UPDATE repositoryauthorizedemail a SET confirmed = true
FROM repository r JOIN "user" n ON n.id = r.namespace_user_id
WHERE {_IS_VALID} RETURNING n.username, r.name, a.email
"""


class AddressUnknown(Exception):
    """No confirmation of the address was requested."""


class InvalidLink(Exception):
    """The link is wrong, or is not valid any more."""

    def __init__(self) -> None:
        super().__init__("the link is wrong or has expired; request another one")


class TooManyRequests(Exception):
    """Too many links were requested; clients may retry after `seconds`."""

    seconds = _PAUSE_SECONDS

    def __init__(self) -> None:
        super().__init__("too many links were sent; try again later")


@dataclass(frozen=True)
class AuthorizedAddresses:
    """The addresses of all repositories.

    Attributes:
        database: Stores them.
        mailer: Sends the links.
        base: The registry's base URL.
        new_code: Returns a secret code.
    """

    database: Database
    mailer: Mailer
    base: str
    new_code: Callable[[], str] = secrets.token_urlsafe

    @classmethod
    def from_bundle(cls, bundle: Bundle, database: Database, mailer: Mailer) -> AuthorizedAddresses:
        """Return the addresses, with links to the registry of a bundle."""
        return cls(database, mailer, f"{bundle.preferred_url_scheme}://{bundle.server_hostname}")

    def check(self, repository: RepositoryName, email: str) -> None:
        """Check that an address may receive notifications of a repository.

        Raises:
            InvalidReceiver: The address is not confirmed.
        """
        if self._find(repository, email) is not True:
            raise InvalidReceiver(
                "The specified e-mail address is not authorized to receive notifications for this"
                f" repository; POST to repository/{repository}/authorizedemail/ADDRESS, and"
                " confirm the address on the page of the link in the message"
            )

    def is_confirmed(self, repository: RepositoryName, email: str) -> bool:
        """Return whether the owner of an address agreed.

        Raises:
            AddressUnknown: No confirmation was requested.
        """
        confirmed = self._find(repository, email)
        if confirmed is None:
            raise AddressUnknown(f"no confirmation of this address for '{repository}' exists")
        return confirmed

    def request(self, repository: RepositoryName, email: str) -> bool:
        """Send a link to an address unless it is confirmed, and return whether it is.

        Raises:
            InvalidReceiver: This is not an address.
            TooManyRequests: The address got, or the namespace sent, too many messages.
            NotMailed: The message could not be sent.
        """
        if len(email) > _LENGTH_MAXIMUM or _ADDRESS.fullmatch(email) is None:
            raise InvalidReceiver("this is not an e-mail address")
        if self._find(repository, email):
            return True
        code = self.new_code()
        values = {**_names(repository), "email": email, "code_hash": _hash(code)}
        if not self.database.run(_REQUEST, values):
            raise TooManyRequests
        text = (
            f"Somebody wants notifications of the repository {repository} to be sent to this"
            f" address. If you agree, open this link within {_VALID_DAYS} days and confirm the"
            f" address there:\n\n{self.base}{PATH}?code={code}\n\n"
            "Otherwise, ignore this message.\n"
        )
        self.mailer.send(email, f"Confirm notifications of {repository}", text)
        return False

    def look_up(self, code: str) -> tuple[RepositoryName, str]:
        """Return the repository and the address of a link, which changes nothing.

        Raises:
            InvalidLink: There is no such code, or it has expired.
        """
        return self._of_link(_LOOK_UP, code)

    def confirm(self, code: str) -> tuple[RepositoryName, str]:
        """Confirm an address, and return its repository and it. Repetitions have no effect.

        Raises:
            InvalidLink: There is no such code, or it has expired.
        """
        return self._of_link(_CONFIRM, code)

    def _of_link(self, statement: str, code: str) -> tuple[RepositoryName, str]:
        rows = self.database.run(statement, {"code_hash": _hash(code)})
        if not rows:
            raise InvalidLink
        namespace, name, email = rows[0]
        return RepositoryName(namespace, name), email

    def _find(self, repository: RepositoryName, email: str) -> bool | None:
        """Return whether an address is confirmed; None if it is unknown."""
        rows = self.database.run(_FIND, {**_names(repository), "email": email})
        return rows[0][0] if rows else None


def _names(repository: RepositoryName) -> dict[str, str]:
    return {"namespace": repository.namespace, "name": repository.name}


def _hash(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
