"""`user/`: the caller's account, registration, and the first user."""

from __future__ import annotations

from typing import Any

import falcon
from pydantic import Field

from atoll.auth import users
from atoll.auth.access import Access, WrongCredentials
from atoll.auth.api_tokens import SCOPES, ApiTokens
from atoll.auth.credentials import Credentials, password_purpose
from atoll.auth.organizations import Organizations
from atoll.auth.passwords import check_length
from atoll.auth.secrets import Cipher
from atoll.auth.throttle import Throttle
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.registry.namespace_deletion import NamespaceDeletion
from atoll.web.api.errors import FreshLoginRequired, InvalidRequest
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import avatar
from atoll.web.client_address import client_address

# The lifetime in seconds of the first user's token, which is for setting up the registry.
_FIRST_TOKEN_SECONDS = 9000


class NewUser(RequestModel):
    """A user to create."""

    username: str = Field(max_length=255)
    password: str = Field(max_length=1024)
    email: str | None = Field(default=None, max_length=320)


class FirstUser(NewUser):
    """The first user; `access_token` requests an API token as well."""

    access_token: bool = False


class UserChange(RequestModel):
    """Changes of the caller's account. The name changes only with FEATURE_USER_RENAME.

    A new password requires `current_password`, unless the request has it already (HTTP Basic).
    """

    username: str | None = Field(default=None, max_length=255)
    password: str | None = Field(default=None, max_length=1024)
    current_password: str | None = Field(default=None, max_length=1024)
    email: str | None = Field(default=None, max_length=320)
    tag_expiration_s: int | None = Field(default=None, ge=0, le=10 * 366 * 86400)


class Initialize:
    """`user/initialize`."""

    def __init__(
        self, database: Database, bundle: Bundle, cipher: Cipher, tokens: ApiTokens
    ) -> None:
        self._database = database
        self._enabled = bundle.feature_user_initialize
        self._cipher = cipher
        self._tokens = tokens

    @operation("createFirstUser", body=FirstUser, anonymous=True, before_login=True)
    def on_post(self, call: Call) -> Any:
        """Create the first user of an empty registry."""
        if not self._enabled:
            raise falcon.HTTPNotFound(description="FEATURE_USER_INITIALIZE is not set")
        first: FirstUser = call.body
        if not users.initialize(self._database, first.username, first.email, first.password):
            raise InvalidRequest("Cannot initialize user in a non-empty database")
        call.log("user_create", first.username, username=first.username)
        response: dict[str, Any] = {
            "username": first.username,
            "email": first.email,
            "encrypted_password": self._cipher.encrypt(
                first.password, password_purpose(first.username)
            ),
        }
        if first.access_token:
            response["access_token"] = self._tokens.create(
                first.username, list(SCOPES), _FIRST_TOKEN_SECONDS
            )
        return response


class CurrentUser:
    """`user/`."""

    def __init__(
        self,
        database: Database,
        access: Access,
        organizations: Organizations,
        removal: NamespaceDeletion,
        bundle: Bundle,
        *,
        throttle: Throttle,
    ) -> None:
        self._database = database
        self._access = access
        self._throttle = throttle
        self._organizations = organizations
        self._removal = removal
        self._may_rename = bundle.feature_user_rename
        self._reserved = bundle.reserved_usernames
        self._may_register = (
            bundle.feature_user_creation and not bundle.feature_invite_only_user_creation
        )
        self._expirations = bundle.tag_expiration_options
        self._expiration = bundle.default_tag_expiration

    @operation("getLoggedInUser", scope="user:read")
    def on_get(self, call: Call) -> Any:
        """Get the caller's account."""
        actor = call.actor
        if actor.robot_owner is not None:
            raise call.forbidden()
        return self._serialize(users.get_user(self._database, actor.username), call)

    @operation("changeUserDetails", body=UserChange, scope="user:admin")
    def on_put(self, call: Call) -> Any:
        """Update the caller's account."""
        if call.actor.robot_owner is not None:
            raise call.forbidden()
        change: UserChange = call.body
        expiration = change.tag_expiration_s
        if expiration is not None and expiration not in self._expirations:
            raise InvalidRequest("tag_expiration_s is not among TAG_EXPIRATION_OPTIONS")
        if change.password is not None:
            self._require_current_password(call, change.current_password)
        user = users.change_user(
            self._database,
            self._rename(call, change.username),
            email=change.email,
            password=change.password,
            tag_expiration_s=expiration,
        )
        if change.password is not None:
            call.log("account_change_password", user.username)
        return self._serialize(user, call)

    def _require_current_password(self, call: Call, current: str | None) -> None:
        """Raise FreshLoginRequired unless the caller knows the current password.

        A stolen session or API token must not suffice to take over the account.
        """
        if call.session is None and call.actor.scopes is None:
            return
        if current is None:
            # Not counted as a failed login, because no password was tried.
            raise FreshLoginRequired
        try:
            credentials = Credentials(call.actor.username, current)
            self._access.authenticate(credentials, client_address(call.req), [])
        except WrongCredentials as error:
            raise FreshLoginRequired from error

    def _rename(self, call: Call, new_name: str | None) -> str:
        """Rename the caller's namespace if requested, and return its name.

        As in Quay, the request is ignored without FEATURE_USER_RENAME.
        """
        name = call.actor.username
        if not self._may_rename or new_name in {None, name}:
            return name
        if name in self._reserved:
            raise InvalidRequest("the names of superusers are set in the bundle")
        if new_name in self._reserved:
            # The bundle grants privileges to the name. The error does not disclose that.
            raise users.name_taken(str(new_name))
        self._removal.rename_namespace(name, str(new_name), organization=False)
        call.log("user_change_name", new_name, old_username=name)
        return str(new_name)

    @operation("createNewUser", body=NewUser, anonymous=True, before_login=True)
    def on_post(self, call: Call) -> Any:
        """Register a user account."""
        if not self._may_register:
            raise InvalidRequest("registration is disabled; a superuser can create the user")
        new: NewUser = call.body
        self._throttle.registering(client_address(call.req))
        # Checks of all names come first, so that no error reveals a reserved name.
        users.check_username(new.username)
        check_length(new.password)
        if new.username in self._reserved:
            # The bundle grants privileges to the name. The error does not disclose that.
            raise users.name_taken(new.username)
        users.create_user(self._database, new.username, new.email, new.password)
        call.log("user_create", new.username, username=new.username)
        return {"awaiting_verification": False}

    def _serialize(self, user: users.User, call: Call) -> dict[str, Any]:
        return {
            "anonymous": False,
            "username": user.username,
            "avatar": avatar(user.username, "user"),
            "email": user.email,
            "verified": True,
            "can_create_repo": True,
            "is_me": True,
            "super_user": call.actor.superuser,
            "tag_expiration_s": (
                self._expiration if user.tag_expiration_s is None else user.tag_expiration_s
            ),
            "logins": [],
            "prompts": [],
            "organizations": [
                {
                    "name": one.name,
                    "avatar": avatar(one.name, "org"),
                    "is_org_admin": one.is_admin,
                    "can_create_repo": one.is_admin or "creator" in one.roles,
                    "public": False,
                    "preferred_namespace": False,
                }
                for one in self._organizations.of(user.id)
            ],
        }
