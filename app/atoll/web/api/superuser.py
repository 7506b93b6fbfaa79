"""`superuser/`: administration of all users and organizations."""

from __future__ import annotations

import secrets
from typing import Any, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from atoll.auth import users
from atoll.auth.credentials import password_purpose
from atoll.auth.organization_roles import Organization
from atoll.auth.organizations import ListedOrganization, Organizations
from atoll.auth.ownership import take_ownership
from atoll.auth.secrets import Cipher
from atoll.config import Bundle
from atoll.db.pool import Database
from atoll.registry.namespace_deletion import NamespaceDeletion
from atoll.web.api.errors import InvalidRequest
from atoll.web.api.operation import Call, RequestModel, operation
from atoll.web.api.schemas import Avatar, avatar, utc

_PASSWORD_BYTES = 18


class NewUser(RequestModel):
    """A user to create; without a password, one is generated."""

    username: str = Field(max_length=255)
    email: str | None = Field(default=None, max_length=320)
    password: str | None = Field(default=None, max_length=1024)


class UserChange(RequestModel):
    """Changes of a user."""

    password: str | None = Field(default=None, max_length=1024)
    email: str | None = Field(default=None, max_length=320)
    enabled: bool | None = None


class AccountQuery(RequestModel):
    """A selection of accounts by a part of their names; without `limit`, all are on one page."""

    contains: str = Field(default="", max_length=255)
    limit: int | None = Field(default=None, ge=1, le=1000)
    next_page: str = Field(default="", max_length=255)


class UserQuery(AccountQuery):
    """A selection of users."""

    disabled: bool = True


class OrganizationChange(RequestModel):
    """Changes of an organization."""

    name: str | None = Field(default=None, max_length=255)
    email: str | None = Field(default=None, max_length=320)


class UserSchema(TypedDict):
    """A user."""

    kind: str
    name: str
    username: str
    email: str | None
    verified: bool
    avatar: Avatar
    super_user: bool
    enabled: bool
    created_at: str


class UsersSchema(TypedDict):
    """A page of users by name, and the token of the next page."""

    users: list[UserSchema]
    next_page: NotRequired[str]


class OrganizationSchema(TypedDict):
    """An organization."""

    name: str
    email: str | None
    avatar: Avatar


class ListedOrganizationSchema(OrganizationSchema):
    """An organization in the list of all."""

    created_at: str


class OrganizationsSchema(TypedDict):
    """A page of organizations by name, and the token of the next page."""

    organizations: list[ListedOrganizationSchema]
    next_page: NotRequired[str]


class SuperuserUserList:
    """`superuser/users/`."""

    def __init__(self, database: Database, cipher: Cipher, bundle: Bundle) -> None:
        self._database = database
        self._cipher = cipher
        self._superusers = bundle.superusers

    @operation("listAllUsers", query=UserQuery, response=UsersSchema, scope="super:user")
    def on_get(self, call: Call) -> Any:
        """List all users."""
        call.require_superuser()
        query: UserQuery = call.query
        found = users.list_users(self._database, disabled=query.disabled, **_selection(query))
        shown = found[: query.limit]
        response = {"users": [_serialize(user, self._superusers) for user in shown]}
        return response if shown == found else {**response, "next_page": shown[-1].username}

    @operation("createInstallUser", body=NewUser, scope="super:user")
    def on_post(self, call: Call) -> Any:
        """Create a user."""
        call.require_superuser()
        new: NewUser = call.body
        password = new.password or secrets.token_urlsafe(_PASSWORD_BYTES)
        users.create_user(self._database, new.username, new.email or None, password)
        call.log("user_create", new.username, username=new.username)
        return {
            "username": new.username,
            "email": new.email,
            "password": password,
            "encrypted_password": self._cipher.encrypt(password, password_purpose(new.username)),
        }


class SuperuserUser:
    """`superuser/users/{username}`."""

    def __init__(self, database: Database, removal: NamespaceDeletion, bundle: Bundle) -> None:
        self._database = database
        self._removal = removal
        self._superusers = bundle.superusers

    @operation("getInstallUser", response=UserSchema, scope="super:user")
    def on_get(self, call: Call, username: str) -> Any:
        """Get a user."""
        call.require_superuser()
        return _serialize(users.get_user(self._database, username), self._superusers)

    @operation("changeInstallUser", body=UserChange, response=UserSchema, scope="super:user")
    def on_put(self, call: Call, username: str) -> Any:
        """Update a user: the password, the e-mail address, and whether the account is enabled."""
        call.require_superuser()
        change: UserChange = call.body
        if username in self._superusers and username != call.actor.username:
            raise InvalidRequest("another superuser cannot be changed")
        if username == call.actor.username and change.password is not None:
            # That operation requires the current password.
            raise InvalidRequest("change your own password by PUT /api/v1/user/")
        user = users.change_user(
            self._database,
            username,
            email=change.email,
            password=change.password,
            enabled=change.enabled,
        )
        call.log("user_change", username, enabled=change.enabled)
        return _serialize(user, self._superusers)

    @operation("deleteInstallUser", status=204, scope="super:user")
    def on_delete(self, call: Call, username: str) -> None:
        """Delete a user with all repositories and robots."""
        call.require_superuser()
        if username in self._superusers:
            raise InvalidRequest("a superuser cannot be deleted")
        entry = call.entry("user_delete", username, username=username)
        self._removal.delete_namespace(username, entry, organization=False)


