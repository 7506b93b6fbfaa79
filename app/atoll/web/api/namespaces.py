"""Permissions of a caller on a namespace."""

from __future__ import annotations

from atoll.auth.organization_roles import Organization
from atoll.auth.organizations import Organizations
from atoll.config import Bundle
from atoll.web.api.operation import Call


class Namespaces:
    """Check the caller's permissions on organizations and other namespaces."""

    def __init__(self, organizations: Organizations, bundle: Bundle) -> None:
        self._organizations = organizations
        self._full_access = bundle.feature_superusers_full_access

    def may_administer_all(self, call: Call) -> bool:
        """Return whether the caller may administer all namespaces."""
        return self._full_access and call.principal is not None and call.principal.superuser

    def may_read_all(self, call: Call) -> bool:
        """Return whether the caller may read all namespaces, as auditors may."""
        auditor = call.principal is not None and call.principal.auditor
        return auditor or self.may_administer_all(call)

    def require_admin(self, call: Call, name: str) -> Organization:
        """Return an organization that the caller administers or may read as its administrators.

        Changes by auditors are refused earlier, by the `operation` decorator.

        Raises:
            OrganizationUnknown: there is no such organization.
            Unauthenticated: the caller is not logged in.
            InsufficientScope: the caller lacks the permission.
        """
        organization = self._organization(call, name)
        if not organization.is_admin and not self.may_read_all(call):
            raise call.forbidden()
        return organization

    def require_member(self, call: Call, name: str) -> Organization:
        """Return an organization that the caller may read as a member; raise as `require_admin`."""
        organization = self._organization(call, name)
        if not organization.roles and not self.may_read_all(call):
            raise call.forbidden()
        return organization

    def _organization(self, call: Call, name: str) -> Organization:
        if name not in call.organizations:
            call.organizations[name] = self._organizations.get(name, call.principal)
        return call.organizations[name]

    def may_create_repository(self, call: Call, namespace: str) -> bool:
        """Return whether the caller may create repositories there. Raises OrganizationUnknown."""
        if namespace == call.actor.username or self.may_administer_all(call):
            return True
        return bool({"admin", "creator"} & self._organizations.get(namespace, call.principal).roles)
