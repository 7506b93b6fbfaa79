"""Who may do what with a whole namespace."""

from __future__ import annotations

from atoll.auth.organizations import Organization, Organizations
from atoll.config import Bundle
from atoll.web.api.operation import Call


class Namespaces:
    """Asks who administers an organization."""

    def __init__(self, organizations: Organizations, bundle: Bundle) -> None:
        self._organizations = organizations
        self._full_access = bundle.feature_superusers_full_access

    def full_access(self, call: Call) -> bool:
        """Tell whether the caller may do everything everywhere."""
        return self._full_access and call.principal is not None and call.principal.superuser

    def sees_everything(self, call: Call) -> bool:
        """Tell whether the caller may see everything everywhere; an auditor may do no more."""
        auditor = call.principal is not None and call.principal.auditor
        return auditor or self.full_access(call)

    def administered(self, call: Call, name: str) -> Organization:
        """Return the organization that the caller administers, or may look at as if.

        Whatever changes something is refused to auditors before it comes here.
        Raises OrganizationUnknown, Unauthenticated or InsufficientScope.
        """
        organization = self._organizations.get(name, call.principal)
        if not organization.is_admin and not self.sees_everything(call):
            raise call.forbidden()
        return organization

    def belonged_to(self, call: Call, name: str) -> Organization:
        """Return the organization that the caller is in."""
        organization = self._organizations.get(name, call.principal)
        if not organization.roles and not self.sees_everything(call):
            raise call.forbidden()
        return organization

    def may_create_repository(self, call: Call, namespace: str) -> bool:
        """Tell whether the caller may make repositories there. Raises OrganizationUnknown."""
        if namespace == call.actor.username or self.full_access(call):
            return True
        return bool({"admin", "creator"} & self._organizations.get(namespace, call.principal).roles)