class TakeOwnership:
    """`superuser/takeownership/{namespace}`."""

    def __init__(self, database: Database, bundle: Bundle) -> None:
        self._database = database
        self._configured = bundle.superusers | bundle.auditors

    @operation("takeOwnership", response=dict[str, str], scope="super:user")
    def on_post(self, call: Call, namespace: str) -> Any:
        """Take ownership of an organization, or of a user's namespace, which becomes one."""
        call.require_superuser()
        if namespace in self._configured:
            raise InvalidRequest("Cannot take ownership of a superuser")
        entity, was_user = take_ownership(self._database, namespace, call.actor.id)
        call.log(
            "take_ownership",
            namespace,
            entity_id=entity,
            was_user=was_user,
            superuser=call.actor.username,
        )
        return {"namespace": namespace}


class SuperuserOrganizationList:
    """`superuser/organizations/`."""

    def __init__(self, organizations: Organizations) -> None:
        self._organizations = organizations

    @operation(
        "listAllOrganizations",
        query=AccountQuery,
        response=OrganizationsSchema,
        scope="super:user",
    )
    def on_get(self, call: Call) -> Any:
        """List all organizations."""
        call.require_superuser()
        query: AccountQuery = call.query
        found = self._organizations.page(**_selection(query))
        shown = found[: query.limit]
        response = {"organizations": [_serialize_listed(one) for one in shown]}
        return response if shown == found else {**response, "next_page": shown[-1].name}


class SuperuserOrganization:
    """`superuser/organizations/{orgname}`."""

    def __init__(
        self, database: Database, organizations: Organizations, removal: NamespaceDeletion
    ) -> None:
        self._database = database
        self._organizations = organizations
        self._removal = removal

    @operation("getInstallOrganization", response=ListedOrganizationSchema, scope="super:user")
    def on_get(self, call: Call, orgname: str) -> Any:
        """Get an organization."""
        call.require_superuser()
        return _serialize_listed(self._organizations.listed(orgname))

    @operation(
        "changeOrganization",
        body=OrganizationChange,
        response=OrganizationSchema,
        scope="super:user",
    )
    def on_put(self, call: Call, orgname: str) -> Any:
        """Update an organization: the name or the e-mail address."""
        call.require_superuser()
        self._organizations.get(orgname, None)
        change: OrganizationChange = call.body
        if change.email is not None:
            users.change_organization(self._database, orgname, email=change.email)
        name = change.name or orgname
        if name != orgname:
            self._removal.rename_namespace(orgname, name, organization=True)
        call.log("org_change", name, old_name=orgname)
        return _serialize_organization(self._organizations.get(name, None))

    @operation("deleteOrganization", status=204, scope="super:user")
    def on_delete(self, call: Call, orgname: str) -> None:
        """Delete an organization and its repositories."""
        call.require_superuser()
        self._removal.delete_namespace(
            orgname, call.entry("org_delete", orgname), organization=True
        )


def _selection(query: AccountQuery) -> dict[str, Any]:
    """Return the arguments of a list, with one account more than the page has."""
    return {
        "limit": None if query.limit is None else query.limit + 1,
        "after": query.next_page,
        "containing": query.contains,
    }


def _serialize(user: users.User, superusers: frozenset[str]) -> UserSchema:
    return {
        "kind": "user",
        "name": user.username,
        "username": user.username,
        "email": user.email,
        "verified": True,
        "avatar": avatar(user.username, "user"),
        "super_user": user.username in superusers,
        "enabled": user.enabled,
        "created_at": utc(user.created_at),
    }


def _serialize_organization(organization: Organization | ListedOrganization) -> OrganizationSchema:
    return {
        "name": organization.name,
        "email": organization.email,
        "avatar": avatar(organization.name, "org"),
    }


def _serialize_listed(organization: ListedOrganization) -> ListedOrganizationSchema:
    return {
        **_serialize_organization(organization),
        "created_at": utc(organization.created_at),
    }
