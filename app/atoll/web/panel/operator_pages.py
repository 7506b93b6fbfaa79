"""URI templates and resources of the pages with which operators administer the registry."""

from __future__ import annotations

from atoll.web.api.resources import Resources
from atoll.web.panel.configuration import ConfigurationPage
from atoll.web.panel.garbage import GarbagePage
from atoll.web.panel.guarantees import GuaranteesPage
from atoll.web.panel.managed_organizations import (
    ManagedOrganizationPage,
    ManagedOrganizationsPage,
    OrganizationChangeForm,
)
from atoll.web.panel.managed_users import ManagedUserPage, UserChangeForm, UsersPage
from atoll.web.panel.messages import MessagesPage
from atoll.web.panel.registry_log import RegistryLogPage
from atoll.web.panel.verification import VerificationPage


def operator_pages() -> Resources:
    """Return the routes, as (URI template, resource)."""
    return [
        ("/superuser/verification", VerificationPage()),
        ("/superuser/garbage", GarbagePage()),
        ("/superuser/users", UsersPage()),
        ("/superuser/users/{username}/{change}", UserChangeForm()),
        ("/superuser/users/{username}", ManagedUserPage()),
        ("/superuser/organizations", ManagedOrganizationsPage()),
        ("/superuser/organizations/{orgname}/{change}", OrganizationChangeForm()),
        ("/superuser/organizations/{orgname}", ManagedOrganizationPage()),
        ("/superuser/config", ConfigurationPage()),
        ("/superuser/guarantees", GuaranteesPage()),
        ("/superuser/messages", MessagesPage()),
        ("/superuser/logs", RegistryLogPage()),
    ]
